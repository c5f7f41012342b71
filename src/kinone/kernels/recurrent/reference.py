"""Recurrent networks through a whole sequence, in plain NumPy: what is left once all x[t]·w_ihᵀ + b_ih are computed.

p (T, N, gates·H) holds those products, h0 (N, H) the first state, w_hh (gates·H, H). Sequence n has lengths[n] steps of
the T: beyond them its state stands still and its outputs are 0. Reversed, it begins at its own end.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.kernels.elementwise.reference import sigmoid
from kinone.kernels.gemm.reference import linear

__all__ = ["gru_backward", "gru_forward", "lstm_backward", "lstm_forward", "rnn_backward", "rnn_forward"]

Array = NDArray[Any]


def rnn_forward(
    p: Array, h0: Array, w_hh: Array, b_hh: Array | None, lengths: Array | None, nonlinearity: str, is_reversed: bool
) -> tuple[Array, Array]:
    """h ← φ(p[t] + h·w_hhᵀ + b_hh), φ = tanh or relu: the states (T, N, H) and the last."""
    y, h = np.zeros((len(p), *h0.shape), p.dtype), h0.copy()
    for t, now in _steps(len(p), lengths, is_reversed):
        a = p[t, now] + linear(h[now], w_hh, b_hh)
        h[now] = y[t, now] = np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)
    return y, h


def rnn_backward(
    g: Array, g_h: Array, w_hh: Array, lengths: Array | None, y: Array, nonlinearity: str, is_reversed: bool
) -> tuple[Array, Array]:
    """The gradients of p and h0: ∂L/∂p[t] = ∂L/∂h·φ'."""
    gp, gh = np.zeros(y.shape, y.dtype), g_h.copy()
    for t, now in _steps(len(y), lengths, not is_reversed):
        slope = 1 - y[t, now] * y[t, now] if nonlinearity == "tanh" else y[t, now] > 0
        gp[t, now] = (g[t, now] + gh[now]) * slope
        gh[now] = np.matmul(gp[t, now], w_hh)
    return gp, gh


def gru_forward(
    p: Array, h0: Array, w_hh: Array, b_hh: Array | None, lengths: Array | None, is_reversed: bool
) -> tuple[Array, Array, Array]:
    """r, z = σ, σ and n = tanh(p[t]ₙ + r·q), q = (h·w_hhᵀ + b_hh)ₙ;  h ← (1 − z)·n + z·h.

    The states (T, N, H), the last one, and r, z, n, q of every step (T, N, 4, H), which backward wants.
    """
    y, h = np.zeros((len(p), *h0.shape), p.dtype), h0.copy()
    gates = np.zeros((*y.shape[:2], 4, h0.shape[1]), p.dtype)
    for t, now in _steps(len(p), lengths, is_reversed):
        pr, pz, pn = np.split(p[t, now], 3, axis=-1)
        qr, qz, q = np.split(linear(h[now], w_hh, b_hh), 3, axis=-1)
        r, z = sigmoid(pr + qr), sigmoid(pz + qz)
        n = np.tanh(pn + r * q)
        h[now] = y[t, now] = n + z * (h[now] - n)
        gates[t, now] = np.stack([r, z, n, q], axis=1)
    return y, h, gates


