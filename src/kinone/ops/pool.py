"""Pooling: each window of x (batch, channels, *size), with one to three spatial axes, becomes one element.

`kernel_size`, `stride` (by default the kernel's size), `padding` and `dilation` are one number, or one for each spatial
axis; `padding` may also be a pair (before, after) for each axis, of at most half the window. With `ceil_mode` a last
window that reaches over the end counts too. Of equal maxima in a window the first in row-major order is taken, and it
alone gets the gradient.
"""

import math
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError, ShapeError
from kinone.kernels.windows import Ints, Pairs
from kinone.ops.arguments import composed
from kinone.ops.declare import Bad, ByDefinition, NoOnnx, Onnx, Sample, constant, distinct, integers, normal
from kinone.ops.index import scatter_add, take_along_axis
from kinone.ops.shape import reshape
from kinone.ops.window import (
    Padding,
    PerAxis,
    checked_fit,
    checked_rank,
    dilations,
    kernel_shape,
    padding_pairs,
    pads,
    per_axis,
    strides,
)  # fmt: skip


def _strides(x_shape: Ints, kernel_size: PerAxis, stride: PerAxis | None) -> Ints:
    return strides(x_shape, kernel_size if stride is None else stride)


def _is_rounded_up(
    x_shape: Ints, kernel_size: PerAxis, stride: PerAxis | None, padding: Padding, ceil_mode: bool,
    dilation: PerAxis = 1,
) -> bool:  # fmt: skip
    """Whether `ceil_mode` makes a difference: older ONNX counts windows that begin in the padding after x."""
    given = ("ONNX", np.broadcast_to(0, x_shape), kernel_size, stride, padding, dilation)
    return ceil_mode and _windows(*given, True) != _windows(*given, False)


_WINDOW = {"kernel_shape": kernel_shape, "strides": _strides, "pads": pads, "ceil_mode": _is_rounded_up}


# ------------------------------------------------------------------------------ the largest
@op(onnx=Onnx("MaxPool", attributes={**_WINDOW, "dilations": dilations},
              differ={1: "ONNX's indices count over batch and channels too"}),
    samples=[Sample(distinct(2, 1, 7), kernel_size=3, stride=2, padding=1), Sample(distinct(1, 2, 4, 5), kernel_size=2),
             Sample(distinct(1, 1, 5, 5), kernel_size=(3, 2), stride=1, padding=((1, 0), (0, 1)), ceil_mode=True),
             Sample(distinct(1, 1, 6, 5), kernel_size=2, stride=3, dilation=(2, 1), ceil_mode=True),
             Sample(distinct(1, 1, 3, 4, 2), kernel_size=2, stride=(1, 2, 1)),
             Sample(normal(0, 2, 4, 4), kernel_size=2)],
    errors=[Bad(normal(2, 4), kernel_size=2, match="one to three spatial axes"),
            Bad(normal(1, 2, 4, 4), kernel_size=0, match="kernel_size to be an integer of at least 1"),
            Bad(normal(1, 2, 4, 4), kernel_size=2, stride=0, match="stride to be an integer of at least 1"),
            Bad(normal(1, 2, 4, 4), kernel_size=(2, 2, 2), match="or 2 of them"),
            Bad(normal(1, 2, 4, 4), kernel_size=2, padding=2, match="at most half the window"),
            Bad(normal(1, 2, 1), kernel_size=2, padding=2, dilation=4, match="window with an element of x"),
            Bad(normal(1, 2, 2, 9), kernel_size=3, match=r"at least \(3, 3\), the kernel's, got \(2, 9\)"),
            Bad(integers(1, 2, 4, 4), kernel_size=2, match="of a float")])  # fmt: skip
def max_pool(
    x: Array, *, kernel_size: PerAxis, stride: PerAxis | None = None, padding: Padding = 0, dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Array]:  # fmt: skip
    """y = max x over each window, and the index of that element in x's flattened spatial axes.   ∂L/∂x[index] += g.

    The padding is −∞; a NaN in the window comes out.

    >>> max_pool([[[1.0, 3.0, 2.0, 0.0]]], kernel_size=2)
    (array([[[3., 2.]]]), array([[[1, 2]]]))
    """
    x = np.asarray(x)
    kernel, strides, pairs, dilations, out = _windows("max_pool", x, kernel_size, stride, padding, dilation, ceil_mode)
    for n, m, k, s, (before, _), d in zip(x.shape[2:], out, kernel, strides, pairs, dilations, strict=True):
        seen = np.arange(m)[:, None] * s - before + np.arange(k) * d
        if not ((seen >= 0) & (seen < n)).any(axis=1).all():
            raise ShapeError("max_pool", "every window with an element of x", f"x of shape {x.shape}", hint="pad less.")
    return kernels.max_pool_forward(x, kernel, strides, pairs, dilations, out)


