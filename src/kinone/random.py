"""Named streams of random numbers: a number depends on (seed, stream name, step, index) and nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kinone import kernels
from kinone.errors import ArgumentError
from kinone.kernels.random.reference import Words32, check_integer, permutation, stream_key

Shape = int | tuple[int, ...]
_streams: dict[str, "Stream"] = {}
_process = {"seed": 0}


class Stream:
    """x[step, i] = f(Philox(key, step, i)), key = blake2b-64 of "seed:name".

    A draw, whatever its size, takes the stream's step and moves it on by one; with `step=` it takes that step
    and moves nothing. Draws at one step share their bits. A stream is not for two threads at once.

    >>> s = Stream("dropout", seed=7)
    >>> s.integers(4, low=0, high=9).tolist(), s.permutation(5).tolist(), s.bernoulli(2, 0.5, step=0).tolist()
    ([2, 6, 6, 3], [1, 3, 0, 2, 4], [True, False])
    """

    def __init__(self, name: str, seed: int = 0, step: int = 0) -> None:
        stream_key(seed, name)  # refuses a bad seed or name here, not at the first draw
        self.name, self.seed, self.step = name, int(seed), check_integer("Stream", "step", step)

    def uniform(self, shape: Shape, *, low: float = 0.0, high: float = 1.0,
                dtype: DTypeLike = np.float32, step: int | None = None) -> NDArray[Any]:  # fmt: skip
        """x = low + (high − low)·u, 0 < u < 1."""
        return self._draw(lambda key, at, n: kernels.uniform(key, at, 0, n, dtype, low, high), shape, step)

    def normal(self, shape: Shape, *, mean: float = 0.0, std: float = 1.0,
               dtype: DTypeLike = np.float32, step: int | None = None) -> NDArray[Any]:  # fmt: skip
        """x = mean + std·Φ⁻¹(u)."""
        return self._draw(lambda key, at, n: kernels.normal(key, at, 0, n, dtype, mean, std), shape, step)

    def integers(self, shape: Shape, *, low: int, high: int, step: int | None = None) -> NDArray[np.int64]:
        """x ∈ {low, …, high − 1}, all equally likely; high − low ≤ 2³²."""
        return self._draw(lambda key, at, n: kernels.integers(key, at, 0, n, low, high), shape, step)

    def bernoulli(self, shape: Shape, p: float, *, step: int | None = None) -> NDArray[np.bool_]:
        """x = (u < p): True with probability p."""
        return self._draw(lambda key, at, n: kernels.bernoulli(key, at, 0, n, p), shape, step)

    def permutation(self, n: int, *, step: int | None = None) -> NDArray[np.int64]:
        """x = 0 … n − 1 in one of their n! orders, all equally likely."""
        return self._draw(permutation, (n,), step)

    def at(self, step: int) -> "Stream":
        """x.at(s)[0, 1, …] = x[s, s + 1, …]: a new stream, standing at `step`; this one stays put."""
        return Stream(self.name, self.seed, step)

    def state(self) -> dict[str, Any]:
        """{"name": …, "seed": …, "step": …}: what a checkpoint keeps, as JSON."""
        return dict(vars(self))

    def restore(self, state: dict[str, Any]) -> None:
        """Take the seed and the step from a `state()` of the stream with this name."""
        if state.keys() != vars(self).keys() or state["name"] != self.name:
            raise ArgumentError("Stream.restore", f"a state of the stream {self.name!r}", repr(state))
        vars(self).update(vars(Stream(**state)))

    def _draw(self, kernel: Callable[[Words32, int, int], Any], shape: Shape, step: int | None) -> Any:
        at = self.at(self.step if step is None else step).step
        lengths = shape if isinstance(shape, tuple) else (shape,)
        count = prod(check_integer("Stream", "length", n) for n in lengths)
        drawn = kernel(stream_key(self.seed, self.name), at, count)
        self.step += step is None  # last: a refused draw must not shift the next one
        return drawn.reshape(lengths)


def stream(name: str, seed: int | None = None) -> Stream:
    """The process-wide seed's stream of that name, made on demand (it shifts no other's); given `seed`, a new one.

    >>> stream("noise") is stream("noise"), stream("noise", seed=3) is stream("noise", seed=3)
    (True, False)
    """
    return _streams.setdefault(name, Stream(name, _process["seed"])) if seed is None else Stream(name, seed)


@contextmanager
def standing_in(other: Stream) -> Iterator[Stream]:
    """Let `stream(other.name)` give `other` while the block runs; the process's own stream stays where it is.

    >>> with standing_in(Stream("noise", seed=5)):
    ...     a = stream("noise").normal(3)
    >>> bool((a == Stream("noise", seed=5).normal(3)).all())
    True
    """
    own = stream(other.name)
    _streams[other.name] = other
    try:
        yield other
    finally:
        _streams[other.name] = own


def seed(value: int) -> None:
    """x ← x[seed = value, step = 0] for every stream that `stream(name)` gave out, and for those to come.

    >>> seed(0); first = stream("noise").normal(3); seed(0); bool((stream("noise").normal(3) == first).all())
    True
    """
    _process["seed"] = check_integer("seed", "seed", value)
    for known in list(_streams.values()):  # reset in place: layers hold on to them
        known.seed, known.step = _process["seed"], 0


def snapshot() -> dict[str, Any]:
    """{"seed": …, "streams": [s.state(), …]}: the process-wide seed and where all named streams stand."""
    return {"seed": _process["seed"], "streams": [known.state() for known in list(_streams.values())]}


def restore(states: dict[str, Any]) -> None:
    """Go back to a `snapshot()`; a stream that was made after it goes back to step 0, where it began."""
    seed(states["seed"])
    for state in states["streams"]:
        stream(state["name"]).restore(state)
