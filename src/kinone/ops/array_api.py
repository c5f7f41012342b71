"""The namespace of the Python Array API standard that `x.__array_namespace__()` gives, for Tensors.

Most names are the operators themselves, whose signatures are those of the standard. The functions written out here
bridge the rest. `kinone.ops.standard` says what of the standard is covered, and why the rest is missing.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from kinone import ops
from kinone.core.tensor import Tensor, as_array, wrap
from kinone.errors import ArgumentError
from kinone.ops.standard import COVERED, STANDARD

__array_api_version__ = "2024.12"
__all__ = [name for name in (*COVERED, "linalg") if "." not in name]  # pyright: ignore[reportUnsupportedDunderAll]

_OF_NUMPY = f"{STANDARD['Constants']} {STANDARD['Data types']} isdtype".split()
globals().update({name: getattr(np, name) for name in _OF_NUMPY if name in COVERED})
globals().update({name: ops.EXPORTS[name] for name in COVERED if name in ops.EXPORTS})


# ------------------------------------------------------------------------------ creation
def _options(dtype: Any, device: Any) -> dict[str, Any]:
    """The options that somebody gave; the standard writes None for the others."""
    return {key: value for key, value in (("dtype", dtype), ("device", device)) if value is not None}


def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: Any = None, device: Any = None
) -> Tensor:
    return ops.arange(start, stop, step, **_options(dtype, device))


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Tensor:
    return ops.asarray(obj, copy=copy, **_options(dtype, device))


def empty(shape: int | tuple[int, ...], *, dtype: Any = None, device: Any = None) -> Tensor:
    return ops.empty(shape, **_options(dtype, device))


def empty_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    return ops.empty_like(x, **_options(dtype, device))


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    return ops.eye(n_rows, n_cols, k=k, **_options(dtype, device))


def from_dlpack(x: Any, /, *, device: Any = None, copy: Any = None) -> Tensor:
    return ops.asarray(ops.from_dlpack(x, **_options(None, device)), copy=copy)


def full(shape: int | tuple[int, ...], fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    return ops.full(shape, fill_value, **_options(dtype, device))


def full_like(x: Tensor, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    return ops.full_like(x, fill_value, **_options(dtype, device))


def linspace(
    start: float, stop: float, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: Any = True
) -> Tensor:
    return ops.linspace(start, stop, num, endpoint=endpoint, **_options(dtype, device))


def ones(shape: int | tuple[int, ...], *, dtype: Any = None, device: Any = None) -> Tensor:
    return ops.ones(shape, **_options(dtype, device))


def ones_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    return ops.ones_like(x, **_options(dtype, device))


def zeros(shape: int | tuple[int, ...], *, dtype: Any = None, device: Any = None) -> Tensor:
    return ops.zeros(shape, **_options(dtype, device))


def zeros_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    return ops.zeros_like(x, **_options(dtype, device))


# ------------------------------------------------------------------------------ dtypes
def _dtype(x: Any) -> Any:
    return x.dtype if isinstance(x, Tensor) else np.dtype(x)


def astype(x: Tensor, dtype: Any, /, *, copy: Any = True, device: Any = None) -> Tensor:
    _only_here(device)
    return ops.astype(x, dtype) if copy or x.dtype != dtype else x


def can_cast(from_: Any, to: Any, /) -> Any:
    return np.can_cast(_dtype(from_), to)


def finfo(type: Any, /) -> Any:
    return np.finfo(_dtype(type))


def iinfo(type: Any, /) -> Any:
    return np.iinfo(_dtype(type))


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype in which operators would compute with these; DtypeError where they would refuse."""
    scalars = [x for x in arrays_and_dtypes if isinstance(x, int | float)]
    dtypes = [_dtype(x) for x in arrays_and_dtypes if not isinstance(x, int | float)]
    if not dtypes:
        raise ArgumentError("result_type", "at least one array or dtype", "none")
    together = ops.concat([wrap(np.zeros(0, dtype)) for dtype in dtypes])
    return np.result_type(together.dtype, *scalars)


# ------------------------------------------------------------------------------ elementwise and reductions
def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Tensor:
    if not isinstance(min, Tensor) and not isinstance(max, Tensor):
        return ops.clip(x, min, max)
    x = x if min is None else ops.maximum(x, min)
    return x if max is None else ops.minimum(x, max)


