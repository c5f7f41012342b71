"""Zip archives whose entries are stored as they are, as PyTorch writes them: read in place, nothing is extracted."""

import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.errors import FormatError

_END, _END64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_COST = 600  # bytes in memory of an entry


@dataclass(frozen=True)
class Stored:
    """An entry: file[start:end], its CRC-32 (0 if the writer left it out), and whether it is stored as it is."""

    start: int
    end: int
    crc: int
    is_plain: bool


class StoredZip:
    """The entries of an archive by name; entries that overlap or have one name are refused."""

    def __init__(self, file: Any, size: int, where: str) -> None:
        self.file, self.size, self.where = file, size, where
        start, length, count = self._directory()
        if count * _COST > size + (8 << 20):
            raise self.error("an archive with fewer entries", str(count))
        raw = self._bytes(start, length)
        self.entries: dict[str, Stored] = {}
        at, ranges = 0, []
        for _ in range(count):
            name, offset, stored, at = self._entry(raw, at)
            if name in self.entries:
                raise self.error("each name once", f"{name[:60]!r} twice")
            self.entries[name] = stored
            ranges.append((offset, stored.end))
        ranges.sort()
        if at != length or any(end > after for (_, end), (after, _) in pairwise([*ranges, (start, start)])):
            raise self.error("entries that lie one after the other", "others")

    def read(self, name: str) -> NDArray[np.uint8]:
        """The bytes of an entry."""
        entry = self.entries.get(name)
        if entry is None:
            raise self.error(f"an entry {name[:80]!r}", "none")
        if not entry.is_plain:
            hint = "pack the archive again without compression, as torch.save does."
            raise self.error("entries that are stored as they are", f"{name[:60]!r} compressed or encrypted", hint)
        data = self._array(entry.start, entry.end - entry.start)
        if entry.crc and zlib.crc32(data.data) != entry.crc:
            raise self.error(f"{name[:80]!r} with its CRC-32", "other bytes", hint="the file is damaged.")
        return data

    def error(self, expected: str, got: str, hint: str = "") -> FormatError:
        """An error about this file."""
        return FormatError(self.where, expected, got, hint=hint)

    def _directory(self) -> tuple[int, int, int]:
        """Where the directory begins, its length, and its number of entries."""
        tail_at = max(0, self.size - (22 + 0xFFFF))
        tail = self._bytes(tail_at, self.size - tail_at)
        at = tail.rfind(_END)
        if at < 0 or len(tail) - at < 22 or 22 + int.from_bytes(tail[at + 20 : at + 22], "little") != len(tail) - at:
            raise self.error("a whole zip archive", "one without its end", hint="the file is cut off.")
        disk, start_disk, here, count, length, start = struct.unpack_from("<4H2I", tail, at + 4)
        place = tail_at + at
        if 0xFFFF in (disk, start_disk, here, count) or 0xFFFFFFFF in (length, start):
            place = self._large_end(place)
            disk, start_disk, here, count, length, start = struct.unpack("<2I4Q", self._bytes(place + 16, 40))
        if disk or start_disk or here != count or start + length > place:
            raise self.error("one zip archive in one file", "another")
        return start, length, count

    def _large_end(self, place: int) -> int:
        locator = self._bytes(place - 20, 20) if place >= 20 else b""
        end = int.from_bytes(locator[8:16], "little")
        if not locator.startswith(_LOCATOR) or end + 56 > place or self._bytes(end, 4) != _END64:
            raise self.error("the end of a large zip archive", "something else")
        return end

    def _entry(self, raw: bytes, at: int) -> tuple[str, int, Stored, int]:
        if at + _ENTRY.size > len(raw):
            raise self.error("a whole directory", "one that is cut off")
        (sign, _, _, flags, method, _, _, crc, packed, size, n_name, n_extra, n_comment, disk, _, _, offset) = (
            _ENTRY.unpack_from(raw, at)
        )
        end = at + _ENTRY.size + n_name + n_extra + n_comment
        if sign != b"PK\x01\x02" or end > len(raw) or disk not in (0, 0xFFFF):
            raise self.error("an entry of the directory", "something else")
        raw_name = raw[at + _ENTRY.size : at + _ENTRY.size + n_name]
        extra = raw[at + _ENTRY.size + n_name : at + _ENTRY.size + n_name + n_extra]
        size, packed, offset = self._large(extra, size, packed, offset)
        try:
            name = raw_name.decode()
        except UnicodeDecodeError:
            raise self.error("names in UTF-8", repr(raw_name[:60])) from None
        start = self._place(raw_name, offset, packed)
        is_plain = not flags & 1 and method == 0 and packed == size
        return name, offset, Stored(start, start + packed, crc, is_plain), end

    def _large(self, extra: bytes, *fields: int) -> list[int]:
        """The 32-bit fields that say "see below", from the extra field below."""
        values, at = list(fields), 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            if kind == 1:
                places = [i for i, value in enumerate(values) if value == 0xFFFFFFFF]
                if length < 8 * len(places) or at + 4 + length > len(extra):
                    raise self.error("an entry's sizes", "some that are cut off")
                for i, place in enumerate(places):
                    values[place] = int.from_bytes(extra[at + 4 + 8 * i : at + 12 + 8 * i], "little")
                break
            at += 4 + length
        return values

    def _place(self, raw_name: bytes, offset: int, size: int) -> int:
        if offset + _LOCAL.size > self.size:
            raise self.error("entries inside the file", f"{raw_name[:60]!r} outside")
        sign, *_, n_name, n_extra = _LOCAL.unpack(self._bytes(offset, _LOCAL.size))
        start = offset + _LOCAL.size + n_name + n_extra
        if sign != b"PK\x03\x04" or start + size > self.size or n_name != len(raw_name):
            raise self.error("entries inside the file", f"{raw_name[:60]!r} outside")
        if self._bytes(offset + _LOCAL.size, n_name) != raw_name:
            raise self.error("the same name in the directory and at the entry", repr(raw_name[:60]))
        return start

    def _bytes(self, start: int, n: int) -> bytes:
        return self._array(start, n).tobytes()

    def _array(self, start: int, n: int) -> NDArray[np.uint8]:
        if start < 0 or n < 0 or start + n > self.size:
            raise self.error("parts inside the file", "one outside")
        data = np.empty(n, np.uint8)
        self.file.seek(start)
        view = data.data
        while view:
            got = self.file.readinto(view)
            if not got:
                raise self.error("the whole file", "its end")
            view = view[got:]
        return data
