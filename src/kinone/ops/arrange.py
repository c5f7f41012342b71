"""Elements in another order, at the border, or more than once."""

from typing import Any

import numpy as np

from kinone.core.op import Array, op
from kinone.errors import ArgumentError, ShapeError
from kinone.ops.arguments import array_index, composed, one_axis, reduced_axes, shape_of
from kinone.ops.declare import Bad, ByDefinition, Onnx, Sample, integers, normal
from kinone.ops.index import getitem, scatter_index, take
from kinone.ops.reduce import sum
from kinone.ops.shape import concat, expand, moveaxis, reshape

Axis = int | tuple[int, ...] | None
Shape = tuple[int, ...]
_OUTSIDE = Bad(normal(2, 3), axis=2, match="axis=2 is outside")


# ------------------------------------------------------------------------------ order
def flip_definition(x: Array, *, axis: Axis = None) -> Array:
    axes = reduced_axes("flip", x, axis)
    return getitem(x, tuple(slice(None, None, -1 if axes is None or a in axes else None) for a in range(x.ndim)))


@op(onnx=ByDefinition(), methods=("flip",), numpy=(np.flip,), dtypes="any", definition=flip_definition,
    samples=[Sample(normal(2, 3)), Sample(normal(2, 3), axis=1), Sample(normal(2, 3, 2), axis=(0, -1)),
             Sample(normal())], errors=[_OUTSIDE, Bad(normal(2), axis=(0, 0), match="each axis once")])  # fmt: skip
def flip(x: Array, *, axis: Axis = None) -> Array:
    """y = x with its order along `axis` reversed.   ∂L/∂x = g reversed.

    >>> flip(np.array([1, 2, 3]))
    array([3, 2, 1])
    """
    return flip_definition(np.asarray(x), axis=axis)


@flip.backward(serves_tensors=True)
def flip_backward(g: Array, axis: Axis) -> Array:
    return flip(g, axis=axis)


def roll_definition(x: Array, shift: int | Shape, *, axis: Axis = None) -> Array:
    if axis is None:
        return reshape(roll_definition(reshape(x, (-1,)), shift, axis=0), x.shape)
    axes = reduced_axes("roll", x, axis) or ()
    for a, n in zip(axes, shift if isinstance(shift, tuple | list) else (shift,) * len(axes), strict=True):
        cut = -n % max(x.shape[a], 1)
        lead = (slice(None),) * a
        x = concat(getitem(x, (*lead, slice(cut, None))), getitem(x, (*lead, slice(cut))), axis=a)
    return x


@op(onnx=ByDefinition(), methods=("roll",), numpy=(np.roll,), dtypes="any", definition=roll_definition,
    samples=[Sample(normal(5), 2), Sample(normal(2, 3), -1), Sample(normal(2, 3), 4, axis=1),
             Sample(normal(2, 3), (1, -2), axis=(0, 1)), Sample(normal(0, 3), 1, axis=0)],
    errors=[Bad(normal(2, 3), 1, axis=2, match="axis=2 is outside"),
            Bad(normal(2, 3), (1, 2), axis=0, match="one shift for each axis")])  # fmt: skip
def roll(x: Array, shift: int | Shape, *, axis: Axis = None) -> Array:
    """y[i + `shift`] = x[i] along `axis`, what leaves at one end coming in at the other.   ∂L/∂x = g rolled back.

    >>> roll(np.array([1, 2, 3, 4]), 1)
    array([4, 1, 2, 3])
    """
    axes = reduced_axes("roll", x, axis)
    if isinstance(shift, tuple | list) and len(shift) != (1 if axes is None else len(axes)):
        raise ArgumentError("roll", "one shift for each axis", f"shift={shift}, axis={axis}")
    return np.roll(x, shift, axes)


@roll.backward(serves_tensors=True)
def roll_backward(g: Array, shift: int | Shape, axis: Axis) -> Array:
    return roll(g, tuple(-n for n in shift) if isinstance(shift, tuple | list) else -shift, axis=axis)


