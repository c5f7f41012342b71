"""Callbacks, metrics, histories, the search of a learning rate, and what is shown meanwhile."""

import csv
import io
import json
import math
import time
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import kinone as kn
from kinone import nn, optim, training
from kinone.errors import ArgumentError, FormatError, KinoneError, MissingExtraError, ShapeError, StateError
from kinone.formats import load_checkpoint
from test_fit import Net, X, Y, bits, fitted, mse, net


class Script(training.Callback):
    """Says what the figures are, whatever the model does."""

    def __init__(self, **figures: list[float]) -> None:
        self.figures = figures

    def on_epoch_end(self, fit: Any) -> None:
        fit.logs.update({name: values[fit.epoch] for name, values in self.figures.items()})


# ------------------------------------------------------------------------------ stopping
def test_early_stopping_waits_and_brings_the_best_weights_back():
    seen: list[Any] = []
    stop = training.EarlyStopping("score", patience=2, min_delta=0.1, mode="max", restore_best=True)
    script = Script(score=[1.0, 2.0, 2.05, math.nan, 9.0])
    model = net()
    history = fitted(model, epochs=5, callbacks=[script, stop, lambda fit: seen.append(bits(fit.model))])
    assert len(history) == 4
    assert history.stopped == "score has not become better for 2 epochs (best: 2 in epoch 2)"
    assert bits(model) == seen[1] != seen[3]


def test_early_stopping_goes_on_from_its_state():
    stop = training.EarlyStopping("score", patience=3, mode="min")
    fitted(net(), epochs=2, callbacks=[Script(score=[1.0, 2.0]), stop])
    other = training.EarlyStopping("score", patience=3, mode="min")
    other.load_state_dict(json.loads(json.dumps(stop.state_dict())))
    assert (other.waited, other.monitor.best, other.best_epoch) == (1, 1.0, 1)
    with pytest.raises(StateError, match="best, waited and best_epoch"):
        other.load_state_dict({})


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: training.EarlyStopping(patience=0), "patience, a whole number from 1 on"),
        (lambda: training.EarlyStopping("score"), "a mode for score: 'min' or 'max', got None"),
        (lambda: training.EarlyStopping(mode="least"), "a mode for val_loss: 'min' or 'max', got 'least'"),
        (lambda: training.EarlyStopping(min_delta=-1), "min_delta, a number from 0 on"),
        (lambda: training.ModelCheckpoint("{run}.json"), "no other field than {epoch}"),
        (lambda: training.ModelCheckpoint("a.json", every=0), "every, a whole number from 1 on"),
        (lambda: training.AverageWeights(every="step"), "every 'batch' or 'epoch'"),
        (lambda: fitted(net(), callbacks=[training.AverageWeights(1.5)]), "decay, a number from 0 to 1"),
        (lambda: training.Scheduling(3), "a schedule with step"),
        (lambda: training.Scheduling(optim.StepLR(optim.SGD(net()), 1), "day"), "every 'epoch' or 'batch', got 'day'"),
        (lambda: training.TopK(0), "k, a whole number from 1 on"),
        (lambda: fitted(net(), callbacks=[training.EarlyStopping()]),
         "a figure among loss, lr, seconds, got 'val_loss'. Hint: give fit some validation data"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(make, match):
    with pytest.raises(ArgumentError, match=match):
        make()


def test_nan_ends_before_the_step_and_is_placed():
    model = net()
    optimizer = optim.SGD(model, lr=0.1)
    poisoned = X.copy()
    poisoned[20] = np.nan
    before: list[Any] = []

    class Watch(training.Callback):
        def on_batch_begin(self, fit: Any) -> None:
            before.append([p.data.copy() for p in model.parameters()])

    history = fitted(model, (poisoned, Y), shuffle=False, optimizer=optimizer, epochs=3, batch_size=8,
                     callbacks=[training.TerminateOnNaN(), Watch()])  # fmt: skip
    assert history.stopped.startswith("the loss was nan in epoch 1, batch 3, before step 3; kn.detect_anomaly()")
    assert all(np.array_equal(p.data, q) for p, q in zip(model.parameters(), before[-1], strict=True))
    assert len(history) == 0 and len(history.losses) == 2


# ------------------------------------------------------------------------------ checkpoints
def test_the_best_and_the_newest_are_kept(tmp_path):
    script = Script(val_loss=[3.0, 1.0, 2.0, 0.5, 4.0])
    best = training.ModelCheckpoint(tmp_path / "best-{epoch}.safetensors", monitor="val_loss", keep=2)
    last = training.ModelCheckpoint(tmp_path / "last.json", every=2)
    model = net()
    fitted(model, epochs=5, callbacks=[script, best, last])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best-2.safetensors", "best-4.safetensors", "last.json"]
    found = load_checkpoint(tmp_path / "last.json", modules=[Net])
    assert found.progress["epoch"] == 5 and bits(found.model) == bits(model)
    states = found.progress["callbacks"]["ModelCheckpoint"]
    assert states[0]["best"] == 0.5 and len(states[0]["written"]) == 2


def test_the_new_one_is_whole_before_an_old_one_goes(tmp_path, monkeypatch):
    """The seeds deleted the last good checkpoint first: a full disk then left none."""
    from kinone.training import checkpointing

    save = training.ModelCheckpoint(tmp_path / "at-{epoch}.json")
    fitted(net(), callbacks=[save])
    whole = (tmp_path / "at-1.json").read_bytes()

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpointing, "save_checkpoint", full)
    with pytest.raises(OSError, match="no space"):
        fitted(net(), epochs=2, initial_epoch=1, callbacks=[save])
    assert (tmp_path / "at-1.json").read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["at-1.json"]


