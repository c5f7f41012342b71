"""DataLoader: batches of a data set, in an order that (seed, epoch) alone decides."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kinone.data.dataset import Dataset, collate
from kinone.data.workers import Workers
from kinone.errors import ArgumentError, DataError, KinoneError, StateError
from kinone.random import Stream

Collate = Callable[[list[Any]], Any]
Transform = Callable[[Any, Stream], Any]


class DataLoader:
    """Batches of `batch_size` samples; each pass over it is one epoch, and the next begins where that ended.

    The order of epoch e is a function of (seed, e), and what `transform(sample, stream)` draws from its stream one of
    (seed, e, sample): any number of workers, and any interruption, gives the same batches. `state_dict()` says which
    batch comes next; a loader that loads it goes on there. With `has_indices` each batch is (indices of its samples,
    batch).

    >>> loader = DataLoader(np.arange(5), batch_size=2, shuffle=True, seed=1)
    >>> [batch.tolist() for batch in loader], [batch.tolist() for batch in loader]
    ([[3, 0], [2, 1], [4]], [[3, 0], [4, 2], [1]])
    """

    def __init__(
        self, dataset: Dataset, batch_size: int = 32, *, shuffle: bool = False, seed: int = 0, drop_last: bool = False,
        workers: int = 0, prefetch: int = 2, transform: Transform | None = None, collate: Collate = collate,
        order: Callable[[int], Any] | None = None, has_indices: bool = False, start_method: str | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(dataset, Dataset):
            hint = "a generator has no samples to be asked for by number: list(generator), or a class with both."
            raise ArgumentError("DataLoader", "a data set with __len__ and __getitem__", _kind(dataset), hint=hint)
        for name, value, least in (("batch_size", batch_size, 1), ("workers", workers, 0), ("prefetch", prefetch, 1)):
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
                raise ArgumentError("DataLoader", f"{name}, at least {least}", repr(value))
        if order is not None and shuffle:
            raise ArgumentError("DataLoader", "shuffle=True or an order of your own", "both")
        self.dataset, self.batch_size, self.drop_last = dataset, int(batch_size), drop_last
        self.workers, self.prefetch, self.start_method = int(workers), int(prefetch), start_method
        self.shuffle, self.seed, self.order = shuffle, seed, order
        self.transform, self.collate, self.has_indices = transform, collate, has_indices
        self.epoch = 0
        self._next = 0  # the batch of this epoch that comes next
        self._resumes = False

    def __len__(self) -> int:
        """Batches of one epoch."""
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def indices(self, epoch: int) -> Any:
        """The samples of that epoch, in order."""
        n = len(self.dataset)
        if self.order is not None:
            return np.asarray(self.order(epoch))
        return Stream("shuffle", self.seed).permutation(n, step=epoch) if self.shuffle else np.arange(n)

    def __iter__(self) -> Iterator[Any]:
        first, self._resumes = self._next if self._resumes else 0, False
        self._next = first
        epoch, indices = self.epoch, self.indices(self.epoch)
        count = len(indices) // self.batch_size if self.drop_last else -(-len(indices) // self.batch_size)
        tasks = [
            (epoch, indices[k * self.batch_size : (k + 1) * self.batch_size].tolist()) for k in range(first, count)
        ]
        if self.workers and tasks:
            batches = Workers(self._batch, min(self.workers, len(tasks)), self.prefetch, self.start_method).run(tasks)
        else:
            batches = map(self._batch, tasks)
        if not tasks:
            self.epoch, self._next = epoch + 1, 0
        for k, batch in enumerate(batches, first + 1):
            self.epoch, self._next = (epoch, k) if k < count else (epoch + 1, 0)
            yield batch

    def _batch(self, task: tuple[int, list[int]]) -> Any:
        epoch, indices = task
        batch = self.collate([self._sample(epoch, index) for index in indices])
        return (np.array(indices), batch) if self.has_indices else batch

    def _sample(self, epoch: int, index: int) -> Any:
        try:
            sample = self.dataset[index]
            if self.transform is None:
                return sample
            return self.transform(sample, Stream(f"augment/{epoch}/{index}", self.seed))
        except KinoneError as error:
            error.add_note(f"in sample {index}")
            raise
        except Exception as error:
            raise DataError("DataLoader", f"sample {index}", f"{type(error).__name__}: {error}") from error

    # ------------------------------------------------------------------------------ where it stands
    def state_dict(self) -> dict[str, int]:
        """Epoch, and the batch of it that comes next: plain numbers for a checkpoint."""
        return {"epoch": self.epoch, "batch": self._next, "seed": self.seed, "batch_size": self.batch_size,
                "samples": len(self.dataset)}  # fmt: skip

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where that state was taken; the data set, its order and the size of batches must be the same."""
        own = self.state_dict()
        other = [name for name in ("seed", "batch_size", "samples") if state.get(name) != own[name]]
        if state.keys() != own.keys() or other:
            got = ", ".join(f"{name}={state.get(name)!r}" for name in other) or f"the names {', '.join(state)}"
            raise StateError("DataLoader", f"a state of this loader ({own})", got)
        self.epoch, self._next, self._resumes = state["epoch"], state["batch"], True


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
