"""Metrics: figures that are collected batch by batch, and are exact however uneven the batches are."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, ShapeError
from kinone.nn.contracts import MetricLike

Array = NDArray[Any]


class Metric:
    """Σ values / number of values, over all batches since `reset`. Subclasses say in `values` what is averaged."""

    name = "metric"
    mode = "max"  # which of two is better

    def __init__(self, name: str | None = None) -> None:
        self.name = type(self).name if name is None else name
        self.reset()

    def reset(self) -> None:
        """Begin again."""
        self.total, self.count = 0.0, 0

    def update(self, prediction: Any, target: Any) -> None:
        """Take a batch in."""
        values = self.values(as_plain(prediction), as_plain(target))
        self.total += float(values.sum(dtype=np.float64))
        self.count += values.size

    def values(self, prediction: Array, target: Array) -> Array:
        """What is averaged: an array with any number of elements."""
        raise NotImplementedError(f"{type(self).__name__} defines no values(self, prediction, target)")

    def compute(self) -> float:
        """The figure; NaN if there was nothing."""
        return self.total / self.count if self.count else float("nan")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}={self.compute():.4g} over {self.count})"


class Accuracy(Metric):
    """The part of samples whose largest score is that of their class: prediction (N, C, …), target (N, …) of classes.

    Targets of the prediction's shape (one-hot, soft) stand for their largest element.

    >>> m = Accuracy()
    >>> m.update(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1])); m.compute()
    0.5
    """

    name = "accuracy"

    def values(self, prediction: Array, target: Array) -> Array:
        scores = _scores("Accuracy", prediction, target)
        wanted = target if target.ndim < prediction.ndim else target.argmax(1)
        return scores.argmax(1) == wanted


class TopK(Metric):
    """The part of samples whose class is among their k largest scores. Of equal scores, the first are larger.

    >>> m = TopK(2)
    >>> m.update(np.array([[0.1, 0.6, 0.3], [0.1, 0.2, 0.7]]), np.array([2, 0])); m.name, m.compute()
    ('top2', 0.5)
    """

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise ArgumentError("TopK", "k, a whole number from 1 on", repr(k))
        self.k = k
        super().__init__(f"top{k}" if name is None else name)

    def values(self, prediction: Array, target: Array) -> Array:
        scores = np.moveaxis(_scores("TopK", prediction, target), 1, -1)
        wanted = (target if target.ndim < prediction.ndim else target.argmax(1))[..., None]
        if self.k > scores.shape[-1]:
            raise ArgumentError("TopK", f"k up to the {scores.shape[-1]} classes", str(self.k))
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < scores.shape[-1]):
            raise ArgumentError("TopK", f"classes from 0 to {scores.shape[-1] - 1}", str(wanted.max()))
        own = np.take_along_axis(scores, wanted.astype(np.int64), -1)
        is_before = (scores > own) | ((scores == own) & (np.arange(scores.shape[-1]) < wanted))
        return is_before.sum(-1) < self.k


class BinaryAccuracy(Metric):
    """The part of elements on the right side: prediction > threshold where the target is 1 (> ½), not where it is 0.

    `threshold` is 0 for logits, which is the default; 0.5 for probabilities.

    >>> m = BinaryAccuracy()
    >>> m.update(np.array([2.0, -1.0, 0.5]), np.array([1, 0, 0])); round(m.compute(), 4)
    0.6667
    """

    name = "binary_accuracy"

    def __init__(self, threshold: float = 0.0, name: str | None = None) -> None:
        self.threshold = threshold
        super().__init__(name)

    def values(self, prediction: Array, target: Array) -> Array:
        return (prediction > self.threshold) == (_alike("BinaryAccuracy", prediction, target) > 0.5)


class MeanAbsoluteError(Metric):
    """Σ |prediction − target| / number of elements.

    >>> m = MeanAbsoluteError()
    >>> m.update(np.array([1.0, 2.0]), np.array([1.0, 5.0])); m.compute()
    1.5
    """

    name, mode = "mean_absolute_error", "min"

    def values(self, prediction: Array, target: Array) -> Array:
        return np.abs(prediction.astype(np.float64) - _alike("MeanAbsoluteError", prediction, target))


class MeanSquaredError(Metric):
    """Σ (prediction − target)² / number of elements."""

    name, mode = "mean_squared_error", "min"

    def values(self, prediction: Array, target: Array) -> Array:
        return (prediction.astype(np.float64) - _alike("MeanSquaredError", prediction, target)) ** 2


class Averaged(Metric):
    """A function of (prediction, target), averaged over the batches by their number of samples."""

    mode = ""

    def __init__(self, f: Callable[[Any, Any], Any], name: str) -> None:
        self.f = f
        super().__init__(name)

    def update(self, prediction: Any, target: Any) -> None:
        prediction, target = as_plain(prediction), as_plain(target)
        value = self.f(prediction, target)
        array = np.asarray(value.data if isinstance(value, Tensor) else value)
        if array.size != 1:
            raise ShapeError(
                f"metric {self.name}", "one number for a batch", f"shape {array.shape}", hint="take its mean."
            )
        n = len(target) if np.ndim(target) else 1
        self.total, self.count = self.total + float(array) * n, self.count + n


NAMED: dict[str, Callable[[], Metric]] = {
    "accuracy": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "top5": TopK,
    "mean_absolute_error": MeanAbsoluteError,
    "mae": lambda: MeanAbsoluteError("mae"),
    "mean_squared_error": MeanSquaredError,
    "mse": lambda: MeanSquaredError("mse"),
}


def metrics_of(where: str, given: Any) -> list[Any]:
    """Metrics from what a person gave: metrics, their names ("accuracy"), functions, or {name: function}."""
    pairs: list[tuple[str | None, Any]]
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif isinstance(given, Iterable) and not isinstance(given, str):
        pairs = [(None, part) for part in given]
    else:
        pairs = [(None, given)]
    found = [_metric(where, name, part) for name, part in pairs]
    names = ["loss", "lr", *(metric.name for metric in found)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ArgumentError(where, "metrics with different names, none of them loss or lr", f"{twice} twice")
    return found


def _metric(where: str, name: str | None, part: Any) -> Any:
    if isinstance(part, str):
        if part not in NAMED:
            raise ArgumentError(where, f"a metric among {', '.join(NAMED)}", repr(part))
        return NAMED[part]()
    if isinstance(part, type):
        raise ArgumentError(where, "a metric", f"the class {part.__name__}", hint=f"{part.__name__}() makes one.")
    if all(callable(getattr(part, method, None)) for method in ("reset", "update", "compute")):
        if not isinstance(part, MetricLike) or not isinstance(part.name, str) or not part.name:
            raise ArgumentError(where, "a metric with a name", f"a {type(part).__name__} without one")
        return part
    if not callable(part):
        raise ArgumentError(where, "a metric: an object, a name or a function", f"a {type(part).__name__}")
    name = getattr(part, "__name__", "") if name is None else name
    if not name or name == "<lambda>":
        raise ArgumentError(where, "a metric with a name", "a function without one", hint='metrics={"name": function}.')
    return Averaged(part, name)


def as_plain(value: Any) -> Any:
    """The array of a Tensor, those of a tuple; anything else as it is."""
    if isinstance(value, tuple | list):
        return type(value)(as_plain(part) for part in value)
    return value.data if isinstance(value, Tensor) else value


def _alike(where: str, prediction: Array, target: Any) -> Array:
    target = np.asarray(target)
    if prediction.shape != target.shape:
        got = f"prediction {prediction.shape} and target {target.shape}"
        raise ShapeError(where, "prediction and target of one shape", got)
    return target


def _scores(where: str, prediction: Array, target: Array) -> Array:
    fits = prediction.ndim >= 2 and target.shape in (prediction.shape, prediction.shape[:1] + prediction.shape[2:])
    if not fits:
        hint = (
            "BinaryAccuracy is for one score per sample."
            if prediction.ndim < 2 or prediction.shape[1:2] == (1,)
            else ""
        )
        got = f"prediction {prediction.shape} and target {target.shape}"
        raise ShapeError(where, "scores (N, C, …) and classes (N, …)", got, hint=hint)
    return prediction
