"""Pooling in kn1: the first of the largest, sums in float64 rounded once, gradients in the order of the outputs."""

import itertools
from math import prod
from typing import Any

import numpy as np

from kn1.arithmetic import laid_out, numbers, one_nan


def windows(size, kernel, stride, padding, dilation, out):
    """Each window in row-major order: its output, and the elements that it sees, in row-major order."""
    for o in np.ndindex(*out):
        along = [[i * s - before + t * d for t in range(k)]
                 for i, k, s, (before, _), d in zip(o, kernel, stride, padding, dilation, strict=True)]  # fmt: skip
        yield o, [e for e in itertools.product(*along) if all(0 <= i < n for i, n in zip(e, size, strict=True))]


def max_pool_forward(x, kernel, stride, padding, dilation, out):
    size = x.shape[2:]
    y, indices = np.full((*x.shape[:2], *out), -np.inf, x.dtype), np.zeros((*x.shape[:2], *out), np.int64)
    for o, elements in windows(size, kernel, stride, padding, dilation, out):
        at = (slice(None), slice(None), *o)
        for i, e in enumerate(elements):
            seen = x[(slice(None), slice(None), *e)]
            is_better = (seen > y[at]) | (np.isnan(seen) & ~np.isnan(y[at])) | (i == 0)
            y[at] = np.where(is_better, seen, y[at])
            indices[at] = np.where(is_better, np.ravel_multi_index(e, size), indices[at])
    return one_nan(y), indices


def max_pool_backward(g, indices, size):
    x = np.zeros((*g.shape[:2], prod(size)), g.dtype)
    for o in np.ndindex(g.shape):
        x[(*o[:2], indices[o])] += g[o]
    return one_nan(x.reshape(*g.shape[:2], *size))


def avg_pool_forward(x, counts, kernel, stride, padding):
    s = np.zeros((*x.shape[:2], *counts.shape))
    for o, elements in windows(x.shape[2:], kernel, stride, padding, (1,) * len(kernel), counts.shape):
        for e in elements:
            s[(slice(None), slice(None), *o)] += x[(slice(None), slice(None), *e)]
    return one_nan((s / counts).astype(x.dtype))


def avg_pool_backward(g, counts, size, kernel, stride, padding):
    quotients = g / counts.astype(g.dtype)
    s = np.zeros((*g.shape[:2], *size))
    for o, elements in windows(size, kernel, stride, padding, (1,) * len(kernel), counts.shape):
        for e in elements:
            s[(slice(None), slice(None), *e)] += quotients[(slice(None), slice(None), *o)]
    return one_nan(s.astype(g.dtype))


KERNELS = {"max_pool_forward": max_pool_forward, "max_pool_backward": max_pool_backward,
           "avg_pool_forward": avg_pool_forward, "avg_pool_backward": avg_pool_backward}  # fmt: skip


def case(rng, dtype, most) -> Any:
    axes = int(rng.integers(1, 4))
    kernel, stride = (tuple(map(int, rng.integers(1, 4, axes))) for _ in range(2))
    stride = kernel if rng.random() < 0.3 else stride
    name = list(KERNELS)[rng.integers(4)]
    dilation = tuple(map(int, rng.integers(1, 3, axes))) if name.startswith("max") else (1,) * axes
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple((int(rng.integers(0, span // 2 + 1)), int(rng.integers(0, span // 2 + 1))) for span in spans)
    size = tuple(int(n + rng.integers(0, max(2, most // axes))) for n in spans)
    lengths = zip(size, spans, padding, stride, strict=True)
    out = tuple((n + before + after - span) // s + 1 for n, span, (before, after), s in lengths)
    images = (int(rng.integers(1, 3)), int(most ** (1.5 * rng.random())))
    if name == "max_pool_forward":
        x = numbers(rng, (*images, *size), dtype)
        if rng.random() < 0.3:
            x = np.sign(x)  # ties
        return name, (laid_out(rng, x), kernel, stride, padding, dilation, out), {}
    if name == "max_pool_backward":
        g, indices = numbers(rng, (*images, *out), dtype), rng.integers(0, prod(size), (*images, *out))
        if rng.random() < 0.5:  # both channels-last
            g, indices = (np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1) for a in (g, indices))
            return name, (g, indices, size), {}
        return name, (laid_out(rng, g), laid_out(rng, indices), size), {}
    counts = laid_out(rng, rng.integers(1, 10, out).astype(np.float64))
    if name == "avg_pool_forward":
        return name, (laid_out(rng, numbers(rng, (*images, *size), dtype)), counts, kernel, stride, padding), {}
    return name, (laid_out(rng, numbers(rng, (*images, *out), dtype)), counts, size, kernel, stride, padding), {}


def digest_calls():
    """Both layouts, with windows that overlap and that don't, of one to three axes."""
    rng = np.random.default_rng(12)
    calls = [((2, 40, 31, 34), (3, 3), (2, 2), (1, 1), (16, 17)), ((1, 19, 28, 28), (2, 2), (2, 2), (0, 0), (14, 14)),
             ((3, 5, 400), (4,), (3,), (2,), (134,)), ((1, 33, 9, 10, 11), (2, 3, 2), (1, 2, 2), (1, 0, 1), (10, 4, 6)),
             ((2, 70, 7, 7), (7, 7), (1, 1), (0, 0), (1, 1))]  # fmt: skip
    for (shape, kernel, stride, before, out), dtype in itertools.product(calls, (np.float32, np.float64)):
        padding = tuple((p, p) for p in before)
        x, g = (rng.standard_normal((*shape[:2], *size)).astype(dtype) for size in (shape[2:], out))
        counts = rng.integers(1, 9, out).astype(np.float64)
        indices = np.sort(rng.integers(0, prod(shape[2:]), g.shape), axis=-1)
        for last in (False, True):
            label = f"{shape} {np.dtype(dtype).name}" + " channels-last" * last
            a, b, c = (np.moveaxis(np.moveaxis(t, 1, -1).copy(), -1, 1) if last else t for t in (x, g, indices))
            yield label, "max_pool_forward", (a, kernel, stride, padding, (1,) * len(kernel), out), {}
            yield label, "max_pool_backward", (b, c, shape[2:]), {}
            yield label, "avg_pool_forward", (a, counts, kernel, stride, padding), {}
            yield label, "avg_pool_backward", (b, counts, shape[2:], kernel, stride, padding), {}
