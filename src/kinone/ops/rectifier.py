"""Rectifiers and other activations made of pieces.

At a kink the gradient is that of the piece to which the formula assigns the point; so relu'(0) = 0.
"""

import numpy as np

from kinone import kernels
from kinone.core.graph import unbroadcast
from kinone.core.op import Array, op
from kinone.errors import ArgumentError, ShapeError
from kinone.ops.arguments import by_kernel, shape_of
from kinone.ops.arithmetic import clip, maximum, minimum, where
from kinone.ops.declare import Bad, ByDefinition, Literal, Onnx, Sample, away, constant, integers, large, normal
from kinone.ops.exponential import exp, expm1
from kinone.ops.shape import reshape

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_KINK = Sample(constant([0.0, -0.0]), smooth=False, reason="a kink")
_ELEMENTS = [Sample(away(2, 3)), Sample(away()), Sample(away(0, 3)), Sample(large(2, 3)), _KINK]
_NO_FLOATS = [Bad(integers(2), match="x of a .*got int64")]


@op(onnx=Onnx("Relu"), methods=("relu",), dtypes="number", samples=[*_ELEMENTS, Sample(integers(4, low=-5))])
def relu(x: Array) -> Array:
    """y = x if x > 0, else 0.   ∂L/∂x = g if x > 0, else 0.

    >>> relu([-1.5, 2.0])
    array([0., 2.])
    """
    return kernels.relu(np.asarray(x))


@relu.backward
@by_kernel
def relu_backward(g: Array, y: Array) -> Array:
    return where(y > 0, g, 0)


@op(onnx=Onnx("LeakyRelu", attributes={"alpha": "negative_slope"}), errors=_NO_FLOATS,
    samples=[*_ELEMENTS, Sample(away(2, 3), negative_slope=0.3), Sample(away(2, 3), negative_slope=-2.0)])  # fmt: skip
def leaky_relu(x: Array, *, negative_slope: float = 0.01) -> Array:
    """y = x if x > 0, else s·x, s the `negative_slope`.   ∂L/∂x = g if x > 0, else s·g.

    >>> leaky_relu([-1.5, 2.0], negative_slope=0.1)
    array([-0.15,  2.  ])
    """
    x = np.asarray(x)
    return np.where(x > 0, x, x * negative_slope)


@leaky_relu.backward
def leaky_relu_backward(g: Array, x: Array, negative_slope: float) -> Array:
    return where(x > 0, g, g * negative_slope)


def prelu_definition(x: Array, w: Array) -> Array:
    return maximum(x, 0) + reshape(w, _beside(x.shape, w.shape)) * minimum(x, 0)


def _not_last(x_shape: tuple[int, ...], w_shape: tuple[int, ...]) -> str:
    return "ONNX's slopes belong to the last axis" if len(x_shape) > 2 and w_shape and w_shape != (1,) else ""


@op(onnx=Onnx("PRelu", unless=_not_last), definition=prelu_definition,
    samples=[Sample(away(2, 3, 2), normal(3)), Sample(away(2, 3), normal(1)), Sample(away(4), normal()),
             Sample(large(2, 3), normal(3))],
    errors=[Bad(normal(2, 3), normal(2), match=r"w of shape \(\), \(1,\) or \(3,\), got \(2,\)", error=ShapeError),
            Bad(normal(3), normal(3), match=r"w of shape \(\) or \(1,\), got \(3,\)", error=ShapeError)])  # fmt: skip
def prelu(x: Array, w: Array) -> Array:
    """y = x if x > 0, else w·x.   ∂L/∂x = g if x > 0, else w·g,  ∂L/∂w = Σ g·x over the x ≤ 0.

    One w for all elements, or one for each channel: x (n, c, …), w (c,).

    >>> prelu(np.array([[-1.0, -1.0], [2.0, 2.0]]), np.array([0.5, 0.25]))
    array([[-0.5 , -0.25],
           [ 2.  ,  2.  ]])
    """
    shape = _beside(shape_of(x), shape_of(w))
    return np.where(np.greater(x, 0), x, np.multiply(x, np.reshape(w, shape) if shape else w))


