"""First values of parameters, drawn from the process-wide stream "init" or from one that is handed in.

Functions whose names end in `_` give a parameter new values and return it; what it was recorded with keeps the old
ones. They know the weights of layers by their shape: (out, in, *kernel). `INITIALIZERS` has them by name.

>>> from kinone import nn
>>> layer = nn.Conv2d(3, 8, 3)
>>> nn.initialize.kaiming_normal_(layer.weight, nonlinearity="relu") is layer.weight
True
>>> nn.initialize.INITIALIZERS["zeros"](layer.bias).tolist()
[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
"""

from collections.abc import Callable, Mapping
from functools import wraps
from math import prod, sqrt
from types import MappingProxyType
from typing import Any, TypeVar, cast

import numpy as np

from kinone import kernels
from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, ShapeError
from kinone.kernels.random.reference import inverse_cdf
from kinone.ops import cholesky, matmul, solve
from kinone.random import Stream, stream

Shape = tuple[int, ...]
T = TypeVar("T", bound=Tensor)
F = TypeVar("F", bound=Callable[..., Any])


def fan_in_uniform(shape: Shape, fan_in: int, source: Stream | None = None) -> Any:
    """Uniform between ±1/√fan_in: what PyTorch's layers begin with; 0 where nothing comes in."""
    bound = 1 / sqrt(fan_in) if fan_in > 0 else 0.0
    return (source or stream("init")).uniform(shape, low=-bound, high=bound)


