"""Losses.

Where there are several, `reduction` says what becomes of them: "mean", "sum" or "none". The mean of no loss at all, of
an empty batch or one in which everything is ignored, is refused; its sum is 0.
"""

from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.core.tensor import as_array
from kinone.errors import ArgumentError, AxisError, ShapeError
from kinone.ops.activation import log_sigmoid, softplus
from kinone.ops.arguments import composed, one_axis, shape_of
from kinone.ops.arithmetic import abs, maximum, where
from kinone.ops.ctc import ctc_nll
from kinone.ops.declare import Bad, NoOnnx, Sample, constant, integers, large, normal
from kinone.ops.exponential import exp, log, log1p
from kinone.ops.index import take, take_along_axis
from kinone.ops.norms import log_softmax
from kinone.ops.reduce import mean, sum
from kinone.ops.shape import expand_dims, reshape, squeeze

_LEAST_LOG = -100.0
"""ln 0 stands for this in `binary_cross_entropy`, as in PyTorch: an impossible event costs 100, not ∞."""


def _reduced(where: str, losses: Any, reduction: str, total: Any = None) -> Any:
    """The losses reduced; `total` is what their sum is divided by, if not their number."""
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(where, "reduction 'mean', 'sum' or 'none'", repr(reduction))
    if reduction == "none":
        return losses
    if reduction == "sum":
        return sum(losses)
    if not (losses.size if total is None else as_array(total).item()):
        raise ArgumentError(where, "at least one loss to take the mean of", "none", hint="reduction='sum' gives 0.")
    return mean(losses) if total is None else sum(losses) / total


def _check_shapes(where: str, x: Any, target: Any) -> None:
    # Broadcasting (N, 1) against (N,) would train on N² wrong pairs and say nothing.
    if shape_of(x) != shape_of(target):
        raise ShapeError(where, f"a target of x's shape {shape_of(x)}", f"{shape_of(target)}")


def _check_weights(where: str, x: Any, weight: Any) -> None:
    if weight is not None:
        lengths = zip(shape_of(weight)[::-1], shape_of(x)[::-1], strict=False)
        if len(shape_of(weight)) > len(shape_of(x)) or any(m not in (1, n) for m, n in lengths):
            raise ShapeError(where, f"weights that broadcast to {shape_of(x)}", f"{shape_of(weight)}")


def _weighted(where: str, losses: Any, weight: Any) -> Any:
    _check_weights(where, losses, weight)
    return losses if weight is None else losses * weight


# ---------------------------------------------------------------------------------- classes
def softmax_nll_definition(x: Array, target: Array, *, axis: int = 1) -> Array:
    return -squeeze(take_along_axis(log_softmax(x, axis=axis), expand_dims(target, axis), axis=axis), axis)


@op(onnx=NoOnnx("a loss is no part of an exported model"), definition=softmax_nll_definition,
    dtypes={"x": "float", "target": "index"}, stretches=False,
    samples=[Sample(normal(3, 4), integers(3, high=4)), Sample(normal(2, 3, 2), integers(2, 2, high=3)),
             Sample(normal(2, 2, 3), integers(2, 2, high=3), axis=-1), Sample(normal(3), constant(1), axis=0),
             Sample(normal(0, 3), integers(0)),
             Sample(large(2, 3), integers(2, high=3), smooth=False, reason="differences of 10⁴ have few digits")],
    errors=[Bad(normal(2, 3), integers(3, high=3), match=r"a target of shape \(2,\), got \(3,\)"),
            Bad(normal(2, 3), constant([0, 3]), match=r"classes from 0 to 2, got 3"),
            Bad(normal(2, 3), constant([0, -1]), match=r"classes from 0 to 2, got -1"),
            Bad(normal(2, 3), normal(2), match=r"target of an integer dtype"),
            Bad(normal(3), constant(1), match=r"axis=1 is outside")])  # fmt: skip
def softmax_nll(x: Array, target: Array, *, axis: int = 1) -> Array:
    """y = −log softmax(x)[target] = log Σ eˣ − x[target].   ∂L/∂x = g·(softmax x − onehot target).

    x has the classes along `axis`; the target, and y, have x's shape without it.

    >>> softmax_nll(np.array([[0.0, 0.0], [0.0, 1e4]]), np.array([0, 0])).round(4)
    array([6.931e-01, 1.000e+04])
    """
    axis = one_axis("softmax_nll", x, axis)
    _check_classes("softmax_nll", x, target, axis)
    return kernels.softmax_nll_forward(x, target, axis)


@softmax_nll.backward
def softmax_nll_backward(g: Array, x: Array, target: Array, axis: int) -> tuple[Array, None]:
    return kernels.softmax_nll_backward(g, x, target, axis % x.ndim), None


