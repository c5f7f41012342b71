"""Recurrent networks: one layer in one direction, over a whole sequence in one call."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError, ShapeError
from kinone.kernels.recurrent.reference import before
from kinone.ops.activation import sigmoid
from kinone.ops.arguments import composed
from kinone.ops.arithmetic import where
from kinone.ops.declare import Bad, ByDefinition, Sample, constant, normal
from kinone.ops.linalg import linear
from kinone.ops.rectifier import relu
from kinone.ops.shape import split, stack, unstack
from kinone.ops.trigonometric import tanh

_DTYPES = {**dict.fromkeys(("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh"), "float"), "lengths": "index"}
_LENGTHS = constant([2, 3])


def rnn_definition(
    x: Array, h0: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None,
    lengths: Array | None = None, *, nonlinearity: str = "tanh", is_reversed: bool = False,
) -> tuple[Array, Array]:  # fmt: skip
    h, y = h0, {}
    for t, p, now in _steps(linear(x, w_ih, b_ih), lengths, is_reversed):
        a = p + linear(h, w_hh, b_hh)
        a = tanh(a) if nonlinearity == "tanh" else relu(a)
        y[t], h = _kept(now, a, 0.0), _kept(now, a, h)
    return _stacked(y), h


@op(onnx=ByDefinition(), definition=rnn_definition, stretches=False, dtypes=_DTYPES,
    samples=[Sample(normal(3, 2, 2), normal(2, 3), normal(3, 2), normal(3, 3), normal(3), normal(3)),
             Sample(normal(3, 2, 2), normal(2, 2), normal(2, 2), normal(2, 2), normal(2), None, _LENGTHS),
             Sample(normal(3, 2, 1), normal(2, 2), normal(2, 1), normal(2, 2), nonlinearity="relu"),
             Sample(normal(3, 2, 1), normal(2, 2), normal(2, 1), normal(2, 2), None, normal(2), _LENGTHS,
                    is_reversed=True),
             Sample(normal(2, 0, 2), normal(0, 3), normal(3, 2), normal(3, 3))],
    errors=[Bad(normal(2, 2), normal(2, 3), normal(3, 2), normal(3, 3), match=r"x \(T, N, in\) with T ≥ 1"),
            Bad(normal(3, 2, 2), normal(3, 3), normal(3, 2), normal(3, 3), match=r"h0 of shape \(2, H\)"),
            Bad(normal(3, 2, 2), normal(2, 3), normal(3, 1), normal(3, 3), match=r"w_ih of shape \(3, 2\)"),
            Bad(normal(3, 2, 2), normal(2, 3), normal(3, 2), normal(3, 2), match=r"w_hh of shape \(3, 3\)"),
            Bad(normal(3, 2, 2), normal(2, 3), normal(3, 2), normal(3, 3), normal(2), match=r"b_ih of shape \(3,\)"),
            Bad(normal(3, 2, 2), normal(2, 3), normal(3, 2), normal(3, 3), None, normal(2),
                match=r"b_hh of shape \(3,\)"),
            Bad(normal(3, 2, 2), normal(2, 3), normal(3, 2), normal(3, 3), None, None, constant([3, 4]),
                match=r"lengths from 1 to 3, got 4"),
            Bad(normal(3, 2, 2), normal(2, 3), normal(3, 2), normal(3, 3), None, None, constant([3]),
                match=r"lengths of shape \(2,\)"),
            Bad(normal(3, 2, 2), normal(2, 3), normal(3, 2), normal(3, 3), nonlinearity="sin",
                match=r"nonlinearity 'tanh' or 'relu'")])  # fmt: skip
def rnn(
    x: Array, h0: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None,
    lengths: Array | None = None, *, nonlinearity: str = "tanh", is_reversed: bool = False,
) -> tuple[Array, Array]:  # fmt: skip
    """h ← φ(aₜ), aₜ = x[t]·w_ihᵀ + b_ih + h·w_hhᵀ + b_hh, φ = tanh or relu.   ∂L/∂aₜ = φ'(aₜ)·(g[t] + ∂L/∂aₜ₊₁·w_hh).

    x (T, N, in), h0 (N, H), w_ih (H, in), w_hh (H, H) → the states y (T, N, H) and the last one (N, H). Sequence n has
    lengths[n] of the T steps: then its state stands still, and its outputs are 0. With `is_reversed` time runs from
    each sequence's end to its beginning.

    >>> y, h = rnn(np.ones((2, 1, 1)), np.zeros((1, 1)), np.ones((1, 1)), np.ones((1, 1)), nonlinearity="relu")
    >>> y.ravel(), h
    (array([1., 2.]), array([[2.]]))
    """
    _check("rnn", 1, x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
    if nonlinearity not in ("tanh", "relu"):
        raise ArgumentError("rnn", "nonlinearity 'tanh' or 'relu'", repr(nonlinearity))
    dtype, (x, h0, w_ih, w_hh, b_ih, b_hh) = _wide(x, h0, w_ih, w_hh, b_ih, b_hh)
    p = kernels.linear(x, w_ih, b_ih)
    return _rounded(dtype, *kernels.rnn_forward(p, h0, w_hh, b_hh, _whole(lengths), nonlinearity, is_reversed))


@rnn.backward
def rnn_backward(
    g: Any, y: Any, x: Any, h0: Any, w_ih: Any, w_hh: Any, lengths: Any, nonlinearity: str, is_reversed: bool
) -> tuple[Any, ...]:
    dtype, (g_y, g_h, y, x, h0, w_ih, w_hh) = _wide(*g, y[0], x, h0, w_ih, w_hh)
    lengths = _whole(lengths)
    gp, gh = kernels.rnn_backward(g_y, g_h, w_hh, lengths, y, nonlinearity, is_reversed)
    gx, *gw = _of_products(dtype, gp, gp, x, w_ih, lambda: before(h0, y, lengths, is_reversed))
    return gx, *_rounded(dtype, gh), *gw, None


# ------------------------------------------------------------------------------ gated recurrent units
def gru_gates_definition(
    x: Array, h0: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None,
    lengths: Array | None = None, *, is_reversed: bool = False,
) -> tuple[Array, Array, Array]:  # fmt: skip
    h, y, gates = h0, {}, {}
    for t, p, now in _steps(linear(x, w_ih, b_ih), lengths, is_reversed):
        (pr, pz, pn), (qr, qz, q) = split(p, 3, axis=-1), split(linear(h, w_hh, b_hh), 3, axis=-1)
        r, z = sigmoid(pr + qr), sigmoid(pz + qz)
        n = tanh(pn + r * q)
        new = (1 - z) * n + z * h
        y[t], h = _kept(now, new, 0.0), _kept(now, new, h)
        gates[t] = stack(*(_kept(now, gate, 0.0) for gate in (r, z, n, q)), axis=1)
    return _stacked(y), h, _stacked(gates)


@op(onnx=ByDefinition(), definition=gru_gates_definition, stretches=False, dtypes=_DTYPES,
    samples=[Sample(normal(3, 2, 2), normal(2, 2), normal(6, 2), normal(6, 2), normal(6), normal(6)),
             Sample(normal(3, 2, 1), normal(2, 2), normal(6, 1), normal(6, 2), None, normal(6), _LENGTHS),
             Sample(normal(3, 2, 2), normal(2, 1), normal(3, 2), normal(3, 1), normal(3), None, _LENGTHS,
                    is_reversed=True),
             Sample(normal(2, 0, 2), normal(0, 3), normal(9, 2), normal(9, 3))],
    errors=[Bad(normal(3, 2, 2), normal(2, 3), normal(3, 2), normal(9, 3), match=r"w_ih of shape \(9, 2\)"),
            Bad(normal(3, 2, 2), normal(2, 3), normal(9, 2), normal(3, 3), match=r"w_hh of shape \(9, 3\)"),
            Bad(normal(3, 2, 2), normal(2, 3), normal(9, 2), normal(9, 3), None, None, constant([0, 1]),
                match=r"lengths from 1 to 3, got 0")])  # fmt: skip
def gru_gates(
    x: Array, h0: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None,
    lengths: Array | None = None, *, is_reversed: bool = False,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """r, z = σ(p + q)ᵣ, σ(p + q)ᶻ,  n = tanh(pₙ + r·qₙ),  h ← (1 − z)·n + z·h.   ∂L/∂h, carried back, gives all others.

    p = x[t]·w_ihᵀ + b_ih and q = h·w_hhᵀ + b_hh; x (T, N, in), h0 (N, H), w_ih (3H, in), w_hh (3H, H), their rows r,
    z, n. The result: the states (T, N, H), the last, and r, z, n, qₙ of every step (T, N, 4, H), which the gradient
    needs and `gru` leaves out. `lengths`, `is_reversed`: see `rnn`.

    >>> ones = np.ones((1, 1, 1))
    >>> gru_gates(ones, ones[0], np.zeros((3, 1)), np.zeros((3, 1)))[0]
    array([[[0.5]]])
    """
    _check("gru_gates", 3, x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
    dtype, (x, h0, w_ih, w_hh, b_ih, b_hh) = _wide(x, h0, w_ih, w_hh, b_ih, b_hh)
    p = kernels.linear(x, w_ih, b_ih)
    return _rounded(dtype, *kernels.gru_forward(p, h0, w_hh, b_hh, _whole(lengths), is_reversed))


@gru_gates.backward
def gru_gates_backward(
    g: Any, y: Any, x: Any, h0: Any, w_ih: Any, w_hh: Any, lengths: Any, is_reversed: bool
) -> tuple[Any, ...]:
    dtype, (g_y, g_h, g_gates, y, gates, x, h0, w_ih, w_hh) = _wide(*g, y[0], y[2], x, h0, w_ih, w_hh)
    lengths = _whole(lengths)
    gp, gq, gh = kernels.gru_backward(g_y, g_h, g_gates, h0, w_hh, lengths, y, gates, is_reversed)
    gx, *gw = _of_products(dtype, gp, gq, x, w_ih, lambda: before(h0, y, lengths, is_reversed))
    return gx, *_rounded(dtype, gh), *gw, None


@composed
def gru(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, lengths: Any = None, *,
    is_reversed: bool = False,
) -> Any:  # fmt: skip
    """The states y (T, N, H) of gated recurrent units, and the last (N, H); see `gru_gates`.

    >>> y, h = gru(np.ones((5, 2, 3)), np.zeros((2, 4)), np.ones((12, 3)), np.ones((12, 4)))
    >>> y.shape, h.shape
    ((5, 2, 4), (2, 4))
    """
    return gru_gates(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, is_reversed=is_reversed)[:2]


# ------------------------------------------------------------------------------ long short-term memory
def lstm_gates_definition(
    x: Array, h0: Array, c0: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None,
    lengths: Array | None = None, *, is_reversed: bool = False,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    h, c, y, gates = h0, c0, {}, {}
    for t, p, now in _steps(linear(x, w_ih, b_ih), lengths, is_reversed):
        i, f, g, o = split(p + linear(h, w_hh, b_hh), 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        cell = f * c + i * g
        new = o * tanh(cell)
        y[t], h, c = _kept(now, new, 0.0), _kept(now, new, h), _kept(now, cell, c)
        gates[t] = stack(*(_kept(now, gate, 0.0) for gate in (i, f, g, o, cell)), axis=1)
    return _stacked(y), h, c, _stacked(gates)


@op(onnx=ByDefinition(), definition=lstm_gates_definition, stretches=False, dtypes=_DTYPES,
    samples=[Sample(normal(3, 2, 2), normal(2, 2), normal(2, 2), normal(8, 2), normal(8, 2), normal(8), normal(8)),
             Sample(normal(3, 2, 1), normal(2, 1), normal(2, 1), normal(4, 1), normal(4, 1), None, normal(4), _LENGTHS),
             Sample(normal(3, 2, 2), normal(2, 2), normal(2, 2), normal(8, 2), normal(8, 2), normal(8), None, _LENGTHS,
                    is_reversed=True),
             Sample(normal(2, 0, 2), normal(0, 3), normal(0, 3), normal(12, 2), normal(12, 3))],
    errors=[Bad(normal(3, 2, 2), normal(2, 3), normal(2, 2), normal(12, 2), normal(12, 3),
                match=r"c0 of shape \(2, 3\)"),
            Bad(normal(3, 2, 2), normal(2, 3), normal(2, 3), normal(9, 2), normal(12, 3),
                match=r"w_ih of shape \(12, 2\)")])  # fmt: skip
def lstm_gates(
    x: Array, h0: Array, c0: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None,
    lengths: Array | None = None, *, is_reversed: bool = False,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """i, f, g, o = σ, σ, tanh, σ of x[t]·w_ihᵀ + b_ih + h·w_hhᵀ + b_hh,  c ← f·c + i·g,  h ← o·tanh c.

    ∂L/∂c ← f·(∂L/∂c + o·(1 − tanh² c)·∂L/∂h), and from it those of the gates. x (T, N, in), h0 and c0 (N, H), w_ih
    (4H, in), w_hh (4H, H), their rows i, f, g, o. The result: the h of every step (T, N, H), the last h and c, and i,
    f, g, o, c of every step (T, N, 5, H), which the gradient needs and `lstm` leaves out. `lengths`, `is_reversed`:
    see `rnn`.

    >>> ones = np.ones((1, 1, 1))
    >>> lstm_gates(ones, ones[0], ones[0], np.zeros((4, 1)), np.zeros((4, 1)))[3].ravel()
    array([0.5, 0.5, 0. , 0.5, 0.5])
    """
    _check("lstm_gates", 4, x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
    if c0.shape != h0.shape:
        raise ShapeError("lstm_gates", f"c0 of shape {h0.shape}", f"{c0.shape}")
    dtype, (x, h0, c0, w_ih, w_hh, b_ih, b_hh) = _wide(x, h0, c0, w_ih, w_hh, b_ih, b_hh)
    p = kernels.linear(x, w_ih, b_ih)
    return _rounded(dtype, *kernels.lstm_forward(p, h0, c0, w_hh, b_hh, _whole(lengths), is_reversed))


@lstm_gates.backward
def lstm_gates_backward(
    g: Any, y: Any, x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, lengths: Any, is_reversed: bool
) -> tuple[Any, ...]:
    dtype, (g_y, g_h, g_c, g_gates, y, gates, x, h0, c0, w_ih, w_hh) = _wide(*g, y[0], y[3], x, h0, c0, w_ih, w_hh)
    lengths = _whole(lengths)
    gp, gh, gc = kernels.lstm_backward(g_y, g_h, g_c, g_gates, c0, w_hh, lengths, gates, is_reversed)
    gx, *gw = _of_products(dtype, gp, gp, x, w_ih, lambda: before(h0, y, lengths, is_reversed))
    return gx, *_rounded(dtype, gh, gc), *gw, None


@composed
def lstm(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, lengths: Any = None, *,
    is_reversed: bool = False,
) -> Any:  # fmt: skip
    """The h (T, N, H) of long short-term memory, and the last h and c (N, H); see `lstm_gates`.

    >>> y, h, c = lstm(np.ones((5, 2, 3)), np.zeros((2, 4)), np.zeros((2, 4)), np.ones((16, 3)), np.ones((16, 4)))
    >>> y.shape, h.shape, c.shape
    ((5, 2, 4), (2, 4), (2, 4))
    """
    return lstm_gates(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths, is_reversed=is_reversed)[:3]


# ------------------------------------------------------------------------------ what they share
def _steps(p: Any, lengths: Any, is_reversed: bool) -> Iterator[tuple[int, Any, Any]]:
    """Each t in its turn with p[t], and where sequences have that step: everywhere if it is None."""
    steps = list(enumerate(unstack(p)))
    for t, now in reversed(steps) if is_reversed else steps:
        yield t, now, None if lengths is None else (lengths > t)[:, None]


def _kept(now: Any, new: Any, old: Any) -> Any:
    return new if now is None else where(now, new, old)


def _stacked(parts: dict[int, Any]) -> Any:
    return stack(*(parts[t] for t in sorted(parts)))


def _wide(*arrays: Any) -> tuple[Any, list[Any]]:
    """Their dtype, and the arrays in the one to compute in: half precision would lose digits at every step."""
    dtype = np.result_type(*(a for a in arrays if a is not None))
    wide = np.result_type(dtype, np.float32)
    return dtype, [None if a is None else np.asarray(a, wide) for a in arrays]


def _whole(lengths: Any) -> Any:
    return None if lengths is None else np.asarray(lengths, np.int64)


def _rounded(dtype: Any, *arrays: Any) -> tuple[Any, ...]:
    return tuple(a.astype(dtype, copy=False) for a in arrays)


def _of_products(dtype: Any, gp: Any, gq: Any, x: Any, w_ih: Any, states: Any) -> tuple[Any, ...]:
    """The gradients of x, w_ih, w_hh, b_ih and b_hh, each when needed, from those of p and q at every step."""

    def of_weights(g: Any, a: Any) -> Any:
        rows = len(a) * len(a[0])
        return _rounded(dtype, kernels.matmul(g.reshape(rows, g.shape[2]).T, a.reshape(rows, a.shape[2])))[0]

    def of_bias(g: Any) -> Any:
        return _rounded(dtype, kernels.sum(g, (0, 1), False))[0]

    return (
        lambda: _rounded(dtype, kernels.matmul(gp, w_ih))[0],
        lambda: of_weights(gp, x),
        lambda: of_weights(gq, states()),
        lambda: of_bias(gp),
        lambda: of_bias(gq),
    )


def _check(where: str, gates: int, x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, lengths: Any) -> None:
    if x.ndim != 3 or not len(x):
        raise ShapeError(where, "x (T, N, in) with T ≥ 1", f"shape {x.shape}")
    steps, n, features = x.shape
    if h0.ndim != 2 or len(h0) != n:
        raise ShapeError(where, f"h0 of shape ({n}, H) (x has shape {x.shape})", f"{h0.shape}")
    size = h0.shape[1]
    for name, given, shape in (
        ("w_ih", w_ih, (gates * size, features)),
        ("w_hh", w_hh, (gates * size, size)),
        ("b_ih", b_ih, (gates * size,)),
        ("b_hh", b_hh, (gates * size,)),
        ("lengths", lengths, (n,)),
    ):
        if given is not None and given.shape != shape:
            expected = f"{name} of shape {shape} (x has shape {x.shape}, h0 {h0.shape})"
            raise ShapeError(where, expected, f"{given.shape}")
    if lengths is not None and (wrong := lengths[(lengths < 1) | (lengths > steps)]).size:
        raise ArgumentError(where, f"lengths from 1 to {steps}", str(wrong[0]))
