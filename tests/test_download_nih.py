"""The download of NIH's data set, and the command: archives from a server or a mirror, and how to go on."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kinone.data import nih
from kinone.data.download import RemoteFile
from kinone.data.films import BOXES, LISTS, TABLES
from kinone.data.nih import archives, download_nih
from kinone.errors import ArgumentError, DataError
from packing import GOOD, films, info, packed, tree
from servers import CONTENT, PATIENT, QUICK, plain, serving, stalled, status, whole

server = pytest.fixture(serving)


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
