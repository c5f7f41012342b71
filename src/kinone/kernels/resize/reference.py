"""Resizing, in plain NumPy: along one axis after another, each output is a weighted sum of a few elements.

x is (batch, channels, *size). For each spatial axis `indices` and `weights` are (out, taps): y = Σₜ weights[:, t] ·
x[indices[:, t]]. The indices of each tap rise along the output; `weights` of None are a single 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.kernels.precision import widened

__all__ = ["resize_backward", "resize_forward"]

Array = NDArray[Any]
Lines = Sequence[tuple[Array, Array | None]]


def resize_forward(x: Array, lines: Lines) -> Array:
    """Each axis resized by the `lines` for it."""
    y = widened(x)
    for axis, (indices, weights) in enumerate(lines, start=2):
        if weights is None:
            y = np.take(y, indices[:, 0], axis)
        else:
            along = (-1, *(1,) * (y.ndim - 1 - axis))
            weights = weights.astype(y.dtype)
            pairs = zip(indices.T, weights.T, strict=True)
            total, *rest = (np.take(y, i, axis) * w.reshape(along) for i, w in pairs)
            for part in rest:
                total += part
            y = total
    return y.astype(x.dtype, copy=False)


def resize_backward(g: Array, lines: Lines, size: Sequence[int]) -> Array:
    """The transpose: along each axis every g, weighted, added to the elements that its output was made of."""
    x = widened(g)
    for axis, ((indices, weights), n) in enumerate(zip(lines, size, strict=True), start=2):
        along = (-1, *(1,) * (x.ndim - 1 - axis))
        total = np.zeros((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype)
        lead = (slice(None),) * axis
        for t, column in enumerate(indices.T):
            share = x if weights is None else x * weights[:, t].astype(x.dtype).reshape(along)
            elements, first = np.unique(column, return_index=True)
            total[(*lead, elements)] += np.add.reduceat(share, first, axis)
        x = total
    return x.astype(g.dtype, copy=False)
