"""Downloads and archives: whatever a server or an archive does, a name stands for a whole file or for none."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from urllib.request import Request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinone.data import nih
from kinone.data.archive import Limits, Member, unpack
from kinone.data.download import Patience, RemoteFile, StoppedError, _Redirects, fetch
from kinone.data.films import BOXES, LISTS, TABLES
from kinone.data.nih import archives, download_nih
from kinone.errors import ArgumentError, DataError

CONTENT = hashlib.shake_256(b"content").digest(300_000)
OTHER = hashlib.shake_256(b"other").digest(300_000)
PATIENT = Patience(stall=20, attempts=3, backoff=0.01)
QUICK = Patience(stall=0.5, attempts=3, backoff=0.01)  # where a server stalls
Answer = Callable[["Handler"], Any]


class Handler(BaseHTTPRequestHandler):
    """Answers each request by the next of the path's answers, and the last of them for ever."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        server.log.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        answers = server.answers.get(self.path, [status(404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def head(self, code: int, length: int | None, **headers: str) -> None:
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def start(self) -> int:
        """Where the range that was asked for begins."""
        return int((self.headers.get("Range") or "bytes=0-")[6:-1])

    def body(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def hang_up(self) -> None:
        self.close_connection = True


def whole(content: bytes = CONTENT, tag: str = '"one"') -> Answer:
    """As a good server does it: ranges, and an If-Range that is honoured."""

    def answer(request: Handler) -> None:
        start = request.start()
        if start and request.headers.get("If-Range", tag) == tag:
            if start >= len(content):
                request.head(416, 0, Content_Range=f"bytes */{len(content)}")
                return
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            request.head(206, len(content) - start, ETag=tag, Content_Range=span)
            request.body(content[start:])
        else:
            request.head(200, len(content), ETag=tag, Accept_Ranges="bytes")
            request.body(content)

    return answer


def cut(after: int, tag: str = '"one"') -> Answer:
    """The connection breaks off."""

    def answer(request: Handler) -> None:
        start = request.start()
        if start:
            span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
            request.head(206, len(CONTENT) - start, ETag=tag, Content_Range=span)
        else:
            request.head(200, len(CONTENT), ETag=tag)
        request.body(CONTENT[start : start + after])
        request.hang_up()

    return answer


def stalled(after: int | None, seconds: float = 2.0) -> Answer:
    """Nothing more comes; with None, not even an answer."""

    def answer(request: Handler) -> None:
        if after is not None:
            request.head(200, len(CONTENT), ETag='"one"')
            request.body(CONTENT[:after])
        time.sleep(seconds)
        request.hang_up()

    return answer


def trickle(request: Handler) -> None:
    request.head(200, len(CONTENT), ETag='"one"')
    for k in range(100):
        request.body(CONTENT[k : k + 1])
        time.sleep(0.02)
    request.hang_up()


def plain(content: bytes = CONTENT, code: int = 200, length: int | None = -1, **headers: str) -> Answer:
    """The content whatever was asked for."""

    def answer(request: Handler) -> None:
        request.head(code, len(content) if length == -1 else length, **headers)
        request.body(content)
        if length != -1:
            request.hang_up()

    return answer


def wrong_range(said: str, start: Callable[[int], int] = lambda start: start, tag: str = '"one"') -> Answer:
    """206, but what it says or sends is not what was asked for."""

    def answer(request: Handler) -> None:
        asked = request.start()
        if not asked:
            return whole()(request)
        sent = CONTENT[start(asked) :]
        headers = {"Content_Range": said.format(asked=asked, last=len(CONTENT) - 1, size=len(CONTENT))} if said else {}
        request.head(206, len(sent), ETag=tag, **headers)
        request.body(sent)
        return None

    return answer


def status(code: int, **headers: str) -> Answer:
    return lambda request: request.head(code, 0, **headers)


def moved(to: str) -> Answer:
    return lambda request: request.head(302, 0, Location=to.format(port=cast(Any, request.server).server_port))


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads, made.block_on_close = True, False
    made.answers, made.log = {}, []
    made.url = f"http://127.0.0.1:{made.server_address[1]}"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def remote(server: Any, *answers: Answer, content: bytes = CONTENT, name: str = "file.gz") -> RemoteFile:
    server.answers["/" + name] = list(answers)
    return RemoteFile(name, f"{server.url}/{name}", len(content), "md5:" + hashlib.md5(content).hexdigest())


def ranges(server: Any) -> list[str | None]:
    return [asked for path, asked, _ in server.log if path == "/file.gz"]


# ------------------------------------------------------------------------------ one file
def test_a_file_arrives(server, tmp_path):
    told = []
    place = fetch(remote(server, whole()), tmp_path / "new", progress=lambda *news: told.append(news))
    assert place.read_bytes() == CONTENT and os.listdir(tmp_path / "new") == ["file.gz"]
    assert told[-1] == ("file.gz", "downloading", len(CONTENT), len(CONTENT))
    fetch(remote(server, whole()), tmp_path / "new")
    assert len(server.log) == 1, "what is there and right is not fetched again"
    place.write_bytes(CONTENT[:-1] + b"?")
    assert fetch(remote(server, whole()), tmp_path / "new").read_bytes() == CONTENT and len(server.log) == 2


ROUGH: dict[str, tuple[list[Answer], list[str | None]]] = {
    "cut off, and gone on with": ([cut(100_000), cut(50_000), whole()], [None, "bytes=100000-", "bytes=150000-"]),
    "cut off by a server without ranges": ([cut(100_000), plain()], [None, "bytes=100000-"]),
    "cut off at once": ([cut(0), whole()], [None, None]),
    "stalls in the middle": ([stalled(100_000), whole()], [None, "bytes=100000-"]),
    "stalls before it answers": ([stalled(None), whole()], [None, None]),
    "another file since": ([cut(100_000, '"old"'), whole()], [None, "bytes=100000-"]),
    "another file since, If-Range ignored": (
        [cut(100_000, '"old"'), wrong_range("bytes {asked}-{last}/{size}"), whole()], [None, "bytes=100000-", None],
    ),
    "206 without a range": ([cut(100_000), wrong_range(""), whole()], [None, "bytes=100000-", None]),
    "206 from the beginning": (
        [cut(100_000), wrong_range("bytes 0-{last}/{size}", lambda _: 0), whole()], [None, "bytes=100000-", None],
    ),
    "206 of another size": (
        [cut(100_000), wrong_range("bytes {asked}-{last}/7"), whole()], [None, "bytes=100000-", None],
    ),
    "206 that lies": (
        [cut(100_000), wrong_range("bytes {asked}-{last}/{size}", lambda n: n - 5), whole()],
        [None, "bytes=100000-", None],
    ),
    "206 in other units": (
        [cut(100_000), wrong_range("lines {asked}-{last}/{size}"), whole()], [None, "bytes=100000-", None],
    ),
    "416": ([cut(100_000), status(416), whole()], [None, "bytes=100000-", None]),
    "corrupt": ([plain(CONTENT[:1000] + b"?" + CONTENT[1001:]), whole()], [None, None]),
    "no length": ([plain(length=None)], [None]),
    "no length, and cut off": ([plain(CONTENT[:5000], length=None), whole()], [None, "bytes=5000-"]),
    "no length, and too long": ([plain(CONTENT + b"more", length=None), whole()], [None, None]),
    "a page that says sorry": ([plain(b"<html>try later</html>"), whole()], [None, None]),
    "busy": ([status(503), status(429, Retry_After="0"), whole()], [None, None, None]),
    "broken": ([status(500), status(502), whole()], [None, None, None]),
    "moved": ([moved("http://127.0.0.1:{port}/elsewhere")], [None]),
    "moved while it was fetched": ([cut(100_000), moved("/elsewhere")], [None, "bytes=100000-"]),
}  # fmt: skip


@pytest.mark.parametrize("case", ROUGH)
def test_a_rough_ride_ends_with_the_file(server, tmp_path, case):
    answers, asked = ROUGH[case]
    server.answers["/elsewhere"] = [whole()]
    place = fetch(remote(server, *answers), tmp_path, patience=QUICK if "stall" in case else PATIENT)
    assert place.read_bytes() == CONTENT and ranges(server) == asked
    assert os.listdir(tmp_path) == ["file.gz"], "nothing else is left"


def test_a_trickle_is_a_stall(server, tmp_path):
    assert fetch(remote(server, trickle, whole()), tmp_path, patience=QUICK).read_bytes() == CONTENT
    first, second = ranges(server)
    assert first is None and second is not None and 5 < int(second[6:-1]) <= 100


HOPELESS: dict[str, tuple[list[Answer], str]] = {
    "always corrupt": ([plain(CONTENT[:-1] + b"?")], r"md5 [0-9a-f]{32} instead of [0-9a-f]{32} \(3 attempts\)"),
    "always stalled": ([stalled(None)], "nothing for 0.5 s"),
    "always cut off": ([cut(0)], "the end after 0 of 300,000 bytes"),
    "another size": ([plain(CONTENT[:-1])], "a file of 299999 bytes instead of 300,000"),
    "too long": ([plain(CONTENT + b"x", length=None)], "more than 300,000 bytes"),
    "not there": ([status(404)], "404, not found. Hint: fetch it by hand"),
    "forbidden": ([status(403)], "403, forbidden. Hint: fetch it by hand"),
    "broken": ([status(500)], "500, Internal Server Error .3 attempts.. Hint: run it again"),
    "moved in a circle": ([moved("/file.gz")], "302, .*infinite loop"),
    "moved to a file": ([moved("file:///etc/passwd")], "302, .*not allowed. Hint: fetch it by hand"),
    "moved to ftp": ([moved("ftp://127.0.0.1/x")], "a redirection from http to ftp"),
    "nonsense": ([lambda request: request.wfile.write(b"\0\1\2\r\n\r\n") and request.hang_up()], "BadStatusLine"),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_what_cannot_be_had_is_said_and_never_has_the_name(server, tmp_path, case):
    answers, why = HOPELESS[case]
    with pytest.raises(DataError, match=why) as caught:
        fetch(remote(server, *answers), tmp_path, patience=QUICK if "stall" in case else PATIENT)
    assert "file.gz from http://127.0.0.1" in str(caught.value)
    assert not (tmp_path / "file.gz").exists()
    if "by hand" in str(caught.value) and case != "moved in a circle":
        assert len(server.log) == 1, "no second try"


def test_a_server_that_is_not_there(tmp_path):
    file = RemoteFile("a", "http://127.0.0.1:9/a", 5, "md5:0")
    with pytest.raises(DataError, match=r"a from .*refused"):
        fetch(file, tmp_path, patience=PATIENT)
    with pytest.raises(DataError, match="an address of the kind 'file'"):
        fetch(RemoteFile("a", "file:///etc/hostname", 5, "md5:0"), tmp_path, patience=PATIENT)


def test_progress_earns_new_attempts(server, tmp_path):
    file = remote(server, *[cut(20_000)] * 14, whole())
    assert fetch(file, tmp_path, patience=Patience(20, 2, 0)).read_bytes() == CONTENT


def test_the_next_run_goes_on_where_the_last_stopped(server, tmp_path):
    stop = threading.Event()

    def progress(_: str, __: str, done: int, ___: int) -> None:
        if done >= 100_000:
            stop.set()

    with pytest.raises(StoppedError):
        fetch(remote(server, cut(150_000), whole()), tmp_path, patience=PATIENT, progress=progress, stop=stop)
    have = (tmp_path / ".file.gz.part").stat().st_size
    assert 0 < have < len(CONTENT) and not (tmp_path / "file.gz").exists()
    server.log.clear()
    assert fetch(remote(server, whole()), tmp_path, patience=PATIENT).read_bytes() == CONTENT
    assert server.log == [("/file.gz", f"bytes={have}-", '"one"')]


def test_a_part_of_another_file_is_noticed(server, tmp_path):
    (tmp_path / ".file.gz.part").write_bytes(OTHER[:1000])
    assert fetch(remote(server, whole()), tmp_path, patience=PATIENT).read_bytes() == CONTENT
    (tmp_path / "file.gz").unlink()
    (tmp_path / ".file.gz.part").write_bytes(OTHER + b"too long")
    (tmp_path / ".file.gz.part.json").write_text("no JSON")
    assert fetch(remote(server, whole()), tmp_path, patience=PATIENT).read_bytes() == CONTENT
    (tmp_path / "file.gz").unlink()
    (tmp_path / ".file.gz.part").write_bytes(OTHER)
    assert fetch(remote(server, whole()), tmp_path, patience=PATIENT).read_bytes() == CONTENT
    (tmp_path / "file.gz").unlink()
    (tmp_path / ".file.gz.part").write_bytes(CONTENT)
    server.log.clear()
    assert fetch(remote(server, whole()), tmp_path).read_bytes() == CONTENT and not server.log


def test_a_killed_process_leaves_what_the_next_goes_on_with(server, tmp_path):
    file = remote(server, stalled(200_000, 20), whole())
    code = (
        "import sys; from kinone.data.download import RemoteFile, fetch; "
        f"fetch(RemoteFile({file.name!r}, {file.url!r}, {file.size}, {file.checksum!r}), {str(tmp_path)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    part, end = tmp_path / ".file.gz.part", time.monotonic() + 30
    while not (part.exists() and part.stat().st_size == 200_000):
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "file.gz").exists()
    assert fetch(file, tmp_path, patience=PATIENT).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=200000-"] and os.listdir(tmp_path) == ["file.gz"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said(server, tmp_path):
    (tmp_path / ".file.gz.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"room and rights to write .*file\.gz, got No space left on device"):
        fetch(remote(server, whole()), tmp_path, patience=PATIENT)


def test_patience_is_checked():
    for wrong in ({"stall": 0}, {"attempts": 0}, {"backoff": -1}):
        with pytest.raises(ArgumentError, match="stall > 0, attempts ≥ 1 and backoff ≥ 0"):
            Patience(**wrong)


def test_a_redirection_leaves_no_safe_ground():
    for old, new in (("https", "http"), ("http", "ftp"), ("https", "file")):
        with pytest.raises(Exception, match=f"a redirection from {old} to {new}"):
            _Redirects().redirect_request(Request(f"{old}://a/b"), io.BytesIO(), 302, "", Message(), f"{new}://c/d")
    assert _Redirects().redirect_request(Request("http://a"), io.BytesIO(), 302, "", Message(), "https://b") is not None


# ------------------------------------------------------------------------------ archives
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
HUGE = packed((info("images/00000001_000.png", 10), b"0123456789"))


def header_with(size: bytes) -> bytes:
    """A header with that field for its size, and the right sum."""
    block = bytearray(HUGE[:512])
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + HUGE[512:]


HOSTILE: dict[str, tuple[bytes, str]] = {
    "up and out": (packed(GOOD, (info("../00000002_000.png"), b"x")), "names such as"),
    "up and out from inside": (packed(GOOD, (info("images/../../00000002_000.png"), b"x")), "names such as"),
    "absolute": (packed(GOOD, (info("/tmp/00000002_000.png"), b"x")), "names such as"),
    "absolute images": (packed(GOOD, (info("/images/00000002_000.png"), b"x")), "names such as"),
    "backslashes": (packed(GOOD, (info("images\\..\\00000002_000.png"), b"x")), "names such as"),
    "another kind of file": (packed(GOOD, (info("images/run.sh"), b"x")), r"names such as .*got 'images/run.sh'"),
    "a hidden name": (packed(GOOD, (info("images/.00000002_000.png"), b"x")), "names such as"),
    "a name that goes on": (packed(GOOD, (info("images/00000002_000.png\n"), b"x")), "names such as"),
    "digits of another script": (packed(GOOD, (info("images/0000000٢_000.png"), b"x")), "names such as"),
    "a symbolic link": (packed(GOOD, (info("images/00000002_000.png", 0, tarfile.SYMTYPE, "/etc"), b"")), "symbolic"),
    "a hard link": (packed(GOOD, (info("images/00000002_000.png", 0, tarfile.LNKTYPE, "/etc"), b"")), "a hard link"),
    "a link for a folder": (packed((info("images", 0, tarfile.SYMTYPE, "/tmp"), b""), GOOD), "link, 'images'"),
    "a device": (packed(GOOD, (info("images/00000002_000.png", 0, tarfile.CHRTYPE), b"")), "a device"),
    "a block device": (packed(GOOD, (info("images/00000002_000.png", 0, tarfile.BLKTYPE), b"")), "a device"),
    "a pipe": (packed(GOOD, (info("images/00000002_000.png", 0, tarfile.FIFOTYPE), b"")), "a pipe"),
    "an unknown kind": (packed(GOOD, (info("images/00000002_000.png", 0, b"Z"), b"")), "a member of kind b'Z'"),
    "another folder": (packed((info("etc", 0, tarfile.DIRTYPE), b""), GOOD), "the folder images"),
    "twice": (packed(GOOD, GOOD), "each file once, got 00000001_000.png twice|each file once in"),
    "twice under two names": (packed(GOOD, (info("./images/00000001_000.png"), b"x")), "each file once"),
    "a long name": (packed(GOOD, (info("images/" + "a" * 200), b"x"), form=tarfile.GNU_FORMAT), "a long name"),
    "a name in an extended header": (
        packed(GOOD, (info("images/" + "b" * 200), b"x"), form=tarfile.PAX_FORMAT), "plain headers",
    ),
    "a size in an extended header": (
        packed((info("x", 0, b"x"), b"20 size=99999999999\n"), GOOD), "plain headers",
    ),
    "a large extended header": (packed((info("x", 0, b"x"), bytes(70_000)), GOOD), "extended headers of at most"),
    "a large file": (packed((info("images/00000001_000.png"), bytes(2001))), "files of at most 2,000 bytes"),
    "many files": (packed(*[(info(f"images/{n:08d}_000.png"), b"") for n in range(6)]), "at most 5 files"),
    "a bomb of padding": (packed(GOOD) + bytes(100_000), "at most 20,000 bytes unpacked"),
    "a claimed size": (header_with(b"77777777777\0"), "files of at most"),
    "a binary size": (header_with(b"\x80" + bytes(10) + b"\x05"), "octal numbers"),
    "a negative size": (header_with(b"-0000000010\0"), "octal numbers"),
    "an empty size": (header_with(b"            "), "octal numbers"),
    "a wrong sum": (HUGE[:100] + b"x" + HUGE[101:], "headers with their sums"),
    "cut off in a header": (HUGE[:300], "cut off"),
    "cut off in a file": (HUGE[:517], "cut off"),
    "cut off before its end": (HUGE[:1024], "cut off"),
    "something after its end": (HUGE[:1024] + bytes(1024) + b"x" * 512, "nothing after its end"),
    "nothing": (bytes(1024), "files in a.tar.gz"),
    "text": (b"not found" * 100, "octal numbers"),
}  # fmt: skip
SMALL = Limits(most_files=5, most_bytes=20_000, most_bytes_each=2_000)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_writes_nothing(tmp_path, case):
    tar, why = HOSTILE[case]
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(tar, 1))
    before = tree(tmp_path)
    with pytest.raises(DataError, match=why):
        unpack(archive, tmp_path / "data" / "images", SMALL)
    assert tree(tmp_path) == before and not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "cut off"), (films(3)[:-9], "damaged"), (films(3)[:-9] + bytes(9), "damaged"), (b"no gzip", "damaged"),
     (films(3) + b"more", "damaged")],
)  # fmt: skip
def test_a_damaged_archive_writes_nothing(tmp_path, data, why):
    (tmp_path / "a.tar.gz").write_bytes(data)
    with pytest.raises(DataError, match=why):
        unpack(tmp_path / "a.tar.gz", tmp_path / "images")
    assert os.listdir(tmp_path) == ["a.tar.gz"]


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    good, archive = films(2), tmp_path / "a.tar.gz"
    archive.write_bytes(good)
    unpack(archive, tmp_path / "good")
    refused = 0
    for i in range(len(good)):
        flipped = good[:i] + bytes([good[i] ^ 0x10]) + good[i + 1 :]
        archive.write_bytes(flipped)
        try:
            unpack(archive, tmp_path / "images")
        except DataError:
            refused += 1
            assert not (tmp_path / "images").exists()
        else:
            assert tree(tmp_path / "images") == tree(tmp_path / "good")
            assert gzip.decompress(flipped) == gzip.decompress(good), "another way to say the same"
            shutil.rmtree(tmp_path / "images")
    assert refused > 0.7 * len(good)


