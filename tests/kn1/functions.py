"""Exponentials, logarithms and the error function in kn1, on float64 arrays: the operations of the profile, in order.

`dtype` is the type of the numbers that x stands for. Of float32 the profile says no more than that the result, rounded,
is the correctly rounded one; these operations give it, and so do those of the native kernels, which are the same.
"""

import numpy as np

from kn1.arithmetic import exact_sum, fma64

LOG2_E, LOG2_E_REST = (float.fromhex(x) for x in ("0x1.71547652b82fep+0", "0x1.777d0ffda0d24p-56"))
LOG10_E, LOG10_E_REST = (float.fromhex(x) for x in ("0x1.bcb7b1526e50ep-2", "0x1.95355baaafad3p-57"))
LN2, LN2_HIGH, LN2_REST = (
    float.fromhex(x) for x in ("0x1.62e42fefa39efp-1", "0x1.62e42feep-1", "0x1.a39ef35793c76p-33")
)
LOG10_2_HIGH, LOG10_2_REST = (float.fromhex(x) for x in ("0x1.34413508p-2", "0x1.f79fef311f12bp-34"))
ROOT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
EXPONENTIAL, LOGARITHM, CENTRE, TAIL, OUTER_TAIL, ROUGH_EXPONENTIAL = (
    [float.fromhex(x) for x in table.split()]
    for table in (
        """0x1p+0 0x1p-1 0x1.5555555555559p-3 0x1.555555555554cp-5 0x1.111111110f659p-7 0x1.6c16c16c1b327p-10
        0x1.a01a01b000a71p-13 0x1.a01a018b42611p-16 0x1.71ddf818f355ep-19 0x1.27e5198b306aep-22 0x1.af5f183d4e434p-26
        0x1.1f102072e3f87p-29""",
        """0x1.5555555555594p-1 0x1.999999997f72ep-2 0x1.249249423c5aap-2 0x1.c71c51d52a896p-3 0x1.7466485abee29p-3
        0x1.39a0dec3b57d7p-3 0x1.2f0d55470728ep-3""",
        """0x1.20dd750429b6dp+0 -0x1.812746b0379bfp-2 0x1.ce2f21a0410fcp-4 -0x1.b82ce31200e7ap-6 0x1.565bccf66b10ep-8
        -0x1.c02daec8f6f3cp-11 0x1.f9a26b6b74099p-14 -0x1.f4c0fa69aae23p-17 0x1.b8d7b76c3c67cp-20
        -0x1.54f4278be617bp-23 0x1.82dbdedfc7f52p-27""",
        """0x1.178842825349dp+0 -0x1.eae02d0a1456bp-1 0x1.78fecb4e81a8dp-1 -0x1.f63dd81196143p-2 0x1.1dc27118a0687p-2
        -0x1.0e3ea224bdbdep-3 0x1.92618b77c82e6p-5 -0x1.9ac69566a6f71p-7 0x1.02900837c1cb4p-10 0x1.a0b759f0ca37fp-11
        -0x1.6d9544850ded6p-12 0x1.63791483f4606p-17 0x1.3a58861f7a99dp-15 -0x1.2ac110fe16886p-17
        -0x1.b9e74438939edp-19 0x1.bc3c75abd64b4p-20 0x1.31a22253912eep-22 -0x1.18e10f2fb7789p-22
        -0x1.10995fcfc7db8p-25 0x1.4515528eb0b70p-25 0x1.9ac21a84bba5ap-28 -0x1.02e3c87b2674fp-28
        -0x1.1046d997deb84p-30""",
        """0x1.178842820fc5fp+0 -0x1.eae02d21ff8f2p-1 0x1.78fec98327700p-1 -0x1.f63dff75de919p-2 0x1.1dc15a1012fb7p-2
        -0x1.0e493d2d0eff5p-3 0x1.91cefa4575765p-5 -0x1.a07ad282f36b9p-7 0x1.614a7f32d6897p-11 0x1.a0e4a111ddfcap-12
        -0x1.69f6c703af710p-11 -0x1.5f50fa323460bp-13""",
        """0x1.fffffffffff99p-1 0x1.fffffffff7353p-2 0x1.555555556d963p-3 0x1.55555573f4dc9p-5 0x1.111110d92cd3ap-7
        0x1.6c164e63475d6p-10 0x1.a01a8d5b43f27p-13 0x1.a159c88e163adp-16 0x1.71ddf372e6870p-19""",
    )
)


def polynomial(x, coefficients):
    y = np.full(x.shape, coefficients[-1])
    for c in coefficients[-2::-1]:
        y = fma64(y, x, c)
    return y


def odd_sum(a, b):
    """a + b, |a| ≥ |b|, rounded to odd: of the two numbers beside the sum, the one whose last bit is 1."""
    y, lost = exact_sum(a, b)
    bits = y.view(np.int64)
    below = (bits ^ lost.view(np.int64)) < 0
    return np.where(lost == 0, y, ((bits - below) | 1).view(np.float64))


def decided(y, careful, dtype):
    """`careful` where y lies within 4 ulp of the middle of two float32 numbers, and is to become one."""
    if dtype != np.float32:
        return y
    low = y.view(np.int64) & 0x1FFFFFFF
    return np.where((low >= 0x10000000 - 4) & (low < 0x10000000 + 4), careful, y)


def between(x, low, high):
    return np.where(x < low, low, np.where(x > high, high, x))


def _reduced(x):
    n = np.rint(fma64(x, LOG2_E, 0.0))
    return n, fma64(n, -LN2_REST, fma64(n, -LN2_HIGH, x))


