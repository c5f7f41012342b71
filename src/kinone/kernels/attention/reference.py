"""Attention in plain NumPy, one block of queries at a time, so that the scores of all never exist at once."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.kernels.precision import widened
from kinone.kernels.random.reference import Words32, bernoulli
from kinone.kernels.reduction.reference import sum

__all__ = ["attention_backward", "attention_backward_mask", "attention_forward"]

Array = NDArray[Any]
Key = tuple[Words32, int]  # of a stream, and a step

BLOCK = 1 << 16  # scores that exist at once, unless one query has more


def attention_forward(
    q: Array, k: Array, v: Array, mask: Array | None, is_causal: bool, scale: float, p: float, key: Key | None
) -> tuple[Array, Array]:
    """y = P·v, P = softmax(scale·q·kᵀ + mask), and the logarithm of each row's sum of exponentials.

    q (…, L, d), k (…, S, d), v (…, S, e) → (…, L, e), (…, L). A row without any key gives 0 and −∞.
    """
    batch = _batch(q, k, v)
    dtype, (q, k, v) = q.dtype, _flat(batch, q, k, v)
    y = np.empty((*q.shape[:2], v.shape[-1]), q.dtype)
    lse = np.empty(q.shape[:2], q.dtype)
    for rows, n, s in _scores(batch, q, k, mask, is_causal, scale):
        m = np.max(s, axis=-1, keepdims=True, initial=-np.inf)
        m[m == -np.inf] = 0
        s -= m
        np.exp(s, out=s)
        total = sum(s, (-1,), True)
        with np.errstate(divide="ignore"):
            lse[rows] = (np.log(total) + m)[..., 0]
        total[total == 0] = 1
        s /= total
        _drop(s, rows, q.shape[1], k.shape[1], p, key)
        y[rows] = np.matmul(s, v[rows[0], :n])
    y, lse = (t.reshape(*batch, *t.shape[1:]).astype(dtype, copy=False) for t in (y, lse))
    return y, lse


def attention_backward(
    g: Array, g_lse: Array, q: Array, k: Array, v: Array, mask: Array | None, y: Array, lse: Array,
    is_causal: bool, scale: float, p: float, key: Key | None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The gradients of q, k and v, in the shapes that broadcasting gave them."""
    batch, dtype = _batch(q, k, v), q.dtype
    g_flat, q_flat, k_flat, v_flat = _flat(batch, g, q, k, v)
    gq, gk, gv = np.zeros_like(q_flat), np.zeros_like(k_flat), np.zeros_like(v_flat)
    for rows, n, dropped, s in _score_gradients(g, g_lse, q, k, v, mask, y, lse, is_causal, scale, p, key):
        some = rows[0]
        gq[rows] = np.matmul(s, k_flat[some, :n])
        gk[some, :n] += np.matmul(s.swapaxes(-1, -2), q_flat[rows])
        gv[some, :n] += np.matmul(dropped.swapaxes(-1, -2), g_flat[rows])
    gq *= scale
    gk *= scale
    gq, gk, gv = (t.reshape(*batch, *t.shape[1:]).astype(dtype, copy=False) for t in (gq, gk, gv))
    return gq, gk, gv


def attention_backward_mask(
    g: Array, g_lse: Array, q: Array, k: Array, v: Array, mask: Array | None, y: Array, lse: Array,
    is_causal: bool, scale: float, p: float, key: Key | None,
) -> Array:  # fmt: skip
    """The gradient of an additive mask, (…, L, S): as large as the scores, so computed only where it is wanted."""
    batch = _batch(q, k, v)
    out = np.zeros((prod(batch), q.shape[-2], k.shape[-2]), q.dtype)
    for rows, n, _, s in _score_gradients(g, g_lse, q, k, v, mask, y, lse, is_causal, scale, p, key):
        out[(*rows, slice(n))] = s
    return out.reshape(*batch, *out.shape[1:])


def _score_gradients(
    g: Array, g_lse: Array, q: Array, k: Array, v: Array, mask: Array | None, y: Array, lse: Array,
    is_causal: bool, scale: float, p: float, key: Key | None,
) -> Iterator[tuple[Any, int, Array, Array]]:  # fmt: skip
    """Of each block: its rows, its number of keys, P with dropout, and ∂L/∂scores = P·(∂L/∂P − Σ g·y + ∂L/∂lse)."""
    batch = _batch(q, k, v)
    g, y, q, k, v = _flat(batch, g, y, q, k, v)
    ends = widened(lse).reshape((*q.shape[:2], 1))
    ends = np.where(ends == -np.inf, 0, ends)  # a row without keys: exp(−∞ − 0) = 0
    shift = widened(g_lse).reshape(ends.shape) - sum(g * y, (-1,), True)
    for rows, n, s in _scores(batch, q, k, mask, is_causal, scale):
        s -= ends[rows]
        np.exp(s, out=s)
        dropped = _drop(s.copy(), rows, q.shape[1], k.shape[1], p, key) if p else s
        gp = _drop(np.matmul(g[rows], v[rows[0], :n].swapaxes(-1, -2)), rows, q.shape[1], k.shape[1], p, key)
        gp += shift[rows]
        gp *= s
        yield rows, n, dropped, gp


def _scores(
    batch: tuple[int, ...], q: Array, k: Array, mask: Array | None, is_causal: bool, scale: float
) -> Iterator[tuple[Any, int, Array]]:
    """Blocks of the scores: several whole sequences, or a part of one; −∞ where a query may not look.

    With `is_causal`, keys beyond the block's last query are left out.
    """
    length, width = q.shape[1], k.shape[1]
    if mask is not None:
        mask = np.broadcast_to(mask, (*batch, length, width))
    sequences = max(1, BLOCK // max(1, length * width))
    queries = max(1, length if sequences > 1 else BLOCK // max(1, width))
    for i in range(0, len(q), sequences):
        for j in range(0, length, queries):
            rows = (slice(i, i + sequences), slice(j, min(j + queries, length)))
            n = min(width, rows[1].stop) if is_causal else width
            s = np.matmul(q[rows] * q.dtype.type(scale), k[rows[0], :n].swapaxes(-1, -2))
            if mask is not None:
                place = np.unravel_index(np.arange(i, min(i + sequences, len(q))), batch) if batch else ()
                part = mask[(*place, rows[1], slice(n))]
                if mask.dtype == bool:
                    s[np.broadcast_to(~part, s.shape)] = -np.inf
                else:
                    s += part
            if is_causal:
                s[:, np.arange(j, rows[1].stop)[:, None] < np.arange(n)] = -np.inf
            yield rows, n, s


def _drop(s: Array, rows: Any, length: int, width: int, p: float, key: Key | None) -> Array:
    """Dropout in place; element (sequence, query, key) of the noise has the same bits in any block."""
    if p and key is not None:
        words, step = key
        first = (rows[0].start * length + rows[1].start) * width
        count = s.shape[0] * s.shape[1] * width
        kept = bernoulli(words, step, first, count, 1 - p).reshape(*s.shape[:2], width)
        s *= kept[..., : s.shape[-1]]
        s /= 1 - p
    return s


def _batch(*xs: Array) -> tuple[int, ...]:
    return np.broadcast_shapes(*(x.shape[:-2] for x in xs))


def _flat(batch: tuple[int, ...], *xs: Array) -> list[Array]:
    """Each (…, n, m) as (sequences, n, m)."""
    return [np.broadcast_to(widened(x), (*batch, *x.shape[-2:])).reshape(prod(batch), *x.shape[-2:]) for x in xs]
