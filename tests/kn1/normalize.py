"""Normalizations in kn1: all in float64, sums by the lane sum, each result rounded once."""

import numpy as np

from kn1.arithmetic import fma32, fma64, laid_out, lane_sum, numbers, one_nan
from kn1.softmax import decay


def _doubles(x):
    return None if x is None else np.asarray(x, np.float64)


def _rounded(y, dtype):
    return one_nan(np.asarray(y, np.float64).astype(dtype))


def _sum(t, axes):
    return lane_sum(t, axes, True)


def _first(x, axes):
    return x[tuple(slice(0, 1) if a in axes else slice(None) for a in range(x.ndim))]


def _count(x, axes):
    return max(float(np.prod([x.shape[a] for a in axes])), 1.0)


def _moments(x, axes, eps, is_centred):
    """t, d, μ, σ² and r of float64 x."""
    empty = any(x.shape[a] == 0 for a in axes)
    first = _first(x, axes) if is_centred and not empty else 0.0
    t, n = x - first, _count(x, axes)
    s, squares = _sum(t, axes), _sum(t * t, axes)
    d = s / n if is_centred else np.zeros_like(s)
    total = squares - s * d
    var = np.where(total < 0, 0.0, total) / n
    return t, d, first + d, var, 1 / np.sqrt(var + eps)


def _activated(x, mean, r, w, b, residual, activation, dtype):
    z = (x - mean) * r
    for factor in (w,) if w is not None else ():
        z = z * _doubles(factor)
    for term in (b, residual):
        z = z if term is None else z + _doubles(term)
    if activation == "silu":
        return _silu(z.astype(dtype))
    return np.where(z <= 0, 0.0, z) if activation == "relu" else z


def _gate(z):
    """σ(z) and 1 − σ(z), in z's type."""
    e = decay(np.where(z < 0, z, -z))
    large = 1 / (1 + e)
    small = e * large
    return np.where(z < 0, small, large), np.where(z < 0, large, small)


def _silu(z):
    z = np.where(z < -10000, z.dtype.type(-10000), z)
    return z * _gate(z)[0]


def _silu_slope(z):
    z = np.where(z < -10000, z.dtype.type(-10000), np.where(z > 10000, z.dtype.type(10000), z))
    gate, rest = _gate(z)
    return gate * _fma(z, rest, np.ones_like(z))


def _fma(a, b, c):
    return (fma32 if a.dtype == np.float32 else fma64)(a, b, np.asarray(c, a.dtype))


def _passed(g, x, mean, var, w, b, eps, residual):
    """What silu lets through of g, at what it was given, computed in g's type from the rounded statistics."""
    scale = 1 / np.sqrt(_doubles(var) + eps) * (1.0 if w is None else _doubles(w))
    z = _fma(x - mean, *(np.broadcast_to(p, x.shape) for p in (scale.astype(x.dtype), 0 if b is None else b)))
    z = z if residual is None else z + residual
    return _doubles(one_nan(g * _silu_slope(z)))


def norm_forward(x, w, b, axes, eps, is_centred=True, residual=None, activation="none"):
    _, _, mean, var, r = _moments(_doubles(x), axes, eps, is_centred)
    y = _activated(_doubles(x), mean, r, w, b, residual, activation, x.dtype)
    return tuple(_rounded(part, x.dtype) for part in (y, mean if is_centred else np.zeros(()), var))


def norm_backward(
    g, x, w, b, axes, eps, is_centred=True, g_mean=0.0, g_var=0.0, y=None, has_residual=False,
    mean=None, var=None, residual=None,
):  # fmt: skip
    dtype, shape = x.dtype, x.shape
    kind = _kind(w if w is not None else b, shape, axes)
    x64, g64, w64 = _doubles(x), _doubles(g), _doubles(w)
    passed = g64 if y is None else np.where(_doubles(y) > 0, g64, 0.0)
    is_passed = y is not None or mean is not None
    if mean is not None:
        passed = _passed(g, x, mean, var, w, b, eps, residual)
    t, d, mean, _, r = _moments(x64, axes, eps, is_centred)
    n, weight = _count(x, axes), 1.0
    h = passed
    if w is not None and kind == "own":
        weight = w64
    elif w is not None:
        h = passed * w64
    s = _sum(h, axes)
    product = (_sum(h * t, axes) - d * s) * r
    a = r * weight
    b_ = np.where(np.any(g_var), 2 * _doubles(g_var) / n, 0) if np.ndim(g_var) == 0 else 2 * _doubles(g_var) / n
    c = np.where(np.any(g_mean), _doubles(g_mean) / n, 0) if np.ndim(g_mean) == 0 else _doubles(g_mean) / n
    b_ = b_ - a * (product / n) * r
    c = c - (a * (s / n) if is_centred else 0)
    gx = h * a + (x64 - mean) * b_ + c
    hat = (x64 - mean) * r
    if kind == "own":
        gw, gb = product, s
    else:
        rest = _repeated(w if w is not None else b, shape)
        terms = passed * hat
        gw = _sum(terms if kind == "each" else _rounded(terms, dtype), rest)
        gb = _sum(passed, rest)
    gw = None if w is None else _rounded(gw, dtype).reshape(w.shape)
    gb = None if b is None else _rounded(gb, dtype).reshape(b.shape)
    g_residual = None if not has_residual else _rounded(passed, dtype) if is_passed else g
    return _rounded(gx, dtype), gw, gb, g_residual


