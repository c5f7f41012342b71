"""Selecting elements by index, and the scatters that undo it.

`getitem` and `scatter_index` are each other's adjoints, so a gradient of any order is made of these two. An index
counts from the front, or from the back if it is negative; one outside the axis is refused.
"""

import math
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.core.tensor import array_index
from kinone.errors import AxisError, ShapeError
from kinone.ops.arguments import along, checked_indices, indexed, one_axis, shape_of
from kinone.ops.arithmetic import where
from kinone.ops.declare import Bad, ByDefinition, Literal, NoOnnx, Onnx, Sample, booleans, constant, integers, normal

Shape = tuple[int, ...]
_ALL = slice(None)
_PICKS = {"x": "any", "indices": "index"}
_FEW = constant([[0, 2], [1, -1]])


# ------------------------------------------------------------------------------ any index
@op(onnx=NoOnnx("the exporter writes Slice, Gather or GatherND, as the index demands"), methods=("__getitem__",),
    dtypes="any",
    samples=[Sample(normal(3, 4), 1), Sample(normal(3, 4), (_ALL, slice(3, None, -2))),
             Sample(normal(3, 4), ([0, 2, 2], [1, -1, -1])), Sample(normal(2, 3, 2), (Ellipsis, None, [1, 0, 1])),
             Sample(normal(2, 3), (np.array([[True, False, True], [False, False, True]]),)), Sample(normal(), (None,)),
             Sample(normal(2, 3), ([True, False], slice(1, 1)))],
    errors=[Bad(normal(3, 4), ([0, 5, -9],), match=r"axis 0 from -3 to 2 for an axis of length 3, got -9"),
            Bad(normal(3, 4), (0, 0, 0), match="fits shape"), Bad(normal(3, 4), ([True, False],), match="boolean"),
            Bad(normal(3), ([0.5],), match="fits shape")])  # fmt: skip
def getitem(x: Array, index: Any) -> Array:
    """y = x[index], as NumPy indexes.   ∂L/∂x = 0, then ∂L/∂x[index] += g (a repeated index adds).

    The index may hold integers, slices, `...`, None, lists, integer and boolean arrays, and Tensors of those.

    >>> getitem(np.array([10, 20, 30]), [2, 0, 2])
    array([30, 10, 30])
    """
    return indexed("getitem", np.asarray(x), array_index(index))


@getitem.backward
def getitem_backward(g: Array, x_shape: Shape, index: Any) -> Array:
    return scatter_index(g, index=index, shape=x_shape)


@op(onnx=NoOnnx("the exporter writes ScatterND, as the index demands"), dtypes="any",
    samples=[Sample(normal(2, 3), index=([1, 1],), shape=(4, 3)),
             Sample(normal(2), index=(slice(1, 3), 0), shape=(4, 2))],
    errors=[Bad(normal(2, 3), index=([4, 1],), shape=(4, 3), match=r"length 4, got 4"),
            Bad(normal(3), index=([0, 1],), shape=(4,), match=r"x of shape \(2,\), got \(3,\)")])  # fmt: skip
def scatter_index(x: Array, *, index: Any, shape: Shape) -> Array:
    """y = 0 in `shape`, then y[index] += x, the elements of a repeated index added up.   ∂L/∂x = g[index].

    >>> scatter_index(np.array([1, 2, 3]), index=[2, 0, 2], shape=(4,))
    array([2, 0, 4, 0])
    """
    index = array_index(index)
    target = indexed("scatter_index", np.broadcast_to(np.zeros((), bool), shape), index).shape
    if np.shape(x) != target:
        raise ShapeError("scatter_index", f"x of shape {target}", f"{np.shape(x)}")
    return kernels.scatter_index(x, index, shape)


@scatter_index.backward
def scatter_index_backward(g: Array, index: Any) -> Array:
    return getitem(g, index)


# ------------------------------------------------------------------------------ integers along an axis
@op(onnx=Onnx("Gather", attributes={"axis": "axis"}), methods=("take",), numpy=(np.take,), dtypes=_PICKS,
    samples=[Sample(normal(3, 4), constant([2, 0, 2]), axis=0), Sample(normal(2, 3, 2), _FEW, axis=1),
             Sample(normal(3), constant(-1), axis=0), Sample(normal(2, 3), constant([5, 0])),
             Sample(normal(3, 2), integers(0), axis=1)],
    errors=[Bad(normal(3, 4), constant([0, 3, -7]), axis=0, match="from -3 to 2 for an axis of length 3, got -7"),
            Bad(normal(3), constant([0]), axis=1, match="axis=1 is outside"),
            Bad(normal(3), normal(2), axis=0, match="indices of an index dtype, got float64")])  # fmt: skip
