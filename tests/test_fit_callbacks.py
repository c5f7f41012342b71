"""Callbacks, clipping, the search of a learning rate, what is shown meanwhile, and classes of one's own."""

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
from fit_samples import Net, X, Y, bits, fitted, mse, net
from kinone import nn, optim, training
from kinone.errors import ArgumentError, KinoneError, MissingExtraError, StateError
from kinone.formats import load_checkpoint


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
