"""Circular and hyperbolic functions, their inverses, and powers in kn1: as float64 has them, rounded once to float32.

The operations here are the profile's for float64. Of float32 it says that functions of one number are correctly rounded
(correct_rounding.py): these operations give that too, however the native kernels get there.
Pairs (high, low) stand for the sum of two float64 numbers of which the second is tiny.
"""

import math

import numpy as np

from kn1 import functions
from kn1.arithmetic import fma64, laid_out, numbers, one_nan
from kn1.functions import LOG2_E, polynomial

INVERSE_FACTORIALS = [1 / math.factorial(n) for n in range(18)]
# The float64 nearest to π/2, to what that leaves, and to what both leave; and ln 2, the first part to 42 digits.
QUARTERS = [float.fromhex(x) for x in ("0x1.921fb54442d18p+0", "0x1.1a62633145c07p-54", "-0x1.f1976b7ed8fbcp-110")]
LN2, LN2_LEFT = (float.fromhex(x) for x in ("0x1.62e42fefa3800p-1", "0x1.ef35793c76730p-45"))
THIRD, REST_OF_THIRD = 1 / 3, 1 / 3 * 2.0**-54
SINE = [-0.16666666666666666, 0.008333333333333194, -0.0001984126984120921, 2.7557319211135852e-06,
        -2.5052106872674807e-08, 1.6058939699681274e-10, -7.642991332766019e-13, 2.7211733677976804e-15]  # fmt: skip
ARCSINE = [0.16666666666666763, 0.07499999999970257, 0.044642857175124576, 0.030381942683467465, 0.02237221566385665,
           0.017351600037183838, 0.01398096202132899, 0.011397771865038472, 0.010786549825676665, 0.00368297027450902,
           0.021763661102852827, -0.021077508051461604, 0.03267701851826902]  # fmt: skip
ARCTANGENT = [-0.333333333333332, 0.19999999999954077, -0.14285714280248096, 0.11111110786119928, -0.09090897835977049,
              0.07692061629068732, -0.06663120293533886, 0.058480082556039883, -0.0503984249591796,
              0.03807824313096072, -0.017922192725460168]  # fmt: skip
NEAR = [0.886245893, 0.231688824, 0.0124039969, -0.00312636989, 0.000185268482]
FAR = [1.00310713, -0.0788731759, -0.809793503, 2.64705091, -4.66838635, 4.14949298]


# ------------------------------------------------------------------ pairs
def _sum(a, b):
    high = a + b
    return high, b - (high - a)


def _product(a, b):
    high = a * b
    return high, fma64(a, b, -high)


def _quotient(a, b):
    inverse = 1 / b[0]
    high = a[0] * inverse
    return high, (fma64(-high, b[0], a[0]) + (a[1] - high * b[1])) * inverse


def _root(a):
    high = np.sqrt(a[0])
    return high, np.where(high > 0, (fma64(-high, high, a[0]) + a[1]) / (high + high), 0.0)


def _either(condition, a, b):
    return np.where(condition, a[0], b[0]), np.where(condition, a[1], b[1])


def _larger_first(a, b):
    return _sum(np.where(a > b, a, b), np.where(a > b, b, a))


def _rounded(high, low, dtype):
    """High + low, of which rounding to dtype makes what is nearest to the sum."""
    high, low = np.broadcast_arrays(high, low)
    return functions.decided(high + low, functions.odd_sum(high, low), dtype)


def _artanh(a, b):
    """s + s³/3 + s⁵/5 + …, s = a/b."""
    s, s_low = _quotient(a, b)
    z, z_low = _product(s, s)
    z_low = fma64(s + s, s_low, z_low)
    rest = polynomial(z, [1 / n for n in range(5, 27, 2)])
    c = fma64(z, rest, THIRD)
    c_low = fma64(z, rest, THIRD - c) + fma64(z_low, rest, REST_OF_THIRD)
    cube, cube_low = _product(z, c)
    cube_low = fma64(z, c_low, fma64(z_low, c, cube_low))
    y, y_low = _product(s, cube)
    y_low = fma64(s, cube_low, fma64(s_low, cube, y_low + s_low))
    y, low = _sum(s, y)
    return y, low + y_low


