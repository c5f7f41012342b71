"""How well scores tell yes from no: ROC and precision-recall, operating points, calibration, intervals.

What the data does not define (the area under a curve without a positive, a precision without a call) is None, never
a number. Values are those of scikit-learn where it has them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, ShapeError
from kinone.random import Stream

Numbers = NDArray[np.float64]
_CELLS = 1 << 20  # of a table of weights that is made in one go


def checked(where: str, truth: Any, scores: Any) -> tuple[NDArray[np.bool_], Numbers]:
    """Truth as booleans and scores as finite numbers, of one length."""
    y, s = (value.data if isinstance(value, Tensor) else np.asarray(value) for value in (truth, scores))
    s = s.astype(np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise ShapeError(where, "truth (N,) and scores (N,)", f"shapes {y.shape} and {s.shape}")
    if not np.isin(y, (0, 1)).all():
        raise ArgumentError(where, "a truth of 0 and 1", f"{next(v for v in y.tolist() if v not in (0, 1))!r}")
    if not np.isfinite(s).all():
        raise ArgumentError(where, "finite scores", f"{s[~np.isfinite(s)][0]!r} for sample {np.argmin(np.isfinite(s))}")
    return y.astype(bool), s


# ------------------------------------------------------------------------------ over all thresholds
def _steps(y: NDArray[np.bool_], s: Numbers) -> tuple[Numbers, NDArray[np.int64], NDArray[np.int64]]:
    """Each score that occurs, from the highest; the positives and negatives that score at least as much."""
    order = np.argsort(-s, kind="stable")
    s, y = s[order], y[order]
    last = np.flatnonzero(np.append(s[1:] != s[:-1], [True])[: len(s)])
    positives = np.cumsum(y, dtype=np.int64)[last]
    return s[last], positives, last + 1 - positives


def roc_auc(truth: Any, scores: Any) -> float | None:
    """The chance that a positive scores higher than a negative, ties counting one half; None without both.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), roc_auc([1, 1], [0.2, 0.3])
    (0.75, None)
    """
    y, s = checked("roc_auc", truth, scores)
    _, positives, negatives = _steps(y, s)
    if not len(y) or not positives[-1] or not negatives[-1]:
        return None
    more = np.diff(positives, prepend=0)  # positives at each score; those above it have won against its negatives
    below = negatives[-1] - negatives
    ties = np.diff(negatives, prepend=0)
    return int((more * (2 * below + ties)).sum()) / (2 * int(positives[-1]) * int(negatives[-1]))


def average_precision(truth: Any, scores: Any) -> float | None:
    """Σ (Rₖ − Rₖ₋₁)·Pₖ over the thresholds, the area under precision and recall; None without a positive.

    >>> average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.8333333333333333
    """
    y, s = checked("average_precision", truth, scores)
    _, positives, negatives = _steps(y, s)
    if not len(y) or not positives[-1]:
        return None
    precision = positives / (positives + negatives)
    return float((np.diff(positives, prepend=0) / positives[-1] * precision).sum())


@dataclass(frozen=True)
class Curve:
    """Points of a curve from the highest threshold to the lowest; where the first is infinite, nothing is called."""

    x: Numbers
    y: Numbers
    thresholds: Numbers


def roc_curve(truth: Any, scores: Any) -> Curve | None:
    """x: 1 − specificity, y: sensitivity; None without both classes.

    >>> roc_curve([0, 1], [0.2, 0.7]).y.tolist()
    [0.0, 1.0, 1.0]
    """
    y, s = checked("roc_curve", truth, scores)
    thresholds, positives, negatives = _steps(y, s)
    if not len(y) or not positives[-1] or not negatives[-1]:
        return None
    return Curve(np.append(0.0, negatives / negatives[-1]), np.append(0.0, positives / positives[-1]),
                 np.append(np.inf, thresholds))  # fmt: skip


def precision_recall_curve(truth: Any, scores: Any) -> Curve | None:
    """x: recall, y: precision, where something is called; None without a positive.

    >>> precision_recall_curve([0, 1], [0.7, 0.2]).y.tolist()
    [0.0, 0.5]
    """
    y, s = checked("precision_recall_curve", truth, scores)
    thresholds, positives, negatives = _steps(y, s)
    if not len(y) or not positives[-1]:
        return None
    return Curve(positives / positives[-1], positives / (positives + negatives), thresholds)


# ------------------------------------------------------------------------------ at one threshold
@dataclass(frozen=True)
class Confusion:
    """Who was called (score ≥ threshold), and who should have been."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def sensitivity(self) -> float | None:
        """The share of the positives that were called: recall."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> float | None:
        """The share of the negatives that were not."""
        return _share(self.true_negatives, self.true_negatives + self.false_positives)

    @property
    def precision(self) -> float | None:
        """The share of those called who are positive."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def f1(self) -> float | None:
        """2·TP/(2·TP + FP + FN), the harmonic mean of precision and sensitivity."""
        return _share(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)

    @property
    def accuracy(self) -> float | None:
        """The share of all that are told rightly."""
        right = self.true_positives + self.true_negatives
        return _share(right, right + self.false_positives + self.false_negatives)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def confusion(truth: Any, scores: Any, threshold: float = 0.5) -> Confusion:
    """Counts where everything with a score of at least `threshold` is called positive.

    >>> confusion([0, 1, 1], [0.6, 0.7, 0.2]).sensitivity
    0.5
    """
    y, s = checked("confusion", truth, scores)
    called = s >= threshold
    return Confusion(*(int((a & b).sum()) for a, b in ((y, called), (~y, called), (y, ~called), (~y, ~called))))


