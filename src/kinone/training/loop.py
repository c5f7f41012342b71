"""The loop of a run: steps, epochs, checkpoints, and a line of the ledger for each.

It is the same loop that trains, goes on after an interruption and replays: what differs is where its lines go (into a
ledger, or against one that is there) and where its checkpoints lie.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from kinone import random
from kinone.errors import NumericsError, StateError
from kinone.formats.checkpoint import load_checkpoint
from kinone.formats.files import read
from kinone.inspection import detect_anomaly
from kinone.optim.clip import clip_factor
from kinone.optim.plateau import ReduceLROnPlateau
from kinone.training.ledger import digest_of_ids, digest_of_state
from kinone.training.run_directory import RunDirectory, digest_in, file_of
from kinone.training.scores import answers, figures, rank
from kinone.training.shards import Shards
from kinone.training.task import Task


class Lines(Protocol):
    """Where the loop's lines go: `Ledger`, or what compares them with one."""

    head: str

    def add(self, kind: str, **fields: Any) -> None: ...
    def sync(self) -> None: ...


class Watcher:
    """Is told what happens; override some of it. Nothing of it reaches the ledger."""

    def on_start(self, loop: "Loop") -> None:
        """The loop is about to make its first step."""

    def on_request(self, who: str) -> None:
        """Somebody asked the run to end: "Ctrl-C" or "SIGTERM"."""

    def on_step(self, loop: "Loop", values: dict[str, Any]) -> None:
        """A step was made."""

    def on_evaluation(self, loop: "Loop", part: str, done: int, of: int) -> None:
        """So many batches of a part were evaluated."""

    def on_epoch(self, loop: "Loop", metrics: dict[str, Any], seconds: float) -> None:
        """An epoch is over, validation included."""

    def on_test(self, loop: "Loop", metrics: dict[str, Any]) -> None:
        """The best weights were tested."""


