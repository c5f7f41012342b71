"""Linear algebra: products, inverses, determinants and factors of matrices, on the last two axes."""

from math import prod
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ShapeError
from kinone.ops.arguments import composed, one_axis, shape_of
from kinone.ops.declare import Bad, Literal, NoOnnx, Onnx, Sample, constant, definite, integers, invertible, normal
from kinone.ops.reduce import sum
from kinone.ops.shape import matrix_transpose, reshape

Shape = tuple[int, ...]

_SINGULAR = constant(np.ones((2, 2)))
_NOT_SQUARE = Bad(normal(2, 3), match=r"square matrices \(…, n, n\), got shape \(2, 3\)")
_NO_ONNX = NoOnnx("ONNX has no operator for systems of equations or factors of matrices")


def _check_square(where: str, x: Any) -> None:
    shape = shape_of(x)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ShapeError(where, "square matrices (…, n, n)", f"shape {shape}")


# ---------------------------------------------------------------------------------- products
@op(onnx=Onnx("MatMul"), methods=("__matmul__", "matmul"), reflected=("__rmatmul__",), numpy=(np.matmul,),
    dtypes="number",
    samples=[Sample(normal(2, 3), normal(3, 4)), Sample(normal(3), normal(3)), Sample(normal(2, 3), normal(3)),
             Sample(normal(2), normal(2, 3)), Sample(normal(2), normal(2, 2, 3)), Sample(normal(2, 2, 3), normal(3)),
             Sample(normal(2, 2, 3), normal(3, 2)), Sample(normal(2, 1, 2, 2), normal(3, 2, 1)),
             Sample(normal(2, 0), normal(0, 3)), Sample(normal(0, 2, 3), normal(3, 2)),
             Sample(normal(3, 3), normal(3, 3)), Sample(integers(2, 3), integers(3, 2))],
    errors=[Bad(normal(2, 3), normal(4, 2), match=r"b with 3 rows \(a has shape \(2, 3\)\), got 4"),
            Bad(normal(2, 3), normal(4), match=r"b with 3 rows"),
            Bad(normal(2, 3), normal(), match=r"at least one axis"),
            Bad(normal(2, 2, 2), normal(3, 2, 2), match=r"broadcast")])  # fmt: skip
def matmul(a: Array, b: Array) -> Array:
    """y = a·b.   ∂L/∂a = g·bᵀ,  ∂L/∂b = aᵀ·g.

    a (…, n, k), b (…, k, m) → (…, n, m), leading axes broadcast; a vector (k,) on either side takes the place of
    a row or a column and its axis is dropped from y.

    >>> matmul(np.array([[1, 2], [3, 4]]), np.array([10, 1]))
    array([12, 34])
    """
    shape, other = shape_of(a), shape_of(b)
    if not shape or not other:
        raise ShapeError("matmul", "a and b with at least one axis", f"shapes {shape} and {other}", hint="use a * b.")
    if shape[-1] != other[-2:][0]:
        expected = f"b with {shape[-1]} rows (a has shape {shape})"
        raise ShapeError("matmul", expected, f"{other[-2:][0]} (b has shape {other})")
    return kernels.matmul(a, b)


@matmul.backward
def matmul_backward(g: Array, a: Array, b: Array) -> tuple[Array, Array]:
    if a.ndim == b.ndim == 1:
        return lambda: g * b, lambda: g * a
    rows, columns = a.ndim > 1, b.ndim > 1
    g = reshape(g, _with_ones(g.shape, not rows, not columns))
    return lambda: matmul(g, _transposed(b)), lambda: _matmul_backward_b(g, a if rows else reshape(a, (1, -1)), b)


def _matmul_backward_b(g: Array, a: Array, b: Array) -> Array:
    if b.ndim == 2 and a.ndim > 2:  # the sum over the batch is part of one product
        a, g = _flat(a), _flat(g)
    gb = matmul(matrix_transpose(a), g)
    return gb if b.ndim > 1 else reshape(gb, gb.shape[:-1])


def _flat(x: Array) -> Array:
    return reshape(x, (prod(x.shape[:-1]), x.shape[-1]))


def _transposed(b: Array) -> Array:
    return matrix_transpose(b) if b.ndim > 1 else reshape(b, (1, -1))


def _with_ones(shape: Shape, has_no_rows: bool, has_no_columns: bool) -> Shape:
    shape = (*shape, 1) if has_no_columns else shape
    return (*shape[:-1], 1, shape[-1]) if has_no_rows else shape


