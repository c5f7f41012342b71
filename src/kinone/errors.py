"""The errors that Kinone raises, and the one form of their messages.

Every message reads `[where] expected …, got …. Hint: …`: the operator or function that refused, what it needed,
what came instead and, for the usual mistakes, what to type. Each class also derives from the built-in exception
that a Python programmer would catch for that kind of fault.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from inspect import Parameter
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import numpy as np


class KinoneError(Exception):
    """Base of all errors that a user's input can cause.

    >>> print(ShapeError("matmul", "a with 3 columns", "4", hint="transpose a?"))
    [matmul] expected a with 3 columns, got 4. Hint: transpose a?
    """

    def __init__(self, where: str, expected: str, got: str, *, hint: str = "") -> None:
        self.where, self.expected, self.got, self.hint = where, expected, got, hint
        super().__init__(f"[{where}] expected {expected}, got {got}." + (f" Hint: {hint}" if hint else ""))

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions pickle by their args, which hold the finished message; worker processes need the four parts.
        return _rebuild, (type(self), self.where, self.expected, self.got, self.hint)


def _rebuild(kind: type[KinoneError], where: str, expected: str, got: str, hint: str) -> KinoneError:
    return kind(where, expected, got, hint=hint)


class ShapeError(KinoneError, ValueError):
    """An array has the wrong number of axes or the wrong lengths."""


class AxisError(KinoneError, ValueError, IndexError):
    """An axis or an index lies outside the array."""


class DtypeError(KinoneError, TypeError):
    """An array has a dtype that the operator does not take, or dtypes that do not mix."""


class ArgumentError(KinoneError, ValueError):
    """An attribute has a value (or a type) outside its choices."""


class DeviceError(KinoneError, ValueError):
    """A device that does not exist here, or arrays on different devices."""


class GraphError(KinoneError, RuntimeError):
    """The graph cannot do what was asked: no gradient, already freed, not a scalar, recorded data in the way."""


class StateError(KinoneError, ValueError):
    """A state or a checkpoint does not fit what it is loaded into."""


class FormatError(KinoneError, ValueError):
    """A file is not what its format says: cut off, altered, hostile, or of another kind."""


class DataError(KinoneError, RuntimeError):
    """A sample, a file of a data set or a worker that reads them fails."""


class NumericsError(KinoneError, ArithmeticError):
    """Anomaly mode met a value that is not finite."""


class MissingKernelsWarning(UserWarning):
    """The native kernels are missing, and what that costs."""


class MissingExtraError(KinoneError, ImportError):
    """An optional dependency is not installed; the hint names the extra."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint at the name that was perhaps meant; empty where none is like it.

    >>> nearest("epoch", ["epochs", "seed"]), nearest("x", ["epochs"])
    ('did you mean epochs?', '')
    """
    close = get_close_matches(name, list(names), n=1)
    return f"did you mean {close[0]}?" if close else ""


_CLASSES: dict[Any, tuple[type, ...]] = {
    bool: (bool, np.bool_),
    int: (int, np.integer),
    float: (float, int, np.floating, np.integer),
    tuple: (tuple, list),
    Sequence: (tuple, list),
}


def accepted(annotation: Any) -> tuple[tuple[type, ...], str]:
    """The classes that values of an attribute with this annotation have, and those in words; none where anything goes.

    >>> accepted(int | None)[1]
    'int | None'
    """
    parts = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    kinds = [get_origin(part) or part for part in parts]
    if not all(isinstance(kind, type) and kind not in (Any, Parameter.empty) for kind in kinds):
        return (), ""
    words = " | ".join("None" if p is NoneType else getattr(p, "__name__", "") if p in kinds else str(p) for p in parts)
    return tuple(c for kind in kinds for c in _CLASSES.get(kind, (kind,))), words.replace("collections.abc.", "")


def fitting(op: Any, attrs: dict[str, Any]) -> None:
    """Refuse attributes of other types than the operator declares; True is no number."""
    for name, value in attrs.items():
        kinds, words = op.takes.get(name, ((), ""))
        if kinds and not (isinstance(value, kinds) and (type(value) is not bool or bool in kinds)):
            raise ArgumentError(op.name, f"{name} to be {words}", f"{name}={value!r}")


def explained(op: Any, error: Exception, args: tuple[Any, ...], attrs: dict[str, Any]) -> Exception:
    """The error in the house's form for what NumPy or Python said about a call of the operator `op`."""
    if isinstance(error, KinoneError):
        return error
    allowed, given = [*op.inputs, *op.attributes], op.leading[: len(args)]
    faults = [repr(name) for name in attrs if name not in allowed]
    if not op.is_variadic:
        faults += [f"{name} given twice" for name in given if name in attrs]
        faults += [f"no {name}" for name in op.required if name not in given and name not in attrs]
    if faults:
        return ArgumentError(op.name, f"the arguments ({', '.join(allowed)})", ", ".join(faults))
    shapes = " and ".join(str(getattr(a, "shape", a)) for a in args)
    if "broadcast" in str(error):
        return ShapeError(op.name, f"shapes of {', '.join(op.inputs)} that broadcast together", shapes)
    numbers = [repr(a) for a in args if a is not None and getattr(a, "shape", ()) == ()]
    if isinstance(error, AttributeError) and numbers:
        return ShapeError(op.name, f"arrays as {', '.join(op.inputs)}", ", ".join(numbers))
    named = "".join(f", {name}={getattr(value, 'shape', value)}" for name, value in attrs.items())
    return ArgumentError(op.name, "arguments that fit together", f"{shapes}{named} ({error})")
