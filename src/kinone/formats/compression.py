"""gzip and Zstandard, in and out; what is read may grow to a limit and no further."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kinone.errors import FormatError, MissingExtraError
from kinone.formats.atomic import Writer

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_STEP = 1 << 20
_GROWTH, _LEAST = 64, 64 << 20


@contextmanager
def compressing(file: Writer, suffix: str) -> Iterator[Any]:
    """Something to write to, whose bytes reach the file compressed as the suffix says: .gz, .zst, or not."""
    if suffix not in (".gz", ".zst"):
        yield file
        return
    # Without a time or a name in gzip's header: the same contents give the same file.
    squeezer = zlib.compressobj(6, wbits=31) if suffix == ".gz" else _zstandard().ZstdCompressor(
        level=3, write_checksum=True
    ).compressobj()  # fmt: skip
    yield _Squeezed(file, squeezer)
    file.write(squeezer.flush())


class _Squeezed:
    def __init__(self, file: Writer, squeezer: Any) -> None:
        self.file, self.squeezer = file, squeezer

    def write(self, data: bytes) -> None:
        self.file.write(self.squeezer.compress(data))


def decompressed(raw: bytes, where: str, limit: int | None = None) -> bytes | bytearray:
    """The bytes, decompressed if they are compressed, up to `limit`: by default 64 times as many, at least 64 MiB."""
    limit = max(_LEAST, _GROWTH * len(raw)) if limit is None else limit
    if raw.startswith(GZIP):
        return _inflated(raw, where, limit)
    if raw.startswith(ZSTD):
        return _expanded(raw, where, limit)
    return raw


def _inflated(raw: bytes, where: str, limit: int) -> bytearray:
    result, source, rest = bytearray(), zlib.decompressobj(wbits=31), memoryview(raw)
    try:
        while not source.eof and (rest or source.unconsumed_tail):
            piece = source.unconsumed_tail or rest[:_STEP]
            rest = rest if source.unconsumed_tail else rest[_STEP:]
            result += source.decompress(piece, _STEP)
            _check(len(result), limit, where)
    except zlib.error as error:
        raise FormatError(where, "whole gzip data", str(error)) from None
    if not source.eof or source.unused_data or rest:
        raise FormatError(where, "one whole gzip stream", "its end missing" if not source.eof else "bytes behind it")
    return result


def _expanded(raw: bytes, where: str, limit: int) -> bytearray:
    zstandard = _zstandard()
    result = bytearray()
    try:
        source = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        with source.stream_reader(raw, read_size=_STEP, read_across_frames=False) as reader:
            while piece := reader.read(_STEP):
                result += piece
                _check(len(result), limit, where)
    except zstandard.ZstdError as error:
        raise FormatError(where, "whole Zstandard data", str(error)) from None
    return result  # cut off, it is no whole text, which the reader of the text will notice


def _check(size: int, limit: int, where: str) -> None:
    if size > limit:
        hint = "if you trust the file: limit=, the number of bytes that it may hold."
        raise FormatError(where, f"at most {limit} bytes when decompressed", "more", hint=hint)


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError(
            "zstd", "the package zstandard", "none", hint="pip install kinone[zstd], or use .json.gz."
        ) from None
    return zstandard