# ------------------------------------------------------------------------------ border
_MODES = ("constant", "reflect", "edge", "wrap")
_TORCH = {"replicate": "edge", "circular": "wrap"}
PadWidth = int | tuple[int, int] | tuple[tuple[int, int], ...]


def _widths(x_shape: Shape, pad_width: PadWidth) -> list[tuple[int, int]]:
    """(before, after) for each axis."""
    try:
        widths = np.broadcast_to(pad_width, (len(x_shape), 2))
    except ValueError:
        widths = None
    if widths is None or widths.dtype.kind not in "iu" or (widths.size and widths.min() < 0):
        expected = f"lengths ≥ 0: one, (before, after), or such a pair for each axis of {x_shape}"
        raise ArgumentError("pad", expected, f"pad_width={pad_width}", hint="a negative width is a slice.")
    return [(int(before), int(after)) for before, after in widths]


def _origin(n: int, width: tuple[int, int], mode: Any) -> Any:
    """Which of n elements each element of the padded axis is."""
    return np.pad(np.arange(n), width, mode=mode)


def _before_and_after(x_shape: Shape, pad_width: PadWidth) -> list[int]:
    return [n for ends in zip(*_widths(x_shape, pad_width), strict=True) for n in ends]


def _no_pad(x_shape: Shape, pad_width: PadWidth, mode: str) -> str:
    if not x_shape or mode == "wrap":
        return "a number has no border" if not x_shape else "before opset 19 ONNX does not wrap"
    pairs = zip(x_shape, _widths(x_shape, pad_width), strict=True)
    is_far = mode == "reflect" and any(max(width) >= n for n, width in pairs)
    return "ONNX does not reflect further than x reaches" if is_far else ""


def _fill(mode: str, constant_values: float) -> float | None:
    return constant_values if mode == "constant" else None


def pad_definition(x: Array, pad_width: PadWidth, *, mode: str = "constant", constant_values: float = 0.0) -> Array:
    for axis, (n, width) in enumerate(zip(x.shape, _widths(x.shape, pad_width), strict=True)):
        if mode == "constant":
            shapes = [(*x.shape[:axis], m, *x.shape[axis + 1 :]) for m in width]
            before, after = (np.full(shape, constant_values, x.dtype) for shape in shapes)
            x = concat(before, x, after, axis=axis)
        elif width != (0, 0):
            x = take(x, _origin(n, width, mode), axis=axis)
    return x


@op(onnx=Onnx("Pad", inputs=("x", _before_and_after, _fill), attributes={"mode": "mode"}, unless=_no_pad),
    definition=pad_definition, methods=("pad",), numpy=(np.pad,),
    dtypes="any",
    samples=[Sample(normal(2, 3), 1), Sample(normal(2, 3), ((0, 1), (2, 0)), constant_values=1.5),
             Sample(normal(2, 3), ((1, 1), (2, 1)), mode="reflect"), Sample(normal(2, 3), (1, 4), mode="reflect"),
             Sample(normal(2, 3), ((0, 0), (2, 1)), mode="edge"), Sample(normal(2, 3), ((0, 1), (2, 4)), mode="wrap"),
             Sample(normal(0, 2), ((1, 0), (0, 1))), Sample(integers(2), 1)],
    errors=[Bad(normal(2, 3), ((1, 1),) * 3, match="such a pair for each axis"), Bad(normal(2), -1, match="≥ 0"),
            Bad(normal(2), 1, mode="replicate", match="mode='edge'"), Bad(normal(2), 1, mode="mean", match="mode"),
            Bad(normal(0), 1, mode="edge", match="something to repeat")])  # fmt: skip