@given(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 255)), min_size=1, max_size=6))
def test_archives_that_were_tampered_with_hold_what_is_expected_or_are_refused(form, changes):
    """Headers with any bytes in them; their sums are put right, or most would end there."""
    tar = bytearray(packed(GOOD, (info("images/00000002_000.png"), b"x" * 300), form=form))
    for at, value in changes:
        tar[at] = value
    for start in (0, 1024):
        tar[start + 148 : start + 156] = b" " * 8
        tar[start + 148 : start + 156] = b"%06o\0 " % sum(tar[start : start + 512])
    with TemporaryDirectory() as folder:
        archive = Path(folder) / "a.tar.gz"
        archive.write_bytes(gzip.compress(bytes(tar), 1))
        try:
            members = unpack(archive, Path(folder) / "data" / "images", SMALL)
        except DataError:
            assert os.listdir(folder) in (["a.tar.gz", "data"], ["data", "a.tar.gz"])
            assert not os.listdir(Path(folder) / "data")
        else:
            found = tree(Path(folder))
            assert set(found) == {"a.tar.gz", *(f"data/images/{member.name}" for member in members)}
            assert all(re.fullmatch("[0-9]{8}_[0-9]{3}[.]png", member.name) for member in members)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_is_unpacked(tmp_path, form):
    folders = [(info(name, 0, tarfile.DIRTYPE), b"") for name in ("images", "./images/")]
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(packed(*folders, GOOD, (info("./images/00000002_013.png"), b"two"), form=form)))
    told = []
    made = unpack(archive, tmp_path / "images", progress=lambda *news: told.append(news))
    assert made == [Member("00000001_000.png", 12), Member("00000002_013.png", 3)]
    assert tree(tmp_path / "images") == {"00000001_000.png": PNG + b"good", "00000002_013.png": b"two"}
    assert told[-1][1] == archive.stat().st_size
    archive.write_bytes(gzip.compress(packed((info("images_003/images/00000003_000.png"), b"three"))))
    unpack(archive, tmp_path / "images")
    assert len(tree(tmp_path / "images")) == 3 and not list(tmp_path.glob(".*"))


