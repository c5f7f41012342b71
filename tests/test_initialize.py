"""First values: their spread, their limits, and that the same seed gives the same bits."""

import hashlib
from collections.abc import Callable
from math import erf, exp, pi, sqrt
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn
from kinone.errors import ArgumentError, ShapeError
from kinone.nn import initialize
from kinone.random import Stream

SHAPE = (64, 48, 3, 3)
FAN_IN, FAN_OUT = 48 * 9, 64 * 9


def made(name: str, *args: Any, shape: tuple[int, ...] = SHAPE, dtype: Any = np.float64, **attrs: Any) -> Any:
    p = nn.Parameter(np.full(shape, 7.0, dtype))
    result = initialize.INITIALIZERS[name](p, *args, **attrs, source=Stream("init", seed=3))
    assert result is p and p.dtype == dtype and p.shape == shape and p.data.flags.c_contiguous
    return p.data


def moments_of_truncated_normal(mean: float, std: float, a: float, b: float) -> tuple[float, float]:
    low, high = (a - mean) / std, (b - mean) / std

    def density(z: float) -> float:
        return exp(-z * z / 2) / sqrt(2 * pi)

    mass = (erf(high / sqrt(2)) - erf(low / sqrt(2))) / 2
    shift = (density(low) - density(high)) / mass
    spread = 1 + (low * density(low) - high * density(high)) / mass - shift * shift
    return mean + std * shift, std * sqrt(spread)


UNIFORM: list[tuple[str, dict[str, Any], float]] = [
    ("uniform", {"a": -3.0, "b": 3.0}, 3.0),
    ("xavier_uniform", {"gain": 2.0}, 2 * sqrt(6 / (FAN_IN + FAN_OUT))),
    ("kaiming_uniform", {"a": sqrt(5)}, sqrt(1 / FAN_IN)),
    ("kaiming_uniform", {"mode": "fan_out", "nonlinearity": "relu"}, sqrt(6 / FAN_OUT)),
]
NORMAL: list[tuple[str, dict[str, Any], float, float]] = [
    ("normal", {"mean": 2.0, "std": 3.0}, 2.0, 3.0),
    ("xavier_normal", {"gain": 2.0}, 0.0, 2 * sqrt(2 / (FAN_IN + FAN_OUT))),
    ("kaiming_normal", {"nonlinearity": "relu"}, 0.0, sqrt(2 / FAN_IN)),
    ("kaiming_normal", {"mode": "fan_out", "nonlinearity": "tanh"}, 0.0, 5 / 3 / sqrt(FAN_OUT)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "attrs", "bound"), UNIFORM)
def test_uniform_values_fill_their_range_evenly(name: str, attrs: dict[str, Any], bound: float, dtype: Any):
    x = made(name, **attrs, dtype=dtype).astype(np.float64)
    assert -bound <= x.min() < -0.999 * bound and 0.999 * bound < x.max() <= bound * (1 + 1e-6)
    shares = np.histogram(x, bins=10, range=(-bound * (1 + 1e-6), bound * (1 + 1e-6)))[0] / x.size
    assert abs(shares - 0.1).max() < 5 * sqrt(0.1 * 0.9 / x.size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "attrs", "mean", "std"), NORMAL)
def test_normal_values_have_mean_spread_and_shape(
    name: str, attrs: dict[str, Any], mean: float, std: float, dtype: Any
):
    z = (made(name, **attrs, dtype=dtype).astype(np.float64) - mean) / std
    assert abs(z.mean()) < 5 / sqrt(z.size) and abs(z.std() - 1) < 5 / sqrt(2 * z.size)
    for limit in (0.5, 1.0, 2.0, 3.0):
        share = erf(limit / sqrt(2))
        assert abs((abs(z) < limit).mean() - share) < 5 * sqrt(share * (1 - share) / z.size)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [(0.0, 1.0, -2.0, 2.0), (0.5, 2.0, -1.0, 1.5), (0.0, 0.02, -2.0, 2.0), (0.0, 1.0, 3.0, 4.0), (1.0, 0.5, -9.0, 0.0)],
)
def test_truncated_normal_values_stay_within_and_follow_the_law(mean: float, std: float, a: float, b: float):
    x = made("trunc_normal", mean, std, a, b)
    assert a <= x.min() and x.max() <= b
    own_mean, own_std = moments_of_truncated_normal(mean, std, a, b)
    assert abs(x.mean() - own_mean) < 5 * own_std / sqrt(x.size)
    assert abs(x.std() - own_std) < 5 * own_std / sqrt(x.size)


def test_the_edges_of_truncation():
    far = made("trunc_normal", 0.0, 1.0, 20.0, 21.0)
    assert far.min() >= 20 and far.max() < 21 and abs(far.mean() - 20.05) < 0.002  # the mean of what lies beyond 20σ
    assert (made("trunc_normal", 5.0, 0.0, -2.0, 2.0) == 2).all()
    with pytest.raises(ArgumentError, match=r"a range that N\(0.0, 1.0²\) meets, got a=50.0 and b=51.0"):
        made("trunc_normal", 0.0, 1.0, 50.0, 51.0)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (4, 2, 3), (1, 4), (4, 1), (200, 200)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]):
    q = made("orthogonal", 2.0, shape=shape).reshape(shape[0], -1) / 2
    q = q if q.shape[0] >= q.shape[1] else q.T
    assert abs(q.T @ q - np.eye(q.shape[1])).max() < 1e-14


