"""Scores of a split and what is made of them: figures by finding, means, intervals by patient, thresholds."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinone.errors import ArgumentError, FormatError, ShapeError
from kinone.training import assessment, ranking
from kinone.training.assessment import FIGURES, OperatingPoint, Scores, weighted


def scores(n=60, classes=("Mass", "Hernia"), split="test", seed=0, share=0.3, ties=False) -> Any:
    """Films of n/3 patients, whose scores know something of the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, len(classes))) < share
    p = np.clip(0.25 * truth + rng.random((n, len(classes))) * 0.75, 0, 1)
    patients = tuple(str(i // 3) for i in range(n))
    names = tuple(f"{i:08d}_000.png" for i in range(n))
    return Scores(split, classes, names, patients, truth, p.round(1) if ties else p)


def evaluated(*args: Any, **kwargs: Any) -> Any:
    return assessment.evaluated(*args, **kwargs)


def test_figures_are_those_of_ranking():
    found, chosen = scores(), scores(split="validation", seed=1)
    result = evaluated(found, chosen, draws=0)
    for c, finding in enumerate(result.findings):
        y, p = found.truth[:, c], found.probabilities[:, c]
        threshold: Any = ranking.operating_point(chosen.truth[:, c], chosen.probabilities[:, c])
        table: Any = ranking.confusion(y, p, threshold)
        assert finding.threshold == threshold != ranking.operating_point(y, p), "chosen where it is judged"
        assert finding.figures["roc_auc"].value == ranking.roc_auc(y, p)
        assert finding.figures["average_precision"].value == ranking.average_precision(y, p)
        assert finding.confusion == table and finding.figures["f1"].value == table.f1
        assert finding.figures["sensitivity"].value == table.sensitivity
        assert finding.calibration.brier == pytest.approx(((p - y) ** 2).mean(), abs=1e-15)
        assert finding.figures["roc_auc"].interval is None
    areas = [f.figures["roc_auc"].value for f in result.findings]
    assert result.means["roc_auc"].value == pytest.approx(sum(areas) / 2, abs=1e-15)
    assert (result.films, result.patients, result.chosen_on) == (60, 20, "validation")


@pytest.mark.parametrize("ties", [False, True])
def test_intervals_are_those_of_drawing_whole_patients(ties):
    """The fast way, by weights, against ranking.bootstrap, which gathers the rows of each draw."""
    found = scores(ties=ties)
    result = evaluated(found, draws=60)
    for c, finding in enumerate(result.findings):
        y, p = found.truth[:, c], found.probabilities[:, c]
        at = finding.threshold
        metrics = {
            "roc_auc": ranking.roc_auc, "average_precision": ranking.average_precision,
            **{name: lambda y, p, name=name, at=at: getattr(ranking.confusion(y, p, at), name)
               for name in ("sensitivity", "specificity", "precision", "f1")},
        }  # fmt: skip
        assert set(metrics) == set(FIGURES)
        for name, metric in metrics.items():
            wanted: Any = ranking.bootstrap(metric, y, p, groups=found.patients, draws=60)
            got = finding.figures[name].interval
            assert got.draws == wanted.draws, name
            assert (got.low, got.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12), name


def test_a_mean_has_the_interval_of_the_means_of_the_draws():
    found = scores()
    draws = np.concatenate([weights for _, weights in ranking.resampled(found.patients, 40)])
    rows = [np.repeat(np.arange(60), weights) for weights in draws]
    areas: Any = ranking.roc_auc
    means = [np.mean([areas(found.truth[r, c], found.probabilities[r, c]) for c in range(2)]) for r in rows]
    got = evaluated(found, draws=40).means["roc_auc"].interval
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=1e-12)


def test_blocks_of_draws_change_nothing(monkeypatch):
    whole = evaluated(scores(), draws=25).to_dict()
    monkeypatch.setattr("kinone.training.ranking._CELLS", 130)
    assert evaluated(scores(), draws=25).to_dict() == whole


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=25))
def test_weights_are_repetitions(films):
    y, p, w = (np.array(column) for column in zip(*films, strict=True))
    found = weighted(y.astype(bool), p / 4, 0.5, w[None])
    rows = np.repeat(np.arange(len(y)), w)
    for name, metric in (("roc_auc", ranking.roc_auc), ("average_precision", ranking.average_precision)):
        wanted = metric(y[rows], p[rows] / 4)
        assert np.isnan(found[name][0]) if wanted is None else found[name][0] == pytest.approx(wanted, abs=1e-12)
    table: Any = ranking.confusion(y[rows], p[rows] / 4, 0.5)
    for name in ("sensitivity", "specificity", "precision", "f1"):
        wanted = getattr(table, name)
        assert np.isnan(found[name][0]) if wanted is None else found[name][0] == wanted


