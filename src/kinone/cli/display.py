"""What a run shows while it goes on: a bar with rate, time left and memory, and a line of a table for each epoch."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from kinone.cli.terminal import DIM, GOOD, NAME, TITLE
from kinone.nn.summary import amount
from kinone.training.loop import Loop, Watcher
from kinone.training.progress import duration
from kinone.training.task import memory

_HEAD = ("epoch", "step", "loss", "val loss", "val AUC", "lr", "films/s", "time", "memory")
_MUCH = 0.02  # of the time of steps, spent in waiting for films
_WIDTHS = (7, 7, 8, 9, 9, 9, 8, 7, 9)


class Display(Watcher):
    """In a terminal a live bar below the table; elsewhere the table alone."""

    def __init__(self, out: Console, has_table: bool = True) -> None:
        self.out, self.has_table = out, has_table
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
                   TextColumn("{task.fields[text]}"))  # fmt: skip
        self.bar = Progress(*columns, console=out, transient=True, refresh_per_second=8, disable=not out.is_terminal)
        self.task = self.bar.add_task("", total=None, visible=False, text="")

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def preparing(self, what: str, done: int, of: int) -> None:
        """Data are being made ready."""
        self._show(what, done, of, "")
        if done == of:
            self.bar.update(self.task, visible=False)

    def on_start(self, loop: Loop) -> None:
        self.begun, self.first = time.perf_counter(), loop.step
        self.took = self.waited = 0.0
        self._epoch_begins()
        if self.has_table and not loop.is_over:
            self.out.print(Text(_row(_HEAD), TITLE))

    def _epoch_begins(self) -> None:
        self.films, self.spent = 0, 0.0

    def on_request(self, who: str) -> None:
        self.out.print(
            Text(f"{who}: the run ends after this step" + ("; once more ends it at once" * (who == "Ctrl-C")), DIM)
        )

    def on_step(self, loop: Loop, values: dict[str, Any]) -> None:
        took = values["seconds"] + values["waited"]
        self.films, self.spent, self.took = self.films + values["samples"], self.spent + took, self.took + took
        self.waited += values["waited"]
        self.lr = values["lr"]
        done = (loop.step - 1) % loop.task.batches + 1
        left = (time.perf_counter() - self.begun) / (loop.step - self.first) * (loop.task.steps - loop.step)
        text = (f"{self.films / self.spent:,.0f} films/s · {duration(left)} left · "
                f"{amount(memory(), 'B')} · loss {loop.losses / loop.count:.4f}")  # fmt: skip
        self._show(f"epoch {values['epoch']}/{loop.config.loop.epochs}", done, loop.task.batches, text)

    def on_evaluation(self, loop: Loop, part: str, done: int, of: int) -> None:
        self._show({"validation": "validating", "test": "testing"}[part], done, of, "")

    def on_epoch(self, loop: Loop, metrics: dict[str, Any], seconds: float) -> None:
        if not self.has_table:
            return
        auc = "undefined" if metrics["auc"] is None else f"{metrics['auc']:.4f}"
        rate = f"{self.films / self.spent:,.0f}" if self.spent else ""
        cells = (f"{metrics['epoch']}/{loop.config.loop.epochs}", str(metrics["step"]), f"{metrics['train_loss']:.4f}",
                 f"{metrics['loss']:.4f}", auc, f"{self.lr:.2e}" if self.spent else "", rate, duration(seconds),
                 amount(memory(), "B"))  # fmt: skip
        self.out.print(Text(_row(cells)) + Text("  best" if metrics["is_best"] else "", GOOD))
        self._epoch_begins()

    def on_test(self, loop: Loop, metrics: dict[str, Any]) -> None:
        if not self.has_table:
            return
        auc = "undefined" if metrics["auc"] is None else f"{metrics['auc']:.4f}"
        lost = [name for name, value in metrics["aucs"].items() if value is None]
        if loop.step > self.first:
            self.out.print(Text("\n" + self._spent(loop), DIM))
        self.out.print(Text(f"\ntest: mean ROC-AUC {auc}, loss {metrics['loss']:.4f}", TITLE)
                       + Text(f" (the weights of epoch {loop.best['epoch']})", DIM))  # fmt: skip
        for name, value in sorted(metrics["aucs"].items(), key=lambda pair: -1 if pair[1] is None else -pair[1]):
            if value is not None:
                bar = "━" * round(40 * max(value - 0.5, 0))
                self.out.print(Text(f"  {name:<20}{value:.3f}  ") + Text(bar, NAME))
        if lost:
            self.out.print(
                Text(f"  undefined, since the test part has no such film or no other: {', '.join(lost)}", DIM)
            )

    def _spent(self, loop: Loop) -> str:
        """How long the steps of this process took, and how much of that was waiting."""
        share, workers = self.waited / self.took, loop.config.machine.workers
        hint = f": --workers {workers + 1} prepares them ahead" if share >= _MUCH else ""
        return f"{loop.step - self.first} steps in {duration(self.took)}, {share:.1%} of it waiting for films{hint}"

    def _show(self, what: str, done: int, of: int, text: str) -> None:
        self.bar.update(self.task, description=what, completed=done, total=of, text=text, visible=True)


def _row(cells: tuple[str, ...]) -> str:
    return "".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