@max_pool.backward
def max_pool_backward(g: tuple[Array, Array], y: tuple[Array, Array], x_shape: Ints) -> Array:
    return max_unpool(g[0], y[1], size=x_shape[2:])


def max_unpool_definition(x: Array, indices: Array, *, size: PerAxis) -> Array:
    size = per_axis("max_unpool", "size", size, x.ndim - 2)
    flat = (*x.shape[:2], math.prod(x.shape[2:]))
    zeros = np.zeros((*x.shape[:2], math.prod(size)), x.dtype)
    return reshape(scatter_add(zeros, reshape(indices, flat), reshape(x, flat), axis=2), (*x.shape[:2], *size))


@op(onnx=ByDefinition(), definition=max_unpool_definition, stretches=False,
    dtypes={"x": "float", "indices": "index"},
    samples=[Sample(normal(1, 2, 2, 3), integers(1, 2, 2, 3, high=12), size=(3, 4)),
             Sample(normal(2, 1, 3), integers(2, 1, 3, high=5), size=(5,)),
             Sample(normal(0, 2, 3), integers(0, 2, 3), size=(5,))],
    errors=[Bad(normal(1, 2, 2, 3), integers(1, 2, 2, 2), size=(3, 4), match=r"indices of shape \(1, 2, 2, 3\)"),
            Bad(normal(1, 1, 2), constant([[[0, 4]]]), size=(4,), match="indices from 0 to 3, got 4"),
            Bad(normal(1, 1, 2), constant([[[0, -1]]]), size=(4,), match="indices from 0 to 3, got -1"),
            Bad(normal(1, 1, 2), constant([[[0, 1]]]), size=(2, 2), match="size")])  # fmt: skip
def max_unpool(x: Array, indices: Array, *, size: PerAxis) -> Array:
    """y = 0 over the spatial `size`, then y[index] += x.   ∂L/∂x = g[index].

    The transpose of max_pool at these indices: where windows overlapped and chose the same element, values add up.

    >>> max_unpool([[[3.0, 2.0]]], [[[1, 2]]], size=4)
    array([[[0., 3., 2., 0.]]])
    """
    x, indices = np.asarray(x), np.asarray(indices)
    size = per_axis("max_unpool", "size", size, x.ndim - 2)
    if indices.shape != x.shape:
        raise ShapeError("max_unpool", f"indices of shape {x.shape}, that of x", f"shape {indices.shape}")
    return kernels.max_pool_backward(x, indices, size)


@max_unpool.backward(serves_tensors=True)
def max_unpool_backward(g: Array, indices: Array) -> tuple[Array, None]:
    def flat(a: Array) -> Array:
        return reshape(a, (*a.shape[:2], math.prod(a.shape[2:])))

    return reshape(take_along_axis(flat(g), flat(indices), axis=-1), indices.shape), None


# ------------------------------------------------------------------------------ the average
def _is_divided(divisor_override: int | None) -> str:
    return "" if divisor_override is None else "ONNX divides by the number of elements"


@op(onnx=Onnx("AveragePool", attributes={**_WINDOW, "count_include_pad": "count_include_pad"}, unless=_is_divided),
    samples=[Sample(normal(2, 1, 7), kernel_size=3, stride=2, padding=1), Sample(normal(1, 2, 4, 5), kernel_size=2),
             Sample(normal(1, 1, 5, 5), kernel_size=(3, 2), padding=1, ceil_mode=True, count_include_pad=False),
             Sample(normal(1, 1, 5, 6), kernel_size=(3, 2), padding=1, stride=(3, 3), ceil_mode=True),
             Sample(normal(1, 1, 4, 5), kernel_size=3, stride=1, padding=((1, 0), (0, 1)), divisor_override=2),
             Sample(normal(1, 1, 3, 4, 2), kernel_size=2, stride=(1, 2, 1)), Sample(normal(0, 2, 4, 4), kernel_size=2)],
    errors=[Bad(normal(2, 4), kernel_size=2, match="one to three spatial axes"),
            Bad(normal(1, 2, 4, 4), kernel_size=2, padding=2, match="at most half the window"),
            Bad(normal(1, 2, 4, 4), kernel_size=2, stride=-1, match="stride to be"),
            Bad(normal(1, 2, 4, 4), kernel_size=2, divisor_override=0, match="divisor_override to be"),
            Bad(normal(1, 2, 2, 9), kernel_size=3, match=r"at least \(3, 3\), the kernel's")])  # fmt: skip
