"""Softmax and normalizations."""

from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError, ShapeError
from kinone.ops.arguments import affine, as_channels, check_norm, composed, flat, one_axis
from kinone.ops.arithmetic import maximum, sqrt
from kinone.ops.declare import Bad, ByDefinition, Default, Onnx, Sample, large, normal
from kinone.ops.exponential import exp, log
from kinone.ops.reduce import max, mean, sum, vector_norm
from kinone.ops.shape import reshape, stop_gradient

Shape = tuple[int, ...]

_OUTSIDE = Bad(normal(2, 3), axis=5, match=r"axis=5 is outside")
_FAR = Sample(large(2, 3), axis=-1, smooth=False, reason="at 10⁴ a difference of step 10⁻⁶ has six digits")
_SOFT = [Sample(normal(2, 3), axis=-1), Sample(normal(2, 3, 2), axis=1), Sample(normal(3)), Sample(normal(0, 3)), _FAR]


# ---------------------------------------------------------------------------------- softmax
def softmax_definition(x: Array, *, axis: int = -1) -> Array:
    e = exp(x - stop_gradient(max(x, axis=axis, keepdims=True)))
    return e / sum(e, axis=axis, keepdims=True)


@op(onnx=Onnx("Softmax", attributes={"axis": "axis"}), definition=softmax_definition, methods=("softmax",),
    samples=_SOFT, errors=[_OUTSIDE])  # fmt: skip
def softmax(x: Array, *, axis: int = -1) -> Array:
    """yᵢ = exp xᵢ / Σⱼ exp xⱼ along `axis`.   ∂L/∂x = y·(g − Σ g·y).

    >>> softmax(np.array([0.0, 0.0, -1e4]))
    array([0.5, 0.5, 0. ])
    """
    return kernels.softmax_forward(x, one_axis("softmax", x, axis))


@softmax.backward(serves_tensors=True)
def softmax_backward(g: Array, y: Array, axis: int) -> Array:
    if isinstance(y, np.ndarray):
        return kernels.softmax_backward(g, y, axis)
    return y * (g - sum(g * y, axis=axis, keepdims=True))


def log_softmax_definition(x: Array, *, axis: int = -1) -> Array:
    shifted = x - stop_gradient(max(x, axis=axis, keepdims=True))
    return shifted - log(sum(exp(shifted), axis=axis, keepdims=True))


@op(onnx=Onnx("LogSoftmax", attributes={"axis": "axis"}), definition=log_softmax_definition, methods=("log_softmax",),
    samples=_SOFT, errors=[_OUTSIDE])  # fmt: skip
def log_softmax(x: Array, *, axis: int = -1) -> Array:
    """yᵢ = xᵢ − ln Σⱼ exp xⱼ along `axis`.   ∂L/∂x = g − exp(y)·Σ g.

    >>> log_softmax(np.array([0.0, -1e4]))
    array([     0., -10000.])
    """
    return kernels.log_softmax_forward(x, one_axis("log_softmax", x, axis))


@log_softmax.backward(serves_tensors=True)
def log_softmax_backward(g: Array, y: Array, axis: int) -> Array:
    if isinstance(y, np.ndarray):
        return kernels.log_softmax_backward(g, y, axis)
    return g - exp(y) * sum(g, axis=axis, keepdims=True)


# ---------------------------------------------------------------------------------- layer, RMS, group, instance
def layer_norm_definition(
    x: Array, w: Array | None = None, b: Array | None = None, *, axis: int = -1, eps: float = 1e-5
) -> Array:
    axes = tuple(range(axis % x.ndim, x.ndim))
    centred = x - mean(x, axis=axes, keepdims=True)
    return affine(centred / sqrt(mean(centred * centred, axis=axes, keepdims=True) + eps), w, b)


def _scale(x_shape: Shape, x_dtype: Any, axis: int) -> Any:
    return np.ones(x_shape[axis % len(x_shape) :], x_dtype)


def _is_double(x_dtype: Any) -> str:
    return "ONNX takes mean and variance in float32" if x_dtype == np.float64 else ""


