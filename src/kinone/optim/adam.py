"""Adam, AdamW and NAdam."""

from collections.abc import Hashable

import numpy as np

from kinone import kernels
from kinone.kernels.optimize.reference import nadam_momentum
from kinone.optim.optimizer import Batch, Group, Optimizer, Params, Slot


class Adam(Optimizer):
    """m ← β₁·m + (1 − β₁)·g,  v ← β₂·v + (1 − β₂)·g²;  p ← p − lr·m̂/(√v̂ + eps),  m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ).

    Weight decay adds λ·p to g or, with `decoupled_weight_decay`, takes lr·λ·p off p (AdamW). `amsgrad` divides by the
    largest v so far. t counts the steps in which the parameter had a gradient.

    >>> from kinone import nn
    >>> p = nn.Parameter([1.0, 2.0])
    >>> (p * p).sum().backward(); Adam([p], lr=0.5).step(); p
    Tensor([0.5, 1.5], dtype=float32, requires_grad=True)
    """

    always = ("averages", "squares")
    sometimes = ("largest",)

    def __init__(
        self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, amsgrad: bool = False, *, maximize: bool = False,
        decoupled_weight_decay: bool = False, needs_finite: bool = False,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                   "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay}  # fmt: skip
        super().__init__(params, options, needs_finite)

    def states(self, group: Group) -> tuple[str, ...]:
        return (*self.always, *self.sometimes * group["amsgrad"])

    def update(self, batch: Batch) -> None:
        group, states, (beta1, beta2) = batch.group, batch.states, batch.group["betas"]
        kernels.adam_update(batch.params, batch.grads, states["averages"], states["squares"], states.get("largest"),
                            batch.moment + 1, group["lr"], beta1, beta2, group["eps"], group["weight_decay"],
                            group["decoupled_weight_decay"], batch.scale)  # fmt: skip


class AdamW(Adam):
    """p ← (1 − lr·λ)·p, then as Adam without weight decay: the decay is decoupled from the gradient."""

    def __init__(
        self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False, needs_finite: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize,
                         decoupled_weight_decay=True, needs_finite=needs_finite)  # fmt: skip


class NAdam(Optimizer):
    """m, v as Adam's;  p ← p − lr·((1 − μₜ)/(1 − ∏μ)·g + μₜ₊₁/(1 − ∏μ·μₜ₊₁)·m)/(√v̂ + eps), ∏μ = μ₁·…·μₜ.

    μₜ = β₁·(1 − ½·0.96^(t·momentum_decay)). Weight decay as Adam's.
    """

    always = ("averages", "squares")
    scalars = ("mu_product",)

    def __init__(
        self, params: Params, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
        maximize: bool = False, needs_finite: bool = False,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                   "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
                   "maximize": maximize}  # fmt: skip
        super().__init__(params, options, needs_finite)

    def moment(self, slot: Slot) -> Hashable:
        return slot.step, float(slot.arrays.get("mu_product", 1.0))

    def update(self, batch: Batch) -> None:
        group, states, (beta1, beta2) = batch.group, batch.states, batch.group["betas"]
        step, product = batch.moment
        mu, ahead = (nadam_momentum(t, beta1, group["momentum_decay"]) for t in (step + 1, step + 2))
        kernels.nadam_update(batch.params, batch.grads, states["averages"], states["squares"], step + 1, group["lr"],
                             beta1, beta2, group["eps"], group["weight_decay"], group["decoupled_weight_decay"], mu,
                             ahead, product * mu, batch.scale)  # fmt: skip
        for slot in batch.slots:
            slot.arrays["mu_product"] = np.array(product * mu)
