"""What a fit shows while it runs: a bar with rate and time left in a terminal, a line for each epoch elsewhere."""

import sys
import time
from typing import Any

from kinone.training.callbacks import Callback


class Progress(Callback):
    """epoch 3/10 ━━━━━━━━ 42/120 · 1,234 samples/s · 0:12 left · loss 0.1234 …: with rich in a terminal, else plain."""

    def __init__(self, stream: Any = None, is_live: bool | None = None) -> None:
        self.stream, self._asked = stream, is_live
        self._bar: Any = None

    def on_fit_begin(self, fit: Any) -> None:
        self._out = sys.stdout if self.stream is None else self.stream
        self._begun, self._done = time.perf_counter(), 0
        is_live = self._out.isatty() if self._asked is None else self._asked
        self._bar = _bar(self._out) if is_live else None

    def on_epoch_begin(self, fit: Any) -> None:
        self._epoch_begun = self._trained = time.perf_counter()
        if self._bar is not None:
            self._bar.begin(_head(fit), fit.batches)

    def on_batch_end(self, fit: Any) -> None:
        self._trained = time.perf_counter()
        if self._bar is not None:
            self._bar.show(
                fit.batch, f"{_rate(fit, self._epoch_begun)} · {_left(fit, self._epoch_begun)}{_figures(fit.logs)}"
            )

    def on_validation_begin(self, fit: Any) -> None:
        if self._bar is not None:
            self._bar.show(fit.batch, f"validating …{_figures(fit.logs)}")

    def on_epoch_end(self, fit: Any) -> None:
        self._done += 1
        spent = fit.logs["seconds"]
        rate = fit.samples_seen / max(self._trained - self._epoch_begun, 1e-9)  # of training, validation aside
        parts = [_head(fit), duration(spent), f"{rate:,.0f} samples/s"]
        left = fit.epochs - fit.epoch - 1
        if left and not fit.stopping:
            each = (time.perf_counter() - self._begun) / self._done
            parts.append(f"{duration(left * each)} left")
        self._line(" · ".join(parts) + _figures(fit.logs))

    def on_fit_end(self, fit: Any) -> None:
        if self._bar is not None:
            self._bar.end()
        if fit.stopping:
            self._line(f"ended: {fit.stopping}")
        self._bar = None

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.line(text)
        else:
            self._out.write(text + "\n")
            self._out.flush()


class _Bar:
    """rich's progress bar: what is above it are the epochs that are over."""

    def __init__(self, out: Any) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.console = Console(file=out, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self.progress = Progress(*columns, console=self.console, transient=True, refresh_per_second=8)
        self.task: Any = None
        self.progress.start()

    def begin(self, head: str, total: int | None) -> None:
        if self.task is None:
            self.task = self.progress.add_task(head, total=total, text="")
        else:
            self.progress.reset(self.task, total=total, description=head, text="")

    def show(self, done: int, text: str) -> None:
        self.progress.update(self.task, completed=done, text=text)

    def line(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def end(self) -> None:
        self.progress.stop()


def _bar(out: Any) -> _Bar | None:
    """None where rich is not installed: plain lines do too."""
    try:
        return _Bar(out)
    except ImportError:
        return None


def _head(fit: Any) -> str:
    width = len(str(fit.epochs))
    return f"epoch {fit.epoch + 1:>{width}}/{fit.epochs}"


def _rate(fit: Any, begun: float) -> str:
    return f"{fit.samples_seen / max(time.perf_counter() - begun, 1e-9):,.0f} samples/s"


def _left(fit: Any, begun: float) -> str:
    if not fit.batches or not fit.batch:
        return duration(time.perf_counter() - begun)
    return f"{duration((time.perf_counter() - begun) / fit.batch * max(fit.batches - fit.batch, 0))} left"


def _figures(logs: dict[str, float]) -> str:
    """Each figure, with that of the validation behind it."""
    text = ""
    for name, value in logs.items():
        own = name.removeprefix("val_")
        if name != "seconds" and (own == name or own not in logs):
            behind = f" (val {logs[f'val_{name}']:.4g})" if f"val_{name}" in logs else ""
            text += f" · {name} {value:.4g}{behind}"
    return text


def duration(seconds: float) -> str:
    """Short enough for a line.

    >>> duration(0.0123), duration(5.24), duration(75), duration(7384)
    ('12 ms', '5.2 s', '1:15', '2:03:04')
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
