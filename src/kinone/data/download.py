"""Files from the network, whole or not at all: taken up where they broke off, checked, then given their name.

A file lies beside its place as `.NAME.part` until it has its size and its checksum. Standard library alone.
"""

import hashlib
import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinone._version import __version__
from kinone.errors import ArgumentError, DataError

Progress = Callable[[str, str, int, int], Any]
"""Told (name, what is being done, bytes done, bytes in all)."""

_CHUNK = 1 << 18
_LONGEST_WAIT = 60.0
_LEAST_RATE = 512  # bytes a second, below which a connection counts as stalled
_FINAL = {400: "bad request", 401: "not allowed", 403: "forbidden", 404: "not found", 410: "gone", 451: "withheld"}


@dataclass(frozen=True)
class RemoteFile:
    """A file, where it is, and how it is known to be right: its size and a checksum such as "md5:0cc1…"."""

    name: str
    url: str
    size: int
    checksum: str


@dataclass(frozen=True)
class Patience:
    """`stall`: seconds without news from a server; `attempts` in a row without progress; `backoff`: the first pause."""

    stall: float = 30.0
    attempts: int = 6
    backoff: float = 1.0

    def __post_init__(self) -> None:
        if self.stall <= 0 or self.attempts < 1 or self.backoff < 0:
            raise ArgumentError("download", "stall > 0, attempts ≥ 1 and backoff ≥ 0", repr(self))


class StoppedError(Exception):
    """Someone asked to end; what has arrived stays."""


class _AttemptError(Exception):
    """An attempt that failed, why, and whether another can help."""

    def __init__(self, why: str, *, is_final: bool = False, pause: float = 0.0) -> None:
        super().__init__(why)
        self.why, self.is_final, self.pause = why, is_final, pause


def fetch(
    file: RemoteFile, folder: str | os.PathLike[str], *, patience: Patience | None = None,
    progress: Progress | None = None, stop: threading.Event | None = None,
) -> Path:  # fmt: skip
    """The file's place in `folder`, after it has arrived there, or was there already and is right."""
    job = _Fetch(file, Path(folder), patience or Patience(), progress or (lambda *_: None), stop or threading.Event())
    return job.run()


def check(path: Path, file: RemoteFile, progress: Progress | None = None, stop: threading.Event | None = None) -> str:
    """What is wrong with the file at `path`; an empty text if nothing is."""
    size = path.stat().st_size
    if size != file.size:
        return f"{size:,} bytes instead of {file.size:,}"
    hasher, done = hasher_of(file), 0
    with path.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            if stop is not None and stop.is_set():
                raise StoppedError
            hasher.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(file.name, "checking", done, size)
    return _mismatch(hasher, file)


def hasher_of(file: RemoteFile) -> Any:
    """An empty hash of the checksum's kind."""
    return hashlib.new(file.checksum.partition(":")[0], usedforsecurity=False)


def _mismatch(hasher: Any, file: RemoteFile) -> str:
    kind, _, wanted = file.checksum.partition(":")
    found = hasher.hexdigest()
    return "" if found == wanted else f"{kind} {found} instead of {wanted}"


def fetch_small(url: str, place: Path, *, most_bytes: int = 1 << 26, patience: Patience | None = None) -> bool:
    """A file of unknown size, in one go; False where there is none to be had."""
    patience = patience or Patience()
    request = urllib.request.Request(url, headers={"User-Agent": f"kinone/{__version__}"})
    for attempt in range(patience.attempts):
        try:
            with urllib.request.build_opener(_Redirects).open(request, timeout=patience.stall) as response:
                data = response.read(most_bytes + 1)
                length = response.headers.get("Content-Length", str(len(data)))
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _FINAL:
                return False
        except (http.client.HTTPException, OSError, _AttemptError):
            pass  # another attempt, and then there is none to be had
        else:
            if len(data) <= most_bytes and length == str(len(data)):
                place.write_bytes(data)
                return True
        time.sleep(min(patience.backoff * 2**attempt, _LONGEST_WAIT) if attempt + 1 < patience.attempts else 0)
    return False


