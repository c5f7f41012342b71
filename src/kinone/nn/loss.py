"""Losses as modules, with PyTorch's arguments; the operators of kinone.ops are functions of the same meaning.

`reduction` is "mean", "sum" or "none". The mean of no loss at all, of an empty batch or one in which everything is
ignored, is refused with an error rather than NaN; its sum is 0. A target has x's shape: nothing is broadcast.

What holds for probabilities of 0 and 1: `BCELoss` takes probabilities and lets no logarithm be below −100, as
PyTorch does; all others take logits or logarithms, for which there is no such limit: `BCEWithLogits`,
`CrossEntropyLoss` and `FocalLoss` are finite for every finite x, and `NLLLoss`, `KLDivLoss` and `CTCLoss` give ∞ for
a logarithm of −∞ that counts (`KLDivLoss` counts a target of 0 as 0; `CTCLoss(zero_infinity=True)` drops an ∞).
"""

from typing import Any

import numpy as np

from kinone.core.tensor import Tensor, as_array
from kinone.errors import ArgumentError, ShapeError
from kinone.nn.layer import Layer, as_is, probability
from kinone.ops import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    ctc_loss,
    hinge_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    sigmoid_focal_loss,
    smooth_l1_loss,
    sse_loss,
)
from kinone.ops.arguments import shape_of


class Loss(Layer):
    """What losses share: what becomes of several numbers, and weights that are state and not parameters."""

    reductions = ("mean", "sum", "none")

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in self.reductions:
            expected = f"reduction {', '.join(map(repr, self.reductions[:-1]))} or {self.reductions[-1]!r}"
            raise ArgumentError(type(self).__name__, expected, repr(reduction))
        self.reduction = reduction

    def keep(self, **weights: Any) -> None:
        """Make buffers of these, which may be None."""
        for name, value in weights.items():
            array = None if value is None else as_array(value)
            if array is not None and array.dtype.kind in "iu":
                array = array.astype(np.float32)
            if array is not None and (array.dtype.kind != "f" or (array < 0).any()):
                raise ArgumentError(type(self).__name__, f"numbers ≥ 0 as {name}", f"{value!r}")
            self.register_buffer(name, None if array is None else Tensor(array))

    def get_config(self) -> dict[str, Any]:
        buffers = {name: getattr(self, name) for name in vars(self).get("_buffers", ())}
        lists = {name: None if value is None else value.data.tolist() for name, value in buffers.items()}
        return {**super().get_config(), **lists}

    def like(self, weight: Tensor | None, x: Any) -> Any:
        """A weight in x's dtype."""
        return None if weight is None else weight.data.astype(as_array(x).dtype, copy=False)


# ------------------------------------------------------------------------------ numbers
class MSELoss(Loss):
    """L = (x − t)².

    >>> MSELoss()([1.0, 3.0], [1.0, 1.0]).item()
    2.0
    """

    def forward(self, x: Any, target: Any) -> Any:
        return mse_loss(as_is(x), as_is(target), reduction=self.reduction)


class SSELoss(Layer):
    """L = Σ (x − t)², over everything.

    >>> SSELoss()([1.0, 3.0], [1.0, 1.0]).item()
    4.0
    """

    def forward(self, x: Any, target: Any) -> Any:
        return sse_loss(as_is(x), as_is(target))


class L1Loss(Loss):
    """L = |x − t|, also called MAELoss.

    >>> L1Loss()([1.0, 3.0], [1.0, 1.0]).item()
    1.0
    """

    def forward(self, x: Any, target: Any) -> Any:
        return l1_loss(as_is(x), as_is(target), reduction=self.reduction)


class HuberLoss(Loss):
    """L = d²/2 where |d| ≤ δ, δ·(|d| − δ/2) beyond; d = x − t.

    >>> HuberLoss("none")([0.5, 3.0], [0.0, 0.0]).tolist()
    [0.125, 2.5]
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ArgumentError("HuberLoss", "delta > 0", f"delta={delta}")
        self.delta = delta

    def forward(self, x: Any, target: Any) -> Any:
        return huber_loss(as_is(x), as_is(target), delta=self.delta, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """L = d²/2β where |d| ≤ β, |d| − β/2 beyond; d = x − t. β = 0 is L1Loss.

    >>> SmoothL1Loss("none", beta=0.5)([0.5, 3.0], [0.0, 0.0]).tolist()
    [0.25, 2.75]
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if not beta >= 0:
            raise ArgumentError("SmoothL1Loss", "beta ≥ 0", f"beta={beta}")
        self.beta = beta

    def forward(self, x: Any, target: Any) -> Any:
        return smooth_l1_loss(as_is(x), as_is(target), beta=self.beta, reduction=self.reduction)


# ------------------------------------------------------------------------------ labels that are true or false
class BCELoss(Loss):
    """L = −w·(t·ln x + (1 − t)·ln(1 − x)), x probabilities from 0 to 1.

    Each logarithm is at least −100 and has no gradient from there on, so a certain error costs 100. `weight`
    broadcasts against x.

    >>> BCELoss(reduction="none")([0.0, 0.25], [1.0, 1.0]).round(3)
    array([100.   ,   1.386], dtype=float32)
    """

    weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.keep(weight=weight)

    def forward(self, x: Any, target: Any) -> Any:
        x = as_is(x)
        return binary_cross_entropy(x, as_is(target), self.like(self.weight, x), reduction=self.reduction)


