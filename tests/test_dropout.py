"""Dropout: what is dropped, how much, and that the noise is the key's alone."""

import numpy as np
import pytest

import kinone as kn
from kinone.errors import ArgumentError

KEY = (0, "dropout", 1)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_and_the_mean(p):
    y = kn.dropout(np.ones(100_000), p=p, key=KEY)
    assert abs((y == 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / 1e5)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - p))


def test_each_call_moves_the_stream_and_a_seed_brings_it_back():
    x = np.ones(50)
    kn.random.seed(5)
    a, b = kn.dropout(x), kn.dropout(x)
    kn.random.seed(5)
    assert (a == kn.dropout(x)).all()
    assert (b == kn.keyed_dropout(x, p=0.5, key=(5, "dropout", 1))).all()
    assert (a != b).any()


def test_nothing_is_kept_for_backward():
    x = kn.Tensor(np.ones(1000), requires_grad=True)
    y = kn.dropout(x, p=0.5, key=KEY)
    assert all(a is None for a in y.node.arrays)
    assert y.node.y is None
    np.testing.assert_array_equal(kn.gradients(y.sum(), [x])[0].numpy(), y.numpy())


def test_whole_channels():
    y = kn.channel_dropout(np.ones((8, 16, 3, 3)), p=0.5, key=KEY)
    assert (y == y[:, :, :1, :1]).all()
    assert 0 < (y[:, :, 0, 0] == 0).mean() < 1


def test_alpha_dropout_keeps_mean_and_variance():
    x = kn.random.Stream("alpha").normal(200_000, dtype=np.float64)
    y = kn.alpha_dropout(x, p=0.3, key=KEY)
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.02


@pytest.mark.parametrize("f", [kn.dropout, kn.channel_dropout, kn.alpha_dropout])
@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_p_outside_its_range_is_refused(f, p):
    with pytest.raises(ArgumentError, match="0 ≤ p"):
        f(np.ones((2, 3)), p=p, key=KEY)


def test_p_of_one_gives_zeros():
    assert not kn.dropout(np.ones(3), p=1.0, key=KEY).any()