# ------------------------------------------------------------------------------ averages
def test_averages_are_validated_and_stay_at_the_end():
    weights: list[Any] = []

    class Watch(training.Callback):
        def on_batch_end(self, fit: Any) -> None:
            weights.append(fit.model.weight.data.astype(np.float64))

    model = nn.Linear(3, 1)
    averages = training.AverageWeights(decay=0.9)
    history = fitted(model, validation=(X, Y), epochs=2, callbacks=[Watch(), averages])
    mean = weights[0]
    for w in weights[1:]:
        mean = 0.9 * mean + 0.1 * w
    np.testing.assert_allclose(model.weight.data, mean, rtol=1e-4)
    assert model.evaluate((X, Y), loss=mse, batch_size=8)["loss"] == history["val_loss"][-1]


def test_the_mean_of_all_epochs_from_one_on():
    weights: list[Any] = []
    model = nn.Linear(3, 1)
    averages = training.AverageWeights(None, every="epoch", start=3, validates=False)
    fitted(model, epochs=5, callbacks=[lambda fit: weights.append(fit.model.weight.data.copy()), averages])
    np.testing.assert_allclose(model.weight.data, np.mean(weights[2:], axis=0), rtol=1e-5)
    assert averages.average is not None and averages.average.count == 3


def test_averages_go_on_from_a_checkpoint(tmp_path):
    def run(epochs: int, first: int, model: Any, optimizer: Any, average: Any) -> None:
        save = training.ModelCheckpoint(tmp_path / f"{epochs}.safetensors")
        fitted(model, epochs=epochs, initial_epoch=first, optimizer=optimizer, callbacks=[average, save])

    whole = net()
    run(4, 0, whole, optim.Adam(whole, lr=0.02), training.AverageWeights(0.9))
    one = net()
    run(2, 0, one, optim.Adam(one, lr=0.02), training.AverageWeights(0.9))
    two, average = Net(), training.AverageWeights(0.9)
    optimizer = optim.Adam(two)
    found = load_checkpoint(tmp_path / "2.safetensors", model=two, optimizer=optimizer)
    average.load_state_dict(found.progress["callbacks"]["AverageWeights"][0])
    run(4, 2, two, optimizer, average)
    assert bits(two) == bits(whole)


def test_weight_averages_by_hand():
    model = nn.Module.build(lambda x, w: x * w, w=1.0)
    swa, ema = optim.WeightAverage(model), optim.WeightAverage(model, decay=0.5)
    for value in (1.0, 2.0, 6.0):
        model.param("w").data[...] = value
        swa.update()
        ema.update()
    with swa.applied():
        assert model(1.0).item() == 3.0
    assert model(1.0).item() == 6.0
    other = optim.WeightAverage(model, decay=0.5)
    other.load_state_dict(ema.state_dict())
    other.copy_to()
    assert model(1.0).item() == (1.5 + 6) / 2 and other.count == 3