def linear_definition(x: Array, w: Array, b: Array | None = None) -> Array:
    y = matmul(x, matrix_transpose(w))
    return y if b is None else y + b


def _not_gemm(x_shape: Shape) -> str:
    return "" if len(x_shape) == 2 else "Gemm takes matrices"


@op(onnx=Onnx("Gemm", attributes={"transB": Literal(1)}, unless=_not_gemm), definition=linear_definition,
    samples=[Sample(normal(2, 3), normal(4, 3), normal(4)), Sample(normal(2, 2, 3), normal(2, 3), None),
             Sample(normal(3), normal(2, 3), normal(2)), Sample(normal(0, 3), normal(2, 3), normal(2))],
    errors=[Bad(normal(2, 4), normal(2, 3), match=r"x with 3 features \(w has shape \(2, 3\)\), got 4"),
            Bad(normal(2, 3), normal(3), match=r"w \(out, in\), got shape \(3,\)"),
            Bad(normal(2, 3), normal(4, 3), normal(3), match=r"b of shape \(4,\)")])  # fmt: skip
def linear(x: Array, w: Array, b: Array | None = None) -> Array:
    """y = x·wᵀ + b.   ∂L/∂x = g·w,  ∂L/∂w = gᵀ·x,  ∂L/∂b = Σ g.

    x (…, in), w (out, in), b (out,) → (…, out).

    >>> linear(np.ones((1, 2)), np.array([[1.0, 2.0]]), np.array([0.5]))
    array([[3.5]])
    """
    if w.ndim != 2:
        raise ShapeError("linear", "w (out, in)", f"shape {w.shape}")
    if x.shape[-1:] != w.shape[1:]:
        expected = f"x with {w.shape[1]} features (w has shape {w.shape})"
        raise ShapeError("linear", expected, f"{x.shape[-1] if x.ndim else 'none'} (x has shape {x.shape})")
    if b is not None and b.shape != w.shape[:1]:
        raise ShapeError("linear", f"b of shape ({w.shape[0]},)", f"{b.shape}")
    return kernels.linear(x, w, b)


