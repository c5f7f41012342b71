"""Making tensors out of nothing, or out of somebody else's arrays.

Shapes are given as lengths or as one tuple: `zeros(2, 3)`, `zeros((2, 3))`. The random ones draw from the stream
"factory", which `kn.random.seed` restarts, or from the `stream` that they are given.
"""

from typing import Any

import numpy as np

from kinone.core.tensor import Tensor, as_array
from kinone.errors import ArgumentError, ShapeError
from kinone.ops.arguments import composed
from kinone.random import Stream
from kinone.random import stream as named_stream

Shape = tuple[int, ...]


def _shape(where: str, lengths: tuple[Any, ...]) -> Shape:
    shape = tuple(lengths[0]) if len(lengths) == 1 and isinstance(lengths[0], tuple | list) else lengths
    if not all(isinstance(n, int | np.integer) and n >= 0 for n in shape):
        raise ShapeError(where, "lengths ≥ 0", f"{shape}")
    return tuple(int(n) for n in shape)


# ------------------------------------------------------------------------------ constants
@composed
def full(
    shape: int | Shape, fill_value: Any, *, dtype: Any = None, requires_grad: bool = False, device: str = "cpu"
) -> Tensor:
    """y = `fill_value` everywhere.

    >>> import kinone as kn
    >>> kn.full((2,), 7)
    Tensor([7, 7], dtype=int64)
    """
    value = as_array(fill_value, dtype)
    return Tensor(np.full(_shape("full", (shape,)), value, value.dtype), requires_grad, device=device)


@composed
def zeros(*shape: Any, dtype: Any = np.float32, requires_grad: bool = False, device: str = "cpu") -> Tensor:
    """y = 0 everywhere.

    >>> import kinone as kn
    >>> kn.zeros(2, 2)
    Tensor([[0., 0.],
            [0., 0.]], dtype=float32)
    """
    return full(_shape("zeros", shape), 0, dtype=dtype, requires_grad=requires_grad, device=device)


@composed
def ones(*shape: Any, dtype: Any = np.float32, requires_grad: bool = False, device: str = "cpu") -> Tensor:
    """y = 1 everywhere.

    >>> import kinone as kn
    >>> kn.ones(2, dtype=int)
    Tensor([1, 1], dtype=int64)
    """
    return full(_shape("ones", shape), 1, dtype=dtype, requires_grad=requires_grad, device=device)


empty = zeros  # memory left as it was found would never replay


@composed
def full_like(
    x: Any, fill_value: Any, *, dtype: Any = None, requires_grad: bool = False, device: str = "cpu"
) -> Tensor:
    """y = `fill_value` everywhere, in the shape and dtype of x.

    >>> import kinone as kn
    >>> kn.full_like([1, 2], 7)
    Tensor([7, 7], dtype=int64)
    """
    like = as_array(x)
    return full(like.shape, fill_value, dtype=dtype or like.dtype, requires_grad=requires_grad, device=device)


@composed
def zeros_like(x: Any, *, dtype: Any = None, requires_grad: bool = False, device: str = "cpu") -> Tensor:
    """y = 0 everywhere, in the shape and dtype of x.

    >>> import kinone as kn
    >>> kn.zeros_like([1.0, 2.0])
    Tensor([0., 0.], dtype=float32)
    """
    return full_like(x, 0, dtype=dtype, requires_grad=requires_grad, device=device)


@composed
def ones_like(x: Any, *, dtype: Any = None, requires_grad: bool = False, device: str = "cpu") -> Tensor:
    """y = 1 everywhere, in the shape and dtype of x.

    >>> import kinone as kn
    >>> kn.ones_like([1.0, 2.0])
    Tensor([1., 1.], dtype=float32)
    """
    return full_like(x, 1, dtype=dtype, requires_grad=requires_grad, device=device)


empty_like = zeros_like