# ------------------------------------------------------------------------------ the data set
TABLE = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n00000001_000.png,Mass,0,1,58,M,PA,1,1,1,1\n"
)


def three(server: Any = None) -> tuple[list[RemoteFile], dict[str, bytes]]:
    contents = {f"images_{n:03d}.tar.gz": films(4, 10 * n) for n in (1, 2, 3)}
    base = server.url if server else "http://127.0.0.1:9"
    for name, content in contents.items() if server else ():
        server.answers["/" + name] = [whole(content)]
    return [RemoteFile(name, f"{base}/{name}", len(data), "md5:" + hashlib.md5(data).hexdigest())
            for name, data in contents.items()], contents  # fmt: skip


def images(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "images").iterdir())


ALL = [f"{10 * n + k:08d}_000.png" for n in (1, 2, 3) for k in range(4)]


def test_three_archives_come_at_a_time(server, tmp_path):
    files, contents = three(server)
    server.answers["/images_002.tar.gz"] = [stalled(0), plain(b"?" + contents["images_002.tar.gz"][1:]),
                                            whole(contents["images_002.tar.gz"])]  # fmt: skip
    told = []
    report = download_nih(tmp_path / "nih", wanted=files, patience=QUICK, progress=lambda *news: told.append(news))
    assert images(tmp_path / "nih") == ALL and report.complete == [file.name for file in files]
    assert not list((tmp_path / "nih").glob("*.tar.gz")) and not list((tmp_path / "nih").glob(".*.part"))
    assert {news[1] for news in told} >= {"downloading", "unpacking", "complete"}
    assert report.by_hand[0].startswith(TABLES[0]) and len(report.by_hand) == 4
    assert any("https://nihcc.app.box.com" in note and str(tmp_path / "nih") in note for note in report.notes)
    server.log.clear()
    assert download_nih(tmp_path / "nih", wanted=files).complete == report.complete and not server.log
    (tmp_path / "nih" / "images" / ALL[5]).unlink()
    download_nih(tmp_path / "nih", wanted=files)
    assert [path for path, *_ in server.log] == ["/images_002.tar.gz"] and images(tmp_path / "nih") == ALL


