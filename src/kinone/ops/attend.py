"""Scaled dot-product attention."""

from math import sqrt
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError, DtypeError, ShapeError
from kinone.kernels.random.reference import stream_key
from kinone.ops.arguments import checked_noise, composed
from kinone.ops.arithmetic import where
from kinone.ops.declare import Bad, ByDefinition, Sample, booleans, constant, integers, normal
from kinone.ops.drop import Key, keyed_dropout, next_key
from kinone.ops.exponential import exp
from kinone.ops.linalg import matmul
from kinone.ops.reduce import logsumexp
from kinone.ops.shape import matrix_transpose, reshape

_KEY = (0, "attention", 5)
_ROWS = constant([[True, False, True], [False, False, False]])
_UNBOUNDED = "the second query sees no key, and its logarithm −∞ has no differences"


def attention_definition(
    q: Array, k: Array, v: Array, mask: Array | None = None, *, is_causal: bool = False, scale: float | None = None,
    dropout_p: float = 0.0, key: Key | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    s = matmul(q, matrix_transpose(k)) * (1 / sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None:
        s = where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if is_causal:
        s = where(np.tri(*s.shape[-2:], dtype=bool), s, -np.inf)
    lse = logsumexp(s, axis=-1, keepdims=True)
    p = exp(s - where(lse == -np.inf, 0.0, lse))
    if dropout_p and key is not None:
        p = keyed_dropout(p, p=dropout_p, key=key)
    return matmul(p, v), reshape(lse, lse.shape[:-1])


def _is_dropped(dropout_p: float) -> str:
    return keyed_dropout.onnx.reason if dropout_p else ""


@op(onnx=ByDefinition(unless=_is_dropped), definition=attention_definition,
    dtypes={"q": "float", "k": "float", "v": "float", "mask": "any"},
    samples=[Sample(normal(2, 3), normal(4, 3), normal(4, 2), None),
             Sample(normal(0, 2, 3), normal(0, 4, 3), normal(0, 4, 2), None),
             Sample(normal(0, 3), normal(4, 3), normal(4, 2), None),
             Sample(normal(2, 3), normal(0, 3), normal(0, 2), None, smooth=False, reason="−∞ has no differences"),
             Sample(normal(2, 1, 2, 2), normal(2, 3, 2), normal(2, 3, 2), None, scale=0.7),
             Sample(normal(3, 2), normal(3, 2), normal(3, 2), None, is_causal=True),
             Sample(normal(2, 2), normal(3, 2), normal(3, 1), normal(2, 3)),
             Sample(normal(2, 2, 2), normal(2, 3, 2), normal(2, 3, 1), normal(2, 1, 3), is_causal=True),
             Sample(normal(2, 3, 2), normal(2, 3, 2), normal(2, 3, 2), None, dropout_p=0.4, key=_KEY, is_causal=True),
             Sample(normal(2, 2), normal(3, 2), normal(3, 2), _ROWS, smooth=False, reason=_UNBOUNDED),
             Sample(normal(2, 2), normal(3, 2), normal(3, 2), constant([[True, False, True], [False, True, True]]))],
    errors=[Bad(normal(2, 3), normal(4, 2), normal(4, 2), None, match=r"k with 3 features"),
            Bad(normal(2, 3), normal(4, 3), normal(5, 2), None, match=r"v with 4 rows"),
            Bad(normal(3), normal(4, 3), normal(4, 2), None, match=r"at least two axes"),
            Bad(normal(2, 3), normal(4, 3), normal(4, 2), booleans(3, 4), match=r"mask that broadcasts to \(2, 4\)"),
            Bad(normal(1, 3), normal(4, 3), normal(4, 2), booleans(3, 4), match=r"mask that broadcasts to \(1, 4\)"),
            Bad(normal(2, 3), normal(4, 3), normal(4, 2), integers(2, 4), match=r"inputs of one dtype"),
            Bad(normal(2, 2, 3), normal(3, 4, 3), normal(4, 2), None, match=r"leading axes that broadcast"),
            Bad(normal(2, 3), normal(4, 3), normal(4, 2), None, dropout_p=1.0, key=_KEY, match=r"dropout_p < 1"),
            Bad(normal(2, 3), normal(4, 3), normal(4, 2), None, dropout_p=0.5, match=r"key \(seed")])  # fmt: skip
def attention(
    q: Array, k: Array, v: Array, mask: Array | None = None, *, is_causal: bool = False, scale: float | None = None,
    dropout_p: float = 0.0, key: Key | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """y = P·v, P = softmax(s), s = scale·q·kᵀ + mask.   ∂L/∂s = P·(g·vᵀ − Σ g·y),  ∂L/∂v = Pᵀ·g.

    q (…, L, d), k (…, S, d), v (…, S, e) → y (…, L, e) and ℓ = ln Σ exp s (…, L); leading axes broadcast. `scale` is
    1/√d unless given. `mask` is True where a query may look, or is added; with `is_causal` query i sees keys 0 … i.
    A query that sees no key gives y = 0 and ℓ = −∞. P is dropped out at `key`.

    P is never whole: y and ℓ are made from a few queries at a time, and backward makes P again from ℓ.

    >>> q = np.zeros((1, 2)); k = np.zeros((2, 2)); v = np.array([[1.0], [3.0]])
    >>> attention(q, k, v)[0]
    array([[2.]])
    """
    _check(q, k, v, mask, dropout_p, key)
    scale = 1 / sqrt(q.shape[-1]) if scale is None else scale
    return kernels.attention_forward(q, k, v, mask, is_causal, scale, *_noise(dropout_p, key))


@attention.backward
def attention_backward(
    g: tuple[Array, Array], y: tuple[Array, Array], q: Array, k: Array, v: Array, mask: Array | None,
    is_causal: bool, scale: float | None, dropout_p: float, key: Key | None,
) -> tuple[Any, ...]:  # fmt: skip
    scale = 1 / sqrt(q.shape[-1]) if scale is None else scale
    given = (*g, q, k, v, mask, *y, is_causal, scale, *_noise(dropout_p, key))
    return *kernels.attention_backward(*given), lambda: kernels.attention_backward_mask(*given)


def _noise(p: float, key: Key | None) -> tuple[float, Any]:
    """p, and where its noise is drawn, as kernels take them."""
    return (p, (stream_key(*key[:2]), key[2])) if p and key is not None else (0.0, None)


@composed
def scaled_dot_product_attention(
    q: Any, k: Any, v: Any, mask: Any = None, *, is_causal: bool = False, scale: float | None = None,
    dropout_p: float = 0.0, key: Key | None = None,
) -> Any:  # fmt: skip
    """y = softmax(q·kᵀ/√d + mask)·v; see `attention`. Without `key`, dropout takes the next one of stream "dropout".

    >>> scaled_dot_product_attention(np.ones((2, 3)), np.ones((4, 3)), np.ones((4, 5))).shape
    (2, 5)
    """
    if dropout_p and key is None:
        key = next_key()
    return attention(q, k, v, mask, is_causal=is_causal, scale=scale, dropout_p=dropout_p, key=key)[0]


def _check(q: Any, k: Any, v: Any, mask: Any, p: float, key: Any) -> None:
    shapes = [x.shape for x in (q, k, v)]
    if any(len(shape) < 2 for shape in shapes):
        raise ShapeError("attention", "q, k and v with at least two axes", f"shapes {shapes}")
    if shapes[1][-1] != shapes[0][-1] or not shapes[0][-1]:
        raise ShapeError(
            "attention", f"k with {shapes[0][-1]} features (q has shape {shapes[0]})", f"shape {shapes[1]}"
        )
    if shapes[2][-2] != shapes[1][-2]:
        raise ShapeError("attention", f"v with {shapes[1][-2]} rows (k has shape {shapes[1]})", f"shape {shapes[2]}")
    try:
        batch = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
    except ValueError:
        raise ShapeError("attention", "leading axes that broadcast together", f"shapes {shapes}") from None
    if mask is not None:
        if mask.dtype.kind in "iu":  # 0 and 1 could mean either kind of mask
            raise DtypeError("attention", f"a mask of dtype bool, or {q.dtype} to be added", str(mask.dtype))
        scores = (*batch, shapes[0][-2], shapes[1][-2])
        if any(m not in (1, n) for m, n in zip(mask.shape[::-1], scores[::-1], strict=False)) or mask.ndim > len(
            scores
        ):
            raise ShapeError("attention", f"a mask that broadcasts to {scores}", f"shape {mask.shape}")
    if p:
        checked_noise("attention", p, key)
        if p == 1:
            raise ArgumentError("attention", "dropout_p < 1", f"{p}")
