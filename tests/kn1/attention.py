"""Attention in kn1: products as gemm has them, softmax between them; causal, by groups of 16 queries and keys."""

import math

import numpy as np

from kinone.kernels.random import reference as random
from kn1.arithmetic import FMA, laid_out, lane_sum, numbers, one_nan
from kn1.gemm import CHUNK
from kn1.softmax import exponentials, largest, ln

GROUP = 16  # of the profile


def product(a, b, first=0, end=None):
    """a·b over first ≤ p < end, in the chunks that all p would have."""
    fma, end = FMA[a.dtype], a.shape[-1] if end is None else end
    y = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for begin in range(0, a.shape[-1], CHUNK):
        s = np.zeros_like(y)
        for p in range(max(begin, first), min(begin + CHUNK, end)):
            s = fma(*np.broadcast_arrays(a[:, p : p + 1], b[p : p + 1, :], s))
        y = y + s if begin else s
    return y


def by_groups(a, b, is_causal, are_keys=False):
    """a·b for the rows of a, groups of 16: of queries over the keys up to their group's end; of keys from it on."""
    if not is_causal:
        return product(a, b)
    starts = range(0, a.shape[0], GROUP)
    spans = ((i, None) if are_keys else (0, min(i + GROUP, a.shape[1])) for i in starts)
    parts = [product(a[i : i + GROUP], b, *span) for i, span in zip(starts, spans, strict=True)]
    return np.concatenate(parts) if parts else np.zeros((0, b.shape[1]), a.dtype)


def probabilities(q, k, mask, is_causal, scale):
    s = product(q, k.T) * q.dtype.type(scale)
    if mask is not None:
        s = np.where(mask, s, -np.inf).astype(s.dtype) if mask.dtype == bool else s + mask
    if is_causal:
        s = np.where(np.tri(*s.shape, dtype=bool), s, -np.inf).astype(s.dtype)
    m = largest(s)
    sees_none = m == -np.inf
    m = np.where(sees_none, np.zeros((), s.dtype), m)
    e, total = exponentials(s, m)
    r = np.where(sees_none & (total == 0), 0, 1 / total).astype(s.dtype)
    return e * r, one_nan((ln(total) + m).astype(s.dtype)[:, 0])


def _each(f, outputs):
    """f for each sequence of the batch."""

    def kernel(*args):
        *arrays, is_causal, scale, p, key = args
        with np.errstate(all="ignore"):
            q, k, v, mask = arrays[-4:] if len(arrays) == 4 else arrays[2:6]
            batch = np.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)))
            shapes = [x.shape[-2:] for x in (q, k, v)]
            q, k, v = (np.broadcast_to(x, (*batch, *shape)) for x, shape in zip((q, k, v), shapes, strict=True))
            if mask is not None:
                mask = np.broadcast_to(mask, (*batch, shapes[0][0], shapes[1][0]))
            found = []
            each = shapes[0][0] * shapes[1][0]
            for number, i in enumerate(np.ndindex(batch)):
                drop = _dropout(p, key, number * each)
                rest = [] if len(arrays) == 4 else [x[i] for x in (arrays[0], arrays[1], arrays[6])]
                found.append(f(q[i], k[i], v[i], None if mask is None else mask[i], is_causal, scale, drop, *rest))
        dtype, (n, d), (s, _), (_, e) = q.dtype, *shapes
        ends = {"y": (n, e), "lse": (n,), "gq": (n, d), "gk": (s, d), "gv": (s, e), "g_mask": (n, s)}
        y = tuple(
            np.reshape([one_nan(f[j]) for f in found], (*batch, *ends[name])).astype(dtype)
            for j, name in enumerate(outputs)
        )
        return y if len(y) > 1 else y[0]

    return kernel


def _dropout(p, key, start):
    """D of a sequence whose elements take theirs of the noise from `start` on."""

    def drop(s):
        if not p:
            return s
        kept = random.bernoulli(*key, start, s.size, 1 - p).reshape(s.shape)
        return np.where(kept, one_nan(s / s.dtype.type(1 - p)), np.zeros((), s.dtype))

    return drop


def forward(q, k, v, mask, is_causal, scale, drop):
    p, lse = probabilities(q, k, mask, is_causal, scale)
    return by_groups(drop(p), v, is_causal), lse


