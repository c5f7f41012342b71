"""Runs that are killed, and disks that are full, fail or write half: a checkpoint that loads, the same final bits."""

import errno
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kinone.errors import KinoneError, StateError
from kinone.formats.checkpoint import load_checkpoint
from kinone.random import Stream
from kinone.training import ledger
from kinone.training.loop import progress_in
from kinone.training.run_directory import Metrics, RunDirectory
from kinone.training.session import begin, resume
from kinone.training.verify import verify
from runs import small

pytest.importorskip("cv2", reason="needs kinone[data]")


def check(run: RunDirectory, whole_run: RunDirectory) -> None:
    """What must hold of a run at any moment."""
    named = run.named()
    if named:
        progress = progress_in(run.checkpoint())  # refuses a file that is not whole
        assert load_checkpoint(run.checkpoint()).progress == progress or progress["step"] >= 0
        heads = {entry.hash for entry in ledger.read(run.ledger).entries}
        assert progress["head"] in heads
        assert (run.checkpoints / named.get("best", named["last"])).is_file()
    if run.ledger.is_file():
        lines = run.ledger.read_bytes().rpartition(b"\n")[0]
        assert whole_run.ledger.read_bytes().startswith(lines)


def is_finished(run: RunDirectory) -> bool:
    return run.ledger.is_file() and ledger.read(run.ledger).is_closed


def same(run: RunDirectory, whole_run: RunDirectory) -> None:
    assert run.ledger.read_bytes() == whole_run.ledger.read_bytes()
    assert run.checkpoint().read_bytes() == whole_run.checkpoint().read_bytes()
    assert not verify(run.path).faults
    left = {path.name for path in run.path.rglob("*") if path.is_file() and path.parent != run.checkpoints}
    assert left == {path.name for path in whole_run.path.iterdir() if path.is_file()}, "no stale temporary files"
    assert {path.name for path in run.checkpoints.iterdir()} == {path.name for path in whole_run.checkpoints.iterdir()}


# ------------------------------------------------------------------------------ SIGKILL
def forked(job: Callable[[], Any], seconds: float) -> bool:
    """Do it in a process that is killed after so many seconds; whether it came to its end before."""
    child = os.fork()
    if child == 0:
        try:
            job()
            os._exit(0)
        except BaseException:  # noqa: BLE001 (the parent sees that it failed by the status)
            traceback.print_exc()
            os._exit(3)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it failed by itself"
    return not os.WIFSIGNALED(status)


