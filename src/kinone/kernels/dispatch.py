"""Which implementation of each kernel runs, and why.

Operators look a kernel up in `kinone.kernels` by name at every call. That namespace holds the reference function itself
or, where a faster implementation is built, a function that calls this one: it looks at dtype and device and answers
NotImplemented to what it leaves to the reference. Speed measured at run time never decides: the same call has the same
bits tomorrow.
"""

import os
import pkgutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

from kinone.errors import ArgumentError, MissingKernelsWarning
from kinone.kernels import settings

VARIABLE = "KINONE_KERNELS"
IMPLEMENTATIONS = ("reference", "native")
BUILT = ("reference", "native") if settings.native else ("reference",)  # of those, what runs here
ASKED = os.environ.get(VARIABLE, "")  # read once: names are bound when the package is imported
DEFAULT = BUILT[-1]
LOST = (
    f"the native kernels are {settings.WHY_NOT}: Kinone runs on its NumPy reference, several times slower "
    "and with the bits of this machine's NumPy instead of profile kn1's. Hint: with GCC or Clang here, install Kinone "
    f"again; {VARIABLE}=reference is the same without this warning."
)

_REST = "; other dtypes than float16, float32 and float64 by the reference"


@dataclass(frozen=True)
class Choice:
    """The implementation that serves a kernel."""

    name: str
    family: str
    implementation: str
    why: str


def implementation(asked: str = ASKED) -> tuple[str, str]:
    """The best implementation in use and why, if KINONE_KERNELS is `asked`.

    >>> implementation("reference")
    ('reference', 'KINONE_KERNELS=reference')
    """
    if asked not in ("", *BUILT):
        choices = (name if name in BUILT else f"{name} ({settings.WHY_NOT})" for name in IMPLEMENTATIONS)
        raise ArgumentError(VARIABLE, " or ".join(choices), repr(asked), hint="unset it to take the best there is.")
    if (asked or DEFAULT) == "reference":
        why = f"{VARIABLE}={asked}" if asked else f"the native ones are {settings.WHY_NOT}"
        return "reference", why
    assert settings.native is not None
    settings.threads(), settings.has_allocator()  # refuse what cannot be obeyed
    count = settings.native.threads()
    return "native", f"{settings.isa()} runs here, on {count} thread{'s' * (count > 1)}"


def explain(asked: str = ASKED) -> list[Choice]:
    """What runs for each kernel, by family and name, and why.

    >>> [choice.implementation for choice in explain("reference") if choice.name == "softmax_forward"]
    ['reference']
    """
    which, why = implementation(asked)
    found: list[Choice] = []
    for family, name in _kernels():
        if settings.native is None or hasattr(settings.native, name):
            found.append(Choice(name, family, which, why + _REST * (which == "native")))
        elif name in getattr(import_module(f"kinone.kernels.{family}.reference"), "COMPOSED", ()):
            found.append(Choice(name, family, which, f"composed of {which} kernels"))
        else:
            found.append(Choice(name, family, "reference", "no other is built"))
    return found


def profile(asked: str = ASKED) -> str:
    """The numerics profile, honestly: kn1 once every kernel is native, until then which families are.

    The bits of native kernels are kn1's; those of reference kernels are NumPy's and its BLAS's, of this machine.
    """
    choices = [choice for choice in explain(asked) if choice.family != "random"]  # whose bits Kinone defines itself
    native = sorted({choice.family for choice in choices if choice.implementation == "native"})
    is_whole = all(choice.implementation == "native" for choice in choices)
    return "kn1" if is_whole else " + ".join(["reference", *(f"native {family}" for family in native)])


def set_threads(count: int) -> None:
    """From now on native kernels run on `count` threads, the calling one among them: the speed changes, no bit does.

    >>> set_threads(0)
    Traceback (most recent call last):
    kinone.errors.ArgumentError: [set_threads] expected a whole number from 1 to 1024, got 0.
    """
    count = settings.checked_threads("set_threads", count)
    if settings.native:
        settings.native.set_threads(count)


def _kernels() -> Iterator[tuple[str, str]]:
    root = import_module("kinone.kernels")
    for family in sorted({module.name for module in pkgutil.iter_modules(root.__path__) if module.ispkg}):
        reference = import_module(f"{root.__name__}.{family}.reference")
        yield from ((family, name) for name in sorted(getattr(reference, "__all__", None) or _own(reference)))


def _own(module: ModuleType) -> list[str]:
    functions = (f for f in vars(module).values() if isinstance(f, FunctionType) and f.__module__ == module.__name__)
    return [f.__name__ for f in functions if not f.__name__.startswith(("_", "check_"))]


def bind(namespace: dict[str, Any], asked: str = ASKED) -> None:
    """Put what serves each kernel into `namespace`, which holds the reference functions.

    Where the environment cannot be obeyed, each kernel refuses once it is called rather than Kinone to be imported:
    `kinone doctor` must still be able to say what is wrong.
    """
    references = {name: namespace[name] for _, name in _kernels() if name in namespace}
    try:
        which = _started(asked)
    except ArgumentError:
        namespace.update(dict.fromkeys(references, _refuse))
        return
    if which == "native" and settings.native:
        for name, reference in references.items():
            if f := getattr(settings.native, name, None):
                namespace[name] = settings.native.either(f, reference, name, reference.__doc__ or "")


def _started(asked: str = ASKED) -> str:
    which, _ = implementation(asked)
    if which == "reference" and not asked:
        warnings.warn(LOST, MissingKernelsWarning, stacklevel=2)
    if which == "native" and settings.native:
        settings.native.set_isa(settings.isa())
        settings.native.set_threads(settings.threads())
        settings.native.set_allocator(settings.has_allocator())
    return which


def _refuse(*args: Any, **attrs: Any) -> None:
    _started()