def test_archives_can_be_kept(server, tmp_path):
    files, contents = three(server)
    download_nih(tmp_path, wanted=files[:1], is_kept=True)
    assert (tmp_path / files[0].name).read_bytes() == contents[files[0].name]


def test_one_that_fails_stops_no_other(server, tmp_path):
    files, _ = three(server)
    server.answers["/images_001.tar.gz"] = [status(404)]
    with pytest.raises(DataError, match=r"images_001\.tar\.gz from .*404, not found. Hint: fetch it by hand"):
        download_nih(tmp_path, wanted=files, patience=PATIENT, jobs=1)
    assert images(tmp_path) == ALL[4:]
    server.answers["/images_002.tar.gz"] = [status(404)]
    (tmp_path / "images" / ALL[4]).unlink()
    with pytest.raises(DataError, match=r"3 archives|2 that failed") as caught:
        download_nih(tmp_path, wanted=files, patience=PATIENT)
    assert "images_001" in str(caught.value) and "images_002" in str(caught.value)


def test_a_hostile_archive_from_the_network_writes_nothing(server, tmp_path):
    evil = gzip.compress(packed(GOOD, (info("../../../00000009_000.png"), b"x")))
    server.answers["/images_001.tar.gz"] = [whole(evil)]
    file = RemoteFile(
        "images_001.tar.gz", server.url + "/images_001.tar.gz", len(evil), "md5:" + hashlib.md5(evil).hexdigest()
    )
    with pytest.raises(DataError, match=r"names such as .*in images_001\.tar\.gz"):
        download_nih(tmp_path / "a" / "b", wanted=[file])
    assert set(tree(tmp_path)) == {"a/b/images_001.tar.gz", "a/b/.download.lock"}


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_mirror(server, tmp_path, is_folder):
    files, contents = three()
    lists = {LISTS["train"]: b"00000001_000.png\n", LISTS["test"]: b"<html>", TABLES[0]: TABLE.encode(), BOXES: b"?"}
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name, content in {**contents, **lists}.items():
        (mirror / name).write_bytes(content)
        server.answers[f"/a/{name}"] = [whole(content)]
    before = tree(mirror)
    report = download_nih(
        tmp_path / "nih", wanted=files, mirror=str(mirror) if is_folder else server.url + "/a/", patience=PATIENT
    )
    assert images(tmp_path / "nih") == ALL and tree(mirror) == before
    assert (tmp_path / "nih" / TABLES[0]).read_text() == TABLE
    assert [text.partition(" ")[0] for text in report.by_hand] == [LISTS["test"], BOXES], "what is no list stays away"
    assert "Data_Entry_2017_v2020.csv: 1 films" in report.notes
    assert f"{LISTS['train']} is not the list that NIH gives out" in report.notes