def pad(x: Array, pad_width: PadWidth, *, mode: str = "constant", constant_values: float = 0.0) -> Array:
    """y = x with a border.   ∂L/∂x = g without the border, plus what was repeated there.

    `pad_width` as in np.pad: a number, (before, after), or such a pair for each axis. `mode`: constant, reflect
    (without the edge), edge, or wrap.

    >>> pad(np.array([1, 2, 3]), (2, 1), mode="reflect")
    array([3, 2, 1, 2, 3, 2])
    """
    widths = _widths(shape_of(x), pad_width)
    if mode not in _MODES:
        hint = f"mode={_TORCH[mode]!r} does that." if mode in _TORCH else ""
        raise ArgumentError("pad", f"a mode of {', '.join(_MODES)}", f"mode={mode!r}", hint=hint)
    if mode == "constant":
        return np.pad(x, widths, constant_values=constant_values)
    if any(not n and before + after for n, (before, after) in zip(shape_of(x), widths, strict=True)):
        raise ShapeError("pad", "something to repeat along the axes that grow", f"shape {shape_of(x)}")
    return np.pad(x, widths, mode=mode)


@pad.backward(serves_tensors=True)
def pad_backward(g: Array, x_shape: Shape, pad_width: PadWidth, mode: str) -> Array:
    widths = _widths(x_shape, pad_width)
    if mode == "constant":
        return getitem(g, tuple(slice(before, before + n) for n, (before, _) in zip(x_shape, widths, strict=True)))
    for axis, (n, width) in enumerate(zip(x_shape, widths, strict=True)):
        if width != (0, 0):
            origin = _origin(n, width, mode)
            shape = (*g.shape[:axis], n, *g.shape[axis + 1 :])
            g = scatter_index(g, index=(slice(None),) * axis + (origin,), shape=shape)
    return g


# ------------------------------------------------------------------------------ copies
def _counts(repetitions: int | Shape) -> Shape:
    return tuple(repetitions) if isinstance(repetitions, tuple | list) else (repetitions,)


def _each_count(x_shape: Shape, repetitions: int | Shape) -> Shape:
    counts = _counts(repetitions)
    return (*(1,) * (len(x_shape) - len(counts)), *counts)


def _new_axes(x_shape: Shape, repetitions: int | Shape) -> str:
    return "ONNX's Tile makes no new axes" if len(_counts(repetitions)) > len(x_shape) else ""


def tile_definition(x: Array, repetitions: int | Shape) -> Array:
    counts = _each_count(x.shape, repetitions)
    lengths = (*(1,) * (len(counts) - x.ndim), *x.shape)
    rows = [tuple(part for n in lengths for part in (1, n)),
            tuple(part for pair in zip(counts, lengths, strict=True) for part in pair)]  # fmt: skip
    tiles = expand(reshape(x, rows[0]), rows[1])
    return reshape(tiles, tuple(m * n for m, n in zip(counts, lengths, strict=True)))


@op(onnx=Onnx("Tile", inputs=("x", _each_count), unless=_new_axes), definition=tile_definition, methods=("tile",),
    numpy=(np.tile,), dtypes="any",
    samples=[Sample(normal(2, 3), (2, 1)), Sample(normal(2), (2, 1, 3)), Sample(normal(2, 3), 2),
             Sample(normal(), (2,)), Sample(normal(2, 2), (0, 1))],
    errors=[Bad(normal(2), (-1,), match="≥ 0")])  # fmt: skip
def tile(x: Array, repetitions: int | Shape) -> Array:
    """y = x laid side by side, `repetitions` times along each axis.   ∂L/∂x = Σ g over the copies.

    Fewer numbers than axes are those of the last axes; more make new axes in front.

    >>> tile(np.array([1, 2]), (2, 2))
    array([[1, 2, 1, 2],
           [1, 2, 1, 2]])
    """
    counts = _counts(repetitions)
    if min(counts, default=0) < 0:
        raise ArgumentError("tile", "repetitions ≥ 0", f"{repetitions}")
    return np.tile(x, counts)


