"""Archives as tests pack them, and what lies in a folder once they are unpacked."""

import gzip
import io
import tarfile
from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"


def info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname, made.mtime = size, kind, link, 1.5  # type: ignore[assignment]
    return made


def packed(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for member, content in members:
            member.size = len(content) if content or member.type in tarfile.REGULAR_TYPES else member.size
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def films(count: int, first: int = 1, form: int = tarfile.USTAR_FORMAT) -> bytes:
    """What NIH's archives look like."""
    named = [
        (f"images/{n:08d}_000.png", PNG + bytes([n % 256]) * (700 * n % 1500)) for n in range(first, first + count)
    ]
    return gzip.compress(packed(*[(info(name), content) for name, content in named], form=form), 1)


GOOD = (info("images/00000001_000.png"), PNG + b"good")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