def test_a_mirror_that_is_wrong_is_refused(tmp_path):
    files, contents = three()
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / files[0].name).write_bytes(contents[files[0].name][:-1] + b"?")
    with pytest.raises(DataError, match=r"NIH's images_001\.tar\.gz in .*mirror, got md5 \w+ instead of"):
        download_nih(tmp_path / "nih", wanted=files[:1], mirror=str(tmp_path / "mirror"))
    with pytest.raises(DataError, match=r"images_002\.tar\.gz in .*mirror, got none"):
        download_nih(tmp_path / "nih", wanted=files[1:2], mirror=str(tmp_path / "mirror"))
    assert not (tmp_path / "nih" / "images").exists()
    with pytest.raises(ArgumentError, match="a mirror that is a folder, or an address"):
        download_nih(tmp_path / "nih", mirror=str(tmp_path / "nowhere"))
    with pytest.raises(ArgumentError, match="got 'ftp://"):
        download_nih(tmp_path / "nih", mirror="ftp://example.org")


def test_too_little_room_is_said_before_anything_is_fetched(server, tmp_path, monkeypatch):
    files, _ = three(server)
    monkeypatch.setattr(nih.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))
    with pytest.raises(DataError, match=r"GB free in .*, got 0.0 GB. Hint: --only 1,2 takes fewer"):
        download_nih(tmp_path, wanted=files)
    assert not server.log and set(tree(tmp_path)) == {".download.lock"}


