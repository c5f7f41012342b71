"""Callbacks: what `fit` calls at each moment, and those that end it."""

from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from typing import Any

import numpy as np

from kinone.errors import ArgumentError, StateError, nearest

HOOKS = (
    "on_fit_begin", "on_epoch_begin", "on_batch_begin", "on_gradients", "on_batch_end", "on_validation_begin",
    "on_validation_end", "on_epoch_end", "on_fit_end",
)  # fmt: skip


class Callback:
    """Subclass it and define the hooks that you need; each is given the `Fit`.

    Of one moment, the schedule is called first, then callbacks in the order in which `fit` was given them, then the
    progress display.
    """

    def on_fit_begin(self, fit: Any) -> None:
        """Before the first epoch; the model is in training mode."""

    def on_epoch_begin(self, fit: Any) -> None:
        """Before the first batch of an epoch."""

    def on_batch_begin(self, fit: Any) -> None:
        """Before a batch goes through the model."""

    def on_gradients(self, fit: Any) -> None:
        """Once all gradients of a step are there, before they are clipped and the optimizer makes the step."""

    def on_batch_end(self, fit: Any) -> None:
        """After a batch."""

    def on_validation_begin(self, fit: Any) -> None:
        """Before the validation data."""

    def on_validation_end(self, fit: Any) -> None:
        """After it."""

    def on_epoch_end(self, fit: Any) -> None:
        """After an epoch, its validation included; `fit.logs` has all its figures."""

    def on_fit_end(self, fit: Any) -> None:
        """At the end, however it came; `fit.error` is the exception if it was one."""


class EpochEnd(Callback):
    """A function of the Fit, called after each epoch."""

    def __init__(self, f: Any) -> None:
        self.f = f

    def on_epoch_end(self, fit: Any) -> None:
        self.f(fit)


def callbacks_of(where: str, given: Any) -> list[Any]:
    """Callbacks: objects with some of the hooks, and functions that are called after each epoch."""
    parts = list(given) if isinstance(given, Sequence) else [given]
    found: list[Any] = []
    for part in parts:
        if isinstance(part, type):
            raise ArgumentError(
                where, "a callback", f"the class {part.__name__}", hint=f"{part.__name__}(…) makes one."
            )
        names = [name for name in dir(part) if name.startswith("on_")]
        for name in names:
            if name not in HOOKS:
                hint = nearest(name, HOOKS)
                raise ArgumentError(
                    where, f"hooks among {', '.join(HOOKS)}", f"{type(part).__name__}.{name}", hint=hint
                )
        if not names and not callable(part):
            raise ArgumentError(where, "a callback with some hook (on_epoch_end, …)", f"a {type(part).__name__}")
        found.append(part if names else EpochEnd(part))
    return found


def called(callbacks: Sequence[Any], hook: str, fit: Any) -> None:
    """That hook of each callback that has it, in order."""
    for callback in callbacks:
        if (method := getattr(callback, hook, None)) is not None:
            method(fit)


class Monitor:
    """Whether a figure is better than its best by more than min_delta."""

    def __init__(self, where: str, name: str, mode: str | None, min_delta: float = 0.0) -> None:
        if mode is None:
            mode = _mode_of(name)
        if mode not in ("min", "max"):
            hint = "say mode='min' or mode='max'."
            raise ArgumentError(where, f"a mode for {name}: 'min' or 'max'", repr(mode), hint=hint)
        if not (isinstance(min_delta, int | float) and isfinite(min_delta) and min_delta >= 0):
            raise ArgumentError(where, "min_delta, a number from 0 on", repr(min_delta))
        self.where, self.name, self.mode, self.min_delta = where, name, mode, min_delta
        self.best: float | None = None

    def value(self, logs: Mapping[str, float]) -> float:
        """The figure."""
        if self.name not in logs:
            hint = "give fit some validation data." if self.name.startswith("val_") else ""
            raise ArgumentError(self.where, f"a figure among {', '.join(logs)}", repr(self.name), hint=hint)
        return logs[self.name]

    def is_better(self, value: float) -> bool:
        """Take it for the best if it is; a NaN never is."""
        if isnan(value):
            return False
        gain = 0.0 if self.best is None else (value - self.best) * (1.0 if self.mode == "max" else -1.0)
        if self.best is not None and not gain > self.min_delta:
            return False
        self.best = value
        return True


def _mode_of(name: str) -> str | None:
    if any(part in name for part in ("loss", "error", "mae", "mse")):
        return "min"
    return "max" if any(part in name for part in ("accuracy", "top")) else None


class EarlyStopping(Callback):
    """Ends the fit when a figure has not become better by more than min_delta for `patience` epochs.

    `mode` is "min" or "max"; None takes it from names like loss, error and accuracy. With `restore_best` the model has
    the weights and buffers of its best epoch at the end.
    """

    def __init__(
        self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, mode: str | None = None,
        restore_best: bool = False,
    ) -> None:  # fmt: skip
        if not isinstance(patience, int) or isinstance(patience, bool) or patience < 1:
            raise ArgumentError("EarlyStopping", "patience, a whole number from 1 on", repr(patience))
        self.monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        self.patience, self.restore_best = patience, restore_best
        self.waited, self.best_epoch = 0, 0
        self._best: dict[str, Any] = {}

    def on_epoch_end(self, fit: Any) -> None:
        if self.monitor.is_better(self.monitor.value(fit.logs)):
            self.waited, self.best_epoch = 0, fit.epoch + 1
            if self.restore_best:
                self._best = {name: np.array(value.data) for name, value in fit.model.state_dict().items()}
            return
        self.waited += 1
        if self.waited >= self.patience:
            best = "none" if self.monitor.best is None else f"{self.monitor.best:.6g} in epoch {self.best_epoch}"
            fit.stop(f"{self.monitor.name} has not become better for {self.waited} epochs (best: {best})")

    def on_fit_end(self, fit: Any) -> None:
        if self._best and fit.error is None:
            fit.model.load_state_dict(self._best)
            self._best = {}

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, in plain values; the best weights are not in it."""
        return {"best": self.monitor.best, "waited": self.waited, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict()`."""
        if not isinstance(state, Mapping) or state.keys() != self.state_dict().keys():
            raise StateError("EarlyStopping", "a state with best, waited and best_epoch", f"{state!r}")
        self.monitor.best, self.waited, self.best_epoch = state["best"], state["waited"], state["best_epoch"]


class TerminateOnNaN(Callback):
    """Ends the fit at the first loss that is NaN or infinite, before the step: the weights are still sound."""

    def on_gradients(self, fit: Any) -> None:
        self._look(fit)

    def on_batch_end(self, fit: Any) -> None:
        self._look(fit)

    def _look(self, fit: Any) -> None:
        if not isfinite(fit.loss):
            place = f"in epoch {fit.epoch + 1}, batch {fit.batch}, before step {fit.step + 1}"
            hint = "kn.detect_anomaly() names the operator where it arose"
            fit.stop(f"the loss was {fit.loss} {place}; {hint}", at_once=True)
