"""Layers that change how many pixels there are."""

from collections.abc import Sequence
from typing import Any

from kinone.errors import ArgumentError
from kinone.nn.layer import Layer, count
from kinone.ops import interpolate, pixel_shuffle, pixel_unshuffle
from kinone.ops.window import PerAxis

_MODES = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic", "area")


class Upsample(Layer):
    """y[i] = Σ wᵢⱼ·x[j] along each spatial axis of x (N, C, …), to `size` or by `scale_factor`; see kn.interpolate.

    >>> Upsample(scale_factor=2)([[[1.0, 2.0]]])
    array([[[1., 1., 2., 2.]]])
    """

    def __init__(
        self, size: PerAxis | None = None, scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:  # fmt: skip
        where = type(self).__name__
        if (size is None) == (scale_factor is None):
            raise ArgumentError(where, "either size or scale_factor", "neither" if size is None else "both")
        if mode not in _MODES:
            raise ArgumentError(where, f"mode to be one of {', '.join(_MODES)}", f"mode={mode!r}")
        self.size = tuple(size) if isinstance(size, Sequence) else size
        self.scale_factor = tuple(scale_factor) if isinstance(scale_factor, Sequence) else scale_factor
        self.mode, self.align_corners = mode, align_corners

    def forward(self, x: Any) -> Any:
        return interpolate(
            x, size=self.size, scale_factor=self.scale_factor, mode=self.mode, align_corners=bool(self.align_corners)
        )


class UpsamplingNearest2d(Upsample):
    """Upsample(mode="nearest") of x (N, C, H, W).

    >>> UpsamplingNearest2d(scale_factor=2)([[[[1.0]]]]).tolist()
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """

    def __init__(self, size: PerAxis | None = None, scale_factor: float | Sequence[float] | None = None) -> None:
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """Upsample(mode="bilinear", align_corners=True) of x (N, C, H, W).

    >>> UpsamplingBilinear2d(size=(1, 3))([[[[0.0, 1.0]]]]).tolist()
    [[[[0.0, 0.5, 1.0]]]]
    """

    def __init__(self, size: PerAxis | None = None, scale_factor: float | Sequence[float] | None = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Layer):
    """y[n, c, h·r + i, w·r + j] = x[n, c·r² + i·r + j, h, w], r the upscale_factor.

    >>> PixelShuffle(2)([[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]]).tolist()
    [[[[1.0, 2.0], [3.0, 4.0]]]]
    """

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = count("PixelShuffle", "upscale_factor", upscale_factor)

    def forward(self, x: Any) -> Any:
        return pixel_shuffle(x, upscale_factor=self.upscale_factor)


class PixelUnshuffle(Layer):
    """y[n, c·r² + i·r + j, h, w] = x[n, c, h·r + i, w·r + j], r the downscale_factor.

    >>> PixelUnshuffle(2)([[[[1.0, 2.0], [3.0, 4.0]]]]).shape
    (1, 4, 1, 1)
    """

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = count("PixelUnshuffle", "downscale_factor", downscale_factor)

    def forward(self, x: Any) -> Any:
        return pixel_unshuffle(x, downscale_factor=self.downscale_factor)