@tile.backward(serves_tensors=True)
def tile_backward(g: Array, x_shape: Shape) -> Array:
    lengths = (1,) * (g.ndim - len(x_shape)) + x_shape
    pairs = [part for total, n in zip(g.shape, lengths, strict=True) for part in (total // max(n, 1), n)]
    return reshape(sum(reshape(g, tuple(pairs)), axis=tuple(range(0, len(pairs), 2))), x_shape)


def _copied(x_shape: Shape, repeats: Any, axis: int) -> Any:
    """Which element along `axis` each element of the repeated array is."""
    n = x_shape[axis]
    counts = np.asarray(array_index(repeats))
    if counts.shape not in ((), (1,), (n,)) or counts.dtype.kind not in "iu" or (counts.size and counts.min() < 0):
        raise ArgumentError("repeat", f"one count ≥ 0, or one for each of the {n} elements", f"repeats={repeats}")
    return np.repeat(np.arange(n), counts)


def repeat_definition(x: Array, repeats: Any, *, axis: int | None = None) -> Array:
    if axis is None:
        return repeat_definition(reshape(x, (-1,)), repeats, axis=0)
    axis = one_axis("repeat", x, axis)
    return take(x, _copied(x.shape, repeats, axis), axis=axis)


@op(onnx=ByDefinition(), methods=("repeat",), numpy=(np.repeat,), dtypes="any", definition=repeat_definition,
    samples=[Sample(normal(2, 3), 2), Sample(normal(2, 3), 2, axis=1), Sample(normal(2, 3), (0, 2, 1), axis=-1),
             Sample(normal(2, 0), 3, axis=1)],
    errors=[Bad(normal(2, 3), 2, axis=2, match="axis=2 is outside"), Bad(normal(2, 3), -1, match="one count ≥ 0"),
            Bad(normal(2, 3), (1, 2), axis=1, match="one for each of the 3 elements")])  # fmt: skip
def repeat(x: Array, repeats: Any, *, axis: int | None = None) -> Array:
    """y = each element along `axis` (of x flattened if None) `repeats` times in a row.   ∂L/∂x = Σ g over the copies.

    `repeats` is one number, or one for each element.

    >>> repeat(np.array([1, 2]), 2), repeat(np.array([1, 2]), (1, 2))
    (array([1, 1, 2, 2]), array([1, 2, 2]))
    """
    x = np.asarray(x) if axis is not None else np.reshape(x, -1)
    axis = 0 if axis is None else one_axis("repeat", x, axis)
    return np.take(x, _copied(x.shape, repeats, axis), axis)


@repeat.backward(serves_tensors=True)
def repeat_backward(g: Array, x_shape: Shape, repeats: Any, axis: int | None) -> Array:
    shape = x_shape if axis is not None else (int(np.prod(x_shape, dtype=int)),)
    axis = 0 if axis is None else axis % len(shape)
    if isinstance(repeats, int):
        spread = reshape(g, (*shape[: axis + 1], repeats, *shape[axis + 1 :]))
        return reshape(sum(spread, axis=axis + 1), x_shape)
    spread = scatter_index(g, index=(slice(None),) * axis + (_copied(shape, repeats, axis),), shape=shape)
    return reshape(spread, x_shape)


@composed
def meshgrid(*xs: Array, indexing: str = "xy") -> tuple[Array, ...]:
    """y₁[i, j, …] = x₁[i], y₂[i, j, …] = x₂[j], …; with "xy" the first two axes of every y are exchanged.

    >>> a, b = meshgrid(np.array([1, 2]), np.array([3, 4, 5]), indexing="ij")
    >>> a.tolist(), b.tolist()
    ([[1, 1, 1], [2, 2, 2]], [[3, 4, 5], [3, 4, 5]])
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError("meshgrid", "indexing 'xy' or 'ij'", f"{indexing!r}")
    if any(len(shape_of(x)) != 1 for x in xs):
        raise ShapeError("meshgrid", "vectors", ", ".join(str(shape_of(x)) for x in xs))
    shape = tuple(shape_of(x)[0] for x in xs)
    grids = [expand(reshape(x, (-1, *(1,) * (len(xs) - 1 - i))), shape) for i, x in enumerate(xs)]
    return tuple(moveaxis(y, 0, 1) if indexing == "xy" and len(xs) > 1 else y for y in grids)