# ------------------------------------------------------------------------------ patterns
@composed
def eye(
    n_rows: int, n_cols: int | None = None, *, k: int = 0, dtype: Any = np.float32, requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:  # fmt: skip
    """y[i, j] = 1 where j = i + k, 0 elsewhere.

    >>> import kinone as kn
    >>> kn.eye(2)
    Tensor([[1., 0.],
            [0., 1.]], dtype=float32)
    """
    n, m = _shape("eye", (n_rows, n_rows if n_cols is None else n_cols))
    return Tensor(np.eye(n, m, k, dtype), requires_grad, device=device)


@composed
def arange(
    start: float, stop: float | None = None, step: float = 1, *, dtype: Any = None, requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:  # fmt: skip
    """y = start, start + step, … before `stop`; from 0 if only one end is given.

    >>> import kinone as kn
    >>> kn.arange(3), kn.arange(1.0, 2.0, 0.5)
    (Tensor([0, 1, 2], dtype=int64), Tensor([1. , 1.5], dtype=float32))
    """
    if step == 0:
        raise ArgumentError("arange", "a step other than 0", "step=0")
    ends = (0, start) if stop is None else (start, stop)
    if dtype is None and any(isinstance(end, float) for end in (*ends, step)):
        dtype = np.float32
    return Tensor(np.arange(*ends, step).astype(dtype or int), requires_grad, device=device)


@composed
def linspace(
    start: float, stop: float, num: int, *, endpoint: bool = True, dtype: Any = np.float32,
    requires_grad: bool = False, device: str = "cpu",
) -> Tensor:  # fmt: skip
    """y = `num` numbers at equal distances from `start` to `stop`, which `endpoint=False` leaves out.

    >>> import kinone as kn
    >>> kn.linspace(0, 1, 5)
    Tensor([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    (num,) = _shape("linspace", (num,))
    return Tensor(np.linspace(start, stop, num, endpoint=endpoint).astype(dtype), requires_grad, device=device)


# ------------------------------------------------------------------------------ chance
@composed
def rand(
    *shape: Any, dtype: Any = np.float32, requires_grad: bool = False, device: str = "cpu", stream: Stream | None = None
) -> Tensor:
    """y = u, independent and uniform in 0 < u < 1.

    >>> import kinone as kn
    >>> kn.rand(2, stream=kn.random.stream("example", seed=1))
    Tensor([0.3338589 , 0.36116844], dtype=float32)
    """
    drawn = (stream or named_stream("factory")).uniform(_shape("rand", shape), dtype=dtype)
    return Tensor(drawn, requires_grad, device=device)


@composed
def randn(
    *shape: Any, dtype: Any = np.float32, requires_grad: bool = False, device: str = "cpu", stream: Stream | None = None
) -> Tensor:
    """y = z, independent and standard normal.

    >>> import kinone as kn
    >>> kn.randn(2, stream=kn.random.stream("example", seed=1))
    Tensor([-0.42928213, -0.35533744], dtype=float32)
    """
    drawn = (stream or named_stream("factory")).normal(_shape("randn", shape), dtype=dtype)
    return Tensor(drawn, requires_grad, device=device)


@composed
def randint(
    low: int, high: int, shape: int | Shape, *, dtype: Any = np.int64, device: str = "cpu", stream: Stream | None = None
) -> Tensor:
    """y ∈ {low, …, high − 1}, independent and equally likely.

    >>> import kinone as kn
    >>> kn.randint(0, 10, 4, stream=kn.random.stream("example", seed=1))
    Tensor([3, 3, 8, 3], dtype=int64)
    """
    drawn = (stream or named_stream("factory")).integers(_shape("randint", (shape,)), low=low, high=high)
    return Tensor(drawn.astype(dtype), device=device)


@composed
def rand_like(x: Any, *, dtype: Any = None, requires_grad: bool = False, stream: Stream | None = None) -> Tensor:
    """y = u, independent and uniform in 0 < u < 1, in the shape and dtype of x.

    >>> import kinone as kn
    >>> kn.rand_like([1.0, 2.0]).shape
    (2,)
    """
    like = as_array(x)
    return rand(like.shape, dtype=dtype or like.dtype, requires_grad=requires_grad, stream=stream)


@composed
def randn_like(x: Any, *, dtype: Any = None, requires_grad: bool = False, stream: Stream | None = None) -> Tensor:
    """y = z, independent and standard normal, in the shape and dtype of x.

    >>> import kinone as kn
    >>> kn.randn_like([1.0, 2.0]).shape
    (2,)
    """
    like = as_array(x)
    return randn(like.shape, dtype=dtype or like.dtype, requires_grad=requires_grad, stream=stream)


# ------------------------------------------------------------------------------ other libraries' arrays
@composed
def asarray(
    x: Any, *, dtype: Any = None, requires_grad: bool = False, device: str = "cpu", copy: bool | None = None
) -> Tensor:
    """y = x as a Tensor: a Tensor with its graph, anything else by the rules of `Tensor(…)`.

    `copy`: True for an array of its own, False to refuse where one would be made, None to copy only where needed.

    >>> import kinone as kn
    >>> kn.asarray([1.0, 2.0])
    Tensor([1., 2.], dtype=float32)
    """
    if isinstance(x, Tensor) and not requires_grad:
        y = x if dtype is None else x.astype(dtype)
        y = y.clone() if copy else y
    else:
        y = Tensor(np.array(as_array(x)) if copy else x, requires_grad, dtype, device)
    if copy is False and not (hasattr(x, "__dlpack__") and y.dtype == as_array(x).dtype):
        raise ArgumentError("asarray", f"an array of {y.dtype}, as copy=False", f"a {type(x).__name__}")
    return y


@composed
def from_dlpack(x: Any, *, device: str = "cpu") -> Tensor:
    """y = the memory of another library's array, without a copy.

    >>> import kinone as kn
    >>> kn.from_dlpack(np.arange(3.0))
    Tensor([0., 1., 2.], dtype=float64)
    """
    if not hasattr(x, "__dlpack__"):
        raise ArgumentError("from_dlpack", "an array that speaks DLPack", f"a {type(x).__name__}")
    return Tensor(np.from_dlpack(x), device=device)
