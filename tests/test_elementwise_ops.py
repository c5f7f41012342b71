"""Where elementwise operators go wrong elsewhere: far from 0, at kinks and ties, at the edges of dtypes."""

import math

import numpy as np
import pytest

import kinone as kn
from kinone import kernels
from kinone.errors import ArgumentError, DtypeError

# Every activation that takes one array, with its attributes.
ACTIVATIONS = [
    ("relu", {}), ("leaky_relu", {}), ("elu", {}), ("elu", {"alpha": 3.0}), ("selu", {}), ("celu", {}),
    ("celu", {"alpha": 0.1}), ("gelu", {}), ("gelu", {"approximate": "tanh"}), ("sigmoid", {}), ("log_sigmoid", {}),
    ("tanh", {}), ("softplus", {}), ("softplus", {"beta": 20.0}), ("softsign", {}), ("silu", {}), ("swish", {}),
    ("mish", {}), ("hard_sigmoid", {}), ("hard_swish", {}), ("hard_tanh", {}), ("relu6", {}), ("glu", {}),
    ("threshold", {}), ("tanhshrink", {}), ("softshrink", {}), ("hardshrink", {}), ("erf", {}), ("erfc", {}),
    ("atan", {}), ("asinh", {}), ("abs", {}),
]  # fmt: skip
FAR = [-1e4, -1e3, -100.0, -89.0, -20.0, -1.0, -0.0, 0.0, 1.0, 20.0, 89.0, 100.0, 1e3, 1e4]


def derivatives(f, x):
    """(f, f', f'') of the sum over x, each an array."""
    x = kn.Tensor(x, requires_grad=True)
    y = f(x)
    first = kn.gradients(y.sum(), x, create_graph=True)
    second = kn.gradients(first.sum(), x) if first.requires_grad else kn.Tensor(np.zeros_like(x.data))
    return y.numpy(), first.numpy(), second.numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "attrs"), ACTIVATIONS, ids=str)
def test_finite_far_from_zero(name, attrs, dtype):
    """Value, first and second derivative are finite at ±10⁴ and in between, and small steps agree with float64."""
    x = np.array(FAR, dtype)
    found = derivatives(lambda x: getattr(kn, name)(x, **attrs), x)
    exact = derivatives(lambda x: getattr(kn, name)(x, **attrs), x.astype(np.float64))
    for order, (got, want) in enumerate(zip(found, exact, strict=True)):
        assert got.dtype == dtype
        assert np.isfinite(got).all(), f"derivative {order} of {name}: {got}"
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "attrs"), ACTIVATIONS, ids=str)
def test_a_nan_is_never_hidden(name, attrs):
    assert np.isnan(getattr(kn, name)(np.array([np.nan, np.nan]), **attrs)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prelu_and_logaddexp_far_from_zero(dtype):
    x = np.array(FAR, dtype).reshape(7, 2)
    for f in (kn.prelu, kn.logaddexp):
        a, b = kn.Tensor(x, requires_grad=True), kn.Tensor(np.array([0.5, -1e4], dtype), requires_grad=True)
        first = kn.gradients(f(a, b).sum(), [a, b], create_graph=True)
        second = kn.gradients((first[0] * first[0]).sum() + (first[1] * first[1]).sum(), [a, b])
        assert all(np.isfinite(t.numpy()).all() for t in (*first, *second))


SLOPES = {
    "abs": (kn.abs, 0.0), "relu": (kn.relu, 0.0), "relu6": (kn.relu6, 0.0), "sign": (kn.sign, 0.0),
    "leaky_relu": (lambda x: kn.leaky_relu(x, negative_slope=0.25), 0.25),
    "elu": (lambda x: kn.elu(x, alpha=2.0), 2.0), "hard_tanh": (lambda x: kn.hard_tanh(x, min=0.0), 0.0),
    "hardshrink": (lambda x: kn.hardshrink(x, lambd=0.0), 0.0), "clip": (lambda x: kn.clip(x, 0.0, 1.0), 1.0),
    "maximum": (lambda x: kn.maximum(x, 0.0), 0.5), "minimum": (lambda x: kn.minimum(x, 0.0), 0.5),
    "hypot": (lambda x: kn.hypot(x, 0.0), 0.0), "atan2": (lambda x: kn.atan2(x, 0.0), 0.0),
    "remainder": (lambda x: x % 2.0, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOPES)
def test_the_slope_at_a_kink(name):
    f, slope = SLOPES[name]
    for zero in (0.0, -0.0):
        assert derivatives(f, np.array([zero]))[1].tolist() == [slope]


def test_ties_share_the_gradient_whoever_asks():
    a = kn.Tensor([1.0, 2.0, 5.0], requires_grad=True)
    b = kn.Tensor([1.0, 3.0, 4.0], requires_grad=True)
    kn.maximum(a, b).sum().backward()
    assert a.grad is not None and b.grad is not None
    assert (a.grad.tolist(), b.grad.tolist()) == ([0.5, 0.0, 1.0], [0.5, 1.0, 0.0])
    x = kn.Tensor([2.0], requires_grad=True)
    kn.minimum(x, x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1.0]


# ------------------------------------------------------------------------------ powers
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, 5, 6])
def test_whole_powers_are_exact_and_smooth_at_zero(exponent, dtype):
    """aⁿ, n aⁿ⁻¹ and n (n − 1) aⁿ⁻² of small whole numbers, 0 among them, as a number, an array and a Tensor."""
    a = np.arange(-9, 10)
    exact = [a**exponent, exponent * a ** max(exponent - 1, 0), exponent * (exponent - 1) * a ** max(exponent - 2, 0)]
    for b in (exponent, float(exponent), np.full(a.shape, exponent, dtype)):
        for got, want in zip(derivatives(lambda x, b=b: x**b, a.astype(dtype)), exact, strict=True):
            assert got.dtype == dtype
            assert got.tolist() == want.tolist()