def _of_a_tensor(f: F) -> F:
    """f, which says what it needs when it is given something else, such as the None of a layer that waits."""

    @wraps(f)
    def call(p: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(p, Tensor):
            hint = "a layer that waits for its first input has no parameters yet." if p is None else ""
            raise ArgumentError(f.__name__, "a parameter or a tensor", f"a {type(p).__name__}", hint=hint)
        return f(p, *args, **kwargs)

    return cast(F, call)


# ------------------------------------------------------------------------------ what the spread depends on
_GAINS: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(("linear", "identity", "sigmoid"), lambda _: 1.0),
    **{f"conv{'_transpose' * is_back}{n}d": lambda _: 1.0 for n in (1, 2, 3) for is_back in (False, True)},
    "tanh": lambda _: 5 / 3,
    "relu": lambda _: sqrt(2),
    "leaky_relu": lambda slope: sqrt(2 / (1 + slope * slope)),
    "selu": lambda _: 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By what the spread grows to keep it behind that nonlinearity; `param` is the slope of "leaky_relu" (0.01).

    >>> calculate_gain("tanh"), round(calculate_gain("relu"), 4)
    (1.6666666666666667, 1.4142)
    """
    if nonlinearity not in _GAINS:
        raise ArgumentError("calculate_gain", f"one of {', '.join(_GAINS)}", repr(nonlinearity))
    return _GAINS[nonlinearity](0.01 if param is None else param)


def calculate_fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out): how many numbers meet in an output, and how many outputs see an input.

    >>> calculate_fans((8, 3, 5, 5))
    (75, 200)
    """
    if len(shape) < 2:
        raise ShapeError("calculate_fans", "a weight of shape (out, in, *kernel)", f"shape {shape}")
    window = prod(shape[2:])
    return shape[1] * window, shape[0] * window


# ------------------------------------------------------------------------------ without draws
@_of_a_tensor
def constant_(p: T, val: float) -> T:
    """p = val."""
    return _filled(p, np.full(p.shape, val))


@_of_a_tensor
def zeros_(p: T) -> T:
    """p = 0."""
    return constant_(p, 0.0)


@_of_a_tensor
def ones_(p: T) -> T:
    """p = 1."""
    return constant_(p, 1.0)


@_of_a_tensor
def eye_(p: T) -> T:
    """p[i, j] = 1 where i = j, else 0: a linear layer that changes nothing."""
    if p.ndim != 2:
        raise ShapeError("eye_", "a matrix", f"shape {p.shape}")
    return _filled(p, np.eye(*p.shape))


@_of_a_tensor
def dirac_(p: T, groups: int = 1) -> T:
    """p[g·n + i, i, middle] = 1, else 0: a convolution that lets as many channels through as it can, as they are.

    >>> dirac_(Tensor(np.ones((2, 2, 3)))).tolist()
    [[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    """
    if p.ndim not in (3, 4, 5):
        raise ShapeError("dirac_", "a weight of a convolution", f"shape {p.shape}")
    if groups < 1 or p.shape[0] % groups:
        raise ArgumentError("dirac_", f"groups that divide the {p.shape[0]} channels", f"groups={groups}")
    values = np.zeros(p.shape)
    each, middle = p.shape[0] // groups, tuple(n // 2 for n in p.shape[2:])
    for group in range(groups):
        for i in range(min(each, p.shape[1])):
            values[(group * each + i, i, *middle)] = 1
    return _filled(p, values)


# ------------------------------------------------------------------------------ draws
@_of_a_tensor
def uniform_(p: T, a: float = 0.0, b: float = 1.0, source: Stream | None = None) -> T:
    """p ~ U(a, b)."""
    if not a <= b:
        raise ArgumentError("uniform_", "a ≤ b", f"a={a} and b={b}")
    return _filled(p, (source or stream("init")).uniform(p.shape, low=a, high=b, dtype=_drawn(p)))


@_of_a_tensor
def normal_(p: T, mean: float = 0.0, std: float = 1.0, source: Stream | None = None) -> T:
    """p ~ N(mean, std²)."""
    _check_std("normal_", std)
    return _filled(p, (source or stream("init")).normal(p.shape, mean=mean, std=std, dtype=_drawn(p)))


@_of_a_tensor
def trunc_normal_(
    p: T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, source: Stream | None = None
) -> T:
    """p ~ N(mean, std²) where it lies between a and b, which are values, not multiples of std.

    One uniform number makes one value, p = mean + std·Φ⁻¹(Φ(α) + u·(Φ(β) − Φ(α))), so nothing is drawn again.

    >>> p = trunc_normal_(Tensor(np.zeros(1000)), std=5.0)
    >>> bool((abs(p.data) <= 2).all())
    True
    """
    _check_std("trunc_normal_", std)
    if not a < b:
        raise ArgumentError("trunc_normal_", "a < b", f"a={a} and b={b}")
    if not std:
        return constant_(p, min(max(mean, a), b))
    low, high = (a - mean) / std, (b - mean) / std
    sign = -1 if low > 0 else 1  # the lower tail has digits where the upper one is 1
    low, high = (-high, -low) if low > 0 else (low, high)
    least, most = (0.5 * kernels.erfc(np.array(-z * sqrt(0.5))).item() for z in (low, high))
    if not most > least:
        raise ArgumentError("trunc_normal_", f"a range that N({mean}, {std}²) meets", f"a={a} and b={b}")
    u = (source or stream("init")).uniform(p.shape, dtype=np.float64)
    z = inverse_cdf(np.maximum(least + u.reshape(-1) * (most - least), np.finfo(np.float64).tiny))
    return _filled(p, np.clip(mean + std * sign * z.reshape(p.shape), a, b))


@_of_a_tensor
def xavier_uniform_(p: T, gain: float = 1.0, source: Stream | None = None) -> T:
    """p ~ U(−c, c), c = gain·√(6/(fan_in + fan_out)): Glorot's."""
    bound = gain * sqrt(6 / _some(sum(calculate_fans(p.shape))))
    return uniform_(p, -bound, bound, source)


@_of_a_tensor
def xavier_normal_(p: T, gain: float = 1.0, source: Stream | None = None) -> T:
    """p ~ N(0, σ²), σ = gain·√(2/(fan_in + fan_out)): Glorot's."""
    return normal_(p, 0.0, gain * sqrt(2 / _some(sum(calculate_fans(p.shape)))), source)


@_of_a_tensor
def kaiming_uniform_(
    p: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", source: Stream | None = None
) -> T:
    """p ~ U(−c, c), c = gain·√(3/fan): He's; a is the slope of "leaky_relu", fan that of `mode`."""
    bound = sqrt(3) * _kaiming("kaiming_uniform_", p, a, mode, nonlinearity)
    return uniform_(p, -bound, bound, source)


@_of_a_tensor
def kaiming_normal_(
    p: T, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", source: Stream | None = None
) -> T:
    """p ~ N(0, σ²), σ = gain/√fan: He's; a is the slope of "leaky_relu", fan that of `mode`."""
    return normal_(p, 0.0, _kaiming("kaiming_normal_", p, a, mode, nonlinearity), source)


def _kaiming(where: str, p: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fans = dict(zip(("fan_in", "fan_out"), calculate_fans(p.shape), strict=True))
    if mode not in fans:
        raise ArgumentError(where, "mode 'fan_in' or 'fan_out'", repr(mode))
    return calculate_gain(nonlinearity, a) / sqrt(_some(fans[mode]))


@_of_a_tensor
def orthogonal_(p: T, gain: float = 1.0, source: Stream | None = None) -> T:
    """p = gain·Q, the rows of Q (out, in·kernel) orthonormal, or its columns where it is taller; all equally likely.

    Q is that of A = QR, A normal and R's diagonal positive, by Cholesky of AᵀA, repeated until no error is left: in
    steps whose bits are the same on every processor.
    """
    if p.ndim < 2:
        raise ShapeError("orthogonal_", "a weight of shape (out, in, *kernel)", f"shape {p.shape}")
    rows, columns = p.shape[0], prod(p.shape[1:])
    if not rows * columns:
        return p
    source, q = source or stream("init"), None
    while q is None:
        q = _orthonormal(source.normal((max(rows, columns), min(rows, columns)), dtype=np.float64))
    return _filled(p, (gain * (q if rows >= columns else q.T)).reshape(p.shape))


def _orthonormal(a: Any) -> Any:
    """Q of A = QR, or None for an A whose columns are too close to being dependent."""
    one = np.eye(a.shape[1])
    for _ in range(6):
        square: Any = matmul(a.T, a)
        if np.abs(square - one).max() < 1e-15 * len(a) ** 0.5 + 1e-14:
            return a
        try:
            a = np.asarray(solve(cholesky(square), a.T)).T
        except ArgumentError:
            return None
    return None


INITIALIZERS: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        f.__name__.rstrip("_"): f
        for f in (
            constant_, zeros_, ones_, eye_, dirac_, uniform_, normal_, trunc_normal_, xavier_uniform_, xavier_normal_,
            kaiming_uniform_, kaiming_normal_, orthogonal_,
        )
    }
)  # fmt: skip
"""All of them by name: INITIALIZERS["orthogonal"](p, gain=2.0)."""


def _filled(p: T, values: Any) -> T:
    p.data = np.ascontiguousarray(values, p.dtype)
    return p


def _drawn(p: Tensor) -> Any:
    return np.float64 if p.dtype == np.float64 else np.float32


def _some(fan: int) -> int:
    return max(fan, 1)  # nothing is drawn where there is no fan


def _check_std(where: str, std: float) -> None:
    if not std >= 0:
        raise ArgumentError(where, "std ≥ 0", f"std={std}")
