"""NIH ChestX-ray14 on this machine: its twelve archives, checked and unpacked, from NIH or from a mirror.

Images end up in `images/`; what is complete is written down in `downloads/`, so that a second call takes up what is
missing and nothing else.
"""

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import quote, urlsplit

from kinone.data.archive import Limits, Member, unpack
from kinone.data.download import Patience, Progress, RemoteFile, StoppedError, check, fetch, fetch_small, hasher_of
from kinone.data.films import BOXES, LISTS, TABLES, read_boxes, read_list, read_table
from kinone.errors import ArgumentError, DataError

_GROWS = 1.02  # of what an archive unpacks to: films hardly shrink in it
_RECORDS = "downloads"


@dataclass
class Report:
    """What a download came to: archives that are complete, and what is left to do, in words."""

    complete: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _facts() -> dict[str, Any]:
    return json.loads(resources.files("kinone.data").joinpath("nih.json").read_text(encoding="utf-8"))


def archives(only: Sequence[int] | None = None) -> list[RemoteFile]:
    """NIH's archives, or those of these numbers, from 1 to 12.

    >>> archives([1])[0].name, sum(file.size for file in archives())
    ('images_001.tar.gz', 45079862784)
    """
    found = [RemoteFile(a["name"], a["url"], a["bytes"], f"md5:{a['md5']}") for a in _facts()["archives"]]
    if only is None:
        return found
    wrong = [n for n in only if not 1 <= n <= len(found)]
    if wrong or not only:
        raise ArgumentError("download", f"numbers of archives from 1 to {len(found)}", repr(list(only)))
    return [found[n - 1] for n in sorted(set(only))]


def download_nih(
    out_dir: str | os.PathLike[str], *, mirror: str | None = None, only: Sequence[int] | None = None, jobs: int = 3,
    is_kept: bool = False, patience: Patience | None = None, progress: Progress | None = None,
    wanted: Sequence[RemoteFile] | None = None, limits: Limits | None = None,
) -> Report:  # fmt: skip
    """Fetch, check and unpack the archives, `jobs` at a time, and say what is left to fetch by hand.

    `mirror` is a folder, or the address below which archives, lists and table lie under their names. `is_kept` keeps
    archives after they are unpacked. Any end, a crash too, leaves whole images only; the next call goes on.
    """
    folder, files = Path(out_dir), list(archives(only) if wanted is None else wanted)
    if jobs < 1:
        raise ArgumentError("download", "jobs ≥ 1", repr(jobs))
    source = _Source(mirror)
    files = [source.file(file) for file in files]
    with _locked(folder):
        _clear(folder)
        left = [file for file in files if not _is_complete(folder, file)]
        _check_room(folder, left, source, jobs, is_kept)
        run = _Run(folder, source, is_kept, patience, progress, limits or Limits())
        run.all(left, jobs)
        report = Report([file.name for file in files])
        _small_files(folder, source, patience, report)
    return report


class _Source:
    """Where files come from: NIH, a folder, or an address."""

    def __init__(self, mirror: str | None) -> None:
        self.base, self.folder = "", None
        if mirror is None:
            return
        kind = urlsplit(mirror).scheme
        if kind in ("http", "https"):
            self.base = mirror.rstrip("/") + "/"
        elif Path(mirror).is_dir():
            self.folder = Path(mirror)
        else:
            raise ArgumentError("download", "a mirror that is a folder, or an address http(s)://…", repr(mirror))

    def file(self, file: RemoteFile) -> RemoteFile:
        """The file as this source has it."""
        return RemoteFile(file.name, self.base + quote(file.name), file.size, file.checksum) if self.base else file


class _Run:
    """Several archives at a time, each fetched, checked and unpacked."""

    def __init__(
        self, folder: Path, source: _Source, is_kept: bool, patience: Patience | None, progress: Progress | None,
        limits: Limits,
    ) -> None:  # fmt: skip
        self.folder, self.source, self.is_kept = folder, source, is_kept
        self.patience, self.progress, self.limits = patience, progress or (lambda *_: None), limits
        self.stop = threading.Event()

    def all(self, files: Sequence[RemoteFile], jobs: int) -> None:
        """Go on after one that fails, and name them all at the end."""
        waiting, ended = SimpleQueue[RemoteFile](), SimpleQueue[BaseException | None]()
        for file in files:
            waiting.put(file)
        # Daemons: whoever presses Ctrl-C need not wait for a server that does not answer.
        threads = [Thread(target=self._work, args=(waiting, ended), daemon=True) for _ in files[:jobs]]
        failed: list[DataError] = []
        try:
            for thread in threads:
                thread.start()
            for _ in files:
                error = self._next(ended)
                if isinstance(error, DataError):
                    failed.append(error)
                elif error is not None:
                    raise error
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(1)
        if len(failed) == 1:
            raise failed[0]
        if failed:
            listed = "; ".join(f"{error.expected}: {error.got}" for error in failed)
            hint = "run it again: it goes on where it stopped."
            raise DataError("download", f"{len(files)} archives", f"{len(failed)} that failed: {listed}", hint=hint)

    def _next(self, ended: SimpleQueue[BaseException | None]) -> BaseException | None:
        while True:
            with suppress(Empty):  # wakes up now and then, so that Ctrl-C is heard
                return ended.get(timeout=0.2)

    def _work(self, waiting: SimpleQueue[RemoteFile], ended: SimpleQueue[BaseException | None]) -> None:
        with suppress(Empty):
            while True:
                file = waiting.get_nowait()
                try:
                    self.one(file)
                    ended.put(None)
                except BaseException as error:  # noqa: BLE001 # the thread that waits raises it
                    ended.put(error)

    def one(self, file: RemoteFile) -> None:
        """That archive."""
        if self.stop.is_set():
            raise StoppedError
        if self.source.folder is not None:
            place = self._of_folder(file, self.source.folder)
        else:
            place = fetch(file, self.folder, patience=self.patience, progress=self.progress, stop=self.stop)
        told = partial(self.progress, file.name, "unpacking")
        members = unpack(place, self.folder / "images", self.limits, progress=self._heard(told))
        _record(self.folder, file, members)
        if self.source.folder is None and not self.is_kept:
            place.unlink()
        self.progress(file.name, "complete", file.size, file.size)

    def _heard(self, told: Any) -> Any:
        def progress(done: int, size: int) -> None:
            if self.stop.is_set():
                raise StoppedError
            told(done, size)

        return progress

    def _of_folder(self, file: RemoteFile, folder: Path) -> Path:
        place = folder / file.name
        if not place.is_file():
            raise DataError("download", f"{file.name} in {folder}", "none")
        wrong = check(place, file, self.progress, self.stop)
        if wrong:
            raise DataError("download", f"NIH's {file.name} in {folder}", wrong)
        return place