def test_what_is_undefined_is_said_and_left_out_of_means():
    base = scores(classes=("Mass", "Hernia", "Edema"))
    truth = base.truth.copy()
    truth[:, 1] = False  # nobody has a hernia
    found = Scores("test", base.classes, base.names, base.patients, truth, base.probabilities)
    chosen = scores(classes=base.classes, split="validation", seed=1)
    nobody = chosen.truth.copy()
    nobody[:, 2] = False
    chosen = Scores("validation", chosen.classes, chosen.names, chosen.patients, nobody, chosen.probabilities)
    result = evaluated(found, chosen, draws=20)
    mass, hernia, edema = result.findings
    assert hernia.figures["roc_auc"].value is None and hernia.figures["roc_auc"].interval is None
    assert hernia.figures["sensitivity"].value is None and hernia.figures["specificity"].value is not None
    assert edema.figures["roc_auc"].value is not None and edema.threshold is None and edema.confusion is None
    assert result.undefined == {
        "Hernia": "no film with it in the test split",
        "Edema": "no threshold: the validation split does not define one",
    }
    both = [f.figures["roc_auc"].value for f in (mass, edema)]
    assert result.means["roc_auc"].value == pytest.approx(sum(both) / 2)
    assert result.means["f1"].value == pytest.approx((mass.figures["f1"].value + hernia.figures["f1"].value) / 2)
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["findings"][1]["roc_auc"] == {"value": None, "interval": None}


def test_constant_scores_have_half_the_area():
    base = scores()
    flat = Scores("test", base.classes, base.names, base.patients, base.truth, np.full_like(base.probabilities, 0.3))
    figure = evaluated(flat, draws=10).findings[0].figures["roc_auc"]
    assert figure.value == 0.5 and (figure.interval.low, figure.interval.high) == (0.5, 0.5)


def test_operating_points():
    found = scores(n=200)
    for text, name in (("sensitivity=0.9", "sensitivity"), ("specificity=0.8", "specificity")):
        rule = OperatingPoint.parsed(text)
        assert str(rule) == text
        result = evaluated(found, operating_point=rule, draws=0)
        assert all(f.figures[name].value >= rule.value for f in result.findings)
    for text in ("", "sensitivity", "sensitivity=0", "sensitivity=1.5", "specificity=nan", "f1=0.5", "youden=1"):
        with pytest.raises(ArgumentError, match="operating point"):
            OperatingPoint.parsed(text)


def test_a_table_gives_the_same_scores_back():
    found = scores(n=9)
    again = Scores.from_csv(found.to_csv(), "test")
    assert (again.classes, again.names, again.patients) == (found.classes, found.names, found.patients)
    assert np.array_equal(again.truth, found.truth) and np.array_equal(again.probabilities, found.probabilities)
    for text in ("", "film,patient\n1", "a,b\n", found.to_csv().replace("true:Mass", "Mass"), found.to_csv() + "x,y\n"):
        with pytest.raises(FormatError, match="a table of scores"):
            Scores.from_csv(text, "test")


def test_what_does_not_fit_is_refused():
    found = scores(n=6)
    with pytest.raises(ShapeError, match="6 films with 1 findings"):
        Scores("test", ("Mass",), found.names, found.patients, found.truth, found.probabilities)
    with pytest.raises(ArgumentError, match="scores of Mass, Hernia, got Hernia"):
        evaluated(found, scores(n=6, classes=("Hernia",)))
    with pytest.raises(ArgumentError, match="draws"):
        evaluated(found, draws=-1)
    with pytest.raises(ArgumentError, match="films in the test split"):
        evaluated(Scores("test", ("a",), (), (), np.zeros((0, 1), bool), np.zeros((0, 1))))