def _log(a, n):
    """ln(a·2ⁿ) = (k + n)·ln 2 + 2·artanh((m − 1)/(m + 1)), a = m·2ᵏ, √½ ≤ m < √2."""
    k, m = functions._split(a[0])
    low = np.ldexp(a[1], -k.astype(int))
    above, above_low = _larger_first(m, 1.0)
    y, y_low = _artanh((m - 1, low), (above, above_low + low))
    n = n + k
    high, whole = _sum(n * LN2, 2 * y)
    return high, fma64(n, LN2_LEFT, fma64(y_low, 2.0, whole))


# ------------------------------------------------------------------ circular functions
def _two_by_pi(digits):
    """⌊2/π·2^digits⌋, by Machin's formula."""

    def arctan_of_inverse(n):
        total, power, k = 0, (1 << digits + 64) // n, 1
        while power:
            total += power // k if k % 4 == 1 else -(power // k)
            power, k = power // n**2, k + 2
        return total

    pi = 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))
    return (2 << 2 * digits + 64) // pi


DIGITS = 1280
TWO_BY_PI = _two_by_pi(DIGITS)


def _reduced_large(x):
    if not math.isfinite(x):
        return 0, math.nan, math.nan
    m, e = math.frexp(abs(x))
    m, e = int(m * 2**53), e - 53
    window = (TWO_BY_PI >> DIGITS - 190 - e) % 2**192  # the digits from 2¹ on of 2/π·2ᵉ, 192 of them
    product = m * window % 2**192
    n = (product + (1 << 189)) >> 190
    rest = (product - (n << 190)) >> 62  # in units of 2⁻¹²⁸
    a, b, c = ((rest >> 84) * 2.0**-44, (rest >> 42) % 2**42 * 2.0**-86, rest % 2**42 * 2.0**-128)
    total = a + (b + c)
    left = ((a - total) + b) + c
    high = total * QUARTERS[0]
    low = float(fma64(total, QUARTERS[0], -high)) + (total * QUARTERS[1] + left * QUARTERS[0])
    return (n, high, low) if x > 0 else (-n, -high, -low)


def _reduced(x):
    """X = n·π/2 + high + low."""
    small = np.where(np.abs(x) < 2.0**30, x, 0.0)
    n = np.rint(fma64(small, float.fromhex("0x1.45f306dc9c883p-1"), 0.0))
    second, second_low = _product(n, QUARTERS[1])
    y, low = _sum(fma64(-n, QUARTERS[0], small), -second)
    y, low = _sum(y, fma64(-n, QUARTERS[2], low - second_low))
    n = n.astype(np.int64)
    for i in np.argwhere(~(np.abs(x) < 2.0**30)):
        place = tuple(i)
        n[place], y[place], low[place] = _reduced_large(float(x[place]))
    return n % 4, y, low


def _sin_cos(r, low):
    z = r * r
    c, c_low = _sum(np.ones_like(z), -0.5 * z)
    cosine = [(-1) ** i * INVERSE_FACTORIALS[2 * i + 4] for i in range(7)]
    s_low = fma64(r * z, polynomial(z, SINE), fma64(-0.5 * z, low, low))
    return (r, s_low), (c, c_low + fma64(z * z, polynomial(z, cosine), -r * low))


def _sin_beside(x, quarters, dtype):
    n, r, low = _reduced(x)
    n = (n + quarters) % 4
    s, c = _sin_cos(r, low)
    y = _rounded(*_either(n % 2, c, s), dtype)
    return np.where(n >= 2, -y, y)


def sin(x, dtype):
    return np.where(x == 0, x, _sin_beside(x, 0, dtype))


def cos(x, dtype):
    return _sin_beside(x, 1, dtype)


def tan(x, dtype):
    n, r, low = _reduced(x)
    (s, s_low), (c, c_low) = _sin_cos(r, low)
    s, c = s + s_low, c + c_low
    return np.where(x == 0, x, np.where(n % 2, -c, s) / np.where(n % 2, s, c))


