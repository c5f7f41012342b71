"""Gray images as PNG files, without compression: the same bytes whatever zlib is here."""

import struct
import zlib
from typing import Any

import numpy as np

_BLOCK = 65535  # the longest stored block of a deflate stream


def gray_png(levels: Any) -> bytes:
    """The file of an image of 8-bit levels (rows, columns).

    >>> len(gray_png(np.zeros((4, 5), np.uint8)))
    92
    """
    rows, columns = levels.shape
    lines = np.zeros((rows, columns + 1), np.uint8)  # each begins with its filter: none
    lines[:, 1:] = levels
    data = lines.tobytes()
    blocks = [data[i : i + _BLOCK] for i in range(0, len(data), _BLOCK)] or [b""]
    stored = [
        struct.pack("<BHH", block is blocks[-1], len(block), len(block) ^ 0xFFFF) + block for block in blocks
    ]  # fmt: skip
    stream = b"\x78\x01" + b"".join(stored) + struct.pack(">I", zlib.adler32(data))
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", stream) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
