"""Softmax in kn1: in the type of the numbers, rounded after each operation, but for lane sums."""

import numpy as np

from kn1 import functions
from kn1.arithmetic import FMA, fma32, laid_out, lane_sum, numbers, one_nan

LOG2_E, LN2_HIGH, LN2_LOW = (np.float32(float.fromhex(x)) for x in ("0x1.715476p0", "0x1.62e4p-1", "0x1.7f7d1cp-20"))
POLYNOMIAL = [
    np.float32(float.fromhex(x))
    for x in ("0x1.6a592ap-10", "0x1.123bdep-7", "0x1.5558a6p-5", "0x1.55548ep-3", "0x1.fffffcp-2", "1", "1")
]


def decay(x):
    """eˣ for x ≤ 0."""
    if x.dtype != np.float32:
        return functions.exp(x, x.dtype)
    rounded = fma32(x, LOG2_E, np.float32(2**23 * 1.5 + 127))
    k = rounded - np.float32(2**23 * 1.5 + 127)
    r = fma32(k, -LN2_LOW, fma32(k, -LN2_HIGH, x))
    y = np.full_like(x, POLYNOMIAL[0])
    for c in POLYNOMIAL[1:]:
        y = fma32(y, r, np.asarray(c))
    y = y * (rounded.view(np.int32) << 23).view(np.float32)
    return np.where(x < -87, np.float32(0), y)


def exponentials(x, m):
    """exp(x − m) and their sum along the last axis."""
    e = decay(x - m)
    return e, lane_sum(e, -1, True)


def ln(x):
    return functions.log(x, np.dtype(np.float64))


def largest(x):
    return np.fmax.reduce(x, -1, keepdims=True, initial=-np.inf).astype(x.dtype)


def _along_the_last(f):
    def kernel(*args):
        *arrays, axis = args
        with np.errstate(all="ignore"):
            y = f(*(np.ascontiguousarray(np.moveaxis(x, axis, -1)) for x in arrays))
        return one_nan(np.moveaxis(y, -1, axis))

    return kernel


def softmax(x):
    e, s = exponentials(x, largest(x))
    return e * (1 / s).astype(x.dtype)


def log_softmax(x):
    m = largest(x)
    return x - m - ln(exponentials(x, m)[1]).astype(x.dtype)


def softmax_backward(g, y):
    t = lane_sum(g.astype(np.float64) * y.astype(np.float64), -1, True)
    return y * (g - t.astype(y.dtype))


def log_softmax_backward(g, y):
    t = lane_sum(g, -1, True).astype(y.dtype)
    return FMA[y.dtype](*np.broadcast_arrays(decay(y), -t, g))


KERNELS = {"softmax_forward": _along_the_last(softmax), "log_softmax_forward": _along_the_last(log_softmax),
           "softmax_backward": _along_the_last(softmax_backward),
           "log_softmax_backward": _along_the_last(log_softmax_backward)}  # fmt: skip


def case(rng, dtype, most):
    name = str(rng.choice(list(KERNELS)))
    shape = [int(n) for n in rng.integers(1, most + 1, rng.integers(1, 4))]
    axis = int(rng.integers(-len(shape), len(shape)))
    if rng.random() < 0.1:
        shape[axis] = int(rng.integers(100))
    g, x = numbers(rng, shape, dtype), numbers(rng, shape, dtype)
    if name == "log_softmax_backward":
        x = -np.abs(x)  # logarithms of probabilities
    arrays = (g, x) if name.endswith("backward") else (x,)
    return name, (*(laid_out(rng, a) for a in arrays), axis), {}


def digest_calls():
    """Long rows and short, side by side and apart, one and many."""
    rng = np.random.default_rng(21)
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        for shape, axis in (((3, 5000), 1), ((600, 100), -1), ((2, 21, 30, 17), 1), ((4000, 3), 0), ((9000,), 0)):
            x, g = (rng.standard_normal(shape).astype(dtype) * 3 for _ in range(2))
            for name in KERNELS:
                arrays = (g, -np.abs(x)) if name.endswith("backward") else (x,)
                yield f"{shape} along {axis} {kind}", name, (*arrays, axis), {}
