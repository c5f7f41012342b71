"""Reductions in kn1: in float64, by the lane sum over the reduced axes in the order of the shape, rounded once."""

import numpy as np

from kn1 import functions
from kn1.arithmetic import laid_out, lane_sum, numbers, one_nan


def _doubles(x):
    return np.asarray(x, np.float64)


def _rounded(y, x):
    return one_nan(np.asarray(y, np.float64).astype(x.dtype))


def _count(x, axis):
    return np.prod([x.shape[a] for a in (range(x.ndim) if axis is None else axis)])


def _axes(x, axis):
    return tuple(range(x.ndim)) if axis is None else axis


def sum(x, axis, keepdims):
    return _rounded(lane_sum(x, axis, keepdims), x)


def product_sum(a, b, axis, keepdims):
    return _rounded(lane_sum(_doubles(a) * _doubles(b), axis, keepdims), a)


def mean(x, axis, keepdims):
    return _rounded(lane_sum(x, axis, keepdims) / _count(x, axis), x)


def prod(x, axis, keepdims):
    """The lane sum with × for + and 1 for +0."""
    return _rounded(lane_sum(x, axis, keepdims, np.multiply, 1.0), x)


def var(x, axis, correction, keepdims):
    return _rounded(_variance(_doubles(x), axis, correction, keepdims), x)


def _variance(x, axis, correction, keepdims):
    """Around the first number of those that are taken together."""
    first = x[tuple(slice(0, 1) if a in _axes(x, axis) else slice(None) for a in range(x.ndim))]
    t = x - first
    n, s, squares = _count(x, axis), lane_sum(t, axis, keepdims), lane_sum(t * t, axis, keepdims)
    total = squares - s * (s / n)
    return np.where(total < 0, 0, total) / (n - correction)


def std(x, axis, correction, keepdims):
    scale = _power_of_two(x, axis)
    y = np.sqrt(_variance(_doubles(x) / scale, axis, correction, keepdims))
    return _rounded(y * scale.reshape(y.shape), x)


def _power_of_two(x, axis):
    """The largest one up to max |x|; 1 where there is none."""
    size = np.max(np.abs(_doubles(x)), axis=axis, keepdims=True, initial=0)
    scale = np.ldexp(1.0, np.maximum(np.frexp(size)[1] - 1, -1022))
    return np.where((size > 0) & np.isfinite(size), scale, 1.0)


def vector_norm(x, axis, keepdims, ord):
    size = np.abs(_doubles(x))
    if ord == np.inf:
        return _rounded(np.max(size, axis=axis, keepdims=keepdims, initial=0), x)
    if ord == -np.inf:
        return _rounded(np.min(size, axis=axis, keepdims=keepdims), x)
    if ord == 1:
        return _rounded(lane_sum(size, axis, keepdims), x)
    scale = _power_of_two(x, axis)
    ratio = size / scale
    y = np.sqrt(lane_sum(ratio * ratio, axis, keepdims))
    return _rounded(y * scale.reshape(y.shape), x)


def logsumexp(x, axis, keepdims):
    x64 = _doubles(x)
    largest = np.max(x64, axis=axis, keepdims=True, initial=-np.inf)
    m = np.where(np.isfinite(largest), largest, 0)
    y = functions.log(lane_sum(functions.exp(x64 - m, np.float64), axis, keepdims), np.float64)
    return _rounded(y + m.reshape(y.shape), x)


def cumulative_sum(x, axis):
    """A chain; np.cumsum of float64 is none other."""
    return _rounded(np.cumsum(_doubles(x), axis), x)


def cumulative_prod(x, axis):
    return _rounded(np.cumprod(_doubles(x), axis), x)


_FUNCTIONS = (sum, product_sum, mean, prod, var, std, logsumexp, vector_norm, cumulative_sum, cumulative_prod)
KERNELS = {f.__name__: f for f in _FUNCTIONS}


def case(rng, dtype, most):
    """Few axes that are long or many that are short; among them some of none and of one."""
    name = rng.choice([*KERNELS])
    rank = int(rng.integers(1, 5))
    shape = [round(most ** rng.random()) for _ in range(rank)]
    if rng.random() < 0.2:
        shape[rng.integers(rank)] = round(min(most**3, 6000) ** rng.random())
    while np.prod(shape) > 20_000:
        shape[np.argmax(shape)] //= 2
    if rng.random() < 0.05 and name != "vector_norm":
        shape[rng.integers(rank)] = 0
    x = laid_out(rng, numbers(rng, shape, dtype))
    if name.startswith("cumulative"):
        return name, (x, int(rng.integers(rank))), {}
    axis = None if rng.random() < 0.2 else tuple(int(a) for a in np.flatnonzero(rng.random(rank) < 0.6))
    keepdims = bool(rng.integers(2))
    if name == "product_sum":
        return name, (x, laid_out(rng, numbers(rng, shape, dtype)), axis, keepdims), {}
    if name in ("var", "std"):
        return name, (x, axis, float(rng.choice([0, 1, 0.5])), keepdims), {}
    return (
        name,
        (x, axis, keepdims, *([float(rng.choice([1, 2, np.inf, -np.inf]))] if name == "vector_norm" else [])),
        {},
    )


def digest_calls():
    """Sums along, across and against memory, of one block and of many."""
    rng = np.random.default_rng(21)
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        x = rng.standard_normal((3, 40, 27, 31)).astype(dtype)
        for axis in (None, (0,), (1,), (3,), (0, 2, 3), (1, 2)):
            for layout, y in (("", x), (" channels-last", np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1))):
                yield f"{kind} {axis}{layout}", "sum", (y, axis, False), {}
                yield f"{kind} {axis}{layout}", "var", (y, axis, 1.0, True), {}
                yield f"{kind} {axis}{layout}", "product_sum", (y, x[::-1], axis, False), {}
        long = rng.standard_normal(300_001).astype(dtype)
        for name, more in (("mean", ()), ("prod", ()), ("vector_norm", (2.0,))):
            yield f"{kind} long", name, (long, None, False, *more), {}
        yield f"{kind} rows", "logsumexp", (x, (3,), False), {}
        yield f"{kind} long", "std", (long, None, 0.0, False), {}
        for axis in (0, 3):
            yield f"{kind} {axis}", "cumulative_sum", (x, axis), {}
            yield f"{kind} {axis}", "cumulative_prod", (x, axis), {}
