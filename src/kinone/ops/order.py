"""Order: sorting, the largest few, and where a value would stand.

Equal elements keep their order, ascending and descending alike; NaN counts as the largest value.
"""

import numpy as np

from kinone.core.op import Array, op
from kinone.errors import ArgumentError, ShapeError
from kinone.ops.arguments import along, composed, one_axis, shape_of
from kinone.ops.compare import less, less_equal
from kinone.ops.declare import Bad, ByDefinition, Listed, Literal, Onnx, Sample, constant, distinct, integers, normal
from kinone.ops.index import getitem, scatter_index, take_along_axis
from kinone.ops.reduce import mean, sum
from kinone.ops.shape import astype, expand_dims, reshape

_OUTSIDE = Bad(normal(2, 3), axis=2, match="axis=2 is outside")
_WHOLE = "the output is an integer"


def _order(x: Array, axis: int, *, is_descending: bool) -> Array:
    """The stable order of x along `axis`; descending it is that of the reversed x, seen from its end."""
    if not is_descending:
        return np.argsort(x, axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)


def sort_definition(x: Array, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    return topk(x, shape_of(x)[one_axis("sort", x, axis)], axis=axis, largest=descending)[0]


@op(onnx=ByDefinition(), methods=("sort",), dtypes="number", definition=sort_definition,
    samples=[Sample(distinct(2, 3)), Sample(distinct(4, 2), axis=0, descending=True), Sample(integers(7)),
             Sample(distinct(0, 2), axis=0), Sample(distinct(5), stable=False)],
    errors=[_OUTSIDE, Bad(normal(), match="is outside")])  # fmt: skip
def sort(x: Array, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """y = x in rising (or falling) order along `axis`.   ∂L/∂x = g in x's own order.

    `stable=False` permits equal elements to change places; here they never do.

    >>> sort(np.array([3, 1, 2])), sort(np.array([3, 1, 2]), descending=True)
    (array([1, 2, 3]), array([3, 2, 1]))
    """
    x = np.asarray(x)
    axis = one_axis("sort", x, axis)
    return np.take_along_axis(x, _order(x, axis, is_descending=descending), axis)


@sort.backward(serves_tensors=True)
def sort_backward(g: Array, x: Array, axis: int, descending: bool) -> Array:
    rank = argsort(argsort(x, axis=axis, descending=descending), axis=axis)
    return take_along_axis(g, rank, axis=axis)


def argsort_definition(x: Array, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    return topk(x, shape_of(x)[one_axis("argsort", x, axis)], axis=axis, largest=descending)[1]


@op(onnx=ByDefinition(), methods=("argsort",), dtypes="number", definition=argsort_definition, no_gradient=_WHOLE,
    samples=[Sample(normal(2, 3)), Sample(constant([1, 0, 1, 0]), descending=True), Sample(normal(3, 2), axis=0),
             Sample(normal(3), stable=False)],
    errors=[_OUTSIDE])  # fmt: skip
def argsort(x: Array, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """y = the indices that put x in rising (or falling) order along `axis`: sort(x) = take_along_axis(x, y).

    >>> argsort(np.array([3, 1, 2]))
    array([1, 2, 0])
    """
    x = np.asarray(x)
    return _order(x, one_axis("argsort", x, axis), is_descending=descending)


@op(onnx=Onnx("TopK", inputs=("x", Listed("k")),
              attributes={"axis": "axis", "largest": "largest", "sorted": Literal(1)}),
    methods=("topk",), dtypes="number",
    samples=[Sample(distinct(2, 5), 3), Sample(distinct(4, 2), 1, axis=0, largest=False), Sample(integers(2, 6), 4),
             Sample(normal(3), 0), Sample(distinct(4), 2, sorted=False)],
    errors=[Bad(normal(2, 3), 4, match="k from 0 to 3, the length of axis -1, got 4"),
            Bad(normal(2, 3), 1, axis=2, match="axis=2 is outside")])  # fmt: skip
def topk(x: Array, k: int, *, axis: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Array, Array]:
    """y = the `k` largest (or smallest) x along `axis`, in order, and their indices.   ∂L/∂x = g where x was taken.

    Of equal elements the first is taken first. `sorted=False` permits another order; here it is always this one.

    >>> topk(np.array([1, 7, 3, 7]), 3)
    (array([7, 7, 3]), array([1, 3, 2]))
    """
    x = np.asarray(x)
    place = one_axis("topk", x, axis)
    if not 0 <= k <= x.shape[place]:
        raise ArgumentError("topk", f"k from 0 to {x.shape[place]}, the length of axis {axis}", f"{k}")
    chosen = np.take(_order(x, place, is_descending=largest), np.arange(k), place)
    return np.take_along_axis(x, chosen, place), chosen


@topk.backward
def topk_backward(g: tuple[Array, Array], y: tuple[Array, Array], x_shape: tuple[int, ...], axis: int) -> Array:
    return scatter_index(g[0], index=along("topk", y[1], x_shape, axis), shape=x_shape)


def searchsorted_definition(x1: Array, x2: Array, *, side: str = "left") -> Array:
    is_before = (less if side == "left" else less_equal)(x1, expand_dims(x2, -1))
    return sum(astype(is_before, np.int64), axis=-1)


@op(onnx=ByDefinition(), definition=searchsorted_definition, numpy=(np.searchsorted,), dtypes="number",
    no_gradient=_WHOLE,
    samples=[Sample(constant([1.0, 2.0, 2.0, 3.0]), normal(2, 3)), Sample(constant([1, 2, 2, 3]), integers(4)),
             Sample(constant([1, 2, 2, 3]), integers(4), side="right")],
    errors=[Bad(normal(2, 2), normal(2), match="x1 with one axis"),
            Bad(normal(2), normal(2), side="up", match="side")])  # fmt: skip
def searchsorted(x1: Array, x2: Array, *, side: str = "left") -> Array:
    """y = the number of elements of x1, which is sorted, that are < x2 (≤ x2 for `side` = "right").

    >>> searchsorted(np.array([1, 2, 2, 3]), np.array([2, 9]))
    array([1, 4])
    """
    if np.ndim(x1) != 1:
        raise ShapeError("searchsorted", "x1 with one axis", f"shape {np.shape(x1)}")
    if side not in ("left", "right"):
        raise ArgumentError("searchsorted", "side 'left' or 'right'", f"{side!r}")
    return np.asarray(np.searchsorted(x1, x2, side=side))


@op(onnx=Onnx("Unique", attributes={"sorted": Literal(1)}), numpy=(np.unique,), dtypes="any",
    no_gradient="the number of outputs depends on x",
    samples=[Sample(integers(2, 6)), Sample(constant([0.5, -1.0, 0.5]))])  # fmt: skip
def unique_values(x: Array) -> Array:
    """y = the different values of x, in rising order.

    >>> unique_values(np.array([3, 1, 3]))
    array([1, 3])
    """
    return np.unique(x)


@composed
def median(x: Array, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """y = the middle x along `axis` (of all x if None), the mean of the middle two of an even number.

    >>> float(median(np.array([3.0, 1.0, 10.0, 2.0])))
    2.5
    """
    ranked = sort(x if axis is not None else reshape(x, (-1,)), axis=-1 if axis is None else axis)
    place = one_axis("median", ranked, 0 if axis is None else axis)
    n = ranked.shape[place]
    if n == 0:
        raise ShapeError("median", f"at least one element along axis={axis}", f"shape {shape_of(x)}")
    y = mean(getitem(ranked, (slice(None),) * place + (slice((n - 1) // 2, n // 2 + 1),)), axis=place)
    if not keepdims:
        return y
    return expand_dims(y, place) if axis is not None else reshape(y, (1,) * len(shape_of(x)))
