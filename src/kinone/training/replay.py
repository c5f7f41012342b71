"""Computing steps of a run again, from its nearest checkpoint, and comparing every line with the ledger's."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinone.data.module import Progress
from kinone.errors import ArgumentError, FormatError, KinoneError
from kinone.formats.atomic import write_bytes
from kinone.inspection.digest import Digest, digest_of, digesting
from kinone.training import ledger
from kinone.training.config import RunConfig
from kinone.training.environment import check_profile, digest_of_sources
from kinone.training.loop import Loop, Watcher, progress_in
from kinone.training.run_directory import RunDirectory
from kinone.training.session import open_ledger, threads_of, with_machine
from kinone.training.task import Task


class Differs(Exception):  # noqa: N818 (it is an answer, not an error)
    """A line came out otherwise than the ledger has it."""


@dataclass(frozen=True)
class Replay:
    """What came of it: the steps that agree, and the first line that does not, with what is different in it."""

    first: int
    last: int
    start: str  # the checkpoint that it began from, or "the beginning"
    line: ledger.Entry | None = None
    differences: tuple[str, ...] = ()
    has_other_sources: bool = False

    @property
    def is_equal(self) -> bool:
        """Whether every line agrees."""
        return self.line is None


class Ended(Exception):  # noqa: N818
    """The ledger has no more lines: that of a run that was interrupted."""


class Comparing:
    """Takes a loop's lines, and compares each with the next of a ledger."""

    def __init__(self, entries: list[ledger.Entry], after: str) -> None:
        at = 0 if after == ledger.ZEROS else next(i for i, e in enumerate(entries, 1) if e.hash == after)
        self.left = iter(entries[at:])
        self.head = after
        self.failed: tuple[ledger.Entry, tuple[str, ...]] | None = None
        self.ignores: set[str] = set()

    def add(self, kind: str, **fields: Any) -> None:
        entry = next(self.left, None)
        if entry is None:
            raise Ended
        mine = ledger.parsed(ledger.written(kind, fields, entry.prev), entry.number)
        own = {k: v for k, v in mine.fields.items() if k not in self.ignores}
        theirs = {k: v for k, v in entry.fields.items() if k not in self.ignores}
        if (kind, repr(own)) != (entry.kind, repr(theirs)):
            self.failed = entry, told(mine, entry)
            raise Differs
        self.head = entry.hash

    def sync(self) -> None:
        """Nothing is written."""


def told(mine: ledger.Entry, theirs: ledger.Entry) -> tuple[str, ...]:
    """In words, what differs between a line and the ledger's."""
    if mine.kind != theirs.kind:
        return (f"a line of kind {mine.kind}, not {theirs.kind}",)
    names = sorted({*mine.fields, *theirs.fields})
    return tuple(f"{name}: {_short(mine.fields.get(name))} computed, {_short(theirs.fields.get(name))} in the ledger"
                 for name in names if repr(mine.fields.get(name)) != repr(theirs.fields.get(name)))  # fmt: skip


def _short(value: Any) -> str:
    text = value.hex() if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:16]}…"


