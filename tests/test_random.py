"""The random numbers: their bits, pinned, element by element and through functions of our own."""

import hashlib
import math
import sys
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinone.kernels.random import reference
from kinone.random import Stream

KEY = np.array([0xA4093822, 0x299F31D0], np.uint32)


# ── bits ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _words(text: str) -> NDArray[np.uint32]:
    return np.array([int(word, 16) for word in text.split()], np.uint32)


KNOWN = [  # counter, key, result: kat_vectors of Random123, "philox4x32 10"
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_vectors(counter: str, key: str, expected: str) -> None:
    assert reference.philox4x32(_words(counter), _words(key)).tolist() == _words(expected).tolist()


def _philox_in_integers(counter: list[int], key: list[int]) -> list[int]:
    """The paper's algorithm on Python's integers, which have no width to get wrong."""
    c, k = counter, key
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q % 2**32, p >> 32 ^ c[3] ^ k[1], p % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


word32 = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(word32, word32, word32, word32), min_size=6, max_size=6), st.tuples(word32, word32))
def test_philox_keeps_many_counters_apart(counters: list[tuple[int, ...]], key: tuple[int, int]) -> None:
    counter = np.array(counters, np.uint32).reshape(2, 3, 4)
    expected = [_philox_in_integers(list(c), list(key)) for c in counters]
    result = reference.philox4x32(counter, np.array(key, np.uint32))
    assert result.dtype == np.uint32
    assert result.reshape(6, 4).tolist() == expected


def test_the_counter_is_index_then_step() -> None:
    index, step = 2**33 + 5, 2**34 + 7
    block = _philox_in_integers([index % 2**32, index >> 32, step % 2**32, step >> 32], KEY.tolist())
    assert reference.random_bits(KEY, step, 4 * index, 4).tolist() == block
    assert reference.random_bits(KEY, step, 4 * index + 1, 2).tolist() == block[1:3]


def test_the_last_index_and_the_last_step_exist() -> None:
    largest = 2**64 - 1
    assert reference.uniform(KEY, largest, largest, 1, np.float64).tolist() == [
        reference.uniform(KEY, largest, largest - 2, 3, np.float64)[2]
    ]


