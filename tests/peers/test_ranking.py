"""Metrics beside scikit-learn's, over random cases with ties, missing classes and constant scores."""

from typing import Any

import numpy as np
import pytest

from kinone.training import ranking

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
calibrated = pytest.importorskip("sklearn.calibration", reason="scikit-learn is not installed")


def cases(count: int) -> Any:
    rng = np.random.default_rng(0)
    for i in range(count):
        n = int(rng.integers(1, 60))
        y = rng.random(n) < rng.choice([0.0, 0.05, 0.3, 0.7, 1.0])
        kind = i % 4
        s = rng.random(n) if kind == 0 else rng.integers(0, 4, n) / 4 if kind == 1 else np.full(n, 0.3)
        if kind == 3:
            s = np.clip(0.3 * y + rng.random(n).round(1), 0, 1)
        yield y.astype(int), s


def test_areas():
    defined = 0
    for y, s in cases(800):
        area, precision = ranking.roc_auc(y, s), ranking.average_precision(y, s)
        assert (area is None) == (len(set(y)) < 2) and (precision is None) == (not y.any())
        if area is not None:
            assert abs(area - metrics.roc_auc_score(y, s)) <= 1e-12
            defined += 1
        if precision is not None:
            assert abs(precision - metrics.average_precision_score(y, s)) <= 1e-12
    assert defined > 200


def test_curves():
    for y, s in cases(150):
        ours = ranking.roc_curve(y, s)
        if ours is not None:
            x, sensitivity, thresholds = metrics.roc_curve(y, s, drop_intermediate=False)
            for a, b in ((ours.x, x), (ours.y, sensitivity), (ours.thresholds, thresholds)):
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
        ours = ranking.precision_recall_curve(y, s)
        if ours is not None:
            precision, recall, thresholds = metrics.precision_recall_curve(y, s)
            np.testing.assert_allclose(ours.y[::-1], precision[:-1], rtol=0, atol=1e-12)
            np.testing.assert_allclose(ours.x[::-1], recall[:-1], rtol=0, atol=1e-12)
            np.testing.assert_array_equal(ours.thresholds[::-1], thresholds)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_confusion():
    for y, s in cases(150):
        table = ranking.confusion(y, s, 0.35)
        called = s >= 0.35
        expected = metrics.confusion_matrix(y, called, labels=[0, 1]).ravel().tolist()
        assert [table.true_negatives, table.false_positives, table.false_negatives, table.true_positives] == expected
        for name, peer in (("precision", metrics.precision_score), ("sensitivity", metrics.recall_score),
                           ("f1", metrics.f1_score), ("accuracy", metrics.accuracy_score)):  # fmt: skip
            value = getattr(table, name)
            if value is None:
                assert not (y.any() if name == "sensitivity" else called.any())
            else:
                assert abs(value - peer(y, called)) <= 1e-12


def test_calibration():
    for y, s in cases(150):
        ours = ranking.calibration(y, s)
        if len(set(y)) == 2:
            observed, predicted = calibrated.calibration_curve(y, s, n_bins=10)
            np.testing.assert_allclose(ours.observed, observed, rtol=0, atol=1e-12)
            np.testing.assert_allclose(ours.predicted, predicted, rtol=0, atol=1e-12)
            assert ours.brier is not None and abs(ours.brier - metrics.brier_score_loss(y, s)) <= 1e-12