def _padded(w, shape):
    return (1,) * (len(shape) - w.ndim) + w.shape


def _repeated(w, shape):
    """The axes along which w has one number."""
    return tuple(a for a, n in enumerate(_padded(w, shape)) if n == 1)


def _kind(w, shape, axes):
    """Whether weights vary as the statistics do ("own"), over trailing axes that are normalized ("each"), or else."""
    statistics = tuple(1 if a in axes else n for a, n in enumerate(shape))
    if w is None or _padded(w, shape) == statistics:
        return "own"
    rows = tuple(n if a in axes else 1 for a, n in enumerate(shape))
    is_trailing = not axes or sorted(axes) == list(range(min(axes), len(shape)))
    return "each" if _padded(w, shape) == rows and is_trailing else "mixed"


def batch_norm_inference_forward(x, mean, var, w, b, eps, residual=None, activation="none"):
    r = 1 / np.sqrt(_doubles(var) + eps)
    return _rounded(_activated(_doubles(x), _doubles(mean), r, w, b, residual, activation, x.dtype), x.dtype)


def batch_norm_inference_backward(
    g, x, mean, var, w, axes, eps, y=None, has_residual=False, b=None, residual=None, activation="none"
):
    r = 1 / np.sqrt(_doubles(var) + eps)
    passed = _doubles(g) if y is None else np.where(_doubles(y) > 0, _doubles(g), 0.0)
    is_passed = y is not None or activation == "silu"
    if activation == "silu":
        passed = _passed(g, x, mean, var, w, b, eps, residual)
    scale = r * (1.0 if w is None else _doubles(w))
    gb = _sum(passed, axes)
    gw = _sum(passed * (_doubles(x) - _doubles(mean)), axes) * r
    parts = (passed * scale, -scale * gb, -0.5 * scale * (gw * r), gw, gb)
    g_residual = None if not has_residual else _rounded(passed, x.dtype) if is_passed else g
    return *(_rounded(part, x.dtype) for part in parts), g_residual


def affine(x, w, b=None):
    y = _doubles(x) * _doubles(w)
    return _rounded(y if b is None else y + _doubles(b), x.dtype)


_FUNCTIONS = (norm_forward, norm_backward, batch_norm_inference_forward, batch_norm_inference_backward, affine)
KERNELS = {f.__name__: f for f in _FUNCTIONS}


