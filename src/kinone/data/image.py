"""Images: read from files whatever is in them, as gray levels or colours, and made smaller, in integers alone.

Decoding is OpenCV's, whose PNG and JPEG readers give the same levels everywhere; resizing is this file's, exact, so
that a cache made on one machine is that of any other.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.data.heads import head_of
from kinone.errors import ArgumentError, DataError, MissingExtraError

Levels = NDArray[np.uint8]
# By orientation, after rows have become columns from 5 on: which way rows and columns go.
_TURNS = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
MOST_PIXELS = 64_000_000  # a film has 1 to 10 million; a small file may claim to hold billions


def _cv2() -> Any:
    try:
        import cv2
    except ImportError:
        hint = "pip install 'kinone[data]'."
        raise MissingExtraError("image", "OpenCV to read images", "none installed", hint=hint) from None
    return cv2


def read_gray(path: str | os.PathLike[str]) -> Levels:
    """The image as 8-bit gray levels (rows, columns): colours and transparency are taken away, 16 bits become 8.

    Whatever cannot be read is a DataError that names the file.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError("image", f"the image {path.name}", error.strerror or str(error)) from None
    return decoded(data, path.name)


def read_colours(path: str | os.PathLike[str]) -> Levels:
    """The same as levels of red, green and blue (3, rows, columns); gray is all three of them."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError("image", f"the image {path.name}", error.strerror or str(error)) from None
    pixels = _as_levels(_pixels(data, path.name), path.name)
    if pixels.ndim == 2 or pixels.shape[2] == 2:
        gray = pixels if pixels.ndim == 2 else pixels[..., 0]
        return np.stack([gray, gray, gray])
    return np.ascontiguousarray(np.moveaxis(pixels[..., 2::-1], -1, 0))  # OpenCV has blue first


def decoded(data: bytes, name: str = "image") -> Levels:
    """Gray levels of a file's content."""
    return _gray(_as_levels(_pixels(data, name), name))


def _pixels(data: bytes, name: str) -> Any:
    cv2 = _cv2()
    columns, rows, orientation = head_of(data, name)
    if columns * rows > MOST_PIXELS:
        got = f"one of {columns} × {rows} pixels, more than {MOST_PIXELS:,}"
        raise DataError("image", f"the image {name}", got)
    log = cv2.utils.logging  # it tells of every flaw on standard error, and so do we, once
    before = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DataError("image", f"the image {name}", f"what OpenCV cannot read: {error.err}") from None
    finally:
        log.setLogLevel(before)
    if pixels is None:
        raise DataError("image", f"the image {name}", "a file that is cut off, damaged or no image")
    return np.ascontiguousarray(_upright(pixels, orientation))


def _upright(pixels: Any, orientation: int) -> Any:
    """As EXIF's orientation means them to be seen; OpenCV is asked to leave them as they are stored."""
    if orientation > 4:
        pixels = np.swapaxes(pixels, 0, 1)
    rows, columns = _TURNS[orientation]
    return pixels[::rows, ::columns]


def _as_levels(pixels: Any, name: str) -> Any:
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise DataError("image", f"{name} with 8 or 16 bits", f"pixels of {pixels.dtype}")
    return pixels


def _gray(pixels: Any) -> Levels:
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 2:  # gray and alpha
        return np.ascontiguousarray(pixels[..., 0])
    blue, green, red = (pixels[..., i].astype(np.uint32) for i in range(3))
    # ITU-R BT.601 in units of 2⁻¹⁶; where all three are equal, so is the result.
    return ((red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16).astype(np.uint8)


def resized(levels: Levels, size: int | tuple[int, int]) -> Levels:
    """Each new pixel is the mean of the area that it covers, rounded to the nearest level, ties up.

    Exact in integers: an axis of S pixels on D is laid out on a grid of S·D cells.

    >>> resized(np.array([[0, 255], [255, 255]], np.uint8), 1)
    array([[191]], dtype=uint8)
    """
    rows, columns = (size, size) if isinstance(size, int) else size
    if min(rows, columns) < 1 or levels.ndim != 2 or 0 in levels.shape:
        raise ArgumentError("resized", "an image (rows, columns) and a size ≥ 1", f"{levels.shape} and {size}")
    if (rows, columns) == levels.shape:
        return levels.copy()
    sums = _areas(_areas(levels.astype(np.int64), rows).T, columns).T
    whole = levels.shape[0] * levels.shape[1]
    return ((2 * sums + whole) // (2 * whole)).astype(np.uint8)


def _areas(x: Any, count: int) -> Any:
    """Sums over the rows that each of `count` equal strips covers, in units of 1/count of a row."""
    n = len(x)
    before = np.concatenate([np.zeros((1, *x.shape[1:]), np.int64), np.cumsum(x, 0)])
    row, part = np.divmod(np.arange(count + 1) * n, count)
    at = before[row] * count + part[:, None] * x[np.minimum(row, n - 1)]
    return np.diff(at, axis=0)
