"""Watching operators and modules run: what recordings, profiles and anomaly mode have in common."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kinone.core.graph import Node
from kinone.core.modes import modes, setting
from kinone.core.op import Op
from kinone.core.tensor import Tensor


class Observer:
    """Someone who is shown every call of an operator or a module, and every rule, in this thread; override some of it.

    Operators are shown when a Tensor is among their inputs. An observer must not change what it is shown; it may
    raise, and the call ends there.
    """

    def before_forward(self, op: Op[...], arrays: Sequence[Any], attrs: Mapping[str, Any]) -> None:
        """`op` is about to run on `arrays`."""

    def after_forward(self, op: Op[...], args: Sequence[Any], attrs: Mapping[str, Any], result: Any) -> None:
        """`op` was called with `args` (Tensors, arrays, numbers) and gave `result`, a Tensor or a tuple of them."""

    def before_backward(self, node: Node, g: Any) -> None:
        """The rule of `node` is about to run on the cotangent `g`; of several outputs [(number, cotangent), …]."""

    def after_backward(self, node: Node, g: Any, gradients: Sequence[Any]) -> None:
        """The rule of `node` gave one gradient (or None) for each parent."""

    def before_module(self, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """`module` is about to be called; what it calls comes before its `after_module`, which an error leaves out."""

    def after_module(self, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """`module` was called and gave `result`."""


Watcher = TypeVar("Watcher", bound=Observer)


@contextmanager
def observing(watcher: Watcher) -> Iterator[Watcher]:
    """Show every operator call of this thread to `watcher` while the block runs.

    >>> import kinone as kn
    >>> class Names(Observer):
    ...     def after_forward(self, op, args, attrs, result):
    ...         print(op.name, result.shape)
    >>> with observing(Names()):
    ...     y = (kn.Tensor([1.0, 2.0]) + 1.0).sum()
    add (2,)
    sum ()
    """
    with setting("observers", (*modes.observers, watcher)):
        yield watcher


def arrays_in(value: Any) -> list[NDArray[Any]]:
    """The arrays in a result, a cotangent or a list of gradients; Python numbers and None are not among them."""
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays_in(part)]
    value = value.data if isinstance(value, Tensor) else value
    # What NumPy computes of 0-d arrays are its scalars.
    return [np.asarray(value)] if isinstance(value, np.ndarray | np.generic) else []