_NORM = {"attributes": {"axis": "axis", "epsilon": "eps"}, "unless": _is_double}


@op(onnx=Onnx("LayerNormalization", inputs=("x", Default("w", _scale), "b"), **_NORM), definition=layer_norm_definition,
    samples=[Sample(normal(2, 3), normal(3), normal(3)), Sample(normal(2, 2, 3), normal(2, 3), normal(2, 3), axis=1),
             Sample(normal(2, 3), None, None, eps=0.1), Sample(normal(0, 3), normal(3), None)],
    errors=[Bad(normal(2, 3), normal(2), None, match=r"w of shape \(3,\), got \(2,\)"),
            Bad(normal(2, 3), None, None, eps=-1.0, match=r"eps > 0"),
            Bad(normal(2, 3), None, None, axis=2, match=r"axis=2 is outside")])  # fmt: skip
def layer_norm(x: Array, w: Array | None = None, b: Array | None = None, *, axis: int = -1, eps: float = 1e-5) -> Array:
    """y = w·x̂ + b, x̂ = (x − μ)/√(σ² + ε).   ∂L/∂x = (h − mean h − x̂·mean(h·x̂))/√(σ² + ε), h = g·w.

    μ and σ² of each sample, over the axes from `axis` to the last; w and b have the lengths of those axes.

    >>> layer_norm(np.array([[1.0, 3.0]]), eps=1e-12)
    array([[-1.,  1.]])
    """
    axis = one_axis("layer_norm", x, axis)
    check_norm("layer_norm", x.shape[axis:], eps, w=w, b=b)
    return kernels.norm_forward(x, w, b, tuple(range(axis, x.ndim)), eps)[0]


@layer_norm.backward
def layer_norm_backward(g: Array, x: Array, w: Array | None, b: Array | None, axis: int, eps: float) -> tuple[Any, ...]:
    return kernels.norm_backward(g, x, w, b, tuple(range(axis % x.ndim, x.ndim)), eps)[:3]


def rms_norm_definition(x: Array, w: Array | None = None, *, axis: int = -1, eps: float = 1e-5) -> Array:
    axes = tuple(range(axis % x.ndim, x.ndim))
    return affine(x / sqrt(mean(x * x, axis=axes, keepdims=True) + eps), w, None)


@op(onnx=Onnx("RMSNormalization", inputs=("x", Default("w", _scale)), **_NORM), definition=rms_norm_definition,
    samples=[Sample(normal(2, 3), normal(3)), Sample(normal(2, 2, 3), normal(2, 3), axis=1),
             Sample(normal(2, 3), None, eps=0.1)],
    errors=[Bad(normal(2, 3), normal(2), match=r"w of shape \(3,\), got \(2,\)"),
            Bad(normal(2, 3), None, eps=0.0, match=r"eps > 0"),
            Bad(normal(2, 3), None, axis=2, match=r"axis=2 is outside")])  # fmt: skip
def rms_norm(x: Array, w: Array | None = None, *, axis: int = -1, eps: float = 1e-5) -> Array:
    """y = w·x̂, x̂ = x/√(mean x² + ε).   ∂L/∂x = (h − x̂·mean(h·x̂))/√(mean x² + ε), h = g·w.

    The mean over the axes from `axis` to the last; w has their lengths.

    >>> rms_norm(np.array([3.0, -3.0]), eps=1e-12)
    array([ 1., -1.])
    """
    axis = one_axis("rms_norm", x, axis)
    check_norm("rms_norm", x.shape[axis:], eps, w=w)
    return kernels.norm_forward(x, w, None, tuple(range(axis, x.ndim)), eps, False)[0]


@rms_norm.backward
def rms_norm_backward(g: Array, x: Array, w: Array | None, axis: int, eps: float) -> tuple[Any, ...]:
    return kernels.norm_backward(g, x, w, None, tuple(range(axis % x.ndim, x.ndim)), eps, False)[:2]