def test_averages_refuse_other_models():
    average = optim.WeightAverage(nn.Linear(2, 2))
    with pytest.raises(StateError, match="at least one update, got none"):
        average.copy_to()
    average.update()
    with pytest.raises(StateError, match="others: bias, weight"):
        average.copy_to(nn.Linear(3, 3))
    with pytest.raises(StateError, match="others: bias, weight"):
        optim.WeightAverage(nn.Linear(3, 3)).load_state_dict(average.state_dict())
    wrong: Any = {"w": 1}
    with pytest.raises(ArgumentError, match="a Module, got a dict"):
        optim.WeightAverage(wrong)


def test_buffers_are_averaged_on_request():
    model = nn.BatchNorm1d(2)
    average = optim.WeightAverage(model, use_buffers=True)
    average.update()
    model(np.array([[1.0, 2.0], [3.0, 6.0]], np.float32))
    average.update()
    with average.applied():
        np.testing.assert_allclose(model.running_mean.data, [0.1, 0.2], rtol=1e-6)  # half way


def test_batch_norm_is_computed_anew():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, momentum=0.3)).eval()
    norm = model[1]
    optim.update_batch_norm(model, [(X[:10], Y[:10]), X[10:20]])
    z = model[0](X[:20]).numpy()
    np.testing.assert_allclose(norm.running_mean.data, z.mean(0), rtol=1e-4)
    np.testing.assert_allclose(norm.running_var.data, (z[:10].var(0, ddof=1) + z[10:].var(0, ddof=1)) / 2, rtol=1e-4)
    assert norm.momentum == 0.3 and not norm.training
    with pytest.raises(ArgumentError, match="at least one batch"):
        optim.update_batch_norm(model, [])
    optim.update_batch_norm(nn.Linear(2, 2), [])  # nothing to do


# ------------------------------------------------------------------------------ clipping
def grads_of(*values: Any) -> list[Any]:
    parameters = [nn.Parameter(np.zeros(np.shape(v))) for v in values]
    for p, v in zip(parameters, values, strict=True):
        p.grad = kn.Tensor(np.array(v, np.float64))
    return [*parameters, nn.Parameter([0.0])]


def test_clipping_by_hand():
    p, q, idle = grads_of([3.0, 0.0], [-4.0])
    assert optim.clip_grad_norm_([p, q, p, idle], 2.5) == 5.0  # p counts once
    np.testing.assert_allclose([*p.grad.data, *q.grad.data], [1.5, 0, -2], rtol=1e-6)
    assert optim.clip_grad_norm_([p, q], 10.0) == pytest.approx(2.5, rel=1e-6)
    np.testing.assert_allclose(q.grad.data, [-2], rtol=1e-6)
    optim.clip_grad_value_([p, q, idle], 1.75)
    np.testing.assert_allclose([*p.grad.data, *q.grad.data], [1.5, 0, -1.75], rtol=1e-6)
    assert optim.global_norm([p, q], math.inf) == 1.75
    assert optim.global_norm([p, q], 1) == pytest.approx(3.25, rel=1e-6)
    assert optim.global_norm([idle]) == 0.0 and idle.grad is None


def test_clipping_refuses_what_is_no_number():
    p, q, _ = grads_of([np.inf], [1.0])
    with pytest.raises(KinoneError, match="gradients with a finite norm, got inf"):
        optim.clip_grad_norm_([p, q], 1.0, error_if_nonfinite=True)
    for call, match in (
        (lambda: optim.clip_grad_norm_([p], -1.0), "max_norm, a number from 0 on"),
        (lambda: optim.clip_grad_norm_(3, 1.0), "a model, or Parameters, got a int"),
        (lambda: optim.global_norm([p], -2.0), "norm_type above 0"),
    ):
        with pytest.raises(ArgumentError, match=match):
            call()


