"""Schedules: how the learning rate changes from step to step; what all of them are, and those that you write."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from kinone import kernels
from kinone.errors import ArgumentError, StateError
from kinone.inspection.chart import Panel, chart
from kinone.inspection.curve import Series


class Schedule:
    """lr ← lr(t), t = 0 from the beginning and one more after each `step()`.

    A formula of t and the rate that a group began with (its "initial_lr"), so a schedule that was saved goes on exactly
    where it stood, and `at` and `plot` know the future. A schedule of your own defines `value`.

    `every` says when `fit` steps: after each "epoch", or each "batch" of it (each step of the optimizer).
    """

    every: str = "epoch"

    def __init__(self, optimizer: Any) -> None:
        self.where = type(self).__name__
        if not isinstance(getattr(optimizer, "param_groups", None), list):
            got = f"a {type(optimizer).__name__}"
            raise ArgumentError(self.where, "an optimizer, whose param_groups have rates", got)
        self.optimizer = optimizer
        self.last_epoch = 0
        self._apply()

    def value(self, step: int, base: float, group: int) -> float:
        """The learning rate after so many steps of group number `group`, which began with the rate `base`."""
        raise NotImplementedError(f"{self.where} defines no value(self, step, base, group)")

    def settings(self, step: int, base: float, group: int) -> dict[str, float]:
        """The options of a group after so many steps."""
        return {"lr": self.value(step, base, group)}

    def at(self, step: int) -> list[float]:
        """The learning rate of each group after so many steps.

        >>> from kinone import nn, optim
        >>> optim.StepLR(optim.SGD(nn.Linear(2, 2), lr=1.0), step_size=10, gamma=0.5).at(25)
        [0.25]
        """
        return [self.settings(step, base, i)["lr"] for i, base in enumerate(self.base_lrs)]

    @property
    def base_lrs(self) -> list[float]:
        """The learning rates that the groups began with."""
        return [group.setdefault("initial_lr", group["lr"]) for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """The learning rates that hold now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Go on by one."""
        self.last_epoch += 1
        self._apply()

    def _apply(self) -> None:
        new = [
            self.settings(self.last_epoch, base, i) for i, base in enumerate(self.base_lrs)
        ]  # all, before any is set
        for group, settings in zip(self.optimizer.param_groups, new, strict=True):
            for name, value in settings.items():
                if name == "momentum" and "betas" in group:
                    group["betas"] = (value, *group["betas"][1:])
                else:
                    group[name] = value

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, in plain values; what the constructor was given is not in it."""
        return {"name": self.where, "last_epoch": self.last_epoch, "base_lrs": self.base_lrs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict()`: the optimizer has the rates of that moment again."""
        bases = checked_state(self, state, ("last_epoch", "base_lrs"))["base_lrs"]
        groups = self.optimizer.param_groups
        if not isinstance(bases, list | tuple) or len(bases) != len(groups):
            raise StateError(self.where, f"base_lrs of {len(groups)} groups", repr(bases))
        for group, base in zip(groups, bases, strict=True):
            group["initial_lr"] = float(base)
        self.last_epoch = state["last_epoch"]
        self._apply()

    def plot(self, path: str | Path | None = None, steps: int = 100) -> str:
        """The learning rates over so many steps as SVG, written to the file if there is one."""
        rates = np.array([self.at(step) for step in range(steps + 1)])
        x = np.arange(steps + 1, dtype=np.float64)
        labels = ["lr"] if rates.shape[1] == 1 else [f"group {i}" for i in range(rates.shape[1])]
        series = tuple(Series(label, x, y) for label, y in zip(labels, rates.T, strict=True))
        picture = chart([Panel("learning rate", self.every, series)], self.where)
        if path is not None:
            Path(path).write_text(picture, encoding="utf-8")
        return picture

    def __repr__(self) -> str:
        return f"{self.where}(at step {self.last_epoch}, lr={', '.join(f'{lr:g}' for lr in self.get_last_lr())})"


class LambdaLR(Schedule):
    """lr = base · f(t); `lr_lambda` is f, or a list with one for each group.

    >>> from kinone import nn, optim
    >>> optim.LambdaLR(optim.SGD(nn.Linear(2, 2), lr=1.0), lambda t: 1 / (1 + t)).at(3)
    [0.25]
    """

    def __init__(self, optimizer: Any, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]) -> None:
        self.lr_lambda = lr_lambda
        count = len(getattr(optimizer, "param_groups", ()))
        if not callable(lr_lambda) and len(lr_lambda) != count:
            raise ArgumentError(
                "LambdaLR", f"a function, or one for each of {count} groups", f"{len(lr_lambda)} functions"
            )
        super().__init__(optimizer)

    def value(self, step: int, base: float, group: int) -> float:
        f = self.lr_lambda if callable(self.lr_lambda) else self.lr_lambda[group]
        return base * float(f(step))


def cosine(x: float) -> float:
    """cos x from the kernels, whose bits the profile fixes; the C library's differ from system to system.

    >>> cosine(0.0)
    1.0
    """
    return float(kernels.cos(np.array([x]))[0])


def power(x: float, y: float) -> float:
    """xʸ likewise.

    >>> power(0.5, 2)
    0.25
    """
    return float(kernels.power(np.array([float(x)]), np.array([float(y)]))[0])


def checked_count(where: str, name: str, value: Any, least: int = 1) -> int:
    """A whole number from `least` on."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ArgumentError(where, f"{name}, a whole number from {least} on", repr(value))
    return int(value)


def checked_number(where: str, name: str, value: Any, low: float = 0.0, high: float = float("inf")) -> float:
    """A finite number from `low` to `high`."""
    is_real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not is_real or not isfinite(value) or not low <= value <= high:
        span = f"from {low:g} on" if high == float("inf") else f"from {low:g} to {high:g}"
        raise ArgumentError(where, f"{name}, a number {span}", repr(value))
    return float(value)


def checked_state(schedule: Any, state: Mapping[str, Any], keys: Sequence[str]) -> Mapping[str, Any]:
    """What `schedule` may load."""
    where = schedule.where
    if not isinstance(state, Mapping) or not {"name", *keys} <= state.keys():
        got = f"the keys {', '.join(map(str, state))}" if isinstance(state, Mapping) else f"a {type(state).__name__}"
        raise StateError(where, f"a state with name, {', '.join(keys)}", got)
    if state["name"] != where:
        raise StateError(where, f"the state of a {where}", f"that of a {state['name']}")
    if type(state["last_epoch"]) is not int or state["last_epoch"] < 0:
        raise StateError(where, "last_epoch, a whole number from 0 on", repr(state["last_epoch"]))
    return state