def killed(run_films: Path, whole_run: RunDirectory, place: Path, kills: int, stream: Stream) -> int:
    """A run that is killed up to `kills` times, then left in peace; how often it was."""
    run, count = RunDirectory(place), 0
    begun = time.perf_counter()
    begin(small(run_films), place.with_name(f"{place.name}-timed"))
    took = time.perf_counter() - begun
    while not is_finished(run):
        workers = {"machine": {"workers": count % 3 // 2, "threads": 1}}
        has_begun = run.config_file.exists()
        job = (lambda: resume(place, layers=(workers,))) if has_begun else (lambda: begin(small(run_films), place))  # noqa: B023
        if count == kills:
            job()
        elif not forked(job, float(stream.uniform(1)[0]) * took):
            count += 1
        if run.config_file.exists():
            check(run, whole_run)
    same(run, whole_run)
    return count


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that were forked")
def test_a_run_that_is_killed_at_random_moments_ends_with_the_same_bits(
    run_films: Path, whole_run: RunDirectory, tmp_path: Path
):  # fmt: skip
    stream, count, runs = Stream("kills"), 0, 0
    while count < 30:
        count += killed(run_films, whole_run, tmp_path / str(runs), 10, stream)
        runs += 1
    assert runs >= 3


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that were forked")
def test_a_thousand_kills(run_films: Path, whole_run: RunDirectory, tmp_path: Path):
    stream, count, runs = Stream("kills", seed=1), 0, 0
    while count < 1000:
        count += killed(run_films, whole_run, tmp_path / str(runs), 12, stream)
        runs += 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork: asks what a forked process holds")
def test_what_was_forked_from_a_run_does_not_hold_its_folder(whole_run: RunDirectory):
    reader, writer = os.pipe()
    with whole_run.held():
        child = os.fork()
        if child == 0:
            os.write(writer, b"here")
            time.sleep(60)
            os._exit(0)
    try:
        assert os.read(reader, 4) == b"here"
        with whole_run.held():
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


# ------------------------------------------------------------------------------ the disk
class Disk:
    """Fails at call number `at` of those that write: with an error, or after half of the bytes."""

    def __init__(self, at: int, number: int, is_torn: bool) -> None:
        self.at, self.number, self.is_torn, self.calls = at, number, is_torn, 0

    def fails(self) -> bool:
        self.calls += 1
        return self.calls == self.at

    def install(self, patch: pytest.MonkeyPatch) -> None:
        write, fsync, replace, add, note = os.write, os.fsync, os.replace, ledger.Ledger.add, Metrics.add

        def failure() -> OSError:
            return OSError(self.number, os.strerror(self.number))

        def written(descriptor: int, data: Any) -> int:
            if self.fails():
                if self.is_torn:
                    write(descriptor, memoryview(data)[: len(data) // 2])
                raise failure()
            return write(descriptor, data)

        def synced(descriptor: int) -> None:
            if self.fails():
                raise failure()
            fsync(descriptor)

        def replaced(*names: Any) -> None:
            if self.fails():
                raise failure()
            replace(*names)

        def added(own: ledger.Ledger, kind: str, **fields: Any) -> None:
            if self.fails():
                if self.is_torn:
                    line = ledger.written(kind, fields, own.head)
                    own._file.write(line[: len(line) // 2])
                    own._file.flush()
                raise failure()
            add(own, kind, **fields)

        def noted(own: Metrics, kind: str, **values: Any) -> None:
            if self.fails():
                if self.is_torn:
                    own._file.write(b'{"kind": "st')
                    own._file.flush()
                raise failure()
            note(own, kind, **values)

        patch.setattr(os, "write", written)
        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "replace", replaced)
        patch.setattr(ledger.Ledger, "add", added)
        patch.setattr(Metrics, "add", noted)


KINDS = [(errno.ENOSPC, False), (errno.EIO, False), (errno.ENOSPC, True)]


@pytest.mark.parametrize("step", [19, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("number", "is_torn"), KINDS, ids=["full", "EIO", "torn"])
def test_whatever_write_fails_the_run_goes_on_with_the_same_bits(
    run_films: Path, whole_run: RunDirectory, tmp_path: Path, number: int, is_torn: bool, step: int
):  # fmt: skip
    config, at, faults, place = small(run_films), 1, 0, tmp_path / "run"
    while True:
        disk = Disk(at, number, is_torn)
        with pytest.MonkeyPatch.context() as patch:
            disk.install(patch)
            try:
                begin(config, place)
                break
            except StateError as error:
                assert os.strerror(number) in str(error) and f"kinone train --resume {place}" in str(error)
        faults += 1
        run = RunDirectory(place)
        if run.config_file.exists():
            check(run, whole_run)
            with pytest.MonkeyPatch.context() as patch:
                Disk(11, number, is_torn).install(patch)  # once more, unless so little is left to write
                with suppress(StateError):
                    resume(place)
            check(run, whole_run)
            if not is_finished(run):
                resume(place)
            same(run, whole_run)
        place, at = tmp_path / f"run-{at}", at + step
    assert faults >= 6
    assert disk.calls < at, "every part of the run had its turn"


def test_a_folder_in_which_nothing_can_be_written(run_films: Path, tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(KinoneError, match=r"a folder .* that can be made"):
        begin(small(run_films), tmp_path / "file" / "run")