# ------------------------------------------------------------------ their inverses
def _asin_of_less(x, is_beyond):
    size = np.abs(x)
    half = 0.5 - 0.5 * size
    s, low = _either(is_beyond, _root((half, 0.0)), (size, 0.0))
    z = np.where(is_beyond, half, size * size)
    return s, fma64(s * z, polynomial(z, ARCSINE), low)


def asin(x, dtype):
    is_beyond = np.abs(x) >= 0.5
    a, low = _asin_of_less(x, is_beyond)
    y, y_low = _sum(QUARTERS[0], -2 * a)
    y = _either(is_beyond, (y, y_low + (QUARTERS[1] - 2 * low)), (a, low))
    return np.copysign(_rounded(*y, dtype), x)


def acos(x, dtype):
    is_beyond = np.abs(x) >= 0.5
    a, low = _asin_of_less(x, is_beyond)
    factor = np.copysign(1.0, x) * np.where(is_beyond, 2.0, -1.0)
    quarters = np.where(is_beyond, np.where(x < 0, 2.0, 0.0), 1.0)
    y, y_low = _sum(quarters * QUARTERS[0], factor * a)
    return _rounded(y, y_low + fma64(factor, low, quarters * QUARTERS[1]), dtype)


def _arctan(t):
    is_far, is_middle = t > math.sqrt(2) + 1, (t > math.sqrt(2) - 1) & ~(t > math.sqrt(2) + 1)
    t = np.where(t > 2.0**60, 2.0**60, t)
    above = _either(is_middle, _less_one(t), (np.where(is_far, -1.0, t), 0.0))
    below = _either(is_middle, _larger_first(t, 1.0), (np.where(is_far, t, 1.0), 0.0))
    s, low = _quotient(above, below)
    z, quarters = s * s, np.where(is_middle, 0.5, np.where(is_far, 1.0, 0.0))
    y, y_low = _sum(quarters * QUARTERS[0], s)
    return y, y_low + fma64(s * z, polynomial(z, ARCTANGENT), fma64(quarters, QUARTERS[1], low))


def _less_one(t):
    """T − 1, exactly."""
    return _sum(np.where(t > 1, t, -1.0), np.where(t > 1, -1.0, t))


def atan(x, dtype):
    return np.copysign(_rounded(*_arctan(np.abs(x)), dtype), x)


def atan2(y, x, dtype):
    height, width = np.abs(y), np.abs(x)
    is_steep, is_left = height > width, np.signbit(x)
    t = np.where(is_steep, width, height) / np.where(is_steep, height, width)
    a, low = _arctan(np.where(height == width, np.where(height == 0, 0.0, 1.0), t))
    sign, quarters = np.where(is_steep != is_left, -1.0, 1.0), np.where(is_steep, 1.0, np.where(is_left, 2.0, 0.0))
    angle, angle_low = _sum(quarters * QUARTERS[0], sign * a)
    found = _rounded(angle, angle_low + fma64(sign, low, quarters * QUARTERS[1]), dtype)
    return np.where(np.isnan(x), x, np.copysign(found, y))


# ------------------------------------------------------------------ hyperbolic functions
def _hyperbolic(size, dtype):
    size = np.where(size > 710.6, 710.6, size)
    k = np.where(np.isnan(size), 0.0, np.rint(size * LOG2_E))
    r, low = _sum(fma64(-k, LN2, size), -k * LN2_LEFT)
    up, down = np.ldexp(1.0, k.astype(int) - 2), np.where(k < 500, np.ldexp(1.0, -k.astype(int) - 2), 0.0)
    z = r * r
    sinh_rest = fma64(r * z, polynomial(z, INVERSE_FACTORIALS[3:14:2]), low)
    cosh_rest = fma64(z, polynomial(z, INVERSE_FACTORIALS[2:15:2]), r * low)

    def both(a, b):
        first, first_low = _product(b, r)
        y, y_low = _sum(a, first)
        return 2 * _rounded(y, y_low + (first_low + fma64(a, cosh_rest, b * sinh_rest)), dtype)

    return up + down, up - down, both


