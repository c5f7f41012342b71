"""Archives (.tar.gz) whose regular files of expected names are unpacked, all of them or none.

What an archive says is not believed: names must match, nothing may come twice, links, devices and what else there is
are refused, and sizes are bounded before a byte is written. The reader is this file's own, since Python's `tarfile`
follows extended headers of any size.
"""

import gzip
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from kinone.errors import DataError

_BLOCK = 512
_KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe",
          b"7": "a contiguous file", b"L": "a long name", b"K": "a long link", b"S": "a sparse file"}  # fmt: skip
_MOST_EXTENDED = 1 << 16  # bytes of an extended header


@dataclass(frozen=True)
class Limits:
    """What an archive may hold: names that `pattern` matches as a whole (its group "file" is the name on disk)."""

    pattern: str = r"(?:\./)?(?:images_\d{3}/)?images/(?P<file>\d{8}_\d{3}\.png)"
    most_files: int = 20_000
    most_bytes: int = 1 << 33
    most_bytes_each: int = 1 << 25


class Member(NamedTuple):
    """A file of an archive."""

    name: str
    size: int


def unpack(
    archive: str | os.PathLike[str], folder: str | os.PathLike[str], limits: Limits | None = None, *,
    progress: Callable[[int, int], Any] | None = None,
) -> list[Member]:  # fmt: skip
    """Put the archive's files into `folder`: first all beside it, then, if nothing was wrong, each in its place.

    `progress` is told of the bytes of the archive that were read, and of all.
    """
    archive, folder, limits = Path(archive), Path(folder), limits or Limits()
    beside = folder.parent / f".{archive.name}.{os.getpid()}.unpacked"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        members = _unpacked(archive, beside, limits, progress)
        folder.mkdir(parents=True, exist_ok=True)
        for member in members:
            os.replace(beside / member.name, folder / member.name)
    except OSError as error:
        raise DataError("archive", f"room and rights to unpack {archive.name} in {folder}", str(error)) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return members


def _unpacked(archive: Path, beside: Path, limits: Limits, progress: Any) -> list[Member]:
    members: list[Member] = []
    size = archive.stat().st_size
    with archive.open("rb") as raw, gzip.GzipFile(fileobj=raw) as stream:
        reader = _Reader(stream, archive.name, limits)
        for member in reader.members():
            descriptor = os.open(
                beside / member.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            )
            with os.fdopen(descriptor, "wb") as file:
                for chunk in reader.content(member):
                    file.write(chunk)
            os.chmod(beside / member.name, 0o644)
            members.append(member)
            if progress is not None:
                progress(raw.tell(), size)
    if not members:
        raise DataError("archive", f"files in {archive.name}", "none")
    return members


class _Reader:
    """The members of a tar stream, and what is in them."""

    def __init__(self, stream: Any, name: str, limits: Limits) -> None:
        self.stream, self.name, self.limits = stream, name, limits
        self.pattern = re.compile(limits.pattern, re.ASCII)
        self.read_bytes = 0
        self.seen: set[str] = set()

    def members(self) -> Iterator[Member]:
        """Each file, whose content is to be read before the next is asked for."""
        while (header := self._taken(_BLOCK)) != bytes(_BLOCK):
            self._check_sum(header)
            kind, size = header[156:157], self._number(header[124:136])
            if kind in (b"x", b"g"):
                self._extended(size)
            elif kind == b"5" and not size:
                self._folder(self._path(header))
            elif kind in (b"0", b"\0"):
                yield self._member(self._path(header), size)
            else:
                self._refuse("files", f"{_KINDS.get(kind, f'a member of kind {kind!r}')}, {self._path(header)!r}")
        while chunk := self._some(1 << 16):  # the rest is padding; reading it checks the sum at the end
            if chunk.strip(b"\0"):
                self._refuse("nothing after its end", "more")

    def content(self, member: Member) -> Iterator[bytes]:
        """The member's bytes, and past the padding that follows them."""
        left = member.size
        while left:
            chunk = self._taken(min(left, 1 << 20))
            left -= len(chunk)
            yield chunk
        self._taken(-member.size % _BLOCK)

    def _member(self, path: str, size: int) -> Member:
        match = self.pattern.fullmatch(path)
        if match is None:
            self._refuse("names such as images/00000001_000.png", repr(path[:100]))
        name = match["file"]
        if name in self.seen:
            self._refuse("each file once", f"{name} twice")
        if size > self.limits.most_bytes_each:
            self._refuse(f"files of at most {self.limits.most_bytes_each:,} bytes", f"{size:,} for {name}")
        if len(self.seen) == self.limits.most_files:
            self._refuse(f"at most {self.limits.most_files:,} files", "more")
        self.seen.add(name)
        return Member(name, size)

    def _folder(self, path: str) -> None:
        if path.strip("/") not in (".", "images", "./images") and not re.fullmatch(
            r"(?:\./)?images_\d{3}(?:/images)?/?", path
        ):
            self._refuse("the folder images", repr(path[:100]))

    def _extended(self, size: int) -> None:
        """Times and owners may stand there; another name or size may not."""
        if size > _MOST_EXTENDED:
            self._refuse(f"extended headers of at most {_MOST_EXTENDED:,} bytes", f"{size:,}")
        text = self._taken(size)
        self._taken(-size % _BLOCK)
        if re.search(rb"(?:^|\n)\d+ (?:path|linkpath|size|GNU\.sparse[^=]*)=", text):
            self._refuse("plain headers", "one that is extended by a name or a size")

    def _path(self, header: bytes) -> str:
        name, prefix = header[:100].split(b"\0")[0], header[345:500].split(b"\0")[0]
        if header[257:263] != b"ustar\0":  # older forms have no prefix
            prefix = b""
        return (prefix + b"/" + name if prefix else name).decode("utf-8", "backslashreplace")

    def _check_sum(self, header: bytes) -> None:
        if self._number(header[148:156]) != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
            self._refuse("headers with their sums", "a damaged one")

    def _number(self, field: bytes) -> int:
        digits = field.strip(b" \0")
        if not re.fullmatch(rb"[0-7]{1,11}", digits):
            self._refuse("octal numbers in headers", repr(field))
        return int(digits, 8)

    # -------------------------------------------------------------------------- bytes
    def _some(self, count: int) -> bytes:
        try:
            data = self.stream.read(count)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self._refuse("a whole .tar.gz", f"a damaged one ({error})")
        self.read_bytes += len(data)
        if self.read_bytes > self.limits.most_bytes:
            self._refuse(f"at most {self.limits.most_bytes:,} bytes unpacked", "more")
        return data

    def _taken(self, count: int) -> bytes:
        data = self._some(count) if count else b""
        if len(data) != count:
            self._refuse("a whole .tar.gz", "one that is cut off")
        return data

    def _refuse(self, expected: str, got: str) -> NoReturn:
        raise DataError("archive", f"{expected} in {self.name}", got)