# ------------------------------------------------------------------------------ files
def test_csv_is_written_line_by_line_and_goes_on(tmp_path):
    path = tmp_path / "logs" / "fit.csv"
    lines: list[int] = []
    log = training.CSVLogger(path)
    history = fitted(net(), epochs=3, callbacks=[log, lambda fit: lines.append(path.read_text().count("\n"))])
    assert lines == [2, 3, 4]
    fitted(net(), epochs=4, initial_epoch=3, callbacks=[training.CSVLogger(path, append=True)])
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["loss"]) for row in rows[:3]] == history["loss"]
    with pytest.raises(ArgumentError, match=r"the figures of fit.csv \(loss, lr, seconds\), got loss, mae"):
        fitted(net(), metrics="mae", callbacks=[training.CSVLogger(path, append=True)])


@pytest.mark.parametrize(
    ("make", "extra"), [(lambda: training.TensorBoard("x"), "tensorboard"), (training.MLflow, "mlflow")]
)
def test_a_missing_extra_is_named(make, extra, monkeypatch):
    from kinone.training import loggers

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(loggers, "import_module", missing)
    with pytest.raises(MissingExtraError, match=rf"pip install 'kinone\[{extra}\]'"):
        make()


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


# ------------------------------------------------------------------------------ the search of a rate
def test_the_search_finds_a_rate_and_leaves_no_trace():
    model = net()
    optimizer = optim.Adam(
        [{"params": model.a}, {"params": [*model.norm.parameters(), *model.b.parameters()], "lr": 0.5}]
    )
    fitted(model, optimizer=optimizer)
    grad = model.a.weight.grad
    model.eval()
    before = (bits(model), json.dumps(optimizer.state_dict(), default=lambda a: a.tolist()), kn.random.snapshot())
    found = training.find_lr(model, (X, Y), loss=mse, optimizer=optimizer, batch_size=8, steps=80)
    after = (bits(model), json.dumps(optimizer.state_dict(), default=lambda a: a.tolist()), kn.random.snapshot())
    assert after == before and model.a.weight.grad is grad and not model.training
    assert found.suggestion is not None and 1e-4 < found.suggestion < 1.0
    assert found.rates[0] == 1e-7 and np.all(np.diff(found.rates) > 0) and len(found.losses) == len(found.rates)
    texts = [t.text or "" for t in ET.fromstring(found.plot()).iter()]
    assert "100" not in texts  # how it exploded presses nothing flat
    assert any(t.startswith("suggestion ") for t in texts) and "learning rate" in texts
    assert repr(found).startswith("RateSearch(suggestion")


def test_the_search_stops_when_the_loss_explodes():
    model = nn.Linear(3, 1)
    found = training.find_lr(model, (X, Y), loss=mse, optimizer=optim.SGD(model), high=1e6, steps=200)
    assert found.rates[-1] < 1e5 and np.isfinite(found.losses).all()
    flat = nn.Module.build(lambda x, w: x.sum(axis=1, keepdims=True) + 0 * w, w=1.0)
    assert training.find_lr(flat, [(X, Y)], loss=mse, optimizer=optim.SGD(flat), steps=10).suggestion is None


@pytest.mark.parametrize(
    ("options", "match"),
    [({"low": 1.0, "high": 0.1}, "0 < low < high"), ({"steps": 2}, "steps, a whole number from 3 on"),
     ({"optimizer": object()}, "an optimizer of Kinone, whose state can be put back"),
     ({"data": iter([(X, Y)])}, "can be read 2 times"),
     ({"data": (X * np.float32(np.nan), Y)}, "finite at three rates at least, got 0")],
)  # fmt: skip
def test_the_search_refuses(options, match):
    model = net()
    given = {"data": (X, Y), "loss": mse, "optimizer": optim.SGD(model), **options}
    with pytest.raises(ArgumentError, match=match):
        training.find_lr(model, **given)


# ------------------------------------------------------------------------------ what is shown
def test_plain_lines_where_there_is_no_terminal(capsys):
    fitted(net(), epochs=2, validation=(X, Y), metrics="mae", verbose=True)
    one, two = capsys.readouterr().out.splitlines()
    assert (
        one.startswith("epoch 1/2 · ")
        and "samples/s" in one
        and "left" in one
        and " · mae " in one
        and one.count(" (val ") == 2
    )
    assert two.startswith("epoch 2/2 · ") and "left" not in two and "seconds" not in two
    fitted(net(), epochs=5, max_steps=7, verbose=True)
    assert capsys.readouterr().out.splitlines()[-1] == "ended: max_steps=7 are made"


