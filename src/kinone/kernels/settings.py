"""What the environment may set of the native kernels: their instruction set and their threads.

Each is read from the variable that is named for it, and refused where it cannot be obeyed.
"""

import os
from types import ModuleType

from kinone.errors import ArgumentError

ISA, THREADS, OPENMP, ALLOCATOR = "KINONE_ISA", "KINONE_THREADS", "OMP_NUM_THREADS", "KINONE_ALLOCATOR"
ASKED = {name: os.environ.get(name, "") for name in (ISA, THREADS, OPENMP, ALLOCATOR)}  # read once
MOST_THREADS = 1024

try:
    from kinone.kernels import _native as native_module
except ImportError as error:  # not built, or built for another Python or C library
    native_module = None
    WHY_NOT = "not built here" if "_native" in str(error) else f"unusable here ({error})"
else:
    WHY_NOT = "" if any(native_module.isas().values()) else "of no use to this processor, which is too old"

native: ModuleType | None = None if WHY_NOT else native_module


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def isa(asked: str = ASKED[ISA]) -> str:
    """The instruction set that the native kernels use if KINONE_ISA is `asked`; if it is empty, the best here."""
    built: dict[str, bool] = native.isas() if native else {}
    if asked and not built.get(asked):
        choices = [name if runs else f"{name} (not on this processor)" for name, runs in built.items()]
        raise ArgumentError(ISA, " or ".join(choices) or f"nothing (the native kernels are {WHY_NOT})", repr(asked),
                            hint="unset it to take the best there is.")  # fmt: skip
    return asked or [name for name, runs in built.items() if runs][-1]


def threads(asked: str = ASKED[THREADS]) -> int:
    """The threads with which the native kernels start if KINONE_THREADS is `asked`; if empty, one a usable core.

    OMP_NUM_THREADS is a limit too, so that what starts several processes need not know Kinone's variable.

    >>> threads("3")
    3
    """
    if asked:
        return checked_threads(THREADS, int(asked) if asked.isascii() and asked.isdigit() else asked)
    openmp = ASKED[OPENMP].partition(",")[0].strip()
    limit = int(openmp) if openmp.isascii() and openmp.isdigit() else 0
    return min(limit or MOST_THREADS, usable_cores(), MOST_THREADS)


def threads_now() -> int:
    """The threads that kernels use, and others who share out work among threads: those set last."""
    return native.threads() if native else usable_cores()


def has_allocator(asked: str = ASKED[ALLOCATOR]) -> bool:
    """Whether arrays take their memory from the kernels' cache if KINONE_ALLOCATOR is `asked`.

    >>> has_allocator("numpy")
    False
    """
    if asked not in ("", "kinone", "numpy"):
        raise ArgumentError(ALLOCATOR, "kinone or numpy", repr(asked), hint="unset it to take Kinone's.")
    return asked != "numpy"


def checked_threads(where: str, count: int | str) -> int:
    """`count` if it is a number of threads."""
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_THREADS:
        raise ArgumentError(where, f"a whole number from 1 to {MOST_THREADS}", repr(count))
    return count