def test_an_element_takes_two_words_whatever_its_dtype() -> None:
    low, high = (int(word) for word in reference.random_bits(KEY, 3, 14, 2))
    word = low + (high << 32)
    for dtype, bits in ((np.float64, 52), (np.float32, 23), (np.float16, 10)):
        assert reference.uniform(KEY, 3, 7, 1, dtype)[0] == ((word >> (64 - bits)) + 0.5) / 2**bits
    assert reference.integers(KEY, 3, 7, 1, -5, 1000)[0] == -5 + (word * 1005 >> 64)
    u = (word // 2**12 + 0.5) / 2**52
    assert reference.normal(KEY, 3, 7, 1, np.float64)[0] == reference.inverse_cdf(np.array([u]))[0]
    assert reference.bernoulli(KEY, 3, 7, 1, u)[0] == np.False_
    assert reference.bernoulli(KEY, 3, 7, 1, math.nextafter(u, 1.0))[0] == np.True_


def test_a_stream_key_is_blake2b_of_seed_and_name() -> None:
    digest = hashlib.blake2b("12:層".encode(), digest_size=8).digest()
    assert reference.stream_key(12, "層").tolist() == [
        int.from_bytes(digest[:4], "little"),
        int.from_bytes(digest[4:], "little"),
    ]
    alike = [(1, "2:a"), (12, "a"), (1, ":2:a"), (1, "2a"), (121, ""), (1, "\ud800"), (1, "")]
    assert len({tuple(reference.stream_key(seed, name).tolist()) for seed, name in alike}) == len(alike)


def _digest(array: NDArray[Any]) -> str:
    little = array.astype(array.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()[:16]


GOLDEN: list[tuple[str, Callable[[Stream], NDArray[Any]], str]] = [
    ("uniform float64", lambda s: s.uniform((300, 400), dtype=np.float64), "1269bf42c5b2a394"),
    ("uniform float32", lambda s: s.uniform((300, 400)), "2664c3b0298b18d1"),
    ("uniform float16", lambda s: s.uniform((300, 400), dtype=np.float16), "05833d029bb4b410"),
    ("uniform, scaled", lambda s: s.uniform(1000, low=-0.1, high=0.3), "4b49783ada95089f"),
    ("normal float64", lambda s: s.normal((300, 400), dtype=np.float64), "bd2ffa0f7a71064a"),
    ("normal float32", lambda s: s.normal((300, 400)), "a8b1aae3389cf9a6"),
    ("normal, scaled", lambda s: s.normal(1000, mean=0.1, std=0.02), "93e809da7f634015"),
    ("integers", lambda s: s.integers(1000, low=-3, high=1000), "ceb4ea56ab185437"),
    ("integers, widest", lambda s: s.integers(1000, low=-(2**63), high=2**32 - 2**63), "0ad99db3c4ac630e"),
    ("bernoulli", lambda s: s.bernoulli(1000, 0.3), "4e1951c07f2cbcc6"),
    ("permutation", lambda s: s.permutation(1000), "07e06c9b45c7f146"),
    ("normal, far", lambda s: s.normal(1000, step=2**40), "5126d2ea6414ea19"),
]


@pytest.mark.parametrize(("draw", "digest"), [case[1:] for case in GOLDEN], ids=[case[0] for case in GOLDEN])
def test_the_bits_of_the_profile(draw: Callable[[Stream], NDArray[Any]], digest: str) -> None:
    """These change only with the name of the numerics profile, kn1."""
    assert _digest(draw(Stream("golden", seed=2026))) == digest


def test_the_first_numbers_in_clear() -> None:
    """The same promise where one can read it: a wrong digest says only that something changed."""
    s = Stream("golden", seed=2026)
    assert [x.hex() for x in s.uniform(3, dtype=np.float64).tolist()] == [
        "0x1.e1ce1aa8865d3p-1",
        "0x1.b51bf305ef01ep-2",
        "0x1.602a6d4be600cp-3",
    ]
    assert [x.hex() for x in s.normal(3, dtype=np.float64).tolist()] == [
        "0x1.c1ebc505605b1p-3",
        "-0x1.57767ff36816ap-2",
        "0x1.6b7b6463d896dp-2",
    ]


# ── every element by its index ────────────────────────────────────────────────────────────────────────────────

KINDS: dict[str, Callable[[int, int], NDArray[Any]]] = {
    "bits": lambda start, count: reference.random_bits(KEY, 9, start, count),
    "uniform": lambda start, count: reference.uniform(KEY, 9, start, count, np.float32),
    "normal": lambda start, count: reference.normal(KEY, 9, start, count, np.float64),
    "integers": lambda start, count: reference.integers(KEY, 9, start, count, 0, 10**6),
    "bernoulli": lambda start, count: reference.bernoulli(KEY, 9, start, count, 0.5),
}


@pytest.mark.parametrize("kind", KINDS)
@given(start=st.integers(0, 300), count=st.integers(0, 300), base=st.sampled_from([0, 1, 2**31 - 7, 2**62 + 3]))
def test_a_slice_of_the_draw_is_the_draw_of_the_slice(kind: str, start: int, count: int, base: int) -> None:
    draw = KINDS[kind]
    assert draw(base + start, count).tolist() == draw(base, start + count)[start:].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_do_not_show(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = KINDS[kind](3, 5000)
    for chunk in (1000, 1001, 4999, 5000):
        monkeypatch.setattr(reference, "CHUNK", chunk)
        assert np.array_equal(KINDS[kind](3, 5000), whole)


def test_narrow_normals_are_the_rounded_wide_ones() -> None:
    s = Stream("rounding", seed=1)
    wide = s.normal(10_000, mean=0.1, std=3.0, dtype=np.float64, step=0)
    assert np.array_equal(s.normal(10_000, mean=0.1, std=3.0, step=0), wide.astype(np.float32))
    assert np.array_equal(s.normal(10_000, mean=0.1, std=3.0, dtype="float16", step=0), wide.astype(np.float16))


@pytest.mark.parametrize(("dtype", "bits"), [(np.float16, 10), (np.float32, 23), (np.float64, 52)])
def test_uniforms_never_reach_their_ends(dtype: Any, bits: int) -> None:
    """Checked on the words that would: no sample of a size one can draw would meet them in float64."""
    words = np.array([0, 2**64 - 1], np.uint64)
    smallest, largest = reference._open_unit(words, bits).astype(dtype).tolist()
    assert (smallest, largest) == (0.5 ** (bits + 1), 1 - 0.5 ** (bits + 1))
    assert np.isfinite(reference.inverse_cdf(reference._open_unit(words, bits))).all()


# ── the functions of our own ──────────────────────────────────────────────────────────────────────────────────


def test_log_is_within_two_ulp_of_the_librarys() -> None:
    s = Stream("log arguments")
    u = s.uniform(40_000, dtype=np.float64)
    x = np.concatenate([u, 10.0 ** (600 * u - 300), 0.5 + u, 1 + (u - 0.5) * 1e-6, 0.5 ** np.arange(1, 1000)])
    x = np.concatenate([x, np.nextafter(math.sqrt(0.5), [0, 1]), [1.0, sys.float_info.min, sys.float_info.max]])
    expected = np.array([math.log(value) for value in x.tolist()])
    ulp = np.abs(reference.log(x) - expected) / np.spacing(np.abs(expected))
    assert ulp.max() <= 2
    assert reference.log(np.array([1.0])).tolist() == [0.0]


PRECISE = [  # u exactly this double; Φ⁻¹(u) to 25 digits, computed with mpmath at 160 bits
    ("0x1p-53", -8.209536151601386855630769),
    ("0x1.203af9ee75616p-50", -7.941345326170996771330131),
    ("0x1.0624dd2f1a9fcp-10", -3.090232306167813535358005),
    ("0x1.999999999999ap-6", -1.959963984540054211779584),
    ("0x1.999999999999ap-3", -0.8416212335729141655224906),
    ("0x1.ffe5c91d14e3cp-2", -0.0002506628300880074923888501),
    ("0x1.f333333333333p-1", 1.959963984540053855604431),
    ("0x1.fff2e48e8a71ep-1", 3.719016485455708386722759),
]


@pytest.mark.parametrize(("u", "z"), PRECISE)
def test_inverse_cdf_at_precise_values(u: str, z: float) -> None:
    assert reference.inverse_cdf(np.array([float.fromhex(u)]))[0] == pytest.approx(z, rel=1e-15, abs=0)


def test_inverse_cdf_against_the_standard_library() -> None:
    s = Stream("probabilities")
    u = s.uniform(20_000, dtype=np.float64)
    far = 0.5 ** s.uniform(5_000, low=1, high=53, dtype=np.float64)  # each tail down to 2⁻⁵³
    edges = np.array([0.075, 0.925, math.exp(-25), 1 - math.exp(-25)])  # where one formula takes over
    p = np.concatenate([u, far, 1 - far, edges, np.nextafter(edges, 0), np.nextafter(edges, 1)])
    expected = np.array([NormalDist().inv_cdf(value) for value in p.tolist()])
    assert np.abs(reference.inverse_cdf(p) / expected - 1).max() < 1e-13
    assert reference.inverse_cdf(np.array([0.5])).tolist() == [0.0]


def test_inverse_cdf_undoes_the_cdf_in_high_precision() -> None:
    mpmath = pytest.importorskip("mpmath")
    u = np.concatenate([0.5 ** np.linspace(1.01, 53, 150), 1 - 0.5 ** np.linspace(1.01, 52, 150)])
    with mpmath.workprec(160):
        for p, z in zip(u.tolist(), reference.inverse_cdf(u).tolist(), strict=True):
            # One Newton step from z tells how far the true quantile is; the smaller tail loses no digits.
            side = 1 if p > 0.5 else -1
            error = mpmath.erfc(side * mpmath.mpf(z) / mpmath.sqrt(2)) / 2 - min(mpmath.mpf(p), 1 - mpmath.mpf(p))
            assert abs(error / mpmath.npdf(z) / z) < 1e-13


def test_only_exact_operations_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's transcendental functions differ in their last bits between versions and CPUs."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("not exact")

    for name in (
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "cos",
        "sin",
        "tan",
        "arctan",
        "tanh",
        "power",
    ):
        monkeypatch.setattr(np, name, refuse)
    s = Stream("golden", seed=2026)
    for name, draw, digest in GOLDEN:
        assert _digest(draw(s.at(0))) == digest, name