def take(x: Array, indices: Array, *, axis: int | None = None) -> Array:
    """y = x[…, indices, …] along `axis`, of x flattened if None.   ∂L/∂x = 0, then ∂L/∂x[…, indices, …] += g.

    >>> take(np.array([[1, 2, 3], [4, 5, 6]]), [2, 0], axis=1)
    array([[3, 1],
           [6, 4]])
    """
    x = np.asarray(x)
    length = x.size if axis is None else x.shape[one_axis("take", x, axis)]
    return np.asarray(np.take(x, checked_indices("take", indices, length), axis))


@take.backward
def take_backward(g: Array, indices: Array, x_shape: Shape, axis: int | None) -> tuple[Array, None]:
    if axis is None:
        places = checked_indices("take", array_index(indices), math.prod(x_shape))
        return scatter_index(g, index=np.unravel_index(places, x_shape), shape=x_shape), None
    return scatter_index(g, index=(_ALL,) * (axis % len(x_shape)) + (indices,), shape=x_shape), None


@op(onnx=Onnx("GatherElements", attributes={"axis": "axis"}), methods=("take_along_axis", "gather"),
    numpy=(np.take_along_axis,), dtypes=_PICKS,
    samples=[Sample(normal(2, 3), _FEW, axis=1), Sample(normal(2, 3), constant([[1, 0, 1]]), axis=0),
             Sample(normal(1, 3), _FEW, axis=-1), Sample(normal(2, 3), constant([[1], [1]]), axis=1)],
    errors=[Bad(normal(2, 3), constant([[0, 3]]), axis=1, match="axis of length 3, got 3"),
            Bad(normal(2, 3), constant([0]), axis=1, match="indices that broadcast"),
            Bad(normal(3, 3), _FEW, axis=1, match=r"to shape \(3, 3\) except along axis 1")])  # fmt: skip
def take_along_axis(x: Array, indices: Array, *, axis: int = -1) -> Array:
    """y[i, j, …] = x[i, indices[i, j, …], …], here for `axis` = 1.   ∂L/∂x = g added up where it was taken from.

    x and the indices have one rank and broadcast along the other axes.

    >>> take_along_axis(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[0, 0], [2, 1]]), axis=1)
    array([[1, 1],
           [6, 5]])
    """
    return np.asarray(x)[along("take_along_axis", indices, shape_of(x), axis)]


@take_along_axis.backward
def take_along_axis_backward(g: Array, indices: Array, x_shape: Shape, axis: int) -> tuple[Array, None]:
    return scatter_index(g, index=along("take_along_axis", indices, x_shape, axis), shape=x_shape), None


gather = take_along_axis


def scatter_add_definition(x: Array, indices: Array, src: Array, *, axis: int) -> Array:
    return x + scatter_index(src, index=along("scatter_add", indices, x.shape, axis), shape=x.shape)


@op(onnx=Onnx("ScatterElements", attributes={"axis": "axis", "reduction": Literal("add")}), methods=("scatter_add",),
    dtypes={"x": "any", "indices": "index", "src": "any"}, definition=scatter_add_definition, stretches=False,
    samples=[Sample(normal(2, 3), constant([[0, 0], [2, -1]]), normal(2, 2), axis=1),
             Sample(normal(3, 2), constant([[1, 1], [1, 0]]), normal(2, 2), axis=0)],
    errors=[Bad(normal(2, 3), _FEW, normal(2, 3), axis=1, match=r"src of shape \(2, 2\), got \(2, 3\)"),
            Bad(normal(2, 2), _FEW, normal(2, 2), axis=1, match="axis of length 2, got 2")])  # fmt: skip
def scatter_add(x: Array, indices: Array, src: Array, *, axis: int) -> Array:
    """y = x, then y[i, indices[i, j, …], …] += src[i, j, …] for `axis` = 1.   ∂L/∂x = g,  ∂L/∂src = g taken there.

    >>> scatter_add(np.zeros(3), np.array([2, 0, 2]), np.array([1.0, 2.0, 3.0]), axis=0).tolist()
    [2.0, 0.0, 4.0]
    """
    grid = along("scatter_add", indices, np.shape(x), axis)
    target = np.broadcast_shapes(*(part.shape for part in grid))
    if np.shape(src) != target:
        raise ShapeError("scatter_add", f"src of shape {target}", f"{np.shape(src)}")
    return x + kernels.scatter_index(np.asarray(src), grid, np.shape(x))