@prelu.backward(serves_tensors=True)
def prelu_backward(g: Array, x: Array, w: Array) -> tuple[Array, Array]:
    shape = _beside(shape_of(x), shape_of(w))
    return (
        lambda: where(x > 0, g, g * reshape(w, shape)),
        lambda: reshape(unbroadcast(where(x > 0, 0, g * x), shape), shape_of(w)),
    )


def _beside(x_shape: tuple[int, ...], w_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which w lines up with the channels of x."""
    channels = x_shape[1] if len(x_shape) > 1 else 1
    if w_shape not in ((), (1,), (channels,)):
        allowed = "() or (1,)" if channels == 1 else f"(), (1,) or ({channels},)"
        raise ShapeError("prelu", f"w of shape {allowed}", f"{w_shape} (x has shape {x_shape})")
    return (*w_shape, *(1 for _ in x_shape[2:])) if x_shape[1:] else w_shape and (1,) * len(x_shape)


# ------------------------------------------------------------------------------ with an exponential below 0
@op(onnx=Onnx("Elu", attributes={"alpha": "alpha"}), samples=[*_ELEMENTS, Sample(away(2, 3), alpha=0.3)],
    errors=_NO_FLOATS)  # fmt: skip
def elu(x: Array, *, alpha: float = 1.0) -> Array:
    """y = x if x > 0, else α (eˣ − 1).   ∂L/∂x = g if x > 0, else g · α eˣ.

    >>> elu([-1.0, 2.0])
    array([-0.63212056,  2.        ])
    """
    x = np.asarray(x)
    return np.where(x > 0, x, alpha * kernels.expm1(np.minimum(x, 0)))


@elu.backward
def elu_backward(g: Array, x: Array, alpha: float) -> Array:
    return where(x > 0, g, g * (alpha * exp(minimum(x, 0))))


@op(onnx=Onnx("Selu", attributes={"alpha": Literal(_SELU_ALPHA), "gamma": Literal(_SELU_SCALE)}), samples=_ELEMENTS,
    errors=_NO_FLOATS)  # fmt: skip
def selu(x: Array) -> Array:
    """y = λx if x > 0, else λα (eˣ − 1), α = 1.6732…, λ = 1.0507….   ∂L/∂x = λg if x > 0, else g · λα eˣ.

    With these two numbers, standard normal inputs give outputs of mean 0 and variance 1.

    >>> selu([-1.0, 2.0])
    array([-1.11133074,  2.10140197])
    """
    x = np.asarray(x)
    return _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * kernels.expm1(np.minimum(x, 0)))


@selu.backward
def selu_backward(g: Array, x: Array) -> Array:
    return where(x > 0, g * _SELU_SCALE, g * (_SELU_SCALE * _SELU_ALPHA * exp(minimum(x, 0))))


def celu_definition(x: Array, *, alpha: float = 1.0) -> Array:
    return where(x > 0, x, alpha * expm1(minimum(x, 0) / alpha))


@op(onnx=Onnx("Celu", attributes={"alpha": "alpha"}), definition=celu_definition,
    samples=[*_ELEMENTS, Sample(away(2, 3), alpha=0.3)],
    errors=[*_NO_FLOATS, Bad(normal(2), alpha=0.0, match="alpha > 0, got alpha=0.0", error=ArgumentError)])  # fmt: skip
def celu(x: Array, *, alpha: float = 1.0) -> Array:
    """y = x if x > 0, else α (e^(x/α) − 1).   ∂L/∂x = g if x > 0, else g · e^(x/α).

    >>> celu([-1.0, 2.0], alpha=0.5)
    array([-0.43233236,  2.        ])
    """
    if not alpha > 0:
        raise ArgumentError("celu", "alpha > 0", f"alpha={alpha}")
    x = np.asarray(x)
    return np.where(x > 0, x, alpha * kernels.expm1(np.minimum(x, 0) / alpha))


@celu.backward(serves_tensors=True)
def celu_backward(g: Array, x: Array, alpha: float) -> Array:
    return where(x > 0, g, g * exp(minimum(x, 0) / alpha))


# ------------------------------------------------------------------------------ with straight pieces
@op(onnx=Onnx("Clip", inputs=("x", "min", "max")), errors=[Bad(normal(2), min=1.0, max=1.0, match="min < max")],
    samples=[Sample(away(2, 3, kinks=(-1, 1))), Sample(away(2, 3, kinks=(-0.5, 0.7)), min=-0.5, max=0.7),
             Sample(large(2, 3)), Sample(constant([-1.0, 1.0]), smooth=False, reason="kinks")])  # fmt: skip
def hard_tanh(x: Array, *, min: float = -1.0, max: float = 1.0) -> Array:
    """y = x if `min` < x < `max`, else the nearer of the two.   ∂L/∂x = g if `min` < x < `max`, else 0.

    >>> hard_tanh([-2.0, 0.5, 3.0])
    array([-1. ,  0.5,  1. ])
    """
    if not min < max:
        raise ArgumentError("hard_tanh", "min < max", f"min={min}, max={max}")
    return np.clip(x, min, max)


@hard_tanh.backward
def hard_tanh_backward(g: Array, y: Array, min: float, max: float) -> Array:
    return where((y > min) & (y < max), g, 0)


def relu6_definition(x: Array) -> Array:
    return clip(x, 0, 6)


@op(onnx=ByDefinition(), definition=relu6_definition,
    samples=[Sample(away(2, 3, kinks=(0, 6), scale=9)), Sample(large(2, 3)), _KINK], errors=_NO_FLOATS)  # fmt: skip
def relu6(x: Array) -> Array:
    """y = x if 0 < x < 6, else the nearer of the two.   ∂L/∂x = g if 0 < x < 6, else 0.

    >>> relu6([-2.0, 0.5, 8.0])
    array([0. , 0.5, 6. ])
    """
    return np.clip(x, 0, 6)


@relu6.backward(serves_tensors=True)
def relu6_backward(g: Array, y: Array) -> Array:
    return where((y > 0) & (y < 6), g, 0)


@op(onnx=Onnx("HardSigmoid", attributes={"alpha": Literal(1 / 6), "beta": Literal(0.5)}), errors=_NO_FLOATS,
    samples=[Sample(away(2, 3, kinks=(-3, 3), scale=5)), Sample(large(2, 3)),
             Sample(constant([-3.0, 3.0]), smooth=False, reason="kinks")])  # fmt: skip
def hard_sigmoid(x: Array) -> Array:
    """y = x/6 + ½ if −3 < x < 3, else 0 or 1.   ∂L/∂x = g/6 if −3 < x < 3, else 0.

    >>> hard_sigmoid([-4.0, 0.0, 1.5])
    array([0.  , 0.5 , 0.75])
    """
    return np.clip(np.asarray(x) / 6 + 0.5, 0, 1)


@hard_sigmoid.backward
def hard_sigmoid_backward(g: Array, x: Array) -> Array:
    return where((x > -3) & (x < 3), g / 6, 0)


def hard_swish_definition(x: Array) -> Array:
    return x * hard_sigmoid(x)


@op(onnx=Onnx("HardSwish"), definition=hard_swish_definition, errors=_NO_FLOATS,
    samples=[Sample(away(2, 3, kinks=(-3, 3), scale=5)), Sample(large(2, 3)),
             Sample(constant([-3.0, 3.0]), smooth=False, reason="kinks")])  # fmt: skip
def hard_swish(x: Array) -> Array:
    """y = x · (x/6 + ½) if −3 < x < 3, else 0 or x.   ∂L/∂x = g · (x/3 + ½) if −3 < x < 3, else 0 or g.

    >>> hard_swish([-4.0, 1.5, 4.0])
    array([-0.   ,  1.125,  4.   ])
    """
    x = np.asarray(x)
    return x * np.clip(x / 6 + 0.5, 0, 1)


@hard_swish.backward(serves_tensors=True)
def hard_swish_backward(g: Array, x: Array) -> Array:
    return where(x >= 3, g, where(x > -3, g * (x / 3 + 0.5), 0))


def threshold_definition(x: Array, *, threshold: float = 0.0, value: float = 0.0) -> Array:
    return where(x <= threshold, value, x)


@op(onnx=ByDefinition(), definition=threshold_definition, errors=_NO_FLOATS,
    samples=[*_ELEMENTS, Sample(away(2, 3, kinks=(0.5,)), threshold=0.5, value=-2.0)])  # fmt: skip
def threshold(x: Array, *, threshold: float = 0.0, value: float = 0.0) -> Array:
    """y = `value` if x ≤ `threshold`, else x.   ∂L/∂x = 0 if x ≤ `threshold`, else g.

    >>> threshold([0.1, 2.0], threshold=0.5, value=-1.0)
    array([-1.,  2.])
    """
    x = np.asarray(x)
    return np.where(x <= threshold, value, x)


@threshold.backward(serves_tensors=True)
def threshold_backward(g: Array, x: Array, threshold: float) -> Array:
    return where(x <= threshold, 0, g)


@op(onnx=Onnx("Shrink", attributes={"lambd": "lambd", "bias": "lambd"}),
    samples=[Sample(away(2, 3, kinks=(-0.5, 0.5))), Sample(away(2, 3, kinks=(-1.2, 1.2)), lambd=1.2),
             Sample(large(2, 3)), Sample(constant([-0.5, 0.5]), smooth=False, reason="kinks")],
    errors=[*_NO_FLOATS, Bad(normal(2), lambd=-1, match="lambd ≥ 0, got lambd=-1", error=ArgumentError)])  # fmt: skip
def softshrink(x: Array, *, lambd: float = 0.5) -> Array:
    """y = x − λ if x > λ, x + λ if x < −λ, else 0.   ∂L/∂x = g if |x| > λ, else 0.

    >>> softshrink([-2.0, 0.4, 1.0])
    array([-1.5,  0. ,  0.5])
    """
    if not lambd >= 0:
        raise ArgumentError("softshrink", "lambd ≥ 0", f"lambd={lambd}")
    x = np.asarray(x)
    return np.subtract(x, np.clip(x, -lambd, lambd))


@op(onnx=Onnx("Shrink", attributes={"lambd": "lambd", "bias": Literal(0.0)}),
    samples=[Sample(away(2, 3, kinks=(-0.5, 0.5))), Sample(away(2, 3, kinks=(-1.2, 1.2)), lambd=1.2),
             Sample(large(2, 3)), Sample(constant([-0.5, 0.5]), smooth=False, reason="jumps")],
    errors=[*_NO_FLOATS, Bad(normal(2), lambd=-1, match="lambd ≥ 0, got lambd=-1", error=ArgumentError)])  # fmt: skip
def hardshrink(x: Array, *, lambd: float = 0.5) -> Array:
    """y = 0 if |x| ≤ λ, else x.   ∂L/∂x = 0 if |x| ≤ λ, else g.

    >>> hardshrink([-2.0, 0.4, 1.0])
    array([-2.,  0.,  1.])
    """
    if not lambd >= 0:
        raise ArgumentError("hardshrink", "lambd ≥ 0", f"lambd={lambd}")
    x = np.asarray(x)
    return np.where(np.abs(x) <= lambd, 0, x)


@softshrink.backward
@hardshrink.backward
def shrink_backward(g: Array, y: Array) -> Array:
    return where(y == 0, 0, g)
