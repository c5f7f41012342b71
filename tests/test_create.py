"""The factories: values beside NumPy's, dtypes, gradients asked for, and draws that replay."""

import numpy as np
import pytest

import kinone as kn
from kinone.errors import ArgumentError, DeviceError, KinoneError, ShapeError

PAIRS = [
    (lambda: kn.zeros(2, 3), np.zeros((2, 3), np.float32)),
    (lambda: kn.zeros((2, 3), dtype=int), np.zeros((2, 3), int)),
    (lambda: kn.ones(()), np.ones((), np.float32)),
    (lambda: kn.ones(0, 2, dtype=bool), np.ones((0, 2), bool)),
    (lambda: kn.empty(2), np.zeros(2, np.float32)),
    (lambda: kn.full((2,), True), np.full(2, True)),
    (lambda: kn.full(2, 1.5), np.full(2, 1.5, np.float32)),
    (lambda: kn.full(2, 1.5, dtype=np.float64), np.full(2, 1.5)),
    (lambda: kn.eye(2, 4, k=1), np.eye(2, 4, 1, np.float32)),
    (lambda: kn.eye(3, k=-1, dtype=np.float64), np.eye(3, k=-1)),
    (lambda: kn.arange(5), np.arange(5)),
    (lambda: kn.arange(5, 1, -2), np.arange(5, 1, -2)),
    (lambda: kn.arange(0.5, 3), np.arange(0.5, 3, dtype=np.float32)),
    (lambda: kn.arange(3, dtype=np.float64), np.arange(3.0)),
    (lambda: kn.linspace(-1, 1, 7), np.linspace(-1, 1, 7, dtype=np.float32)),
    (lambda: kn.linspace(0, 1, 4, endpoint=False, dtype=np.float64), np.linspace(0, 1, 4, endpoint=False)),
    (lambda: kn.zeros_like(kn.ones(2, dtype=np.float64)), np.zeros(2)),
    (lambda: kn.ones_like([1, 2]), np.ones(2, int)),
    (lambda: kn.full_like(np.zeros(2, np.float16), 3), np.full(2, 3, np.float16)),
    (lambda: kn.empty_like([1.0], dtype=int), np.zeros(1, int)),
    (lambda: kn.from_dlpack(np.arange(3)), np.arange(3)),
    (lambda: kn.asarray([1, 2], dtype=np.float64), np.array([1.0, 2.0])),
]


@pytest.mark.parametrize(("make", "want"), PAIRS, ids=range(len(PAIRS)))
def test_values_and_dtypes(make, want):
    y = make()
    assert isinstance(y, kn.Tensor)
    assert not y.requires_grad
    assert y.dtype == want.dtype
    np.testing.assert_array_equal(y.numpy(), want)


@pytest.mark.parametrize("make", [kn.zeros, kn.ones, kn.rand, kn.randn])
def test_leaves_on_request(make):
    w = make(2, 3, requires_grad=True)
    (w * w).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * w.numpy())
    with pytest.raises(DeviceError, match="cpu"):
        make(2, device="tpu:0")


def test_draws_replay_and_follow_one_another():
    kn.random.seed(3)
    first = kn.rand(4), kn.randn(2, 2), kn.randint(0, 9, (3,)), kn.randn_like(kn.zeros(2)), kn.rand_like([0.0])
    kn.random.seed(3)
    again = kn.rand(4), kn.randn(2, 2), kn.randint(0, 9, (3,)), kn.randn_like(kn.zeros(2)), kn.rand_like([0.0])
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert not np.array_equal(kn.rand(4).numpy(), kn.rand(4).numpy())
    own = kn.random.stream("mine", seed=5)
    before = kn.random.stream("factory").step
    assert kn.rand(2, dtype=np.float64, stream=own).dtype == np.float64
    assert (own.step, kn.random.stream("factory").step) == (1, before)


def test_asarray_copies_when_told():
    x = np.arange(3.0)
    assert kn.asarray(x).numpy() is x
    assert not np.shares_memory(kn.asarray(x, copy=True).numpy(), x)
    t = kn.Tensor(x, requires_grad=True)
    assert kn.asarray(t) is t
    y = kn.asarray(t, dtype=np.float32, copy=True).sum()
    assert kn.gradients(y, [t])[0].tolist() == [1, 1, 1]
    for source in ([1.0], np.arange(3)):
        with pytest.raises(ArgumentError, match="copy=False"):
            kn.asarray(source, dtype=np.float64, copy=False)


REFUSED = [
    (lambda: kn.zeros(-1), ShapeError, "lengths ≥ 0"),
    (lambda: kn.ones((2, 1.5)), ShapeError, "lengths ≥ 0"),
    (lambda: kn.eye(-2), ShapeError, "eye"),
    (lambda: kn.linspace(0, 1, -3), ShapeError, "linspace"),
    (lambda: kn.arange(0, 3, 0), ArgumentError, "step other than 0"),
    (lambda: kn.randint(3, 3, 2), KinoneError, "low < high"),
    (lambda: kn.rand(2, dtype=int), KinoneError, "dtype"),
    (lambda: kn.from_dlpack([1.0]), ArgumentError, "DLPack"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()
