"""The callback that lets a learning-rate schedule step."""

import inspect
from typing import Any

from kinone.errors import ArgumentError
from kinone.nn.contracts import ScheduleLike
from kinone.training.callbacks import Callback


class Scheduling(Callback):
    """Steps a schedule after each "epoch", or each "batch": each step of the optimizer. `fit(schedule=…)` makes it.

    Without `every` the schedule's own is taken, or "epoch". A schedule whose `step` takes an argument is given the
    figure called `monitor`: by default the validation loss, or the training loss if there is no validation.
    """

    def __init__(self, schedule: Any, every: str | None = None, monitor: str | None = None) -> None:
        if not isinstance(schedule, ScheduleLike) or isinstance(schedule, type):
            raise ArgumentError("Scheduling", "a schedule with step()", f"a {type(schedule).__name__}")
        self.every = every or getattr(schedule, "every", "epoch")
        if self.every not in ("epoch", "batch"):
            raise ArgumentError("Scheduling", "every 'epoch' or 'batch'", repr(self.every))
        self.schedule, self.monitor = schedule, monitor
        self.takes_metric = _takes_metric(schedule)
        self._made = 0

    def on_fit_begin(self, fit: Any) -> None:
        optimizer = getattr(self.schedule, "optimizer", fit.optimizer)
        if optimizer is not fit.optimizer:
            raise ArgumentError("fit", "a schedule of the optimizer that trains", "one of another optimizer")
        self._made = 0

    def on_batch_end(self, fit: Any) -> None:
        if self.every == "batch" and fit.step > self._made:
            self._made = fit.step
            self._step(fit, "loss")

    def on_epoch_end(self, fit: Any) -> None:
        if self.every == "epoch":
            self._step(fit, "val_loss" if "val_loss" in fit.logs else "loss")

    def _step(self, fit: Any, monitor: str) -> None:
        if not self.takes_metric:
            self.schedule.step()
            return
        name = self.monitor or monitor
        if name not in fit.logs:
            raise ArgumentError("Scheduling", f"a figure to watch among {', '.join(fit.logs)}", repr(name))
        self.schedule.step(fit.logs[name])


def _takes_metric(schedule: Any) -> bool:
    """Whether `step` needs an argument."""
    parameters = inspect.signature(schedule.step).parameters.values()
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
