"""y = x·wᵀ + b: fully connected layers."""

from typing import Any

from kinone.errors import ArgumentError
from kinone.nn import initialize
from kinone.nn.module import Module
from kinone.nn.parameter import Parameter
from kinone.nn.state import Shape
from kinone.ops import linear


class Identity(Module):
    """y = x, whatever arguments it is given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def get_config(self) -> dict[str, Any]:
        return {}

    def forward(self, x: Any) -> Any:
        return x


class Linear(Module):
    """y = x·wᵀ + b, x (…, in_features) → y (…, out_features).

    `Linear(out_features)`, or `Linear(None, out_features)`, takes the number of inputs from its first one.

    >>> layer = Linear(3, 2)
    >>> layer.weight.shape, layer.bias.shape
    ((2, 3), (2,))
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, in_features: int | None, out_features: int | None = None, bias: bool = True) -> None:
        if out_features is None:
            in_features, out_features = None, in_features
        for name, n in (("in_features", in_features), ("out_features", out_features)):
            if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 0):
                raise ArgumentError("Linear", f"{name}, a number of features", repr(n))
        if out_features is None:
            raise ArgumentError("Linear", "out_features", "None")
        self.in_features, self.out_features = in_features, out_features
        self.has_bias = bias
        self.weight = self.bias = None
        self.is_waiting = in_features is None
        if in_features is not None:
            self.make(in_features)

    def get_config(self) -> dict[str, Any]:
        return {"in_features": self.in_features, "out_features": self.out_features, "bias": self.has_bias}

    def make(self, in_features: int) -> None:
        """Draw the parameters, as PyTorch does: uniform between ±1/√in_features."""
        self.in_features, self.is_waiting = in_features, False
        self.weight = Parameter(initialize.fan_in_uniform((self.out_features, in_features), in_features))
        if self.has_bias:
            self.bias = Parameter(initialize.fan_in_uniform((self.out_features,), in_features))

    def settle(self, x: Any) -> None:
        self.make(x.shape[-1])

    def settle_like(self, shapes: dict[str, Shape]) -> None:
        if len(shapes.get("weight", ())) == 2:
            self.make(shapes["weight"][1])

    def forward(self, x: Any) -> Any:
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.has_bias}"
