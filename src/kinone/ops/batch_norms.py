"""Batch norm, with what commonly follows it: the sum of a residual, and relu or silu."""

from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError, ShapeError
from kinone.ops.activation import silu
from kinone.ops.arguments import affine, as_channels, check_norm, flat, one_axis, other_axes
from kinone.ops.arithmetic import sqrt
from kinone.ops.declare import Bad, ByDefinition, Default, Onnx, Sample, away, constant, normal, positive
from kinone.ops.rectifier import relu
from kinone.ops.reduce import mean
from kinone.ops.shape import reshape

Shape = tuple[int, ...]


def _activated(y: Any, residual: Any, activation: str) -> Any:
    y = y if residual is None else y + residual
    return relu(y) if activation == "relu" else silu(y) if activation == "silu" else y


def _check_activated(where: str, x: Any, residual: Any, activation: str) -> None:
    if activation not in ("none", "relu", "silu"):
        raise ArgumentError(where, "activation 'none', 'relu' or 'silu'", repr(activation))
    if residual is not None and residual.shape != x.shape:
        raise ShapeError(where, f"residual of shape {x.shape}", f"{residual.shape}")


def batch_norm_definition(
    x: Array,
    w: Array | None = None,
    b: Array | None = None,
    residual: Array | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    activation: str = "none",
) -> tuple[Array, Array, Array]:
    axis = axis % x.ndim
    centre = mean(x, axis=other_axes(x, axis), keepdims=True)
    variance = mean((x - centre) * (x - centre), axis=other_axes(x, axis), keepdims=True)
    y = affine((x - centre) / sqrt(variance + eps), as_channels(w, x, axis), as_channels(b, x, axis))
    return _activated(y, residual, activation), reshape(centre, (-1,)), reshape(variance, (-1,))


@op(onnx=ByDefinition(), definition=batch_norm_definition, stretches=False,
    samples=[Sample(normal(4, 2), normal(2), normal(2)), Sample(normal(2, 2, 3), normal(2), normal(2), eps=0.1),
             Sample(normal(2, 3, 2), normal(2), None, axis=-1), Sample(normal(3, 2), None, None),
             Sample(normal(2, 2, 3), normal(2), normal(2), normal(2, 2, 3)),
             Sample(normal(2, 2, 3), positive(2), normal(2), away(2, 2, 3, kinks=(), scale=9.0), activation="relu"),
             Sample(constant([[1.0, 4.0], [2.5, -3.0], [-2.0, 0.2]]), positive(2), None, activation="relu"),
             Sample(normal(2, 2, 3), normal(2), normal(2), activation="silu"),
             Sample(normal(3, 2), None, None, normal(3, 2), eps=0.1, activation="silu")],
    errors=[Bad(normal(4, 2), normal(3), normal(2), match=r"w of shape \(2,\), got \(3,\)"),
            Bad(normal(4, 2), None, None, normal(2), match=r"residual of shape \(4, 2\), got \(2,\)"),
            Bad(normal(4, 2), None, None, activation="tanh", match=r"'none', 'relu' or 'silu', got 'tanh'"),
            Bad(normal(4, 2), normal(2), normal(1), match=r"b of shape \(2,\)"),
            Bad(normal(1, 2), normal(2), normal(2), match=r"two values for each channel, got 1"),
            Bad(normal(4, 2), None, None, eps=0.0, match=r"eps > 0"),
            Bad(normal(4), None, None, match=r"axis=1 is outside")])  # fmt: skip
def batch_norm(
    x: Array,
    w: Array | None = None,
    b: Array | None = None,
    residual: Array | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    activation: str = "none",
) -> tuple[Array, Array, Array]:
    """y = act(w·x̂ + b), x̂ = (x − μ)/√(σ² + ε).   ∂L/∂x = (h − mean h − x̂·mean(h·x̂))/√(σ² + ε), h = g·w.

    Gives (y, μ, σ²): mean and biased variance of each channel, over all axes but `axis`, for whoever keeps running
    ones; gradients flow through them too. w, b, μ, σ² (C,). ∂L/∂w = Σ g·x̂, ∂L/∂b = Σ g.

    The `residual`, of x's shape, is added before the activation, "none", "relu", which lets g through where y > 0, or
    "silu", whose slope is computed again: what commonly follows in a network, without another pass over memory.

    >>> y, mean, var = batch_norm(np.array([[1.0], [3.0]]))
    >>> mean, var
    (array([2.]), array([1.]))
    """
    axis = one_axis("batch_norm", x, axis)
    check_norm("batch_norm", (x.shape[axis],), eps, w=w, b=b)
    _check_activated("batch_norm", x, residual, activation)
    count = x.size // x.shape[axis] if x.shape[axis] else 2
    if count < 2:
        hint = "one value has no variance: use a larger batch, or batch_norm_inference."
        raise ShapeError("batch_norm", "two values for each channel", f"{count} (x has shape {x.shape})", hint=hint)
    w, b = as_channels(w, x, axis), as_channels(b, x, axis)
    y, centre, variance = kernels.norm_forward(x, w, b, other_axes(x, axis), eps, True, residual, activation)
    return y, centre.reshape(-1), variance.reshape(-1)


