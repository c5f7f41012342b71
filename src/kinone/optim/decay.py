"""Schedules that let the learning rate fall: in steps, along a line, a power, an exponential or cosines."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from math import pi
from typing import Any

from kinone.errors import ArgumentError
from kinone.optim.schedule import Schedule, checked_count, checked_number, cosine, power


class StepLR(Schedule):
    """lr = base · gamma^⌊t / step_size⌋."""

    def __init__(self, optimizer: Any, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = checked_count("StepLR", "step_size", step_size)
        self.gamma = checked_number("StepLR", "gamma", gamma)
        super().__init__(optimizer)

    def value(self, step: int, base: float, group: int) -> float:
        return base * power(self.gamma, step // self.step_size)


class MultiStepLR(Schedule):
    """lr = base · gamma^(how many milestones t has reached); a milestone that is given twice counts twice."""

    def __init__(self, optimizer: Any, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones = sorted(
            Counter(checked_count("MultiStepLR", "milestone", m, 0) for m in milestones).elements()
        )
        self.gamma = checked_number("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer)

    def value(self, step: int, base: float, group: int) -> float:
        return base * power(self.gamma, bisect_right(self.milestones, step))


class ConstantLR(Schedule):
    """lr = base · factor while t < total_iters, then base."""

    def __init__(self, optimizer: Any, factor: float = 1 / 3, total_iters: int = 5) -> None:
        self.factor = checked_number("ConstantLR", "factor", factor, 0.0, 1.0)
        self.total_iters = checked_count("ConstantLR", "total_iters", total_iters, 0)
        super().__init__(optimizer)

    def value(self, step: int, base: float, group: int) -> float:
        return base * self.factor if step < self.total_iters else base


class LinearLR(Schedule):
    """lr = base · (start_factor + (end_factor − start_factor)·min(t, total_iters)/total_iters)."""

    def __init__(
        self, optimizer: Any, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
    ) -> None:
        self.start_factor = checked_number("LinearLR", "start_factor", start_factor, 0.0, 1.0)
        self.end_factor = checked_number("LinearLR", "end_factor", end_factor, 0.0, 1.0)
        self.total_iters = checked_count("LinearLR", "total_iters", total_iters)
        super().__init__(optimizer)

    def value(self, step: int, base: float, group: int) -> float:
        part = min(step, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * part)


class ExponentialLR(Schedule):
    """lr = base · gammaᵗ."""

    def __init__(self, optimizer: Any, gamma: float) -> None:
        self.gamma = checked_number("ExponentialLR", "gamma", gamma)
        super().__init__(optimizer)

    def value(self, step: int, base: float, group: int) -> float:
        return base * power(self.gamma, step)


class PolynomialLR(Schedule):
    """lr = base · (1 − min(t, total_iters)/total_iters)^power."""

    def __init__(self, optimizer: Any, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters = checked_count("PolynomialLR", "total_iters", total_iters)
        self.power = checked_number("PolynomialLR", "power", power)
        super().__init__(optimizer)

    def value(self, step: int, base: float, group: int) -> float:
        return base * power(1 - min(step, self.total_iters) / self.total_iters, self.power)


class CosineAnnealingLR(Schedule):
    """lr = eta_min + (base − eta_min)·(1 + cos(π·t/T_max))/2: down in T_max steps, and up again in as many."""

    def __init__(self, optimizer: Any, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max = checked_count("CosineAnnealingLR", "T_max", T_max)
        self.eta_min = checked_number("CosineAnnealingLR", "eta_min", eta_min)
        super().__init__(optimizer)

    def value(self, step: int, base: float, group: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + cosine(pi * (step % (2 * self.T_max)) / self.T_max)) / 2


class CosineAnnealingWarmRestarts(Schedule):
    """lr = eta_min + (base − eta_min)·(1 + cos(π·u/T))/2, u steps into a run of T: T_0, then T_mult times as long."""

    def __init__(self, optimizer: Any, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> None:
        self.T_0 = checked_count("CosineAnnealingWarmRestarts", "T_0", T_0)
        self.T_mult = checked_count("CosineAnnealingWarmRestarts", "T_mult", T_mult)
        self.eta_min = checked_number("CosineAnnealingWarmRestarts", "eta_min", eta_min)
        super().__init__(optimizer)

    def value(self, step: int, base: float, group: int) -> float:
        length = self.T_0
        if self.T_mult == 1:
            step %= length
        while step >= length:
            step, length = step - length, length * self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + cosine(pi * step / length)) / 2


class OneCycleLR(Schedule):
    """lr from max_lr/div_factor up to max_lr, then down to the first one/final_div_factor; the momentum the other way.

    The way up takes the part pct_start of total_steps (or of epochs · steps_per_epoch). `anneal_strategy` is "cos" or
    "linear"; with `three_phase` the way down first mirrors the way up. `cycle_momentum` moves `momentum`, or β₁, from
    max_momentum to base_momentum and back. In `fit` it steps after every batch.
    """

    every = "batch"

    def __init__(
        self, optimizer: Any, max_lr: float | Sequence[float], total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:  # fmt: skip
        where, groups = "OneCycleLR", getattr(optimizer, "param_groups", [])
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ArgumentError(where, "total_steps, or epochs and steps_per_epoch", "neither")
            total_steps = checked_count(where, "epochs", epochs) * checked_count(
                where, "steps_per_epoch", steps_per_epoch
            )
        self.total_steps = checked_count(where, "total_steps", total_steps)
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(where, "anneal_strategy 'cos' or 'linear'", repr(anneal_strategy))
        if cycle_momentum and not all("momentum" in group or "betas" in group for group in groups):
            hint = "cycle_momentum=False leaves it alone."
            raise ArgumentError(where, "an optimizer with momentum or betas", type(optimizer).__name__, hint=hint)
        self.max_lr = _each(where, "max_lr", max_lr, len(groups))
        self.base_momentum = _each(where, "base_momentum", base_momentum, len(groups))
        self.max_momentum = _each(where, "max_momentum", max_momentum, len(groups))
        self.pct_start = checked_number(where, "pct_start", pct_start, 0.0, 1.0)
        self.is_cosine, self.cycle_momentum, self.three_phase = anneal_strategy == "cos", cycle_momentum, three_phase
        self.div_factor = checked_number(where, "div_factor", div_factor, 1e-300)
        self.final_div_factor = checked_number(where, "final_div_factor", final_div_factor, 1e-300)
        first, end = self.pct_start * self.total_steps - 1, float(self.total_steps - 1)
        self.ends = [first, 2 * self.pct_start * self.total_steps - 2, end] if three_phase else [first, end]
        super().__init__(optimizer)

    def step(self) -> None:
        if self.last_epoch >= self.total_steps:
            hint = "make it for the number of all batches, not of epochs."
            raise ArgumentError(
                "OneCycleLR", f"at most the {self.total_steps} steps it was made for", "one more", hint=hint
            )
        super().step()

    def settings(self, step: int, base: float, group: int) -> dict[str, float]:
        high, low = self.max_lr[group], self.max_lr[group] / self.div_factor
        strong, weak = self.max_momentum[group], self.base_momentum[group]
        rates = (
            [low, high, low, low / self.final_div_factor]
            if self.three_phase
            else [low, high, low / self.final_div_factor]
        )
        momenta = [strong, weak, strong, strong] if self.three_phase else [strong, weak, strong]
        phase = next((i for i, end in enumerate(self.ends) if step <= end), len(self.ends) - 1)
        start, end = self.ends[phase - 1] if phase else 0.0, self.ends[phase]
        part = min((step - start) / (end - start), 1.0) if end > start else 1.0
        found = {"lr": self._between(rates[phase], rates[phase + 1], part)}
        return (
            {**found, "momentum": self._between(momenta[phase], momenta[phase + 1], part)}
            if self.cycle_momentum
            else found
        )

    def _between(self, a: float, b: float, part: float) -> float:
        return b + (a - b) / 2 * (cosine(pi * part) + 1) if self.is_cosine else (b - a) * part + a


def _each(where: str, name: str, value: Any, count: int) -> list[float]:
    values = list(value) if isinstance(value, list | tuple) else [value] * count
    if len(values) != count:
        raise ArgumentError(where, f"{name}, a number or one for each of {count} groups", f"{len(values)} of them")
    return [checked_number(where, name, v) for v in values]