def gru_backward(
    g: Array, g_h: Array, g_gates: Array, h0: Array, w_hh: Array, lengths: Array | None, y: Array, gates: Array,
    is_reversed: bool,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The gradients of p, of h·w_hhᵀ + b_hh at every step, both (T, N, 3H), and of h0."""
    gp = np.zeros((*y.shape[:2], 3 * y.shape[2]), y.dtype)
    gq, gh, states = np.zeros_like(gp), g_h.copy(), before(h0, y, lengths, is_reversed)
    for t, now in _steps(len(y), lengths, not is_reversed):
        r, z, n, q = np.moveaxis(gates[t, now], 1, 0)
        of_r, of_z, of_n, of_q = np.moveaxis(g_gates[t, now], 1, 0)
        dh = g[t, now] + gh[now]
        dn = (dh * (1 - z) + of_n) * (1 - n * n)
        dz = (dh * (states[t, now] - n) + of_z) * (z * (1 - z))
        dr = (dn * q + of_r) * (r * (1 - r))
        gp[t, now] = np.concatenate([dr, dz, dn], axis=-1)
        gq[t, now] = np.concatenate([dr, dz, dn * r + of_q], axis=-1)
        gh[now] = np.matmul(gq[t, now], w_hh) + dh * z
    return gp, gq, gh


def lstm_forward(
    p: Array, h0: Array, c0: Array, w_hh: Array, b_hh: Array | None, lengths: Array | None, is_reversed: bool
) -> tuple[Array, Array, Array, Array]:
    """i, f, g, o = σ, σ, tanh, σ of p[t] + h·w_hhᵀ + b_hh;  c ← f·c + i·g,  h ← o·tanh c.

    The h of every step (T, N, H), the last h and c, and i, f, g, o, c of every step (T, N, 5, H), which backward wants.
    """
    y, h, c = np.zeros((len(p), *h0.shape), p.dtype), h0.copy(), c0.copy()
    gates = np.zeros((*y.shape[:2], 5, h0.shape[1]), p.dtype)
    for t, now in _steps(len(p), lengths, is_reversed):
        i, f, g, o = np.split(p[t, now] + linear(h[now], w_hh, b_hh), 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c[now] = f * c[now] + i * g
        h[now] = y[t, now] = o * np.tanh(c[now])
        gates[t, now] = np.stack([i, f, g, o, c[now]], axis=1)
    return y, h, c, gates


def lstm_backward(
    g: Array, g_h: Array, g_c: Array, g_gates: Array, c0: Array, w_hh: Array, lengths: Array | None, gates: Array,
    is_reversed: bool,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The gradients of p (T, N, 4H), h0 and c0."""
    gp = np.zeros((*g.shape[:2], 4 * g.shape[2]), g.dtype)
    gh, gc, cells = g_h.copy(), g_c.copy(), before(c0, gates[:, :, 4], lengths, is_reversed)
    for t, now in _steps(len(g), lengths, not is_reversed):
        i, f, g_, o, c = np.moveaxis(gates[t, now], 1, 0)
        of_i, of_f, of_g, of_o, of_c = np.moveaxis(g_gates[t, now], 1, 0)
        dh, tanh_c = g[t, now] + gh[now], np.tanh(c)
        dc = gc[now] + dh * o * (1 - tanh_c * tanh_c) + of_c
        di = (dc * g_ + of_i) * (i * (1 - i))
        df = (dc * cells[t, now] + of_f) * (f * (1 - f))
        dg = (dc * i + of_g) * (1 - g_ * g_)
        do = (dh * tanh_c + of_o) * (o * (1 - o))
        gp[t, now] = np.concatenate([di, df, dg, do], axis=-1)
        gh[now] = np.matmul(gp[t, now], w_hh)
        gc[now] = dc * f
    return gp, gh, gc


def before(first: Array, later: Array, lengths: Array | None, is_reversed: bool) -> Array:
    """The state (T, N, H) that each step began with: `first`, then those that the steps ended with."""
    if not is_reversed:
        return np.concatenate([first[None], later[:-1]])
    states = np.concatenate([later[1:], first[None]])
    if lengths is not None:
        states[lengths - 1, np.arange(len(lengths))] = first
    return states


def _steps(steps: int, lengths: Array | None, is_reversed: bool) -> Iterator[tuple[int, Any]]:
    """Each t in its turn, and the sequences that have it."""
    for t in range(steps - 1, -1, -1) if is_reversed else range(steps):
        yield t, slice(None) if lengths is None else np.flatnonzero(t < lengths)