def operating_point(
    truth: Any, scores: Any, *, sensitivity: float | None = None, specificity: float | None = None
) -> float | None:
    """A threshold: where sensitivity + specificity is largest, or the best that reaches what is asked; None if none.

    Choose it on validation data; on the test data it would flatter.

    >>> operating_point([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), operating_point([0, 1, 1], [0.4, 0.3, 0.8], sensitivity=1)
    (0.8, 0.3)
    """
    if sensitivity is not None and specificity is not None:
        raise ArgumentError("operating_point", "a sensitivity or a specificity", "both")
    y, s = checked("operating_point", truth, scores)
    thresholds, positives, negatives = _steps(y, s)
    if not len(y) or not positives[-1] or not negatives[-1]:
        return None
    n, m = int(positives[-1]), int(negatives[-1])
    reached = np.ones(len(thresholds), bool)
    if sensitivity is not None:
        reached = positives / n >= sensitivity
    if specificity is not None:
        reached = (m - negatives) / m >= specificity
    gain = np.where(reached, positives * m - negatives * n, -n * m - 1)  # integers: equals are equal
    best = int(gain.argmax())
    return float(thresholds[best]) if reached[best] else None


# ------------------------------------------------------------------------------ probabilities
@dataclass(frozen=True)
class Calibration:
    """What was predicted beside what came true, in bins of equal width that hold a sample."""

    predicted: Numbers
    observed: Numbers
    counts: NDArray[np.int64]
    brier: float | None

    @property
    def error(self) -> float | None:
        """Σ counts·|observed − predicted|/N: the expected calibration error."""
        n = int(self.counts.sum())
        return float((self.counts * np.abs(self.observed - self.predicted)).sum()) / n if n else None


def calibration(truth: Any, scores: Any, bins: int = 10) -> Calibration:
    """Reliability of probabilities: in each bin the mean prediction and the share of positives.

    >>> c = calibration([0, 1, 1], [0.1, 0.9, 0.8], bins=2)
    >>> c.observed.tolist(), round(c.error, 3)
    ([0.0, 1.0], 0.133)
    """
    y, s = checked("calibration", truth, scores)
    if ((s < 0) | (s > 1)).any():
        raise ArgumentError("calibration", "probabilities from 0 to 1", f"{s[(s < 0) | (s > 1)][0]!r}")
    where = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], s)
    counts = np.bincount(where, minlength=bins)
    full = counts > 0
    predicted, observed = (np.bincount(where, v, minlength=bins)[full] / counts[full] for v in (s, y))
    brier = float(((s - y) * (s - y)).mean()) if len(y) else None
    return Calibration(predicted, observed, counts[full], brier)


# ------------------------------------------------------------------------------ how sure that is
@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, of `draws` samples in which the value was defined."""

    low: float
    high: float
    draws: int


def bootstrap(
    metric: Callable[[Any, Any], float | None], truth: Any, scores: Any, *, groups: Any = None, draws: int = 1000,
    level: float = 0.95, seed: int = 0,
) -> Interval | None:  # fmt: skip
    """The interval that holds `level` of the metric's values over samples drawn with replacement; None if none has one.

    With `groups` whole groups are drawn: the films of one patient are not independent.

    >>> bootstrap(roc_auc, [0, 0, 0, 1, 1, 1], [0.1, 0.4, 0.3, 0.35, 0.8, 0.9], draws=200)
    Interval(low=0.3333333333333333, high=1.0, draws=189)
    """
    y, s = checked("bootstrap", truth, scores)
    if not 0 < level < 1 or draws < 1:
        raise ArgumentError("bootstrap", "0 < level < 1 and draws ≥ 1", f"level={level}, draws={draws}")
    names = np.arange(len(y)) if groups is None else np.asarray(groups)
    if names.shape != y.shape:
        raise ShapeError("bootstrap", f"{len(y)} groups, one for each sample", f"shape {names.shape}")
    if not len(y):
        return None
    values = []
    for _, block in resampled(names, draws, seed):
        for weights in block:
            rows = np.repeat(np.arange(len(y)), weights)
            value = metric(y[rows], s[rows])
            values.append(np.nan if value is None else value)
    return interval(np.array(values), level)


def resampled(groups: Any, draws: int, seed: int = 0) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Blocks of draws of as many groups as there are: the number of the first, and how often each sample is in it.

    >>> [(at, block.sum(1).tolist()) for at, block in resampled(["a", "b", "c"], 2)]
    [(0, [3, 3])]
    """
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    count = int(group.max()) + 1
    stream = Stream("bootstrap", seed)
    block = max(_CELLS // len(group), 1)
    for at in range(0, draws, block):
        drawn = [stream.integers(count, low=0, high=count, step=s) for s in range(at, min(at + block, draws))]
        yield at, np.stack([np.bincount(one, minlength=count)[group] for one in drawn])


def interval(values: Numbers, level: float = 0.95) -> Interval | None:
    """The one that holds `level` of the values that are defined; None where none is.

    >>> interval(np.array([0.0, 1.0, np.nan]), level=0.5)
    Interval(low=0.25, high=0.75, draws=2)
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(low, high, len(known))