def _in(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None or x.dtype == dtype else ops.astype(x, dtype)


def sum(x: Tensor, /, *, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> Tensor:
    return _in(ops.sum(_in(x, dtype), axis=axis, keepdims=keepdims), dtype)


def prod(x: Tensor, /, *, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> Tensor:
    return _in(ops.prod(_in(x, dtype), axis=axis, keepdims=keepdims), dtype)


def _cumulated(f: Any, x: Tensor, first: int, axis: int | None, dtype: Any, include_initial: Any) -> Tensor:
    axis = -1 if axis is None and x.ndim == 1 else axis
    y = _in(f(_in(x, dtype), axis=axis), dtype)
    if not include_initial or axis is None:
        return y
    shape = tuple(1 if i == axis % x.ndim else n for i, n in enumerate(x.shape))
    return ops.concat([wrap(np.full(shape, first, y.dtype)), y], axis=axis)


def cumulative_sum(x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: Any = False) -> Tensor:
    return _cumulated(ops.cumulative_sum, x, 0, axis, dtype, include_initial)


def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: Any = False
) -> Tensor:
    return _cumulated(ops.cumulative_prod, x, 1, axis, dtype, include_initial)


def diff(x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Tensor:
    x = ops.concat([part for part in (prepend, x, append) if part is not None], axis=axis)
    before = (slice(None),) * (axis % x.ndim)
    for _ in range(n):
        later, earlier = x[(*before, slice(1, None))], x[(*before, slice(None, -1))]
        x = ops.not_equal(later, earlier) if x.dtype == np.bool_ else later - earlier
    return x


# ------------------------------------------------------------------------------ shapes and order
def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    return tuple(ops.broadcast_to(x, shape) for x in arrays)


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    if axis is None:
        arrays, axis = [reshape(x, (-1,)) for x in arrays], 0
    return ops.concat(arrays, axis=axis)


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: Any = None) -> Tensor:
    return ops.reshape(x, shape)  # whether it is a copy cannot be told, since nothing writes into an array


def searchsorted(x1: Tensor, x2: Tensor, /, *, side: Any = "left", sorter: Any = None) -> Tensor:
    return ops.searchsorted(x1 if sorter is None else ops.take(x1, sorter, axis=0), x2, side=side)


# ------------------------------------------------------------------------------ linear algebra
class SlogdetResult(NamedTuple):
    """The sign of a determinant, and the logarithm of its size."""

    sign: Tensor
    logabsdet: Tensor


def _cholesky(x: Tensor, /, *, upper: Any = False) -> Tensor:
    y = ops.cholesky(x)
    return ops.matrix_transpose(y) if upper else y


def _slogdet(x: Tensor, /) -> SlogdetResult:
    return SlogdetResult(*ops.slogdet(x))


def _trace(x: Tensor, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    return sum(ops.diagonal(x, offset=offset), axis=-1, dtype=dtype)


linalg = SimpleNamespace(
    cholesky=_cholesky, det=ops.det, diagonal=ops.diagonal, inv=ops.inv, matmul=ops.matmul,
    matrix_transpose=ops.matrix_transpose, outer=ops.outer, slogdet=_slogdet, solve=ops.solve,
    tensordot=ops.tensordot, trace=_trace, vecdot=ops.vecdot, vector_norm=ops.vector_norm,
)  # fmt: skip


# ------------------------------------------------------------------------------ what there is
def _only_here(device: Any) -> None:
    if device not in (None, "cpu"):
        wrap(np.zeros(0)).to(device)  # says what is wrong with it


class Info:
    """What the namespace can do, as the standard wants it told."""

    def capabilities(self) -> dict[str, Any]:
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        return "cpu"

    def devices(self) -> list[str]:
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        _only_here(device)
        integer = np.dtype(np.int64)
        return {"real floating": as_array(0.0).dtype, "integral": integer, "indexing": integer}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        _only_here(device)
        known = [np.dtype(name) for name in STANDARD["Data types"].split() if name in COVERED]
        return {dtype.name: dtype for dtype in known if kind is None or np.isdtype(dtype, kind)}


def __array_namespace_info__() -> Info:  # noqa: N807 (the standard's name)
    return Info()
