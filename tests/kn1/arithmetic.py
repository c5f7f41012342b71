"""What the emulations of profile kn1 are made of: exact arithmetic, numbers that are hard on it, memory layouts."""

import math
from fractions import Fraction

import numpy as np


# ------------------------------------------------------------------ fused multiply-adds
def fma32(a, b, c):
    """a·b + c of float32, rounded once: in float64 the product is exact, and the sum rounded to odd.

    Rounding to odd takes, of the two numbers beside an inexact sum, the one whose last bit is 1; no midpoint of
    float32 numbers has that, so the second rounding goes where one alone would have gone.
    """
    a, b, c = (x.astype(np.float64) for x in (a, b, c))
    product = a * b
    y = product + c
    back = y - product
    error = (product - (y - back)) + (c - back)
    is_even = (y.view(np.int64) & 1) == 0
    y = np.where(is_even & (error != 0) & np.isfinite(y), np.nextafter(y, np.copysign(np.inf, error)), y)
    return y.astype(np.float32)


def _fma64_one(a, b, c):
    if np.isfinite([a, b]).all() and not np.isfinite(c):
        return c  # however large the product
    if not np.isfinite([a, b, c]).all() or a == 0 or b == 0:
        return np.float64(a) * np.float64(b) + np.float64(c)
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact == 0:
        return 0.0
    try:
        y = float(exact)
    except OverflowError:
        y = np.inf
    return np.copysign(y, 1 if exact > 0 else -1)


def exact_sum(a, b):
    """a + b rounded, and what that lost."""
    y = a + b
    back = y - a
    return y, (a - (y - back)) + (b - back)


def _halves(a):
    high = a * 134217729.0  # 2²⁷ + 1
    high = high - (high - a)
    return high, a - high


def fma64(a, b, c):
    """a·b + c of float64, rounded once (Boldo and Melquiond: the sum of the three parts, the smaller two to odd)."""
    a, b, c = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (a, b, c)))
    with np.errstate(all="ignore"):
        product = a * b
        (a1, a2), (b1, b2) = _halves(a), _halves(b)
        lost = ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2
        low, lower = exact_sum(c, lost)
        y, rest = exact_sum(product, low)
        odd, error = exact_sum(lower, rest)
        is_even = (odd.view(np.int64) & 1) == 0
        odd = np.where(is_even & (error != 0), np.nextafter(odd, np.copysign(np.inf, error)), odd)
        y = np.where((a == 0) | (b == 0), product + c, y + odd)
        size = np.abs(product)
        is_safe = (size > 2.0**-960) & (size < 2.0**1000) & (np.abs(c) < 2.0**1000)
        is_safe &= (np.abs(a) < 2.0**990) & (np.abs(b) < 2.0**990)
    y = np.atleast_1d(y)
    for i in np.argwhere(np.atleast_1d(~(is_safe | (a == 0) | (b == 0)))):
        place = tuple(i[: a.ndim])
        y[tuple(i)] = _fma64_one(a[place], b[place], c[place])
    return y.reshape(a.shape)


FMA = {np.dtype(np.float32): fma32, np.dtype(np.float64): fma64}


# ------------------------------------------------------------------ sums
BLOCK, LANES = 1024, 8  # of the profile


def lane_sum(terms, axis=None, keepdims=False, join=np.add, none=0.0):
    """Σ terms over `axis` (an int, a tuple or all), in float64: 8 lanes in blocks of 1024, a tree over the blocks."""
    terms = np.asarray(terms, np.float64)
    axes = range(terms.ndim) if axis is None else np.atleast_1d(np.asarray(axis, int))
    axes = sorted(int(a) % terms.ndim for a in axes)
    kept = [a for a in range(terms.ndim) if a not in axes]
    shape = [1 if a in axes else n for a, n in enumerate(terms.shape)]
    n = math.prod(terms.shape[a] for a in axes)
    t = terms.transpose(axes + kept).reshape(n, *(terms.shape[a] for a in kept))  # in the order of the shape
    with np.errstate(all="ignore"):
        sums = [_sum_of_block(t[i : i + BLOCK], join, none) for i in range(0, max(n, 1), BLOCK)]
        while len(sums) > 1:
            pairs = [join(a, b) for a, b in zip(sums[::2], sums[1::2], strict=False)]
            sums = pairs + sums[2 * len(pairs) :]
    return np.reshape(sums[0], shape) if keepdims else sums[0]


def _sum_of_block(t, join, none):
    s = np.full((LANES, *t.shape[1:]), none)
    for i in range(0, len(t), LANES):
        join(s[: len(t) - i], t[i : i + LANES], out=s[: len(t) - i])
    s = join(s[:4], s[4:])
    s = join(s[:2], s[2:])
    return join(s[0], s[1])


def one_nan(x):
    """Every NaN as np.nan: which of its operands' an operation returns depends on the processor."""
    return np.where(np.isnan(x), np.array(np.nan, x.dtype), x)


def bits(x):
    return x.view(f"i{x.itemsize}")


def same_bits(x, y):
    if isinstance(x, tuple | list):
        return len(x) == len(y) and all(map(same_bits, x, y))
    if x is None or y is None:
        return x is y
    x, y = np.asarray(x), np.asarray(y)
    return x.shape == y.shape and x.dtype == y.dtype and np.array_equal(bits(x), bits(y))


# ------------------------------------------------------------------ random cases
def numbers(rng, shape, dtype):
    """Ordinary numbers; or all sizes down to denormals and up to what overflows; or few digits, so that sums tie."""
    x = rng.standard_normal(shape)
    kind = rng.integers(4)
    if kind == 1:
        x *= 2.0 ** rng.integers(*((-150, 128) if dtype == np.float32 else (-1000, 1000)), shape)
    elif kind == 2:
        x = rng.integers(-8, 9, shape) * 2.0 ** rng.choice([-149.0, -126.0, -24.0, -12.0, 0.0, 1.0], shape)
    elif kind == 3 and x.size:
        special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-310, 1e-42, 3e38, 1e308])
        chosen = rng.random(shape) < 0.1
        x = np.where(chosen, rng.choice(special, shape), x)
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def laid_out(rng, x):
    """The same numbers in memory of another layout."""
    kind = rng.integers(8) if x.ndim else 0
    if kind == 1:
        return np.asfortranarray(x)
    if kind == 2:
        wide = np.full((*x.shape[:-1], 2 * x.shape[-1] + 1), np.nan if x.dtype.kind == "f" else 1, x.dtype)
        wide[..., 1::2] = x
        return wide[..., 1::2]
    if kind == 3:
        return x[..., ::-1].copy()[..., ::-1]
    if kind == 4:
        return x[::-1].copy(order="F")[::-1]
    if kind == 5:
        raw = np.empty(x.nbytes + 1, np.uint8)[1:]
        unaligned = raw.view(x.dtype).reshape(x.shape)
        unaligned[...] = x
        return unaligned
    if kind == 6 and x.ndim > 1:
        padded = np.full((*x.shape[:-1], x.shape[-1] + 3), np.inf if x.dtype.kind == "f" else 1, x.dtype)
        padded[..., 1:-2] = x
        return padded[..., 1:-2]
    if kind == 7 and x.ndim > 2:  # channels-last
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    return x
