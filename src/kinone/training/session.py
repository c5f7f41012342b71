"""A run from the outside: begin one, go on with one."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinone import kernels
from kinone.data.module import Progress
from kinone.errors import ArgumentError, FormatError, StateError
from kinone.kernels import dispatch, settings
from kinone.training import ledger
from kinone.training.config import RunConfig
from kinone.training.environment import check_profile, check_sources, digest_of_sources, record
from kinone.training.loop import Loop, Watcher, progress_in
from kinone.training.run_directory import Metrics, RunDirectory
from kinone.training.stopping import requests
from kinone.training.task import Task, memory


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `why` is empty if it came to its end, else who asked it to stop."""

    run: RunDirectory
    why: str
    loop: Loop


def begin(
    config: RunConfig, folder: str | Path | None = None, *, watchers: tuple[Watcher, ...] = (),
    progress: Progress | None = None, task: Task | None = None,
) -> Outcome:  # fmt: skip
    """Train what `config` says in a new folder (by default the next free one of runs/)."""
    with threads_of(config):
        task = task or Task(config, progress)  # before anything is written: whatever is wrong with it shows here
        path = Path(folder) if folder is not None else RunDirectory.free(Path("runs"), config.data.dataset)
        with _failures(path):
            run = RunDirectory.create(path, config, record())
            return _train(run, task, watchers, None)


def resume(
    folder: str | Path, *, layers: tuple[dict[str, Any], ...] = (), watchers: tuple[Watcher, ...] = (),
    progress: Progress | None = None,
) -> Outcome:  # fmt: skip
    """Go on with the run in `folder` where its last checkpoint stands; `layers` may change [machine] alone."""
    run = RunDirectory.open(folder)
    first = run.config()
    config = first
    for layer in layers:
        config = config.changed(layer)
    if changed := first.differences(config):
        hint = "a new run has a folder of its own; --threads, --workers and all of [machine] may change."
        raise ArgumentError("resume", "the configuration that the run was begun with", f"another {', '.join(changed)}",
                            hint=hint)  # fmt: skip
    with threads_of(config), _failures(run.path):
        check(run, first)
        named = run.named()
        if "last" in named and not (run.checkpoints / named["last"]).is_file():
            raise FormatError(str(run.path), f"the checkpoint {named['last']}", "none")
        if "last" in named:  # which has the weights; those that it began with may be gone
            config = with_machine(config, load_checkpoint="")
        return _train(run, Task(config, progress), watchers, run.checkpoint() if "last" in named else None)


def check(run: RunDirectory, config: RunConfig) -> None:
    """Refuse to go on with a run of another profile, version or configuration, or one that has ended."""
    if not run.ledger.is_file():
        return
    chain = ledger.read(run.ledger)
    if not chain.entries:
        return  # killed before the first line was whole
    head = chain.entries[0].fields
    if chain.is_closed:
        raise StateError("resume", "a run that has not come to its end", f"{run.path}, which has",
                         hint="--run-dir begins another.")  # fmt: skip
    check_profile("resume", head["profile"])
    check_sources("resume", head["sources"])
    if head["config"] != ledger.plain(config.recorded()):
        hint = "put config.toml back as it was."
        raise StateError("resume", "the configuration of the ledger's first line in config.toml", "another", hint=hint)


def _train(run: RunDirectory, task: Task, watchers: tuple[Watcher, ...], last: Path | None) -> Outcome:
    with ExitStack() as stack:
        stack.enter_context(run.held())
        run.clean()
        run.stop.unlink(missing_ok=True)
        metrics = Metrics(run.metrics)
        stack.callback(metrics.close)
        if last is None:
            run.ledger.unlink(missing_ok=True)
        lines = ledger.Ledger(run.ledger, ledger.ZEROS if last is None else progress_in(last)["head"])
        stack.callback(lines.close)
        everyone = (*watchers, MetricsWriter(metrics, is_resumed=last is not None))
        asks = stack.enter_context(requests(run.stop, lambda who: [w.on_request(who) for w in everyone]))
        loop = Loop(task, run, lines, watchers=everyone, asks=asks)
        if last is None:
            open_ledger(lines, task)
            loop.save()
        else:
            loop.restore(last)
            run.prune(loop.step, loop.best.get("step"), task.config.machine.keep)
        why = loop.go()
        if why:
            metrics.add("stopped", step=loop.step, by=why, time=time.time())
        with suppress(FileNotFoundError):
            run.stop.unlink()
    return Outcome(run, why, loop)


def open_ledger(lines: Any, task: Task) -> None:
    """The lines that stand before the first step."""
    lines.add("run", format=ledger.FORMAT, profile=dispatch.profile(), config=task.config.recorded(),
              data=task.data.digest(), sources=digest_of_sources())  # fmt: skip
    for fields in task.data.replaced():
        lines.add("replaced", **fields)


class MetricsWriter(Watcher):
    """Writes what happens into metrics.jsonl."""

    def __init__(self, metrics: Metrics, is_resumed: bool) -> None:
        self.metrics, self.is_resumed = metrics, is_resumed

    def on_start(self, loop: Loop) -> None:
        task, machine = loop.task, loop.config.machine
        kind = "resumed" if self.is_resumed else "started"
        self.metrics.add(
            kind, step=loop.step, time=time.time(), steps=task.steps, epochs=loop.config.loop.epochs,
            batches=task.batches, workers=machine.workers, threads=machine.threads, films=task.data.sizes(),
            classes=list(task.data.classes),
        )  # fmt: skip

    def on_step(self, loop: Loop, values: dict[str, Any]) -> None:
        self.metrics.add("step", **values, memory=memory(), time=time.time())

    def on_epoch(self, loop: Loop, metrics: dict[str, Any], seconds: float) -> None:
        self.metrics.add("epoch", **metrics, seconds=seconds, memory=memory(), time=time.time())

    def on_test(self, loop: Loop, metrics: dict[str, Any]) -> None:
        self.metrics.add("test", step=loop.best["step"], **metrics, time=time.time())


@contextmanager
def threads_of(config: RunConfig) -> Iterator[None]:
    """The threads that the configuration asks for, while the block runs."""
    if not config.machine.threads:
        yield
        return
    before = settings.threads_now()
    kernels.set_threads(config.machine.threads)
    try:
        yield
    finally:
        kernels.set_threads(before)


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    """A disk that is full or fails is no bug: say what it said, and that the run can go on."""
    try:
        yield
    except OSError as error:
        if isinstance(error, (ArgumentError, StateError)) or error.errno is None:
            raise
        hint = f"what is there is whole: kinone train --resume {path} goes on."
        raise StateError("run", f"to write in {path}", error.strerror or str(error), hint=hint) from error


def with_machine(config: RunConfig, **values: Any) -> RunConfig:
    """The same run elsewhere, or otherwise computed."""
    return replace(config, machine=replace(config.machine, **values))