def test_two_downloads_into_one_folder_are_refused(tmp_path):
    pytest.importorskip("fcntl", reason="no locks on this system")
    with nih._locked(tmp_path), pytest.raises(DataError, match="another download that is running there"):
        download_nih(tmp_path, wanted=[])
    download_nih(tmp_path, wanted=[])


def test_a_killed_download_leaves_whole_images_only(server, tmp_path):
    data = films(300)
    server.answers["/images_001.tar.gz"] = [whole(data)]
    about = ("images_001.tar.gz", server.url + "/images_001.tar.gz", len(data), "md5:" + hashlib.md5(data).hexdigest())
    code = f"""
import os, signal, sys
from kinone.data import archive
from kinone.data.download import RemoteFile
from kinone.data.nih import download_nih
after, replaced = int(sys.argv[1]), os.replace
def replace(*names):
    global after
    after -= 1
    if not after:
        os.kill(os.getpid(), signal.SIGKILL)
    replaced(*names)
os.replace = replace
download_nih({str(tmp_path)!r}, wanted=[RemoteFile(*{about!r})])
"""
    for after in (1, 2, 150):
        process = subprocess.run([sys.executable, "-c", code, str(after)], check=False)
        assert process.returncode == -signal.SIGKILL and not (tmp_path / "downloads").exists()
        for path in (tmp_path / "images").glob("*"):
            assert path.stat().st_size == 8 + 700 * int(path.name[:8]) % 1500
    assert len(images(tmp_path)) == 149
    report = download_nih(tmp_path, wanted=[RemoteFile(*about)])
    assert report.complete and len(images(tmp_path)) == 300
    assert not list(tmp_path.glob(".*.unpacked")) and len(json.loads(
        (tmp_path / "downloads" / "images_001.tar.gz.json").read_text())["members"]) == 300  # fmt: skip


