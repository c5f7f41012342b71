"""Pooling to a size given in advance: adaptive and global. x is (batch, channels, *size)."""

from typing import Any

from kinone.core.op import Array
from kinone.errors import ShapeError
from kinone.ops.arguments import composed, shape_of
from kinone.ops.index import take
from kinone.ops.pool import avg_pool, max_pool
from kinone.ops.reduce import max, mean
from kinone.ops.resize import interpolate
from kinone.ops.window import PerAxis, checked_filled, checked_rank, per_axis, segments


@composed
def global_avg_pool(x: Array) -> Array:
    """y = mean of x over its spatial axes, which stay with length 1.   ∂L/∂x = g / n.

    >>> global_avg_pool([[[[1.0, 2.0], [3.0, 4.0]]]])
    array([[[[2.5]]]])
    """
    return mean(x, axis=_spatial("global_avg_pool", x), keepdims=True)


@composed
def global_max_pool(x: Array) -> Array:
    """y = max of x over its spatial axes, which stay with length 1; equal maxima share the gradient, as in max.

    >>> global_max_pool([[[[1.0, 2.0], [3.0, 4.0]]]])
    array([[[[4.]]]])
    """
    return max(x, axis=_spatial("global_max_pool", x), keepdims=True)


def _spatial(where: str, x: Array) -> tuple[int, ...]:
    shape = shape_of(x)
    if len(shape) < 3:
        raise ShapeError(where, "x of shape (batch, channels, *size)", f"shape {shape}")
    return tuple(range(2, len(shape)))


@composed
def adaptive_avg_pool1d(x: Array, *, output_size: PerAxis) -> Array:
    """y = average of each of `output_size` stretches, as even as can be, of x (batch, channels, length).

    >>> adaptive_avg_pool1d([[[1.0, 2.0, 3.0]]], output_size=2)
    array([[[1.5, 2.5]]])
    """
    return _adaptive_avg("adaptive_avg_pool1d", x, 1, output_size)


@composed
def adaptive_avg_pool2d(x: Array, *, output_size: PerAxis) -> Array:
    """y = average of each of `output_size` stretches, as even as can be, of x (batch, channels, height, width).

    >>> adaptive_avg_pool2d([[[[1.0, 2.0, 3.0]]]], output_size=(1, 2))
    array([[[[1.5, 2.5]]]])
    """
    return _adaptive_avg("adaptive_avg_pool2d", x, 2, output_size)


@composed
def adaptive_avg_pool3d(x: Array, *, output_size: PerAxis) -> Array:
    """y = average of each of `output_size` stretches, as even as can be, of x (batch, channels, depth, height, width).

    >>> adaptive_avg_pool3d([[[[[1.0, 2.0, 3.0]]]]], output_size=(1, 1, 2))
    array([[[[[1.5, 2.5]]]]])
    """
    return _adaptive_avg("adaptive_avg_pool3d", x, 3, output_size)


@composed
def adaptive_max_pool1d(x: Array, *, output_size: PerAxis) -> Array:
    """y = largest of each of `output_size` stretches, as even as can be, of x (batch, channels, length).

    >>> adaptive_max_pool1d([[[1.0, 2.0, 3.0]]], output_size=2)
    array([[[2., 3.]]])
    """
    return _adaptive_max("adaptive_max_pool1d", x, 1, output_size)


@composed
def adaptive_max_pool2d(x: Array, *, output_size: PerAxis) -> Array:
    """y = largest of each of `output_size` stretches, as even as can be, of x (batch, channels, height, width).

    >>> adaptive_max_pool2d([[[[1.0, 2.0, 3.0]]]], output_size=(1, 2))
    array([[[[2., 3.]]]])
    """
    return _adaptive_max("adaptive_max_pool2d", x, 2, output_size)


@composed
def adaptive_max_pool3d(x: Array, *, output_size: PerAxis) -> Array:
    """y = largest of each of `output_size` stretches, as even as can be, of x (batch, channels, depth, height, width).

    >>> adaptive_max_pool3d([[[[[1.0, 2.0, 3.0]]]]], output_size=(1, 1, 2))
    array([[[[[2., 3.]]]]])
    """
    return _adaptive_max("adaptive_max_pool3d", x, 3, output_size)


def _adaptive_avg(where: str, x: Array, rank: int, output_size: PerAxis) -> Array:
    """Stretch i reaches from ⌊i·n/m⌋ to ⌈(i + 1)·n/m⌉; where m divides n, they are the windows of a plain pooling."""
    size, out = _sizes(where, x, rank, output_size)
    if any(n % m for n, m in zip(size, out, strict=True)):
        return interpolate(x, size=out, mode="area")
    return avg_pool(x, kernel_size=tuple(n // m for n, m in zip(size, out, strict=True)))


def _adaptive_max(where: str, x: Array, rank: int, output_size: PerAxis) -> Array:
    size, out = _sizes(where, x, rank, output_size)
    kernel: list[int] = []
    for axis, (n, m) in enumerate(zip(size, out, strict=True), start=2):
        if n % m:  # lay the stretches out one after another; a short one's last element, twice, changes no maximum
            indices, _ = segments(n, m)
            kernel.append(indices.shape[1])
            x = take(x, indices.ravel(), axis=axis)
        else:
            kernel.append(n // m)
    both: Any = max_pool(x, kernel_size=tuple(kernel))
    return both[0]


def _sizes(where: str, x: Array, rank: int, output_size: PerAxis) -> tuple[tuple[int, ...], tuple[int, ...]]:
    checked_rank(where, "x", x, rank)
    size, out = shape_of(x)[2:], per_axis(where, "output_size", output_size, rank)
    checked_filled(where, size)
    return size, out
