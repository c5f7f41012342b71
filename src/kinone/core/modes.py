"""What an operator call looks up before it records: is recording on, and who is watching.

The state is per thread, so that `no_grad` in a data-loading thread never switches off another thread's training.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Observer:
    """Someone who watches operators run: recordings, profiles and anomaly mode are observers.

    Every method does nothing here; override what you need and watch with `with observing(watcher): …`.
    An observer must not change what it is shown.
    """

    def before_forward(self, op: Any, arrays: tuple[Any, ...], attrs: dict[str, Any]) -> None:
        """`op` is about to run on `arrays`."""

    def after_forward(self, op: Any, args: tuple[Any, ...], attrs: dict[str, Any], result: Any) -> None:
        """`op` was called with `args` (Tensors, arrays, numbers) and gave `result` (a Tensor or a tuple of them)."""

    def before_backward(self, node: Any, g: Any) -> None:
        """The rule of `node` is about to run on the cotangent `g`."""

    def after_backward(self, node: Any, g: Any, gradients: list[Any]) -> None:
        """The rule of `node` gave one gradient (or None) for each parent."""


class Modes(threading.local):
    """The modes of one thread; every new thread starts with recording on and nobody watching."""

    recording: bool = True
    observers: tuple[Observer, ...] = ()


modes = Modes()


@contextmanager
def _recording(flag: bool) -> Iterator[None]:
    before, modes.recording = modes.recording, flag
    try:
        yield
    finally:
        modes.recording = before


def no_grad():
    """Record nothing inside; a context manager and a decorator.

    >>> import kinone as kn
    >>> x = kn.Tensor([1.0], requires_grad=True)
    >>> with kn.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    return _recording(False)


def enable_grad():
    """Record again inside a `no_grad` block; a context manager and a decorator."""
    return _recording(True)


def is_recording() -> bool:
    """True where calls on tensors that require gradients are being recorded."""
    return modes.recording


@contextmanager
def observing(watcher: Observer) -> Iterator[Observer]:
    """Show every operator call and every rule of this thread to `watcher` while the block runs."""
    before, modes.observers = modes.observers, (*modes.observers, watcher)
    try:
        yield watcher
    finally:
        modes.observers = before
