"""The errors that Kinone raises, and the one form of their messages.

Every message reads `[where] expected …, got …. Hint: …`: the operator or function that refused, what it needed,
what came instead and, for the usual mistakes, what to type. Each class also derives from the built-in exception
that a Python programmer would catch for that kind of fault.
"""

from typing import Any


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


class NumericsError(KinoneError, ArithmeticError):
    """Anomaly mode met a value that is not finite."""


class MissingExtraError(KinoneError, ImportError):
    """An optional dependency is not installed; the hint names the extra."""


class ReferenceKernelsWarning(UserWarning):
    """The native kernels are missing from this installation, so results come slower and with other bits."""


def explained(op: Any, error: Exception, args: tuple[Any, ...], attrs: dict[str, Any]) -> Exception:
    """The error in the house's form for what NumPy or Python said about a call of the operator `op`."""
    if isinstance(error, KinoneError):
        return error
    unknown = [repr(name) for name in attrs if name not in op.attributes and name not in op.inputs]
    if unknown:
        allowed = ", ".join([*op.inputs, *op.attributes])
        return ArgumentError(op.name, f"the arguments ({allowed})", ", ".join(unknown))
    shapes = " and ".join(str(getattr(a, "shape", a)) for a in args)
    if "broadcast" in str(error):
        return ShapeError(op.name, f"shapes of {', '.join(op.inputs)} that broadcast together", shapes)
    return ArgumentError(op.name, "arguments that fit together", f"{shapes} {attrs or ''} ({error})")
