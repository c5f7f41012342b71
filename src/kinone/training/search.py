"""A learning rate, found by trying all of them once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone import random
from kinone.errors import ArgumentError
from kinone.inspection.chart import Panel, chart
from kinone.inspection.curve import Series
from kinone.optim.optimizer import Optimizer
from kinone.optim.schedule import checked_count, checked_number, power
from kinone.training.batches import Batch, Source, source_of
from kinone.training.step import Step, modes_kept

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RateSearch:
    """The loss at each learning rate, as it was and smoothed; `suggestion` is where it fell the fastest.

    None is suggested if the loss did not fall.
    """

    rates: Floats
    losses: Floats
    smoothed: Floats
    suggestion: float | None

    def plot(self, path: str | Path | None = None) -> str:
        """The curve over the rates as SVG, with a mark at the suggestion; written to the file if there is one."""
        series = (Series("loss", self.rates, self.losses), Series("smoothed", self.rates, self.smoothed))
        marks = () if self.suggestion is None else ((self.suggestion, f"suggestion {self.suggestion:.2g}"),)
        low, start = float(self.smoothed.min()), float(self.smoothed[: len(self.smoothed) // 4 + 1].max())
        top = start + (start - low)  # how it exploded is not the question
        panel = Panel("learning rate search", "learning rate", series, is_log_x=True, marks=marks, top=top)
        picture = chart([panel], "search")
        if path is not None:
            Path(path).write_text(picture, encoding="utf-8")
        return picture

    def _repr_html_(self) -> str:
        return self.plot()

    def __repr__(self) -> str:
        found = "no suggestion" if self.suggestion is None else f"suggestion {self.suggestion:.3g}"
        return f"RateSearch({found} from {len(self.rates)} rates up to {self.rates[-1]:.3g})"


def find_lr(
    model: Any, data: Any, *, loss: Callable[[Any, Any], Any], optimizer: Optimizer, low: float = 1e-7,
    high: float = 10.0, steps: int = 100, batch_size: int = 32, smooth: float = 0.9, diverged: float = 4.0,
) -> RateSearch:  # fmt: skip
    """Train for `steps` batches while the rate grows from low to high, lrₖ = low·(high/low)^(k/(steps − 1)).

    It ends early when the loss, smoothed with `smooth`, is more than `diverged` times its best. Afterwards model,
    optimizer and random streams are exactly as they were. `data` is what `fit` takes; it begins again when it ends.

    >>> import numpy as np, kinone as kn
    >>> from kinone import nn, optim
    >>> kn.random.seed(0)
    >>> model = nn.Linear(3, 1)
    >>> x = kn.random.stream("data").normal((64, 3))
    >>> found = find_lr(model, (x, x.sum(1, keepdims=True)), loss=lambda p, y: ((p - y) ** 2).mean(),
    ...                 optimizer=optim.SGD(model))
    >>> 0.01 < found.suggestion < 1
    True
    """
    where = "find_lr"
    checked_count(where, "steps", steps, 3)
    checked_number(where, "smooth", smooth, 0.0, 1.0)
    if not (0 < low < high) or not isfinite(high):
        raise ArgumentError(where, "0 < low < high", f"low={low}, high={high}")
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(
            where, "an optimizer of Kinone, whose state can be put back", f"a {type(optimizer).__name__}"
        )
    source = source_of(where, data, batch_size=batch_size, shuffle=True, epochs=2)
    step = Step(model, loss, optimizer)
    rates = np.array([low * power(high / low, k / (steps - 1)) for k in range(steps)])
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    with _restored(model, optimizer, data), modes_kept(model):
        model.train(True)
        for k, batch in zip(range(steps), _endless(source), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = float(rates[k])
            value = step.gradients(batch)
            if not isfinite(value):
                break
            average = smooth * average + (1 - smooth) * value
            losses.append(value)
            smoothed.append(average / (1 - smooth ** (k + 1)) if smooth < 1 else value)
            if k > steps // 20 and smoothed[-1] > diverged * min(smoothed):
                break
            step.apply()
    if len(losses) < 3:
        raise ArgumentError(
            where, "a loss that is finite at three rates at least", f"{len(losses)}", hint="begin lower."
        )
    tried = rates[: len(losses)]
    return RateSearch(tried, np.array(losses), np.array(smoothed), _steepest(tried, np.array(smoothed)))


def _steepest(rates: Floats, smoothed: Floats) -> float | None:
    """The middle of the stretch, an eighth of all rates, over which the loss fell the most before its smallest.

    The first tenth, in which the smoothed loss is hardly smoothed yet, does not count, nor does a fall of a hundredth.
    """
    first, width = len(smoothed) // 10, max(len(smoothed) // 8, 2)
    end = first + int(smoothed[first:].argmin())
    if smoothed[first] - smoothed[end] <= 0.01 * abs(smoothed[first]):
        return None
    if end - width <= first:
        return float(rates[(first + end) // 2])
    falls = smoothed[first : end - width + 1] - smoothed[first + width : end + 1]
    return float(rates[first + int(falls.argmax()) + width // 2])


def _endless(source: Source) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from source.epoch(epoch)
        epoch += 1


@contextmanager
def _restored(model: Any, optimizer: Optimizer, data: Any) -> Iterator[None]:
    """Model, optimizer, gradients, streams and a loader's place, as they were before."""
    tensors = [*model.parameters(), *(model.buffers() if hasattr(model, "buffers") else ())]
    arrays = [(tensor, tensor.data, tensor.data.copy()) for tensor in tensors]
    grads = [(p, p.grad) for p in model.parameters()]
    state = deepcopy(optimizer.state_dict())
    slots = [(slot, slot.step, slot.arrays) for slot in optimizer.slots]
    options = [(group, dict(group)) for group in optimizer.param_groups]
    streams = random.snapshot()
    place = data.state_dict() if hasattr(data, "state_dict") and hasattr(data, "load_state_dict") else None
    try:
        yield
    finally:
        for tensor, array, values in arrays:
            if array.flags.writeable:  # otherwise the optimizer has put another in its place
                array[...] = values
            tensor.data = array
        for parameter, gradient in grads:
            if parameter.grad is not gradient:
                parameter.grad = gradient
        for number, (slot, made, before) in enumerate(slots):
            slot.step, slot.arrays = made, before
            for name, values in state["state"].get(str(number), {}).items():
                before[name][...] = values
        for group, before in options:
            group.clear()
            group.update(before)
        random.restore(streams)
        if place is not None:
            data.load_state_dict(place)
