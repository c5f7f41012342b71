"""Convolution as a product of matrices, in plain NumPy: any number of spatial axes, groups, asymmetric padding.

x is (batch, channels, *size), w (out channels, channels / groups, *kernel), y and g (batch, out channels, *out).
`stride` and `dilation` hold a number for each spatial axis, `padding` a pair (before, after). y is linear in x and
in w; the two backward kernels are the transposes of those linear maps.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.kernels.precision import widened
from kinone.kernels.windows import Ints, Pairs, out_size, taps

__all__ = [
    "convolution_backward_input",
    "convolution_backward_weight",
    "convolution_forward",
    "fold",
    "unfold",
]

Array = NDArray[Any]


def unfold(x: Array, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    """The windows of x as columns: (batch, channels, *size) → (batch, channels, *kernel, *out)."""
    size = x.shape[2:]
    out = out_size(size, kernel, stride, padding, dilation)
    if _is_identity(size, out, kernel, padding):
        return x.reshape(*x.shape[:2], *kernel, *out)
    columns = (np.zeros if any(map(any, padding)) else np.empty)((*x.shape[:2], *kernel, *out), x.dtype)
    for offset, outputs, elements in taps(size, out, kernel, stride, padding, dilation):
        columns[:, :, *offset, *outputs] = x[:, :, *elements]
    return columns


def fold(columns: Array, size: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    """The transpose of unfold: every column added back to where it came from."""
    n = len(size)
    kernel, out = columns.shape[2 : 2 + n], columns.shape[2 + n :]
    if _is_identity(size, out, kernel, padding):
        return columns.reshape(*columns.shape[:2], *size)
    wide = widened(columns)
    x = np.zeros((*columns.shape[:2], *size), wide.dtype)
    for offset, outputs, elements in taps(size, out, kernel, stride, padding, dilation):
        x[:, :, *elements] += wide[:, :, *offset, *outputs]
    return x.astype(columns.dtype, copy=False)


def _is_identity(size: Ints, out: Ints, kernel: Ints, padding: Pairs) -> bool:
    """True if every window is one element of x, in order."""
    return out == size and max(kernel) == 1 and not any(map(any, padding))


def convolution_forward(
    x: Array, w: Array, b: Array | None, stride: Ints, padding: Pairs, dilation: Ints, groups: int,
    residual: Array | None = None, activation: str = "none",
) -> Array:  # fmt: skip
    """y[n, o, i] = Σ w[o, c, k] · x[n, c, i·stride + k·dilation − before] over the channels c of o's group and k.

    To that come b[o] and residual[n, o, i], and max(y, 0) if `activation` is "relu".
    """
    kernel = w.shape[2:]
    out = out_size(x.shape[2:], kernel, stride, padding, dilation)
    columns = _grouped(unfold(widened(x), kernel, stride, padding, dilation), groups, out)
    y = np.matmul(_matrices(widened(w), groups), columns)
    y = _biased(y.reshape(x.shape[0], w.shape[0], *out), b)
    if residual is not None:
        y += residual
    if activation == "relu":
        np.maximum(y, 0, out=y)
    return y.astype(x.dtype, copy=False)


def convolution_backward_input(
    g: Array, w: Array, b: Array | None, size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Array:
    """∂L/∂x, for x with the spatial `size`: each g spread over its window, weighted by w; b[c] is added to channel c.

    With b it is the transposed convolution, as a layer has it.
    """
    kernel, out = w.shape[2:], g.shape[2:]
    matrices = _matrices(widened(w), groups).swapaxes(-1, -2)
    product = np.multiply if matrices.shape[-1] == 1 else np.matmul  # NumPy's matmul is slow where nothing is summed
    columns = product(matrices, _grouped(widened(g), groups, out))
    columns = columns.reshape(g.shape[0], w.shape[1] * groups, *kernel, *out)
    return _biased(fold(columns, size, stride, padding, dilation), b).astype(g.dtype, copy=False)


def convolution_backward_weight(
    g: Array, x: Array, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Array:
    """∂L/∂w, for w with the spatial shape `kernel`: for each offset the product of g and what its windows saw."""
    out = g.shape[2:]
    columns = _grouped(unfold(widened(x), kernel, stride, padding, dilation), groups, out)
    a = _grouped(widened(g), groups, out)
    if a.size * columns.shape[2] > columns.size * columns.shape[3]:  # a product per image would outweigh the columns
        a, columns = _merged(a), _merged(columns)
    w = np.add.reduce(np.matmul(a, columns.swapaxes(-1, -2)), axis=0)
    return w.reshape(g.shape[1], x.shape[1] // groups, *kernel).astype(g.dtype, copy=False)


def _biased(y: Array, b: Array | None) -> Array:
    """y + b in place: y has just been made."""
    if b is not None:
        y += b.reshape(-1, *(1,) * (y.ndim - 2))
    return y


def _matrices(w: Array, groups: int) -> Array:
    """(out channels, …) → (groups, out channels of the group, everything that one of them sees)."""
    return w.reshape(groups, w.shape[0] // groups, int(np.prod(w.shape[1:])))


def _grouped(a: Array, groups: int, out: Ints) -> Array:
    """(batch, channels, …, *out) → (batch, groups, rows of the group, positions)."""
    positions = int(np.prod(out))
    rows = int(np.prod(a.shape[1 : a.ndim - len(out)])) // groups
    return a.reshape(a.shape[0], groups, rows, positions)


def _merged(a: Array) -> Array:
    """(batch, groups, rows, positions) → (1, groups, rows, batch · positions)."""
    return a.transpose(1, 2, 0, 3).reshape(1, *a.shape[1:3], a.shape[0] * a.shape[3])
