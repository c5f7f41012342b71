"""Files are whole or not there, whatever fails while they are written."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from kinone import nn
from kinone.formats import atomic

STEPS = ("write", "fsync", "replace", "close")


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_small_and_large_pieces_come_in_order(tmp_path: Path):
    pieces = [b"a" * 10, b"b" * (1 << 17), b"", b"c" * 70_000, b"d"]
    with atomic.writing(tmp_path / "x") as file:
        assert [file.write(piece) for piece in pieces] == [len(piece) for piece in pieces]
        assert names(tmp_path) != ["x"]
    assert (tmp_path / "x").read_bytes() == b"".join(pieces) and names(tmp_path) == ["x"]


def test_a_system_that_writes_little_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:1000]))
    atomic.write_bytes(tmp_path / "x", bytes(range(256)) * 999)
    assert (tmp_path / "x").read_bytes() == bytes(range(256)) * 999


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("suffix", [".safetensors", ".json", ".json.gz"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    step: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The seeds deleted the last good checkpoint before the new one was written."""
    path = tmp_path / f"m{suffix}"
    nn.Linear(3, 2).save(path)
    good = path.read_bytes()
    call = getattr(os, step)

    def fails(*args: Any) -> Any:
        if step == "close":
            call(*args)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(OSError, match="No space left"):
        nn.Linear(300, 200).save(path)
    monkeypatch.undo()
    assert names(tmp_path) == [path.name] and path.read_bytes() == good


def test_a_block_that_fails_leaves_nothing(tmp_path: Path):
    def interrupted() -> None:
        with atomic.writing(tmp_path / "x") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_the_file_is_on_the_disk_before_it_has_its_name_and_the_name_is_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls: list[str] = []
    for step in ("write", "fsync", "replace"):
        call = getattr(os, step)
        monkeypatch.setattr(os, step, lambda *args, call=call, step=step: (calls.append(step), call(*args))[1])
    atomic.write_bytes(tmp_path / "x", b"data")
    assert calls == ["write", "fsync", "replace", "fsync"]


def test_links_and_permissions_stay(tmp_path: Path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    atomic.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


def test_names_left_by_a_killed_process_are_not_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(atomic, "_numbers", iter([7, 8]))
    stale = tmp_path / f".x.{os.getpid()}-7.tmp"
    stale.write_bytes(b"of another")
    atomic.write_bytes(tmp_path / "x", b"new")
    assert stale.read_bytes() == b"of another" and (tmp_path / "x").read_bytes() == b"new"
