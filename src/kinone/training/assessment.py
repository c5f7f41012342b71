"""What a model says of a split, and how good that is: for each finding and in the mean, with intervals by patient.

What the data does not define is None, and printed as "undefined"; a mean is over the findings that have the value.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.errors import ArgumentError, FormatError, ShapeError
from kinone.training import ranking
from kinone.training.ranking import Calibration, Confusion, Interval, Numbers, interval, resampled

AT_THE_POINT = ("sensitivity", "specificity", "precision", "f1")
FIGURES = ("roc_auc", "average_precision", *AT_THE_POINT)


# ------------------------------------------------------------------------------ what the model said
@dataclass(frozen=True)
class Scores:
    """Of each film of a split: its name, its patient, what is true and what the model says; rows are films.

    truth (N, C) booleans, probabilities (N, C) from 0 to 1, C the number of `classes`.
    """

    split: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    patients: tuple[str, ...]
    truth: NDArray[np.bool_]
    probabilities: Numbers

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.classes))
        if self.truth.shape != shape or self.probabilities.shape != shape or len(self.patients) != shape[0]:
            got = f"truth {self.truth.shape}, probabilities {self.probabilities.shape}, {len(self.patients)} patients"
            raise ShapeError("scores", f"{shape[0]} films with {shape[1]} findings each", got)

    def __len__(self) -> int:
        return len(self.names)

    def to_csv(self) -> str:
        """A line for each film: name, patient, and for each finding what is true and the probability, all digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["film", "patient", *(f"{kind}:{c}" for c in self.classes for kind in ("true", "score"))])
        for i, (name, patient) in enumerate(zip(self.names, self.patients, strict=True)):
            pairs = zip(self.truth[i].tolist(), self.probabilities[i].tolist(), strict=True)
            writer.writerow([name, patient, *(value for yes, p in pairs for value in (int(yes), repr(p)))])
        return text.getvalue()

    @classmethod
    def from_csv(cls, text: str, split: str) -> "Scores":
        """The scores that `to_csv` wrote.

        >>> one = Scores("test", ("Mass",), ("a.png",), ("7",), np.array([[True]]), np.array([[0.1]]))
        >>> Scores.from_csv(one.to_csv(), "test").probabilities.tolist()
        [[0.1]]
        """
        header, *rows = list(csv.reader(io.StringIO(text))) or [[]]
        try:
            classes = tuple(name.removeprefix("true:") for name in header[2::2])
            if header != ["film", "patient", *(f"{kind}:{c}" for c in classes for kind in ("true", "score"))]:
                raise ValueError(f"the columns {', '.join(header)[:80]}")
            table = np.array([[float(v) for v in row[2:]] for row in rows], np.float64).reshape(-1, 2 * len(classes))
            names, patients = (tuple(row[i] for row in rows) for i in range(2))
        except (ValueError, IndexError) as error:
            raise FormatError("scores", "a table of scores", str(error)) from None
        return cls(split, classes, names, patients, table[:, ::2] == 1, table[:, 1::2].copy())


# ------------------------------------------------------------------------------ where to call a finding
@dataclass(frozen=True)
class OperatingPoint:
    """How thresholds are chosen on validation films: the largest sensitivity + specificity, or at least so much of one.

    >>> OperatingPoint.parsed("sensitivity=0.9")
    OperatingPoint(kind='sensitivity', value=0.9)
    """

    kind: str = "youden"
    value: float | None = None

    @classmethod
    def parsed(cls, text: str) -> "OperatingPoint":
        """From `youden`, `sensitivity=0.9` or `specificity=0.9`."""
        kind, _, number = text.partition("=")
        if text == "youden":
            return cls()
        try:
            value = float(number)
        except ValueError:
            value = np.nan
        if kind not in ("sensitivity", "specificity") or not 0 < value <= 1:
            wanted = "youden, sensitivity=S or specificity=S with 0 < S ≤ 1"
            raise ArgumentError("operating point", wanted, repr(text))
        return cls(kind, value)

    def __str__(self) -> str:
        return self.kind if self.value is None else f"{self.kind}={self.value:g}"

    def threshold(self, truth: Any, probabilities: Any) -> float | None:
        """The one for these; None where they do not define it."""
        options = {} if self.value is None else {self.kind: self.value}
        return ranking.operating_point(truth, probabilities, **options)


# ------------------------------------------------------------------------------ how good it is
@dataclass(frozen=True)
class Figure:
    """A value, and where it would lie had other patients been asked; None where it is undefined."""

    value: float | None
    interval: Interval | None = None


