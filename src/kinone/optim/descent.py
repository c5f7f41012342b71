"""SGD, RMSProp, Adagrad and Lion."""

from collections.abc import Hashable

import numpy as np

from kinone import kernels
from kinone.errors import ArgumentError
from kinone.optim.optimizer import Array, Batch, Group, Optimizer, Params, Slot


class SGD(Optimizer):
    """b ← μ·b + (1 − dampening)·(g + λ·p), at first g + λ·p;  p ← p − lr·b, after Nesterov p − lr·(g + μ·b).

    λ = weight_decay, μ = momentum; without momentum b = g + λ·p. `maximize` climbs instead.

    >>> from kinone import nn
    >>> p = nn.Parameter([1.0, 2.0])
    >>> (p * p).sum().backward(); SGD([p], lr=0.25).step(); p
    Tensor([0.5, 1. ], dtype=float32, requires_grad=True)
    """

    sometimes = ("momenta",)

    def __init__(
        self, params: Params, lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0,
        weight_decay: float = 0.0, nesterov: bool = False, *, maximize: bool = False, needs_finite: bool = False,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                   "nesterov": nesterov, "maximize": maximize}  # fmt: skip
        super().__init__(params, options, needs_finite)

    def check_group(self, options: Group) -> None:
        if options["nesterov"] and (not options["momentum"] or options["dampening"]):
            got = f"momentum={options['momentum']}, dampening={options['dampening']}"
            raise ArgumentError("SGD", "momentum above 0 and no dampening for nesterov=True", got)

    def states(self, group: Group) -> tuple[str, ...]:
        return ("momenta",) if group["momentum"] else ()

    def moment(self, slot: Slot) -> Hashable:
        return "momenta" not in slot.arrays

    def update(self, batch: Batch) -> None:
        group, momenta = batch.group, batch.states.get("momenta")
        kernels.sgd_update(batch.params, batch.grads, momenta, group["lr"], group["momentum"], group["dampening"],
                           group["weight_decay"], group["nesterov"], batch.moment, batch.scale)  # fmt: skip


class RMSProp(Optimizer):
    """v ← α·v + (1 − α)·g²;  p ← p − lr·u, u = g/(√v + eps), or with momentum b ← μ·b + u and p ← p − lr·b.

    `centered` takes the mean of the gradients out: v − a² for v, a ← α·a + (1 − α)·g. Weight decay adds λ·p to g.
    """

    always = ("squares",)
    sometimes = ("averages", "momenta")

    def __init__(
        self, params: Params, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0,
        momentum: float = 0.0, centered: bool = False, *, maximize: bool = False, needs_finite: bool = False,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
                   "centered": centered, "maximize": maximize}  # fmt: skip
        super().__init__(params, options, needs_finite)

    def states(self, group: Group) -> tuple[str, ...]:
        return (*self.always, *("averages",) * group["centered"], *("momenta",) * bool(group["momentum"]))

    def moment(self, slot: Slot) -> Hashable:
        return None  # no step of it depends on how many came before

    def update(self, batch: Batch) -> None:
        group, states = batch.group, batch.states
        kernels.rmsprop_update(batch.params, batch.grads, states["squares"], states.get("averages"),
                               states.get("momenta"), group["lr"], group["alpha"], group["eps"], group["weight_decay"],
                               group["momentum"], batch.scale)  # fmt: skip


RMSprop = RMSProp
"""PyTorch's spelling."""


class Adagrad(Optimizer):
    """s ← s + g²;  p ← p − lr/(1 + (t − 1)·lr_decay) · g/(√s + eps). Weight decay adds λ·p to g."""

    always = ("sums",)

    def __init__(
        self, params: Params, lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0, eps: float = 1e-10, *, maximize: bool = False,
        needs_finite: bool = False,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                   "initial_accumulator_value": initial_accumulator_value, "maximize": maximize}  # fmt: skip
        super().__init__(params, options, needs_finite)

    def first(self, name: str, parameter: Array, group: Group) -> Array:
        return np.full_like(parameter, group["initial_accumulator_value"])

    def update(self, batch: Batch) -> None:
        group = batch.group
        kernels.adagrad_update(batch.params, batch.grads, batch.states["sums"], batch.moment + 1, group["lr"],
                               group["lr_decay"], group["eps"], group["weight_decay"], batch.scale)  # fmt: skip


class Lion(Optimizer):
    """p ← (1 − lr·λ)·p − lr·sign(β₁·m + (1 − β₁)·g), then m ← β₂·m + (1 − β₂)·g  (Chen et al. 2023).

    Its steps are of size lr whatever the gradient's, so lr is 3 to 10 times smaller, and λ larger, than for AdamW.
    """

    always = ("momenta",)

    def __init__(
        self, params: Params, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0,
        *, maximize: bool = False, needs_finite: bool = False,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, options, needs_finite)

    def moment(self, slot: Slot) -> Hashable:
        return None

    def update(self, batch: Batch) -> None:
        group, (beta1, beta2) = batch.group, batch.group["betas"]
        kernels.lion_update(batch.params, batch.grads, batch.states["momenta"], group["lr"], beta1, beta2,
                            group["weight_decay"], batch.scale)  # fmt: skip
