"""Convolution, pooling and resizing as their definitions read: one Python loop for each index of the formula."""

import itertools
import math

import numpy as np


def axes(value, n):
    return list(value) if isinstance(value, tuple | list) else [value] * n


def pairs(padding, kernel, dilation):
    n = len(kernel)
    if padding == "valid":
        padding = 0
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, axes(dilation, n), strict=True)]
        return [(t // 2, t - t // 2) for t in total]
    return [p if isinstance(p, tuple | list) else (p, p) for p in axes(padding, n)]


def padded(x, before_after, value=0.0):
    return np.pad(x, [(0, 0), (0, 0), *before_after], constant_values=value)


def positions(shape):
    return itertools.product(*map(range, shape))


def touched(i, k, stride, dilation):
    """The element of the padded x that output i sees through the offset k of its window."""
    return tuple(a * s + b * d for a, b, s, d in zip(i, k, stride, dilation, strict=True))


def conv(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    n = x.ndim - 2
    kernel, stride, dilation = w.shape[2:], axes(stride, n), axes(dilation, n)
    xp = padded(x, pairs(padding, kernel, dilation))
    out = [(m - d * (k - 1) - 1) // s + 1 for m, k, s, d in zip(xp.shape[2:], kernel, stride, dilation, strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    for o in range(w.shape[0]):
        first = o // (w.shape[0] // groups) * w.shape[1]
        for i, c, k in itertools.product(positions(out), range(w.shape[1]), positions(kernel)):
            y[(slice(None), o, *i)] += w[(o, c, *k)] * xp[(slice(None), first + c, *touched(i, k, stride, dilation))]
        if b is not None:
            y[:, o] += b[o]
    return y


def conv_transpose(x, w, b=None, *, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    n = x.ndim - 2
    kernel, stride, dilation, extra = w.shape[2:], axes(stride, n), axes(dilation, n), axes(output_padding, n)
    cut = pairs(padding, kernel, dilation)
    full = [
        (m - 1) * s + d * (k - 1) + 1 + e
        for m, k, s, d, e in zip(x.shape[2:], kernel, stride, dilation, extra, strict=True)
    ]
    y = np.zeros((x.shape[0], w.shape[1] * groups, *full))
    for c in range(w.shape[0]):
        first = c // (w.shape[0] // groups) * w.shape[1]
        for i, o, k in itertools.product(positions(x.shape[2:]), range(w.shape[1]), positions(kernel)):
            y[(slice(None), first + o, *touched(i, k, stride, dilation))] += w[(c, o, *k)] * x[(slice(None), c, *i)]
    y = y[(..., *(slice(p, m - q) for (p, q), m in zip(cut, full, strict=True)))]
    return y if b is None else y + b.reshape(-1, *[1] * n)


def conv_weight_gradient(x, h, *, kernel_size, stride=1, padding=0, dilation=1, groups=1):
    n = x.ndim - 2
    kernel, stride, dilation = axes(kernel_size, n), axes(stride, n), axes(dilation, n)
    xp = padded(x, pairs(padding, kernel, dilation))
    inside, outside = x.shape[1] // groups, h.shape[1] // groups
    y = np.zeros((h.shape[1], inside, *kernel))
    for o, c, k, i in itertools.product(range(h.shape[1]), range(inside), positions(kernel), positions(h.shape[2:])):
        seen = xp[(slice(None), o // outside * inside + c, *touched(i, k, stride, dilation))]
        y[(o, c, *k)] += (h[(slice(None), o, *i)] * seen).sum()
    return y


def windows(n, k, s, before, after, d, ceil_mode):
    """For each output along one axis, the positions that its window covers, those in the padding included."""
    m = (n + before + after - d * (k - 1) - 1) / s + 1
    m = math.ceil(m) if ceil_mode else math.floor(m)
    m -= ceil_mode and (m - 1) * s >= n + before
    return [[i * s - before + j * d for j in range(k)] for i in range(m)]


def pooled(x, kernel_size, stride, padding, dilation, ceil_mode, choose):
    """choose(values, positions, window) for every window."""
    n = x.ndim - 2
    kernel = axes(kernel_size, n)
    stride = kernel if stride is None else axes(stride, n)
    geometry = zip(x.shape[2:], kernel, stride, pairs(padding, kernel, 1), axes(dilation, n), strict=True)
    each = [windows(m, k, s, p, q, d, ceil_mode) for m, k, s, (p, q), d in geometry]
    out = [len(w) for w in each]
    y = [np.zeros((*x.shape[:2], *out)), np.zeros((*x.shape[:2], *out), int)]
    for b, c, i in itertools.product(range(x.shape[0]), range(x.shape[1]), positions(out)):
        window = [w[j] for w, j in zip(each, i, strict=True)]
        at = [p for p in itertools.product(*window) if all(0 <= q < m for q, m in zip(p, x.shape[2:], strict=True))]
        y[0][(b, c, *i)], y[1][(b, c, *i)] = choose([x[(b, c, *p)] for p in at], at, window)
    return y


def max_pool(x, *, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    def first_largest(values, at, window):
        best = values.index(max(values))
        return values[best], np.ravel_multi_index(at[best], x.shape[2:])

    return tuple(pooled(x, kernel_size, stride, padding, dilation, ceil_mode, first_largest))


def max_unpool(x, indices, *, size):
    y = np.zeros((*x.shape[:2], *axes(size, x.ndim - 2)))
    for i in positions(x.shape):
        y[(*i[:2], *np.unravel_index(indices[i], y.shape[2:]))] += x[i]
    return y


def avg_pool(x, *, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    ends = [m + q for m, (_, q) in zip(x.shape[2:], pairs(padding, axes(kernel_size, x.ndim - 2), 1), strict=True)]

    def average(values, at, window):
        counted = [[p for p in w if p < end] for w, end in zip(window, ends, strict=True)]
        full = math.prod(map(len, counted)) if count_include_pad else len(values)
        return sum(values) / (divisor_override or full), 0

    return pooled(x, kernel_size, stride, padding, 1, ceil_mode, average)[0]


def avg_unpool(x, *, size, **attrs):
    size = axes(size, x.ndim - 2)
    y = np.zeros((*x.shape[:2], *size))
    for i in positions(size):
        one = np.zeros((1, 1, *size))
        one[(0, 0, *i)] = 1
        y[(..., *i)] = (x * avg_pool(one, **attrs)).sum(axis=tuple(range(2, x.ndim)))
    return y


def kernel_of(mode, position, j, n):
    """The weight of element j for an output at `position`."""
    d = abs(position - j)
    if mode == "bicubic":
        a = -0.75
        return (
            ((a + 2) * d**3 - (a + 3) * d**2 + 1) if d <= 1 else (a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a) * (d < 2)
        )
    return max(0.0, 1 - d)


def weights(n, m, step, mode, align_corners):
    """The (m, n) matrix that resizes one axis."""
    w = np.zeros((m, n))
    for i in range(m):
        if mode == "nearest":
            w[i, min(n - 1, math.floor(i * step + 1e-9))] = 1
        elif mode == "nearest-exact":
            w[i, min(n - 1, math.floor((i + 0.5) * step + 1e-9))] = 1
        elif mode == "area":
            stretch = range(i * n // m, math.ceil((i + 1) * n / m))
            w[i, stretch] = 1 / len(stretch)
        else:
            position = i * (n - 1) / max(m - 1, 1) if align_corners else (i + 0.5) * step - 0.5
            position = position if mode == "bicubic" else min(max(position, 0), n - 1)
            for j in range(-3, n + 3):
                w[i, min(max(j, 0), n - 1)] += kernel_of(mode, position, j, n)
    return w


def matrices(size, target, scale_factor, mode, align_corners):
    if scale_factor is None:
        out = axes(target, len(size))
        steps = [n / m for n, m in zip(size, out, strict=True)]
    else:
        factors = axes(scale_factor, len(size))
        out = [math.floor(n * f) for n, f in zip(size, factors, strict=True)]
        steps = [1 / f for f in factors]
    return [weights(n, m, step, mode, align_corners) for n, m, step in zip(size, out, steps, strict=True)]


def along_axes(x, ms):
    for axis, m in enumerate(ms, start=2):
        x = np.moveaxis(np.tensordot(m, x, (1, axis)), 0, axis)
    return x


def interpolate(x, *, size=None, scale_factor=None, mode="nearest", align_corners=False):
    return along_axes(x, matrices(x.shape[2:], size, scale_factor, mode, align_corners))


def interpolate_transpose(x, *, size, scale_factor=None, mode="nearest", align_corners=False):
    small = axes(size, x.ndim - 2)
    return along_axes(x, [m.T for m in matrices(small, x.shape[2:], scale_factor, mode, align_corners)])


def unfold(x, *, kernel_size, dilation=1, padding=0, stride=1):
    """The convolution whose weight is the identity."""
    kernel = axes(kernel_size, x.ndim - 2)
    rows = x.shape[1] * math.prod(kernel)
    y = conv(x, np.eye(rows).reshape(rows, x.shape[1], *kernel), stride=stride, padding=padding, dilation=dilation)
    return y.reshape(*y.shape[:2], math.prod(y.shape[2:]))


def fold(x, *, output_size, **attrs):
    planes = x.shape[1] // math.prod(axes(attrs["kernel_size"], len(output_size)))
    y = np.zeros((x.shape[0], planes, *output_size))
    for c, i in itertools.product(range(planes), positions(output_size)):
        one = np.zeros((1, planes, *output_size))
        one[(0, c, *i)] = 1
        y[(slice(None), c, *i)] = (x * unfold(one, **attrs)).sum(axis=(1, 2))
    return y
