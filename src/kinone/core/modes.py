"""What an operator call looks up before it records: is recording on, and who is watching.

The state is per thread, so that `no_grad` in a data-loading thread never switches off another thread's training.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


class Modes(threading.local):
    """The modes of one thread; a new thread starts with recording on and nobody watching."""

    recording: bool = True
    observers: tuple[Any, ...] = ()  # see kinone.inspection.observer.Observer for what they are shown


modes = Modes()


@contextmanager
def setting(name: str, value: Any) -> Generator[None]:
    """Set a mode while the block runs."""
    before = getattr(modes, name)
    setattr(modes, name, value)
    try:
        yield
    finally:
        setattr(modes, name, before)


def no_grad():
    """Record nothing inside; a context manager and a decorator.

    >>> import kinone as kn
    >>> x = kn.Tensor([1.0], requires_grad=True)
    >>> with kn.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    return setting("recording", False)


def enable_grad():
    """Record again inside a `no_grad` block; a context manager and a decorator."""
    return setting("recording", True)
