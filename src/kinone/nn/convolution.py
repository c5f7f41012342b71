"""Convolutions and transposed convolutions over one to three axes, and the blocks that they see.

Names and order of the arguments are PyTorch's, as are the first values: uniform between ±1/√fan_in. `None` for the
number of input channels lets the first input tell it: `Conv2d(None, 64, 3)`.
"""

from math import prod
from typing import Any, ClassVar

from kinone.errors import ArgumentError, ShapeError
from kinone.kernels.windows import Ints
from kinone.nn import initialize
from kinone.nn.layer import Layer, count
from kinone.nn.parameter import Parameter
from kinone.nn.state import Shape
from kinone.ops import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d, fold, pad, unfold
from kinone.ops.arguments import shape_of
from kinone.ops.window import Padding, PerAxis, checked_rank, convolution_padding, per_axis

_FORWARD = (conv1d, conv2d, conv3d)
_TRANSPOSED = (conv_transpose1d, conv_transpose2d, conv_transpose3d)
_PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class Kernels(Layer):
    """What convolutions and their transposes share: a weight for each pair of channels in a group, and a bias."""

    rank: ClassVar[int]
    in_channels: int | None
    weight: Parameter | None
    bias: Parameter | None

    def _set(
        self, in_channels: int | None, out_channels: int, kernel_size: PerAxis, stride: PerAxis, dilation: PerAxis,
        groups: int, bias: bool,
    ) -> None:  # fmt: skip
        where = type(self).__name__
        self.in_channels = None
        self.out_channels = count(where, "out_channels", out_channels)
        self.kernel_size = per_axis(where, "kernel_size", kernel_size, self.rank)
        self.stride = per_axis(where, "stride", stride, self.rank)
        self.dilation = per_axis(where, "dilation", dilation, self.rank)
        self.groups, self.has_bias = count(where, "groups", groups), bias
        self._check_groups("out_channels", self.out_channels)
        self.weight = self.bias = None
        self.is_waiting = in_channels is None
        if in_channels is not None:
            self.make(in_channels)

    def _check_groups(self, name: str, channels: int) -> None:
        if channels % self.groups:
            where = type(self).__name__
            raise ArgumentError(where, f"{name} that groups={self.groups} divides", f"{name}={channels}")

    def make(self, in_channels: int) -> None:
        """Draw the parameters, as PyTorch does."""
        in_channels = count(type(self).__name__, "in_channels", in_channels)
        self._check_groups("in_channels", in_channels)
        self.in_channels, self.is_waiting = in_channels, False
        shape = (*self._channels(), *self.kernel_size)
        fan_in = prod(shape[1:])
        self.weight = Parameter(initialize.fan_in_uniform(shape, fan_in))
        if self.has_bias:
            self.bias = Parameter(initialize.fan_in_uniform((self.out_channels,), fan_in))

    def _channels(self) -> tuple[int, int]:
        """The first two axes of the weight; the second is what a bias' bound is measured by."""
        raise NotImplementedError

    def settle(self, x: Any, *args: Any, **kwargs: Any) -> None:
        checked_rank(type(self).__name__, "x", x, self.rank)
        self.make(shape_of(x)[1])


class Convolution(Kernels):
    """y[n, o, i] = b[o] + Σ w[o, c, k]·x[n, c, i·stride + k·dilation − padding], x padded by `padding_mode`."""

    def __init__(
        self, in_channels: int | None, out_channels: int, kernel_size: PerAxis, stride: PerAxis = 1,
        padding: Padding = 0, dilation: PerAxis = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
    ) -> None:  # fmt: skip
        where = type(self).__name__
        if padding_mode not in _PAD_MODES:
            raise ArgumentError(where, f"padding_mode {', '.join(_PAD_MODES)}", repr(padding_mode))
        self.padding_mode = padding_mode
        self._set(in_channels, out_channels, kernel_size, stride, dilation, groups, bias)
        pairs = convolution_padding(where, padding, self.kernel_size, self.stride, self.dilation)
        is_even = all(before == after for before, after in pairs)
        self.padding = padding if isinstance(padding, str) else tuple(p[0] for p in pairs) if is_even else pairs
        self._pad_width = ((0, 0), (0, 0), *pairs)

    def _channels(self) -> tuple[int, int]:
        assert self.in_channels is not None
        return self.out_channels, self.in_channels // self.groups

    def settle_like(self, shapes: dict[str, Shape]) -> None:
        if len(shape := shapes.get("weight", ())) == self.rank + 2:
            self.make(shape[1] * self.groups)

    def forward(self, x: Any) -> Any:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            checked_rank(type(self).__name__, "x", x, self.rank)
            x, padding = pad(x, self._pad_width, mode=_PAD_MODES[self.padding_mode]), 0
        return _FORWARD[self.rank - 1](
            x, self.weight, self.bias, stride=self.stride, padding=padding, dilation=self.dilation, groups=self.groups
        )


