"""Smooth activations: the sigmoid, its relatives, and the gates made of it. Those made of pieces are in `rectifier`."""

from math import pi, sqrt

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError, ShapeError
from kinone.ops.arguments import by_kernel, one_axis
from kinone.ops.arithmetic import abs, clip, maximum, negative, square
from kinone.ops.declare import Bad, ByDefinition, Onnx, Sample, integers, large, normal
from kinone.ops.exponential import erfc, exp, log1p
from kinone.ops.shape import concat, split
from kinone.ops.trigonometric import tanh

_ELEMENTS = [Sample(normal(2, 3)), Sample(normal()), Sample(normal(0, 3)), Sample(large(2, 3))]
_NO_FLOATS = [Bad(integers(2), match="x of a .*got int64")]


# ------------------------------------------------------------------------------ the sigmoid and its integral
@op(onnx=Onnx("Sigmoid"), methods=("sigmoid",), samples=_ELEMENTS, errors=_NO_FLOATS)
def sigmoid(x: Array) -> Array:
    """y = σ(x) = 1 / (1 + e⁻ˣ).   ∂L/∂x = g · y · (1 − y).

    >>> sigmoid([0.0, -1000.0])
    array([0.5, 0. ])
    """
    return kernels.sigmoid(np.asarray(x))


@sigmoid.backward
@by_kernel
def sigmoid_backward(g: Array, y: Array) -> Array:
    return g * (y * (1 - y))


def softplus_definition(x: Array, *, beta: float = 1.0) -> Array:
    return (maximum(beta * x, 0) + log1p(exp(-abs(beta * x)))) / beta


def _is_scaled(beta: float) -> str:
    return "" if beta == 1 else "ONNX's Softplus has no beta"


@op(onnx=Onnx("Softplus", unless=_is_scaled), definition=softplus_definition,
    samples=[*_ELEMENTS, Sample(normal(2, 3), beta=2.5)],
    errors=[*_NO_FLOATS, Bad(normal(2), beta=0.0, match="beta > 0, got beta=0.0", error=ArgumentError)])  # fmt: skip
def softplus(x: Array, *, beta: float = 1.0) -> Array:
    """y = ln(1 + e^βx) / β.   ∂L/∂x = g · σ(βx).

    Computed so that it never overflows, and therefore without a threshold beyond which it would turn into x.

    >>> softplus([0.0, 1000.0])
    array([6.93147181e-01, 1.00000000e+03])
    """
    if not beta > 0:
        raise ArgumentError("softplus", "beta > 0", f"beta={beta}")
    return kernels.softplus(np.asarray(x), beta=beta)


@softplus.backward(serves_tensors=True)
@by_kernel
def softplus_backward(g: Array, x: Array, beta: float) -> Array:
    return g * sigmoid(x * beta)


def log_sigmoid_definition(x: Array) -> Array:
    return negative(softplus(negative(x)))


@op(onnx=ByDefinition(), definition=log_sigmoid_definition, samples=_ELEMENTS, errors=_NO_FLOATS)
def log_sigmoid(x: Array) -> Array:
    """y = ln σ(x) = −ln(1 + e⁻ˣ).   ∂L/∂x = g · σ(−x).

    >>> log_sigmoid([0.0, -1000.0])
    array([-6.93147181e-01, -1.00000000e+03])
    """
    return kernels.log_sigmoid(np.asarray(x))


@log_sigmoid.backward(serves_tensors=True)
def log_sigmoid_backward(g: Array, x: Array) -> Array:
    return g * sigmoid(-x)


@op(onnx=Onnx("Softsign"), samples=_ELEMENTS, errors=_NO_FLOATS)
def softsign(x: Array) -> Array:
    """y = x / (1 + |x|).   ∂L/∂x = g / (1 + |x|)².

    >>> softsign([1.0, -3.0])
    array([ 0.5 , -0.75])
    """
    return np.divide(x, 1 + np.abs(x))


@softsign.backward
def softsign_backward(g: Array, x: Array) -> Array:
    slope = 1 / (1 + abs(x))
    return g * slope * slope


def tanhshrink_definition(x: Array) -> Array:
    return x - tanh(x)


@op(onnx=ByDefinition(), definition=tanhshrink_definition, samples=_ELEMENTS, errors=_NO_FLOATS)
def tanhshrink(x: Array) -> Array:
    """y = x − tanh x.   ∂L/∂x = g · tanh² x.

    >>> tanhshrink([0.0, 1.0])
    array([0.        , 0.23840584])
    """
    return np.subtract(x, kernels.tanh(x))


@tanhshrink.backward(serves_tensors=True)
def tanhshrink_backward(g: Array, x: Array) -> Array:
    return g * square(tanh(x))


