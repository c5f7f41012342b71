"""Films with heat on them, as PNG: colours, blending and the file, with nothing but NumPy and zlib."""

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.errors import ShapeError

Levels = NDArray[np.uint8]
Pixels = NDArray[np.uint8]

_INFERNO = (
    "000004", "0c0826", "240c4f", "420a68", "5d126e", "781c6d", "932667", "ae305c", "c73e4c", "dd513a", "ed6925",
    "f8850f", "fca50a", "fac62d", "f2e661", "fcffa4",
)  # fmt: skip
_STOPS = np.array([[int(stop[i : i + 2], 16) for i in (0, 2, 4)] for stop in _INFERNO], np.float64)
_MOST = 0.72  # of the heat's colour where it is hottest: the film stays visible under it


def colours(values: Any) -> Pixels:
    """0 … 1 as colours (…, 3) from black over red to pale yellow, equally bright steps apart (Matplotlib's inferno).

    >>> colours([0.0, 0.6, 1.0]).tolist()
    [[0, 0, 4], [221, 81, 58], [252, 255, 164]]
    """
    at = np.clip(np.asarray(values, np.float64), 0, 1) * (len(_STOPS) - 1)
    low = np.minimum(at.astype(np.int64), len(_STOPS) - 2)
    part = (at - low)[..., None]
    return np.rint(_STOPS[low] * (1 - part) + _STOPS[low + 1] * part).astype(np.uint8)


def enlarged(picture: NDArray[Any], size: int | tuple[int, int]) -> NDArray[Any]:
    """Levels or heat (rows, columns), bilinearly as large as `size`, of which one number is the longer side."""
    rows, columns = picture.shape[:2]
    scale = size / max(rows, columns) if isinstance(size, int) else 1.0
    shape = (max(round(rows * scale), 1), max(round(columns * scale), 1)) if isinstance(size, int) else size
    values = picture.astype(np.float64)
    for axis, (old, new) in enumerate(zip((rows, columns), shape, strict=True)):
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.minimum(at.astype(np.int64), max(old - 2, 0))
        part = (at - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        values = values.take(low, axis) * (1 - part) + values.take(np.minimum(low + 1, old - 1), axis) * part
    return np.rint(values).astype(np.uint8) if picture.dtype == np.uint8 else values.astype(picture.dtype)


def overlaid(levels: Levels, heat: Any) -> Pixels:
    """The film (rows, columns) in gray with `heat` (the same shape, 0 … 1) on it: the hotter, the less of the film."""
    heat = np.clip(np.asarray(heat, np.float64), 0, 1)
    if levels.shape != heat.shape or levels.ndim != 2:
        raise ShapeError("overlaid", "a film and heat of one shape (rows, columns)", f"{levels.shape} and {heat.shape}")
    share = (_MOST * heat**0.75)[..., None]
    return np.rint(levels[..., None] * (1 - share) + colours(heat) * share).astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """The file of a picture: gray levels (rows, columns) or colours (rows, columns, 3).

    >>> png(np.zeros((2, 2, 3), np.uint8))[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        got = f"{pixels.dtype} {pixels.shape}"
        raise ShapeError("png", "8-bit levels (rows, columns) or colours (rows, columns, 3)", got)
    rows, columns = pixels.shape[:2]
    lines = pixels.reshape(rows, -1)
    left = np.zeros_like(lines)
    step = 3 if pixels.ndim == 3 else 1
    left[:, step:] = lines[:, :-step]
    filtered = np.concatenate(
        [np.ones((rows, 1), np.uint8), lines - left], axis=1
    )  # each line: differences to the left
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
