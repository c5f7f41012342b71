"""Softmax and normalizations, in plain NumPy. `axes` is a tuple; w and b are None or broadcast against x."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.kernels.elementwise.reference import silu_backward, silu_forward
from kinone.kernels.precision import widened
from kinone.kernels.reduction.reference import sum

__all__ = [
    "affine",
    "batch_norm_inference_backward",
    "batch_norm_inference_forward",
    "log_softmax_backward",
    "log_softmax_forward",
    "norm_backward",
    "norm_forward",
    "softmax_backward",
    "softmax_forward",
]

Array = NDArray[Any]
Axes = tuple[int, ...]


def softmax_forward(x: Array, axis: int) -> Array:
    """yᵢ = exp(xᵢ − m)/Σⱼ exp(xⱼ − m), m = max x: no power exceeds 1."""
    y = np.exp(_shifted(x, axis))
    y /= sum(y, (axis,), True)
    return y.astype(np.asarray(x).dtype, copy=False)


def softmax_backward(g: Array, y: Array, axis: int) -> Array:
    """∂L/∂xᵢ = yᵢ·(gᵢ − Σⱼ gⱼ·yⱼ)."""
    g, wide = widened(g), widened(y)
    return (wide * (g - sum(g * wide, (axis % y.ndim,), True))).astype(y.dtype, copy=False)


def log_softmax_forward(x: Array, axis: int) -> Array:
    """yᵢ = xᵢ − m − ln Σⱼ exp(xⱼ − m)."""
    y = _shifted(x, axis)
    with np.errstate(divide="ignore"):  # log 0, of an empty axis
        y -= np.log(sum(np.exp(y), (axis,), True))
    return y.astype(np.asarray(x).dtype, copy=False)


def log_softmax_backward(g: Array, y: Array, axis: int) -> Array:
    """∂L/∂xᵢ = gᵢ − exp(yᵢ)·Σⱼ gⱼ."""
    g = widened(g)
    return (g - np.exp(widened(y)) * sum(g, (axis % y.ndim,), True)).astype(y.dtype, copy=False)


def _shifted(x: Array, axis: int) -> Array:
    x = widened(x)
    return x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)


def norm_forward(
    x: Array, w: Array | None, b: Array | None, axes: Axes, eps: float, is_centred: bool = True,
    residual: Array | None = None, activation: str = "none",
) -> tuple[Array, Array, Array]:  # fmt: skip
    """y = act(w·(x − μ)/√(σ² + ε) + b + residual), and the mean μ and biased variance σ² over `axes` (kept, length 1).

    Without `is_centred` μ = 0, so that σ² is the mean square. The activation is "none", "relu" or "silu".
    """
    y, mean, var, _ = _standardized(x, axes, eps, is_centred)
    if w is not None:
        y *= w
    y = _activated(y, b, residual, activation)
    y, mean, var = (part.astype(x.dtype, copy=False) for part in (y, mean, var))
    return y, mean, var


def norm_backward(
    g: Array, x: Array, w: Array | None, b: Array | None, axes: Axes, eps: float, is_centred: bool = True,
    g_mean: Array | float = 0.0, g_var: Array | float = 0.0, y: Array | None = None, has_residual: bool = False,
    mean: Array | None = None, var: Array | None = None, residual: Array | None = None,
) -> tuple[Array, Array | None, Array | None, Array | None]:  # fmt: skip
    """∂L/∂x = (h − mean h − x̂·mean(h·x̂))/√(σ² + ε) + (∂L/∂μ + 2·(x − μ)·∂L/∂σ²)/n, h = g·w; those of w, b, residual.

    `y` is given where relu made it: g counts where y > 0. `mean` and `var`, as forward gave them, and the residual
    are where silu did: what went into it is computed again, and g multiplied by the slope there. Gradients of what
    there is not are None.
    """
    if mean is None or var is None:
        g = _passed(g, y)
    else:
        g = silu_backward(g, batch_norm_inference_forward(x, mean, var, w, b, eps, residual))
    hat, mean, var, n = _standardized(x, axes, eps, is_centred)
    root = np.sqrt(var + eps)
    h = widened(g) if w is None else widened(g) * w
    gx = h - hat * (sum(h * hat, axes, True) / n)
    if is_centred:
        gx -= sum(h, axes, True) / n
    gx /= root
    gx += (g_mean + (x - mean) * (2.0 * g_var)) / n
    gw = None if w is None else _like(w, widened(g) * hat).astype(x.dtype, copy=False)
    gb = None if b is None else _like(b, widened(g)).astype(x.dtype, copy=False)
    return gx.astype(x.dtype, copy=False), gw, gb, g if has_residual else None


def _standardized(x: Array, axes: Axes, eps: float, is_centred: bool) -> tuple[Array, Array, Array, int]:
    x = widened(x)
    n = max(prod(x.shape[i] for i in axes), 1)
    mean = sum(x, axes, True) / n if is_centred else np.zeros((), x.dtype)
    hat = x - mean  # two passes: E x² − μ² would cancel
    var = sum(hat * hat, axes, True) / n
    hat /= np.sqrt(var + eps)
    return hat, mean, var, n


def _activated(y: Array, b: Array | None, residual: Array | None, activation: str) -> Array:
    if b is not None:
        y += b
    if residual is not None:
        y += residual
    return np.maximum(y, 0) if activation == "relu" else silu_forward(y) if activation == "silu" else y


def _passed(g: Array, y: Array | None) -> Array:
    """What relu lets through."""
    return g if y is None else np.where(y > 0, g, 0)


def _like(w: Array, terms: Array) -> Array:
    """Σ terms over the axes along which w was repeated."""
    lead = terms.ndim - w.ndim
    axes = (*range(lead), *(i + lead for i, n in enumerate(w.shape) if n == 1 and terms.shape[i + lead] != 1))
    return sum(terms, axes, True).reshape(w.shape)


def batch_norm_inference_forward(
    x: Array, mean: Array, var: Array, w: Array | None, b: Array | None, eps: float,
    residual: Array | None = None, activation: str = "none",
) -> Array:  # fmt: skip
    """y = act(w·(x − μ)/√(σ² + ε) + b + residual) with μ and σ² given; the activation is "none", "relu" or "silu"."""
    scale = (1.0 if w is None else widened(w)) / np.sqrt(widened(var) + eps)
    return _activated((widened(x) - mean) * scale, b, residual, activation).astype(x.dtype, copy=False)


def affine(x: Array, w: Array, b: Array | None = None) -> Array:
    """y = w·x + b, rounded once; w and b have as many axes as x, and one number where they are repeated."""
    y = widened(x) * w
    return (y if b is None else y + b).astype(x.dtype, copy=False)


def batch_norm_inference_backward(
    g: Array, x: Array, mean: Array, var: Array, w: Array | None, axes: Axes, eps: float,
    y: Array | None = None, has_residual: bool = False, b: Array | None = None, residual: Array | None = None,
    activation: str = "none",
) -> tuple[Array, Array, Array, Array, Array, Array | None]:  # fmt: skip
    """The gradients of x, μ, σ², w and b, the last four kept over `axes`, with length 1; and that of the residual.

    `y` is given where relu made it: g counts where y > 0. With "silu" g is multiplied by the slope at what went into
    it, for which `b` and the residual are needed.
    """
    if activation == "silu":
        passed = silu_backward(g, batch_norm_inference_forward(x, mean, var, w, b, eps, residual))
    else:
        passed = _passed(g, y)
    g = widened(passed)
    root = np.sqrt(widened(var) + eps)
    scale = (1.0 if w is None else widened(w)) / root
    gb = sum(g, axes, True)
    total = sum(g * (widened(x) - mean), axes, True)
    gw = total / root
    gx, g_mean, g_var, gw, gb = (
        part.astype(x.dtype, copy=False) for part in (g * scale, -scale * gb, -0.5 * scale * (gw / root), gw, gb)
    )
    return gx, g_mean, g_var, gw, gb, passed if has_residual else None