def _check_classes(where: str, x: Any, target: Any, axis: int) -> None:
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    if target.shape != shape:
        raise ShapeError(where, f"a target of shape {shape}", f"{target.shape}")
    strange = target[(target < 0) | (target >= x.shape[axis])]
    if strange.size:
        raise AxisError(where, f"classes from 0 to {x.shape[axis] - 1}", str(strange.flat[0]))


def _with_ignored(where: str, x: Any, target: Any, axis: int, ignore_index: int) -> tuple[Any, Any]:
    """The target with class 0 in the ignored places, and which places are not ignored."""
    kept = target != ignore_index
    target = np.where(kept, target, 0)
    _check_classes(where, x, target, axis)
    return target, kept


def _class_weights(where: str, x: Any, weight: Any, axis: int) -> Any:
    if shape_of(weight) != (x.shape[axis],):
        raise ShapeError(where, f"weight of shape ({x.shape[axis]},)", f"{shape_of(weight)}")
    return weight


@composed
def cross_entropy(
    x: Any, target: Any, weight: Any = None, *, axis: int = 1, ignore_index: int = -100, label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """L = −Σ_c w_c·q_c·log softmax(x)_c, q the target smoothed: (1 − s)·target + s/C.

    The target holds classes (integers, of x's shape without `axis`) or probabilities (of x's shape). Classes equal to
    `ignore_index` count nowhere; their mean is weighted: Σ L/Σ w[target]. That of probabilities is over all places.

    >>> cross_entropy(np.array([[0.0, 0.0], [0.0, 1e4]]), np.array([0, 1])).round(4)
    np.float64(0.3466)
    """
    axis = one_axis("cross_entropy", x, axis)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError("cross_entropy", "0 ≤ label_smoothing ≤ 1", f"{label_smoothing}")
    if weight is not None:
        weight = _class_weights("cross_entropy", x, weight, axis)
    classes, column = x.shape[axis], tuple(-1 if i == axis else 1 for i in range(x.ndim))

    def spread(q: Any) -> Any:  # −Σ_c w_c·q_c·log softmax(x)_c
        logs = log_softmax(x, axis=axis)
        return -sum(q * (logs if weight is None else logs * reshape(weight, column)), axis=axis)

    if as_array(target).dtype.kind == "f":
        _check_shapes("cross_entropy", x, target)
        q = target if not label_smoothing else target * (1 - label_smoothing) + label_smoothing / classes
        return _reduced("cross_entropy", spread(q), reduction)
    target, kept = _with_ignored("cross_entropy", x, as_array(target), axis, ignore_index)
    losses = softmax_nll(x, target, axis=axis)
    weights = None if weight is None else where(kept, take(weight, target, axis=0), 0.0)
    losses = losses if weights is None else losses * weights
    if label_smoothing:
        losses = losses * (1 - label_smoothing) + spread(label_smoothing / classes)
    total = np.count_nonzero(kept) if weights is None else sum(weights)
    return _reduced("cross_entropy", where(kept, losses, 0.0), reduction, total)


@composed
def nll_loss(
    x: Any, target: Any, weight: Any = None, *, axis: int = 1, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """L = −w[target]·x[target], x holding logarithms of probabilities; the mean is Σ L/Σ w[target].

    >>> nll_loss(np.log(np.array([[0.5, 0.5]])), np.array([0])).round(4)
    np.float64(0.6931)
    """
    axis = one_axis("nll_loss", x, axis)
    target, kept = _with_ignored("nll_loss", x, as_array(target), axis, ignore_index)
    losses = -squeeze(take_along_axis(x, np.expand_dims(target, axis), axis=axis), axis)
    weights = None
    if weight is not None:
        weights = where(kept, take(_class_weights("nll_loss", x, weight, axis), target, axis=0), 0.0)
        losses = losses * weights
    total = np.count_nonzero(kept) if weights is None else sum(weights)
    return _reduced("nll_loss", where(kept, losses, 0.0), reduction, total)


@composed
def ctc_loss(
    x: Any, targets: Any, input_lengths: Any, target_lengths: Any, *, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """L = −log P(target | x); see `ctc_nll`. The mean is of each loss over its target's length.

    `zero_infinity` counts an input that is too short for its target as 0 instead of ∞.

    >>> ctc_loss(np.log(np.full((2, 1, 2), 0.5)), [[1]], [2], [1]).round(4)
    np.float64(0.2877)
    """
    lengths = as_array(target_lengths)
    losses = ctc_nll(x, as_array(targets), as_array(input_lengths), lengths, blank=blank)
    if zero_infinity:
        losses = where(losses == np.inf, 0.0, losses)
    if reduction == "mean":
        losses = losses / np.maximum(lengths, 1).astype(x.dtype)
    return _reduced("ctc_loss", losses, reduction)


# ---------------------------------------------------------------------------------- labels that are true or false
@composed
def binary_cross_entropy(x: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """L = −w·(t·ln x + (1 − t)·ln(1 − x)), x probabilities, each logarithm at least −100 (and flat from there on).

    >>> binary_cross_entropy(np.array([0.5, 0.0]), np.array([1.0, 1.0]), reduction="none").round(4)
    array([  0.6931, 100.    ])
    """
    _check_shapes("binary_cross_entropy", x, target)
    p = as_array(x)
    if ((p < 0) | (p > 1)).any():
        hint = "binary_cross_entropy_with_logits takes any numbers."
        raise ArgumentError("binary_cross_entropy", "probabilities from 0 to 1", f"{p.min()} … {p.max()}", hint=hint)
    never, always = p <= np.exp(_LEAST_LOG), p >= 1
    true = where(never, _LEAST_LOG, log(where(never, 1.0, x)))
    false = where(always, _LEAST_LOG, log1p(-where(always, 0.0, x)))
    losses = -(target * true + (1 - target) * false)
    return _reduced("binary_cross_entropy", _weighted("binary_cross_entropy", losses, weight), reduction)


def sigmoid_nll_definition(x: Array, target: Array, weight: Array | None = None) -> Array:
    positive = target if weight is None else target * weight
    return positive * softplus(-x) + (1 - target) * softplus(x)


@op(onnx=NoOnnx("a loss is no part of an exported model"), definition=sigmoid_nll_definition,
    samples=[Sample(normal(3, 4), normal(3, 4), None), Sample(normal(2, 3), normal(2, 3), normal(3)),
             Sample(normal(), normal(), None), Sample(normal(0, 3), normal(0, 3), None),
             Sample(large(2, 3), normal(2, 3), None)],
    errors=[Bad(normal(2, 3), normal(2), None, match=r"a target of x's shape \(2, 3\), got \(2,\)"),
            Bad(normal(2, 3), normal(2, 3), normal(2), match=r"weights that broadcast to \(2, 3\)")])  # fmt: skip
def sigmoid_nll(x: Array, target: Array, weight: Array | None = None) -> Array:
    """y = w·t·ln(1 + e⁻ˣ) + (1 − t)·ln(1 + eˣ).   ∂L/∂x = g·((1 − t)·σ(x) − w·t·σ(−x)).

    Minus the logarithm of what σ(x) says of the label t; `weight` w, of positive labels, broadcasts against x.

    >>> sigmoid_nll(np.array([0.0, -1e4]), np.array([1.0, 1.0])).round(4)
    array([6.931e-01, 1.000e+04])
    """
    _check_shapes("sigmoid_nll", x, target)
    _check_weights("sigmoid_nll", x, weight)
    return kernels.sigmoid_nll_forward(x, target, 1.0 if weight is None else weight)


@sigmoid_nll.backward
def sigmoid_nll_backward(g: Array, x: Array, target: Array, weight: Array | None) -> tuple[Any, ...]:
    def of_target() -> Array:
        true = kernels.softplus(-x) if weight is None else weight * kernels.softplus(-x)
        return g * (true - kernels.softplus(x))

    gx = kernels.sigmoid_nll_backward(g, x, target, 1.0 if weight is None else weight)
    return gx, of_target, lambda: g * target * kernels.softplus(-x)


@composed
def binary_cross_entropy_with_logits(
    x: Any, target: Any, weight: Any = None, pos_weight: Any = None, *, reduction: str = "mean"
) -> Any:
    """L = w·(p·t·ln(1 + e⁻ˣ) + (1 − t)·ln(1 + eˣ)): the cross-entropy of σ(x), finite for every x.

    `weight` w and `pos_weight` p, of positive labels, broadcast against x.

    >>> binary_cross_entropy_with_logits(np.array([0.0, -1e4]), np.array([1.0, 1.0]), reduction="none").round(4)
    array([6.931e-01, 1.000e+04])
    """
    _check_shapes("binary_cross_entropy_with_logits", x, target)
    name = "binary_cross_entropy_with_logits"
    _check_weights(name, x, pos_weight)
    return _reduced(name, _weighted(name, sigmoid_nll(x, target, pos_weight), weight), reduction)


@composed
def sigmoid_focal_loss(x: Any, target: Any, *, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "mean") -> Any:
    """L = −α_t·(1 − p_t)^γ·ln p_t, p_t = σ(x) where t = 1 and 1 − σ(x) where t = 0; α_t likewise, 1 if α < 0.

    >>> sigmoid_focal_loss(np.array([0.0]), np.array([1.0])).round(4)
    np.float64(0.0433)
    """
    _check_shapes("sigmoid_focal_loss", x, target)
    t = as_array(target).astype(as_array(x).dtype)
    if not np.isin(t, (0, 1)).all():
        raise ArgumentError("sigmoid_focal_loss", "targets 0 or 1", f"{t[~np.isin(t, (0, 1))].flat[0]}")
    if gamma < 0 or alpha > 1:
        raise ArgumentError("sigmoid_focal_loss", "gamma ≥ 0 and alpha ≤ 1", f"gamma={gamma}, alpha={alpha}")
    wrong = (1 - 2 * t) * x  # p_t = σ(−wrong); the power is taken of a logarithm, which has no 0 to divide by
    losses = exp(log_sigmoid(wrong) * gamma) * softplus(wrong)
    losses = losses if alpha < 0 else losses * (alpha * t + (1 - alpha) * (1 - t))
    return _reduced("sigmoid_focal_loss", losses, reduction)


@composed
def hinge_loss(x: Any, target: Any, *, margin: float = 1.0, reduction: str = "mean") -> Any:
    """L = max(0, margin − t·x), t = ±1.

    >>> hinge_loss(np.array([0.5, 2.0]), np.array([1.0, 1.0]), reduction="none")
    array([0.5, 0. ])
    """
    _check_shapes("hinge_loss", x, target)
    t = as_array(target).astype(as_array(x).dtype)
    if not (np.abs(t) == 1).all():
        raise ArgumentError("hinge_loss", "targets −1 or 1", f"{t[np.abs(t) != 1].flat[0]}")
    return _reduced("hinge_loss", maximum(margin - t * x, 0.0), reduction)


# ---------------------------------------------------------------------------------- numbers
@composed
def mse_loss(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    """L = (x − t)².

    >>> float(mse_loss(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    2.0
    """
    _check_shapes("mse_loss", x, target)
    d = x - target
    return _reduced("mse_loss", d * d, reduction)


@composed
def sse_loss(x: Any, target: Any) -> Any:
    """L = Σ (x − t)².

    >>> float(sse_loss(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    4.0
    """
    return mse_loss(x, target, reduction="sum")


@composed
def l1_loss(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    """L = |x − t|.

    >>> float(l1_loss(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    1.0
    """
    _check_shapes("l1_loss", x, target)
    return _reduced("l1_loss", abs(x - target), reduction)


@composed
def huber_loss(x: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean") -> Any:
    """L = d²/2 where |d| ≤ δ, δ·(|d| − δ/2) beyond; d = x − t.

    >>> huber_loss(np.array([0.5, 3.0]), np.array([0.0, 0.0]), reduction="none")
    array([0.125, 2.5  ])
    """
    _check_shapes("huber_loss", x, target)
    if not delta > 0:
        raise ArgumentError("huber_loss", "delta > 0", f"delta={delta}")
    d = x - target
    return _reduced("huber_loss", where(abs(d) <= delta, d * d * 0.5, (abs(d) - delta / 2) * delta), reduction)


@composed
def smooth_l1_loss(x: Any, target: Any, *, beta: float = 1.0, reduction: str = "mean") -> Any:
    """L = d²/2β where |d| ≤ β, |d| − β/2 beyond; d = x − t: Huber's loss over β, and |d| for β = 0.

    >>> smooth_l1_loss(np.array([0.5, 3.0]), np.array([0.0, 0.0]), reduction="none")
    array([0.125, 2.5  ])
    """
    if beta == 0:
        return l1_loss(x, target, reduction=reduction)
    return huber_loss(x, target, delta=beta, reduction=reduction) / beta


@composed
def kl_div(x: Any, target: Any, *, log_target: bool = False, reduction: str = "mean") -> Any:
    """L = t·(ln t − x), x holding logarithms of probabilities; 0 where t = 0. With `log_target`, so does the target.

    "batchmean" is Σ L over the length of the first axis, the divergence itself; "mean" is over all elements.

    >>> kl_div(np.log(np.array([[0.5, 0.5]])), np.array([[1.0, 0.0]]), reduction="batchmean").round(4)
    np.float64(0.6931)
    """
    _check_shapes("kl_div", x, target)
    if log_target:
        losses = exp(target) * (target - x)
    else:
        t = as_array(target)
        if (t < 0).any():
            raise ArgumentError("kl_div", "probabilities ≥ 0", f"{t.min()}", hint="log_target=True takes logarithms.")
        losses = target * (log(where(t > 0, target, 1.0)) - x)
    if reduction == "batchmean":
        return _reduced("kl_div", losses, "mean", shape_of(x)[0] if shape_of(x) else 1)
    return _reduced("kl_div", losses, reduction)
