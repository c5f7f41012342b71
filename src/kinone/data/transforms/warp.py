"""Where pixels come from when an image is turned, moved, stretched or made to another size.

Coordinates and weights are whole numbers, so levels come out the same on every machine; floating images are weighed by
those weights, in products and sums whose order is fixed. OpenCV's warps are not used: their bits depend on the
processor and on its version.
"""

from functools import lru_cache
from math import pi
from typing import Any

import numpy as np

_ONE = 1 << 24  # of a matrix's entries
_FINE = 8  # bits of a coordinate behind the point
_WEIGHT = 20  # bits of a weight in resizing

Matrix = tuple[tuple[float, float], tuple[float, float]]


def cos_sin(degrees: float) -> tuple[float, float]:
    """Of an angle, by products and sums alone: C libraries differ in the last bit.

    >>> cos_sin(90), cos_sin(180)
    ((0.0, 1.0), (-1.0, 0.0))
    """
    quarter = int((degrees / 90 + 0.5) // 1)
    x = (degrees - 90 * quarter) * (pi / 180)
    cos = sin = 0.0
    for n in range(20, -1, -2):  # Horner, from the smallest term; |x| ≤ π/4
        cos = 1 - x * x / ((n + 1) * (n + 2)) * cos
        sin = 1 - x * x / ((n + 2) * (n + 3)) * sin
    sin *= x
    cos, sin = ((cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos))[quarter % 4]
    return cos + 0.0, sin + 0.0  # no −0


def turned(degrees: float, scale: float = 1.0, shear: float = 0.0) -> Matrix:
    """The matrix of (rows, columns) that turns counterclockwise, after enlarging and then leaning to the side."""
    (cos, sin), (c, s) = cos_sin(degrees), cos_sin(shear)
    lean = s / c
    return (scale * cos, -scale * sin), (scale * (sin + lean * cos), scale * (cos - lean * sin))


def moved(image: Any, matrix: Matrix, shift: tuple[float, float] = (0.0, 0.0), fill: float | None = 0.0) -> Any:
    """image (…, H, W): what lies at p from the centre goes to matrix·p + shift, in between by bilinear weights.

    Places that nothing goes to have the value `fill`, or with None that of the nearest edge.

    >>> moved(np.array([[1, 2], [3, 4]], np.uint8), turned(90)).tolist()
    [[2, 4], [1, 3]]
    """
    (a, b), (c, d) = matrix
    size = a * d - b * c
    back = ((d / size, -b / size), (-c / size, a / size))
    rows, columns = image.shape[-2:]
    # Twice the distance from the centre is whole; so is a coordinate, in units of 1 / (2 · _ONE).
    down, across = 2 * np.arange(rows)[:, None] - (rows - 1), 2 * np.arange(columns) - (columns - 1)
    y, x = (
        _whole(m * _ONE) * down
        + (_whole(n * _ONE) * across + (count - 1) * _ONE - _whole(2 * _ONE * (m * shift[0] + n * shift[1])))
        for (m, n), count in zip(back, (rows, columns), strict=True)
    )
    return _between(image, _rounded(y), _rounded(x), fill)


def _whole(value: float) -> int:
    return int((value + 0.5) // 1)


def _rounded(coordinate: Any) -> Any:
    """From units of 1 / (2 · _ONE) to those of 2⁻⁸."""
    drop = _ONE.bit_length() - _FINE
    return (coordinate + (1 << (drop - 1))) >> drop


def _between(image: Any, y: Any, x: Any, fill: float | None) -> Any:
    planes = image.reshape(-1, *image.shape[-2:])
    if fill is not None:  # a border of it, which places beyond the edge come from
        planes, y, x = (
            np.pad(planes, ((0, 0), (1, 1), (1, 1)), constant_values=fill),
            y + (1 << _FINE),
            x + (1 << _FINE),
        )
    kind, one = (np.int32, 1 << _FINE) if image.dtype == np.uint8 else (image.dtype.type, image.dtype.type(1))
    part = kind(one / (1 << _FINE))
    (row, down, next_row), (column, right, next_column) = (
        _placed(at, n, kind, part) for at, n in zip((y, x), planes.shape[-2:], strict=True)
    )
    up, left = one - down, one - right
    width = planes.shape[-1]
    first, ways = row * width + column, (0, next_column, next_row * width, next_row * width + next_column)
    made = []
    for plane in planes.reshape(len(planes), -1).astype(kind, copy=False):
        corners = [np.take(plane, first + way, mode="wrap") for way in ways]
        above, below = corners[0] * left + corners[1] * right, corners[2] * left + corners[3] * right
        made.append(above * up + below * down)
    values = np.stack(made).reshape(image.shape)
    return ((values + (1 << 15)) >> 16).astype(np.uint8) if image.dtype == np.uint8 else values


def _placed(at: Any, n: int, kind: Any, part: Any) -> tuple[Any, Any, int]:
    """Of coordinates on an axis of n: the pixel before, the weight of the one after it, and how far away that is."""
    at = np.minimum(np.maximum(at, 0), (n - 1) << _FINE)
    first = np.minimum(at >> _FINE, max(n - 2, 0))  # the last pixel is the one after, with all of the weight
    return first, (at - (first << _FINE)).astype(kind) * part, min(n - 1, 1)


# ------------------------------------------------------------------------------ other sizes
def scaled(image: Any, rows: int, columns: int) -> Any:
    """image (…, H, W) in another size: bilinear, and where it shrinks, weighed over all pixels that a new one covers.

    >>> scaled(np.array([[0, 100]], np.uint8), 1, 4).tolist()
    [[0, 25, 75, 100]]
    """
    if image.shape[-2:] == (rows, columns):
        return image.copy()
    kind = np.int64 if image.dtype == np.uint8 else image.dtype
    values = _axis(image.astype(np.int32 if kind == np.int64 else kind), rows, -2)
    values = _axis(values.astype(kind), columns, -1)
    if image.dtype != np.uint8:
        return values
    bits = _WEIGHT * ((image.shape[-2] != rows) + (image.shape[-1] != columns))
    return ((values + (1 << (bits - 1))) >> bits).astype(np.uint8)


def _axis(values: Any, count: int, axis: int) -> Any:
    n = values.shape[axis]
    if n == count:
        return values
    at, weights = taps(n, count)
    total: Any = 0
    for index, weight in zip(at, weights, strict=True):
        weight = (
            weight.astype(values.dtype) if values.dtype.kind == "i" else (weight / (1 << _WEIGHT)).astype(values.dtype)
        )
        total = total + np.take(values, index, axis) * (weight[:, None] if axis == -2 else weight)
    return total


@lru_cache(maxsize=256)
def taps(n: int, count: int) -> tuple[Any, Any]:
    """For each of `count` new pixels of an axis of n: the old ones (T, count) and their weights, which add up to 2²⁰.

    >>> [table.tolist() for table in taps(4, 2)]
    [[[0, 1], [0, 2], [1, 3], [2, 3]], [[0, 149797], [449389, 449389], [449390, 449390], [149797, 0]]]
    """
    reach = 2 * max(n, count)  # in units of 1 / (2 · count) of an old pixel
    centre = (2 * np.arange(count) + 1) * n - count
    width = -(-reach // count) + 1 if n > count else 2
    first = (centre - reach) // (2 * count) + 1
    at = first + np.arange(width)[:, None]
    weights = np.maximum(reach - abs(2 * count * at - centre), 0)
    if n > count:
        weights[(at < 0) | (at >= n)] = 0
    at = at.clip(0, n - 1)  # enlarged, what lies beyond the edge is the edge
    at, weights = at[weights.any(1)], weights[weights.any(1)]
    whole = weights.sum(0)
    weights = (2 * (weights << _WEIGHT) + whole) // (2 * whole)
    most = weights.argmax(0)
    weights[most, np.arange(count)] += (1 << _WEIGHT) - weights.sum(0)
    for table in (at, weights):
        table.flags.writeable = False
    return at, weights
