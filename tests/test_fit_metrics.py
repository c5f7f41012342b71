"""Metrics and histories: exact over uneven batches, out to a file and in again."""

import csv
import io
import math
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import kinone as kn
from fit_samples import X, Y, fitted, net
from kinone import training
from kinone.errors import ArgumentError, FormatError, KinoneError, ShapeError


# ------------------------------------------------------------------------------ history
def test_a_history_goes_out_and_comes_in(tmp_path):
    history = fitted(net(), epochs=3, validation=(X, Y), metrics="mae", max_steps=12)
    history.save(tmp_path / "h.json")
    again = training.History.load(tmp_path / "h.json")
    assert again.to_dict() == history.to_dict() and again.stopped == "max_steps=12 are made"
    history.save(tmp_path / "h.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "h.csv").read_text())))
    assert [float(row["val_mae"]) for row in rows] == history["val_mae"]
    assert history.best("val_loss")[1] == min(history["val_loss"])
    for call, match in (
        (lambda: history["acc"], "one of loss, mae, val_loss"),
        (lambda: history.best("loss", "least"), "mode 'min' or 'max'"),
        (lambda: history.save(tmp_path / "h.txt"), "ends in .csv or .json"),
        (lambda: history.plot(names=["acc"]), "got 'acc'"),
    ):
        with pytest.raises(ArgumentError, match=match):
            call()


def test_strange_figures_survive_the_file(tmp_path):
    history = training.History()
    history.add(1, {"loss": math.inf})
    history.add(2, {"loss": math.nan, "val_loss": 1.0})
    history.save(tmp_path / "h.json")
    assert "NaN" not in (tmp_path / "h.json").read_text()
    again = training.History.load(tmp_path / "h.json")
    assert again["loss"][0] == math.inf and math.isnan(again["loss"][1]) and math.isnan(again["val_loss"][0])
    with pytest.raises(FormatError, match="a figure for every epoch"):
        training.History.from_dict({"epochs": [1, 2], "logs": {"loss": [1.0]}, "losses": [], "stopped": ""})
    with pytest.raises(FormatError, match=r"what to_dict.. gave"):
        training.History.from_dict({"epochs": 3})


def test_a_history_draws_itself(tmp_path):
    history = fitted(net(), epochs=3, validation=(X, Y), metrics="mae")
    text = history.plot(tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_text(encoding="utf-8") == text
    texts = [t.text for t in ET.fromstring(text).iter() if t.tag.endswith("text")]
    assert {"loss", "mae", "learning rate", "training", "validation", "epoch"} <= set(texts)
    html = history._repr_html_()
    assert html.count("<tr>") == 4 and "<svg" in html and "val_mae" in html
    single = fitted(net()).plot()
    assert "batch" in single and len(ET.fromstring(single).findall(".//{*}path[@class='curve c0']")) == 1
    assert repr(history).startswith("History(3 epochs: loss=")
    assert "<table>" in training.History()._repr_html_()


# ------------------------------------------------------------------------------ metrics
def test_metrics_are_exact_over_uneven_batches():
    rng = np.random.default_rng(3)
    scores, classes = rng.standard_normal((50, 7)), rng.integers(0, 7, 50)
    logits, truth = rng.standard_normal((50, 2)), rng.integers(0, 2, (50, 2))
    order = np.argsort(-scores, axis=1)
    cases: list[Any] = [
        (training.Accuracy(), scores, classes, (scores.argmax(1) == classes).mean()),
        (training.Accuracy(), scores, np.eye(7)[classes], (scores.argmax(1) == classes).mean()),
        (training.TopK(3), scores, classes, (order[:, :3] == classes[:, None]).any(1).mean()),
        (training.BinaryAccuracy(), logits, truth, ((logits > 0) == truth).mean()),
        (training.BinaryAccuracy(0.5), 1 / (1 + np.exp(-logits)), truth, ((logits > 0) == truth).mean()),
        (training.MeanAbsoluteError(), logits, truth, np.abs(logits - truth).mean()),
        (training.MeanSquaredError(), logits, truth, ((logits - truth) ** 2).mean()),
    ]
    for metric, prediction, target, wanted in cases:
        for rows in (slice(0, 13), slice(13, 14), slice(14, 50)):
            metric.update(kn.Tensor(prediction[rows]), target[rows])
        assert metric.compute() == pytest.approx(wanted, rel=1e-12), metric
        metric.reset()
        assert math.isnan(metric.compute())


def test_metrics_over_pixels_and_ties():
    scores = np.zeros((2, 3, 4, 4))
    scores[:, 1] = 1.0
    classes = np.ones((2, 4, 4), int)
    classes[0, 0, 0] = 2
    for metric in (training.Accuracy(), training.TopK(1)):
        metric.update(scores, classes)
        assert metric.compute() == 31 / 32
    two = training.TopK(2)
    two.update(scores, classes)
    assert two.compute() == 31 / 32  # class 0 ties with 2, and comes first


@pytest.mark.parametrize(
    ("metric", "prediction", "target", "match"),
    [
        (training.Accuracy(), (5, 1), (5,), None),
        (training.Accuracy(), (5,), (5,), "BinaryAccuracy is for one score"),
        (training.Accuracy(), (5, 3), (4,), r"prediction \(5, 3\) and target \(4,\)"),
        (training.TopK(4), (5, 3), (5,), "k up to the 3 classes, got 4"),
        (training.BinaryAccuracy(), (5, 1), (5,), r"prediction \(5, 1\) and target \(5,\)"),
        (training.MeanSquaredError(), (5, 1), (5,), "prediction and target of one shape"),
    ],
)  # fmt: skip
def test_shapes_that_would_broadcast_are_refused(metric, prediction, target, match):
    """(5, 1) − (5,) is a matrix, and its mean a figure of nothing."""
    call = lambda: metric.update(np.zeros(prediction), np.zeros(target, int))  # noqa: E731
    if match is None:
        call()
        return
    with pytest.raises(KinoneError, match=match):
        call()


def test_functions_are_metrics():
    def bias(p: Any, y: Any) -> Any:
        return (p - y).mean()

    model = net()
    found = model.evaluate((X, Y), metrics={"bias": bias, "worst": lambda p, y: np.abs(p - y).max()}, batch_size=10)
    assert found["bias"] == pytest.approx(float((model.predict(X) - Y).mean()), rel=1e-4)
    with pytest.raises(ShapeError, match=r"\[metric bad\] expected one number for a batch, got shape \(32, 1\)"):
        model.evaluate((X, Y), metrics={"bad": lambda p, y: p - y})
