"""A step's gradients, shard by shard, so that any number of workers gives the same bits.

A batch is cut into S shards in its order. Each has its own gradients and its own batch-norm statistics; what belongs
together is added in a binary tree over the number of the shard, ((0 + 1) + (2 + 3)) + …, whoever computed it. What
layers draw in a shard depends on the seed, the step and the shard alone. One process takes one shard after the other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from kinone import random
from kinone.core.tensor import Tensor, wrap
from kinone.errors import ArgumentError
from kinone.nn.module import Module
from kinone.optim.clip import norm_of
from kinone.training.step import scalar_loss

Part = TypeVar("Part")


class Tree:
    """Σ of parts that come one by one, in a fixed binary tree, with as few of them at a time as the tree is deep.

    >>> tree = Tree(lambda a, b: f"({a}+{b})")
    >>> for part in "01234": tree.add(part)
    >>> tree.sum()
    '(((0+1)+(2+3))+4)'
    """

    def __init__(self, plus: Callable[[Any, Any], Any]) -> None:
        self.plus = plus
        self.waiting: list[tuple[int, Any]] = []  # height of a finished tree, and its sum

    def add(self, part: Any) -> None:
        """The next part."""
        height = 0
        while self.waiting and self.waiting[-1][0] == height:
            part, height = self.plus(self.waiting.pop()[1], part), height + 1
        self.waiting.append((height, part))

    def sum(self) -> Any:
        """Of all that came."""
        _, total = self.waiting.pop()
        while self.waiting:
            total = self.plus(self.waiting.pop()[1], total)
        return total


class Shard(NamedTuple):
    """What comes of a shard: its loss, gradients (None where there is none) and new buffers, times its share."""

    loss: float
    gradients: list[Any]
    buffers: list[Any]


class Gradients(NamedTuple):
    """Of a whole batch; the gradients themselves are in the parameters."""

    loss: float
    norm: float


class Shards:
    """Takes the gradients of `loss(model(x), y)`, whose mean over the batch is that over the shards by their sizes."""

    def __init__(self, model: Module, loss: Callable[[Any, Any], Any], count: int, seed: int) -> None:
        if count < 1:
            raise ArgumentError("shards", "at least one", str(count))
        self.model, self.loss, self.count, self.seed = model, loss, count, seed
        self.parameters = list(model.parameters())
        self.buffers = list(model.buffers())

    def gradients(self, x: Any, y: Any, step: int) -> Gradients:
        """Leave the batch's gradients in the parameters and its statistics in the buffers."""
        before = [buffer.data for buffer in self.buffers]
        tree = Tree(_plus)
        for number, rows in enumerate(np.array_split(np.arange(len(x)), min(self.count, len(x)))):
            for buffer, array in zip(self.buffers, before, strict=True):
                buffer.data = array
            low, high = int(rows[0]), int(rows[-1]) + 1
            tree.add(self.shard(x[low:high], y[low:high], (high - low) / len(x), step, number))
        total: Shard = tree.sum()
        for buffer, array in zip(self.buffers, total.buffers, strict=True):
            buffer.data = array
        for parameter, gradient in zip(self.parameters, total.gradients, strict=True):
            parameter.grad = None if gradient is None else wrap(gradient)
        return Gradients(total.loss, norm_of([g for g in total.gradients if g is not None]))

    def shard(self, x: Any, y: Any, share: float, step: int, number: int) -> Shard:
        """One shard, which counts `share` in the whole."""
        random.seed(seed_of(self.seed, step, number))
        for parameter in self.parameters:
            parameter.grad = None
        loss = scalar_loss(self.loss, self.model(Tensor(x)), y)
        loss.backward() if share == 1.0 else loss.backward(np.full(loss.shape, share, loss.dtype))
        gradients = [None if p.grad is None else p.grad.data for p in self.parameters]
        return Shard(float(loss.item()) * share, gradients, [_part(b.data, share, number) for b in self.buffers])


def seed_of(seed: int, step: int, shard: int) -> int:
    """The seed of all that layers draw in a shard.

    >>> seed_of(0, 1, 0) == seed_of(0, 1, 0), seed_of(0, 1, 0) == seed_of(0, 1, 1)
    (True, False)
    """
    high, low = random.Stream(f"shard/{shard}", seed).integers(2, low=0, high=1 << 31, step=step).tolist()
    return high << 31 | low


def _part(array: Any, share: float, number: int) -> Any:
    """A floating buffer counts by its share; others (numbers of batches) are those of the first shard."""
    if share == 1.0:
        return array
    if array.dtype.kind != "f":
        return array if number == 0 else None
    return array * array.dtype.type(share)


def _plus(a: Shard, b: Shard) -> Shard:
    return Shard(a.loss + b.loss, list(map(_sum, a.gradients, b.gradients)), list(map(_sum, a.buffers, b.buffers)))


def _sum(a: Any, b: Any) -> Any:
    return a if b is None else b if a is None else a + b
