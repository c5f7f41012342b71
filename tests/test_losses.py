"""Losses that are made of several operators: derivatives, ends of the range, and what is refused."""

import numpy as np
import pytest

import kinone as kn
from kinone.errors import ArgumentError, AxisError, ShapeError

RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))
P, Q = RNG.random((3, 4)) * 0.8 + 0.1, RNG.random((3, 4)) * 0.8 + 0.1
CLASSES = np.array([1, -100, 3])
TRUE = np.array([[0.0, 1.0, 1.0, 0.0]] * 3)
W = RNG.random(4) + 0.5

CASES = {
    "cross_entropy": (lambda x, w, **r: kn.cross_entropy(x, CLASSES, w, label_smoothing=0.1, **r), X, W),
    "cross_entropy of probabilities": (
        lambda x, t, w, **r: kn.cross_entropy(x, t, w, label_smoothing=0.2, **r),
        X,
        Q,
        W,
    ),
    "nll_loss": (lambda x, w, **r: kn.nll_loss(x, CLASSES, w, **r), X, W),
    "binary_cross_entropy": (kn.binary_cross_entropy, P, Q, W),
    "binary_cross_entropy_with_logits": (kn.binary_cross_entropy_with_logits, X, Q, W, W + 1),
    "sigmoid_focal_loss": (lambda x, **r: kn.sigmoid_focal_loss(x, TRUE, **r), X),
    "sigmoid_focal_loss, gamma 0.5": (lambda x, **r: kn.sigmoid_focal_loss(x, TRUE, gamma=0.5, alpha=-1, **r), X),
    "hinge_loss": (lambda x, **r: kn.hinge_loss(x, 2 * TRUE - 1, **r), X),
    "mse_loss": (kn.mse_loss, X, T),
    "l1_loss": (kn.l1_loss, X, T),
    "huber_loss": (kn.huber_loss, X, T),
    "smooth_l1_loss": (kn.smooth_l1_loss, X, T),
    "kl_div": (kn.kl_div, X, Q),
    "kl_div of logarithms": (lambda x, t, **r: kn.kl_div(x, t, log_target=True, **r), X, T),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_every_loss(name, reduction):
    f, *arrays = CASES[name]
    kn.gradcheck(f, *arrays, reduction=reduction)
    kn.gradgradcheck(f, *arrays, reduction=reduction)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_losses_keep_the_dtype(name, dtype):
    f, *arrays = CASES[name]
    xs = [kn.Tensor(a.astype(dtype), requires_grad=True) for a in arrays]
    if name.startswith(("cross_entropy", "nll_loss")) and "of" not in name:
        assert f(*xs).dtype == dtype
    y = f(*xs, reduction="sum")
    assert y.dtype == dtype
    assert {g.dtype for g in kn.gradients(y, xs)} == {np.dtype(dtype)}


FAR = np.array([[1e4, -1e4, 1e4, -1e4]], np.float32)
FAR_CASES = {
    "cross_entropy": lambda x: kn.cross_entropy(x, np.array([1])),
    "cross_entropy of probabilities": lambda x: kn.cross_entropy(x, TRUE[:1].astype(np.float32) / 2),
    "binary_cross_entropy_with_logits": lambda x: kn.binary_cross_entropy_with_logits(x, TRUE[:1].astype(np.float32)),
    "sigmoid_focal_loss": lambda x: kn.sigmoid_focal_loss(x, TRUE[:1]),
    "sigmoid_focal_loss, gamma 0.5": lambda x: kn.sigmoid_focal_loss(x, TRUE[:1], gamma=0.5),
    "sigmoid_focal_loss, gamma 0": lambda x: kn.sigmoid_focal_loss(x, TRUE[:1], gamma=0),
    "hinge_loss": lambda x: kn.hinge_loss(x, 2 * TRUE[:1] - 1),
    "huber_loss": lambda x: kn.huber_loss(x, -x.detach()),
}


@pytest.mark.parametrize("name", FAR_CASES)
def test_far_inputs_give_finite_losses_and_gradients(name):
    x = kn.Tensor(FAR, requires_grad=True)
    y = FAR_CASES[name](x)
    assert np.isfinite(y.item())
    assert np.isfinite(kn.gradients(y, [x])[0].numpy()).all()


def test_small_losses_do_not_cancel():
    """In float32 (1 − t)·x + ln(1 + e⁻ˣ) would lose all digits of e⁻²⁰."""
    y = kn.binary_cross_entropy_with_logits(np.full(1, -20.0, np.float32), np.zeros(1, np.float32))
    np.testing.assert_allclose(y, np.exp(-20.0), rtol=1e-6)


def test_binary_cross_entropy_is_flat_where_its_logarithm_is_held():
    x = kn.Tensor(np.array([0.0, 1.0, 0.0, 1.0]), requires_grad=True)
    y = kn.binary_cross_entropy(x, np.array([1.0, 0.0, 0.0, 1.0]), reduction="none")
    assert y.tolist() == [100.0, 100.0, 0.0, 0.0]
    assert kn.gradients(y.sum(), [x])[0].tolist() == [0.0, 0.0, 1.0, -1.0]


def test_huber_is_curved_at_its_bottom():
    assert kn.hessian(lambda x: kn.huber_loss(x, np.zeros(1)))(np.zeros(1)).item() == 1.0


@pytest.mark.parametrize("loss", [kn.cross_entropy, kn.nll_loss])
def test_everything_ignored(loss):
    x, t = kn.Tensor(X, requires_grad=True), np.full(3, -100)
    with pytest.raises(ArgumentError, match="at least one loss to take the mean of"):
        loss(x, t)
    y = loss(x, t, reduction="sum")
    assert y.item() == 0.0
    assert not kn.gradients(y, [x])[0].numpy().any()
    assert loss(x, t, reduction="none").tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "loss", [kn.mse_loss, kn.l1_loss, kn.binary_cross_entropy_with_logits, kn.huber_loss, kn.kl_div]
)
def test_an_empty_batch(loss):
    x = np.zeros((0, 3))
    with pytest.raises(ArgumentError, match="at least one loss"):
        loss(x, x)
    assert loss(x, x, reduction="sum") == 0
    assert loss(x, x, reduction="none").shape == (0, 3)