def score_gradients(q, k, v, mask, is_causal, scale, drop, g, g_lse, y):
    p, _ = probabilities(q, k, mask, is_causal, scale)
    t = lane_sum(g.astype(np.float64) * y.astype(np.float64), -1)
    shift = (g_lse - t).astype(q.dtype)
    ds = p * (drop(product(g, v.T)) + shift[:, None])
    if is_causal:
        rows, keys = (np.arange(n) // GROUP for n in ds.shape)
        ds = np.where(keys <= rows[:, None], ds, np.zeros((), ds.dtype))
    return drop(p), ds


def backward(q, k, v, mask, is_causal, scale, drop, g, g_lse, y):
    p, ds = score_gradients(q, k, v, mask, is_causal, scale, drop, g, g_lse, y)
    scale = q.dtype.type(scale)
    return (by_groups(ds, k, is_causal) * scale, by_groups(ds.T, q, is_causal, True) * scale,
            by_groups(p.T, g, is_causal, True))  # fmt: skip


def of_mask(*args):
    return score_gradients(*args)[1:]


KERNELS = {"attention_forward": _each(forward, ["y", "lse"]), "attention_backward": _each(backward, ["gq", "gk", "gv"]),
           "attention_backward_mask": _each(of_mask, ["g_mask"])}  # fmt: skip


def arguments(rng, name, dtype, batch, n, s, d, e, mask, is_causal, make=numbers, noise=(0.0, None)):
    other = [batch, (1,) * len(batch), ()][rng.integers(3)]
    q, k, v = (laid_out(rng, make(rng, shape, dtype)) for shape in ((*batch, n, d), (*other, s, d), (*other, s, e)))
    given = (q, k, v, mask)
    if name != "attention_forward":
        g, y, g_lse = (laid_out(rng, make(rng, (*batch, *shape), dtype)) for shape in ((n, e), (n, e), (n,)))
        given = (g, g_lse, *given, y, g_lse)
    return (*given, is_causal, float(rng.choice([1.0, 0.25, -0.3, 1 / math.sqrt(d)])), *noise)


def case(rng, dtype, most):
    name = str(rng.choice(list(KERNELS)))
    batch = [(), (), (2,), (2, 3), (1, 2)][rng.integers(5)]
    n, s, d, e = (int(rng.integers(1, most + 1)) for _ in range(4))
    if rng.random() < 0.3:
        batch, n, s = (), int(rng.integers(1, 5 * most)), int(rng.integers(1, 5 * most))
    shape = [(n, s), (1, s), (n, 1), (*batch, n, s), (s,), ()][rng.integers(6)]
    mask = [None, None, laid_out(rng, rng.random(shape) < 0.7), laid_out(rng, numbers(rng, shape, dtype))]
    mask = mask[rng.integers(4)]
    noise = (float(rng.choice([0.1, 0.5, 0.9])), (rng.integers(0, 2**32, 2).astype(np.uint32), int(rng.integers(99))))
    more = {"noise": noise} if rng.random() < 0.4 else {}
    return name, arguments(rng, name, dtype, batch, n, s, d, e, mask, bool(rng.integers(2)), **more), {}


def digest_calls():
    """Few and many sequences, one chunk of queries and several; as a network's heads lie in memory."""
    rng = np.random.default_rng(23)

    def make(rng, shape, dtype):
        if len(shape) < 4:
            return rng.standard_normal(shape).astype(dtype)
        return rng.standard_normal([shape[i] for i in (0, 2, 1, 3)]).astype(dtype).transpose(0, 2, 1, 3)

    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        for batch, n, s, d, e in (((2, 4), 60, 60, 32, 32), ((), 400, 800, 20, 9), ((3, 3), 17, 33, 5, 64)):
            for is_causal in (False, True):
                for name in KERNELS:
                    mask = rng.random((n, s)) < 0.8 if name.endswith("mask") else None
                    args = arguments(rng, name, dtype, batch, n, s, d, e, mask, is_causal, make)
                    label = f"{batch} {n}x{s}x{d}x{e} causal={is_causal} {kind}"
                    yield label, name, args, {}
                    yield f"{label} dropped", name, (*args[:-2], 0.25, (np.array([5, 7], np.uint32), 11)), {}
