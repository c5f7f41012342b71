"""Changes of shape: the same elements, seen, joined or cut otherwise."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kinone.core.graph import unbroadcast
from kinone.core.op import Array, op
from kinone.errors import AxisError, ShapeError
from kinone.ops.arguments import composed, one_axis, real_dtype, reduced_axes, shape_of
from kinone.ops.declare import Bad, ByDefinition, Listed, Onnx, Sample, booleans, integers, normal

Shape = tuple[int, ...]
Axis = int | tuple[int, ...] | None


@op(onnx=Onnx("Identity"), methods=("clone",), dtypes="any", samples=[Sample(normal(2, 3))])
def identity(x: Array) -> Array:
    """y = x, in an array of its own.   ∂L/∂x = g.

    >>> identity([1, 2])
    array([1, 2])
    """
    return np.array(x)


@identity.backward
def identity_backward(g: Array) -> Array:
    return g


@op(onnx=Onnx("Identity"), methods=("stop_gradient",), dtypes="any", samples=[Sample(normal(2, 3))],
    no_gradient="it is there to end the graph")  # fmt: skip
def stop_gradient(x: Array) -> Array:
    """y = x without history: a constant to every derivative.

    >>> import kinone as kn
    >>> x = kn.Tensor(3.0, requires_grad=True)
    >>> (x * kn.stop_gradient(x)).backward()
    >>> x.grad
    Tensor(3., dtype=float32)
    """
    return np.asarray(x)


def _to(dtype: Any) -> Any:
    return np.dtype(dtype)


@op(onnx=Onnx("Cast", attributes={"to": _to}), methods=("astype",), dtypes="any",
    samples=[Sample(normal(2, 3), dtype=np.float64),
             Sample(normal(2, 3), dtype="float32", smooth=False, reason="rounding is not smooth"),
             Sample(integers(2, 3), dtype=np.float64), Sample(booleans(2, 3), dtype=int)],
    errors=[Bad(normal(2), dtype="complex64", match="real numbers"),
            Bad(normal(2), dtype="word", match="a dtype, got 'word'")])  # fmt: skip
def astype(x: Array, dtype: Any) -> Array:
    """y = x in another dtype.   ∂L/∂x = g in the dtype of x; 0 where y is not floating.

    >>> astype(np.array([1.7, -1.7]), int)
    array([ 1, -1])
    """
    return np.asarray(x).astype(real_dtype("astype", dtype), copy=False)


@astype.backward
def astype_backward(g: Array, x_dtype: Any) -> Array | None:
    return astype(g, x_dtype) if g.dtype.kind == "f" else None


# ------------------------------------------------------------------------------ lengths
def _means_zero(x_shape: Shape, shape: int | Shape) -> bool | None:
    """Whether a 0 is one, and not, as ONNX has it, the length that x has there."""
    lengths = enumerate(shape if isinstance(shape, tuple | list) else (shape,))
    return True if any(not n and x_shape[i : i + 1] != (0,) for i, n in lengths) else None


@op(onnx=Onnx("Reshape", inputs=("x", Listed("shape")), attributes={"allowzero": _means_zero}), methods=("reshape",),
    numpy=(np.reshape,), dtypes="any",
    samples=[Sample(normal(2, 3), (3, 2)), Sample(normal(2, 3), (-1, 1, 2)), Sample(normal(), (1, 1)),
             Sample(normal(0, 3), (0, 5))],
    errors=[Bad(normal(2, 3), (4, 2), match=r"a shape for 6 elements .* got \(4, 2\)"),
            Bad(normal(2, 3), (-1, -1), match="at most one -1")])  # fmt: skip
def reshape(x: Array, shape: int | Shape) -> Array:
    """y = x in another shape, elements in the same (row-major) order; one length may be −1.   ∂L/∂x = g reshaped.

    >>> reshape([1, 2, 3, 4], (2, -1))
    array([[1, 2],
           [3, 4]])
    """
    try:
        return np.reshape(x, shape)
    except (ValueError, TypeError):
        raise ShapeError("reshape", f"a shape for {np.size(x)} elements (at most one -1)", f"{shape}") from None


@reshape.backward
def reshape_backward(g: Array, x_shape: Shape) -> Array:
    return reshape(g, x_shape)


def flatten_definition(x: Array, *, start_axis: int = 0, end_axis: int = -1) -> Array:
    if not x.ndim:
        return reshape(x, (1,))
    start, end = (one_axis("flatten", x, a, name) for a, name in ((start_axis, "start_axis"), (end_axis, "end_axis")))
    if start > end:
        raise AxisError("flatten", "start_axis before end_axis", f"{start_axis} and {end_axis}")
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


def _flat_shape(x_shape: Shape, start_axis: int, end_axis: int) -> Shape:
    """Lengths before the joined axes are kept (0), whatever they are."""
    if not x_shape:
        return (1,)
    start, end = start_axis % len(x_shape), end_axis % len(x_shape)
    return (*(0,) * start, -1, *x_shape[end + 1 :])


def _flat_of_none(x_shape: Shape, start_axis: int) -> str:
    return "−1 stands for no length beside a 0" if 0 in x_shape[start_axis % max(len(x_shape), 1) :] else ""


@op(onnx=Onnx("Reshape", inputs=("x", _flat_shape), unless=_flat_of_none), methods=("flatten",), dtypes="any",
    definition=flatten_definition,
    samples=[Sample(normal(2, 3)), Sample(normal(2, 3, 2), start_axis=1), Sample(normal(2, 3, 2), end_axis=-2),
             Sample(normal())],
    errors=[Bad(normal(2, 3), start_axis=2, match="start_axis=2 is outside"),
            Bad(normal(2, 3), start_axis=1, end_axis=0, match="start_axis before end_axis")])  # fmt: skip
def flatten(x: Array, *, start_axis: int = 0, end_axis: int = -1) -> Array:
    """y = x with the axes from `start_axis` to `end_axis` as one.   ∂L/∂x = g reshaped.

    >>> flatten(np.zeros((2, 3, 4)), start_axis=1).shape
    (2, 12)
    """
    return flatten_definition(np.asarray(x), start_axis=start_axis, end_axis=end_axis)


flatten.backward(reshape_backward, serves_tensors=True)


@op(onnx=Onnx("Squeeze", inputs=("x", Listed("axis"))), methods=("squeeze",), numpy=(np.squeeze,), dtypes="any",
    samples=[Sample(normal(1, 3, 1)), Sample(normal(1, 3, 1), 0), Sample(normal(1, 3, 1), (0, -1))],
    errors=[Bad(normal(2, 1), 0, match="length 1"), Bad(normal(2, 1), 2, match="axis=2 is outside")])  # fmt: skip
def squeeze(x: Array, axis: Axis = None) -> Array:
    """y = x without the axes `axis` (all of them if None) of length 1.   ∂L/∂x = g reshaped.

    >>> squeeze(np.zeros((1, 3, 1)), 0).shape
    (3, 1)
    """
    axes = reduced_axes("squeeze", x, axis)
    if any(shape_of(x)[a] != 1 for a in axes or ()):
        raise ShapeError("squeeze", f"length 1 along axis={axis}", f"shape {shape_of(x)}")
    return np.squeeze(x, axes)


squeeze.backward(reshape_backward)


@op(onnx=Onnx("Unsqueeze", inputs=("x", Listed("axis"))), methods=("expand_dims", "unsqueeze"),
    numpy=(np.expand_dims,), dtypes="any",
    samples=[Sample(normal(2, 3), 1), Sample(normal(2, 3), (0, -1)), Sample(normal(), -1)],
    errors=[Bad(normal(2, 3), 3, match="axis from -3 to 2"),
            Bad(normal(2, 3), (0, 0), match="each axis once")])  # fmt: skip
def expand_dims(x: Array, axis: int | tuple[int, ...] = 0) -> Array:
    """y = x with new axes of length 1, which stand at `axis` in y.   ∂L/∂x = g reshaped.

    >>> expand_dims([1, 2], 1)
    array([[1],
           [2]])
    """
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    grown = np.broadcast_to(0, (1,) * (len(shape_of(x)) + len(axes)))
    return np.expand_dims(x, reduced_axes("expand_dims", grown, axes) or ())


expand_dims.backward(reshape_backward)


@op(onnx=Onnx("Expand", inputs=("x", Listed("shape"))), methods=("expand", "broadcast_to"),
    numpy=(np.broadcast_to,), dtypes="any",
    samples=[Sample(normal(2, 1), (4, 2, 3)), Sample(normal(), (2, 2)), Sample(normal(1, 3), (0, 3))],
    errors=[Bad(normal(2, 3), (2, 4), match=r"a shape that \(2, 3\) broadcasts to, got \(2, 4\)")])  # fmt: skip
def expand(x: Array, shape: int | Shape) -> Array:
    """y = x broadcast to `shape`.   ∂L/∂x = g summed over what was broadcast.

    >>> expand([1, 2], (2, 2))
    array([[1, 2],
           [1, 2]])
    """
    try:
        return np.broadcast_to(x, shape)
    except (ValueError, TypeError):
        raise ShapeError("expand", f"a shape that {shape_of(x)} broadcasts to", f"{shape}") from None


@expand.backward
def expand_backward(g: Array, x_shape: Shape) -> Array:
    return unbroadcast(g, x_shape)


broadcast_to = expand


# ------------------------------------------------------------------------------ order of the axes
def _perm(x_shape: Shape, axes: Shape | None) -> list[int] | None:
    return None if axes is None else [a % len(x_shape) for a in axes]


@op(onnx=Onnx("Transpose", attributes={"perm": _perm}), methods=("transpose", "permute"),
    numpy=(np.transpose,), dtypes="any",
    samples=[Sample(normal(2, 3)), Sample(normal(2, 3, 2), (2, 0, 1)), Sample(normal(2, 3, 1), (0, -1, 1)),
             Sample(normal())],
    errors=[Bad(normal(2, 3), (0, 2), match="axes from -2 to 1"), Bad(normal(2, 3), (0, 0), match="each axis once"),
            Bad(normal(2, 3), (0,), match="all 2 axes")])  # fmt: skip
def transpose(x: Array, axes: Shape | None = None) -> Array:
    """y: axis i of y is axis `axes[i]` of x (all axes reversed if None).   ∂L/∂x = g, its axes put back.

    >>> transpose(np.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    if axes is not None:
        axes = reduced_axes("transpose", x, axes, "axes") or ()
        if len(axes) != len(shape_of(x)):
            raise AxisError("transpose", f"all {len(shape_of(x))} axes of shape {shape_of(x)}", f"axes={axes}")
    return np.transpose(x, axes)


@transpose.backward
def transpose_backward(g: Array, axes: Shape | None) -> Array:
    return transpose(g, axes and tuple(np.argsort([a % len(axes) for a in axes]).tolist()))


permute = permute_dims = transpose


@composed
def moveaxis(x: Array, source: int | tuple[int, ...], destination: int | tuple[int, ...]) -> Array:
    """y = x with the axes `source` moved to the places `destination`, the others in their order.

    >>> moveaxis(np.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    start, end = reduced_axes("moveaxis", x, source, "source"), reduced_axes("moveaxis", x, destination, "destination")
    if start is None or end is None or len(start) != len(end):
        raise AxisError("moveaxis", "as many destinations as sources", f"{source} and {destination}")
    order = [a for a in range(len(shape_of(x))) if a not in start]
    for place, a in sorted(zip(end, start, strict=True)):
        order.insert(place, a)
    return transpose(x, tuple(order))


@composed
def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    """y = x with two axes exchanged.

    >>> swapaxes(np.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    a, b = one_axis("swapaxes", x, axis1, "axis1"), one_axis("swapaxes", x, axis2, "axis2")
    order = list(range(len(shape_of(x))))
    order[a], order[b] = b, a
    return transpose(x, tuple(order))


@composed
def matrix_transpose(x: Array) -> Array:
    """y = xᵀ for each matrix (..., n, m) → (..., m, n).

    >>> matrix_transpose(np.zeros((2, 3, 4))).shape
    (2, 4, 3)
    """
    if len(shape_of(x)) < 2:
        raise ShapeError("matrix_transpose", "at least two axes", f"shape {shape_of(x)}")
    return swapaxes(x, -1, -2)


# ------------------------------------------------------------------------------ joining and cutting
@op(onnx=Onnx("Concat", attributes={"axis": "axis"}), methods=("concat",), numpy=(np.concatenate,), dtypes="any",
    samples=[Sample(normal(2, 3), normal(1, 3)), Sample(normal(2, 1), normal(2, 2), normal(2, 0), axis=-1),
             Sample(normal(3))],
    errors=[Bad(normal(2, 3), normal(2, 2), match=r"equal except along axis 0, got \(2, 3\), \(2, 2\)"),
            Bad(normal(2), normal(2), axis=1, match="axis=1 is outside"),
            Bad(normal(), normal(), match="at least one axis")])  # fmt: skip
def concat(*xs: Array, axis: int = 0) -> Array:
    """y = x₁, x₂, … one after the other along `axis`.   ∂L/∂xᵢ = the part of g that xᵢ became.

    >>> concat([[1, 2]], [[3, 4]], axis=1)
    array([[1, 2, 3, 4]])
    """
    shapes = [shape_of(x) for x in xs]
    if not shapes[0]:
        raise ShapeError("concat", "arrays with at least one axis", "0-d arrays", hint="stack joins them.")
    axis = one_axis("concat", xs[0], axis)
    if len({(*shape[:axis], len(shape), *shape[axis + 1 :]) for shape in shapes}) > 1:
        raise ShapeError("concat", f"shapes that are equal except along axis {axis}", ", ".join(map(str, shapes)))
    return np.concatenate(xs, axis)


@concat.backward
def concat_backward(g: Array, xs_shape: tuple[Shape, ...], axis: int) -> Array:
    return split(g, [shape[axis] for shape in xs_shape], axis=axis)


def _lengths(x_shape: Shape, sections: int | Sequence[int], axis: int) -> list[int]:
    n = x_shape[axis]
    if isinstance(sections, int | np.integer):
        if sections < 1 or n % sections:
            raise ShapeError("split", f"a length along axis {axis} that {sections} divides", f"shape {x_shape}")
        sections = [n // sections] * sections
    if min(sections, default=0) < 0 or math.fsum(sections) != n:
        raise ShapeError("split", f"lengths that add up to {n}, axis {axis} of {x_shape}", f"{sections}")
    return list(sections)


@op(onnx=Onnx("Split", inputs=("x", _lengths), attributes={"axis": "axis"}), methods=("split",), dtypes="any",
    samples=[Sample(normal(4, 2), 2), Sample(normal(2, 4), (1, 3), axis=1), Sample(normal(3), (0, 3))],
    errors=[Bad(normal(4, 2), 3, match="that 3 divides"), Bad(normal(4, 2), (1, 2), match="add up to 4"),
            Bad(normal(4, 2), 2, axis=2, match="axis=2 is outside")])  # fmt: skip
def split(x: Array, sections: int | Sequence[int], *, axis: int = 0) -> tuple[Array, ...]:
    """y₁, y₂, … = x cut along `axis`.   ∂L/∂x = g₁, g₂, … joined.

    `sections` is a number of equal parts, as in np.split, or the parts' lengths, as in torch.split.

    >>> split(np.arange(4), 2), split(np.arange(4), [1, 3])
    ((array([0, 1]), array([2, 3])), (array([0]), array([1, 2, 3])))
    """
    x = np.asarray(x)
    axis = one_axis("split", x, axis)
    lengths = _lengths(x.shape, sections, axis)
    ends, lead = np.cumsum(lengths, dtype=int).tolist(), (slice(None),) * axis
    return tuple(x[(*lead, slice(end - n, end))] for n, end in zip(lengths, ends, strict=True))


@split.backward
def split_backward(g: tuple[Array, ...], axis: int) -> Array:
    return concat(*g, axis=axis)


def stack_definition(*xs: Array, axis: int = 0) -> Array:
    return concat(*(expand_dims(x, axis) for x in xs), axis=axis)


@op(onnx=ByDefinition(), methods=("stack",), numpy=(np.stack,), dtypes="any", definition=stack_definition,
    samples=[Sample(normal(2, 3), normal(2, 3)), Sample(normal(2), normal(2), normal(2), axis=-1), Sample(normal())],
    errors=[Bad(normal(2), normal(3), match=r"arrays of one shape, got \(2,\), \(3,\)"),
            Bad(normal(2), normal(2), axis=2, match="axis from -2 to 1")])  # fmt: skip
def stack(*xs: Array, axis: int = 0) -> Array:
    """y = x₁, x₂, … along a new axis, which is `axis` of y.   ∂L/∂xᵢ = slice i of g.

    >>> stack([1, 2], [3, 4], axis=1)
    array([[1, 3],
           [2, 4]])
    """
    shapes = [shape_of(x) for x in xs]
    if len(set(shapes)) > 1:
        raise ShapeError("stack", "arrays of one shape", ", ".join(map(str, shapes)))
    return np.stack(xs, one_axis("stack", np.broadcast_to(0, (1, *shapes[0])), axis))


@stack.backward(serves_tensors=True)
def stack_backward(g: Array, axis: int) -> Array:
    return unstack(g, axis=axis)


def unstack_definition(x: Array, *, axis: int = 0) -> tuple[Array, ...]:
    axis = one_axis("unstack", x, axis)
    parts = split(x, (1,) * x.shape[axis], axis=axis)
    return tuple(squeeze(part, axis) for part in parts)


@op(onnx=ByDefinition(), methods=("unstack",), dtypes="any", definition=unstack_definition,
    samples=[Sample(normal(2, 3)), Sample(normal(2, 3), axis=-1), Sample(normal(1))],
    errors=[Bad(normal(2, 3), axis=2, match="axis=2 is outside"), Bad(normal(), match="is outside")])  # fmt: skip
def unstack(x: Array, *, axis: int = 0) -> tuple[Array, ...]:
    """y₁, y₂, … = the slices of x along `axis`, which they lose.   ∂L/∂x = g₁, g₂, … stacked.

    >>> unstack(np.array([[1, 2], [3, 4]]), axis=1)
    (array([1, 3]), array([2, 4]))
    """
    return tuple(np.moveaxis(x, one_axis("unstack", x, axis), 0))


@unstack.backward(serves_tensors=True)
def unstack_backward(g: tuple[Array, ...], axis: int) -> Array:
    return stack(*g, axis=axis)