def _scaled(y, n):
    """y·2ⁿ in two steps, of which only the second can round."""
    n = np.where(np.isnan(n), 0, n).astype(np.int64)
    return y * np.ldexp(1.0, n >> 1) * np.ldexp(1.0, n - (n >> 1))


def exp(x, dtype):
    n, r = _reduced(between(x, *((-700, 700) if dtype == np.float32 else (-746, 710))))
    return _scaled(fma64(r, polynomial(r, EXPONENTIAL), 1.0), n)


def exp_roughly(x):
    """What activations of float32 take for eˣ."""
    x = between(x, -700, 700)
    n = np.rint(fma64(x, LOG2_E, 0.0))
    r = fma64(n, -LN2, x)
    return _scaled(fma64(r, polynomial(r, ROUGH_EXPONENTIAL), 1.0), n)


def exp2(x, dtype):
    x = between(x, *((-1000, 1000) if dtype == np.float32 else (-1080, 1025)))
    n = np.rint(x)
    r = (x - n) * LN2
    h = polynomial(r, EXPONENTIAL)
    return _scaled(decided(fma64(r, h, 1.0), odd_sum(np.ones(r.shape), r * h), dtype), n)


def _expm1(x):
    n, r = _reduced(x)
    power = _scaled(np.ones(x.shape), n)
    return fma64(r * polynomial(r, EXPONENTIAL), power, power - 1)


def expm1(x, dtype):
    y = np.copysign(_expm1(between(x, -60, 700)), x)
    return np.where(x > 700, exp(x, dtype), y)


def tanh(x, dtype):
    y = _expm1(2 * between(x, -22, 22))
    return np.copysign(y / (y + 2), x)


def logistic(x, dtype):
    z = exp(np.where(x > 40, 40, x), dtype)
    return z / (1 + z)


def sigmoid(x, dtype):
    y = logistic(x, dtype)
    near_half = odd_sum(np.full(x.shape, 0.5), x * fma64(x * x, -1 / 48, 0.25))
    return decided(y, np.where(np.abs(x) < 2.0**-14, near_half, y), dtype)


# ------------------------------------------------------------------ logarithms
def _log1p_beyond(f):
    """ln(1 + f) − f"""
    s = f / (2 + f)
    z, half = s * s, 0.5 * f * f
    return fma64(s, fma64(z, polynomial(z, LOGARITHM), half), -half)


def _split(x):
    """k and m, x = 2ᵏ·m, m from √½ to √2."""
    m, k = np.frexp(np.where((x > 0) & np.isfinite(x), x, 1.0))
    is_below = m < ROOT_HALF
    return np.where(is_below, k - 1, k).astype(float), np.where(is_below, 2 * m, m)


def _or_limit(y, x):
    return np.where(x > 0, np.where(x == np.inf, x, y), np.where(x == 0, -np.inf, np.nan))


def _ln(k, f, dtype):
    rest = _log1p_beyond(f)
    if dtype != np.float32:
        return fma64(k, LN2_HIGH, fma64(k, LN2_REST, f + rest))
    a, b = fma64(k, LN2_HIGH, f), fma64(k, LN2_REST, rest)
    return decided(a + b, odd_sum(a, b), dtype)


def log(x, dtype):
    k, m = _split(x)
    return _or_limit(_ln(k, m - 1, dtype), x)


def log2(x, dtype):
    k, m = _split(x)
    y = (m - 1) + _log1p_beyond(m - 1)
    return _or_limit(k + fma64(y, LOG2_E, y * LOG2_E_REST), x)


def log10(x, dtype):
    k, m = _split(x)
    y = (m - 1) + _log1p_beyond(m - 1)
    b = fma64(y, LOG10_E, fma64(k, LOG10_2_REST, y * LOG10_E_REST))
    return _or_limit(decided(fma64(k, LOG10_2_HIGH, b), odd_sum(k * LOG10_2_HIGH, b), dtype), x)


def log1p(x, dtype):
    total = 1 + x
    lost = np.where(x < 2.0**60, x - (total - 1), 0)
    k, m = _split(total)
    f = (m - 1) + lost * np.ldexp(1.0, -np.minimum(k, 1022).astype(np.int64))
    return np.copysign(_or_limit(_ln(k, f, dtype), total), x)


# ------------------------------------------------------------------ the error function
def scaled_erfc(a, coefficients=TAIL):
    w = 1 / (a + 3.75)
    return w * polynomial(fma64(w, -7.5, 1.0), coefficients)


def _bell(a, dtype):
    square = a * a
    y = exp(-square, dtype)
    return y if dtype == np.float32 else fma64(y, -fma64(a, a, -square), y)


def erf(x, dtype):
    is_single = dtype == np.float32
    a = between(np.abs(x), 0, 4 if is_single else 6)
    far = _bell(a, dtype) * scaled_erfc(a, OUTER_TAIL if is_single else TAIL)
    return np.where(a < 0.75, x * polynomial(x * x, CENTRE), np.copysign(1 - far, x))


def erfc(x, dtype):
    a = np.where(np.abs(x) > 28, 28, np.abs(x))
    outer, inner = _bell(a, dtype) * scaled_erfc(a), -x * polynomial(x * x, CENTRE)
    y = np.where(a < 0.75, 1 + inner, np.where(x < 0, 2 - outer, outer))
    return decided(y, np.where(a < 0.75, odd_sum(np.ones(x.shape), inner), y), dtype)
