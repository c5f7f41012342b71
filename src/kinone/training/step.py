"""One training step: gradients of a batch's loss, clipping, and the optimizer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from kinone.core.tensor import Tensor, wrap
from kinone.errors import ArgumentError, GraphError, ShapeError
from kinone.nn.contracts import TensorLike
from kinone.optim.clip import clip_factor, clip_grad_value_, listed, norm_of
from kinone.optim.optimizer import Optimizer
from kinone.optim.schedule import checked_number
from kinone.training.batches import Batch
from kinone.training.metrics import Metric


class Mean:
    """The mean of numbers that count with weights; NaN of nothing."""

    def __init__(self) -> None:
        self.total, self.weight = 0.0, 0

    def add(self, value: float, weight: int) -> None:
        """Take one in."""
        self.total, self.weight = self.total + value * weight, self.weight + weight

    @property
    def value(self) -> float:
        """So far."""
        return self.total / self.weight if self.weight else float("nan")


class Step:
    """zero_grad, forward, loss, backward (`gradients`, of one or several batches); clip, step (`apply`).

    Batches that are accumulated count by their samples: the gradient is that of the mean over all of them, also if the
    last is smaller. The gradients of a loss with reduction="sum" are added up.
    """

    def __init__(
        self, model: Any, loss: Callable[[Any, Any], Any], optimizer: Any, *, clip_norm: float | None = None,
        clip_value: float | None = None, metrics: Sequence[Any] = (),
    ) -> None:  # fmt: skip
        self.model, self.loss, self.optimizer, self.metrics = model, loss, optimizer, list(metrics)
        self.clip_norm = None if clip_norm is None else checked_number("fit", "clip_norm", clip_norm)
        self.clip_value = None if clip_value is None else checked_number("fit", "clip_value", clip_value)
        self.is_summed = getattr(loss, "reduction", "mean") == "sum"
        self.has_checked = False
        self.begin()

    def begin(self) -> None:
        """Forget what was gathered: a new epoch."""
        self.sizes: list[int] = []
        self._parameters: list[Any] = []
        for metric in self.metrics:
            metric.reset()

    def parameters(self) -> list[Any]:
        """Those of the model, looked for once in an epoch: in a deep model that takes a while."""
        if not self._parameters:
            self._parameters = list(self.model.parameters())
        return self._parameters

    def gradients(self, batch: Batch) -> float:
        """Add the gradients of this batch to those that wait for `apply`; returns its loss."""
        if not self.sizes:
            self.optimizer.zero_grad()
        prediction = self.model(*batch.inputs)
        loss = scalar_loss(self.loss, prediction, batch.target)
        if not getattr(loss, "requires_grad", True):
            hint = "compute it with Kinone's operators from the prediction, outside no_grad()."
            raise GraphError("fit", "a loss that depends on the parameters", "one without gradients", hint=hint)
        value = float(loss.item())
        if not self.sizes or self.is_summed or batch.size == self.sizes[0]:
            loss.backward()
        else:
            loss.backward(np.full(loss.shape, batch.size / self.sizes[0]))
        self.sizes.append(batch.size)
        for metric in self.metrics:
            metric.update(plain(prediction), plain(batch.target))
        return value

    def apply(self) -> None:
        """Clip the gradients as they would be for the mean, and let the optimizer make its step."""
        scale = 1.0 if self.is_summed else self.sizes[0] / sum(self.sizes)
        self.sizes = []
        if not self.has_checked:
            self._check()
        if self.clip_value is not None:
            self._scale(scale)
            scale = 1.0
            clip_grad_value_(self.parameters(), self.clip_value)
        if self.clip_norm is not None:
            norm = norm_of([p.grad.data for p in listed("fit", self.parameters())])
            scale *= clip_factor(norm * scale, self.clip_norm)
        if isinstance(self.optimizer, Optimizer):
            self.optimizer.step(scale)
        else:
            self._scale(scale)
            self.optimizer.step()

    def figures(self, is_over: bool) -> dict[str, float]:
        """The metrics so far: Kinone's, which are means, at any time; others once the epoch `is_over`."""
        return {m.name: m.compute() for m in self.metrics if is_over or isinstance(m, Metric)}

    def _scale(self, scale: float) -> None:
        if scale != 1.0:
            for p in listed("fit", self.parameters()):
                p.grad = wrap(p.grad.data * p.grad.data.dtype.type(scale))

    def _check(self) -> None:
        """Once, when all parameters exist: the optimizer learns some of this model."""
        self.has_checked = True
        groups = getattr(self.optimizer, "param_groups", None)
        own = {id(p) for p in self.parameters()}
        if groups is not None and not any(id(p) in own for group in groups for p in group["params"]):
            hint = "make the optimizer from this model: optim.Adam(model)."
            raise ArgumentError(
                "fit", "an optimizer of the model's parameters", "one that learns none of them", hint=hint
            )


def scalar_loss(loss: Callable[[Any, Any], Any], prediction: Any, target: Any) -> Any:
    """loss(prediction, target), which must be one number with a graph."""
    value = loss(prediction, target)
    if not isinstance(value, (Tensor, TensorLike)):  # in this order: to look for the members takes longer
        got = f"a {type(value).__name__}"
        raise ArgumentError("fit", "a loss that gives a Tensor", got, hint="compute it with Kinone's operators.")
    if any(n != 1 for n in value.shape):
        raise ShapeError("fit", "a loss that is one number", f"shape {tuple(value.shape)}", hint="take its mean().")
    return value


def plain(value: Any) -> Any:
    """The arrays behind Tensors."""
    if isinstance(value, tuple | list):
        return type(value)(plain(part) for part in value)
    return value if isinstance(value, np.ndarray) else getattr(value, "data", value)


@contextmanager
def modes_kept(model: Any) -> Iterator[None]:
    """Whatever happens inside, each module is in training mode afterwards if it was before."""
    if not callable(getattr(model, "modules", None)):
        before = bool(getattr(model, "training", True))
        try:
            yield
        finally:
            model.train(before)
        return
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
