"""What layers have in common: how they look in a printed model, and how their arguments are checked."""

import inspect
from typing import Any

from kinone.core.tensor import as_array
from kinone.errors import ArgumentError
from kinone.nn.module import Module
from kinone.ops.window import per_axis


class Layer(Module):
    """A module that is printed as the call that makes it, arguments at their defaults left out.

    >>> from kinone import nn
    >>> nn.Conv2d(3, 8, 3, padding=1)
    Conv2d(in_channels=3, out_channels=8, kernel_size=3, padding=1)
    """

    def extra_repr(self) -> str:
        parameters = inspect.signature(type(self).__init__).parameters
        shown: list[str] = []
        for name, value in self.get_config().items():
            value, default = _short(value), parameters[name].default if name in parameters else inspect.Parameter.empty
            if not (type(value) is type(default) and value == default):
                shown.append(f"{name}={value!r}")
        return ", ".join(shown)


def _short(value: Any) -> Any:
    """(3, 3) as 3."""
    return value[0] if isinstance(value, tuple) and len(value) > 1 and len(set(value)) == 1 else value


def count(where: str, name: str, value: Any, least: int = 1) -> int:
    """`value` as a whole number that is large enough."""
    return per_axis(where, name, value, 1, least)[0]


def probability(where: str, name: str, value: Any) -> float:
    """`value` as a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ArgumentError(where, f"0 ≤ {name} ≤ 1", f"{name}={value!r}")
    return float(value)


def as_is(x: Any) -> Any:
    """A tensor or an array as it is, lists as the array of a tensor."""
    return x if hasattr(x, "shape") else as_array(x)
