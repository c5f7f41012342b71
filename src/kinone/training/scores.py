"""How good a model is on a part of the films: loss, and the area under the ROC curve of each finding."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.modes import no_grad
from kinone.core.tensor import Tensor
from kinone.data import DataLoader
from kinone.nn.module import Module
from kinone.training.ranking import roc_auc
from kinone.training.shards import Tree
from kinone.training.step import modes_kept, scalar_loss


@dataclass(frozen=True)
class Answers:
    """What a model says of samples: logits and labels (N, classes), in their order, and its mean loss."""

    logits: NDArray[np.float32]
    labels: NDArray[np.float32]
    loss: float


def answers(
    model: Module, loader: DataLoader, loss: Callable[[Any, Any], Any] | None = None,
    tick: Callable[[int, int], Any] = lambda *_: None,
) -> Answers:  # fmt: skip
    """The model's answers in the mode of use; its modes are as before afterwards."""
    logits, labels, losses = [], [], Tree(lambda a, b: a + b)
    with modes_kept(model), no_grad():
        model.eval()
        for done, (x, y) in enumerate(loader, 1):
            prediction = model(Tensor(x))
            if loss is not None:
                losses.add(float(scalar_loss(loss, prediction, y).item()) * len(x))
            logits.append(prediction.data)
            labels.append(y)
            tick(done, len(loader))
    mean = losses.sum() / len(loader.dataset) if loss is not None else float("nan")
    return Answers(np.concatenate(logits), np.concatenate(labels), mean)


def figures(found: Answers, classes: tuple[str, ...]) -> dict[str, Any]:
    """{"loss", "auc": the mean over the findings for which it is defined (None: for none), "aucs": each}."""
    aucs = {name: roc_auc(found.labels[:, k], found.logits[:, k]) for k, name in enumerate(classes)}
    defined = [value for value in aucs.values() if value is not None]
    return {"loss": found.loss, "auc": sum(defined) / len(defined) if defined else None, "aucs": aucs}


def rank(metrics: dict[str, Any]) -> tuple[float, float]:
    """Larger is better: the mean AUC, and of equals the smaller loss."""
    return (-1.0 if metrics["auc"] is None else metrics["auc"], -metrics["loss"])