class Loop:
    """Where a run stands, and what moves it on.

    `asks()` is called after each step: text ends the run there, with a checkpoint. `around(step)` gives a context in
    which that step is made.
    """

    def __init__(
        self, task: Task, run: RunDirectory, lines: Lines, *, watchers: tuple[Watcher, ...] = (),
        asks: Callable[[], str] = str, around: Callable[[int], AbstractContextManager[Any]] = lambda _: nullcontext(),
        best_from: RunDirectory | None = None,
    ) -> None:  # fmt: skip
        config = task.config
        self.task, self.config, self.run, self.lines = task, config, run, lines
        self.watchers, self.asks, self.around = watchers, asks, around
        self.best_from = best_from
        self.loader = task.data.train_loader(drop_last=task.drops_last, has_indices=True)
        self.names = task.data.names("train")
        self.shards = Shards(task.model, task.loss, config.loop.shards, config.loop.seed)
        self.step = 0
        self.epoch = 1  # the one at hand
        self.losses, self.count = 0.0, 0  # of this epoch
        self.best: dict[str, Any] = {}  # step, epoch and metrics of the best
        self.bad_epochs = 0
        self.is_over = False
        self.saved = -1  # the step of the last checkpoint

    # ------------------------------------------------------------------------------ the steps
    def go(self, until: int | None = None) -> str:
        """Make steps up to number `until`, or all; gives why it ended before the end of the run, or ""."""
        for watcher in self.watchers:
            watcher.on_start(self)
        states = random.snapshot()
        try:
            self.task.model.train()
            while not self.is_over:
                why = self._epoch(until)
                if why or (until is not None and self.step >= until):
                    return why
            self._end()
        finally:
            random.restore(states)
        return ""

    def _epoch(self, until: int | None) -> str:
        begun, asked, waited = time.perf_counter(), time.perf_counter(), 0.0
        batches = iter(self.loader)
        try:
            for ids, (x, y) in batches:
                now = time.perf_counter()
                waited += now - asked
                with self.around(self.step + 1):
                    values = self._step(ids, x, y)
                asked = time.perf_counter()
                values |= {"samples": len(x), "seconds": asked - now, "waited": waited}
                waited = 0.0
                for watcher in self.watchers:
                    watcher.on_step(self, values)
                is_last = self.loader.epoch >= self.epoch or self.step == self.task.steps
                if is_last:
                    break
                if self.step % self.config.loop.checkpoint_every == 0:
                    self.save()
                why = self.asks()
                if why or self.step == until:
                    if why and self.saved != self.step:
                        self.save(is_noted=False)
                    return why
                asked = time.perf_counter()
        finally:
            getattr(batches, "close", bool)()  # the workers of an epoch that ends here
        self._epoch_end(begun)
        return "" if self.is_over else self.asks()

    def _step(self, ids: Any, x: Any, y: Any) -> dict[str, Any]:
        own, task, step = self.config.loop, self.task, self.step + 1
        with detect_anomaly(self.run.path) if self.config.machine.anomaly else nullcontext():
            found = self.shards.gradients(x, y, step)
        if not (found.loss - found.loss == 0 and found.norm - found.norm == 0):
            hint = "a smaller --lr, or --clip-norm; --anomaly names the operator where it arises."
            got = f"loss {found.loss}, gradient norm {found.norm}"
            raise NumericsError("train", f"finite numbers in step {step}", got, hint=hint)
        lr = task.optimizer.param_groups[0]["lr"]
        clip = self.config.optimizer.clip_norm
        task.optimizer.step(clip_factor(found.norm, clip) if clip else 1.0)
        if task.schedule is not None and task.schedule.every == "batch":
            task.schedule.step()
        if task.average is not None:
            task.average.update()
        self.step = step
        self.losses, self.count = self.losses + found.loss, self.count + 1
        fields: dict[str, Any] = {
            "step": step, "epoch": self.epoch, "samples": digest_of_ids([self.names[i] for i in ids]), "lr": lr,
            "loss": found.loss, "norm": found.norm,
        }  # fmt: skip
        is_saved = step % own.checkpoint_every == 0 or self.loader.epoch >= self.epoch or step == task.steps
        if is_saved or step % own.digest_every == 0:
            fields |= self.digests()
        self.lines.add("step", **fields)
        return {name: fields[name] for name in ("step", "epoch", "lr", "loss", "norm")}

    def digests(self) -> dict[str, str]:
        """Of the weights and of the optimizer's state as they are now."""
        return {"weights": digest_of_state(self.task.model.state_dict()), "optimizer": digest_of_optimizer(
            self.task.optimizer.state_dict(), self._average())}  # fmt: skip

    def _average(self) -> Any:
        return None if self.task.average is None else self.task.average.state_dict()

    def _epoch_end(self, begun: float) -> None:
        metrics = {"train_loss": self.losses / self.count, **self._scores("validation")}
        if not self.best or rank(metrics) > rank(self.best["metrics"]):
            self.best, self.bad_epochs = {"step": self.step, "epoch": self.epoch, "metrics": metrics}, 0
        else:
            self.bad_epochs += 1
        self.lines.add("epoch", epoch=self.epoch, step=self.step, metrics=metrics)
        if isinstance(self.task.schedule, ReduceLROnPlateau):
            self.task.schedule.step(rank(metrics)[0])
        patience = self.config.loop.patience
        self.is_over = self.step >= self.task.steps or bool(patience and self.bad_epochs >= patience)
        ended, self.epoch, self.losses, self.count = self.epoch, self.epoch + 1, 0.0, 0
        self.save()
        metrics = {"epoch": ended, "step": self.step, "is_best": self.best["epoch"] == ended, **metrics}
        for watcher in self.watchers:
            watcher.on_epoch(self, metrics, time.perf_counter() - begun)

    def _scores(self, part: str) -> dict[str, Any]:
        def tick(done: int, of: int) -> None:
            for watcher in self.watchers:
                watcher.on_evaluation(self, part, done, of)

        task = self.task
        with nullcontext() if task.average is None else task.average.applied():
            found = answers(task.model, task.data.loader_of(task.data.part(part)), task.loss, tick)
        return figures(found, task.data.classes)

    def _end(self) -> None:
        last = digest_of_state(self.task.model.state_dict())
        if self.best["step"] != self.step:
            file = self.run.checkpoints / file_of(self.best["step"])
            if not file.is_file() and self.best_from is not None:
                file = self.best_from.checkpoints / file.name
            self._load(file)
        metrics = self._scores("test")
        self.lines.add("test", step=self.best["step"], metrics=metrics)
        self.lines.add("end", steps=self.step, weights=last)
        self.lines.sync()
        for watcher in self.watchers:
            watcher.on_test(self, metrics)

    # ------------------------------------------------------------------------------ checkpoints
    def save(self, is_noted: bool = True) -> None:
        """A checkpoint of this moment; those at fixed steps have a line in the ledger, others (is_noted=False) none."""
        self.lines.sync()
        progress = {
            "step": self.step, "epoch": self.epoch, "losses": self.losses, "count": self.count, "best": self.best,
            "bad_epochs": self.bad_epochs, "is_over": self.is_over, "loader": self.loader.state_dict(),
            "average": self._average(), "head": self.lines.head, "is_noted": is_noted,
        }  # fmt: skip
        task = self.task
        digest = self.run.save(self.step, model=task.model, optimizer=task.optimizer, schedule=task.schedule,
                               progress=progress)  # fmt: skip
        if is_noted:
            self.lines.add("checkpoint", step=self.step, file=file_of(self.step), digest=digest)
            self.lines.sync()
        self.run.point(self.step, self.best.get("step"), self.config.machine.keep)
        self.saved = self.step

    def restore(self, file: Any) -> None:
        """Go back to where a checkpoint was written; its line, if it has one, is written (or compared) again."""
        progress = self._load(file)
        self.step, self.epoch = progress["step"], progress["epoch"]
        self.losses, self.count = progress["losses"], progress["count"]
        self.best, self.bad_epochs, self.is_over = progress["best"], progress["bad_epochs"], progress["is_over"]
        self.loader.load_state_dict(progress["loader"])
        self.saved = self.step
        if progress["is_noted"]:
            self.lines.add("checkpoint", step=self.step, file=file_of(self.step), digest=digest_in(file))

    def _load(self, file: Any) -> dict[str, Any]:
        task = self.task
        progress = load_checkpoint(file, model=task.model, optimizer=task.optimizer, schedule=task.schedule).progress
        if task.average is not None:
            task.average.load_state_dict(progress["average"])
        return progress


def progress_in(file: Any) -> dict[str, Any]:
    """What a checkpoint says of where its run stood."""
    progress = (read(file).training or {}).get("progress")
    if not isinstance(progress, dict) or not isinstance(progress.get("head"), str):
        raise StateError("run", f"a checkpoint of a run in {file}", "one without progress")
    return progress


def digest_of_optimizer(state: dict[str, Any], average: dict[str, Any] | None) -> str:
    """SHA-256 of an optimizer's state and of averaged weights: their arrays by name, and the rest."""
    flat = {name: value for name, value in state.items() if name != "state"}
    flat |= {f"state.{i}.{name}": array for i, own in state["state"].items() for name, array in own.items()}
    if average is not None:
        flat |= {f"average.{name}": array for name, array in average["averages"].items()}
    return digest_of_state(flat)
