"""Watching operators run: what recordings, profiles and anomaly mode have in common."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from kinone.core.graph import Node
from kinone.core.modes import modes, setting
from kinone.core.op import Op


class Observer:
    """Someone who is shown every operator call and every rule of this thread; override what you need.

    An observer must not change what it is shown.
    """

    def before_forward(self, op: Op[Any], arrays: Sequence[Any], attrs: Mapping[str, Any]) -> None:
        """`op` is about to run on `arrays`."""

    def after_forward(self, op: Op[Any], args: Sequence[Any], attrs: Mapping[str, Any], result: Any) -> None:
        """`op` was called with `args` (Tensors, arrays, numbers) and gave `result`, a Tensor or a tuple of them."""

    def before_backward(self, node: Node, g: Any) -> None:
        """The rule of `node` is about to run on the cotangent `g`."""

    def after_backward(self, node: Node, g: Any, gradients: Sequence[Any]) -> None:
        """The rule of `node` gave one gradient (or None) for each parent."""


Watcher = TypeVar("Watcher", bound=Observer)


@contextmanager
def observing(watcher: Watcher) -> Iterator[Watcher]:
    """Show every operator call of this thread to `watcher` while the block runs."""
    with setting("observers", (*modes.observers, watcher)):
        yield watcher
