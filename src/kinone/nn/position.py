"""Positions: what tells attention, for which a sequence is a set, where each element stands."""

from typing import Any

import numpy as np

from kinone import ops
from kinone.errors import ArgumentError, ShapeError
from kinone.nn.layer import Layer, count
from kinone.nn.parameter import Parameter
from kinone.ops import cos, flip, reshape, roll, sin
from kinone.random import stream


class SinusoidalPositions(Layer):
    """y[t] = x[t] + p[t],  p[t, 2i] = sin(t·ωᵢ),  p[t, 2i + 1] = cos(t·ωᵢ),  ωᵢ = base^(−2i/dim).

    x (T, N, dim), with `batch_first` (N, T, dim), or (T, dim); `offset` is the position of x's first element.

    >>> SinusoidalPositions(4)(np.zeros((2, 4)), offset=3)
    array([[ 0.14112001, -0.9899925 ,  0.0299955 ,  0.99955003],
           [-0.7568025 , -0.65364362,  0.03998933,  0.99920011]])
    """

    def __init__(self, dim: int, base: float = 10000.0, batch_first: bool = False) -> None:
        self.dim = count("SinusoidalPositions", "dim", dim)
        self.base, self.batch_first = _base("SinusoidalPositions", base), batch_first
        self._table = np.zeros((0, dim))

    def forward(self, x: Any, offset: int = 0) -> Any:
        steps = _steps("SinusoidalPositions", x, self.dim, self.batch_first)
        if len(self._table) < offset + steps:
            angles = _angles(2 * (offset + steps), self.dim + self.dim % 2, self.base)
            table = np.stack([sin(angles), cos(angles)], axis=-1)
            self._table = table.reshape(len(table), -1)[:, : self.dim]
        table = self._table[offset : offset + steps].astype(x.dtype)
        return x + (table[:, None] if x.ndim == 3 and not self.batch_first else table)


class LearnedPositions(Layer):
    """y[t] = x[t] + w[t], w (max_positions, dim): shapes and `offset` as of `SinusoidalPositions`.

    >>> LearnedPositions(8, 4)(np.zeros((3, 2, 4), np.float32)).shape
    (3, 2, 4)
    """

    def __init__(self, max_positions: int, dim: int, batch_first: bool = False) -> None:
        self.max_positions = count("LearnedPositions", "max_positions", max_positions)
        self.dim, self.batch_first = count("LearnedPositions", "dim", dim), batch_first
        self.weight = Parameter(stream("init").normal((max_positions, dim)))

    def forward(self, x: Any, offset: int = 0) -> Any:
        steps = _steps("LearnedPositions", x, self.dim, self.batch_first)
        if offset + steps > self.max_positions:
            got = f"{offset + steps} (x has shape {x.shape}, offset={offset})"
            raise ShapeError("LearnedPositions", f"at most {self.max_positions} positions", got)
        table = self.weight[offset : offset + steps]
        return x + (table[:, None] if x.ndim == 3 and not self.batch_first else table)


class RotaryEmbedding(Layer):
    """y[t] = R(t)·x[t]: pair i of the features turned by the angle t·base^(−2i/dim), x (…, T, dim).

    Queries and keys turned alike give scores that depend on how far they stand apart, and on nothing else. Features i
    and i + dim/2 make a pair (as in GPT-NeoX and Llama), with `is_interleaved` 2i and 2i + 1 (as in GPT-J).

    >>> RotaryEmbedding(2)(np.array([[1.0, 0.0], [1.0, 0.0]]))
    array([[1.        , 0.        ],
           [0.54030231, 0.84147098]])
    """

    def __init__(self, dim: int, base: float = 10000.0, is_interleaved: bool = False) -> None:
        self.dim = count("RotaryEmbedding", "dim", dim)
        if dim % 2:
            raise ArgumentError("RotaryEmbedding", "an even dim: features turn in pairs", f"dim={dim}")
        self.base, self.is_interleaved = _base("RotaryEmbedding", base), is_interleaved
        self._tables: tuple[Any, Any] = (np.zeros((0, dim)), np.zeros((0, dim)))

    def forward(self, x: Any, offset: int = 0) -> Any:
        if x.ndim < 2 or x.shape[-1] != self.dim:
            raise ShapeError("RotaryEmbedding", f"x (…, T, {self.dim})", f"shape {x.shape}")
        steps = x.shape[-2]
        if len(self._tables[0]) < offset + steps:
            self._tables = self._computed(2 * (offset + steps))
        cosines, sines = (table[offset : offset + steps].astype(x.dtype) for table in self._tables)
        if self.is_interleaved:
            pairs = reshape(x, (*x.shape[:-1], self.dim // 2, 2))
            other = reshape(flip(pairs, axis=-1), x.shape)
        else:
            other = roll(x, self.dim // 2, axis=-1)
        return x * cosines + other * sines

    def _computed(self, positions: int) -> tuple[Any, Any]:
        """What each feature is multiplied with, and what its partner: cos θ and ∓sin θ."""
        angles = _angles(positions, self.dim, self.base)
        c, s = cos(angles), sin(angles)
        if self.is_interleaved:
            return np.repeat(c, 2, axis=-1), np.stack([-s, s], axis=-1).reshape(positions, self.dim)
        return np.concatenate([c, c], axis=-1), np.concatenate([-s, s], axis=-1)


def _angles(positions: int, dim: int, base: float) -> Any:
    """t·base^(−2i/dim), by t and i."""
    return np.arange(positions)[:, None] * ops.pow(np.float64(base), -np.arange(0, dim, 2) / dim)


def _steps(where: str, x: Any, dim: int, batch_first: bool) -> int:
    """How long the sequences in x are."""
    if x.ndim not in (2, 3) or x.shape[-1] != dim:
        form = "(N, T, {0})" if batch_first else "(T, N, {0})"
        raise ShapeError(where, f"x {form.format(dim)}, or (T, {dim}) of one sequence", f"shape {x.shape}")
    return x.shape[-2] if batch_first else x.shape[0]


def _base(where: str, base: Any) -> float:
    if isinstance(base, bool) or not isinstance(base, int | float) or base <= 0:
        raise ArgumentError(where, "base > 0", repr(base))
    return float(base)