def avg_pool(
    x: Array, *, kernel_size: PerAxis, stride: PerAxis | None = None, padding: Padding = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """y = Σ x / n over each window of n elements.   ∂L/∂x = Σ g / n over the windows that hold x.

    n counts the padding too unless `count_include_pad` is false, but never what `ceil_mode` adds beyond it;
    `divisor_override` takes its place.

    >>> avg_pool([[[1.0, 3.0, 2.0, 0.0]]], kernel_size=2)
    array([[[2., 1.]]])
    """
    x = np.asarray(x)
    kernel, strides, pairs, _, out = _windows("avg_pool", x, kernel_size, stride, padding, 1, ceil_mode)
    counts = _counts("avg_pool", x.shape[2:], out, kernel, strides, pairs, count_include_pad, divisor_override)
    return kernels.avg_pool_forward(x, counts, kernel, strides, pairs)


@avg_pool.backward
def avg_pool_backward(
    g: Array, x_shape: Ints, kernel_size: PerAxis, stride: PerAxis | None, padding: Padding, ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None,
) -> Array:  # fmt: skip
    return avg_unpool(
        g, size=x_shape[2:], kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override,
    )  # fmt: skip


@op(onnx=NoOnnx("a gradient: exported graphs only compute forward"),
    samples=[Sample(normal(2, 1, 4), size=7, kernel_size=3, stride=2, padding=1),
             Sample(normal(1, 1, 2, 3), size=(3, 4), kernel_size=(3, 2), padding=1, ceil_mode=True,
                    count_include_pad=False),
             Sample(normal(0, 1, 2), size=4, kernel_size=2),
             Sample(normal(1, 1, 2), size=4, kernel_size=2, divisor_override=3)],
    errors=[Bad(normal(1, 2, 3, 3), size=4, kernel_size=2, match=r"x of shape \(…, 2, 2\), got shape \(1, 2, 3, 3\)"),
            Bad(normal(1, 2, 3, 3), size=(4, 4, 4), kernel_size=2, match="size")])  # fmt: skip
def avg_unpool(
    x: Array, *, size: PerAxis, kernel_size: PerAxis, stride: PerAxis | None = None, padding: Padding = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """y = Σ x / n over the windows that hold y: the transpose of avg_pool from `size`.   ∂L/∂x = avg_pool(g).

    >>> avg_unpool([[[2.0, 1.0]]], size=4, kernel_size=2)
    array([[[1. , 1. , 0.5, 0.5]]])
    """
    x = np.asarray(x)
    size = per_axis("avg_unpool", "size", size, x.ndim - 2)
    like = np.broadcast_to(x.dtype.type(0), (*x.shape[:2], *size))
    kernel, strides, pairs, _, out = _windows("avg_unpool", like, kernel_size, stride, padding, 1, ceil_mode)
    if x.shape[2:] != out:
        raise ShapeError("avg_unpool", f"x of shape (…, {', '.join(map(str, out))})", f"shape {x.shape}")
    counts = _counts("avg_unpool", size, out, kernel, strides, pairs, count_include_pad, divisor_override)
    return kernels.avg_pool_backward(x, counts, size, kernel, strides, pairs)


@avg_unpool.backward
def avg_unpool_backward(
    g: Array, kernel_size: PerAxis, stride: PerAxis | None, padding: Padding, ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None,
) -> Array:  # fmt: skip
    return avg_pool(
        g, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override,
    )  # fmt: skip


# ------------------------------------------------------------------------------ by the number of spatial axes
@composed
def max_pool1d(
    x: Array, *, kernel_size: PerAxis, stride: PerAxis | None = None, padding: Padding = 0, dilation: PerAxis = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """y = max x over each window of x (batch, channels, length), see max_pool; or (y, indices).

    >>> max_pool1d([[[1.0, 3.0, 2.0, 0.0]]], kernel_size=2)
    array([[[3., 2.]]])
    """
    checked_rank("max_pool1d", "x", x, 1)
    both: Any = max_pool(
        x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    return both if return_indices else both[0]


@composed
def max_pool2d(
    x: Array, *, kernel_size: PerAxis, stride: PerAxis | None = None, padding: Padding = 0, dilation: PerAxis = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """y = max x over each window of x (batch, channels, height, width), see max_pool; or (y, indices).

    >>> max_pool2d([[[[1.0, 3.0], [2.0, 0.0]]]], kernel_size=2)
    array([[[[3.]]]])
    """
    checked_rank("max_pool2d", "x", x, 2)
    both: Any = max_pool(
        x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    return both if return_indices else both[0]


@composed
def max_pool3d(
    x: Array, *, kernel_size: PerAxis, stride: PerAxis | None = None, padding: Padding = 0, dilation: PerAxis = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """y = max x over each window of x (batch, channels, depth, height, width), see max_pool; or (y, indices).

    >>> max_pool3d([[[[[1.0, 3.0], [2.0, 0.0]]]]], kernel_size=(1, 1, 2))
    array([[[[[3.],
              [2.]]]]])
    """
    checked_rank("max_pool3d", "x", x, 3)
    both: Any = max_pool(
        x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    return both if return_indices else both[0]


@composed
def avg_pool1d(
    x: Array, *, kernel_size: PerAxis, stride: PerAxis | None = None, padding: Padding = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """y = Σ x / n over each window of x (batch, channels, length), see avg_pool.

    >>> avg_pool1d([[[1.0, 3.0, 2.0, 0.0]]], kernel_size=2)
    array([[[2., 1.]]])
    """
    checked_rank("avg_pool1d", "x", x, 1)
    return avg_pool(
        x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override,
    )  # fmt: skip


@composed
def avg_pool2d(
    x: Array, *, kernel_size: PerAxis, stride: PerAxis | None = None, padding: Padding = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """y = Σ x / n over each window of x (batch, channels, height, width), see avg_pool.

    >>> avg_pool2d([[[[1.0, 3.0], [2.0, 0.0]]]], kernel_size=2)
    array([[[[1.5]]]])
    """
    checked_rank("avg_pool2d", "x", x, 2)
    return avg_pool(
        x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override,
    )  # fmt: skip


@composed
def avg_pool3d(
    x: Array, *, kernel_size: PerAxis, stride: PerAxis | None = None, padding: Padding = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """y = Σ x / n over each window of x (batch, channels, depth, height, width), see avg_pool.

    >>> avg_pool3d([[[[[1.0, 3.0], [2.0, 0.0]]]]], kernel_size=(1, 1, 2))
    array([[[[[2.],
              [1.]]]]])
    """
    checked_rank("avg_pool3d", "x", x, 3)
    return avg_pool(
        x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override,
    )  # fmt: skip


# ------------------------------------------------------------------------------ windows and counts
def _windows(
    where: str, x: Array, kernel_size: PerAxis, stride: PerAxis | None, padding: Padding, dilation: PerAxis,
    ceil_mode: bool,
) -> tuple[Ints, Ints, Pairs, Ints, Ints]:  # fmt: skip
    """Kernel, stride, padding, dilation and the number of windows for each axis."""
    rank = x.ndim - 2
    if rank not in (1, 2, 3):
        raise ShapeError(where, "x with one to three spatial axes", f"shape {x.shape}")
    kernel = per_axis(where, "kernel_size", kernel_size, rank)
    strides = kernel if stride is None else per_axis(where, "stride", stride, rank)
    pairs, dilations = padding_pairs(where, padding, rank), per_axis(where, "dilation", dilation, rank)
    out: list[int] = []
    for n, k, s, (before, after), d in zip(x.shape[2:], kernel, strides, pairs, dilations, strict=True):
        span = d * (k - 1) + 1
        if before > span // 2 or after > span // 2:
            raise ArgumentError(where, f"padding of at most half the window of {span}", f"padding={padding}")
        steps = n + before + after - span
        last = -(-steps // s) if ceil_mode else steps // s
        out.append(last + 1 - (last * s >= n + before))  # a window that begins in the padding after x does not count
    checked_fit(where, x.shape[2:], kernel, pairs, dilations)
    return kernel, strides, pairs, dilations, tuple(out)


def _counts(
    where: str, size: Ints, out: Ints, kernel: Ints, stride: Ints, padding: Pairs, count_include_pad: bool,
    divisor_override: int | None,
) -> Array:  # fmt: skip
    """By what the sum of each window is divided."""
    if divisor_override is not None:
        return np.broadcast_to(float(per_axis(where, "divisor_override", divisor_override, 1)[0]), out)
    counts: Any = np.ones((1,) * len(size))
    for axis, (n, m, k, s, (before, after)) in enumerate(zip(size, out, kernel, stride, padding, strict=True)):
        starts = np.arange(m) * s - before
        ends = np.minimum(starts + k, n + after if count_include_pad else n)
        counts = counts * (ends - (starts if count_include_pad else np.maximum(starts, 0))).reshape(
            [-1 if a == axis else 1 for a in range(len(size))]
        )
    return counts