@scatter_add.backward(serves_tensors=True)
def scatter_add_backward(g: Array, indices: Array, axis: int) -> tuple[Array, None, Array]:
    return g, None, lambda: take_along_axis(g, indices, axis=axis)


def index_add(x: Array, indices: Any, src: Array, *, axis: int) -> Array:
    """y = x, then y[…, indices, …] += src along `axis`, a repeated index adding up.

    >>> index_add(np.zeros((2, 2)), [1, 1], np.ones((2, 2)), axis=0).tolist()
    [[0.0, 0.0], [2.0, 2.0]]
    """
    axis = one_axis("index_add", x, axis)
    return x + scatter_index(src, index=(_ALL,) * axis + (indices,), shape=shape_of(x))


# ------------------------------------------------------------------------------ classes and words
def one_hot_definition(x: Array, num_classes: int, *, dtype: Any = np.float32) -> Array:
    return take(np.eye(num_classes, dtype=dtype), x, axis=0)


@op(onnx=ByDefinition(), dtypes="integer", no_gradient="the input is an integer", definition=one_hot_definition,
    samples=[Sample(integers(3), 10), Sample(constant([[0, 2], [1, 1]]), 3, dtype=bool), Sample(constant(1), 2)],
    errors=[Bad(constant([0, 5, 4]), 3, match=r"classes from 0 to 2, got 5"), Bad(constant([-1]), 3, match="got -1"),
            Bad(normal(2), 3, match="got float64")])  # fmt: skip