def test_the_gradient_of_an_exponent():
    a = np.array([0.0, 0.0, 2.0, 2.0, 3.0])
    b = np.array([0.0, 2.0, 0.0, 3.0, -1.0])
    assert derivatives(lambda t: a**t, b)[1].tolist() == pytest.approx(
        [0, 0, math.log(2), 8 * math.log(2), math.log(3) / 3]
    )
    assert derivatives(lambda t: 0.0**t, np.array([1.0, 2.0]))[1].tolist() == [0.0, 0.0]
    assert np.isnan(derivatives(lambda t: (-1.0) ** t, np.array([2.0]))[1]).all()  # (−1)ᵇ is real at integers only


def test_integers_stay_integers():
    x = kn.Tensor([7, -7])
    for y, want in [(x + 1, [8, -6]), (x * 2, [14, -14]), (x // 2, [3, -4]), (x % 4, [3, 1]), (x**2, [49, 49]),
                    (-x, [-7, 7]), (abs(x), [7, 7]), (kn.square(x), [49, 49]), (kn.clip(x, 0, 5), [5, 0]),
                    (kn.fmod(x, 4), [3, -3]), (~x, [-8, 6]), (x & 3, [3, 1]), (x >> 1, [3, -4]),
                    (1 << kn.Tensor([3, 4]), [8, 16]), (kn.relu(x), [7, 0]), (kn.sign(x), [1, -1])]:  # fmt: skip
        assert y.dtype.kind == "i"
        assert y.tolist() == want
    with pytest.raises(DtypeError, match=r"\[divide\].*int64"):
        kn.divide(x, 2)
    with pytest.raises(ArgumentError, match="negative integer powers"):
        kn.pow(x, -1)


def test_operators_of_python_on_booleans():
    a, b = kn.Tensor([True, True, False]), kn.Tensor([True, False, False])
    assert ((a & b).tolist(), (a | b).tolist(), (a ^ b).tolist()) == (
        [True, False, False],
        [True, True, False],
        [False, True, False],
    )
    assert (~a).tolist() == [False, False, True]
    assert (True & b).tolist() == [True, False, False]


def test_comparisons_leave_tensors_hashable():
    x = kn.Tensor([1.0, 2.0])
    assert hash(x) == hash(x)
    assert (x == x).tolist() == [True, True]
    assert (x > 1.5).tolist() == [False, True]
    assert (x != [1.0, 3.0]).tolist() == [False, True]


def test_closeness():
    x = kn.Tensor([1.0, float("nan")])
    assert not kn.allclose(x, x)
    assert kn.allclose(x, x, equal_nan=True)
    assert kn.array_equal(kn.Tensor([1, 2]), [1, 2])
    assert not kn.array_equal([1, 2], [1, 2, 3])


# ------------------------------------------------------------------------------ at the edges of a dtype
def test_a_choice_between_python_numbers_is_float32():
    mask = kn.Tensor([True, False])
    assert kn.where(mask, 1.0, 0.0).dtype == np.float32
    assert kn.where(mask, 1, 0).dtype == np.int64


def test_log_of_zero_plus_zero():
    """ln(0 + 0) = −∞ is a log-probability like any other: no NaN in it or behind it."""
    a = kn.Tensor(np.array([-np.inf, -np.inf]), requires_grad=True)
    y = kn.logaddexp(a, np.array([-np.inf, 0.0]))
    y.backward(np.ones(2))
    assert a.grad is not None
    assert (y.tolist(), a.grad.tolist()) == ([-np.inf, 0.0], [0.0, 0.0])


def test_nan_to_num_takes_the_ends_of_the_dtype():
    y = kn.nan_to_num(np.array([np.nan, np.inf, -np.inf], np.float32), nan=7.0)
    assert y.tolist() == [7.0, float(np.finfo(np.float32).max), float(np.finfo(np.float32).min)]


@pytest.mark.parametrize("f", [kn.sigmoid, kn.silu, kn.gelu, kn.mish, kn.softplus, kn.log_sigmoid, kn.erf, kn.rsqrt])
def test_half_precision_rounds_once(f):
    x = np.linspace(0.5, 8, 500).astype(np.float16)
    np.testing.assert_array_max_ulp(f(x), f(x.astype(np.float64)).astype(np.float16), maxulp=1)


@pytest.mark.parametrize(("ours", "exact"), [(kernels.erf, math.erf), (kernels.erfc, math.erfc)])
def test_the_error_function_to_the_last_digits(ours, exact):
    near = np.concatenate([np.linspace(-6, 6, 20001), np.linspace(-28, 28, 2001), np.geomspace(1e-300, 1, 1001)])
    want = np.array([exact(x) for x in near])
    normal = np.abs(want) > np.finfo(float).tiny
    np.testing.assert_allclose(ours(near)[normal], want[normal], rtol=1.5e-15)
    assert np.abs(ours(near)[~normal]).max(initial=0.0) <= np.finfo(float).tiny
    edges = ours(np.array([-np.inf, np.inf, np.nan]))
    assert edges[:2].tolist() == [exact(-np.inf), exact(np.inf)]
    assert np.isnan(edges[2])


def test_the_inverse_error_function_inverts():
    y = np.concatenate([np.linspace(-3, 3, 5001), np.geomspace(1e-300, 1, 1001)])
    x = kn.erf(y)
    # What erf's rounding to x loses of y is not erfinv's to give back: |dy/dx| · ulp(x).
    lost = np.exp(y * y) * np.spacing(np.abs(x))
    assert (np.abs(kn.erfinv(x) - y) <= 4 * np.spacing(np.abs(y)) + 2 * lost).all()
    assert np.isnan(kn.erfinv(np.array([1.5, np.nan]))).all()


def test_logit_inverts_the_sigmoid():
    x = np.linspace(-20, 10, 301)
    np.testing.assert_allclose(kn.logit(kn.sigmoid(x)), x, rtol=1e-10, atol=1e-12)
    assert bool(kn.gradcheck(kn.logit, np.array([0.2, 0.7])))


def test_lerp():
    a, b = np.array([0.0, 2.0]), np.array([4.0, 3.0])
    assert kn.lerp(a, b, 0.25).tolist() == [1.0, 2.25]
    assert bool(kn.gradcheck(kn.lerp, a, b, np.array([0.3, 0.6])))
