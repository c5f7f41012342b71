"""The checks that many operators share: axes, shapes, and what is said when they do not fit."""

import inspect
import math
from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar

import numpy as np

from kinone import kernels
from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, AxisError, DtypeError, ShapeError, explained

Axis = int | tuple[int, ...] | None
P = ParamSpec("P")
R = TypeVar("R")


def composed(function: Callable[P, R]) -> Callable[P, R]:
    """A function made of operators that answers wrong calls as operators do, in one form and under its own name."""
    parameters = inspect.signature(function).parameters.values()
    by_position = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    described = SimpleNamespace(
        name=function.__name__,
        inputs=by_position,
        attributes=[p.name for p in parameters if p.kind is p.KEYWORD_ONLY],
        leading=by_position,
        required=[p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL],
        is_variadic=any(p.kind is p.VAR_POSITIONAL for p in parameters),
    )

    @wraps(function)
    def call(*args: P.args, **attrs: P.kwargs) -> R:
        try:
            return function(*args, **attrs)
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            OverflowError,
            ZeroDivisionError,
            BufferError,
        ) as error:
            raise (told := explained(described, error, args, attrs)) from (error.__cause__ if told is error else error)

    return call


def by_kernel(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule which for arrays is the kernel of its name, in one pass, and for Tensors what it says."""
    name = rule.__name__

    @wraps(rule)
    def either(*args: Any) -> Any:
        for a in args:
            if isinstance(a, Tensor):
                return rule(*args)
        return getattr(kernels, name)(*args)

    return either


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array, a Tensor, a number or nested lists."""
    return x.shape if hasattr(x, "shape") else np.shape(x)


def one_axis(where: str, x: Any, axis: int, name: str = "axis") -> int:
    """`axis` counted from the front."""
    ndim = len(shape_of(x))
    if not isinstance(axis, int | np.integer) or isinstance(axis, bool) or not -ndim <= axis < ndim:
        expected = f"{name} from {-ndim} to {ndim - 1} for shape {shape_of(x)}"
        raise AxisError(where, expected, f"{name}={axis} is outside")
    return int(axis) % ndim


def reduced_axes(where: str, x: Any, axis: Axis, name: str = "axis") -> tuple[int, ...] | None:
    """The axes of a reduction as a tuple from the front, or None for all."""
    if axis is None:
        return None
    axes = tuple(one_axis(where, x, a, name) for a in (axis if isinstance(axis, tuple | list) else (axis,)))
    if len(set(axes)) < len(axes):
        raise AxisError(where, "each axis once", f"{name}={axis}")
    return axes


def kept_shape(x_shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """The shape of a reduction of x with keepdims=True."""
    axes = range(len(x_shape)) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    axes = [a % len(x_shape) for a in axes]
    return tuple(1 if i in axes else n for i, n in enumerate(x_shape))


def reduced_count(x_shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements a reduction of x takes together."""
    return math.prod(n for n, m in zip(x_shape, kept_shape(x_shape, axis), strict=True) if m == 1)


def filled(where: str, x: Any, axis: Axis) -> Any:
    """x as an array, whose reduction over `axis` has at least one element to take."""
    if reduced_count(shape_of(x), reduced_axes(where, x, axis)) == 0:
        raise ShapeError(where, f"at least one element along axis={axis}", f"shape {shape_of(x)}")
    return np.asarray(x)


def check_norm(where: str, shape: tuple[int, ...], eps: float, **given: Any) -> None:
    """What normalizations ask of ε, and of the arrays that are given beside x."""
    if not eps > 0:
        raise ArgumentError(where, "eps > 0", f"eps={eps}")
    for name, array in given.items():
        if array is not None and array.shape != shape:
            raise ShapeError(where, f"{name} of shape {shape}", f"{array.shape}")


def as_channels(array: Any, x: Any, axis: int) -> Any:
    """(C,) as (1, …, C, …, 1), to broadcast against x; None stays None."""
    return array if array is None else array.reshape(tuple(-1 if i == axis else 1 for i in range(x.ndim)))


def flat(array: Any) -> Any:
    """(1, …, C, …, 1) as (C,); None stays None."""
    return array if array is None else array.reshape(-1)


def other_axes(x: Any, axis: int) -> tuple[int, ...]:
    return tuple(i for i in range(x.ndim) if i != axis)


def affine(x: Any, w: Any, b: Any) -> Any:
    """w·x + b, without what is None."""
    x = x if w is None else x * w
    return x if b is None else x + b


def array_index(index: Any) -> Any:
    """An index with the arrays of the Tensors and lists in it."""
    if isinstance(index, tuple):
        return tuple(array_index(part) for part in index)
    index = np.asarray(index or np.zeros(0, int)) if isinstance(index, list) else index
    return index.data if isinstance(index, Tensor) else index


def checked_indices(where: str, indices: Any, length: int, name: str = "indices") -> Any:
    """Integer `indices` into an axis of that length, counted from the front."""
    indices = np.asarray(indices)
    if indices.size and indices.dtype.kind not in "iu":
        raise DtypeError(where, f"{name} of an integer dtype", str(indices.dtype))
    indices = indices.astype(np.intp, copy=False)  # an int8 plus the length may not fit in int8
    if indices.size:
        low, high = int(indices.min()), int(indices.max())
        if low < -length or high >= length:
            worst = high if high - (length - 1) >= -length - low else low
            raise AxisError(where, f"{name} from {-length} to {length - 1} for an axis of length {length}", str(worst))
    return np.where(indices < 0, indices + length, indices)


def indexed(where: str, x: Any, index: Any) -> Any:
    """x[index] of an array, or an error that names the index at fault."""
    try:
        return np.asarray(x[index])
    except IndexError as error:
        axis = 0
        parts = index if isinstance(index, tuple) else (index,)
        used = [1 if not isinstance(part, np.ndarray) or part.dtype.kind != "b" else part.ndim for part in parts]
        used = [0 if part is None or part is Ellipsis else n for part, n in zip(parts, used, strict=True)]
        for part, n in zip(parts, used, strict=True):
            if n and not isinstance(part, slice) and np.asarray(part).dtype.kind in "iu" and axis < x.ndim:
                checked_indices(where, part, x.shape[axis], f"an index of axis {axis}")
            axis += x.ndim - sum(used) if part is Ellipsis else n
        raise AxisError(where, f"an index that fits shape {x.shape}", f"{index!r} ({error})") from None


def along(where: str, indices: Any, x_shape: tuple[int, ...], axis: int) -> tuple[Any, ...]:
    """The index that picks indices[i, j, …] along `axis` and i, j, … along the others."""
    indices = np.asarray(array_index(indices))
    axis = one_axis(where, np.broadcast_to(0, x_shape), axis)
    pairs = zip(indices.shape, x_shape, strict=False)
    if indices.ndim != len(x_shape) or not all(1 in (m, n) or m == n or a == axis for a, (m, n) in enumerate(pairs)):
        expected = f"indices that broadcast to shape {x_shape} except along axis {axis}"
        raise ShapeError(where, expected, f"{indices.shape}", hint="slice x to the lengths of the indices first.")
    indices = checked_indices(where, indices, x_shape[axis])
    others = (np.arange(n).reshape(-1, *(1,) * (len(x_shape) - 1 - a)) for a, n in enumerate(x_shape))
    return tuple(indices if a == axis else other for a, other in enumerate(others))


def real_dtype(where: str, dtype: Any) -> np.dtype[Any]:
    """`dtype` as one that arrays here may have."""
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        wanted = None
    if dtype is None or wanted is None:
        raise DtypeError(where, "a dtype", repr(dtype))
    if wanted.kind not in "fiub" or wanted.itemsize > 8:
        raise DtypeError(where, "a dtype of real numbers, integers or booleans", str(wanted))
    return wanted


def checked_noise(where: str, p: float, key: Any) -> None:
    """Refuse a probability outside [0, 1], and a key of another form than (seed, stream name, step)."""
    if not 0 <= p <= 1:
        raise ArgumentError(where, "0 ≤ p ≤ 1", f"p={p}")
    if not (isinstance(key, tuple) and [type(part) for part in key] == [int, str, int]):
        raise ArgumentError(where, "key (seed, stream name, step)", repr(key), hint="next_key() gives a fresh one.")


# ------------------------------------------------------------------------------ why ONNX has it otherwise
def flattened(axis: int | None) -> str:
    """Why ONNX has no operator of that `axis`."""
    return "" if axis is not None else "x is to be flattened"


def widened(x_dtype: Any) -> str:
    """Why ONNX does not add up or multiply elements of that dtype as we do."""
    is_narrow = x_dtype.kind in "iub" and x_dtype.itemsize < 8
    return f"{x_dtype} adds and multiplies up in 64 bits here, not in ONNX: cast it first" if is_narrow else ""
