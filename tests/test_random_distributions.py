"""The distributions of the random numbers, each tested on one fixed draw."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinone.kernels.random import reference
from kinone.random import Stream

KEY = np.array([0xA4093822, 0x299F31D0], np.uint32)
MILLION = 10**6


def _kolmogorov_smirnov(sample: NDArray[Any], cdf: Callable[[float], float]) -> float:
    """√n · sup |Fₙ − F|; beyond 1.63 with probability 1 % if the sample has the distribution F."""
    n = len(sample)
    f = np.array([cdf(x) for x in np.sort(sample).tolist()])
    return math.sqrt(n) * max((np.arange(1, n + 1) / n - f).max(), (f - np.arange(n) / n).max())


def _gauss(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_million_normals_are_normal(dtype: Any) -> None:
    z = Stream("normals", seed=5).normal(MILLION, dtype=dtype)
    assert z.dtype == dtype
    assert _kolmogorov_smirnov(z, _gauss) < 1.36
    z = z.astype(np.float64)
    # Four standard errors each: of the mean, the variance, the skewness, the fourth moment, the lag-one correlation.
    assert abs(z.mean()) < 4e-3
    assert abs((z**2).mean() - 1) < 4e-3 * math.sqrt(2)
    assert abs((z**3).mean()) < 4e-3 * math.sqrt(15)
    assert abs((z**4).mean() - 3) < 4e-3 * math.sqrt(96)
    assert abs((z[1:] * z[:-1]).mean()) < 4e-3


def test_normals_are_normal_beyond_four_sigma() -> None:
    n = 4 * MILLION
    z = Stream("tails", seed=5).normal(n)
    for sigma in (3.0, 4.0, 4.5):
        expected = n * math.erfc(sigma / math.sqrt(2)) / 2  # 5399, 127 and 13.6 draws
        for beyond in (int((z > sigma).sum()), int((z < -sigma).sum())):
            assert abs(beyond - expected) < 3.5 * math.sqrt(expected), sigma
    assert 4.8 < np.abs(z).max() < 6.2


def test_a_million_uniforms_are_uniform() -> None:
    u = Stream("uniforms", seed=5).uniform(MILLION, low=-3.0, high=5.0, dtype=np.float64)
    assert -3 < u.min() < -2.9999
    assert 4.9999 < u.max() < 5
    assert _kolmogorov_smirnov(u, lambda x: (x + 3) / 8) < 1.36
    assert abs(u.mean() - 1) < 4e-3 * 8 / math.sqrt(12)
    bits = reference.random_bits(KEY, 0, 0, MILLION)
    ones = np.array([int((bits >> np.uint32(i) & np.uint32(1)).sum()) for i in range(32)])
    assert np.abs(ones - MILLION / 2).max() < 4 * math.sqrt(MILLION) / 2


def _chi_square(counts: NDArray[Any]) -> float:
    """(χ² − its mean)/its standard deviation: how unlike equal counts these are."""
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / math.sqrt(2 * freedom))


@pytest.mark.parametrize("span", [2, 7, 10, 256, 1000])
def test_integers_are_equally_likely(span: int) -> None:
    x = Stream("integers", seed=5).integers(MILLION, low=-3, high=span - 3)
    assert x.dtype == np.int64
    assert (x.min(), x.max()) == (-3, span - 4)
    assert abs(_chi_square(np.bincount(x + 3, minlength=span))) < 3.5


@given(word=st.integers(0, 2**64 - 1), low=st.integers(-(2**63), 2**63 - 2**32), span=st.integers(1, 2**32))
def test_integers_are_the_high_half_of_a_product(word: int, low: int, span: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "_words", lambda *_: np.array([word], np.uint64))
        assert reference.integers(KEY, 0, 0, 1, low, low + span).tolist() == [low + (word * span >> 64)]


def test_bernoulli_has_its_probability() -> None:
    s = Stream("coins", seed=5)
    for p in (0.001, 0.3, 0.5):
        assert abs(int(s.bernoulli(MILLION, p).sum()) - p * MILLION) < 4 * math.sqrt(p * (1 - p) * MILLION)
    assert not s.bernoulli(1000, 0.0).any()
    assert s.bernoulli(1000, 1.0).all()
    assert s.bernoulli(3, 0.5).dtype == np.bool_


def test_permutations_hold_each_number_once() -> None:
    s = Stream("orders", seed=5)
    for n in (0, 1, 2, 1000, 100_000):
        assert np.array_equal(np.sort(s.permutation(n)), np.arange(n))
    assert s.permutation(3).dtype == np.int64


def test_small_permutations_are_equally_likely() -> None:
    s = Stream("orders", seed=5)
    orders = [tuple(s.permutation(4).tolist()) for _ in range(12_000)]
    counts = np.unique(np.array(orders), axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert abs(_chi_square(counts)) < 3.5


def test_equal_words_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "_words", lambda *_: np.array([5, 2, 5, 2, 5, 2**64 - 1, 0], np.uint64))
    assert reference.permutation(KEY, 0, 7).tolist() == [6, 1, 3, 0, 2, 4, 5]