class _Fetch:
    """One file on its way."""

    def __init__(self, file: RemoteFile, folder: Path, patience: Patience, progress: Progress, stop: Any) -> None:
        self.file, self.patience, self.progress, self.stop = file, patience, progress, stop
        self.place = folder / file.name
        self.part, self.about = folder / f".{file.name}.part", folder / f".{file.name}.part.json"
        self.takes_ranges = True
        self.hasher = hasher_of(file)

    def run(self) -> Path:
        with self._disk():
            if self.place.is_file():
                if not check(self.place, self.file, self.progress, self.stop):
                    return self.place
                self.place.unlink()
            self.place.parent.mkdir(parents=True, exist_ok=True)
        failures = 0
        while True:
            before = self._size()
            try:
                self._attempt()
                break
            except _AttemptError as failure:
                gained = self._size() - before
                failures = 0 if gained >= max(1, min(1 << 16, self.file.size // 100)) else failures + 1
                if failure.is_final or failures >= self.patience.attempts:
                    raise self._given_up(failure, failures) from None
                pause = max(self.patience.backoff * 2 ** max(failures - 1, 0), failure.pause)
                self._rest(min(pause, _LONGEST_WAIT))
        with self._disk():
            self._sync(self.part)
            os.replace(self.part, self.place)
            self.about.unlink(missing_ok=True)
            self._sync(self.place.parent)
        return self.place

    def _given_up(self, failure: _AttemptError, failures: int) -> DataError:
        what = f"{self.file.name} from {self.file.url}"
        hint = (
            "fetch it by hand, or from a mirror." if failure.is_final else "run it again: it goes on where it stopped."
        )
        times = "" if failure.is_final else f" ({failures} attempts)"
        return DataError("download", what, failure.why + times, hint=hint)

    def _rest(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise StoppedError

    def _size(self) -> int:
        with suppress(FileNotFoundError):
            return self.part.stat().st_size
        return 0

    # -------------------------------------------------------------------------- one attempt
    def _attempt(self) -> None:
        if self.stop.is_set():
            raise StoppedError
        have = self._size()
        if have > self.file.size or (have and not self.takes_ranges):
            self._drop()
            have = 0
        if have < self.file.size:
            self._receive(have)
        else:
            self._read_again(have)
        wrong = _mismatch(self.hasher, self.file)
        if wrong:
            self._drop()
            raise _AttemptError(wrong)

    def _drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)

    def _read_again(self, have: int) -> None:
        """The hash of what is there already."""
        self.hasher = hasher_of(self.file)
        if not have:
            return
        with self.part.open("rb") as part:
            done = 0
            while chunk := part.read(1 << 20):
                self.hasher.update(chunk)
                done += len(chunk)
                self.progress(self.file.name, "checking", done, have)
                if self.stop.is_set():
                    raise StoppedError

    def _receive(self, have: int) -> None:
        validator = self._validator() if have else ""
        try:
            with self._opened(have, validator) as response:
                if self.stop.is_set():
                    raise StoppedError
                start = self._start(response, have, validator)
                with self._disk():
                    self._note(response)
                    if start < have:
                        os.truncate(self.part, start)
                    self._read_again(start)
                self._copy(response, start)
        except urllib.error.HTTPError as error:
            error.close()
            raise self._refused(error, have) from None
        except TimeoutError:
            raise _AttemptError(f"nothing for {self.patience.stall:g} s") from None
        except urllib.error.URLError as error:
            why = f"nothing for {self.patience.stall:g} s" if isinstance(error.reason, TimeoutError) else error.reason
            raise _AttemptError(str(why)) from None
        except (http.client.HTTPException, OSError) as error:
            raise _AttemptError(f"a broken connection ({type(error).__name__})") from None

    def _opened(self, have: int, validator: str) -> Any:
        headers = {"User-Agent": f"kinone/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if validator:
                headers["If-Range"] = validator
        scheme = urllib.parse.urlsplit(self.file.url).scheme
        if scheme not in ("http", "https"):
            raise _AttemptError(f"an address of the kind {scheme!r}", is_final=True)
        request = urllib.request.Request(self.file.url, headers=headers)
        return urllib.request.build_opener(_Redirects).open(request, timeout=self.patience.stall)

    def _start(self, response: Any, have: int, validator: str) -> int:
        """Where in the file the answer begins."""
        if response.status == 206:
            offered = response.headers.get("Content-Range", "none")
            kind, _, where = offered.partition(" ")
            span, _, whole = where.partition("/")
            changed = validator and _validator_of(response.headers) not in ("", validator)
            if (
                kind == "bytes"
                and span.partition("-")[0] == str(have)
                and whole in ("*", str(self.file.size))
                and not changed
            ):
                return have
            self.takes_ranges = False
            raise _AttemptError(f"the range {offered!r} in answer to bytes={have}-")
        if response.status != 200:
            raise _AttemptError(f"the status {response.status}")
        length = response.headers.get("Content-Length")
        if length is not None and length != str(self.file.size):
            raise _AttemptError(f"a file of {length} bytes instead of {self.file.size:,}")
        return 0

    def _copy(self, response: Any, done: int) -> None:
        size, mark, since = self.file.size, done, time.monotonic()
        with self._disk():
            part = self.part.open("r+b" if done else "wb")
        with part:
            part.seek(done)
            while chunk := response.read1(_CHUNK):
                if self.stop.is_set():
                    raise StoppedError
                if done + len(chunk) > size:
                    self._drop()
                    raise _AttemptError(f"more than {size:,} bytes")
                with self._disk():
                    part.write(chunk)
                    part.flush()
                self.hasher.update(chunk)
                done += len(chunk)
                self.progress(self.file.name, "downloading", done, size)
                if time.monotonic() - since > self.patience.stall:
                    if done - mark < _LEAST_RATE * self.patience.stall and done < size:
                        raise _AttemptError(f"{done - mark} bytes in {self.patience.stall:g} s")
                    mark, since = done, time.monotonic()
        if done < size:
            raise _AttemptError(f"the end after {done:,} of {size:,} bytes")

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """What fails here is not the network."""
        try:
            yield
        except OSError as error:
            why = error.strerror or str(error)
            raise DataError("download", f"room and rights to write {self.place}", why) from None

    def _refused(self, error: urllib.error.HTTPError, have: int) -> _AttemptError:
        if error.code == 416 and have:
            self._drop()
            return _AttemptError("no such range")
        if 300 <= error.code < 400:
            return _AttemptError(f"{error.code}, {' '.join(str(error.reason).split())}", is_final=True)
        if error.code in _FINAL:
            return _AttemptError(f"{error.code}, {_FINAL[error.code]}", is_final=True)
        wait = error.headers.get("Retry-After", "") if error.headers else ""
        return _AttemptError(f"{error.code}, {error.reason}", pause=float(wait) if wait.isdecimal() else 0.0)

    # -------------------------------------------------------------------------- which file it was
    def _note(self, response: Any) -> None:
        text = json.dumps({"url": self.file.url, "validator": _validator_of(response.headers)})
        self.about.write_text(text, encoding="utf-8")

    def _validator(self) -> str:
        try:
            about = json.loads(self.about.read_text(encoding="utf-8"))
            known = about["validator"] if about["url"] == self.file.url else ""
        except (OSError, ValueError, LookupError, TypeError):
            return ""
        return known if isinstance(known, str) and "\n" not in known and "\r" not in known else ""

    def _sync(self, path: Path) -> None:
        if os.name == "nt" and path.is_dir():
            return
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _validator_of(headers: Any) -> str:
    """What tells this version of a file from others: an ETag that is not weak, or its date."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """On to http and https alone, and from the safe one to no other."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        old, new = (urllib.parse.urlsplit(url).scheme for url in (req.full_url, newurl))
        if new not in ("http", "https") or (old == "https" and new == "http"):
            fp.close()
            raise _AttemptError(f"a redirection from {old} to {new}", is_final=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
