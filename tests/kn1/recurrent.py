"""The steps of recurrent layers in kn1: products as gemm has them, all other operations rounded to the arrays' type."""

import numpy as np

from kn1.arithmetic import FMA, laid_out, numbers, one_nan
from kn1.elementwise import KERNELS as FUNCTIONS
from kn1.gemm import product

sigmoid, tanh = FUNCTIONS["sigmoid"], FUNCTIONS["tanh"]
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
KEPT = {"rnn": 0, "gru": 4, "lstm": 5}


def fma(a, b, c):
    return FMA[c.dtype](*np.broadcast_arrays(a, b, c))


def _parts(x, count):
    return np.split(x, count, axis=-1)


def _times(steps, lengths, is_reversed):
    """Each t in its turn, and which rows are still in their sequence."""
    for t in range(steps - 1, -1, -1) if is_reversed else range(steps):
        yield t, np.array(True) if lengths is None else (t < lengths)[:, None]


def _recurrent(h, w_hh, b_hh):
    return product(h, w_hh.T, b_hh)


def _quiet(f):
    def kernel(*args):
        with np.errstate(all="ignore"):
            return tuple(one_nan(y) for y in f(*args))

    return kernel


# ------------------------------------------------------------------ forward
def rnn_forward(p, h0, w_hh, b_hh, lengths, nonlinearity, is_reversed):
    h, y = h0, np.zeros((len(p), *h0.shape), p.dtype)
    for t, now in _times(len(p), lengths, is_reversed):
        a = p[t] + _recurrent(h, w_hh, b_hh)
        a = tanh(a) if nonlinearity == "tanh" else np.where(a <= 0, np.zeros_like(a), a)
        y[t], h = np.where(now, a, y[t]), np.where(now, a, h)
    return y, h


def gru_forward(p, h0, w_hh, b_hh, lengths, is_reversed):
    h, y = h0, np.zeros((len(p), *h0.shape), p.dtype)
    gates = np.zeros((*y.shape[:2], 4, y.shape[2]), p.dtype)
    for t, now in _times(len(p), lengths, is_reversed):
        (pr, pz, pn), (qr, qz, q) = _parts(p[t], 3), _parts(_recurrent(h, w_hh, b_hh), 3)
        r, z = sigmoid(pr + qr), sigmoid(pz + qz)
        n = tanh(fma(r, q, pn))
        a = fma(z, h - n, n)
        y[t], h = np.where(now, a, y[t]), np.where(now, a, h)
        gates[t] = np.where(now[..., None], np.stack([r, z, n, q], axis=1), gates[t])
    return y, h, gates


def lstm_forward(p, h0, c0, w_hh, b_hh, lengths, is_reversed):
    h, c, y = h0, c0, np.zeros((len(p), *h0.shape), p.dtype)
    gates = np.zeros((*y.shape[:2], 5, y.shape[2]), p.dtype)
    for t, now in _times(len(p), lengths, is_reversed):
        i, f, g, o = _parts(p[t] + _recurrent(h, w_hh, b_hh), 4)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        cell = fma(f, c, i * g)
        a = o * tanh(cell)
        y[t], h, c = np.where(now, a, y[t]), np.where(now, a, h), np.where(now, cell, c)
        gates[t] = np.where(now[..., None], np.stack([i, f, g, o, cell], axis=1), gates[t])
    return y, h, c, gates


# ------------------------------------------------------------------ backward
def _before(first, later, lengths, is_reversed):
    """The state before each step, one sequence at a time."""
    states = np.empty_like(later)
    for n in range(later.shape[1]):
        end = len(later) if lengths is None else lengths[n]
        own = later[:end, n]
        states[:end, n] = np.concatenate([own[1:], first[n : n + 1]] if is_reversed else [first[n : n + 1], own[:-1]])
        states[end:, n] = 0
    return states


def _of_tanh(y):
    return fma(-y, y, np.ones_like(y))


def _of_sigmoid(y):
    return y * (1 - y)


def rnn_backward(g, g_h, w_hh, lengths, y, nonlinearity, is_reversed):
    gp, gh = np.zeros(y.shape, y.dtype), g_h
    for t, now in _times(len(y), lengths, not is_reversed):
        d = g[t] + gh
        d = d * _of_tanh(y[t]) if nonlinearity == "tanh" else np.where(y[t] > 0, d, np.zeros_like(d))
        gp[t], gh = np.where(now, d, gp[t]), np.where(now, product(d, w_hh), gh)
    return gp, gh