@linear.backward(serves_tensors=True)
def linear_backward(g: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
    return lambda: matmul(g, w), lambda: matmul(matrix_transpose(_flat(g)), _flat(x)), g


@composed
def outer(a: Any, b: Any) -> Any:
    """yᵢⱼ = aᵢ·bⱼ: a (n,), b (m,) → (n, m).

    >>> outer(np.array([1, 2]), np.array([10, 1]))
    array([[10,  1],
           [20,  2]])
    """
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError("outer", "two vectors", f"shapes {a.shape} and {b.shape}")
    return reshape(a, (-1, 1)) * b


@composed
def vecdot(a: Any, b: Any, *, axis: int = -1) -> Any:
    """y = Σᵢ aᵢ·bᵢ along `axis`, the other axes broadcast.

    >>> vecdot(np.array([[1, 2], [3, 4]]), np.array([10, 1]))
    array([12, 34])
    """
    lengths = [x.shape[one_axis("vecdot", x, axis)] for x in (a, b)]
    if lengths[0] != lengths[1]:
        raise ShapeError("vecdot", "one length along the axis", f"{lengths[0]} and {lengths[1]}")
    return sum(a * b, axis=axis)


# ---------------------------------------------------------------------------------- inverses
@op(onnx=_NO_ONNX, numpy=(np.linalg.inv,), samples=[Sample(invertible(3, 3)), Sample(invertible(2, 2, 2))],
    errors=[_NOT_SQUARE, Bad(_SINGULAR, match=r"an invertible matrix, got a singular one")])  # fmt: skip
def inv(x: Array) -> Array:
    """y = x⁻¹, x (…, n, n).   ∂L/∂x = −yᵀ·g·yᵀ.

    >>> inv(np.array([[2.0, 0.0], [0.0, 4.0]]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    _check_square("inv", x)
    return kernels.inv(x)


@inv.backward
def inv_backward(g: Array, y: Array) -> Array:
    return -matmul(matmul(matrix_transpose(y), g), matrix_transpose(y))


@op(onnx=_NO_ONNX, numpy=(np.linalg.solve,),
    samples=[Sample(invertible(3, 3), normal(3)), Sample(invertible(2, 2), normal(2, 3)),
             Sample(invertible(2, 1, 2, 2), normal(3, 2, 1)), Sample(invertible(2, 2, 2), normal(2))],
    errors=[Bad(normal(2, 3), normal(2), match=r"square matrices"), Bad(_SINGULAR, normal(2), match=r"an invertible a"),
            Bad(invertible(2, 2), normal(3), match=r"b with 2 rows")])  # fmt: skip
def solve(a: Array, b: Array) -> Array:
    """a·y = b, that is y = a⁻¹·b.   ∂L/∂b = a⁻ᵀ·g,  ∂L/∂a = −∂L/∂b·yᵀ.

    a (…, n, n), b (n,) or (…, n, k), leading axes broadcast.

    >>> solve(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([2.0, 2.0]))
    array([1. , 0.5])
    """
    _check_square("solve", a)
    rows = shape_of(a)[-1]
    if shape_of(b)[-2:][:1] != (rows,):
        raise ShapeError("solve", f"b with {rows} rows (a has shape {shape_of(a)})", f"shape {shape_of(b)}")
    return kernels.solve(a, b)


@solve.backward
def solve_backward(g: Array, y: Array, a: Array, b_shape: Shape) -> tuple[Array, Array]:
    is_vector = len(b_shape) == 1
    g, y = (reshape(t, (*t.shape, 1)) if is_vector else t for t in (g, y))
    gb = solve(matrix_transpose(a), g)
    return lambda: -matmul(gb, matrix_transpose(y)), reshape(gb, gb.shape[:-1]) if is_vector else gb


@op(onnx=Onnx("Det"), numpy=(np.linalg.det,), samples=[Sample(invertible(3, 3)), Sample(invertible(2, 2, 2))],
    errors=[_NOT_SQUARE])  # fmt: skip
def det(x: Array) -> Array:
    """y = |x|, x (…, n, n).   ∂L/∂x = g·y·x⁻ᵀ, which a singular x refuses.

    >>> det(np.array([[2.0, 0.0], [0.0, 4.0]]))
    array(8.)
    """
    _check_square("det", x)
    return kernels.det(x)


@det.backward
def det_backward(g: Array, y: Array, x: Array) -> Array:
    return reshape(g * y, (*y.shape, 1, 1)) * matrix_transpose(inv(x))


@op(onnx=_NO_ONNX, numpy=(np.linalg.slogdet,), samples=[Sample(invertible(3, 3)), Sample(invertible(2, 2, 2))],
    errors=[_NOT_SQUARE])  # fmt: skip
def slogdet(x: Array) -> tuple[Array, Array]:
    """(s, y) = (sign |x|, ln ||x||), x (…, n, n).   ∂L/∂x = g·x⁻ᵀ; s is constant. A singular x gives (0, −∞).

    >>> [part.item() for part in slogdet(np.array([[1.0, 0.0], [0.0, -1.0]]))]
    [-1.0, 0.0]
    """
    _check_square("slogdet", x)
    return kernels.slogdet(x)


@slogdet.backward
def slogdet_backward(g: tuple[Array, Array], x: Array) -> Array:
    return reshape(g[1], (*g[1].shape, 1, 1)) * matrix_transpose(inv(x))


@op(onnx=_NO_ONNX, numpy=(np.linalg.cholesky,), samples=[Sample(definite(3, 3)), Sample(definite(2, 2, 2))],
    errors=[_NOT_SQUARE, Bad(constant(-np.eye(2)), match=r"a positive definite matrix, got one")])  # fmt: skip
def cholesky(x: Array) -> Array:
    """y·yᵀ = (x + xᵀ)/2, y lower triangular.   ∂L/∂x = symmetric part of y⁻ᵀ·φ(yᵀ·g)·y⁻¹.

    φ takes the lower triangle with half of the diagonal. x (…, n, n) is read as its symmetric part.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 2.0]]))
    array([[2., 0.],
           [1., 1.]])
    """
    _check_square("cholesky", x)
    return kernels.cholesky((x + np.swapaxes(x, -1, -2)) / 2)


@cholesky.backward
def cholesky_backward(g: Array, y: Array) -> Array:
    n = y.shape[-1]
    lower = (np.tri(n) - np.eye(n) / 2).astype(y.dtype)
    upper = matrix_transpose(y)
    half = solve(upper, matmul(upper, g) * lower)
    s = solve(upper, matrix_transpose(half))
    return (s + matrix_transpose(s)) * 0.5
