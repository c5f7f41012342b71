"""Pooling, in plain NumPy: one pass over all outputs for each offset in the window.

x is (batch, channels, *size), y and g are (batch, channels, *out), with any number of spatial axes. `kernel`, `stride`
and `dilation` hold a number for each of them, `padding` a pair (before, after).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.errors import ShapeError
from kinone.kernels.precision import widened
from kinone.kernels.windows import Ints, Pairs, taps

__all__ = ["avg_pool_backward", "avg_pool_forward", "max_pool_backward", "max_pool_forward"]

Array = NDArray[Any]


def max_pool_forward(
    x: Array, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, out: Ints
) -> tuple[Array, Array]:
    """The largest element of each window, NaN above all, and where it is: the first such, counted over the flat size.

    Every window must hold an element of x.
    """
    size = x.shape[2:]
    where = np.arange(np.prod(size)).reshape(size)
    y = np.full((*x.shape[:2], *out), -np.inf, x.dtype)
    indices = np.full(y.shape, -1)
    for _, outputs, elements in taps(size, out, kernel, stride, padding, dilation):
        at = (slice(None), slice(None), *outputs)
        best, first, seen = y[at], indices[at], x[:, :, *elements]
        is_better = (seen > best) | (first < 0) | (np.isnan(seen) & ~np.isnan(best))
        np.copyto(best, seen, where=is_better)
        np.copyto(first, where[elements], where=is_better)
    return y, indices


def max_pool_backward(g: Array, indices: Array, size: Ints) -> Array:
    """Each g added to the element that `indices` says it came from."""
    last = int(np.prod(size)) - 1
    for worst in (indices.min(initial=0), indices.max(initial=0)):
        if not 0 <= worst <= last:
            raise ShapeError("max_unpool", f"indices from 0 to {last}", str(worst))
    planes, area = g.shape[0] * g.shape[1], int(np.prod(size))
    at = indices.reshape(planes, -1 if planes else 0) + np.arange(planes)[:, None] * area
    x = np.bincount(at.ravel(), g.ravel(), minlength=planes * area)  # adds in float64, in the order of g
    return x.reshape(*g.shape[:2], *size).astype(g.dtype)


def avg_pool_forward(x: Array, counts: Array, kernel: Ints, stride: Ints, padding: Pairs) -> Array:
    """The sum of each window divided by its count; `counts` has the shape `out`."""
    wide = widened(x)
    y = np.zeros((*x.shape[:2], *counts.shape), wide.dtype)
    for _, outputs, elements in taps(x.shape[2:], counts.shape, kernel, stride, padding, (1,) * len(kernel)):
        y[:, :, *outputs] += wide[:, :, *elements]
    y /= counts
    return y.astype(x.dtype, copy=False)


def avg_pool_backward(g: Array, counts: Array, size: Ints, kernel: Ints, stride: Ints, padding: Pairs) -> Array:
    """Each g divided by the count of its window and added to every element of it."""
    wide = widened(g)
    wide = np.divide(wide, counts, dtype=wide.dtype)
    x = np.zeros((*g.shape[:2], *size), wide.dtype)
    for _, outputs, elements in taps(size, counts.shape, kernel, stride, padding, (1,) * len(kernel)):
        x[:, :, *elements] += wide[:, :, *outputs]
    return x.astype(g.dtype, copy=False)
