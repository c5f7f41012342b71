"""A whole evaluation beside scikit-learn: ties, missing classes and constant scores among its findings."""

from typing import Any

import numpy as np
import pytest

from kinone.training.assessment import Scores, evaluated

metrics: Any = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")


def scores(seed: int, split: str) -> Scores:
    rng = np.random.default_rng(seed)
    n, shares = 80, np.array([0.3, 0.1, 0.5, 0.02, 0.0, 1.0])
    truth = rng.random((n, 6)) < shares
    p = np.clip(0.3 * truth + rng.random((n, 6)) * 0.7, 0, 1)
    p[:, 1] = p[:, 1].round(1)
    p[:, 2] = 0.3
    names = tuple(f"{i}.png" for i in range(n))
    return Scores(split, tuple("abcdef"), names, tuple(str(i // 2) for i in range(n)), truth, p)


def test_every_figure_of_every_finding():
    compared = 0
    for seed in range(25):
        found = scores(seed, "test")
        result = evaluated(found, scores(seed + 1000, "validation"), draws=0)
        for c, finding in enumerate(result.findings):
            y, p = found.truth[:, c], found.probabilities[:, c]
            wanted: dict[str, Any] = {"average_precision": metrics.average_precision_score(y, p) if y.any() else None,
                      "roc_auc": metrics.roc_auc_score(y, p) if y.any() and not y.all() else None}  # fmt: skip
            if finding.threshold is not None:
                called = p >= finding.threshold
                tn, fp, fn, tp = metrics.confusion_matrix(y, called, labels=[False, True]).ravel().tolist()
                assert finding.confusion is not None and vars(finding.confusion) == {
                    "true_positives": tp, "false_positives": fp, "false_negatives": fn, "true_negatives": tn,
                }  # fmt: skip
                wanted |= {
                    "sensitivity": metrics.recall_score(y, called) if y.any() else None,
                    "specificity": metrics.recall_score(~y, ~called) if not y.all() else None,
                    "precision": metrics.precision_score(y, called) if called.any() else None,
                    "f1": metrics.f1_score(y, called) if y.any() or called.any() else None,
                }
            for name, value in wanted.items():
                got = finding.figures[name].value
                assert (got is None) == (value is None), name
                if got is not None:
                    assert abs(got - value) <= 1e-12, name
                    compared += 1
            brier = finding.calibration.brier
            assert brier is not None and abs(brier - ((p - y) ** 2).mean()) <= 1e-12
    assert compared > 450
