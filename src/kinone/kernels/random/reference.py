"""The random numbers of the profile `kn1`: every element is a pure function of (key, step, index).

No draw leaves a state behind: element i of step s comes from Philox 4×32-10 at a counter made of i and s, so
it does not matter how many elements are drawn, in what order, or by which worker. Whatever its dtype, an
element takes one 64-bit word, wᵢ = bits[2i] + 2³²·bits[2i+1].

These bits *are* the profile, so only operations with one right answer are used: integer arithmetic, frexp and
the IEEE-exact + − × ÷ √. NumPy's own log and exp vary with its version and with the CPU's vector width.

What to draw (a range, a dtype) is checked here. Where to draw it is trusted; `kinone.random` has checked
0 ≤ step < 2⁶⁴, 0 ≤ start, 0 ≤ count, start + count ≤ 2⁶⁴.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kinone.errors import ArgumentError, DtypeError

__all__ = ["bernoulli", "dropout", "integers", "normal", "uniform"]

Words32 = NDArray[np.uint32]
Words64 = NDArray[np.uint64]
Float64 = NDArray[np.float64]

# Small enough for the temporaries of one chunk to stay in a core's own cache; the bits do not depend on it.
CHUNK = 1 << 15

_DTYPES = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
_LOW32 = np.uint64(0xFFFFFFFF)
_HALF_WORD = np.uint64(32)
_ROUNDS = 10
_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)
# The fractions of the golden ratio and of √3, in units of 2⁻³²: what Philox adds to its key after each round.
_KEY_STEPS = np.array([0x9E3779B9, 0xBB67AE85], np.uint64)

# ln 2 in two parts; the first has 21 trailing zero bits, so its product with an exponent is exact.
_LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
# 2/(2j + 1), highest power first: the series of 2·atanh(s)/s after its first term. As |s| ≤ 0.172, the first
# term left out is below 2⁻⁶⁰ of the sum.
_ATANH = [2 / 21, 2 / 19, 2 / 17, 2 / 15, 2 / 13, 2 / 11, 2 / 9, 2 / 7, 2 / 5, 2 / 3]

# Wichura (1988), Algorithm AS 241, PPND16: numerators and denominators, highest power first.
_CENTRE = (
    [2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608],
    [5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0],
)  # fmt: skip
_TAIL = (
    [7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734],
    [1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0],
)  # fmt: skip
_FAR_TAIL = (
    [2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.2426609473880784386e-3, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772],
    [2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0],
)  # fmt: skip


def philox4x32(counter: Words32, key: Words32) -> Words32:
    """Ten times c ← (hi(M₁c₂) ⊕ c₁ ⊕ k₀, lo(M₁c₂), hi(M₀c₀) ⊕ c₃ ⊕ k₁, lo(M₀c₀)), k ← k + W.

    This is Philox 4×32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
    counter (…, 4), key (2,) → (…, 4).

    >>> [f"{word:08x}" for word in philox4x32(np.zeros(4, np.uint32), np.zeros(2, np.uint32))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    # (c₀, c₂) and (c₁, c₃), each with the many counters side by side in memory: four times as fast.
    even, odd = counter.reshape(-1, 2, 2).transpose(2, 1, 0).astype(np.uint64, order="C")
    round_key = key.astype(np.uint64)
    for _ in range(_ROUNDS):
        products = (even * _MULTIPLIERS[:, None])[::-1]
        even = (products >> _HALF_WORD) ^ odd ^ round_key[:, None]
        odd = products & _LOW32
        round_key = (round_key + _KEY_STEPS) & _LOW32
    return np.stack([even, odd]).transpose(2, 1, 0).astype(np.uint32, order="C").reshape(counter.shape)


def stream_key(seed: int, name: str) -> Words32:
    """key = the 64-bit blake2b of "seed:name", as two little-endian words.

    >>> [f"{word:08x}" for word in stream_key(0, "dropout")]
    ['e5203252', '5d8680bf']
    """
    seed = check_integer("Stream", "seed", seed)
    if not isinstance(name, str):
        raise ArgumentError("Stream", "name of type str", repr(name))
    # A decimal seed holds no colon, so no two pairs (seed, name) are encoded alike.
    digest = hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.frombuffer(digest, "<u4").astype(np.uint32)


def random_bits(key: Words32, step: int, start: int, count: int) -> Words32:
    """bits[4n + j] = philox4x32((n mod 2³², ⌊n/2³²⌋, step mod 2³², ⌊step/2³²⌋), key)[j].

    >>> key = np.array([1, 2], np.uint32)
    >>> bool((random_bits(key, 5, 0, 9)[6:] == random_bits(key, 5, 6, 3)).all())
    True
    """
    return _by_chunks(lambda first, n: _bits(key, step, first, n), start, count, np.uint32)


def uniform(
    key: Words32, step: int, start: int, count: int, dtype: DTypeLike, low: float = 0.0, high: float = 1.0
) -> NDArray[Any]:
    """xᵢ = low + (high − low)·uᵢ, uᵢ = (⌊wᵢ/2⁶⁴⁻ᵇ⌋ + ½)·2⁻ᵇ, b = 52, 23, 10 for float64, float32, float16.

    Each uᵢ is exact in its dtype, so none is 0 or 1 and their mean is ½. Were uᵢ a rounded float64, a float32
    would be 1 once in 2²⁵ draws, and log(1 − x) infinite. With other ends, rounding xᵢ may give an end.

    >>> uniform(np.array([1, 2], np.uint32), 0, 10, 2, np.float32).tolist()
    [0.8509785532951355, 0.24569374322891235]
    """
    dtype = _check_dtype("uniform", dtype)
    low, high = _check_real("uniform", "low", low), _check_real("uniform", "high", high)
    if not (low < high and high - low < math.inf and max(-low, high) <= float(np.finfo(dtype).max)):
        raise ArgumentError("uniform", f"low < high within {dtype}, high − low finite", f"low={low}, high={high}")
    bits = np.finfo(dtype).nmant

    def fill(first: int, n: int) -> Float64:
        return low + (high - low) * _open_unit(_words(key, step, first, n), bits)

    return _by_chunks(fill, start, count, dtype)


def normal(
    key: Words32, step: int, start: int, count: int, dtype: DTypeLike, mean: float = 0.0, std: float = 1.0
) -> NDArray[Any]:
    """xᵢ = mean + std·Φ⁻¹(uᵢ), uᵢ the float64 of `uniform`; a narrower dtype holds the rounded float64.

    >>> normal(np.array([1, 2], np.uint32), 0, 10, 2, np.float32).tolist()
    [1.0406392812728882, -0.6881037354469299]
    """
    dtype = _check_dtype("normal", dtype)
    mean, std = _check_real("normal", "mean", mean), _check_real("normal", "std", std)
    # |Φ⁻¹(2⁻⁵³)| = 8.21: beyond that no draw can go.
    if not (std >= 0.0 and abs(mean) + 8.3 * std <= float(np.finfo(dtype).max)):
        raise ArgumentError("normal", f"std ≥ 0 and mean ± 8.3·std within {dtype}", f"mean={mean}, std={std}")

    def fill(first: int, n: int) -> Float64:
        return mean + std * inverse_cdf(_open_unit(_words(key, step, first, n), 52))

    return _by_chunks(fill, start, count, dtype)


def bernoulli(key: Words32, step: int, start: int, count: int, p: float) -> NDArray[np.bool_]:
    """xᵢ = (uᵢ < p), uᵢ the float64 of `uniform`: True with probability p, to 2⁻⁵³.

    >>> bernoulli(np.array([1, 2], np.uint32), 0, 0, 5, 0.5).tolist()
    [False, False, False, False, True]
    """
    p = _check_real("bernoulli", "p", p)
    if not 0.0 <= p <= 1.0:
        raise ArgumentError("bernoulli", "0 ≤ p ≤ 1", f"p={p}")

    def fill(first: int, n: int) -> NDArray[np.bool_]:
        return _open_unit(_words(key, step, first, n), 52) < p

    return _by_chunks(fill, start, count, np.bool_)


def dropout(x: NDArray[Any], key: Words32, step: int, p: float) -> NDArray[Any]:
    """yᵢ = xᵢ / (1 − p) with probability 1 − p, else 0: element i, in row-major order, is kept if bernoulli's is True.

    >>> dropout(np.ones(5), np.array([1, 2], np.uint32), 0, 0.5).tolist()
    [0.0, 0.0, 0.0, 0.0, 2.0]
    """
    kept = bernoulli(key, step, 0, x.size, 1 - p).reshape(x.shape)
    return np.where(kept, x / (1 - p), np.zeros((), x.dtype))


def integers(key: Words32, step: int, start: int, count: int, low: int, high: int) -> NDArray[np.int64]:
    """xᵢ = low + ⌊wᵢ·(high − low)/2⁶⁴⌋, for 0 < high − low ≤ 2³².

    A value's probability differs from 1/(high − low) by less than 2⁻⁶⁴, so by less than 2⁻³² of itself: no
    run can notice. Rejection would have no bias, but an element's words would then depend on the others.

    >>> integers(np.array([1, 2], np.uint32), 0, 0, 6, 1, 7).tolist()
    [4, 6, 5, 5, 2, 4]
    """
    low = check_integer("integers", "low", low, -(2**63), 2**63 - 1)
    high = check_integer("integers", "high", high, -(2**63), 2**63)
    if not 0 < high - low <= 2**32:
        raise ArgumentError("integers", "low < high ≤ low + 2³²", f"low={low}, high={high}")
    span = np.uint64(high - low)

    def fill(first: int, n: int) -> NDArray[np.int64]:
        words = _words(key, step, first, n)
        carry = ((words & _LOW32) * span) >> _HALF_WORD
        # The sum is at most (2³² − 1)·2³² + (2³² − 1), which 64 bits hold.
        return (((words >> _HALF_WORD) * span + carry) >> _HALF_WORD).astype(np.int64) + np.int64(low)

    return _by_chunks(fill, start, count, np.int64)


def permutation(key: Words32, step: int, n: int) -> NDArray[np.int64]:
    """p = the order of w₀ … wₙ₋₁, equal words in the order of their indices: w[p₀] ≤ w[p₁] ≤ ….

    Two words are equal with probability below n²/2⁶⁵ (n = 10⁶: 3·10⁻⁸); only then is the order not uniform.

    >>> sorted(permutation(np.array([1, 2], np.uint32), 0, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    words = _by_chunks(lambda first, count: _words(key, step, first, count), 0, n, np.uint64)
    return np.argsort(words, kind="stable").astype(np.int64)


def log(x: Float64) -> Float64:
    """ln(m·2ᵉ) = e·ln 2 + 2·atanh(s), s = (m − 1)/(m + 1), √½ ≤ m < √2.   Within 1 ulp for normal x > 0.

    >>> log(np.array([1.0, 2.0])).tolist()
    [0.0, 0.6931471805599453]
    """
    m, e = np.frexp(x)
    is_small = m < _SQRT_HALF
    f = np.where(is_small, m + m, m) - 1.0  # exact
    e = (e - is_small).astype(np.float64)
    s = f / (2.0 + f)
    squares = s * s
    # 2·atanh(s) = f − s·(f − r): the exact f carries most of it, the rounded s only the rest.
    r = squares * _horner(_ATANH, squares)
    return e * _LN2_HIGH - ((s * (f - r) - e * _LN2_LOW) - f)


def inverse_cdf(u: Float64) -> Float64:
    """z = Φ⁻¹(u), 0 < u < 1: Wichura's ratios of polynomials in (u − ½)² or, in tails, √(−ln min(u, 1 − u)).

    Shape (n,) → (n,).

    >>> inverse_cdf(np.array([0.5, 0.975])).tolist()
    [0.0, 1.9599639845400536]
    """
    q = u - 0.5
    # The tails, 15 % of the elements, are replaced below; until then the 0 keeps their denominators from 0.
    r = np.maximum(0.180625 - q * q, 0.0)
    z = q * _ratio(_CENTRE, r)
    tail = np.flatnonzero(np.abs(q) > 0.425)
    r = np.sqrt(-log(np.minimum(u[tail], 1.0 - u[tail])))
    far = np.flatnonzero(r > 5.0)  # one element in 4·10¹⁰
    size = _ratio(_TAIL, r - 1.6)
    size[far] = _ratio(_FAR_TAIL, r[far] - 5.0)
    z[tail] = np.copysign(size, q[tail])
    return z


def check_integer(where: str, what: str, value: object, least: int = 0, most: int = 2**64 - 1) -> int:
    """least ≤ value ≤ most, as a Python int; an ArgumentError otherwise. A bool is no number here.

    >>> check_integer("Stream", "seed", np.int8(7))
    7
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise ArgumentError(where, f"an integer {what}, {least} ≤ {what} ≤ {most}", f"{what}={value!r}")
    return int(value)


def _check_real(where: str, what: str, value: Any) -> float:
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ArgumentError(where, f"a finite number {what}", f"{what}={value!r}")
    return float(value)


def _check_dtype(where: str, dtype: DTypeLike) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    # NumPy reads None as float64; here it is a mistake like any other.
    if dtype is None or found is None or found not in _DTYPES:
        raise DtypeError(where, "dtype float16, float32 or float64", repr(dtype))
    return found


def _bits(key: Words32, step: int, start: int, count: int) -> Words32:
    first, skip = divmod(start, 4)
    blocks = np.arange((skip + count + 3) // 4, dtype=np.uint64) + np.uint64(first)
    counter = np.empty((len(blocks), 4), np.uint32)
    counter[:, 0] = blocks & _LOW32
    counter[:, 1] = blocks >> _HALF_WORD
    counter[:, 2] = step & 0xFFFFFFFF
    counter[:, 3] = step >> 32
    return philox4x32(counter, key).reshape(-1)[skip : skip + count]


def _words(key: Words32, step: int, start: int, count: int) -> Words64:
    # Arithmetic, not a view as uint64: a view would give other words on a big-endian machine.
    pairs = _bits(key, step, 2 * start, 2 * count).reshape(-1, 2).astype(np.uint64)
    return pairs[:, 0] | pairs[:, 1] << _HALF_WORD


def _open_unit(words: Words64, bits: int) -> Float64:
    return ((words >> np.uint64(64 - bits)).astype(np.float64) + 0.5) * 2.0**-bits


def _horner(coefficients: list[float], x: Float64) -> Float64:
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total *= x
        total += coefficient
    return total


def _ratio(coefficients: tuple[list[float], list[float]], x: Float64) -> Float64:
    return _horner(coefficients[0], x) / _horner(coefficients[1], x)


def _by_chunks(fill: Callable[[int, int], NDArray[Any]], start: int, count: int, dtype: DTypeLike) -> NDArray[Any]:
    out = np.empty(count, dtype)
    for offset in range(0, count, CHUNK):
        n = min(CHUNK, count - offset)
        out[offset : offset + n] = fill(start + offset, n)
    return out
