"""How bright things are in an image."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kinone.data.transforms.base import Range, Transform, clipped, drawn, unit, within
from kinone.data.transforms.equalize import equalized
from kinone.errors import ArgumentError, ShapeError
from kinone.random import Stream


@dataclass(frozen=True)
class BrightnessContrast(Transform):
    """y = ½ + c·(x − ½) + b, cut to 0 … 1: b from `brightness`, c from `contrast`."""

    brightness: Range = field(default=(-0.1, 0.1), metadata=within(-1, 1, single="both"))
    contrast: Range = field(default=(0.8, 1.2), metadata=within(0, 100))

    def apply(self, image: Any, stream: Stream) -> Any:
        b, c = drawn(stream, self.brightness, self.contrast)
        base = 0.5 * (1 - c) + b  # in this form c = 1 and b = 0 change no bit
        if image.dtype == np.uint8:
            return clipped(np.arange(256) * c + 255 * base, image.dtype)[image]
        return clipped(image * image.dtype.type(c) + image.dtype.type(base), image.dtype)


@dataclass(frozen=True)
class CLAHE(Transform):
    """Contrast evened out place by place: each of `tiles` (rows, columns) has its own histogram, cut at `clip_limit`.

    The image is taken as 8-bit levels; floating ones are rounded to them and divided by 255 again.
    """

    clip_limit: Range = field(default=(1.0, 4.0), metadata=within(0, 256))
    tiles: tuple[int, int] = (8, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.tiles) != 2 or not all(isinstance(n, int) and 1 <= n <= 256 for n in self.tiles):
            raise ArgumentError("CLAHE", "tiles, two whole numbers from 1 to 256", repr(self.tiles))

    def apply(self, image: Any, stream: Stream) -> Any:
        (limit,) = drawn(stream, self.clip_limit)
        levels = image if image.dtype == np.uint8 else clipped(image * image.dtype.type(255), np.dtype(np.uint8))
        planes = levels.reshape(-1, *levels.shape[-2:])
        made = np.stack([equalized(plane, limit, self.tiles) for plane in planes]).reshape(levels.shape)
        return made if image.dtype == np.uint8 else made.astype(image.dtype) / image.dtype.type(255)


@dataclass(frozen=True)
class Noise(Transform):
    """y = x + σ·n, cut to 0 … 1: n normal for each pixel, σ from `std`; Noise(0.05) is Noise((0, 0.05))."""

    std: Range = field(default=(0, 0.05), metadata=within(0, 1, single="zero"))

    def apply(self, image: Any, stream: Stream) -> Any:
        (std,) = drawn(stream, self.std)
        kind = np.float64 if image.dtype == np.float64 else np.float32
        added = stream.normal(image.shape, dtype=kind) * kind(std * unit(image))
        return clipped(image.astype(kind) + added, image.dtype)


@dataclass(frozen=True)
class Normalize(Transform):
    """y = (x − mean) / std, in float32: numbers, or one for each channel. Levels are divided by 255 before."""

    mean: float | Sequence[float] = 0.5
    std: float | Sequence[float] = 0.25

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            given = np.asarray(getattr(self, name))
            if given.dtype.kind not in "fiu" or given.ndim > 1 or not np.isfinite(given).all():
                raise ArgumentError("Normalize", f"{name}, a number or one for each channel", repr(getattr(self, name)))
            object.__setattr__(self, name, tuple(given.tolist()) if given.ndim else float(given))
        if (np.asarray(self.std) <= 0).any():
            raise ArgumentError("Normalize", "std > 0", repr(self.std))

    def apply(self, image: Any, stream: Stream) -> Any:
        mean, std = (self._of_channels(name, image) for name in ("mean", "std"))
        values = image.astype(np.float32)
        return ((values / np.float32(255) if image.dtype == np.uint8 else values) - mean) / std

    def _of_channels(self, name: str, image: Any) -> Any:
        given = np.asarray(getattr(self, name), np.float32)
        if given.ndim and (image.ndim != 3 or len(given) != len(image)):
            raise ShapeError("Normalize", f"{name} for {len(given)} channels", f"an image of shape {image.shape}")
        return given[:, None, None] if given.ndim else given