REFUSED = [
    (lambda: kn.mse_loss(np.zeros((3, 1)), np.zeros(3)), ShapeError, r"\[mse_loss\] .* of x's shape \(3, 1\)"),
    (lambda: kn.mse_loss(X, T, reduction="avg"), ArgumentError, r"\[mse_loss\] expected reduction .* got 'avg'"),
    (lambda: kn.cross_entropy(X, np.array([0, 1, 4])), AxisError, r"\[cross_entropy\] .* from 0 to 3, got 4"),
    (lambda: kn.cross_entropy(X, np.array([0, 1])), ShapeError, r"target of shape \(3,\), got \(2,\)"),
    (lambda: kn.cross_entropy(X, CLASSES, W[:2]), ShapeError, r"weight of shape \(4,\)"),
    (lambda: kn.cross_entropy(X, CLASSES, label_smoothing=1.5), ArgumentError, "label_smoothing"),
    (lambda: kn.cross_entropy(X, Q[:2]), ShapeError, "x's shape"),
    (lambda: kn.nll_loss(X, np.array([0, 1, 4])), AxisError, r"\[nll_loss\] expected classes"),
    (lambda: kn.binary_cross_entropy(X, Q), ArgumentError, "probabilities from 0 to 1.*Hint: .*with_logits"),
    (lambda: kn.binary_cross_entropy_with_logits(X, Q, np.ones((2, 3, 4))), ShapeError, "weights that broadcast"),
    (lambda: kn.binary_cross_entropy(P, Q, np.ones((2, 3, 4))), ShapeError, r"weights that broadcast to \(3, 4\)"),
    (lambda: kn.binary_cross_entropy(P[:1], Q[:1], np.ones((3, 4))), ShapeError, r"weights that .* got \(3, 4\)"),
    (lambda: kn.sigmoid_focal_loss(X, Q), ArgumentError, "targets 0 or 1"),
    (lambda: kn.sigmoid_focal_loss(X, TRUE, gamma=-1), ArgumentError, "gamma"),
    (lambda: kn.hinge_loss(X, TRUE), ArgumentError, "targets −1 or 1, got 0"),
    (lambda: kn.huber_loss(X, T, delta=0), ArgumentError, "delta > 0"),
    (lambda: kn.kl_div(X, T), ArgumentError, "probabilities ≥ 0.*log_target"),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(REFUSED)))
def test_refusals(i):
    f, error, match = REFUSED[i]
    with pytest.raises(error, match=match):
        f()


def test_kl_div_at_zero_probability():
    x, t = kn.Tensor(np.log([[0.5, 0.5]]), requires_grad=True), np.array([[1.0, 0.0]])
    assert np.isclose(kn.kl_div(x, t, reduction="batchmean").item(), np.log(2))
    assert kn.gradients(kn.kl_div(x, t, reduction="sum"), [x])[0].tolist() == [[-1.0, 0.0]]
