"""Whatever a person may hand to `fit` as data, as batches of one epoch after another."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinone import random
from kinone.core.tensor import Tensor
from kinone.data.dataset import collate
from kinone.errors import ArgumentError, ShapeError


@dataclass(frozen=True)
class Batch:
    """The arguments of the model, the target, and how many samples that is."""

    inputs: tuple[Any, ...]
    target: Any
    size: int


@dataclass(frozen=True)
class Source:
    """Batches of any epoch; `count` of them in each, and `size` samples, where that is known beforehand."""

    where: str
    make: Callable[[int], Iterable[Any]]
    has_target: bool
    is_one_shot: bool = False
    count: int | None = None
    size: int | None = None

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of that epoch; an epoch without any is an error."""
        is_empty = True
        for part in self.make(epoch):
            is_empty = False
            yield part if isinstance(part, Batch) else _batch(self.where, part, self.has_target)
        if is_empty:
            hint = "a generator gives its batches once; hand over a list, a loader, or a function that makes a new one."
            got = "none" if epoch == 0 else f"none in epoch {epoch + 1}"
            raise ArgumentError(self.where, "at least one batch in every epoch", got, hint=hint)


def source_of(
    where: str, data: Any, *, batch_size: int = 32, shuffle: bool = False, epochs: int = 1, has_target: bool = True
) -> Source:
    """(x, y) arrays, a data set, a re-iterable of batches, or a function that makes an iterator of them.

    Arrays and data sets are cut into batches here, shuffled by the stream "shuffle" at step `epoch`: what comes when
    depends on (seed, epoch) alone. x may be a tuple of arrays: so many arguments of the model.
    """
    if not isinstance(batch_size, int | np.integer) or isinstance(batch_size, bool) or batch_size < 1:
        raise ArgumentError(where, "batch_size, a whole number from 1 on", repr(batch_size))
    if _is_array(data) or (isinstance(data, tuple) and _holds_arrays(data, has_target)):
        return _of_arrays(where, data, int(batch_size), shuffle, has_target)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, list | tuple | str | dict):
        return _of_samples(where, data, int(batch_size), shuffle, has_target)
    if callable(data) and not isinstance(data, Iterable):
        takes_epoch = bool(inspect.signature(data).parameters)
        return Source(where, lambda epoch: _iterable(where, data(epoch) if takes_epoch else data()), has_target)
    if isinstance(data, str | dict) or not isinstance(data, Iterable):
        expected = "(x, y) arrays, batches, a data set or a function that makes batches"
        raise ArgumentError(where, expected if has_target else "x, or batches of it", f"a {type(data).__name__}")
    is_one_shot = iter(data) is data
    if is_one_shot and epochs > 1:
        hint = (
            "a list of the batches, a loader, or a function that makes the generator anew: fit(model, make_batches, …)."
        )
        raise ArgumentError(
            where, f"batches that can be read {epochs} times", f"a one-shot {type(data).__name__}", hint=hint
        )
    count = len(data) if isinstance(data, Sized) else None
    return Source(where, lambda epoch: _at_epoch(data, epoch), has_target, is_one_shot, count)


def _at_epoch(data: Any, epoch: int) -> Any:
    """A loader that counts its epochs is told which one this is, unless it stands there already."""
    if isinstance(getattr(data, "epoch", None), int) and data.epoch != epoch:
        data.epoch = epoch
    elif callable(getattr(data, "set_epoch", None)):
        data.set_epoch(epoch)
    return data


def _iterable(where: str, made: Any) -> Iterable[Any]:
    if not isinstance(made, Iterable):
        raise ArgumentError(
            where, "a function that makes an iterator of batches", f"one that gives a {type(made).__name__}"
        )
    return made


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | Tensor) or (hasattr(value, "__dlpack__") and hasattr(value, "shape"))


