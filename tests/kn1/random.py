"""Random numbers in kn1: the reference itself is the profile, so it is the emulation."""

from typing import Any

import numpy as np

from kinone.kernels.random import reference
from kn1.arithmetic import laid_out, numbers, one_nan


def dropout(x, key, step, p):
    return one_nan(reference.dropout(x, key, step, p))


KERNELS = {"bernoulli": reference.bernoulli, "dropout": dropout, "integers": reference.integers,
           "normal": reference.normal, "uniform": reference.uniform}  # fmt: skip


def case(rng, dtype, most) -> Any:
    key = rng.integers(0, 2**32, 2).astype(np.uint32)
    step, start = (int(rng.choice([n, 7, 2**32 + 3, 2**62])) for n in rng.integers(0, 50, 2))
    count = int(rng.integers(0, most * most))
    name = list(KERNELS)[rng.integers(5)]
    if name == "bernoulli":
        return name, (key, step, start, count, float(rng.choice([rng.random(), 0.0, 1.0, 2.0**-52, 1 - 2.0**-53]))), {}
    if name == "dropout":
        shape = tuple(map(int, rng.integers(1, most, rng.integers(0, 5))))
        p = float(rng.choice([rng.random(), 0.0, 0.5]))
        return name, (laid_out(rng, numbers(rng, shape, dtype)), key, step, p), {}
    if name == "integers":
        low = int(rng.integers(-(2**40), 2**40))
        return name, (key, step, start, count, low, low + int(rng.choice([1, 6, rng.integers(1, 2**32), 2**32]))), {}
    low, width = (1.0, 2.5) if rng.random() < 0.5 else (float(rng.normal()), float(abs(rng.normal())) + 0.01)
    given = (low, low + width) if name == "uniform" else (low, width)
    dtype = np.float16 if rng.random() < 0.2 else dtype
    return name, (key, step, start, count, dtype, *(given if rng.random() < 0.7 else ())), {}


def digest_calls():
    """Draws of several shares, from even and odd elements; dropout in both layouts."""
    key, rng = np.array([1, 2], np.uint32), np.random.default_rng(13)
    for start, count in ((0, 40_003), (1, 40_000), (2**40 + 3, 5)):
        yield f"{start} {count}", "bernoulli", (key, 5, start, count, 0.3), {}
        yield f"{start} {count}", "integers", (key, 5, start, count, -3, 2**31), {}
        for dtype in ("float16", "float32", "float64"):
            yield f"{start} {count} {dtype}", "uniform", (key, 5, start, count, dtype), {}
            yield f"{start} {count} {dtype}", "normal", (key, 5, start, count, dtype, 0.5, 2.0), {}
    for dtype in (np.float32, np.float64):
        x = rng.standard_normal((3, 21, 30, 31)).astype(dtype)
        yield f"{x.dtype}", "dropout", (x, key, 5, 0.4), {}
        yield f"{x.dtype} channels-last", "dropout", (np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1), key, 5, 0.4), {}
