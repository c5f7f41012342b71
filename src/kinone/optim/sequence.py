"""Schedules one after another."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from kinone.errors import ArgumentError
from kinone.optim.schedule import Schedule, checked_count, checked_number


class SequentialLR(Schedule):
    """schedules[0](t) until the first milestone m, then schedules[1](t − m), and so on.

    >>> from kinone import nn, optim
    >>> sgd = optim.SGD(nn.Linear(2, 2), lr=1.0)
    >>> parts = [optim.LinearLR(sgd, 0.5, total_iters=4), optim.ExponentialLR(sgd, 0.5)]
    >>> [optim.SequentialLR(sgd, parts, milestones=[4]).at(t)[0] for t in range(7)]
    [0.5, 0.625, 0.75, 0.875, 1.0, 0.5, 0.25]
    """

    def __init__(self, optimizer: Any, schedulers: Sequence[Schedule], milestones: Sequence[int]) -> None:
        where = type(self).__name__
        self.schedulers, self.milestones = (
            list(schedulers),
            [checked_count(where, "milestone", m, 0) for m in milestones],
        )
        for schedule in self.schedulers:
            if not isinstance(schedule, Schedule):
                got, hint = (
                    f"a {type(schedule).__name__}",
                    "one that watches a metric steps by itself, after the others.",
                )
                raise ArgumentError(where, "schedules that are formulas of the step", got, hint=hint)
            if schedule.optimizer is not optimizer:
                raise ArgumentError(where, "schedules of the same optimizer", f"a {schedule.where} of another")
        if not self.schedulers or len(self.milestones) != len(self.schedulers) - 1:
            got = f"{len(self.milestones)} for {len(self.schedulers)} schedules"
            raise ArgumentError(where, "a milestone between each schedule and the next", got)
        if self.milestones != sorted(set(self.milestones)):
            raise ArgumentError(where, "milestones that grow", repr(self.milestones))
        self.every = self.schedulers[-1].every
        super().__init__(optimizer)

    def settings(self, step: int, base: float, group: int) -> dict[str, float]:
        i = bisect_right(self.milestones, step)
        return self.schedulers[i].settings(step - (self.milestones[i - 1] if i else 0), base, group)


class WarmUp(Schedule):
    """lr = first·(start_factor + (1 − start_factor)·t/steps) while t < steps, then schedule(t − steps).

    `first` is the rate with which the schedule begins. Without one the rate stays what it is after the warm-up; then
    the optimizer itself is given.

    >>> from kinone import nn, optim
    >>> sgd = optim.SGD(nn.Linear(2, 2), lr=1.0)
    >>> warm = WarmUp(optim.CosineAnnealingLR(sgd, T_max=100), steps=4, start_factor=0.2)
    >>> [round(warm.at(t)[0], 6) for t in (0, 2, 4, 54, 104)]
    [0.2, 0.6, 1.0, 0.5, 0.0]
    """

    def __init__(self, schedule: Any, steps: int, start_factor: float = 0.01) -> None:
        self.steps = checked_count("WarmUp", "steps", steps)
        self.start_factor = checked_number("WarmUp", "start_factor", start_factor, 0.0, 1.0)
        has_rates = isinstance(getattr(schedule, "param_groups", None), list)
        if not isinstance(schedule, Schedule) and not has_rates:
            got = f"a {type(schedule).__name__}"
            raise ArgumentError("WarmUp", "a schedule that is a formula of the step, or an optimizer", got)
        self.schedule = None if has_rates else schedule
        if self.schedule is not None:
            self.every = self.schedule.every
        super().__init__(schedule if has_rates else schedule.optimizer)

    def settings(self, step: int, base: float, group: int) -> dict[str, float]:
        after = max(step - self.steps, 0)
        found = {"lr": base} if self.schedule is None else self.schedule.settings(after, base, group)
        if step < self.steps:
            found["lr"] *= self.start_factor + (1 - self.start_factor) * step / self.steps
        return found
