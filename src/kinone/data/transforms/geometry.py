"""Where things are in an image: its size, parts of it, mirrored, turned, moved."""

from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np

from kinone.data.transforms.base import Range, Transform, drawn, within
from kinone.data.transforms.warp import moved, scaled, turned
from kinone.errors import ArgumentError
from kinone.random import Stream


@dataclass(frozen=True)
class Resize(Transform):
    """The whole image in another size (one number, or rows and columns): bilinear, anti-aliased where it shrinks."""

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        super().__post_init__()
        sides = self._sides()
        if len(sides) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sides):
            raise ArgumentError(type(self).__name__, "size, a whole number ≥ 1 or two", repr(self.size))

    def _sides(self) -> tuple[int, ...]:
        return tuple(self.size) if isinstance(self.size, tuple | list) else (self.size, self.size)

    def apply(self, image: Any, stream: Stream) -> Any:
        rows, columns = self._sides()
        return scaled(image, rows, columns)


@dataclass(frozen=True)
class ResizedCrop(Resize):
    """A part of the image, in the size `size`: `scale` its share of the area, `ratio` its width by its height.

    Where ten draws do not fit into the image, it is the largest part in its middle whose ratio is allowed.
    """

    scale: Range = field(default=(0.8, 1.0), metadata=within(1e-4, 1))
    ratio: Range = field(default=(3 / 4, 4 / 3), metadata=within(0.01, 100))

    def apply(self, image: Any, stream: Stream) -> Any:
        top, left, rows, columns = self.part(image.shape[-2:], stream)
        return scaled(image[..., top : top + rows, left : left + columns], *self._sides())

    def part(self, shape: tuple[int, int], stream: Stream) -> tuple[int, int, int, int]:
        """Top, left, rows and columns of the part."""
        rows, columns = shape
        numbers = stream.uniform((11, 2), dtype=np.float64).tolist()
        ranges: Any = self.scale, self.ratio
        (low, high), (narrow, wide) = ranges
        down, across = numbers[10]
        for u, v in numbers[:10]:
            area, ratio = rows * columns * (low + (high - low) * u), narrow + (wide - narrow) * v
            height, width = int(sqrt(area / ratio) + 0.5), int(sqrt(area * ratio) + 0.5)
            if 0 < height <= rows and 0 < width <= columns:
                return int(down * (rows - height + 1)), int(across * (columns - width + 1)), height, width
        ratio = min(max(columns / rows, narrow), wide)
        height, width = min(rows, int(columns / ratio + 0.5)), min(columns, int(rows * ratio + 0.5))
        height, width = max(height, 1), max(width, 1)
        return (rows - height) // 2, (columns - width) // 2, height, width


@dataclass(frozen=True)
class HorizontalFlip(Transform):
    """Left for right, with probability p. On a chest film, the heart changes sides too."""

    p: float = 0.5

    def apply(self, image: Any, stream: Stream) -> Any:
        return np.ascontiguousarray(image[..., ::-1]) if drawn(stream, (0, 1))[0] < self.p else image


@dataclass(frozen=True)
class VerticalFlip(Transform):
    """Top for bottom, with probability p."""

    p: float = 0.5

    def apply(self, image: Any, stream: Stream) -> Any:
        return np.ascontiguousarray(image[..., ::-1, :]) if drawn(stream, (0, 1))[0] < self.p else image


@dataclass(frozen=True)
class Rotate(Transform):
    """Turned about the centre by an angle from `degrees`, counterclockwise; Rotate(10) is Rotate((-10, 10)).

    What comes in from outside has the value `fill` (from 0 to 1), or with None that of the nearest edge.
    """

    degrees: Range = field(default=(-10, 10), metadata=within(-360, 360, single="both"))
    fill: float | None = 0.0

    def apply(self, image: Any, stream: Stream) -> Any:
        (degrees,) = drawn(stream, self.degrees)
        return moved(image, turned(degrees), fill=_filled(self.fill, image))


@dataclass(frozen=True)
class Affine(Transform):
    """Leaned by `shear` degrees, enlarged by `scale`, turned by `degrees`, moved by shares of the height and width.

    One number for degrees, shear, down or across means ± that.
    """

    degrees: Range = field(default=(0, 0), metadata=within(-360, 360, single="both"))
    down: Range = field(default=(0, 0), metadata=within(-1, 1, single="both"))
    across: Range = field(default=(0, 0), metadata=within(-1, 1, single="both"))
    scale: Range = field(default=(1, 1), metadata=within(0.01, 100))
    shear: Range = field(default=(0, 0), metadata=within(-80, 80, single="both"))
    fill: float | None = 0.0

    def apply(self, image: Any, stream: Stream) -> Any:
        ranges = self.degrees, self.down, self.across, self.scale, self.shear
        degrees, down, across, scale, shear = drawn(stream, *ranges)
        rows, columns = image.shape[-2:]
        shift = (down * rows, across * columns)
        return moved(image, turned(degrees, scale, shear), shift, _filled(self.fill, image))


def _filled(fill: float | None, image: Any) -> float | None:
    if fill is None or image.dtype != np.uint8:
        return fill
    if not 0 <= fill <= 1:
        raise ArgumentError("transform", "fill from 0 to 1 for an image of levels", repr(fill))
    return int(fill * 255 + 0.5)
