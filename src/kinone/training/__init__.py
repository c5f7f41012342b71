"""Training: fit and what belongs to it."""

from collections.abc import Callable
from typing import Any

from kinone.training.averaging import AverageWeights
from kinone.training.callbacks import Callback, EarlyStopping, TerminateOnNaN
from kinone.training.checkpointing import ModelCheckpoint
from kinone.training.evaluation import evaluate, predict, train_on_batch
from kinone.training.fit import Fit, fit
from kinone.training.gradcam import grad_cam
from kinone.training.history import History
from kinone.training.loggers import CSVLogger, MLflow, TensorBoard
from kinone.training.metrics import (
    Accuracy,
    BinaryAccuracy,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    TopK,
)
from kinone.training.progress import Progress
from kinone.training.schedules import Scheduling
from kinone.training.search import RateSearch, find_lr

__all__ = [
    "METHODS", "Accuracy", "AverageWeights", "BinaryAccuracy", "CSVLogger", "Callback", "EarlyStopping", "Fit",
    "History", "MLflow", "MeanAbsoluteError", "MeanSquaredError", "Metric", "ModelCheckpoint", "Progress",
    "RateSearch", "Scheduling", "TensorBoard", "TerminateOnNaN", "TopK", "evaluate", "find_lr", "fit", "grad_cam",
    "predict", "train_on_batch",
]  # fmt: skip

METHODS: dict[str, Callable[..., Any]] = {
    "fit": fit,
    "evaluate": evaluate,
    "predict": predict,
    "train_on_batch": train_on_batch,
}
"""What `kinone` puts on Module."""
