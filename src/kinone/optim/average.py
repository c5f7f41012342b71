"""Averages of weights over the steps of a training: exponential (EMA), or of all that were added (SWA)."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.modes import no_grad
from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, StateError
from kinone.nn.module import Module
from kinone.optim.schedule import checked_number


class WeightAverage:
    """a ← decay·a + (1 − decay)·p after each `update()`; without decay, the mean of all the p there were (SWA).

    The averages begin as the first p. `applied()` puts them in place of the weights for a while, `copy_to` for good.
    Buffers (running statistics) stay the model's own unless `use_buffers` averages the floating ones too; after
    `copy_to`, `update_batch_norm` computes them anew.

    >>> from kinone import nn
    >>> model = nn.Module.build(lambda x, w: x * w, w=4.0)
    >>> average = WeightAverage(model, decay=0.75)
    >>> average.update()
    >>> with no_grad(): model.w.data[...] = 8.0
    >>> average.update()
    >>> with average.applied(): model(1.0).item()
    5.0
    >>> model(1.0).item()
    8.0
    """

    def __init__(self, model: Module, decay: float | None = None, use_buffers: bool = False) -> None:
        if not isinstance(model, Module):
            raise ArgumentError("WeightAverage", "a Module", f"a {type(model).__name__}")
        self.model, self.use_buffers = model, use_buffers
        self.decay = None if decay is None else checked_number("WeightAverage", "decay", decay, 0.0, 1.0)
        self.count = 0  # of updates so far
        self.averages: dict[str, Any] = {}

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = dict(self.model.named_parameters())
        if self.use_buffers:
            tensors |= {name: b for name, b in self.model.named_buffers() if b.dtype.kind == "f"}
        return tensors

    def update(self) -> None:
        """Take in the weights as they are now."""
        tensors = self._tensors()
        if not self.count:
            self.averages = {name: tensor.data.copy() for name, tensor in tensors.items()}
        else:
            self._check(tensors, "update")
            decay = self.count / (self.count + 1) if self.decay is None else self.decay
            kernels.ema_update([self.averages[name] for name in tensors], [t.data for t in tensors.values()], decay)
        self.count += 1

    def _check(self, tensors: Mapping[str, Tensor], where: str) -> None:
        own = {name: average.shape for name, average in self.averages.items()}
        now = {name: tensor.shape for name, tensor in tensors.items()}
        if own != now:
            names = ", ".join(sorted(name for name in {*own, *now} if own.get(name) != now.get(name)))
            raise StateError(f"WeightAverage.{where}", "the parameters that were averaged so far", f"others: {names}")

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averages while the block runs; before the first update, its own weights."""
        tensors = self._tensors() if self.count else {}
        if tensors:
            self._check(tensors, "applied")
        own = {name: tensor.data for name, tensor in tensors.items()}
        try:
            for name, tensor in tensors.items():
                tensor.data = self.averages[name].astype(tensor.dtype, copy=False)
            yield
        finally:
            for name, tensor in tensors.items():
                tensor.data = own[name]

    def copy_to(self, model: Module | None = None) -> None:
        """Give the averages to the model (or another of the same kind) for good."""
        if not self.count:
            raise StateError("WeightAverage.copy_to", "at least one update", "none")
        target = self.model if model is None else model
        known: dict[str, Tensor] = {**dict(target.named_parameters()), **dict(target.named_buffers())}
        tensors = {name: known[name] for name in self.averages if name in known}
        self._check(tensors, "copy_to")
        for name, tensor in tensors.items():
            tensor.data = self.averages[name].astype(tensor.dtype)

    def state_dict(self) -> dict[str, Any]:
        """The averages (the object's own arrays, which the next update changes), and how many updates there were."""
        return {"count": self.count, "averages": dict(self.averages)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict()` with the same bits."""
        if not isinstance(state, Mapping) or not {"count", "averages"} <= state.keys():
            raise StateError("WeightAverage", "a state with count and averages", f"{list(state)}")
        given = {
            name: np.array(getattr(a, "data", a) if isinstance(a, Tensor) else a)
            for name, a in state["averages"].items()
        }
        before, self.averages = self.averages, given
        try:
            if state["count"]:
                self._check(self._tensors(), "load_state_dict")
        except StateError:
            self.averages = before
            raise
        self.count = int(state["count"])


def update_batch_norm(model: Module, batches: Iterable[Any]) -> None:
    """Compute the running statistics of all batch norms anew, as the plain mean over these batches.

    A batch is x, or a tuple whose first part is. The model runs in training mode, without gradients, and is left in the
    mode that it had.
    """
    norms: list[Any] = [m for m in model.modules() if isinstance(getattr(m, "running_mean", None), Tensor)]
    if not norms:
        return
    modes, momenta = [(m, m.training) for m in model.modules()], [(m, m.momentum) for m in norms]
    try:
        model.train()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        count = 0
        with no_grad():
            for batch in batches:
                model(batch[0] if isinstance(batch, tuple | list) else batch)
                count += 1
        if not count:
            raise ArgumentError("update_batch_norm", "at least one batch", "none")
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
        for module, mode in modes:
            module.training = mode
