"""Convolutions in kn1: products over (kernel position, channel), in the order and the chunks of gemm.

Those of 3×3 in float32 with enough channels and pixels are made from fewer multiplications, see winograd.py.

What lies outside an image is +0 and takes part. What bias, residual and relu do comes after the product.
"""

import numpy as np

from kn1 import winograd
from kn1.arithmetic import laid_out, numbers, one_nan
from kn1.gemm import product


def seen(a, places):
    """a (batch, channels, *size) where places say, an array (pixels, taps) for each axis; +0 outside a.

    (batch, *pixels, *taps, channels)
    """
    rank = len(places)
    for axis, place in enumerate(places, 2):
        length = a.shape[axis]
        a = np.concatenate([a, np.zeros_like(a.take([0], axis))], axis)
        a = np.moveaxis(a.take(np.where((place >= 0) & (place < length), place, length), axis), axis + 1, -1)
    return np.moveaxis(a, 1, -1) if rank else a


def places(size, kernel, stride, padding, dilation):
    """What each pixel of the convolution's result sees through each kernel position, for each axis."""
    rows = zip(size, kernel, stride, padding, dilation, strict=True)
    return [s * np.arange((n + sum(p) - d * (k - 1) - 1) // s + 1)[:, None] + d * np.arange(k) - p[0]
            for n, k, s, p, d in rows]  # fmt: skip


def by_group(a, groups, leading):
    """(*leading, *terms, channels) → (groups, pixels, terms and channels of the group)."""
    a = a.reshape(int(np.prod(a.shape[:leading])), -1, groups, a.shape[-1] // groups)
    return np.moveaxis(a, 2, 0).reshape(groups, a.shape[0], a.shape[1] * a.shape[3])


def finished(y, b=None, residual=None, activation="none"):
    with np.errstate(all="ignore"):
        y = y if b is None else y + b.reshape(-1, *(1,) * (y.ndim - 2))
        y = y if residual is None else y + residual
        return one_nan(np.where(y <= 0, y.dtype.type(0), y) if activation == "relu" else y)


def forward(x, w, b, stride, padding, dilation, groups, residual=None, activation="none"):
    at = places(x.shape[2:], w.shape[2:], stride, padding, dilation)
    out = tuple(map(len, at))
    if winograd.serves(x.dtype, x.shape[2:], w.shape[2:], out, w.shape[:2], stride, dilation, groups):
        return finished(winograd.forward(x, w, out, padding), b, residual, activation)
    rows = by_group(seen(x, at), groups, 1 + len(at))
    # w as (groups, kernel positions and channels, out channels of the group)
    columns = np.moveaxis(w, 1, -1).reshape(groups, w.shape[0] // groups, -1).swapaxes(1, 2)
    y = np.moveaxis(product(rows, columns), 0, 1).reshape(x.shape[0], *out, w.shape[0])
    return finished(np.moveaxis(y, -1, 1), b, residual, activation)


def backward_input(g, w, b, size, stride, padding, dilation, groups):
    """Pixels whose places have one remainder by the stride see the same kernel positions; each is a product."""
    if winograd.serves(g.dtype, size, w.shape[2:], g.shape[2:], w.shape[:2], stride, dilation, groups):
        return finished(winograd.backward_input(g, w, size, padding), b)
    rank, inputs = len(size), w.shape[1]
    x = np.zeros((g.shape[0], inputs * groups, *size), g.dtype)
    for remainder in np.ndindex(*(min(n, s) for n, s in zip(size, stride, strict=True))):
        rows = [*zip(size, w.shape[2:], stride, padding, dilation, remainder, strict=True)]
        taps = [[k for k in range(n) if (r + p[0] - k * d) % s == 0] for _, n, s, p, d, r in rows]
        at = [(np.arange(r, n, s)[:, None] + p[0] - d * np.array(t, int)) // s
              for (n, _, s, p, d, r), t in zip(rows, taps, strict=True)]  # fmt: skip
        a = by_group(seen(g, at), groups, 1 + rank)
        v = w[(slice(None), slice(None), *np.ix_(*taps))].reshape(groups, w.shape[0] // groups, inputs, -1)
        v = v.transpose(0, 3, 1, 2).reshape(groups, -1, inputs)
        y = np.moveaxis(product(a, v), 0, 1).reshape(g.shape[0], *map(len, at), inputs * groups)
        x[(slice(None), slice(None), *(slice(r, None, s) for r, s in zip(remainder, stride, strict=True)))] = (
            np.moveaxis(y, -1, 1)
        )
    return finished(x, b)


def backward_weight(g, x, kernel, stride, padding, dilation, groups):
    """The sum runs over all pixels of all images, in order."""
    channels = g.shape[1], x.shape[1]
    if winograd.serves(g.dtype, x.shape[2:], kernel, g.shape[2:], channels, stride, dilation, groups):
        return one_nan(winograd.backward_weight(g, x, kernel, padding))
    at = places(x.shape[2:], kernel, stride, padding, dilation)
    a = by_group(np.moveaxis(g, 1, -1), groups, 1 + len(at))
    w = product(a.swapaxes(1, 2), by_group(seen(x, at), groups, 1 + len(at)))
    return np.moveaxis(w.reshape(g.shape[1], *kernel, x.shape[1] // groups), -1, 1)


def unfold(x, kernel, stride, padding, dilation):
    rank = len(kernel)
    columns = seen(x, places(x.shape[2:], kernel, stride, padding, dilation))
    return columns.transpose(0, 2 * rank + 1, *range(1 + rank, 1 + 2 * rank), *range(1, 1 + rank))


def fold(columns, size, stride, padding, dilation):
    """Columns are added to +0 in the order of the kernel positions."""
    rank = len(size)
    at = places(size, columns.shape[2 : 2 + rank], stride, padding, dilation)
    x = np.zeros((*columns.shape[:2], *size), columns.dtype)
    with np.errstate(all="ignore"):
        for position in np.ndindex(columns.shape[2 : 2 + rank]):
            place = [p[:, k] for p, k in zip(at, position, strict=True)]
            inside = [(p >= 0) & (p < n) for p, n in zip(place, size, strict=True)]
            column = columns[(slice(None), slice(None), *position)][(..., *np.ix_(*inside))]
            x[(..., *np.ix_(*(p[i] for p, i in zip(place, inside, strict=True))))] += column
    return one_nan(x)


KERNELS = {
    "convolution_forward": forward,
    "convolution_backward_input": backward_input,
    "convolution_backward_weight": backward_weight,
    "unfold": unfold,
    "fold": fold,
}


def geometry(rng, most):
    """Spatial axes: (size, kernel, stride, padding, dilation), a number each, with a result of at least one pixel."""
    rows = []
    for _ in range(rank := int(rng.choice([1, 2, 3], p=[0.2, 0.65, 0.15]))):
        stride, dilation = (int(i) for i in rng.choice([1, 2, 3], 2, p=[0.6, 0.3, 0.1]))
        padding = tuple(int(i) for i in rng.choice([0, 1, 2, 5], 2, p=[0.4, 0.3, 0.2, 0.1]))
        n, k = round(most ** rng.random()), int(rng.integers(1, (9, 5, 3)[rank - 1]))
        rows.append((max(n, dilation * (k - 1) + 1 - sum(padding), 1), k, stride, padding, dilation))
    return [tuple(column) for column in zip(*rows, strict=True)]


def case(rng, dtype, most):
    size, kernel, stride, padding, dilation = geometry(rng, most)
    batch, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2, 3]))
    inputs, outs = (round((2 * most) ** rng.random()) for _ in range(2))
    kind = rng.random()
    if kind < 0.3:  # depthwise
        groups, inputs, outs = int(rng.integers(1, 4 * most)), 1, 1
    elif kind < 0.45 and len(size) > 1 and dtype == np.float32:  # about as small as Winograd's algorithm takes it
        groups, inputs, outs = 1, *(int(n) for n in rng.integers(15, 18 + most, 2))
        kernel, stride, dilation = ((*(1,) * (len(size) - 2), *last) for last in ((3, 3), (1, 1), (1, 1)))
        size = (*(1,) * (len(size) - 2), *(int(n) for n in rng.integers(3, 4 + most, 2)))
        padding = (*((0, 0),) * (len(size) - 2), *padding[-2:])
    out = tuple(len(p) for p in places(size, kernel, stride, padding, dilation))

    def some(*shape):
        return laid_out(rng, numbers(rng, shape, dtype))

    x_shape, w_shape, y_shape = (
        (batch, inputs * groups, *size),
        (outs * groups, inputs, *kernel),
        (batch, outs * groups, *out),
    )
    name, at = rng.choice([*KERNELS], p=[0.35, 0.25, 0.25, 0.07, 0.08]), (stride, padding, dilation)
    if name == "unfold":
        return name, (some(batch, inputs, *size), kernel, *at), {}
    if name == "fold":
        return name, (some(batch, inputs, *kernel, *out), size, *at), {}
    if name == "convolution_backward_weight":
        return name, (some(*y_shape), some(*x_shape), kernel, *at, groups), {}
    b = some((y_shape if name == "convolution_forward" else x_shape)[1]) if rng.random() < 0.5 else None
    if name == "convolution_backward_input":
        return name, (some(*y_shape), some(*w_shape), b, size, *at, groups), {}
    more = {"residual": some(*y_shape)} if rng.random() < 0.3 else {}
    more |= {"activation": "relu"} if rng.random() < 0.3 else {}
    return name, (some(*x_shape), some(*w_shape), b, *at, groups), more


def digest_calls():
    """Convolutions of every path: few channels and many, strides, groups, depthwise, one to three axes."""
    rng = np.random.default_rng(12)
    # x, w, stride, padding, dilation, groups
    layers = [((2, 3, 30, 31), (64, 3, 7, 7), 2, 3, 1, 1), ((2, 64, 15, 14), (96, 64, 3, 3), 2, 1, 1, 1),
              ((3, 40, 9, 9), (72, 40, 1, 1), 1, 0, 1, 1), ((2, 100, 8, 7), (130, 100, 1, 1), 2, 0, 1, 1),
              ((1, 8, 12, 12), (8, 8, 3, 3), 1, 1, 1, 1), ((2, 24, 20, 21), (24, 1, 5, 5), 2, 2, 1, 24),
              ((3, 70, 17, 16), (70, 1, 3, 3), 1, 1, 1, 70), ((2, 32, 13, 12), (48, 8, 3, 3), 1, 2, 2, 4),
              ((2, 33, 40), (35, 33, 5), 1, 2, 1, 1), ((1, 9, 6, 7, 8), (20, 9, 3, 2, 3), 2, 1, 1, 1),
              ((1, 2, 45, 45), (2, 1, 21, 20), 1, 0, 1, 2), ((3, 20, 9, 30), (300, 20, 3, 3), 1, 1, 1, 1),
              ((2, 140, 21, 22), (17, 140, 3, 3), 1, 0, 1, 1),
              ((1, 16, 126, 99), (18, 16, 3, 3), 1, 2, 1, 1)]  # fmt: skip
    for x_shape, w_shape, *numbers_ in layers:
        rank = len(x_shape) - 2
        stride, padding, dilation = (((n,) * rank) for n in numbers_[:3])
        at = stride, tuple((p, p) for p in padding), dilation
        groups = numbers_[3]
        out = tuple(len(p) for p in places(x_shape[2:], w_shape[2:], *at))
        for dtype in (np.float32, np.float64):
            x, w, g, b = (rng.standard_normal(s).astype(dtype)
                          for s in (x_shape, w_shape, (x_shape[0], w_shape[0], *out), w_shape[0]))  # fmt: skip
            label = f"{x_shape} {w_shape} {np.dtype(dtype).name}"
            yield label, "convolution_forward", (x, w, b, *at, groups), {"residual": g, "activation": "relu"}
            yield label, "convolution_backward_input", (g, w, None, x_shape[2:], *at, groups), {}
            yield label, "convolution_backward_weight", (g, x, w_shape[2:], *at, groups), {}
            if x.size < 10_000:
                columns = unfold(x, w_shape[2:], *at)
                yield label, "unfold", (x, w_shape[2:], *at), {}
                yield label, "fold", (columns, x_shape[2:], *at), {}
