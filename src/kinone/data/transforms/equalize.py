"""Contrast-limited adaptive histogram equalization, in whole numbers.

The algorithm is Zuiderveld's (Graphics Gems IV, 1994) with OpenCV's choices; OpenCV's own interpolates in float32 and
rounds as the processor's instructions have it, so its levels may differ from these by one.
"""

from typing import Any

import numpy as np

LEVELS = 256


def equalized(levels: Any, clip_limit: float, tiles: tuple[int, int]) -> Any:
    """levels (H, W) of 8 bits: each tile's histogram is cut at `clip_limit` times its mean and made even.

    Between the tiles' centres a pixel takes the mean of the four nearest tiles' answers, by distance.
    """
    rows, columns = levels.shape
    down, across = tiles
    padded = np.pad(levels, ((0, -rows % down), (0, -columns % across)), mode="reflect")
    height, width = padded.shape[0] // down, padded.shape[1] // across
    answers = _answers(padded, height, width, clip_limit)
    above, below, part_y = _neighbours(rows, height, down)
    left, right, part_x = _neighbours(columns, width, across)
    part_y = part_y[:, None]
    whole_y, whole_x = 2 * height, 2 * width
    total = np.zeros((rows, columns), np.int64)
    for tile_y, weight_y in ((above, whole_y - part_y), (below, part_y)):
        for tile_x, weight_x in ((left, whole_x - part_x), (right, part_x)):
            first = (tile_y[:, None] * across + tile_x) * LEVELS
            total += np.take(answers, first + levels) * (weight_y * weight_x)
    whole = whole_y * whole_x
    return ((2 * total + whole) // (2 * whole)).astype(np.uint8)


def _answers(padded: Any, height: int, width: int, clip_limit: float) -> Any:
    """The new level for each tile and old level, one after the other."""
    down, across = padded.shape[0] // height, padded.shape[1] // width
    tile = (np.arange(padded.shape[0]) // height)[:, None] * across + np.arange(padded.shape[1]) // width
    counts = np.bincount((tile * LEVELS + padded).ravel(), minlength=down * across * LEVELS).reshape(-1, LEVELS)
    area = height * width
    most = max(int(clip_limit * area / LEVELS), 1)
    over = np.maximum(counts - most, 0).sum(1)
    each, rest = np.divmod(over, LEVELS)
    counts = np.minimum(counts, most) + each[:, None]
    step = np.maximum(LEVELS // np.maximum(rest, 1), 1)[:, None]
    level = np.arange(LEVELS)
    counts += (level % step == 0) & (level // step < rest[:, None])
    return ((2 * np.cumsum(counts, 1) * (LEVELS - 1) + area) // (2 * area)).ravel()


def _neighbours(count: int, size: int, tiles: int) -> tuple[Any, Any, Any]:
    """Of each pixel along an axis: the tiles before and after it, and its way between them (2 · size: all of it)."""
    place, part = np.divmod(2 * np.arange(count) - size, 2 * size)
    return np.maximum(place, 0), np.minimum(place + 1, tiles - 1), part