def _holds_arrays(data: tuple[Any, ...], has_target: bool) -> bool:
    """Whether this tuple is data itself rather than a sequence of batches."""
    if has_target and len(data) != 2:
        return False
    return bool(data) and all(_is_array(p) or (isinstance(p, tuple | list) and _is_data(p)) for p in data)


def _is_data(part: Any) -> bool:
    """A tuple of arrays, or nested lists of numbers."""
    if isinstance(part, tuple):
        return bool(part) and all(map(_is_array, part))
    while isinstance(part, list) and part:
        part = part[0]
    return isinstance(part, int | float | np.generic | list)


def _array(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_array, value))
    if isinstance(value, list):
        array = np.asarray(value)
        return array.astype(np.float32) if array.dtype == np.float64 else array
    return (
        value.data if isinstance(value, Tensor) else value if isinstance(value, np.ndarray) else np.from_dlpack(value)
    )


def _parts(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def _of_arrays(where: str, data: Any, batch_size: int, shuffle: bool, has_target: bool) -> Source:
    if has_target and not isinstance(data, tuple):
        hint = "fit(model, (x, y), …); an autoencoder's target is x itself: (x, x)."
        raise ArgumentError(where, "(x, y)", f"one array of shape {tuple(data.shape)}", hint=hint)
    x, y = (_array(data[0]), _array(data[1])) if has_target else (_array(data), None)
    parts = _parts(x) + (_parts(y) if has_target else [])
    if any(part.ndim == 0 for part in parts):
        raise ShapeError(where, "arrays whose first axis counts the samples", "a scalar")
    lengths = [len(part) for part in parts]
    if len(set(lengths)) > 1:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ShapeError(where, "x and y with as many samples", f"{' and '.join(map(str, lengths))} (shapes {shapes})")
    n = lengths[0]
    if not n:
        raise ArgumentError(where, "at least one sample", f"an empty data set (x has shape {parts[0].shape})")

    def make(epoch: int) -> Iterator[Any]:
        order = random.stream("shuffle").permutation(n, step=epoch) if shuffle else None
        for start in range(0, n, batch_size):
            rows = slice(start, start + batch_size) if order is None else order[start : start + batch_size]
            inputs, target = [part[rows] for part in _parts(x)], [part[rows] for part in _parts(y) if part is not None]
            yield Batch(tuple(inputs), tuple(target) if isinstance(y, tuple) else (*target, None)[0], len(inputs[0]))

    return Source(where, make, has_target, count=-(-n // batch_size), size=n)


def _of_samples(where: str, data: Any, batch_size: int, shuffle: bool, has_target: bool) -> Source:
    n = len(data)
    if not n:
        raise ArgumentError(where, "at least one sample", f"an empty {type(data).__name__}")

    def make(epoch: int) -> Iterator[Any]:
        order = random.stream("shuffle").permutation(n, step=epoch) if shuffle else np.arange(n)
        for start in range(0, n, batch_size):
            yield collate([data[int(i)] for i in order[start : start + batch_size]])

    return Source(where, make, has_target, count=-(-n // batch_size), size=n)


def _batch(where: str, part: Any, has_target: bool) -> Batch:
    if not has_target:
        x = part[0] if isinstance(part, tuple | list) and len(part) == 2 else part
        return Batch(tuple(x) if isinstance(x, tuple | list) else (x,), None, _size(x))
    if not isinstance(part, tuple | list) or len(part) != 2:
        got = f"{len(part)} parts" if isinstance(part, tuple | list) else f"a {type(part).__name__}"
        raise ArgumentError(where, "a batch (x, y)", got)
    x, y = part
    size = _size(y)
    if not size:
        raise ArgumentError(where, "batches with at least one sample", "an empty one")
    return Batch(tuple(x) if isinstance(x, tuple | list) else (x,), y, size)


def _size(value: Any) -> int:
    while isinstance(value, tuple | list):
        if not value:
            return 0
        value = value[0]
    shape = getattr(value, "shape", ())
    return int(shape[0]) if shape else 1