class BCEWithLogits(Loss):
    """L = w·(p·t·ln(1 + e⁻ˣ) + (1 − t)·ln(1 + eˣ)): the cross-entropy of σ(x), finite for every x.

    `weight` w and `pos_weight` p, of positive labels, broadcast against x. Also called BCEWithLogitsLoss.

    >>> round(BCEWithLogits()([0.0, -1e4], [1.0, 0.0]).item(), 4)
    0.3466
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.keep(weight=weight, pos_weight=pos_weight)

    def forward(self, x: Any, target: Any) -> Any:
        x = as_is(x)
        weights = self.like(self.weight, x), self.like(self.pos_weight, x)
        return binary_cross_entropy_with_logits(x, as_is(target), *weights, reduction=self.reduction)


class FocalLoss(Loss):
    """L = −α_t·(1 − p_t)^γ·ln p_t, p_t = σ(x) where t = 1 and 1 − σ(x) where t = 0; α_t likewise, 1 if α < 0.

    Finite for every x; γ = 0 and α < 0 make it BCEWithLogits.

    >>> round(FocalLoss()([0.0], [1.0]).item(), 4)
    0.0433
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if gamma < 0 or alpha > 1:
            raise ArgumentError("FocalLoss", "gamma ≥ 0 and alpha ≤ 1", f"gamma={gamma}, alpha={alpha}")
        self.alpha, self.gamma = alpha, gamma

    def forward(self, x: Any, target: Any) -> Any:
        given = as_is(x), as_is(target)
        return sigmoid_focal_loss(*given, alpha=self.alpha, gamma=self.gamma, reduction=self.reduction)


class HingeLoss(Loss):
    """L = max(0, margin − t·x), t = ±1.

    >>> HingeLoss("none")([0.5, 2.0], [1.0, 1.0]).tolist()
    [0.5, 0.0]
    """

    def __init__(self, reduction: str = "mean", margin: float = 1.0) -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, x: Any, target: Any) -> Any:
        return hinge_loss(as_is(x), as_is(target), margin=self.margin, reduction=self.reduction)


# ------------------------------------------------------------------------------ classes
class CrossEntropyLoss(Loss):
    """L = −Σ_c w_c·q_c·log softmax(x)_c, q the target smoothed: (1 − s)·target + s/C.

    x (N, C, …) or (C,) holds logits. The target holds classes (integers, of x's shape without C) or probabilities (of
    x's shape). Places whose class is `ignore_index` count nowhere; the mean is Σ L/Σ w[target] over the others.

    >>> round(CrossEntropyLoss()([[0.0, 0.0], [0.0, 1e4]], [0, 1]).item(), 4)
    0.3466
    """

    weight: Tensor | None

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = probability("CrossEntropyLoss", "label_smoothing", label_smoothing)
        self.keep(weight=weight)

    def forward(self, x: Any, target: Any) -> Any:
        x = as_is(x)
        return cross_entropy(
            x, as_is(target), self.like(self.weight, x), axis=int(len(shape_of(x)) > 1), reduction=self.reduction,
            ignore_index=self.ignore_index, label_smoothing=self.label_smoothing,
        )  # fmt: skip


class NLLLoss(Loss):
    """L = −w[target]·x[target], x (N, C, …) or (C,) holding logarithms of probabilities; the mean is Σ L/Σ w[target].

    >>> NLLLoss()([[-2.0, -0.5]], [1]).item()
    0.5
    """

    weight: Tensor | None

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.ignore_index = ignore_index
        self.keep(weight=weight)

    def forward(self, x: Any, target: Any) -> Any:
        x = as_is(x)
        return nll_loss(
            x, as_is(target), self.like(self.weight, x), axis=int(len(shape_of(x)) > 1),
            ignore_index=self.ignore_index, reduction=self.reduction,
        )  # fmt: skip


class KLDivLoss(Loss):
    """L = t·(ln t − x), x holding logarithms of probabilities; 0 where t = 0. With log_target, so does the target.

    reduction="batchmean" is the divergence itself: Σ L over the length of the first axis; "mean" is over all elements.

    >>> round(KLDivLoss("batchmean")([[-0.6931472, -0.6931472]], [[1.0, 0.0]]).item(), 4)
    0.6931
    """

    reductions = ("mean", "batchmean", "sum", "none")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, x: Any, target: Any) -> Any:
        return kl_div(as_is(x), as_is(target), log_target=self.log_target, reduction=self.reduction)


class CTCLoss(Loss):
    """L = −log P(target | x), over all alignments; x (T, N, C) holds logarithms of probabilities.

    Targets are (N, S), or all in one row, one after another. The mean is of each loss over its target's length. An
    input too short for its target costs ∞, with gradient 0, or with zero_infinity nothing.

    >>> import numpy as np
    >>> x = np.log(np.full((2, 1, 2), 0.5))
    >>> round(CTCLoss()(x, [[1]], [2], [1]).item(), 4)
    0.2877
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, x: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Any:
        targets, lengths = as_array(targets), as_array(target_lengths)
        if targets.ndim == 1:
            targets = _in_rows(targets, lengths)
        return ctc_loss(
            as_is(x), targets, as_array(input_lengths), lengths, blank=self.blank, reduction=self.reduction,
            zero_infinity=self.zero_infinity,
        )  # fmt: skip


def _in_rows(targets: Any, lengths: Any) -> Any:
    if lengths.ndim != 1 or lengths.sum() != len(targets):
        raise ShapeError("CTCLoss", f"{len(targets)} targets as target_lengths say", f"{lengths.tolist()}")
    rows = np.zeros((len(lengths), max(lengths.max(initial=0), 0)), targets.dtype)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = targets
    return rows


MAELoss, BCEWithLogitsLoss = L1Loss, BCEWithLogits
