"""Reductions in plain NumPy. `axis` is None (all of them) or a tuple of axes counted from the front."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.kernels.precision import widened

__all__ = [
    "cumulative_prod", "cumulative_sum", "logsumexp", "mean", "prod", "product_sum", "std", "sum", "var", "vector_norm",
]  # fmt: skip

Array = NDArray[Any]
Axis = tuple[int, ...] | None


def sum(x: Array, axis: Axis, keepdims: bool) -> Array:
    """y = Σ x over `axis`; integers add up in 64 bits."""
    return _narrowed(np.add.reduce(widened(x), axis=axis, keepdims=keepdims), x)


def product_sum(a: Array, b: Array, axis: Axis, keepdims: bool) -> Array:
    """y = Σ a·b over `axis`, a and b of one shape, without an array of the products."""
    return _narrowed(np.add.reduce(widened(a) * widened(b), axis=axis, keepdims=keepdims), a)


def mean(x: Array, axis: Axis, keepdims: bool) -> Array:
    """y = Σ x / n over `axis`."""
    total = np.add.reduce(widened(x), axis=axis, keepdims=keepdims)
    return _narrowed(total / _count(x, axis), x)


def var(x: Array, axis: Axis, correction: float, keepdims: bool) -> Array:
    """y = Σ (x − mean x)² / (n − correction) over `axis`, in two passes: x² alone would swamp a small spread."""
    wide = widened(x)
    centred = wide - mean(wide, axis, True)
    total = np.add.reduce(centred * centred, axis=axis, keepdims=keepdims)
    return _narrowed(total / (_count(x, axis) - correction), x)


def std(x: Array, axis: Axis, correction: float, keepdims: bool) -> Array:
    """y = √var x over `axis`; a power of two, which rounds nothing, keeps the squares from over- and underflow."""
    wide = widened(x)
    size = np.ldexp(wide.dtype.type(1), np.frexp(np.max(np.abs(wide), initial=0))[1] - 1)
    return _narrowed(np.sqrt(var(wide / size, axis, correction, keepdims)) * size, x)


def prod(x: Array, axis: Axis, keepdims: bool) -> Array:
    """y = Π x over `axis`; integers multiply in 64 bits."""
    return _narrowed(np.multiply.reduce(widened(x), axis=axis, keepdims=keepdims), x)


def logsumexp(x: Array, axis: Axis, keepdims: bool) -> Array:
    """y = log Σ eˣ over `axis` = m + log Σ eˣ⁻ᵐ, m = max x; −∞ where nothing is summed."""
    wide = widened(x)
    m = np.max(wide, axis=axis, keepdims=True, initial=-np.inf)
    m = np.where(np.isfinite(m), m, 0)
    with np.errstate(divide="ignore"):  # log 0 = −∞ is the value where every x is −∞
        y = np.log(np.add.reduce(np.exp(wide - m), axis=axis, keepdims=True)) + m
    return _narrowed(y if keepdims else np.squeeze(y, axis), x)


def vector_norm(x: Array, axis: Axis, keepdims: bool, ord: float) -> Array:
    """y = (Σ |x|ᵖ)^(1/p) over `axis`, p = `ord`; the largest (smallest) |x| for p = ±∞.

    The elements are divided by the largest first, so that no power overflows where the norm itself does not.
    """
    size = np.abs(widened(x))
    if ord == -np.inf:
        return _narrowed(np.min(size, axis=axis, keepdims=keepdims), x)
    m = np.max(size, axis=axis, keepdims=True, initial=0)
    if ord != np.inf:
        m = np.where((m > 0) & np.isfinite(m), m, 1)
        ratio = size / m
        y = np.add.reduce(ratio * ratio if ord == 2 else ratio**ord, axis=axis, keepdims=True)
        m = (np.sqrt(y) if ord == 2 else y ** (1 / ord)) * m
    return _narrowed(m if keepdims else np.squeeze(m, axis), x)


def cumulative_sum(x: Array, axis: int) -> Array:
    """yᵢ = x₀ + … + xᵢ along `axis`."""
    return _narrowed(np.cumsum(widened(x), axis), x)


def cumulative_prod(x: Array, axis: int) -> Array:
    """yᵢ = x₀ · … · xᵢ along `axis`."""
    return _narrowed(np.cumprod(widened(x), axis), x)


def _count(x: Array, axis: Axis) -> int:
    return int(np.prod([x.shape[a] for a in (range(x.ndim) if axis is None else axis)], dtype=int))


def _narrowed(y: Any, x: Array) -> Array:
    """y in the dtype of x if that is floating; a product too large for float16 is infinite there."""
    with np.errstate(over="ignore"):
        return y.astype(x.dtype, copy=False) if x.dtype.kind == "f" else y
