"""Scattering in kn1: from +0, the contributions to an element are added in their order."""

from typing import Any

import numpy as np

from kn1.arithmetic import laid_out, numbers, one_nan


def scatter_index(x, index, shape):
    y = np.zeros(shape, x.dtype)
    places = np.arange(y.size).reshape(shape)[index].ravel()
    for place, part in zip(places, x.ravel(), strict=True):
        y.reshape(-1)[place] += part
    return one_nan(y)


KERNELS = {"scatter_index": scatter_index}


def case(rng, dtype, most) -> Any:
    axes = int(rng.integers(1, 5))
    shape = tuple(map(int, rng.integers(1, max(2, round(most ** (1.6 / axes))) + 1, axes)))
    first = int(rng.integers(0, axes))
    count = int(rng.integers(1, axes - first + 1))
    picked = tuple(map(int, rng.integers(1, 5, rng.integers(0, 3))))
    arrays = []
    for n in shape[first : first + count]:
        own = tuple(length if rng.random() < 0.7 else 1 for length in picked)[rng.integers(0, len(picked) + 1) :]
        arrays.append(laid_out(rng, rng.integers(-n, n, own)))
    rest = () if rng.random() < 0.5 else (slice(None),) * (axes - first - count)
    lead = (Ellipsis,) if first and len(rest) == axes - first - count and rng.random() < 0.3 else (slice(None),) * first
    index: Any = (*lead, *arrays, *rest)
    index = index[0] if len(index) == 1 and rng.random() < 0.5 else index
    target = np.broadcast_to(False, shape)[index].shape
    return "scatter_index", (laid_out(rng, numbers(rng, target, dtype)), index, shape), {}


def digest_calls():
    """Rows of a table, elements along an axis, elements of a vector: each with places that repeat."""
    rng = np.random.default_rng(14)
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        words = rng.integers(-300, 300, (40, 25))
        yield (
            f"rows {kind}",
            "scatter_index",
            (rng.standard_normal((40, 25, 130)).astype(dtype), (words,), (300, 130)),
            {},
        )
        grid = (np.arange(70)[:, None], rng.integers(0, 50, (70, 400)))
        yield f"along {kind}", "scatter_index", (rng.standard_normal((70, 400)).astype(dtype), grid, (70, 50)), {}
        x, places = rng.standard_normal(30_000).astype(dtype), rng.integers(0, 999, 30_000)
        yield f"vector {kind}", "scatter_index", (x, places, (1000,)), {}
        x = rng.standard_normal((9, 200, 33)).astype(dtype)
        yield f"middle {kind}", "scatter_index", (x, (slice(None), rng.integers(0, 77, 200)), (9, 77, 33)), {}
