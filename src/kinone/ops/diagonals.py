"""Diagonals, and what lies on one side of them."""

from typing import Any

import numpy as np

from kinone.core.op import Array, op
from kinone.errors import ShapeError
from kinone.ops.arguments import composed, shape_of
from kinone.ops.arithmetic import where
from kinone.ops.declare import Bad, Literal, Onnx, Sample, integers, normal
from kinone.ops.index import getitem, scatter_index

Shape = tuple[int, ...]
_MATRICES = [Sample(normal(3, 4)), Sample(normal(2, 3, 2), k=1), Sample(normal(2, 3), k=-1), Sample(integers(2, 2))]
_NO_MATRIX = [Bad(normal(3), match=r"at least two axes, got \(3,\)")]


def _matrix(where: str, x: Any) -> Shape:
    if len(shape_of(x)) < 2:
        raise ShapeError(where, "x with at least two axes", f"{shape_of(x)}")
    return shape_of(x)


def tril_definition(x: Array, *, k: int = 0) -> Array:
    rows, columns = x.shape[-2:]
    return where(np.tri(rows, columns, k, dtype=bool), x, np.zeros((), x.dtype))


@op(onnx=Onnx("Trilu", inputs=("x", "k"), attributes={"upper": Literal(0)}), definition=tril_definition,
    methods=("tril",), numpy=(np.tril,), dtypes="any", samples=_MATRICES, errors=_NO_MATRIX)  # fmt: skip
def tril(x: Array, *, k: int = 0) -> Array:
    """y = x on and below the k-th diagonal of each matrix, 0 above.   ∂L/∂x = g on and below it, 0 above.

    >>> tril(np.array([[1, 2], [3, 4]]))
    array([[1, 0],
           [3, 4]])
    """
    _matrix("tril", x)
    return np.tril(x, k)


@tril.backward(serves_tensors=True)
def tril_backward(g: Array, k: int) -> Array:
    return tril(g, k=k)


def triu_definition(x: Array, *, k: int = 0) -> Array:
    rows, columns = x.shape[-2:]
    return where(np.tri(rows, columns, k - 1, dtype=bool), np.zeros((), x.dtype), x)


@op(onnx=Onnx("Trilu", inputs=("x", "k"), attributes={"upper": Literal(1)}), definition=triu_definition,
    methods=("triu",), numpy=(np.triu,), dtypes="any", samples=_MATRICES, errors=_NO_MATRIX)  # fmt: skip
def triu(x: Array, *, k: int = 0) -> Array:
    """y = x on and above the k-th diagonal of each matrix, 0 below.   ∂L/∂x = g on and above it, 0 below.

    >>> triu(np.array([[1, 2], [3, 4]]))
    array([[1, 2],
           [0, 4]])
    """
    _matrix("triu", x)
    return np.triu(x, k)


@triu.backward(serves_tensors=True)
def triu_backward(g: Array, k: int) -> Array:
    return triu(g, k=k)


def _on_diagonal(shape: Shape, offset: int) -> tuple[Any, ...]:
    """The index of the elements (i, i + offset) of the matrices (..., n, m)."""
    n, m = shape[-2:]
    rows = np.arange(max(0, -offset), max(0, -offset, min(n, m - offset)))
    return ..., rows, rows + offset


@composed
def diagonal(x: Array, *, offset: int = 0) -> Array:
    """y[…, i] = x[…, i, i + `offset`], the diagonal of each matrix in the last two axes.

    >>> diagonal(np.array([[1, 2], [3, 4]]))
    array([1, 4])
    """
    return getitem(x, _on_diagonal(_matrix("diagonal", x), offset))


@composed
def diag(x: Array, *, offset: int = 0) -> Array:
    """y = the diagonal of the matrix x, or the square matrix with the vector x on its diagonal.

    >>> diag(np.array([1, 2]))
    array([[1, 0],
           [0, 2]])
    """
    shape = shape_of(x)
    if len(shape) == 2:
        return diagonal(x, offset=offset)
    if len(shape) != 1:
        raise ShapeError("diag", "a vector or a matrix", f"shape {shape}")
    n = shape[0] + abs(offset)
    return scatter_index(x, index=_on_diagonal((n, n), offset), shape=(n, n))
