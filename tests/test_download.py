"""Downloads: whatever a server does, a name stands for a whole file or for none."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from email.message import Message
from pathlib import Path
from urllib.request import Request

import pytest

from kinone.data.download import Patience, RemoteFile, StoppedError, _Redirects, fetch
from kinone.errors import ArgumentError, DataError
from servers import (
    CONTENT,
    OTHER,
    PATIENT,
    QUICK,
    Answer,
    cut,
    moved,
    plain,
    ranges,
    remote,
    serving,
    stalled,
    status,
    trickle,
    whole,
    wrong_range,
)

server = pytest.fixture(serving)


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