# ------------------------------------------------------------------------------ what is complete
def _record(folder: Path, file: RemoteFile, members: Sequence[Member]) -> None:
    """Written last: an archive with a record is complete."""
    if hasattr(os, "sync"):
        os.sync()  # the images, before the record that they are there
    records = folder / _RECORDS
    records.mkdir(exist_ok=True)
    part = records / f".{file.name}.part"
    about = {"name": file.name, "bytes": file.size, "checksum": file.checksum, "members": members}
    with part.open("w", encoding="utf-8") as written:
        json.dump(about, written)
        written.flush()
        os.fsync(written.fileno())
    os.replace(part, records / f"{file.name}.json")


def _is_complete(folder: Path, file: RemoteFile) -> bool:
    try:
        about = json.loads((folder / _RECORDS / f"{file.name}.json").read_text(encoding="utf-8"))
        if about["checksum"] != file.checksum:
            return False
        return all((folder / "images" / name).stat().st_size == size for name, size in about["members"])
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _clear(folder: Path) -> None:
    """What a process that was killed had half unpacked."""
    for left in folder.glob(".*.unpacked"):
        shutil.rmtree(left, ignore_errors=True)


def _check_room(folder: Path, left: Sequence[RemoteFile], source: _Source, jobs: int, is_kept: bool) -> None:
    unpacked = sum(file.size for file in left) * _GROWS
    packed = 0.0
    if source.folder is None:
        sizes = sorted((file.size for file in left), reverse=True)
        packed = sum(sizes if is_kept else sizes[:jobs])
        there = (folder / f".{file.name}.part" for file in left)
        packed = max(packed - sum(part.stat().st_size for part in there if part.exists()), 0)
    free = shutil.disk_usage(folder).free
    if unpacked + packed > free:
        what = f"{(unpacked + packed) / 1e9:,.1f} GB free in {folder}"
        hint = "--only 1,2 takes fewer archives; --jobs 1 has fewer of them packed at a time."
        raise DataError("download", what, f"{free / 1e9:,.1f} GB", hint=hint)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One download at a time in a folder; the lock goes with the process that has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".download.lock").open("w")
    except OSError as error:
        raise DataError("download", f"a folder that can be written, {folder}", error.strerror or str(error)) from None
    with lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # not on Windows
            pass
        except OSError:
            raise DataError("download", f"{folder} for itself", "another download that is running there") from None
        yield


# ------------------------------------------------------------------------------ table and lists
def _small_files(folder: Path, source: _Source, patience: Patience | None, report: Report) -> None:
    facts = _facts()
    known = {entry["name"]: entry for entry in facts["lists"]}
    for name in (*LISTS.values(), TABLES[0], BOXES):
        if not (folder / name).is_file() and not (name == TABLES[0] and (folder / TABLES[1]).is_file()):
            _copied(name, folder, source, patience)
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if table is None:
        report.by_hand.append(f"{TABLES[0]} (which film shows what): needed")
    else:
        report.notes.append(f"{table.name}: {len(read_table(table)):,} films")
    for name in LISTS.values():
        if not (folder / name).is_file():
            report.by_hand.append(f"{name} (NIH's own split): needed unless you split by yourself")
        elif name in known and _sha256(folder / name) != known[name]["sha256"]:
            report.notes.append(f"{name} is not the list that NIH gives out")
    if not (folder / BOXES).is_file():
        report.by_hand.append(f"{BOXES} (marked findings): for pictures only")
    if report.by_hand:
        report.notes.append(f"by hand: open {facts['by_hand']} in a browser and put the files into {folder}")


def _copied(name: str, folder: Path, source: _Source, patience: Patience | None) -> None:
    """From a mirror that has it, if it is what its name says."""
    part = folder / f".{name}.part"
    try:
        if source.folder is not None and (source.folder / name).is_file():
            shutil.copyfile(source.folder / name, part)
        if source.base:
            fetch_small(source.base + quote(name), part, patience=patience)
        if part.is_file() and _is_readable(name, part):
            os.replace(part, folder / name)
    except OSError as error:
        raise DataError("download", f"room and rights to write {folder / name}", str(error)) from None
    finally:
        part.unlink(missing_ok=True)


def _is_readable(name: str, part: Path) -> bool:
    try:
        if name in TABLES:
            return bool(read_table(part))
        if name == BOXES:
            return bool(read_boxes(part))
        names = read_list(part)
    except DataError:
        return False
    return bool(names) and all(re.fullmatch(r"[0-9]{8}_[0-9]{3}\.png", listed) for listed in names)


def _sha256(path: Path) -> str:
    hasher = hasher_of(RemoteFile("", "", 0, "sha256:"))
    hasher.update(path.read_bytes())
    return hasher.hexdigest()