def case(rng, dtype, most):
    """Batch, layer and group norms, and any other axes."""
    name = str(rng.choice([*KERNELS]))
    is_given = "inference" in name
    rank = int(rng.integers(1, 5))
    shape = [round(most ** rng.random()) for _ in range(rank)]
    if rng.random() < 0.1:
        shape[rng.integers(rank)] = round(min(most**3, 4000) ** rng.random())
    while np.prod(shape) > 12_000:
        shape[np.argmax(shape)] //= 2
    kind = rng.choice(["batch", "batch", "layer", "any"])
    if is_given or kind == "batch":
        channel = int(rng.integers(rank))
        axes = tuple(a for a in range(rank) if a != channel)
    elif kind == "layer":
        axes = tuple(range(int(rng.integers(rank)), rank))
    else:
        axes = tuple(int(a) for a in np.flatnonzero(rng.random(rank) < 0.5))
    if not is_given and rng.random() < 0.02:
        shape[rng.integers(rank)] = 0
    some = lambda shape: laid_out(rng, numbers(rng, tuple(shape), dtype))  # noqa: E731
    statistics = [1 if a in axes else n for a, n in enumerate(shape)]
    varies = {"layer": [n if a in axes else 1 for a, n in enumerate(shape)], "any": statistics}
    weights = varies.get(kind, statistics) if not is_given else statistics
    if kind == "any" and not is_given:
        weights = [n if rng.random() < 0.5 else 1 for n in shape]
    while kind == "layer" and weights and weights[0] == 1 and rng.random() < 0.8:
        weights = weights[1:]
    if name == "affine":
        repeated = [1 if rng.random() < 0.5 else n for n in shape]
        return name, (some(shape), some(repeated), some(repeated) if rng.random() < 0.5 else None), {}
    w, b = (some(weights) if rng.random() < 0.8 else None for _ in range(2))
    x, eps = some(shape), float(10 ** rng.uniform(-8, 0))
    has_residual, activation = bool(rng.random() < 0.4), str(rng.choice(["none", "relu", "silu"]))
    is_own = _kind(w if w is not None else b, tuple(shape), axes) == "own"
    y = some(shape) if activation == "relu" and is_own else None
    residual = some(shape) if has_residual else None
    more = (residual, activation)
    if is_given:
        mean, var = some(statistics), np.abs(some(statistics))
        if name.endswith("forward"):
            return name, (x, mean, var, w, b, eps, *more), {}
        again = (b, residual, activation) if activation == "silu" else ()
        return name, (some(shape), x, mean, var, w, axes, eps, y, has_residual, *again), {}
    is_centred = bool(rng.random() < 0.8)
    if name == "norm_forward":
        return name, (x, w, b, axes, eps, is_centred, *more), {}
    if kind == "batch" and rng.random() < 0.5:
        g_mean, g_var = some(statistics), some(statistics)
    else:
        g_mean = g_var = 0.0
    again = (some(statistics), np.abs(some(statistics)), residual) if activation == "silu" and is_own else ()
    return name, (some(shape), x, w, b, axes, eps, is_centred, g_mean, g_var, y, has_residual, *again), {}


def digest_calls():
    """Each way through memory: channels last and first, rows, groups; one block of terms and many."""
    rng = np.random.default_rng(31)
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        some = lambda *shape: rng.standard_normal(shape).astype(dtype)  # noqa: B023, E731
        for shape in ((3, 21, 27, 31), (2, 40, 5, 7)):
            x, g, other = some(*shape), some(*shape), some(*shape)
            w, b = some(shape[1], 1, 1), some(shape[1], 1, 1)
            for layout in ("", " channels-last"):
                if layout:
                    x, g, other = (np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1) for a in (x, g, other))
                label = f"{kind} {shape}{layout}"
                yield f"{label} relu", "norm_forward", (x, w[None], b[None], (0, 2, 3), 1e-5, True, other, "relu"), {}
                yield label, "norm_backward", (g, x, w[None], b[None], (0, 2, 3), 1e-5, True, 0.0, 0.0, other, True), {}
                yield label, "norm_forward", (x, None, None, (2, 3), 1e-5), {}
                yield f"{label} silu", "norm_forward", (x, w[None], b[None], (0, 2, 3), 1e-5, True, None, "silu"), {}
                given = (w[None], b[None] ** 2, other)
                call = (g, x, w[None], b[None], (0, 2, 3), 1e-5, True, 0.0, 0.0, None, True, *given)
                yield f"{label} silu", "norm_backward", call, {}
        for rows, length in ((1100, 40), (30, 1200), (5, 5)):
            x, g, w, b = some(rows, length), some(rows, length), some(length), some(length)
            label = f"{kind} {rows} rows of {length}"
            yield label, "norm_forward", (x, w, b, (1,), 1e-5), {}
            yield label, "norm_backward", (g, x, w, b, (1,), 1e-5), {}
            yield f"{label} not centred", "norm_backward", (g, x, w, None, (1,), 1e-5, False), {}
        x, mean, w = some(4, 20, 6), some(1, 20, 1), some(1, 20, 1)
        yield kind, "batch_norm_inference_forward", (x, mean, mean**2, w, w, 1e-5, x, "relu"), {}
        yield kind, "batch_norm_inference_backward", (x, x, mean, mean**2, w, (0, 2), 1e-5), {}
        yield f"{kind} silu", "batch_norm_inference_forward", (x, mean, mean**2, w, w, 1e-5, None, "silu"), {}
        call = (x, x, mean, mean**2, w, (0, 2), 1e-5, None, False, w, None, "silu")
        yield f"{kind} silu", "batch_norm_inference_backward", call, {}
        yield kind, "affine", (x, x[:, :, :1], x[:, :, 1:2]), {}
