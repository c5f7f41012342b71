"""Selecting elements by index, and the scatters that undo it.

`getitem` and `scatter_index` are each other's adjoints, so a gradient of any order is made of these two. An index
counts from the front, or from the back if it is negative; one outside the axis is refused.
"""

import math
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import AxisError, ShapeError
from kinone.ops.arguments import (
    along,
    array_index,
    checked_indices,
    composed,
    flattened,
    indexed,
    one_axis,
    real_dtype,
    shape_of,
)
from kinone.ops.arithmetic import where
from kinone.ops.declare import Bad, Literal, NoOnnx, Onnx, Sample, booleans, constant, integers, normal
from kinone.ops.shape import expand_dims, reshape, transpose

Shape = tuple[int, ...]
_ALL = slice(None)
_PICKS = {"x": "any", "indices": "index"}
_FEW = constant([[0, 2], [1, -1]])


# ------------------------------------------------------------------------------ any index
def _spelt(index: Any, ndim: int) -> list[Any]:
    """The index with slices for an ellipsis and for axes that it leaves out, and integers for booleans."""
    given, parts = array_index(index), []
    for part in given if isinstance(given, tuple) else (given,):
        is_mask = isinstance(part, np.ndarray) and part.dtype.kind == "b"
        parts += np.nonzero(part) if is_mask else [part]
    rest = ndim - len([part for part in parts if part is not None and part is not Ellipsis])
    place = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    return [*parts[:place], *(_ALL,) * rest, *parts[place + 1 :]]


def _not_sliced(index: Any, x_shape: Shape) -> str:
    parts = _spelt(index, len(x_shape))
    is_slice = all(isinstance(part, slice) for part in parts) and any(part != _ALL for part in parts)
    return "" if is_slice else "Slice takes slices only"


def _cuts(index: Any, x_shape: Shape) -> list[tuple[int, int, int, int]]:
    """(start, stop, axis, step), the far ends as ONNX writes them: beyond all lengths."""
    far, cuts = np.iinfo(np.int64), []
    for axis, part in enumerate(_spelt(index, len(x_shape))):
        if part != _ALL:
            step = 1 if part.step is None else int(part.step)
            ends = (0, far.max) if step > 0 else (far.max, far.min)
            start, stop = part.start, part.stop
            cuts.append((ends[0] if start is None else int(start), ends[1] if stop is None else int(stop), axis, step))
    return cuts


def _starts(index: Any, x_shape: Shape) -> list[int]:
    return [start for start, _, _, _ in _cuts(index, x_shape)]


def _stops(index: Any, x_shape: Shape) -> list[int]:
    return [stop for _, stop, _, _ in _cuts(index, x_shape)]


def _cut_axes(index: Any, x_shape: Shape) -> list[int]:
    return [axis for _, _, axis, _ in _cuts(index, x_shape)]


def _steps(index: Any, x_shape: Shape) -> list[int]:
    return [step for _, _, _, step in _cuts(index, x_shape)]


def getitem_definition(x: Array, index: Any) -> Array:
    """Slices, then integers (the arrays as one, over the axes that they pick from as one), then new axes."""
    parts = _spelt(index, x.ndim)
    old = [part for part in parts if part is not None]
    slices = tuple(part if isinstance(part, slice) else _ALL for part in old)
    y = x if all(part == _ALL for part in slices) else getitem(x, slices)
    axes = [a for a, part in enumerate(old) if not isinstance(part, slice)]
    spots = [i for i, part in enumerate(parts) if part is not None and not isinstance(part, slice)]
    has_array = any(np.ndim(parts[i]) for i in spots)
    # The axes of the arrays stand where the first array did if nothing parts the arrays, else in front.
    is_together = has_array and spots[-1] - spots[0] + 1 == len(spots)
    if not has_array:
        for a in reversed(axes):
            y = take(y, np.asarray(old[a]), axis=a)
    elif len(axes) == 1:
        y = take(y, old[axes[0]], axis=axes[0])
    else:
        first = axes[0] if is_together else 0
        others = [a for a in range(y.ndim) if a not in axes]
        y = transpose(y, (*others[:first], *axes, *others[first:]))
        lengths = y.shape[first : first + len(axes)]
        places = [checked_indices("getitem", old[a], n) for a, n in zip(axes, lengths, strict=True)]
        y = reshape(y, (*y.shape[:first], math.prod(lengths), *y.shape[first + len(axes) :]))
        y = take(y, np.ravel_multi_index(np.broadcast_arrays(*places), lengths), axis=first)
    arrays = [_ALL] * (y.ndim - sum(isinstance(part, slice) for part in parts))
    out = [] if is_together else arrays
    for i, part in enumerate(parts):
        out = [*out, *(arrays if is_together and i == spots[0] else [] if i in spots else [part])]
    fresh = tuple(i for i, part in enumerate(out) if part is None)
    return expand_dims(y, fresh) if fresh else y


