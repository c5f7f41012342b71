"""Splits: no patient in two parts, findings in proportion, the same from the same seed."""

from itertools import pairwise

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinone.data.demo import FINDINGS, DemoSpec, visits
from kinone.data.split import check_disjoint, stratified_split
from kinone.errors import ArgumentError, DataError, ShapeError

FILMS = list(visits(DemoSpec(patients=500)))
LABELS = np.array([[name in film.signs for name in FINDINGS] for film in FILMS])
PATIENTS = np.array([film.patient for film in FILMS])


def test_patients_stay_whole_and_findings_in_proportion():
    shares = (0.7, 0.1, 0.2)
    parts = stratified_split(LABELS, PATIENTS, shares, seed=3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(FILMS)))
    check_disjoint(PATIENTS, dict(zip(("train", "validation", "test"), parts, strict=True)))
    for share, part in zip(shares, parts, strict=True):
        assert abs(len(part) / len(FILMS) - share) < 0.02
        found = LABELS[part].sum(0) / LABELS.sum(0)
        assert np.abs(found - share).max() < 0.07, dict(zip(FINDINGS, found, strict=True))


def test_better_than_chance():
    """Dealing patients out at random leaves rare findings out of proportion."""

    def worst(parts):
        return max(np.abs(LABELS[part].sum(0) / LABELS.sum(0) - len(part) / len(FILMS)).max() for part in parts)

    rng = np.random.default_rng(0)
    drawn = [rng.random(PATIENTS.max() + 1)[PATIENTS] for _ in range(20)]
    chance = [
        worst([np.flatnonzero((d >= low) & (d < high)) for low, high in pairwise((0, 0.7, 0.8, 1))]) for d in drawn
    ]
    assert worst(stratified_split(LABELS, PATIENTS)) < min(chance)


def test_the_same_from_the_same_seed():
    first, again, other = (stratified_split(LABELS, PATIENTS, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_classes_in_place_of_a_table():
    parts = stratified_split(np.repeat([0, 1, 2], [50, 30, 20]), shares=(0.5, 0.5))
    assert [np.bincount(np.repeat([0, 1, 2], [50, 30, 20])[part]).tolist() for part in parts] == [[25, 15, 10]] * 2


@given(hnp.arrays(bool, st.tuples(st.integers(0, 30), st.integers(0, 4))), st.data())
def test_any_table_is_dealt_out(labels, data):
    groups = data.draw(hnp.arrays(np.int64, len(labels), elements=st.integers(0, 8)))
    parts = stratified_split(labels, groups, (0.6, 0.4, 0.0))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels))) and not len(parts[2])
    check_disjoint(groups, dict(zip("abc", parts, strict=True)))


def test_a_patient_in_two_parts_is_refused_by_name():
    with pytest.raises(DataError, match=r"no patient both in train and in test, got 2: 7, 9\. Hint: a model"):
        check_disjoint([7, 7, 8, 9, 9], {"train": [0, 2, 3], "test": [1, 4]})


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"labels": np.zeros((2, 2, 2))}, ShapeError, r"labels \(N,\) or \(N, L\)"),
        ({"labels": np.full((2, 2), 3)}, ArgumentError, "0 and 1 in a table"),
        ({"labels": np.zeros((2, 2)), "groups": [1]}, ShapeError, "2 groups, one for each sample"),
        ({"labels": np.zeros(2), "shares": (0.5, 0.4)}, ArgumentError, "shares that add up to 1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        stratified_split(**arguments)
