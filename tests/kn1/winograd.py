"""3×3 convolutions of float32 in kn1: Winograd's F(4×4, 3×3) with the points 0, ±5/8, ±3/2 and ∞.

Transforms of two dimensions go down the columns, then along the rows. Each of their constants is a rational number
rounded once. Images are cut into tiles of 4×4, numbered by (image, row, column).
"""

from fractions import Fraction

import numpy as np

from kn1.arithmetic import fma32
from kn1.gemm import product

CHUNK = 128  # of the profile: channels, or tiles, of one chain
LEAST_CHANNELS, LEAST_PIXELS = 16, 4

A, B = Fraction(5, 8), Fraction(3, 2)
# 1 over the product of a point's distances from the others.
AT_0, AT_A, AT_B = 1 / (A * B) ** 2, 1 / (2 * A**2 * (A**2 - B**2)), 1 / (2 * B**2 * (B**2 - A**2))


def serves(dtype, size, kernel, out, channels, stride, dilation, groups):
    """Whether such a convolution goes this way: one sample's shape decides."""
    if len(size) == 3 and size[0] == out[0] == kernel[0] == 1:
        size, kernel, out, stride, dilation = (values[1:] for values in (size, kernel, out, stride, dilation))
    is_3x3 = (*kernel, *stride, *dilation, groups) == (3, 3, 1, 1, 1, 1, 1)
    return dtype == np.float32 and is_3x3 and min(channels) >= LEAST_CHANNELS and min(*size, *out) >= LEAST_PIXELS


def fma(k, x, y):
    return fma32(np.float32(float(k)), x, y)


def times(k, x):
    return np.float32(float(k)) * x


def of_x(x):
    def pair(p, q):
        even, odd = fma(-(q**2), x[2], x[4]), fma(-(q**2), x[1], x[3])
        return fma(p, odd, even), fma(-p, odd, even)

    all_, both = (A * B) ** 2, -(A**2 + B**2)
    first, last = fma(all_, x[0], fma(both, x[2], x[4])), fma(all_, x[1], fma(both, x[3], x[5]))
    return np.stack([first, *pair(A, B), *pair(B, A), last])


def of_w(w):
    def pair(p, scale):
        even = fma(p**2 * scale, w[2], times(scale, w[0]))
        return fma(p * scale, w[1], even), fma(-p * scale, w[1], even)

    return np.stack([times(AT_0, w[0]), *pair(A, AT_A), *pair(B, AT_B), w[2]])


def to_y(m):
    even_a, odd_a, even_b, odd_b = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return np.stack([(m[0] + even_a) + even_b, fma(B, odd_b, times(A, odd_a)), fma(B**2, even_b, times(A**2, even_a)),
                     fma(B**3, odd_b, fma(A**3, odd_a, m[5]))])  # fmt: skip


def of_y(y):
    def pair(p):
        even, odd = fma(p**2, y[2], y[0]), fma(p**2, y[3], y[1])
        return fma(p, odd, even), fma(-p, odd, even)

    return np.stack([y[0], *pair(A), *pair(B), y[3]])


def to_w(m):
    even_a, odd_a, even_b, odd_b = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return np.stack([fma(AT_B, even_b, fma(AT_A, even_a, times(AT_0, m[0]))),
                     fma(B * AT_B, odd_b, times(A * AT_A, odd_a)),
                     fma(B**2 * AT_B, even_b, fma(A**2 * AT_A, even_a, m[5]))])  # fmt: skip


def both_ways(transform, numbers):
    return transform(transform(numbers).swapaxes(0, 1)).swapaxes(0, 1)


def tiles(image, side, out, before):
    """(side, side, tiles, channels) of what the tiles of a result of the size `out` see; +0 outside the image."""
    image = image.reshape(*image.shape[:2], *image.shape[-2:]).transpose(0, 2, 3, 1)
    rows, columns = (np.arange(4 * -(-n // 4) - 4 + side) - p for n, p in zip(out, before, strict=True))
    for axis, place in ((1, rows), (2, columns)):
        inside = (place >= 0) & (place < image.shape[axis])
        image = np.where(inside.reshape(-1, *(1,) * (3 - axis)), image.take(np.where(inside, place, 0), axis), 0)
    corners = [(i, j) for i in range(0, len(rows) - side + 4, 4) for j in range(0, len(columns) - side + 4, 4)]
    cut = [image[:, i : i + side, j : j + side] for i, j in corners]  # each (batch, side, side, channels)
    return np.stack(cut, 1).reshape(-1, side, side, image.shape[-1]).transpose(1, 2, 0, 3).astype(np.float32)


def sums(v, u):
    """Σ over the last axis of v and the last but one of u, for each of the 36."""
    return product(v.reshape(36, *v.shape[2:]), u.reshape(36, *u.shape[2:]), chunk=CHUNK).reshape(6, 6, v.shape[2], -1)


def x_to_y(x, w, out, before):
    """w (3, 3, channels of x, channels of y)"""
    *first, high, wide = out
    out = high, wide
    with np.errstate(all="ignore"):
        m = sums(both_ways(of_x, tiles(x, 6, out, before)), both_ways(of_w, w))
        y = both_ways(to_y, m)
    rows, columns = (-(-n // 4) for n in out)
    y = y.reshape(4, 4, x.shape[0], rows, columns, -1).transpose(2, 5, 3, 0, 4, 1)
    return y.reshape(*y.shape[:2], 4 * rows, 4 * columns)[:, :, :high, :wide].reshape(*y.shape[:2], *first, high, wide)


def by_taps(w):
    return w.reshape(*w.shape[:2], 3, 3).transpose(2, 3, 0, 1)


def forward(x, w, out, padding):
    return x_to_y(x, by_taps(w).swapaxes(2, 3), out, [before for before, _ in padding[-2:]])


def backward_input(g, w, size, padding):
    return x_to_y(g, by_taps(w)[::-1, ::-1], size, [2 - before for before, _ in padding[-2:]])


def backward_weight(g, x, kernel, padding):
    out, before = g.shape[-2:], [before for before, _ in padding[-2:]]
    with np.errstate(all="ignore"):
        v, u = both_ways(of_x, tiles(x, 6, out, before)), both_ways(of_y, tiles(g, 4, out, (0, 0)))
        w = both_ways(to_w, sums(v.swapaxes(2, 3), u))
    return w.transpose(3, 2, 0, 1).reshape(g.shape[1], x.shape[1], *kernel)