class Conv1d(Convolution):
    """y[n,o,i] = b[o] + Σ w[o,c,k]·x[n, c, i·stride + k·dilation − padding]: x (N, C, L) → y (N, out_channels, L′).

    `padding` is a number, "same" or "valid"; `padding_mode` says what stands there: zeros, reflect, replicate,
    circular. `Conv1d(None, 8, 3)` takes the number of input channels from its first input.

    >>> Conv1d(2, 8, 3, padding="same")([[[1.0, 2.0, 3.0]] * 2]).shape
    (1, 8, 3)
    """

    rank = 1


class Conv2d(Convolution):
    """y[n,o,i,j] = b[o] + Σ w[o,c,k,l]·x[n, c, i·stride + k·dilation − padding, j·…]: x (N, C, H, W).

    `padding` is a number, one for each axis, "same" or "valid"; `padding_mode` says what stands there: zeros, reflect,
    replicate, circular. `Conv2d(None, 8, 3)` takes the number of input channels from its first input.

    >>> import kinone as kn
    >>> layer = Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
    >>> layer.weight.shape, layer(kn.ones((1, 4, 5, 5))).shape
    ((8, 2, 3, 3), (1, 8, 3, 3))
    """

    rank = 2


class Conv3d(Convolution):
    """y[n,o,h,i,j] = b[o] + Σ w[o,c,k,l,m]·x[n, c, h·stride + k·dilation − padding, …]: x (N, C, D, H, W).

    The arguments are those of Conv2d.

    >>> import kinone as kn
    >>> Conv3d(1, 2, (1, 3, 3))(kn.ones((1, 1, 2, 4, 4))).shape
    (1, 2, 2, 2, 2)
    """

    rank = 3


class ConvolutionTranspose(Kernels):
    """y[n, o, i·stride + k·dilation − padding] = b[o] + Σ w[c, o, k]·x[n, c, i], over all that meet there."""

    def __init__(
        self, in_channels: int | None, out_channels: int, kernel_size: PerAxis, stride: PerAxis = 1,
        padding: PerAxis = 0, output_padding: PerAxis = 0, groups: int = 1, bias: bool = True, dilation: PerAxis = 1,
        padding_mode: str = "zeros",
    ) -> None:  # fmt: skip
        where = type(self).__name__
        if padding_mode != "zeros":
            raise ArgumentError(where, "padding_mode zeros", repr(padding_mode))
        self.padding_mode = padding_mode
        self._set(in_channels, out_channels, kernel_size, stride, dilation, groups, bias)
        self.padding = per_axis(where, "padding", padding, self.rank, 0)
        self.output_padding = per_axis(where, "output_padding", output_padding, self.rank, 0)
        if any(extra >= step for extra, step in zip(self.output_padding, self.stride, strict=True)):
            expected = f"output_padding below the stride {self.stride}"
            raise ArgumentError(where, expected, f"output_padding={output_padding}")

    def _channels(self) -> tuple[int, int]:
        assert self.in_channels is not None
        return self.in_channels, self.out_channels // self.groups

    def settle_like(self, shapes: dict[str, Shape]) -> None:
        if len(shape := shapes.get("weight", ())) == self.rank + 2:
            self.make(shape[0])

    def forward(self, x: Any, output_size: PerAxis | None = None) -> Any:
        """`output_size` chooses among the sizes that a convolution makes into x's; `output_padding` does otherwise."""
        extra = self.output_padding if output_size is None else self._extra(x, output_size)
        return _TRANSPOSED[self.rank - 1](
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, output_padding=extra,
            groups=self.groups, dilation=self.dilation,
        )  # fmt: skip

    def _extra(self, x: Any, output_size: PerAxis) -> Ints:
        where = type(self).__name__
        checked_rank(where, "x", x, self.rank)
        wanted = per_axis(where, "output_size", output_size, self.rank)
        rows = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        least = tuple((n - 1) * s + d * (k - 1) + 1 - 2 * p for n, k, s, p, d in rows)
        extra = tuple(m - n for m, n in zip(wanted, least, strict=True))
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            most = tuple(n + s - 1 for n, s in zip(least, self.stride, strict=True))
            raise ShapeError(where, f"output_size from {least} to {most}", f"{wanted} (x has shape {x.shape})")
        return extra