def one_hot(x: Array, num_classes: int, *, dtype: Any = np.float32) -> Array:
    """y[…, c] = 1 where x[…] = c, 0 elsewhere; 0 ≤ c < `num_classes`.

    >>> one_hot(np.array([0, 2]), 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    x = np.asarray(x)
    strange = x[(x < 0) | (x >= num_classes)]
    if strange.size:
        raise AxisError("one_hot", f"classes from 0 to {num_classes - 1}", str(strange[np.argmax(np.abs(strange))]))
    return np.equal(x[..., None], np.arange(num_classes)).astype(dtype)


@op(onnx=Onnx("Gather", inputs=("w", "indices"), attributes={"axis": Literal(0)}),
    dtypes={"indices": "index", "w": "float"},
    samples=[Sample(_FEW, normal(3, 2)), Sample(constant(1), normal(3, 2)), Sample(integers(0), normal(3, 2)),
             Sample(_FEW, normal(3, 2), padding_idx=-2, smooth=False, reason="the padding row is held fixed")],
    errors=[Bad(constant([0, 7]), normal(3, 2), match="from -3 to 2 for an axis of length 3, got 7"),
            Bad(_FEW, normal(3), match=r"w of shape \(words, features\)"),
            Bad(_FEW, normal(3, 2), padding_idx=3, match="padding_idx from -3 to 2")])  # fmt: skip
def embedding(indices: Array, w: Array, *, padding_idx: int | None = None) -> Array:
    """y = w[indices].   ∂L/∂w = 0, then ∂L/∂w[indices] += g, except for the row `padding_idx`, which gets none.

    indices (…), w (words, features) → (…, features).

    >>> embedding(np.array([1, 0]), np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[3.0, 4.0], [1.0, 2.0]]
    """
    if np.ndim(w) != 2:
        raise ShapeError("embedding", "w of shape (words, features)", f"{np.shape(w)}")
    if padding_idx is not None:
        checked_indices("embedding", padding_idx, len(w), "padding_idx")
    return np.asarray(w)[checked_indices("embedding", indices, len(w))]


@embedding.backward
def embedding_backward(g: Array, indices: Array, w_shape: Shape, padding_idx: int | None) -> tuple[None, Array]:
    words = checked_indices("embedding", array_index(indices), w_shape[0])
    if padding_idx is not None:
        is_word = words != padding_idx % w_shape[0]
        g, words = getitem(g, (is_word,)), words[is_word]
    return None, scatter_index(g, index=(words,), shape=w_shape)


# ------------------------------------------------------------------------------ masks
def masked_fill_definition(x: Array, mask: Array, value: float) -> Array:
    return where(mask, value, x)


@op(onnx=ByDefinition(), methods=("masked_fill",), dtypes={"x": "any", "mask": "mask"},
    definition=masked_fill_definition,
    samples=[Sample(normal(2, 3), booleans(2, 3), value=0.5), Sample(integers(2, 1), booleans(3), value=7),
             Sample(normal(3), booleans(2, 3), value=-np.inf, smooth=False, reason="−∞ has no differences")],
    errors=[Bad(normal(2, 3), booleans(2), value=0.0, match=r"x, mask that broadcast"),
            Bad(normal(2), integers(2), value=0.0, match="got int64")])  # fmt: skip
def masked_fill(x: Array, mask: Array, value: float) -> Array:
    """y = `value` where the mask holds, x elsewhere.   ∂L/∂x = 0 where the mask holds, g elsewhere.

    >>> masked_fill(np.array([1, 2, 3]), np.array([True, False, True]), 0)
    array([0, 2, 0])
    """
    return np.where(mask, value, x)


@masked_fill.backward(serves_tensors=True)
def masked_fill_backward(g: Array, mask: Array) -> tuple[Array, None]:
    return where(mask, 0, g), None


@op(onnx=NoOnnx("NonZero gives one matrix, of a shape that depends on the data"), methods=("nonzero",),
    numpy=(np.nonzero,), dtypes="any", no_gradient="the output is an integer",
    samples=[Sample(booleans(2, 3)), Sample(constant([0, 3, 0, 1]))],
    errors=[Bad(normal(), match="at least one axis")])  # fmt: skip
def nonzero(x: Array) -> tuple[Array, ...]:
    """y₁, y₂, … = the indices along axis 0, 1, … of the elements that are not 0, in row-major order.

    >>> nonzero(np.array([[0, 5], [7, 0]]))
    (array([0, 1]), array([1, 0]))
    """
    if not np.ndim(x):
        raise ShapeError("nonzero", "at least one axis", "a 0-d array")
    return np.nonzero(x)


# ------------------------------------------------------------------------------ diagonals
_MATRICES = [Sample(normal(3, 4)), Sample(normal(2, 3, 2), k=1), Sample(normal(2, 3), k=-1), Sample(integers(2, 2))]
_NO_MATRIX = [Bad(normal(3), match=r"at least two axes, got \(3,\)")]


def _matrix(where: str, x: Any) -> Shape:
    if len(shape_of(x)) < 2:
        raise ShapeError(where, "x with at least two axes", f"{shape_of(x)}")
    return shape_of(x)


@op(onnx=Onnx("Trilu", inputs=("x", "k"), attributes={"upper": Literal(0)}), methods=("tril",), numpy=(np.tril,),
    dtypes="any", samples=_MATRICES, errors=_NO_MATRIX)  # fmt: skip
def tril(x: Array, *, k: int = 0) -> Array:
    """y = x on and below the k-th diagonal of each matrix, 0 above.   ∂L/∂x = g on and below it, 0 above.

    >>> tril(np.array([[1, 2], [3, 4]]))
    array([[1, 0],
           [3, 4]])
    """
    _matrix("tril", x)
    return np.tril(x, k)


@tril.backward
def tril_backward(g: Array, k: int) -> Array:
    return tril(g, k=k)


@op(onnx=Onnx("Trilu", inputs=("x", "k"), attributes={"upper": Literal(1)}), methods=("triu",), numpy=(np.triu,),
    dtypes="any", samples=_MATRICES, errors=_NO_MATRIX)  # fmt: skip
def triu(x: Array, *, k: int = 0) -> Array:
    """y = x on and above the k-th diagonal of each matrix, 0 below.   ∂L/∂x = g on and above it, 0 below.

    >>> triu(np.array([[1, 2], [3, 4]]))
    array([[1, 2],
           [0, 4]])
    """
    _matrix("triu", x)
    return np.triu(x, k)


@triu.backward
def triu_backward(g: Array, k: int) -> Array:
    return triu(g, k=k)


def _on_diagonal(shape: Shape, offset: int) -> tuple[Any, ...]:
    """The index of the elements (i, i + offset) of the matrices (..., n, m)."""
    n, m = shape[-2:]
    rows = np.arange(max(0, -offset), max(0, -offset, min(n, m - offset)))
    return ..., rows, rows + offset


def diagonal(x: Array, *, offset: int = 0) -> Array:
    """y[…, i] = x[…, i, i + `offset`], the diagonal of each matrix in the last two axes.

    >>> diagonal(np.array([[1, 2], [3, 4]]))
    array([1, 4])
    """
    return getitem(x, _on_diagonal(_matrix("diagonal", x), offset))


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
