"""Resizing in kn1: axis by axis, for each output the first product, then fused multiply-adds, in the type of x."""

from typing import Any

import numpy as np

from kn1.arithmetic import FMA, laid_out, numbers, one_nan


def _resized(x, axis, taps):
    """taps: for each output, pairs (element, weight)."""
    x, fma = np.moveaxis(x, axis, 0), FMA[x.dtype]
    y = np.zeros((len(taps), *x.shape[1:]), x.dtype)
    for j, pairs in enumerate(taps):
        for k, (element, weight) in enumerate(pairs):
            w = np.full_like(y[j], weight)
            y[j] = fma(w, x[element], y[j]) if k else w * x[element]
    return np.moveaxis(one_nan(y), 0, axis)


def _pairs(indices, weights):
    weights = np.ones(indices.shape) if weights is None else weights
    return [list(zip(*row, strict=True)) for row in zip(indices.tolist(), weights.tolist(), strict=True)]


def resize_forward(x, lines):
    for axis, line in enumerate(lines, start=2):
        x = _resized(x, axis, _pairs(*line))
    return x


def resize_backward(g, lines, size):
    for axis, (line, n) in enumerate(zip(lines, size, strict=True), start=2):
        pairs = _pairs(*line)
        g = _resized(g, axis, [[(o, w) for o, row in enumerate(pairs) for e, w in row if e == i] for i in range(n)])
    return g


KERNELS = {"resize_forward": resize_forward, "resize_backward": resize_backward}


def _line(rng, n, m):
    taps = int(rng.integers(1, 4))
    indices = np.sort(rng.integers(0, n, (m, taps)), axis=0)
    return laid_out(rng, indices), None if taps == 1 and rng.random() < 0.7 else laid_out(
        rng, rng.normal(size=(m, taps))
    )


def case(rng, dtype, most) -> Any:
    axes = int(rng.integers(1, 4))
    size, out = (tuple(map(int, rng.integers(1, max(3, most // axes), axes))) for _ in range(2))
    lines = [_line(rng, n, m) for n, m in zip(size, out, strict=True)]
    images = (int(rng.integers(1, 3)), int(rng.integers(1, most)))
    if rng.random() < 0.5:
        return "resize_forward", (laid_out(rng, numbers(rng, (*images, *size), dtype)), lines), {}
    return "resize_backward", (laid_out(rng, numbers(rng, (*images, *out), dtype)), lines, size), {}


def digest_calls():
    """Bilinear, nearest and uneven averages of images in both layouts."""
    rng = np.random.default_rng(15)
    low = np.minimum(np.arange(60) // 2, 29)
    near = (low[:, None], None)
    linear = (np.stack([low, np.minimum(low + 1, 29)], 1), np.stack([np.linspace(0, 1, 60), np.linspace(1, 0, 60)], 1))
    area = (np.minimum(np.arange(11)[:, None] * 30 // 11 + np.arange(4), 29), rng.random((11, 4)))
    for label, line in (("nearest", near), ("linear", linear), ("area", area)):
        for dtype in (np.float32, np.float64):
            for last in (False, True):
                x = rng.standard_normal((2, 37, 30, 30)).astype(dtype)
                g = rng.standard_normal((2, 37, len(line[0]), len(line[0]))).astype(dtype)
                x, g = (np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1) if last else a for a in (x, g))
                name = f"{label} {x.dtype}" + " channels-last" * last
                yield name, "resize_forward", (x, [line, line]), {}
                yield name, "resize_backward", (g, [line, line], (30, 30)), {}