def sinh(x, dtype):
    c, s, both = _hyperbolic(np.abs(x), dtype)
    return np.where(np.abs(x) < 2.0**-30, x, np.copysign(both(s, c), x))


def cosh(x, dtype):
    c, s, both = _hyperbolic(np.abs(x), dtype)
    return both(c, s)


def _log_of_double(x, y):
    is_huge = x > 2.0**500
    return _log(_either(is_huge, (x * 2.0**-99, 0.0), y), np.where(is_huge, 100.0, 0.0))


def asinh(x, dtype):
    size = np.abs(x)
    square, square_low = _product(size, size)
    more, low = _larger_first(square, 1.0)
    w, w_low = _root((more, low + square_low))
    y, y_low = _sum(w, size)
    far = _log_of_double(size, (y, y_low + w_low))
    found = _rounded(*_either(size < 0.17, _artanh((size, 0.0), (w, w_low)), far), dtype)
    return np.where(size < np.inf, np.copysign(found, x), x)


def acosh(x, dtype):
    square, square_low = _product(x, x)
    less, low = _sum(square, -1.0)
    w, w_low = _root((less, low + square_low))
    y, y_low = _sum(x, w)
    far = _log_of_double(x, (y, y_low + w_low))
    found = _rounded(*_either(x < 1.014, _artanh((w, w_low), (x, 0.0)), far), dtype)
    return np.where(x < 1, np.nan, np.where(x < np.inf, found, x))


def atanh(x, dtype):
    size = np.abs(x)
    far, far_low = _log(_quotient(_sum(1.0, size), _sum(1.0, -size)), 0.0)
    y = _rounded(*_either(size < 0.17, _artanh((size, 0.0), (1.0, 0.0)), (0.5 * far, 0.5 * far_low)), dtype)
    return np.copysign(np.where(size < 1, y, np.where(size == 1, np.inf, np.nan)), x)


# ------------------------------------------------------------------ powers, and what undoes them
def power(a, b, dtype):
    size, is_whole, is_odd = np.abs(a), np.rint(b) == b, np.fmod(np.abs(b), 2) == 1
    is_small = size < 2.0**-1022
    high, low = _log((np.where(is_small, size * 2.0**54, size), 0.0), np.where(is_small, -54.0, 0.0))
    x, x_low = _product(b, high)
    x, x_low = _either(np.abs(x) > 800, (np.copysign(800.0, x), 0.0), (x, fma64(b, low, x_low)))
    n = np.rint(fma64(x, LOG2_E, 0.0))
    r, r_low = _sum(fma64(-n, LN2, x), fma64(-n, LN2_LEFT, x_low))
    y, y_low = _sum(1.0, r)
    rest = fma64(r * r, polynomial(r, INVERSE_FACTORIALS[2:14]), fma64(r, r_low, r_low))
    y = functions._scaled(y + (y_low + rest), n)
    is_limit = (size == 0) | np.isinf(a) | np.isinf(b)
    y = np.where(is_limit, np.where((size < 1) != (b < 0), 0.0, np.inf), y)
    y = np.where(size == 1, 1.0, y)
    y = np.where(np.signbit(a) & is_odd, -y, y)
    y = np.where((a < 0) & np.isfinite(a) & ~is_whole, np.nan, y)
    y = np.where(np.isnan(a) | np.isnan(b), np.nan, y)
    return np.where((b == 0) | (a == 1), 1.0, y)


def rsqrt(x, dtype):
    return 1 / np.sqrt(x)


