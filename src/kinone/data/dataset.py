"""Data sets: anything with a length whose items are asked for by number."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kinone.core.tensor import Tensor
from kinone.core.tree import flatten
from kinone.errors import ArgumentError, AxisError, ShapeError
from kinone.random import Stream


@runtime_checkable
class Dataset(Protocol):
    """What a loader asks of a data set; a list of samples is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Arrays:
    """Rows of arrays of one length: `Arrays(x, y)[i]` is (x[i], y[i]).

    >>> rows = Arrays(np.arange(6).reshape(3, 2), np.arange(3))
    >>> len(rows), rows[1]
    (3, (array([2, 3]), np.int64(1)))
    """

    def __init__(self, *arrays: Any) -> None:
        self.arrays = [array.data if isinstance(array, Tensor) else np.asarray(array) for array in arrays]
        lengths = [len(array) if array.ndim else None for array in self.arrays]
        if not arrays or len(set(lengths)) > 1 or None in lengths:
            raise ShapeError(
                "Arrays", "arrays of one length", f"lengths {', '.join(map(str, lengths)) or 'of nothing'}"
            )

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> Any:
        row = tuple(array[index] for array in self.arrays)
        return row if len(self.arrays) > 1 else row[0]


class Subset:
    """Some samples of a data set, in the order of `indices`.

    >>> list(Subset(["a", "b", "c"], [2, 0]))
    ['c', 'a']
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        outside = [i for i in indices if not 0 <= i < len(dataset)]
        if outside:
            raise AxisError("Subset", f"indices below {len(dataset)}", str(outside[0]))
        self.dataset, self.indices = dataset, list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]


class Joined:
    """Several data sets, one after the other.

    >>> list(Joined("ab", "c"))
    ['a', 'b', 'c']
    """

    def __init__(self, *datasets: Dataset) -> None:
        self.datasets = datasets
        self.ends = np.cumsum([len(dataset) for dataset in datasets]).tolist()

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = int(np.searchsorted(self.ends, index, side="right"))
        return self.datasets[which][index - (self.ends[which - 1] if which else 0)]


class Mapped:
    """A function of each sample: `Mapped(films, normalise)`.

    >>> list(Mapped([1, 2], lambda n: n * n))
    [1, 4]
    """

    def __init__(self, dataset: Dataset, function: Callable[[Any], Any]) -> None:
        self.dataset, self.function = dataset, function

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.function(self.dataset[index])


def random_split(dataset: Dataset, shares: Sequence[float | int], seed: int = 0) -> list[Subset]:
    """Disjoint subsets drawn at random: numbers of samples, or shares that add up to 1.

    >>> [len(part) for part in random_split(range(10), [0.7, 0.3])]
    [7, 3]
    """
    n = len(dataset)
    is_counts = all(isinstance(share, int) and not isinstance(share, bool) for share in shares)
    if min(shares, default=-1) < 0 or (sum(shares) != n if is_counts else abs(sum(shares) - 1) > 1e-9):
        raise ArgumentError(
            "random_split", f"shares that add up to 1, or counts that add up to {n}", repr(list(shares))
        )
    ends = np.cumsum(shares if is_counts else [share * n for share in shares])
    cuts = [0, *(int(end + 0.5) for end in ends)]
    order = Stream("split", seed).permutation(n).tolist()
    return [Subset(dataset, order[low:high]) for low, high in pairwise(cuts)]


def pos_weight(labels: Any) -> NDArray[np.float32]:
    """Negatives per positive of each column of 0 and 1, and 1 where one of both is missing.

    >>> pos_weight(np.array([[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]])).round(2)
    array([3.  , 1.  , 0.33], dtype=float32)
    """
    table = np.asarray(labels)
    if table.ndim not in (1, 2) or not np.isin(table, (0, 1)).all():
        raise ArgumentError("pos_weight", "labels 0 and 1, (N,) or (N, L)", f"{table.dtype} of shape {table.shape}")
    positives = table.sum(0, dtype=np.float64)
    both = (positives > 0) & (positives < len(table))
    return np.where(both, (len(table) - positives) / np.where(both, positives, 1), 1).astype(np.float32)


def collate(samples: Sequence[Any]) -> Any:
    """Samples of one structure as one batch: arrays are stacked, numbers become an array, other things a list.

    >>> collate([(np.ones(2), 3, "a"), (np.zeros(2), 4, "b")])
    (array([[1., 1.],
           [0., 0.]]), array([3, 4]), ['a', 'b'])
    """
    first, build = flatten(samples[0])
    columns: list[list[Any]] = [[] for _ in first]
    for sample in samples:
        leaves = flatten(sample)[0]
        if len(leaves) != len(first):
            raise ShapeError("collate", f"samples of {len(first)} parts, as the first has", f"one of {len(leaves)}")
        for column, leaf in zip(columns, leaves, strict=True):
            column.append(leaf)
    return build([_stacked(column) for column in columns])


def _stacked(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, bool | int | np.bool_ | np.integer):
        return np.array(parts)
    if isinstance(first, float):
        return np.array(parts, np.float32)
    if isinstance(first, np.ndarray | np.generic | Tensor | list):
        arrays = [part.data if isinstance(part, Tensor) else np.asarray(part) for part in parts]
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            got = " and ".join(map(str, sorted(shapes)[:3]))
            hint = "give the loader a collate function that pads them."
            raise ShapeError("collate", "samples of one shape", f"shapes {got}", hint=hint)
        return np.stack(arrays)
    return parts
