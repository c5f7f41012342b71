"""y = x·wᵀ + b: fully connected layers, and those of two inputs."""

from typing import Any

from kinone.errors import ArgumentError, ShapeError
from kinone.nn import initialize
from kinone.nn.layer import Layer, as_is, count
from kinone.nn.module import Module
from kinone.nn.parameter import Parameter
from kinone.nn.state import Shape
from kinone.ops import expand_dims, linear, reshape
from kinone.ops.arguments import shape_of


class Identity(Module):
    """y = x, whatever arguments it is given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def get_config(self) -> dict[str, Any]:
        return {}

    def forward(self, x: Any) -> Any:
        return x


class Linear(Layer):
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
            if n is not None and n < 0:
                raise ArgumentError("Linear", f"{name} ≥ 0", f"{name}={n}")
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
        if not (shape := shape_of(x)):
            raise ShapeError("Linear", "x of shape (…, in_features)", "shape ()")
        self.make(shape[-1])

    def settle_like(self, shapes: dict[str, Shape]) -> None:
        if len(shapes.get("weight", ())) == 2:
            self.make(shapes["weight"][1])

    def forward(self, x: Any) -> Any:
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.has_bias}"


class Bilinear(Layer):
    """y[…, o] = Σᵢⱼ x1[…, i]·w[o, i, j]·x2[…, j] + b[o].

    >>> Bilinear(2, 3, 4)([[1.0, 2.0]], [[1.0, 2.0, 3.0]]).shape
    (1, 4)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True) -> None:
        self.in1_features = count("Bilinear", "in1_features", in1_features)
        self.in2_features = count("Bilinear", "in2_features", in2_features)
        self.out_features = count("Bilinear", "out_features", out_features)
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(initialize.fan_in_uniform(shape, in1_features))
        self.bias = Parameter(initialize.fan_in_uniform((out_features,), in1_features)) if bias else None

    def forward(self, x1: Any, x2: Any) -> Any:
        x1, x2 = as_is(x1), as_is(x2)
        shapes = x1.shape, x2.shape
        wanted = self.in1_features, self.in2_features
        if shapes[0][:-1] != shapes[1][:-1] or any(s[-1:] != (n,) for s, n in zip(shapes, wanted, strict=True)):
            expected = f"x1 (…, {wanted[0]}) and x2 (…, {wanted[1]}), the rest alike"
            raise ShapeError("Bilinear", expected, f"shapes {shapes[0]} and {shapes[1]}")
        products = expand_dims(x1, -1) * expand_dims(x2, -2)
        flat = reshape(products, (*shapes[0][:-1], wanted[0] * wanted[1]))
        return linear(flat, reshape(self.weight, (self.out_features, wanted[0] * wanted[1])), self.bias)