@op(onnx=Onnx("Slice", inputs=("x", _starts, _stops, _cut_axes, _steps), unless=_not_sliced),
    definition=getitem_definition, methods=("__getitem__",), dtypes="any",
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


@getitem.backward(serves_tensors=True)
def getitem_backward(g: Array, x_shape: Shape, index: Any) -> Array:
    return scatter_index(g, index=index, shape=x_shape)


def _zeros(shape: Shape, x_dtype: Any) -> Any:
    return np.zeros(shape, x_dtype)


def _places(index: Any, shape: Shape) -> Any:
    """The coordinates (…, axes) of each element of zeros[index]."""
    numbers = np.arange(math.prod(shape)).reshape(shape)[array_index(index)]
    return np.stack(np.unravel_index(numbers, shape), axis=-1)


def _addition(index: Any, shape: Shape) -> str | None:
    places = _places(index, shape).reshape(-1, len(shape))
    return "add" if len(np.unique(places, axis=0)) < len(places) else None


@op(onnx=Onnx("ScatterND", inputs=(_zeros, _places, "x"), attributes={"reduction": _addition}), dtypes="any",
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
def take_definition(x: Array, indices: Array, *, axis: int | None = None) -> Array:
    return take(reshape(x, (-1,)), indices, axis=0) if axis is None else take(x, indices, axis=axis)


@op(onnx=Onnx("Gather", attributes={"axis": "axis"}, unless=flattened), definition=take_definition, methods=("take",),
    numpy=(np.take,), dtypes=_PICKS,
    samples=[Sample(normal(3, 4), constant([2, 0, 2]), axis=0), Sample(normal(2, 3, 2), _FEW, axis=1),
             Sample(normal(3), constant(-1), axis=0), Sample(normal(2, 3), constant([5, 0])),
             Sample(normal(3, 2), integers(0), axis=1)],
    errors=[Bad(normal(3, 4), constant([0, 3, -7]), axis=0, match="from -3 to 2 for an axis of length 3, got -7"),
            Bad(normal(3), constant([0]), axis=1, match="axis=1 is outside"),
            Bad(normal(3), normal(2), axis=0, match="indices of an integer dtype, got float64")])  # fmt: skip
def take(x: Array, indices: Array, *, axis: int | None = None) -> Array:
    """y = x[…, indices, …] along `axis`, of x flattened if None.   ∂L/∂x = 0, then ∂L/∂x[…, indices, …] += g.

    >>> take(np.array([[1, 2, 3], [4, 5, 6]]), [2, 0], axis=1)
    array([[3, 1],
           [6, 4]])
    """
    x = np.asarray(x)
    length = x.size if axis is None else x.shape[one_axis("take", x, axis)]
    return np.asarray(np.take(x, checked_indices("take", indices, length), axis))


@take.backward(serves_tensors=True)
def take_backward(g: Array, indices: Array, x_shape: Shape, axis: int | None) -> tuple[Array, None]:
    if axis is None:
        places = checked_indices("take", array_index(indices), math.prod(x_shape))
        return scatter_index(g, index=np.unravel_index(places, x_shape), shape=x_shape), None
    return scatter_index(g, index=(_ALL,) * (axis % len(x_shape)) + (indices,), shape=x_shape), None


def _is_broadcast(x_shape: Shape, indices_shape: Shape, axis: int) -> str:
    pairs = zip(x_shape, indices_shape, strict=True)
    differ = any(m != n for a, (m, n) in enumerate(pairs) if a != axis % len(x_shape))
    return "ONNX does not broadcast x and indices: expand them first" if differ else ""


@op(onnx=Onnx("GatherElements", attributes={"axis": "axis"}, unless=_is_broadcast),
    methods=("take_along_axis", "gather"), numpy=(np.take_along_axis,), dtypes=_PICKS,
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


@op(onnx=Onnx("ScatterElements", attributes={"axis": "axis", "reduction": Literal("add")}, unless=_is_broadcast),
    methods=("scatter_add",), dtypes={"x": "any", "indices": "index", "src": "any"}, stretches=False,
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


@scatter_add.backward
def scatter_add_backward(g: Array, indices: Array, axis: int) -> tuple[Array, None, Array]:
    return g, None, lambda: take_along_axis(g, indices, axis=axis)


@composed
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


def _off_and_on(dtype: Any) -> Any:
    return np.array([0, 1], dtype)


def _is_number(x_shape: Shape) -> str:
    return "" if x_shape else "ONNX's OneHot wants an axis"


@op(onnx=Onnx("OneHot", inputs=("x", "num_classes", _off_and_on), unless=_is_number), dtypes="integer",
    no_gradient="the input is an integer", definition=one_hot_definition,
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
    return np.equal(x[..., None], np.arange(num_classes)).astype(real_dtype("one_hot", dtype))


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
    return np.asarray(np.take(w, checked_indices("embedding", indices, len(w)), axis=0))


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


@op(onnx=Onnx("Where", inputs=("mask", "value", "x")), methods=("masked_fill",), dtypes={"x": "any", "mask": "mask"},
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