def group_norm_definition(
    x: Array, w: Array | None = None, b: Array | None = None, *, num_groups: int, eps: float = 1e-5
) -> Array:
    groups = reshape(x, _grouped(x.shape, num_groups))
    hat = reshape(layer_norm_definition(groups, axis=2, eps=eps), x.shape)
    return affine(hat, as_channels(w, x, 1), as_channels(b, x, 1))


@op(onnx=ByDefinition(), definition=group_norm_definition, stretches=False,
    samples=[Sample(normal(2, 4, 2), normal(4), normal(4), num_groups=2),
             Sample(normal(2, 2, 2, 2), normal(2), None, num_groups=1),
             Sample(normal(1, 4, 3), None, None, num_groups=4, eps=0.1),
             Sample(normal(2, 6), normal(6), normal(6), num_groups=2)],
    errors=[Bad(normal(2, 4), None, None, num_groups=3, match=r"num_groups that divides the 4 channels, got 3"),
            Bad(normal(2, 4), normal(3), None, num_groups=2, match=r"w of shape \(4,\)"),
            Bad(normal(4), None, None, num_groups=2, match=r"x \(N, C, …\)")])  # fmt: skip
def group_norm(
    x: Array, w: Array | None = None, b: Array | None = None, *, num_groups: int, eps: float = 1e-5
) -> Array:
    """y = w·x̂ + b, x̂ = (x − μ)/√(σ² + ε).   ∂L/∂x = (h − mean h − x̂·mean(h·x̂))/√(σ² + ε), h = g·w.

    μ and σ² of each sample and each of `num_groups` groups of neighbouring channels; x (N, C, …), w and b (C,).

    >>> group_norm(np.array([[1.0, 3.0, 5.0, 5.0]]), num_groups=2, eps=1e-12)
    array([[-1.,  1.,  0.,  0.]])
    """
    if x.ndim < 2:
        raise ShapeError("group_norm", "x (N, C, …)", f"shape {x.shape}")
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ArgumentError("group_norm", f"num_groups that divides the {x.shape[1]} channels", str(num_groups))
    check_norm("group_norm", (x.shape[1],), eps, w=w, b=b)
    groups = x.reshape(_grouped(x.shape, num_groups))
    w, b = (_channels_of(array, groups) for array in (w, b))
    return kernels.norm_forward(groups, w, b, tuple(range(2, groups.ndim)), eps)[0].reshape(x.shape)


@group_norm.backward
def group_norm_backward(
    g: Array, x: Array, w: Array | None, b: Array | None, num_groups: int, eps: float
) -> tuple[Any, ...]:
    groups = x.reshape(_grouped(x.shape, num_groups))
    w, b, axes = _channels_of(w, groups), _channels_of(b, groups), tuple(range(2, groups.ndim))
    gx, gw, gb, _ = kernels.norm_backward(g.reshape(groups.shape), groups, w, b, axes, eps)
    return gx.reshape(x.shape), flat(gw), flat(gb)


def _grouped(shape: Shape, num_groups: int) -> Shape:
    return (shape[0], num_groups, shape[1] // num_groups, *shape[2:])


def _channels_of(array: Any, groups: Any) -> Any:
    return array if array is None else array.reshape(1, *groups.shape[1:3], *(1,) * (groups.ndim - 3))


@composed
def instance_norm(x: Any, w: Any = None, b: Any = None, *, eps: float = 1e-5) -> Any:
    """y = w·x̂ + b with μ and σ² of each channel of each sample: group norm with as many groups as channels.

    >>> instance_norm(np.array([[[1.0, 3.0], [5.0, 9.0]]]), eps=1e-12)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    if x.ndim < 3:
        raise ShapeError("instance_norm", "x (N, C, length, …)", f"shape {x.shape}")
    return group_norm(x, w, b, num_groups=x.shape[1], eps=eps)


@composed
def normalize(x: Any, *, ord: float = 2, axis: int = 1, eps: float = 1e-12) -> Any:
    """y = x/max(‖x‖, ε), the norm of order `ord` along `axis`.

    >>> normalize(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """
    return x / maximum(vector_norm(x, ord=ord, axis=axis, keepdims=True), eps)
