"""What layers have in common: how they look in a printed model, and how their arguments are checked."""

import inspect
from typing import Any, Self

from kinone.core.tensor import as_array
from kinone.errors import ArgumentError, accepted
from kinone.nn.module import Module
from kinone.ops.window import per_axis


class Layer(Module):
    """A module whose arguments have the types that it declares, printed as the call that makes it.

    Arguments at their defaults are left out.

    >>> from kinone import nn
    >>> nn.Conv2d(3, 8, 3, padding=1)
    Conv2d(in_channels=3, out_channels=8, kernel_size=3, padding=1)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        home = getattr(cls.__init__, "__module__", "")
        if home.startswith(f"{__package__}."):  # whoever derives a class may annotate as he likes
            _check_types(cls, args, kwargs)
        return super().__new__(cls)

    def extra_repr(self) -> str:
        parameters = inspect.signature(type(self).__init__).parameters
        shown: list[str] = []
        for name, value in self.get_config().items():
            value, default = _short(value), parameters[name].default if name in parameters else inspect.Parameter.empty
            if not (type(value) is type(default) and value == default):
                shown.append(f"{name}={value!r}")
        return ", ".join(shown)


def _check_types(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    signature = inspect.signature(cls.__init__)
    try:
        given = signature.bind_partial(None, *args, **kwargs).arguments
    except TypeError:
        return  # Python itself will say what is wrong with the call
    for name, value in given.items():
        kinds, words = accepted(signature.parameters[name].annotation)
        if kinds and not (isinstance(value, kinds) and (type(value) is not bool or bool in kinds)):
            raise ArgumentError(cls.__name__, f"{name} to be {words}", f"{name}={value!r}")


def _short(value: Any) -> Any:
    """(3, 3) as 3."""
    return value[0] if isinstance(value, tuple) and len(value) > 1 and len(set(value)) == 1 else value


def count(where: str, name: str, value: Any, least: int = 1) -> int:
    """`value` as a whole number that is large enough."""
    return per_axis(where, name, value, 1, least)[0]


def probability(where: str, name: str, value: Any) -> float:
    """`value` as a number from 0 to 1."""
    if not 0 <= value <= 1:
        raise ArgumentError(where, f"0 ≤ {name} ≤ 1", f"{name}={value!r}")
    return float(value)


def as_is(x: Any) -> Any:
    """A tensor or an array as it is, lists as the array of a tensor."""
    return x if hasattr(x, "shape") else as_array(x)