@dataclass(frozen=True)
class Finding:
    """One finding: how many films have it, figures by the names in FIGURES, and what was called at the threshold."""

    name: str
    positives: int
    negatives: int
    threshold: float | None
    figures: dict[str, Figure]
    confusion: Confusion | None
    calibration: Calibration

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        c = self.calibration
        return {
            "finding": self.name, "positives": self.positives, "negatives": self.negatives,
            "threshold": self.threshold, **_plain(self.figures),
            "confusion": None if self.confusion is None else dict(vars(self.confusion)),
            "calibration": {"error": c.error, "brier": c.brier, "predicted": c.predicted.tolist(),
                            "observed": c.observed.tolist(), "counts": c.counts.tolist()},
        }  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """All findings of a split; `means` also has "brier" and "calibration_error"."""

    split: str
    films: int
    patients: int
    operating_point: OperatingPoint
    chosen_on: str
    draws: int
    findings: tuple[Finding, ...]
    means: dict[str, Figure]

    @property
    def undefined(self) -> dict[str, str]:
        """The findings whose figures are not all defined, and why."""
        found: dict[str, str] = {}
        for finding in self.findings:
            if not finding.positives or not finding.negatives:
                kind = "with" if not finding.positives else "without"
                found[finding.name] = f"no film {kind} it in the {self.split} split"
            elif finding.threshold is None:
                found[finding.name] = f"no threshold: the {self.chosen_on} split does not define one"
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; undefined ones are null."""
        return {
            "split": self.split, "films": self.films, "patients": self.patients,
            "operating_point": {"rule": str(self.operating_point), "chosen_on": self.chosen_on},
            "bootstrap": {"draws": self.draws, "level": 0.95, "drawn": "patients"},
            "mean": _plain(self.means), "undefined": self.undefined,
            "findings": [finding.to_dict() for finding in self.findings],
        }  # fmt: skip


def _plain(figures: dict[str, Figure]) -> dict[str, Any]:
    return {
        name: {"value": f.value, "interval": None if f.interval is None else [f.interval.low, f.interval.high]}
        for name, f in figures.items()
    }


def evaluated(
    scores: Scores, chosen_on: Scores | None = None, *, operating_point: OperatingPoint | None = None,
    draws: int = 1000, seed: int = 0, bins: int = 10, tick: Callable[[int, int], Any] = lambda *_: None,
) -> Evaluation:  # fmt: skip
    """Every figure of every finding; thresholds are chosen on `chosen_on`, the validation split, not on what is judged.

    Intervals: 95 % of `draws` samples of as many patients, drawn with replacement; 0 draws, no intervals. `tick` hears
    how many are drawn, of how many.
    """
    rule = operating_point or OperatingPoint()
    chooser = scores if chosen_on is None else chosen_on
    if chooser.classes != scores.classes:
        raise ArgumentError("evaluate", f"scores of {', '.join(scores.classes)}", ", ".join(chooser.classes))
    if not isinstance(draws, int) or draws < 0:
        raise ArgumentError("evaluate", "draws ≥ 0", repr(draws))
    if not len(scores):
        raise ArgumentError("evaluate", f"films in the {scores.split} split", "none")
    thresholds = [rule.threshold(chooser.truth[:, c], chooser.probabilities[:, c]) for c in range(len(scores.classes))]
    samples = {name: np.full((draws, len(scores.classes)), np.nan) for name in FIGURES}
    for at, weights in resampled(scores.patients, draws, seed):
        for c, threshold in enumerate(thresholds):
            found = weighted(scores.truth[:, c], scores.probabilities[:, c], threshold, weights)
            for name, values in found.items():
                samples[name][at : at + len(weights), c] = values
        tick(at + len(weights), draws)
    findings = tuple(
        _finding(scores, c, threshold, bins, {name: table[:, c] for name, table in samples.items()})
        for c, threshold in enumerate(thresholds)
    )
    means = {
        name: Figure(_mean([f.figures[name].value for f in findings]), interval(_means(table)))
        for name, table in samples.items()
    }
    means["brier"] = Figure(_mean([f.calibration.brier for f in findings]))
    means["calibration_error"] = Figure(_mean([f.calibration.error for f in findings]))
    return Evaluation(
        scores.split, len(scores), len(set(scores.patients)), rule, chooser.split, draws, findings, means
    )  # fmt: skip


def _finding(scores: Scores, c: int, threshold: float | None, bins: int, samples: dict[str, Numbers]) -> Finding:
    y, p = scores.truth[:, c], scores.probabilities[:, c]
    called = None if threshold is None else ranking.confusion(y, p, threshold)
    values = {
        "roc_auc": ranking.roc_auc(y, p), "average_precision": ranking.average_precision(y, p),
        **{name: None if called is None else getattr(called, name) for name in AT_THE_POINT},
    }  # fmt: skip
    figures = {
        name: Figure(value, None if value is None else interval(samples[name])) for name, value in values.items()
    }
    positives = int(y.sum())
    return Finding(
        scores.classes[c], positives, len(y) - positives, threshold, figures, called, ranking.calibration(y, p, bins)
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _means(table: Numbers) -> Numbers:
    """Of each draw the mean over the findings that have the value in it."""
    known = np.isfinite(table)
    counts = known.sum(1)
    return np.where(counts > 0, np.where(known, table, 0).sum(1) / np.maximum(counts, 1), np.nan)


# ------------------------------------------------------------------------------ had other patients been asked
def weighted(
    truth: NDArray[np.bool_], scores: Numbers, threshold: float | None, weights: NDArray[np.int64]
) -> dict[str, Numbers]:
    """The figures of samples in which film i is weights[:, i] times (draws, N); NaN where they are undefined."""
    order = np.argsort(-scores, kind="stable")
    y, s = truth[order], scores[order]
    last = np.flatnonzero(np.append(s[1:] != s[:-1], True))
    w = weights[:, order]
    calls = np.cumsum(w, 1)[:, last]
    positives = np.cumsum(w * y, 1)[:, last]
    negatives = calls - positives
    p, n = positives[:, -1], negatives[:, -1]
    more, ties = (np.diff(part, prepend=0, axis=1) for part in (positives, negatives))
    won = (more * (2 * (n[:, None] - negatives) + ties)).sum(1)
    precision = (more * positives / np.maximum(calls, 1)).sum(1)
    found = {"roc_auc": _ratio(won, 2 * p * n), "average_precision": _ratio(precision, p)}
    if threshold is not None:
        called = scores >= threshold
        tp, fp = weights @ (truth & called), weights @ (~truth & called)
        found |= {"sensitivity": _ratio(tp, p), "specificity": _ratio(n - fp, n), "precision": _ratio(tp, tp + fp),
                  "f1": _ratio(2 * tp, tp + fp + p)}  # fmt: skip
    return found


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Numbers:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
