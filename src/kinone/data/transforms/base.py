"""What all transforms have: ranges that are checked, and a call that finds the image in a sample."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

import numpy as np

from kinone.errors import ArgumentError, DtypeError, ShapeError
from kinone.random import Stream

Range = float | tuple[float, float]


def within(least: float, most: float, *, single: str = "") -> dict[str, Any]:
    """What a range may hold; `single` says what one number means: ± it ("both"), or from 0 to it ("zero")."""
    return {"range": (least, most, single)}


@dataclass(frozen=True)
class Transform:
    """A function of (sample, stream) whose fields say in which ranges it draws."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            if "range" in entry.metadata:
                given = getattr(self, entry.name)
                object.__setattr__(self, entry.name, self._checked(entry.name, given, *entry.metadata["range"]))
        p = getattr(self, "p", 0)
        if not is_number(p) or not 0 <= p <= 1:
            raise ArgumentError(type(self).__name__, "p from 0 to 1", repr(p))
        fill = getattr(self, "fill", None)
        if fill is not None and not is_number(fill):
            raise ArgumentError(type(self).__name__, "fill, a number or None", repr(fill))

    def _checked(self, name: str, given: Any, least: float, most: float, single: str) -> tuple[float, float]:
        pair = given
        if is_number(given):
            pair = {"both": (-given, given), "zero": (0, given)}.get(single, (given, given))
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        if not is_pair or not all(map(is_number, pair)):
            raise ArgumentError(type(self).__name__, f"{name}=(low, high), two numbers", repr(given))
        if not least <= pair[0] <= pair[1] <= most:
            raise ArgumentError(
                type(self).__name__, f"{name}=(low, high) with {least:g} ≤ low ≤ high ≤ {most:g}", repr(given)
            )
        return float(pair[0]), float(pair[1])

    def __call__(self, sample: Any, stream: Stream) -> Any:
        return changed(sample, lambda image: self.apply(checked(type(self).__name__, image), stream))

    def apply(self, image: Any, stream: Stream) -> Any:
        """The new image."""
        raise NotImplementedError


def is_number(value: Any) -> bool:
    """A finite one, and not True."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def changed(sample: Any, function: Callable[[Any], Any]) -> Any:
    """The sample with function(image) for its image."""
    if isinstance(sample, dict):
        if "image" not in sample:
            raise ArgumentError(
                "transform", 'a sample with an entry "image"', f"one with {', '.join(map(repr, sample))}"
            )
        return {**sample, "image": function(sample["image"])}
    if isinstance(sample, tuple | list) and len(sample):
        parts = [function(sample[0]), *sample[1:]]
        return type(sample)(*parts) if hasattr(sample, "_fields") else type(sample)(parts)
    return function(sample)


def checked(name: str, image: Any) -> Any:
    """The image, if it is one."""
    if not isinstance(image, np.ndarray):
        raise DtypeError(name, "an image that is a NumPy array", f"a {type(image).__name__}")
    if image.dtype not in (np.uint8, np.float32, np.float64):
        raise DtypeError(name, "an image of uint8, float32 or float64", str(image.dtype))
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ShapeError(name, "an image (H, W) or (C, H, W)", f"shape {image.shape}")
    if image.ndim == 3 and image.shape[2] in (1, 3, 4) and image.shape[0] > 4:
        hint = "np.moveaxis(image, -1, 0) puts the channels first."
        raise ShapeError(name, "an image (C, H, W)", f"shape {image.shape}, channels last", hint=hint)
    return image


def drawn(stream: Stream, *ranges: Any) -> list[float]:
    """A number from each range (low, high)."""
    numbers = stream.uniform(len(ranges), dtype=np.float64).tolist()
    return [low + (high - low) * u for (low, high), u in zip(ranges, numbers, strict=True)]


def clipped(image: Any, dtype: Any) -> Any:
    """Values cut to 0 … 1, or rounded to levels 0 … 255."""
    if dtype == np.uint8:
        return np.floor(image + 0.5).clip(0, 255).astype(np.uint8)
    return image.clip(0, 1)


def unit(image: Any) -> float:
    """What full brightness is in that image."""
    return 255.0 if image.dtype == np.uint8 else 1.0