def test_a_bar_in_a_terminal(monkeypatch):
    pytest.importorskip("rich", reason="rich is not installed (the extra cli)")
    monkeypatch.setenv("TERM", "xterm-256color")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()

    class Slow(training.Callback):
        def on_validation_end(self, fit: Any) -> None:
            time.sleep(0.3)  # the bar is drawn anew eight times a second

    for data in ((X, Y), lambda: iter([(X, Y)] * 3)):
        fitted(net(), data, epochs=2, validation=(X, Y), callbacks=[training.Progress(out), Slow()])
    text = out.getvalue()
    assert text.count("epoch 2/2 · ") == 2 and "samples/s" in text
    assert "━" in text and "5/5" in text and "validating …" in text


# ------------------------------------------------------------------------------ classes of one's own
def test_classes_of_ones_own_pass_through_fit():
    """None of them inherits from Kinone: the contracts are all they know."""
    from kinone.nn import contracts

    class Line:
        training = True

        def __init__(self) -> None:
            self.w = kn.Tensor(np.zeros((3, 1), np.float32), requires_grad=True)

        def __call__(self, x: Any) -> Any:
            return x @ self.w

        def parameters(self) -> Any:
            return iter([self.w])

        def train(self, mode: bool = True) -> None:
            self.training = mode

    class Descent:
        def __init__(self, model: Any) -> None:
            self.model, self.lr = model, 0.1

        def step(self) -> None:
            for p in self.model.parameters():
                p.data = p.data - np.float32(self.lr) * p.grad.data

        def zero_grad(self) -> None:
            for p in self.model.parameters():
                p.grad = None

    class Halving:
        def __init__(self, optimizer: Any) -> None:
            self.optimizer = optimizer

        def step(self) -> None:
            self.optimizer.lr /= 2

    class Rows:
        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, index: int) -> Any:
            return X[index], Y[index]

    class Largest:
        name = "largest"

        def reset(self) -> None:
            self.value = 0.0

        def update(self, prediction: Any, target: Any) -> None:
            self.value = max(self.value, float(np.abs(prediction - target).max()))

        def compute(self) -> float:
            return self.value

    class Count:
        epochs = 0

        def on_epoch_end(self, fit: Any) -> None:
            self.epochs += 1

    model, count = Line(), Count()
    optimizer = Descent(model)
    schedule = Halving(optimizer)
    kinds: list[Any] = [
        (model, contracts.ModuleLike), (model.w, contracts.ParameterLike), (optimizer, contracts.OptimizerLike),
        (schedule, contracts.ScheduleLike), (Rows(), contracts.DatasetLike), (Largest(), contracts.MetricLike),
        (training.Callback(), contracts.CallbackLike), (mse(model(X), Y), contracts.TensorLike),
        (optim.StepLR(optim.SGD(net()), 1), contracts.StatefulLike),
    ]  # fmt: skip
    assert all(isinstance(thing, contract) for thing, contract in kinds)
    assert not isinstance(object(), contracts.ModuleLike) and not isinstance(np.zeros(2), contracts.TensorLike)
    history = training.fit(model, Rows(), Rows(), loss=mse, optimizer=optimizer, schedule=schedule, epochs=3,
                           batch_size=8, metrics=[Largest()], callbacks=[count], clip_norm=5.0, accumulate=2,
                           verbose=False)  # fmt: skip
    assert history["val_loss"][-1] < history["loss"][0] and history["val_largest"][-1] > 0
    assert optimizer.lr == 0.1 / 8 and count.epochs == 3 and model.training
    assert training.predict(model, X).shape == (37, 1)


def test_a_metric_without_a_name_is_refused():
    class Nameless:
        def reset(self) -> None: ...
        def update(self, prediction: Any, target: Any) -> None: ...
        def compute(self) -> float:
            return 0.0

    with pytest.raises(ArgumentError, match="a metric with a name, got a Nameless without one"):
        fitted(net(), metrics=[Nameless()])
