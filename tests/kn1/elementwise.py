"""Functions of one element at a time in kn1: computed in float64, rounded once."""

import numpy as np

from kn1 import functions
from kn1.arithmetic import laid_out, numbers, one_nan

OF_ONE = ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "sigmoid", "erf", "erfc"]


def _kernel(f):
    def kernel(*operands, **attrs):
        dtype = next(x.dtype for x in operands if isinstance(x, np.ndarray | np.generic))
        with np.errstate(all="ignore"):
            operands = (np.asarray(x, dtype).astype(np.float64) for x in operands)
            y = f(*np.broadcast_arrays(*operands), dtype, **attrs)
            return one_nan(y.astype(dtype))

    return kernel


KERNELS = {name: _kernel(getattr(functions, name)) for name in OF_ONE}


def case(rng, dtype, most):
    name = str(rng.choice(list(KERNELS)))
    shape = tuple(rng.integers(0, most, rng.integers(0, 4)))
    return name, (laid_out(rng, numbers(rng, shape, dtype)),), {}


def digest_calls():
    """Ordinary numbers, all sizes, and whole numbers; small and shared among threads."""
    rng = np.random.default_rng(13)
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        for name in KERNELS:
            for n in (7, 50_001):
                x = rng.standard_normal(n) * 2.0 ** rng.choice([-30, -3, 0, 2, 4, 7], n)
                yield f"of {n} {kind}", name, (np.abs(x).astype(dtype) if name == "log" else x.astype(dtype),), {}
