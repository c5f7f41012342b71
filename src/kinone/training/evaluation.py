"""evaluate, predict and train_on_batch."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from kinone.core.modes import no_grad
from kinone.errors import ArgumentError
from kinone.nn.contracts import ModuleLike
from kinone.training.batches import Batch, source_of
from kinone.training.metrics import metrics_of
from kinone.training.step import Mean, Step, modes_kept, plain, scalar_loss


def figures(
    model: Any, batches: Iterable[Batch], loss: Callable[[Any, Any], Any] | None, metrics: Any
) -> dict[str, float]:
    """Loss and metrics over these batches, in the mode of use and without gradients."""
    mean = Mean()
    for metric in metrics:
        metric.reset()
    with modes_kept(model), no_grad():
        model.train(False)
        for batch in batches:
            prediction = model(*batch.inputs)
            if loss is not None:
                mean.add(float(scalar_loss(loss, prediction, batch.target).item()), batch.size)
            for metric in metrics:
                metric.update(plain(prediction), plain(batch.target))
    found = {metric.name: metric.compute() for metric in metrics}
    return found if loss is None else {"loss": mean.value, **found}


def evaluate(
    model: Any, data: Any, *, loss: Callable[[Any, Any], Any] | None = None, metrics: Any = (), batch_size: int = 32
) -> dict[str, float]:
    """{"loss": Σ loss·n / Σ n over the batches, and each metric}: in evaluation mode, without gradients.

    `data` and `metrics` are what `fit` takes.

    >>> import numpy as np
    >>> from kinone import nn
    >>> model = nn.Module.build(lambda x, w: x * w, w=2.0)
    >>> evaluate(model, (np.ones(5, np.float32), np.zeros(5, np.float32)), metrics="mse", batch_size=2)
    {'mse': 4.0}
    """
    _check("evaluate", model)
    made = metrics_of("evaluate", metrics)
    if loss is None and not made:
        raise ArgumentError("evaluate", "a loss or metrics", "neither")
    return figures(model, source_of("evaluate", data, batch_size=batch_size).epoch(0), loss, made)


def predict(model: Any, x: Any, batch_size: int = 32) -> Any:
    """The model's outputs for all of x as one array (a tuple of arrays if it has several), in evaluation mode.

    `x` is an array, a tuple of arrays (so many inputs), a data set, or batches; of samples and batches (x, y) it is x.

    >>> import numpy as np
    >>> from kinone import nn
    >>> predict(nn.Module.build(lambda x, w: x * w, w=2.0), np.arange(5, dtype=np.float32), batch_size=2)
    array([0., 2., 4., 6., 8.], dtype=float32)
    """
    _check("predict", model)
    parts: list[Any] = []
    with modes_kept(model), no_grad():
        model.train(False)
        for batch in source_of("predict", x, batch_size=batch_size, has_target=False).epoch(0):
            parts.append(plain(model(*batch.inputs)))
    if isinstance(parts[0], tuple | list):
        return tuple(np.concatenate(some) for some in zip(*parts, strict=True))
    return np.concatenate(parts)


def train_on_batch(
    model: Any, x: Any, y: Any, *, loss: Callable[[Any, Any], Any], optimizer: Any, metrics: Any = (),
    clip_norm: float | None = None, clip_value: float | None = None,
) -> dict[str, float]:  # fmt: skip
    """One step on one batch; {"loss": …, and each metric} as they were before it. `x` may be a tuple of inputs."""
    _check("train_on_batch", model)
    made = metrics_of("train_on_batch", metrics)
    step = Step(model, loss, optimizer, clip_norm=clip_norm, clip_value=clip_value, metrics=made)
    batch = next(source_of("train_on_batch", [(x, y)]).epoch(0))
    with modes_kept(model):
        model.train(True)
        found = {"loss": step.gradients(batch)}
        step.apply()
    return found | {metric.name: metric.compute() for metric in made}


def _check(where: str, model: Any) -> None:
    if not isinstance(model, ModuleLike):
        got = f"a {type(model).__name__}"
        raise ArgumentError(where, "a model with __call__, parameters() and train()", got)