def test_ctrl_c_waits_for_no_server(server, tmp_path):
    server.answers["/images_001.tar.gz"] = [stalled(1000, 25)]
    code = (
        "from kinone.data.download import RemoteFile; from kinone.data.nih import download_nih; "
        f"file = RemoteFile('images_001.tar.gz', '{server.url}/images_001.tar.gz', {len(CONTENT)}, 'md5:0'); "
        f"download_nih({str(tmp_path)!r}, wanted=[file])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    part, end = tmp_path / ".images_001.tar.gz.part", time.monotonic() + 30
    while not (part.exists() and part.stat().st_size == 1000):
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - begun < 10 and err.strip().endswith(b"KeyboardInterrupt")


def test_the_archives_are_nihs():
    files = archives()
    assert len(files) == 12 and sum(file.size for file in files) == 45_079_862_784
    assert [file.name for file in archives([12, 3, 3])] == ["images_003.tar.gz", "images_012.tar.gz"]
    assert all(file.url.startswith("https://") and len(file.checksum) == 4 + 32 for file in files)
    for wrong in ([0], [13], []):
        with pytest.raises(ArgumentError, match="numbers of archives from 1 to 12"):
            archives(wrong)


# ------------------------------------------------------------------------------ the command
@pytest.fixture
def kinone(capsys, monkeypatch):
    pytest.importorskip("cyclopts", reason="needs kinone[cli]")
    pytest.importorskip("rich", reason="needs kinone[cli]")
    from kinone.cli import main

    def run(*arguments: str) -> Any:
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as end:
            main(["download", *arguments])
        return end.value.code, *capsys.readouterr()

    return run


def of_three(monkeypatch: Any, folder: Path) -> dict[str, bytes]:
    """NIH's facts, with three small archives that lie in `folder`."""
    facts, (files, contents) = nih._facts(), three()
    facts["archives"] = [
        {"name": file.name, "bytes": file.size, "md5": file.checksum[4:], "url": file.url} for file in files
    ]
    monkeypatch.setattr(nih, "_facts", lambda: facts)
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return contents


def test_the_command_fetches_and_says_what_is_left(kinone, tmp_path, monkeypatch):
    of_three(monkeypatch, tmp_path / "mirror")
    code, out, _ = kinone(
        "nih", "--out-dir", str(tmp_path / "nih"), "--mirror", str(tmp_path / "mirror"), "--only", "1,3"
    )
    assert code == 0 and images(tmp_path / "nih") == ALL[:4] + ALL[8:]
    assert out.startswith("2 archives are complete") and "missing: Data_Entry_2017_v2020.csv" in out
    (tmp_path / "nih" / TABLES[0]).write_text(TABLE)
    code, out, _ = kinone(
        "nih", "--out-dir", str(tmp_path / "nih"), "--mirror", str(tmp_path / "mirror"), "--only", "1-3"
    )
    assert code == 0 and images(tmp_path / "nih") == ALL and "missing: Data_Entry" not in out


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["mnist"], "mnist"),
        (["nih", "--only", "1,x"], "--only with numbers, as 1,2 or 1-3, got '1,x'"),
        (["nih", "--only", "4"], "numbers of archives from 1 to 3"),
        (["nih", "--jobs", "0"], "jobs ≥ 1"),
        (["nih", "--mirror", "nowhere"], "a mirror that is a folder"),
        (["nih", "--out-dir", "file/nih"], "a folder that can be written"),
        ([], "kinone download"),
    ],
)
def test_a_mistake_gets_one_line_and_nothing_is_written(kinone, tmp_path, monkeypatch, arguments, match):
    of_three(monkeypatch, tmp_path / "mirror")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    Path("file").write_text("")
    code, out, err = kinone(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and match in err
    assert os.listdir() == ["file"]


def test_ctrl_c_says_how_to_go_on(kinone, tmp_path, monkeypatch):
    def pressed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    of_three(monkeypatch, tmp_path / "mirror")
    monkeypatch.setattr(nih, "unpack", pressed)
    code, _, err = kinone("nih", "--out-dir", str(tmp_path / "nih"), "--mirror", str(tmp_path / "mirror"))
    assert code == 130 and "the same command goes on from here" in err


def test_help_has_an_example(kinone):
    code, out, _ = kinone("--help")
    assert code == 0 and "kinone download nih --only 1,2" in out
