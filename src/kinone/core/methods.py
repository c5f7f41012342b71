"""Where operators hang their methods of Tensor; `methods.pyi` says what `kinone.ops` puts here."""


class Methods:
    """The base class of Tensor; empty, because core knows no operator."""

    __slots__ = ()
