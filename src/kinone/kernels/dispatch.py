"""Which implementation of each kernel runs, and why.

Operators look a kernel up in `kinone.kernels` by name at every call, and that namespace holds the reference functions
themselves: so as long as there is nothing else to choose, choosing costs nothing. A faster implementation takes its
name there, as a function that looks at dtype and device and leaves to the reference what it cannot do. Speed measured
at run time never decides: the same call has the same bits tomorrow.
"""

import os
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

from kinone.errors import ArgumentError

VARIABLE = "KINONE_KERNELS"
IMPLEMENTATIONS = ("reference", "native")
BUILT = ("reference",)  # of those, what this installation has
ASKED = os.environ.get(VARIABLE, "")  # read once: names are bound when the package is imported


@dataclass(frozen=True)
class Choice:
    """The implementation that serves a kernel."""

    name: str
    family: str
    implementation: str
    why: str


def implementation(asked: str = ASKED) -> tuple[str, str]:
    """The implementation in use and why, if KINONE_KERNELS is `asked`.

    >>> implementation("")
    ('reference', 'no other is built')
    """
    if asked not in ("", *BUILT):
        choices = (name if name in BUILT else f"{name} (not built here)" for name in IMPLEMENTATIONS)
        raise ArgumentError(VARIABLE, " or ".join(choices), repr(asked), hint="unset it to take the best there is.")
    return (asked, f"{VARIABLE}={asked}") if asked else (BUILT[-1], "no other is built")


def explain() -> list[Choice]:
    """What runs for each kernel, by family and name, and why.

    >>> [choice.implementation for choice in explain() if choice.name == "softmax_forward"]
    ['reference']
    """
    which, why = implementation()
    return [Choice(name, family, which, why) for family, name in _kernels()]


def _kernels() -> Iterator[tuple[str, str]]:
    root = import_module("kinone.kernels")
    for family in (module.name for module in pkgutil.iter_modules(root.__path__) if module.ispkg):
        reference = import_module(f"{root.__name__}.{family}.reference")
        yield from ((family, name) for name in sorted(getattr(reference, "__all__", None) or _own(reference)))


def _own(module: ModuleType) -> list[str]:
    functions = (f for f in vars(module).values() if isinstance(f, FunctionType) and f.__module__ == module.__name__)
    return [f.__name__ for f in functions if not f.__name__.startswith(("_", "check_"))]


def bind(namespace: dict[str, Any]) -> None:
    """Put what serves each kernel into `namespace`, which holds the reference functions.

    Where KINONE_KERNELS cannot be obeyed, each kernel refuses once it is called rather than Kinone to be imported:
    `kinone doctor` must still be able to say what is wrong.
    """
    try:
        implementation()
    except ArgumentError:
        namespace.update((name, _refuse) for _, name in _kernels() if name in namespace)


def _refuse(*args: Any, **attrs: Any) -> None:
    implementation()
