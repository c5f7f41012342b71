"""Pools: the largest or the average of each window, of each of so many stretches, or of all; and back."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from kinone.core.tensor import as_array
from kinone.errors import ShapeError
from kinone.kernels.windows import Ints
from kinone.nn.layer import Layer, count
from kinone.ops import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    global_avg_pool,
    global_max_pool,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool,
)
from kinone.ops.arguments import shape_of
from kinone.ops.window import PerAxis, checked_rank, per_axis

_MAX = (max_pool1d, max_pool2d, max_pool3d)
_AVG = (avg_pool1d, avg_pool2d, avg_pool3d)
_ADAPTIVE_MAX = (adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d)
_ADAPTIVE_AVG = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)


class Pool(Layer):
    """What pools over windows share; where no stride is given, windows do not overlap."""

    rank: ClassVar[int]

    def _set(self, kernel_size: PerAxis, stride: PerAxis | None, padding: PerAxis) -> None:
        where = type(self).__name__
        self.kernel_size = per_axis(where, "kernel_size", kernel_size, self.rank)
        self.stride = None if stride is None else per_axis(where, "stride", stride, self.rank)
        self.padding = per_axis(where, "padding", padding, self.rank, 0)


class MaxPool(Pool):
    """y = max x over each window."""

    def __init__(
        self, kernel_size: PerAxis, stride: PerAxis | None = None, padding: PerAxis = 0, dilation: PerAxis = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        self._set(kernel_size, stride, padding)
        self.dilation = per_axis(type(self).__name__, "dilation", dilation, self.rank)
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, x: Any) -> Any:
        return _MAX[self.rank - 1](
            x, kernel_size=self.kernel_size, stride=self.stride, padding=self.padding, dilation=self.dilation,
            ceil_mode=self.ceil_mode, return_indices=self.return_indices,
        )  # fmt: skip


class AvgPool(Pool):
    """y = Σ x / n over each window of n elements."""

    def __init__(
        self, kernel_size: PerAxis, stride: PerAxis | None = None, padding: PerAxis = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        self._set(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        where = type(self).__name__
        is_own = divisor_override is not None
        self.divisor_override = count(where, "divisor_override", divisor_override) if is_own else None

    def forward(self, x: Any) -> Any:
        return _AVG[self.rank - 1](
            x, kernel_size=self.kernel_size, stride=self.stride, padding=self.padding, ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad, divisor_override=self.divisor_override,
        )  # fmt: skip


class MaxUnpool(Pool):
    """y = 0, then x at the indices that max pooling returned; where several stand, their mean."""

    def __init__(self, kernel_size: PerAxis, stride: PerAxis | None = None, padding: PerAxis = 0) -> None:
        self._set(kernel_size, stride, padding)

    def forward(self, x: Any, indices: Any, output_size: PerAxis | None = None) -> Any:
        """`output_size` is the size that was pooled, where several are pooled into x's."""
        where = type(self).__name__
        checked_rank(where, "x", x, self.rank)
        if shape_of(x) != shape_of(indices):
            raise ShapeError(where, f"indices of x's shape {shape_of(x)}", f"shape {shape_of(indices)}")
        steps = self.stride or self.kernel_size
        rows = zip(shape_of(x)[2:], self.kernel_size, steps, self.padding, strict=True)
        size: Any = tuple((n - 1) * s + k - 2 * p for n, k, s, p in rows)
        if output_size is not None:
            size = per_axis(where, "output_size", output_size, self.rank)
        y = max_unpool(x, indices, size=size)
        if all(s >= k for k, s in zip(self.kernel_size, steps, strict=True)):
            return y
        places = as_array(indices)  # windows that overlap may have chosen the same one
        return y / np.maximum(max_unpool(np.ones(places.shape, y.dtype), places, size=size), 1)


class Adaptive(Layer):
    """What pools to a size given in advance share."""

    rank: ClassVar[int]

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        sizes = (output_size,) * self.rank if output_size is None or isinstance(output_size, int) else output_size
        kept = [1 if n is None else n for n in sizes]
        ones = per_axis(type(self).__name__, "output_size", kept, self.rank)
        self.output_size = tuple(None if n is None else m for n, m in zip(sizes, ones, strict=True))

    def _size(self, x: Any) -> Ints:
        checked_rank(type(self).__name__, "x", x, self.rank)
        return tuple(n if m is None else m for n, m in zip(shape_of(x)[2:], self.output_size, strict=True))


class AdaptiveMaxPool(Adaptive):
    """y = largest of each stretch."""

    def forward(self, x: Any) -> Any:
        return _ADAPTIVE_MAX[self.rank - 1](x, output_size=self._size(x))


class AdaptiveAvgPool(Adaptive):
    """y = average of each stretch."""

    def forward(self, x: Any) -> Any:
        return _ADAPTIVE_AVG[self.rank - 1](x, output_size=self._size(x))


class MaxPool1d(MaxPool):
    """y = max x over each window of x (N, C, L); with return_indices, (y, where each stood).

    The place is counted over the spatial axes. What is padded never wins; of equal maxima the first gets the gradient.

    >>> MaxPool1d(2)([[[1.0, 3.0, 2.0, 0.0]]]).tolist()
    [[[3.0, 2.0]]]
    """

    rank = 1


class MaxPool2d(MaxPool):
    """y = max x over each window of x (N, C, H, W); with return_indices, (y, where each stood).

    The place is counted over the spatial axes. What is padded never wins; of equal maxima the first gets the gradient.

    >>> MaxPool2d((1, 2))([[[[1.0, 3.0, 2.0, 0.0]]]]).tolist()
    [[[[3.0, 2.0]]]]
    """

    rank = 2