def test_orthogonal_matrices_are_all_equally_likely():
    qs = np.array([initialize.orthogonal_(kn.Tensor(np.zeros((2, 2)))).data for _ in range(4000)])
    angles = np.arctan2(qs[:, 1, 0], qs[:, 0, 0])  # uniform on the circle
    assert abs(np.histogram(angles, bins=8, range=(-pi, pi))[0] / 4000 - 1 / 8).max() < 5 * sqrt(7 / 64 / 4000)
    assert abs((np.linalg.det(qs) > 0).mean() - 0.5) < 5 * 0.5 / sqrt(4000)  # reflections as often as rotations


def test_what_needs_no_draw():
    shape = (4, 3)
    assert (initialize.constant_(nn.Parameter(np.zeros(shape, np.float32)), 0.5).data == 0.5).all()
    assert not initialize.zeros_(nn.Parameter(np.ones(shape))).data.any()
    assert initialize.ones_(nn.Parameter(np.zeros(shape))).data.all()
    np.testing.assert_array_equal(initialize.eye_(nn.Parameter(np.zeros(shape))).data, np.eye(4, 3))
    conv = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
    initialize.dirac_(conv.weight, groups=2)
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 5)).astype(np.float32)
    np.testing.assert_array_equal(conv(x).data, x)


@pytest.mark.parametrize("name", sorted(set(initialize.INITIALIZERS) - {"constant", "zeros", "ones", "eye", "dirac"}))
def test_the_same_seed_gives_the_same_bits_and_a_stream_moves_by_one_step(name: str):
    def draw() -> bytes:
        return initialize.INITIALIZERS[name](nn.Parameter(np.zeros((6, 4), np.float32))).data.tobytes()

    kn.random.seed(5)
    first, second = draw(), draw()
    kn.random.seed(5)
    assert (draw(), draw()) == (first, second) and first != second
    kn.random.seed(6)
    assert draw() != first
    source = Stream("mine", seed=1)
    before = kn.random.stream("init").step
    p = initialize.INITIALIZERS[name](nn.Parameter(np.zeros((6, 4), np.float32)), source=source)
    assert source.step == 1 and kn.random.stream("init").step == before
    other = initialize.INITIALIZERS[name](nn.Parameter(np.zeros((6, 4), np.float32)), source=Stream("mine", seed=1))
    np.testing.assert_array_equal(p.data, other.data)


def test_the_bits_are_pinned():
    """Whatever the processor and the kernels; another digest is another numerics profile."""
    found = {
        name: hashlib.blake2b(made(name, shape=(6, 4), dtype=np.float32).tobytes(), digest_size=6).hexdigest()
        for name in ("uniform", "trunc_normal", "xavier_uniform", "kaiming_normal", "orthogonal")
    }
    assert found == {
        "uniform": "16f669c632bf",
        "trunc_normal": "8f007d6768dc",
        "xavier_uniform": "f78ae6102193",
        "kaiming_normal": "d9ab5b5d4e4b",
        "orthogonal": "3d4198c0cbe3",
    }


def test_what_a_recording_saw_stays():
    p = nn.Parameter(np.ones((2, 2), np.float32))
    y = (p * p).sum()
    initialize.zeros_(p)
    y.backward()
    assert p.grad is not None and p.grad.tolist() == [[2, 2], [2, 2]] and not p.data.any()


def test_gains_and_fans():
    assert initialize.calculate_gain("leaky_relu") == sqrt(2 / (1 + 0.01**2))
    assert initialize.calculate_gain("leaky_relu", 1.0) == 1
    assert [initialize.calculate_gain(n) for n in ("linear", "conv2d", "conv_transpose3d", "sigmoid")] == [1] * 4
    assert initialize.calculate_fans((8, 3)) == (3, 8)
    with pytest.raises(ArgumentError, match=r"one of linear.*got 'gelu'"):
        initialize.calculate_gain("gelu")


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (initialize.xavier_uniform_, ShapeError, r"\(out, in, \*kernel\), got shape \(3,\)"),
        (lambda p: initialize.kaiming_normal_(nn.Linear(2, 3).weight, mode="fan"), ArgumentError, "mode 'fan_in' or"),
        (initialize.orthogonal_, ShapeError, r"got shape \(3,\)"),
        (initialize.eye_, ShapeError, "a matrix"),
        (initialize.dirac_, ShapeError, "a weight of a convolution"),
        (lambda p: initialize.dirac_(nn.Conv1d(2, 3, 1).weight, 2), ArgumentError, "groups that divide the 3 channels"),
        (lambda p: initialize.normal_(p, std=-1.0), ArgumentError, "std ≥ 0, got std=-1.0"),
        (lambda p: initialize.uniform_(p, 1.0, 0.0), ArgumentError, "a ≤ b"),
        (lambda p: initialize.trunc_normal_(p, a=1.0, b=1.0), ArgumentError, "a < b"),
        (lambda p: initialize.zeros_(p.data), ArgumentError, "a parameter or a tensor, got a ndarray"),
        (
            lambda p: initialize.kaiming_normal_(nn.Linear(3).weight),
            ArgumentError,
            "NoneType. Hint: a layer that waits",
        ),
    ],
)
def test_wrong_calls(call: Callable[[Any], Any], error: type[Exception], match: str):
    with pytest.raises(error, match=match):
        call(nn.Parameter(np.ones(3)))


def test_empty_parameters_stay_empty():
    for name in ("xavier_uniform", "kaiming_normal", "orthogonal", "trunc_normal"):
        assert made(name, shape=(0, 3)).shape == (0, 3) and made(name, shape=(3, 0)).shape == (3, 0)
