"""Metrics where no peer says what is right: what is undefined, thresholds, intervals, wrong input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinone.errors import ArgumentError, ShapeError
from kinone.training.ranking import (
    average_precision,
    bootstrap,
    calibration,
    confusion,
    operating_point,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)

SAMPLES = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30)


@given(SAMPLES)
def test_the_area_is_the_chance_to_rank_a_pair_rightly(samples):
    y, s = np.array([y for y, _ in samples]), np.array([s for _, s in samples])
    won = [(a > b) + 0.5 * (a == b) for a in s[y] for b in s[~y]]
    assert roc_auc(y, s) == (pytest.approx(np.mean(won), abs=1e-15) if won else None)


@given(SAMPLES)
def test_turning_the_scores_turns_the_area(samples):
    y, s = np.array([y for y, _ in samples]), np.array([s for _, s in samples])
    area = roc_auc(y, s)
    if area is not None:
        assert roc_auc(y, -s) == pytest.approx(1 - area, abs=1e-15) == roc_auc(~y, s)


@pytest.mark.parametrize("metric", [roc_auc, roc_curve, average_precision, precision_recall_curve, operating_point])
def test_what_is_undefined_is_none(metric):
    assert metric([], []) is None and metric([0, 0], [0.1, 0.2]) is None
    table = confusion([], [])
    assert (table.sensitivity, table.specificity, table.precision, table.f1, table.accuracy) == (None,) * 5
    assert calibration([], []).error is None and calibration([], []).brier is None
    assert bootstrap(roc_auc, [], []) is None and bootstrap(roc_auc, [1, 1], [0.1, 0.2], draws=5) is None


def test_operating_points():
    y, s = [0, 0, 0, 1, 1, 1], [0.1, 0.5, 0.3, 0.4, 0.8, 0.9]
    assert operating_point(y, s) == 0.8
    threshold = operating_point(y, s, sensitivity=1.0)
    assert threshold == 0.4 and confusion(y, s, 0.4).sensitivity == 1
    assert confusion(y, s, 0.8).specificity == 1 and operating_point(y, s, specificity=1.0) == 0.8
    assert operating_point([0, 0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.5], specificity=0.5) == 0.3
    with pytest.raises(ArgumentError, match="a sensitivity or a specificity, got both"):
        operating_point(y, s, sensitivity=0.9, specificity=0.9)


def test_intervals_hold_the_value_and_narrow_with_the_data():
    rng = np.random.default_rng(0)
    widths = []
    for n in (60, 600):
        y = rng.random(n) < 0.4
        s = y + rng.normal(size=n)
        interval, value = bootstrap(roc_auc, y, s, draws=300), roc_auc(y, s)
        assert interval is not None and value is not None and interval.low < value < interval.high
        assert bootstrap(roc_auc, y, s, draws=300) == interval != bootstrap(roc_auc, y, s, draws=300, seed=1)
        widths.append(interval.high - interval.low)
    assert widths[1] < widths[0] / 2


def test_copies_of_a_patients_film_add_no_certainty():
    rng = np.random.default_rng(1)
    y = rng.random(50) < 0.4
    s = y + rng.normal(size=50)
    once = bootstrap(roc_auc, y, s, draws=300)
    copies = bootstrap(roc_auc, np.tile(y, 4), np.tile(s, 4), groups=np.tile(np.arange(50), 4), draws=300)
    naive = bootstrap(roc_auc, np.tile(y, 4), np.tile(s, 4), draws=300)
    assert once is not None and copies is not None and naive is not None
    assert copies.high - copies.low == pytest.approx(once.high - once.low, rel=0.05)
    assert naive.high - naive.low < 0.7 * (copies.high - copies.low)


@pytest.mark.parametrize(
    ("truth", "scores", "error", "match"),
    [
        ([0, 1], [0.1], ShapeError, r"truth \(N,\) and scores \(N,\), got shapes \(2,\) and \(1,\)"),
        ([0, 2], [0.1, 0.2], ArgumentError, "a truth of 0 and 1, got 2"),
        ([0, 1], [0.1, float("nan")], ArgumentError, "finite scores, got .*nan.* for sample 1"),
    ],
)
def test_wrong_input_is_refused(truth, scores, error, match):
    with pytest.raises(error, match=match):
        roc_auc(truth, scores)
    with pytest.raises(ArgumentError, match="probabilities from 0 to 1"):
        calibration([0, 1], [0.1, 1.5])
