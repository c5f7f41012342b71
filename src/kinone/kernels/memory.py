"""The memory of arrays: where the native kernels run, NumPy takes it from a cache of theirs.

Fresh memory costs a page fault for every 4 KB, which for large element-wise results is more than the arithmetic. The
cache is NumPy's allocator in every thread that calls a kernel; KINONE_ALLOCATOR=numpy leaves NumPy its own.
"""

from typing import NamedTuple

from kinone.kernels.settings import native


class Memory(NamedTuple):
    """Bytes of arrays in use, those that wait to be used again, and the most that were in use at once."""

    used: int
    waiting: int
    most_used: int


def memory(*, forget_most_used: bool = False) -> Memory:
    """What the cache holds now; all 0 without one. `most_used` counts from the last call that was told to forget it.

    >>> memory().used <= memory().most_used
    True
    """
    if native is None:
        return Memory(0, 0, 0)
    now = Memory(*native.memory())
    if forget_most_used:
        native.forget_most_used()
    return now


def release_memory() -> None:
    """Give the memory that waits in the cache back to the system.

    >>> release_memory()
    >>> memory().waiting
    0
    """
    if native is not None:
        native.release_memory()