class MaxPool3d(MaxPool):
    """y = max x over each window of x (N, C, D, H, W); with return_indices, (y, where each stood).

    The place is counted over the spatial axes. What is padded never wins; of equal maxima the first gets the gradient.

    >>> MaxPool3d((1, 1, 2))([[[[[1.0, 3.0, 2.0, 0.0]]]]]).tolist()
    [[[[[3.0, 2.0]]]]]
    """

    rank = 3


class AvgPool1d(AvgPool):
    """y = Σ x / n over each window of x (N, C, L); n counts what is padded unless count_include_pad=False.

    >>> AvgPool1d(2)([[[1.0, 3.0, 2.0, 0.0]]]).tolist()
    [[[2.0, 1.0]]]
    """

    rank = 1


class AvgPool2d(AvgPool):
    """y = Σ x / n over each window of x (N, C, H, W); n counts what is padded unless count_include_pad=False.

    >>> AvgPool2d((1, 2))([[[[1.0, 3.0, 2.0, 0.0]]]]).tolist()
    [[[[2.0, 1.0]]]]
    """

    rank = 2


class AvgPool3d(AvgPool):
    """y = Σ x / n over each window of x (N, C, D, H, W); n counts what is padded unless count_include_pad=False.

    >>> AvgPool3d((1, 1, 2))([[[[[1.0, 3.0, 2.0, 0.0]]]]]).tolist()
    [[[[[2.0, 1.0]]]]]
    """

    rank = 3


class MaxUnpool1d(MaxUnpool):
    """y = 0, then y[indices] = x: what MaxPool1d(…, return_indices=True) chose, back in its place. x (N, C, L).

    >>> y, indices = MaxPool1d(2, return_indices=True)([[[1.0, 3.0, 2.0, 0.0]]])
    >>> MaxUnpool1d(2)(y, indices).tolist()
    [[[0.0, 3.0, 2.0, 0.0]]]
    """

    rank = 1


class MaxUnpool2d(MaxUnpool):
    """y = 0, then y[indices] = x: what MaxPool2d(…, return_indices=True) chose, back in its place. x (N, C, H, W).

    >>> y, indices = MaxPool2d((1, 2), return_indices=True)([[[[1.0, 3.0, 2.0, 0.0]]]])
    >>> MaxUnpool2d((1, 2))(y, indices).tolist()
    [[[[0.0, 3.0, 2.0, 0.0]]]]
    """

    rank = 2


class MaxUnpool3d(MaxUnpool):
    """y = 0, then y[indices] = x: what MaxPool3d(…, return_indices=True) chose, back in its place. x (N, C, D, H, W).

    >>> y, indices = MaxPool3d((1, 1, 2), return_indices=True)([[[[[1.0, 3.0, 2.0, 0.0]]]]])
    >>> MaxUnpool3d((1, 1, 2))(y, indices).tolist()
    [[[[[0.0, 3.0, 2.0, 0.0]]]]]
    """

    rank = 3


class AdaptiveAvgPool1d(AdaptiveAvgPool):
    """y = average of each of output_size stretches of x (N, C, L), as even as can be; None keeps an axis.

    >>> AdaptiveAvgPool1d(2)([[[1.0, 2.0, 3.0]]]).tolist()
    [[[1.5, 2.5]]]
    """

    rank = 1


class AdaptiveAvgPool2d(AdaptiveAvgPool):
    """y = average of each of output_size stretches of x (N, C, H, W), as even as can be; None keeps an axis.

    >>> AdaptiveAvgPool2d((None, 2))([[[[1.0, 2.0, 3.0]]]]).tolist()
    [[[[1.5, 2.5]]]]
    """

    rank = 2


class AdaptiveAvgPool3d(AdaptiveAvgPool):
    """y = average of each of output_size stretches of x (N, C, D, H, W), as even as can be; None keeps an axis.

    >>> AdaptiveAvgPool3d((1, None, 2))([[[[[1.0, 2.0, 3.0]]]]]).tolist()
    [[[[[1.5, 2.5]]]]]
    """

    rank = 3


class AdaptiveMaxPool1d(AdaptiveMaxPool):
    """y = largest of each of output_size stretches of x (N, C, L), as even as can be; None keeps an axis.

    >>> AdaptiveMaxPool1d(2)([[[1.0, 2.0, 3.0]]]).tolist()
    [[[2.0, 3.0]]]
    """

    rank = 1


class AdaptiveMaxPool2d(AdaptiveMaxPool):
    """y = largest of each of output_size stretches of x (N, C, H, W), as even as can be; None keeps an axis.

    >>> AdaptiveMaxPool2d((None, 2))([[[[1.0, 2.0, 3.0]]]]).tolist()
    [[[[2.0, 3.0]]]]
    """

    rank = 2


class AdaptiveMaxPool3d(AdaptiveMaxPool):
    """y = largest of each of output_size stretches of x (N, C, D, H, W), as even as can be; None keeps an axis.

    >>> AdaptiveMaxPool3d((1, None, 2))([[[[[1.0, 2.0, 3.0]]]]]).tolist()
    [[[[[2.0, 3.0]]]]]
    """

    rank = 3


class GlobalAvgPool(Layer):
    """y = mean of x (N, C, …) over its spatial axes, which stay with length 1.

    >>> GlobalAvgPool()([[[[1.0, 2.0], [3.0, 4.0]]]])
    array([[[[2.5]]]])
    """

    def forward(self, x: Any) -> Any:
        return global_avg_pool(x)


class GlobalMaxPool(Layer):
    """y = max of x (N, C, …) over its spatial axes, which stay with length 1.

    >>> GlobalMaxPool()([[[[1.0, 2.0], [3.0, 4.0]]]])
    array([[[[4.]]]])
    """

    def forward(self, x: Any) -> Any:
        return global_max_pool(x)
