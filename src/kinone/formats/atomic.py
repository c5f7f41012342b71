"""Files that are there whole or not at all: written under another name beside their place, then put there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

Place = str | os.PathLike[str]
_numbers = count()


class Writer:
    """Takes bytes, and anything that lies in memory as bytes do; it collects what is small."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.waiting = descriptor, bytearray()

    def write(self, data: Any) -> int:
        """Write all of it."""
        view = memoryview(data).cast("B")
        if len(self.waiting) + len(view) > 1 << 16:
            self.flush()
        if len(view) > 1 << 16:
            self._send(view)
        else:
            self.waiting += view
        return len(view)

    def flush(self) -> None:
        """Hand to the system what was collected."""
        waiting, self.waiting = self.waiting, bytearray()
        self._send(memoryview(waiting))

    def _send(self, view: memoryview) -> None:
        while view:
            view = view[os.write(self.descriptor, view) :]


@contextmanager
def writing(path: Place) -> Iterator[Writer]:
    """A new file that takes the place of `path` when the block ends, and leaves no trace when the block fails.

    What stood there stays, whole, until the new file is on the disk; so at any moment, and after any crash, `path` is
    the old file or the new one.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with writing(place) as file:
    ...     n = file.write(b"all of it")
    >>> place.read_bytes(), [file.name for file in place.parent.iterdir()]
    (b'all of it', ['a.txt'])
    """
    target = Path(os.path.realpath(path))  # through links: the file is replaced, not the link to it
    descriptor, temporary = _opened_beside(target)
    try:
        try:
            with suppress(FileNotFoundError):  # a file that is replaced keeps its permissions
                os.chmod(temporary, target.stat().st_mode & 0o7777)
            file = Writer(descriptor)
            yield file
            file.flush()
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def write_bytes(path: Place, data: bytes) -> None:
    """The same for a file that is in memory."""
    with writing(path) as file:
        file.write(data)


def _opened_beside(target: Path) -> tuple[int, Path]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    while True:
        temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}-{next(_numbers)}.tmp")
        with suppress(FileExistsError):  # of a process that was killed, and had our number
            return os.open(temporary, flags, 0o666), temporary


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk too, not only the file; Windows has no call for that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
