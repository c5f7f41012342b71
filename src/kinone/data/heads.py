"""What PNG and JPEG files say of themselves, checked before they are decoded: size, which way up, and being whole.

A decoder gives half of an image for half of a file, and takes memory for whatever size a file claims.
"""

import re
import struct
import zlib
from typing import NamedTuple

from kinone.errors import DataError

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in a scan: neither a byte FF nor a restart
_SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # of each kind of colours
_END, _SCAN, _EXIF = 0xD9, 0xDA, 0xE1
_ORIENTATION, _SHORT = 0x0112, 3  # in TIFF's directory, which EXIF's is


class Head(NamedTuple):
    """Columns and rows as they are stored, and EXIF's orientation (1 to 8; 1: as they are stored)."""

    columns: int
    rows: int
    orientation: int = 1


def head_of(data: bytes, name: str) -> Head:
    """Of the content of a file; a DataError that calls it `name` if it is no PNG or JPEG, or not whole."""
    if not data:
        raise DataError("image", f"the image {name}", "an empty file")
    if data[:8] == _PNG:
        return _png(data, name)
    if data[:2] == _JPEG:
        return _jpeg(data, name)
    raise DataError("image", f"{name} to be PNG or JPEG", f"a file that begins with {data[:4]!r}")


def _png(data: bytes, name: str) -> Head:
    """Every chunk of a PNG file carries a checksum; what stands behind the last is nobody's."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise DataError("image", f"the image {name}", "a PNG file without a header")
    columns, rows, bits, colour, *methods = struct.unpack(">IIBBBBB", data[16:29])
    if not (columns and rows and bits in _DEPTHS.get(colour, ()) and methods[:2] == [0, 0] and methods[2] < 2):
        raise DataError("image", f"the image {name}", "a PNG file whose header cannot be")
    at, kind, orientation, has_pixels = 8, b"", 1, False
    while kind != b"IEND":
        if at + 12 > len(data):
            raise DataError("image", f"the image {name}", "a PNG file that is cut off")
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            raise DataError("image", f"the image {name}", "a PNG file that is cut off")
        if zlib.crc32(data[at + 4 : end]) != struct.unpack(">I", data[end : end + 4])[0]:
            raise DataError("image", f"the image {name}", f"a PNG file whose part {kind.decode('latin-1')} is damaged")
        if kind == b"eXIf":
            orientation = _orientation(data[at + 8 : end])
        has_pixels |= kind == b"IDAT"
        at = end + 4
    if not has_pixels:
        raise DataError("image", f"the image {name}", "a PNG file without pixels")
    return Head(columns, rows, orientation)


def _jpeg(data: bytes, name: str) -> Head:
    """From marker to marker up to the end of the image, so that one in a thumbnail is not taken for it."""
    at, size, orientation = 2, None, 1
    while True:
        while data[at : at + 2] == b"\xff\xff":  # markers may be padded
            at += 1
        marker = data[at + 1] if at + 1 < len(data) and data[at] == 0xFF else None
        if marker == _END:
            break
        if marker is None or at + 4 > len(data):
            raise DataError("image", f"the image {name}", "a JPEG file that is cut off or damaged")
        end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker in _SIZES and size is None and at + 9 <= len(data):
            size = struct.unpack(">HH", data[at + 5 : at + 9])
        elif marker == _EXIF and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(data[at + 10 : end])
        at = end
        if marker == _SCAN:
            found = _MARKER.search(data, end)
            at = found.start() if found else len(data)
    if size is None:
        raise DataError("image", f"the image {name}", "a JPEG file without a size")
    return Head(size[1], size[0], orientation)


def _orientation(exif: bytes) -> int:
    """The entry of that name; 1 if there is none, or what is there is no directory."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order is not None:
            (at,) = struct.unpack_from(f"{order}I", exif, 4)
            (count,) = struct.unpack_from(f"{order}H", exif, at)
            for k in range(count):
                tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * k)
                if (tag, kind) == (_ORIENTATION, _SHORT) and 1 <= value <= 8:
                    return value
    except struct.error:
        pass
    return 1
