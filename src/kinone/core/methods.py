"""Where the operators hang the methods of Tensor that they declare.

The class is empty here because core knows no operator; `kinone.ops` fills it from its list, in one place. What it
holds afterwards stands in `methods.pyi` beside this file, written by `python -m kinone.ops.stubs` and kept true by
a test, so that editors and type checkers know every method.
"""


class Methods:
    """Base class of Tensor that carries one method for each name that an operator declares."""

    __slots__ = ()