def gru_backward(g, g_h, g_gates, h0, w_hh, lengths, y, gates, is_reversed):
    gp = np.zeros((*y.shape[:2], 3 * y.shape[2]), y.dtype)
    gq, gh, states = np.zeros_like(gp), g_h, _before(h0, y, lengths, is_reversed)
    for t, now in _times(len(y), lengths, not is_reversed):
        r, z, n, q = np.moveaxis(gates[t], 1, 0)
        of_r, of_z, of_n, of_q = np.moveaxis(g_gates[t], 1, 0)
        d = g[t] + gh
        dn = fma(d, 1 - z, of_n) * _of_tanh(n)
        dz = fma(d, states[t] - n, of_z) * _of_sigmoid(z)
        dr = fma(dn, q, of_r) * _of_sigmoid(r)
        dq = np.concatenate([dr, dz, fma(dn, r, of_q)], axis=-1)
        gp[t], gq[t] = np.where(now, np.concatenate([dr, dz, dn], axis=-1), gp[t]), np.where(now, dq, gq[t])
        gh = np.where(now, product(dq, w_hh) + d * z, gh)
    return gp, gq, gh


def lstm_backward(g, g_h, g_c, g_gates, c0, w_hh, lengths, gates, is_reversed):
    gp = np.zeros((*g.shape[:2], 4 * g.shape[2]), g.dtype)
    gh, gc, cells = g_h, g_c, _before(c0, gates[:, :, 4], lengths, is_reversed)
    for t, now in _times(len(g), lengths, not is_reversed):
        i, f, u, o, c = np.moveaxis(gates[t], 1, 0)
        of_i, of_f, of_u, of_o, of_c = np.moveaxis(g_gates[t], 1, 0)
        d, tanh_c = g[t] + gh, tanh(c)
        dc = fma(d * o, _of_tanh(tanh_c), gc) + of_c
        di, df = fma(dc, u, of_i) * _of_sigmoid(i), fma(dc, cells[t], of_f) * _of_sigmoid(f)
        du, do = fma(dc, i, of_u) * _of_tanh(u), fma(d, tanh_c, of_o) * _of_sigmoid(o)
        dp = np.concatenate([di, df, du, do], axis=-1)
        gp[t] = np.where(now, dp, gp[t])
        gh, gc = np.where(now, product(dp, w_hh), gh), np.where(now, dc * f, gc)
    return gp, gh, gc


KERNELS = {f.__name__: _quiet(f) for f in (rnn_forward, rnn_backward, gru_forward, gru_backward, lstm_forward,
                                           lstm_backward)}  # fmt: skip


# ------------------------------------------------------------------ calls
def call_of(name, draw, steps, n, size, has_bias, lengths, nonlinearity, is_reversed):
    """A call of the kernel `name`, its arrays from draw(shape)."""
    cell, _, direction = name.partition("_")
    state, whole = (n, size), (steps, n, size)
    weights = draw((GATES[cell] * size, size))
    last = (nonlinearity, is_reversed) if cell == "rnn" else (is_reversed,)
    if direction == "forward":
        first = [draw(state) for _ in range(1 + (cell == "lstm"))]
        bias = draw((GATES[cell] * size,)) if has_bias else None
        return (draw((steps, n, GATES[cell] * size)), *first, weights, bias, lengths, *last)
    kept = (steps, n, KEPT[cell], size)
    of_results = [draw(whole), *(draw(state) for _ in range(1 + (cell == "lstm")))]
    if cell == "rnn":
        return (*of_results, weights, lengths, draw(whole), *last)
    of_results.append(draw(kept))
    states = [draw(whole), draw(kept)] if cell == "gru" else [draw(kept)]
    return (*of_results, draw(state), weights, lengths, *states, *last)


def case(rng, dtype, most):
    name = str(rng.choice(list(KERNELS)))
    steps, n = rng.integers(1, 5), rng.integers(0, 6)
    size = round((3 * most) ** rng.random()) if rng.random() < 0.9 else 0
    lengths = rng.integers(1, steps + 1, n) if rng.random() < 0.5 else None

    def draw(shape):
        if rng.random() < 0.15:
            return np.broadcast_to(np.zeros((), dtype), shape)  # as an unused output's cotangent is
        return laid_out(rng, numbers(rng, shape, dtype))

    options = bool(rng.integers(2)), lengths, str(rng.choice(["tanh", "relu"])), bool(rng.integers(2))
    return name, call_of(name, draw, steps, n, size, *options), {}


def digest_calls():
    """States shared among threads by units and by rows, and sums of more than one chunk."""
    rng = np.random.default_rng(17)
    for dtype in (np.float32, np.float64):
        for name in KERNELS:
            for steps, n, size in ((3, 2, 5), (4, 37, 100), (2, 70, 29), (2, 3, 400)):
                lengths = rng.integers(1, steps + 1, n) if n > 3 else None
                options = n != 70, lengths, "relu" if n == 2 else "tanh", n == 37
                args = call_of(name, lambda shape: rng.standard_normal(shape).astype(dtype), steps, n, size, *options)  # noqa: B023
                yield f"{steps}x{n}x{size} {np.dtype(dtype).name}", name, args, {}