@batch_norm.backward
def batch_norm_backward(
    g: tuple[Array, Array, Array], y: tuple[Array, Array, Array], x: Array, w: Array | None, b: Array | None,
    residual: Array | None, eps: float, axis: int, activation: str,
) -> Any:  # fmt: skip
    axis = axis % x.ndim
    gy, g_mean, g_var = g[0], as_channels(g[1], x, axis), as_channels(g[2], x, axis)
    w, b, made = as_channels(w, x, axis), as_channels(b, x, axis), y[0] if activation == "relu" else None
    again = (*(as_channels(s, x, axis) for s in y[1:]), residual) if activation == "silu" else ()
    gx, gw, gb, g_residual = kernels.norm_backward(
        gy, x, w, b, other_axes(x, axis), eps, True, g_mean, g_var, made, residual is not None, *again
    )
    return gx, flat(gw), flat(gb), g_residual


def batch_norm_inference_definition(
    x: Array,
    mean: Array,
    var: Array,
    w: Array | None = None,
    b: Array | None = None,
    residual: Array | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    activation: str = "none",
) -> Array:
    if residual is not None or activation != "none":  # the operator alone has a form in ONNX
        return _activated(batch_norm_inference(x, mean, var, w, b, eps=eps, axis=axis), residual, activation)
    mean, var, w, b = (as_channels(array, x, axis % x.ndim) for array in (mean, var, w, b))
    return affine((x - mean) / sqrt(var + eps), w, b)


def _ones(mean_shape: Shape, mean_dtype: Any) -> Any:
    return np.ones(mean_shape, mean_dtype)


def _zeros(mean_shape: Shape, mean_dtype: Any) -> Any:
    return np.zeros(mean_shape, mean_dtype)


def _is_more(x_shape: Shape, residual_shape: Any, axis: int, activation: str) -> str:
    if residual_shape or activation != "none":
        return "ONNX has neither residual nor activation"
    return "" if axis % len(x_shape) == 1 else "ONNX's channels are axis 1"


@op(onnx=Onnx("BatchNormalization", inputs=("x", Default("w", _ones), Default("b", _zeros), "mean", "var"),
              attributes={"epsilon": "eps"}, unless=_is_more),
    definition=batch_norm_inference_definition, stretches=False,
    samples=[Sample(normal(2, 2, 3), positive(2), positive(2), normal(2), normal(2)),
             Sample(normal(1, 2), positive(2), positive(2), None, None, eps=0.1),
             Sample(normal(2, 3), positive(3), positive(3), None, normal(3), axis=-1),
             Sample(normal(0, 2), positive(2), positive(2), normal(2), None),
             Sample(away(2, 2, 3), constant([0.0, 0.0]), positive(2), positive(2), None, activation="relu"),
             Sample(normal(2, 2), positive(2), positive(2), None, normal(2), away(2, 2, kinks=(), scale=9.0),
                    activation="relu"),
             Sample(normal(2, 2, 3), positive(2), positive(2), normal(2), normal(2), activation="silu"),
             Sample(normal(2, 2), normal(2), positive(2), None, None, normal(2, 2), activation="silu")],
    errors=[Bad(normal(4, 2), normal(2), positive(2), None, None, normal(2), match=r"residual of shape \(4, 2\)"),
            Bad(normal(4, 2), normal(2), positive(2), activation="tanh", match=r"activation 'none', 'relu' or 'silu'"),
            Bad(normal(4, 2), normal(2), normal(3), None, None, match=r"var of shape \(2,\), got \(3,\)"),
            Bad(normal(4, 2), normal(2), constant([1.0, -1.0]), None, None, match=r"var ≥ 0, got -1"),
            Bad(normal(4), normal(4), positive(4), None, None, match=r"axis=1 is outside")])  # fmt: skip
def batch_norm_inference(
    x: Array,
    mean: Array,
    var: Array,
    w: Array | None = None,
    b: Array | None = None,
    residual: Array | None = None,
    *,
    eps: float = 1e-5,
    axis: int = 1,
    activation: str = "none",
) -> Array:
    """y = act(w·(x − μ)/√(σ² + ε) + b + residual), μ and σ² given, not of this batch.   ∂L/∂x = g·w/√(σ² + ε).

    All that is given has shape (C,), the length of `axis`, and its own gradient; the residual has that of x. The
    activation is "none", "relu", which lets g through where y > 0, or "silu".

    >>> batch_norm_inference(np.array([[3.0]]), np.array([1.0]), np.array([4.0]), eps=1e-12)
    array([[1.]])
    """
    axis = one_axis("batch_norm_inference", x, axis)
    check_norm("batch_norm_inference", (x.shape[axis],), eps, mean=mean, var=var, w=w, b=b)
    _check_activated("batch_norm_inference", x, residual, activation)
    if np.any(var < 0):
        raise ArgumentError("batch_norm_inference", "var ≥ 0", f"{np.min(var):g}")
    mean, var, w, b = (as_channels(array, x, axis) for array in (mean, var, w, b))
    return kernels.batch_norm_inference_forward(x, mean, var, w, b, eps, residual, activation)


@batch_norm_inference.backward
def batch_norm_inference_backward(
    g: Array, y: Array, x: Array, mean: Array, var: Array, w: Array | None, b: Array | None, residual: Array | None,
    eps: float, axis: int, activation: str,
) -> tuple[Array, ...]:  # fmt: skip
    axis = axis % x.ndim
    mean, var, w, b = (as_channels(array, x, axis) for array in (mean, var, w, b))
    made = y if activation == "relu" else None
    gx, *rest, g_residual = kernels.batch_norm_inference_backward(
        g, x, mean, var, w, other_axes(x, axis), eps, made, residual is not None, b, residual, activation
    )
    return gx, *map(flat, rest), g_residual
