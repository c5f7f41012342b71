"""Where modules get the methods that upper layers give them: `fit`, `save` and what else stands in methods.pyi."""


class Methods:
    """The base class of Module; `kinone` puts here what training and formats can do with a module."""