class ConvTranspose1d(ConvolutionTranspose):
    """y[n, o, i·stride + k·dilation − padding] = b[o] + Σ w[c,o,k]·x[n,c,i]: the transpose of Conv1d, x (N, C, L).

    >>> import kinone as kn
    >>> ConvTranspose1d(2, 3, 2, stride=2)(kn.ones((1, 2, 4))).shape
    (1, 3, 8)
    """

    rank = 1


class ConvTranspose2d(ConvolutionTranspose):
    """y[n, o, i·stride + k·dilation − padding, …] = b[o] + Σ w[c,o,k,l]·x[n,c,i,j]: the transpose of Conv2d.

    >>> import kinone as kn
    >>> layer = ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    >>> x = kn.ones((1, 2, 4, 4))
    >>> layer(x).shape, layer(x, output_size=8).shape
    ((1, 3, 7, 7), (1, 3, 8, 8))
    """

    rank = 2


class ConvTranspose3d(ConvolutionTranspose):
    """y[n, o, h·stride + k·dilation − padding, …] = b[o] + Σ w[c,o,k,l,m]·x[n,c,h,i,j]: the transpose of Conv3d.

    >>> import kinone as kn
    >>> ConvTranspose3d(1, 2, 2)(kn.ones((1, 1, 2, 2, 2))).shape
    (1, 2, 3, 3, 3)
    """

    rank = 3


# ------------------------------------------------------------------------------ blocks
class Unfold(Layer):
    """y[n, (c, k), i] = x[n, c, i·stride + k·dilation − padding]: the blocks of x (N, C, H, W) as columns.

    >>> import kinone as kn
    >>> Unfold(2)(kn.ones((1, 3, 4, 4))).shape
    (1, 12, 9)
    """

    def __init__(self, kernel_size: PerAxis, dilation: PerAxis = 1, padding: PerAxis = 0, stride: PerAxis = 1) -> None:
        self.kernel_size = per_axis("Unfold", "kernel_size", kernel_size, 2)
        self.dilation, self.stride = (
            per_axis("Unfold", "dilation", dilation, 2),
            per_axis("Unfold", "stride", stride, 2),
        )
        self.padding = per_axis("Unfold", "padding", padding, 2, 0)

    def forward(self, x: Any) -> Any:
        checked_rank("Unfold", "x", x, 2)
        return unfold(x, kernel_size=self.kernel_size, dilation=self.dilation, padding=self.padding, stride=self.stride)


class Fold(Layer):
    """y[n, c, i·stride + k·dilation − padding] = Σ x[n, (c, k), i]: columns summed back into (N, C, *output_size).

    >>> import kinone as kn
    >>> Fold((4, 4), 2)(kn.ones((1, 12, 9)))[0, 0, 0].tolist()
    [1.0, 2.0, 2.0, 1.0]
    """

    def __init__(
        self, output_size: PerAxis, kernel_size: PerAxis, dilation: PerAxis = 1, padding: PerAxis = 0,
        stride: PerAxis = 1,
    ) -> None:  # fmt: skip
        self.output_size = per_axis("Fold", "output_size", output_size, 2)
        self.kernel_size = per_axis("Fold", "kernel_size", kernel_size, 2)
        self.dilation, self.stride = per_axis("Fold", "dilation", dilation, 2), per_axis("Fold", "stride", stride, 2)
        self.padding = per_axis("Fold", "padding", padding, 2, 0)

    def forward(self, x: Any) -> Any:
        return fold(
            x, output_size=self.output_size, kernel_size=self.kernel_size, dilation=self.dilation,
            padding=self.padding, stride=self.stride,
        )  # fmt: skip
