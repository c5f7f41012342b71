"""A schedule that watches a metric: the rate falls when it stops getting better."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from kinone.errors import ArgumentError, StateError
from kinone.optim.schedule import checked_count, checked_number, checked_state


class ReduceLROnPlateau:
    """lr ← max(factor·lr, min_lr) once the metric has not been better than its best for more than `patience` steps.

    Better: with mode="min" below best·(1 − threshold), or best − threshold with threshold_mode="abs"; "max" likewise.
    After a reduction, `cooldown` steps are not counted. Reductions of less than eps are left out.

    >>> from kinone import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 2), lr=1.0)
    >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0): schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.5]
    """

    every = "epoch"

    def __init__(
        self, optimizer: Any, mode: str = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
        threshold_mode: str = "rel", cooldown: int = 0, min_lr: float | Sequence[float] = 0.0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        where = self.where = "ReduceLROnPlateau"
        groups = getattr(optimizer, "param_groups", None)
        if not isinstance(groups, list):
            raise ArgumentError(where, "an optimizer, whose param_groups have rates", f"a {type(optimizer).__name__}")
        for name, value, choices in (
            ("mode", mode, ("min", "max")),
            ("threshold_mode", threshold_mode, ("rel", "abs")),
        ):
            if value not in choices:
                raise ArgumentError(where, f"{name} {choices[0]!r} or {choices[1]!r}", repr(value))
        self.optimizer, self.mode, self.threshold_mode = optimizer, mode, threshold_mode
        self.factor = checked_number(where, "factor", factor, 0.0, 1.0)
        if self.factor == 1.0:
            raise ArgumentError(where, "factor below 1", "1")
        self.patience = checked_count(where, "patience", patience, 0)
        self.cooldown = checked_count(where, "cooldown", cooldown, 0)
        self.threshold, self.eps = checked_number(where, "threshold", threshold), checked_number(where, "eps", eps)
        floors = list(min_lr) if isinstance(min_lr, list | tuple) else [min_lr] * len(groups)
        if len(floors) != len(groups):
            raise ArgumentError(where, f"min_lr, a number or one for each of {len(groups)} groups", f"{len(floors)}")
        self.min_lrs = [checked_number(where, "min_lr", value) for value in floors]
        self.last_epoch = self.num_bad_epochs = self.cooldown_counter = 0
        self.best: float | None = None

    def is_better(self, metric: float) -> bool:
        """Whether this is better than the best so far by the threshold; a NaN never is."""
        if self.best is None:
            return not isnan(metric)
        sign = 1.0 if self.mode == "max" else -1.0
        margin = self.threshold * self.best if self.threshold_mode == "rel" else self.threshold
        return sign * metric > sign * (self.best + sign * margin)

    def step(self, metric: Any) -> None:
        """Go on by one, with the value that is watched."""
        value = float(metric.item() if hasattr(metric, "item") else metric)
        self.last_epoch += 1
        if self.is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lower = max(group["lr"] * self.factor, least)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower

    def get_last_lr(self) -> list[float]:
        """The learning rates that hold now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, in plain values."""
        return {
            "name": self.where, "last_epoch": self.last_epoch, "best": self.best,
            "num_bad_epochs": self.num_bad_epochs, "cooldown_counter": self.cooldown_counter, "lrs": self.get_last_lr(),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict()`."""
        keys = ("last_epoch", "best", "num_bad_epochs", "cooldown_counter", "lrs")
        checked_state(self, state, keys)
        groups = self.optimizer.param_groups
        if not isinstance(state["lrs"], list | tuple) or len(state["lrs"]) != len(groups):
            raise StateError(self.where, f"lrs of {len(groups)} groups", repr(state["lrs"]))
        for name in keys[:-1]:
            setattr(self, name, state[name])
        for group, lr in zip(groups, state["lrs"], strict=True):
            group["lr"] = float(lr)

    def __repr__(self) -> str:
        rates = ", ".join(f"{lr:g}" for lr in self.get_last_lr())
        return f"{self.where}(best={self.best}, {self.num_bad_epochs} without progress, lr={rates})"