def replay(
    folder: str | Path, first: int = 1, last: int | None = None, *, watchers: tuple[Watcher, ...] = (),
    progress: Progress | None = None, layers: tuple[dict[str, Any], ...] = (),
    digests: dict[int, list[Digest]] | None = None,
) -> Replay:  # fmt: skip
    """Make steps `first` to `last` (by default all, the closing lines too) again; every line must agree exactly.

    `layers` may change [machine]. `digests`, if it is given, gets those of every operator's results in each step.
    """
    run = RunDirectory.open(folder)
    chain = ledger.read(run.ledger) if run.ledger.is_file() else ledger.Chain([])
    steps = [entry.fields["step"] for entry in chain.entries if entry.kind == "step"]
    if chain.faults or not steps:
        got = chain.faults[0] if chain.faults else "none"
        raise FormatError(
            str(run.ledger), "a ledger with steps, whose lines fit", got, hint="kinone verify tells more."
        )
    end = steps[-1]
    if not 1 <= first <= (end if last is None else last) <= end:
        raise ArgumentError("replay", f"steps from 1 to {end}", f"{first}:{'' if last is None else last}")
    opening = chain.entries[0].fields
    check_profile("replay", opening["profile"])
    config = configured(run, opening, layers)
    with threads_of(config), tempfile.TemporaryDirectory(prefix="kinone-replay-") as scratch:
        copy = RunDirectory(scratch)
        copy.checkpoints.mkdir()
        file, head, begins = nearest(run, chain.entries, first)
        task = Task(config if file is None else with_machine(config, load_checkpoint=""), progress)
        lines = Comparing(chain.entries, head)
        if opening["sources"] != digest_of_sources():
            lines.ignores = {"sources"}
        wanted = range(first, (last or end) + 1) if digests is not None else ()

        def around(step: int) -> AbstractContextManager[Any]:
            return nullcontext() if digests is None or step not in wanted else noted(task, step, digests)

        loop = Loop(task, copy, lines, watchers=watchers, around=around, best_from=run)
        try:
            if file is None:
                open_ledger(lines, task)
                loop.save()
            else:
                loop.restore(file)
            loop.go(None if last is None or (last == end and chain.is_closed) else last)
        except Differs:
            entry, differences = lines.failed or (chain.entries[0], ())
            return Replay(first, loop.step, begins, entry, differences, bool(lines.ignores))
        except Ended:
            pass
        return Replay(first, last or end, begins, None, (), bool(lines.ignores))


def configured(run: RunDirectory, opening: dict[str, Any], layers: tuple[dict[str, Any], ...]) -> RunConfig:
    """The configuration of the ledger's first line, on this machine; replays keep all of their few checkpoints."""
    config = run.config()
    for layer in layers:
        config = config.changed(layer)
    if ledger.plain(config.recorded()) != opening["config"]:
        hint = "kinone verify names the keys."
        raise ArgumentError("replay", "the configuration of the ledger's first line in config.toml", "another",
                            hint=hint)  # fmt: skip
    return with_machine(config, keep=0)


def nearest(run: RunDirectory, entries: list[ledger.Entry], first: int) -> tuple[Path | None, str, str]:
    """The last checkpoint before step `first` that belongs to this ledger, its head, and what to call it."""
    hashes = {entry.hash for entry in entries}
    for step, file in reversed(run.steps().items() if run.checkpoints.is_dir() else {}.items()):
        if step < first:
            try:
                head = progress_in(file)["head"]
            except (KinoneError, OSError):
                continue
            if head in hashes:
                return file, head, file.name
    return None, ledger.ZEROS, "the beginning"


# ------------------------------------------------------------------------------ operators of a step
@contextmanager
def noted(task: Task, step: int, digests: dict[int, list[Digest]]) -> Iterator[None]:
    """Notes the digest of each operator and rule of the step, then of each parameter after it."""
    with digesting() as found:
        try:
            yield
        finally:
            digests[step] = [*found.digests(), *after(task, len(found.digests()))]


def after(task: Task, number: int) -> list[Digest]:
    """What the optimizer left: the digest of each parameter."""
    return [Digest(number + i, f"{type(task.optimizer).__name__} step on {name}", digest_of([p.data]))
            for i, (name, p) in enumerate(task.model.named_parameters())]  # fmt: skip


def write_digests(run: RunDirectory, digests: dict[int, list[Digest]]) -> Path:
    """Into the run's folder digests/, a file for each step, for those who compute elsewhere."""
    folder = run.path / "digests"
    folder.mkdir(exist_ok=True)
    for step, found in digests.items():
        text = "".join(json.dumps(list(digest)) + "\n" for digest in found)
        write_bytes(folder / f"step-{step}.jsonl", text.encode())
    return folder


def read_digests(run: RunDirectory, step: int) -> list[Digest] | None:
    """What `kinone replay --digests` wrote of that step; None if it did not."""
    file = run.path / "digests" / f"step-{step}.jsonl"
    try:
        return [Digest(*json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise FormatError(str(file), "digests of operators", str(error)) from None