def erfinv(x, dtype):
    size = np.abs(x)
    w = -functions.log(fma64(-size, size, 1.0), dtype)
    root = np.sqrt(w)
    y = size * np.where(w < 5, polynomial(w, NEAR), root * polynomial(1 / root, FAR))
    square = y * y
    e = functions.exp(square, dtype)
    e = fma64(e, fma64(y, y, -square), e)
    tail = functions.scaled_erfc(y) - (1 - size) * e
    lack = np.where(y < 0.75, fma64(-y, polynomial(square, functions.CENTRE), size) * e, tail)
    d = math.sqrt(math.pi) / 2 * lack
    series = fma64(d, fma64(d, y * fma64(square, 2.0, 7 / 6), fma64(square, 4 / 3, 1 / 3)), y)
    y = y + fma64(d * d, series, d)
    return np.copysign(np.where(size < 1, y, np.where(size == 1, np.inf, np.nan)), x)


# ------------------------------------------------------------------ the kernels
def _kernel(f):
    def kernel(*operands):
        dtype = next(x.dtype for x in operands if isinstance(x, np.ndarray | np.generic))
        with np.errstate(all="ignore"):
            arrays = np.broadcast_arrays(*(np.asarray(x, dtype) for x in operands))
            y = f(*(x.ravel().astype(np.float64) for x in arrays), dtype)
            return one_nan(y.astype(dtype)).reshape(arrays[0].shape)

    return kernel


OF_ONE = {f.__name__: f for f in (sin, cos, tan, asin, acos, atan, sinh, cosh, asinh, acosh, atanh, rsqrt, erfinv)}


def _power(a, b):
    """A square, where the exponent is the number 2 of Python's, is a product."""
    return one_nan(a * a) if type(b) in (int, float) and b == 2 else _kernel(power)(a, b)


KERNELS = {name: _kernel(f) for name, f in OF_ONE.items()} | {"atan2": _kernel(atan2), "power": _power}


def case(rng, dtype, most):
    name = str(rng.choice(list(KERNELS), p=[0.5 / 13] * 13 + [0.2, 0.3]))
    shape = tuple(int(n) for n in rng.integers(0, most, rng.integers(0, 4)))
    x = numbers(rng, shape, dtype)
    if name in ("asin", "acos", "atanh", "erfinv", "acosh") and rng.random() < 0.7:  # where they are defined
        x = np.copysign(rng.beta(0.3, 0.3, shape), rng.standard_normal(shape)).astype(dtype)
        x = 1 / np.maximum(np.abs(x), np.asarray(1e-30, dtype)) if name == "acosh" else x
    if name in OF_ONE:
        return name, (laid_out(rng, x),), {}
    kind = rng.integers(4)
    if kind == 0:
        other = float(rng.choice([2.0, -1.0, 0.5, 3.0, 0.1]))
        return name, ((laid_out(rng, x), other) if rng.random() < 0.8 else (other, laid_out(rng, x))), {}
    other = numbers(rng, shape[int(rng.integers(len(shape) + 1)) :], dtype)
    if kind == 1:
        other = rng.integers(-6, 7, other.shape).astype(dtype)
    operands = (laid_out(rng, x), laid_out(rng, other))
    return name, operands if kind != 2 else operands[::-1], {}


def digest_calls():
    """Ordinary numbers, all sizes, and those between −1 and 1; few and shared among threads."""
    rng = np.random.default_rng(17)
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        for n in (7, 50_001):
            x = rng.standard_normal(n) * 2.0 ** rng.choice([-30, -3, 0, 2, 7, 100], n)
            unit = np.tanh(rng.standard_normal(n) * 2.0 ** rng.choice([-9, -1, 0, 2], n))
            for name in OF_ONE:
                inside = {"acosh": 1 / unit, "rsqrt": np.abs(x)}.get(name, unit)
                is_partial = name in ("asin", "acos", "atanh", "erfinv", "acosh", "rsqrt")
                yield f"of {n} {kind}", name, ((inside if is_partial else x).astype(dtype),), {}
            yield f"of {n} {kind}", "atan2", (x.astype(dtype), x[::-1].astype(dtype)), {}
            yield f"of {n} {kind}", "power", (np.abs(x).astype(dtype), unit.astype(dtype)), {}
            yield f"of {n} {kind} by 3", "power", (x.astype(dtype), 3), {}
            yield f"of {n} {kind} by 2", "power", (x.astype(dtype), 2), {}
