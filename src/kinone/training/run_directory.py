"""The folder of a run: what lies in it, and the order in which it is written, so that nothing is lost at any moment."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kinone.errors import ArgumentError, DataError, FormatError, StateError
from kinone.formats.atomic import write_bytes
from kinone.formats.checkpoint import save_checkpoint
from kinone.formats.safetensors import DIGEST, read_header
from kinone.training.config import RunConfig, as_toml, read_config

WHERE = "run"
_FILE = re.compile(r"step-(\d+)\.safetensors")


class RunDirectory:
    """config.toml, environment.json, ledger.jsonl, metrics.jsonl, checkpoints/ and checkpoints.json, report.html.

    `last` and `best` name the files of checkpoints.json: there at any moment once there was one, and whole.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config_file, self.environment = self.path / "config.toml", self.path / "environment.json"
        self.ledger, self.metrics = self.path / "ledger.jsonl", self.path / "metrics.jsonl"
        self.checkpoints, self.index = self.path / "checkpoints", self.path / "checkpoints.json"
        self.stop, self.report = self.path / "STOP", self.path / "report.html"

    # ------------------------------------------------------------------------------ beginning
    @classmethod
    def create(cls, path: str | os.PathLike[str], config: RunConfig, environment: dict[str, Any]) -> "RunDirectory":
        """A new run: its folder with configuration and environment."""
        run = cls(path)
        if run.config_file.exists():
            hint = f"kinone train --resume {run.path} goes on with it."
            raise ArgumentError(WHERE, "a folder without a run", str(run.path), hint=hint)
        strangers = [p.name for p in run.path.iterdir() if not run.is_begun(p)] if run.path.is_dir() else []
        if strangers or (run.path.exists() and not run.path.is_dir()):
            raise ArgumentError(WHERE, "an empty folder, or a new one", f"{run.path} with {', '.join(strangers[:3])}")
        try:
            run.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError(WHERE, f"a folder {run.path} that can be made", error.strerror or str(error)) from None
        write_bytes(run.environment, (json.dumps(environment, indent=1, ensure_ascii=False) + "\n").encode())
        write_bytes(run.config_file, as_toml(config).encode())  # last: with it the folder is a run
        return run

    def is_begun(self, path: Path) -> bool:
        """Whether that is what a process left that was killed before this folder was a run."""
        is_empty = self.checkpoints.is_dir() and not any(self.checkpoints.iterdir())
        return path.name.startswith(".") or (is_empty and path in (self.checkpoints, self.environment))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "RunDirectory":
        """The run that is there."""
        run = cls(path)
        if not run.config_file.is_file():
            got = "no such folder" if not run.path.is_dir() else "no config.toml in it"
            raise ArgumentError(WHERE, f"a run in {run.path}", got)
        return run

    @staticmethod
    def free(folder: Path, name: str) -> Path:
        """The next of folder/name-1, folder/name-2, … that is not there."""
        taken = [int(m[1]) for p in (folder.iterdir() if folder.is_dir() else ()) if
                 (m := re.fullmatch(rf"{re.escape(name)}-(\d+)", p.name))]  # fmt: skip
        return folder / f"{name}-{max(taken, default=0) + 1}"

    def config(self) -> RunConfig:
        """What the run was made from."""
        return RunConfig().changed(read_config(self.config_file))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else writes into the folder while the block runs; a process that is killed lets go of it."""
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        _held.add(descriptor)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StateError(WHERE, f"{self.path} to be free", "another process that trains in it") from None
            yield
        finally:
            _held.discard(descriptor)
            os.close(descriptor)

    # ------------------------------------------------------------------------------ checkpoints
    def named(self) -> dict[str, str]:
        """{"last": file, "best": file}, as far as there are such."""
        try:
            found = json.loads(self.index.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise FormatError(str(self.index), "names of checkpoints", str(error)) from None
        if not isinstance(found, dict) or not all(isinstance(v, str) and _FILE.fullmatch(v) for v in found.values()):
            raise FormatError(str(self.index), "names of checkpoints", "something else")
        return found

    def checkpoint(self, which: str = "last") -> Path:
        """The file of the `last` or `best` checkpoint."""
        name = self.named().get(which)
        if name is None:
            raise StateError(WHERE, f"a checkpoint of {self.path}", f"none that is {which}")
        return self.checkpoints / name

    def steps(self) -> dict[int, Path]:
        """The checkpoints that are there, by step, ascending."""
        found = {int(m[1]): p for p in self.checkpoints.iterdir() if (m := _FILE.fullmatch(p.name))}
        return dict(sorted(found.items()))

    def save(self, step: int, **parts: Any) -> str:
        """Write the checkpoint of that step, durably; gives the digest of its file. What was there stays."""
        file = self.checkpoints / file_of(step)
        save_checkpoint(file, has_streams=False, **parts)  # those of a step depend on its number alone
        return digest_in(file)

    def point(self, last: int, best: int | None, keep: int) -> None:
        """Name the last and the best; then those that nobody needs any more may go."""
        names = {"last": file_of(last)} | ({} if best is None else {"best": file_of(best)})
        write_bytes(self.index, (json.dumps(names) + "\n").encode())
        self.prune(last, best, keep)

    def prune(self, last: int, best: int | None, keep: int) -> None:
        """Remove the checkpoints before `last` but for the best and the latest `keep`; 0 keeps all."""
        if keep:
            steps = [step for step in self.steps() if step <= last]
            for step in [s for s in steps[:-keep] if s not in (last, best)]:
                (self.checkpoints / file_of(step)).unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove what a killed process left half-written."""
        for folder in (self.path, self.checkpoints):
            for stale in folder.glob(".*.tmp"):
                with suppress(FileNotFoundError):
                    stale.unlink()


_held: set[int] = set()


def _let_go() -> None:
    """A loader's worker, forked from the process that holds a folder, must not hold it on after that was killed."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def file_of(step: int) -> str:
    """The name of a checkpoint.

    >>> file_of(120)
    'step-120.safetensors'
    """
    return f"step-{step}.safetensors"


def digest_in(file: Path) -> str:
    """The digest that a checkpoint carries: of all that is in it."""
    return read_header(file).metadata[DIGEST]


class Metrics:
    """metrics.jsonl: a line for each step and epoch with what the clock says, flushed as it is written."""

    def __init__(self, path: Path) -> None:
        try:
            whole = path.read_bytes()
        except FileNotFoundError:
            whole = b""
        end = whole.rfind(b"\n") + 1  # a line that was cut off in the middle goes
        self._file = path.open("ab")
        if end < len(whole):
            self._file.truncate(end)

    def add(self, kind: str, **values: Any) -> None:
        """Write a line; numbers that JSON does not know become text."""
        line = json.dumps({"kind": kind, **{k: _plain(v) for k, v in values.items()}}, ensure_ascii=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """All whole lines; where a resumed run made a step again, both are there, the later one counts."""
    try:
        lines = Path(path).read_bytes().split(b"\n")[:-1]
        found = [json.loads(line) for line in lines]
    except OSError as error:
        raise DataError(WHERE, f"the file {path}", error.strerror or str(error)) from None
    except ValueError as error:
        raise FormatError(str(path), "a JSON object in each line", str(error)) from None
    for number, line in enumerate(found, 1):
        if not isinstance(line, dict) or not isinstance(line.get("kind"), str):
            raise FormatError(str(path), "a JSON object with its kind in each line", f"another in line {number}")
    return found