# ------------------------------------------------------------------------------ gates: x times something from 0 to 1
# By definition, although opset 24 has Swish: ONNX Runtime (1.31) does not run it.
def silu_definition(x: Array) -> Array:
    return x * sigmoid(x)


@op(onnx=ByDefinition(), definition=silu_definition, samples=_ELEMENTS, errors=_NO_FLOATS)
def silu(x: Array) -> Array:
    """y = x · σ(x), also called swish.   ∂L/∂x = g · σ(x) · (1 + x · (1 − σ(x))).

    >>> silu([0.0, 1.0])
    array([0.        , 0.73105858])
    """
    return kernels.silu_forward(np.asarray(x))


@silu.backward
def silu_backward(g: Array, x: Array) -> Array:
    return kernels.silu_backward(g, x)


swish = silu


def mish_definition(x: Array) -> Array:
    return x * tanh(softplus(x))


@op(onnx=Onnx("Mish"), definition=mish_definition, samples=_ELEMENTS, errors=_NO_FLOATS)
def mish(x: Array) -> Array:
    """y = x · t, t = tanh(ln(1 + eˣ)).   ∂L/∂x = g · (t + x · σ(x) · (1 − t²)).

    >>> mish([0.0, 1.0])
    array([0.        , 0.86509839])
    """
    return kernels.mish(np.asarray(x))


@mish.backward(serves_tensors=True)
@by_kernel
def mish_backward(g: Array, x: Array) -> Array:
    t = tanh(softplus(x))
    return g * (t + x * sigmoid(x) * (1 - t * t))


def gelu_definition(x: Array, *, approximate: str = "none") -> Array:
    if approximate == "none":
        return x * (0.5 * erfc(x * -sqrt(0.5)))
    near = clip(x, -1e4, 1e4)  # beyond, where tanh has long been ±1, its slope would be 0 · ∞
    return 0.5 * x * (1 + tanh(sqrt(2 / pi) * (near + 0.044715 * near * near * near)))


@op(onnx=Onnx("Gelu", attributes={"approximate": "approximate"}), definition=gelu_definition,
    samples=[*_ELEMENTS, Sample(normal(2, 3), approximate="tanh"), Sample(large(2, 3), approximate="tanh")],
    errors=[*_NO_FLOATS, Bad(normal(2), approximate="erf", match="'none' or 'tanh', got 'erf'")])  # fmt: skip
def gelu(x: Array, *, approximate: str = "none") -> Array:
    """y = x · Φ(x), Φ the normal distribution's.   ∂L/∂x = g · (Φ(x) + x · φ(x)).

    With `approximate="tanh"`, Φ(x) ≈ ½ (1 + tanh(√(2/π) · (x + 0.044715 x³))).

    >>> gelu([0.0, 1.0])
    array([0.        , 0.84134475])
    """
    if approximate not in ("none", "tanh"):
        raise ArgumentError("gelu", "approximate='none' or 'tanh'", repr(approximate))
    return kernels.gelu_forward(np.asarray(x), approximate=approximate)


@gelu.backward
def gelu_backward(g: Array, x: Array, approximate: str) -> Array:
    return kernels.gelu_backward(g, x, approximate=approximate)


def glu_definition(x: Array, *, axis: int = -1) -> Array:
    a, b = split(x, 2, axis=axis)
    return a * sigmoid(b)


@op(onnx=ByDefinition(), definition=glu_definition,
    samples=[Sample(normal(2, 4)), Sample(normal(4, 3), axis=0), Sample(large(2, 4))],
    errors=[Bad(normal(2, 3), match=r"an even length of axis 1, got 3 \(x has shape \(2, 3\)\)", error=ShapeError),
            Bad(normal(2, 4), axis=2, match="axis=2 is outside")])  # fmt: skip
def glu(x: Array, *, axis: int = -1) -> Array:
    """y = a · σ(b), (a, b) the halves of x along `axis`.   ∂L/∂a = g · σ(b),  ∂L/∂b = g · y · (1 − σ(b)).

    >>> glu([3.0, 0.0])
    array([1.5])
    """
    x = np.asarray(x)
    axis = one_axis("glu", x, axis)
    if x.shape[axis] % 2:
        raise ShapeError("glu", f"an even length of axis {axis}", f"{x.shape[axis]} (x has shape {x.shape})")
    a, b = np.split(x, 2, axis)
    return a * kernels.sigmoid(b)


@glu.backward(serves_tensors=True)
def glu_backward(g: Array, y: Array, x: Array, axis: int) -> Array:
    _, b = split(x, 2, axis=axis)
    gate = sigmoid(b)
    return concat(g * gate, g * y * (1 - gate), axis=axis)
