"""What fit takes as data and what it refuses, and evaluate, predict and train_on_batch on the same data."""

from typing import Any

import numpy as np
import pytest

import kinone as kn
from fit_samples import X, Y, bits, fitted, mse, net
from kinone import nn, optim, training
from kinone.errors import ArgumentError, GraphError, KinoneError, ShapeError


# ------------------------------------------------------------------------------ what it takes as data
class Samples:
    def __len__(self) -> int:
        return 37

    def __getitem__(self, index: int) -> Any:
        return X[index], Y[index]


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        self.a, self.b = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x: Any, z: Any) -> Any:
        return self.a(x) + self.b(z)


def test_arrays_tensors_samples_lists_loaders_and_functions_are_the_same_data():
    from kinone.data import DataLoader

    batches = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 37, 8)]
    ways: dict[str, Any] = {
        "arrays": (X, Y), "tensors": (kn.Tensor(X), kn.Tensor(Y)), "numbers": (X.tolist(), Y.tolist()),
        "samples": Samples(), "batches": batches, "tuple of batches": tuple(batches),
        "function": lambda: iter(batches), "function of the epoch": lambda epoch: iter(batches),
        "loader": DataLoader(Samples(), batch_size=8),
    }  # fmt: skip
    found = {}
    for name, data in ways.items():
        model = net()
        fitted(model, data, epochs=3, shuffle=False)
        found[name] = bits(model)
    assert all(value == found["arrays"] for value in found.values()), found.keys()


def test_a_loader_is_told_the_epoch():
    from kinone.data import DataLoader

    runs = []
    for epochs, again in ((4, None), (2, 4)):
        model = net()
        optimizer = optim.SGD(model, lr=0.1)
        loader = DataLoader(Samples(), batch_size=8, shuffle=True, seed=3)
        fitted(model, loader, epochs=epochs, optimizer=optimizer)
        if again:
            loader = DataLoader(Samples(), batch_size=8, shuffle=True, seed=3)  # as after a restart
            fitted(model, loader, epochs=again, initial_epoch=epochs, optimizer=optimizer)
        runs.append(bits(model))
    assert runs[0] == runs[1]


def test_several_inputs():
    model = TwoInputs()
    history = fitted(model, ((X, X), Y), epochs=2, validation=((X, X), Y))
    assert len(history) == 2
    assert model.predict((X, X), batch_size=5).shape == (37, 1)


def generator(n: int = 3) -> Any:
    return ((X[:4], Y[:4]) for _ in range(n))


def test_a_one_shot_generator_serves_one_epoch_and_no_more():
    assert len(fitted(net(), generator()).losses) == 3
    for data, name in (
        (generator(), "generator"),
        (iter([(X, Y)]), "list_iterator"),
        (zip([X], [Y], strict=True), "zip"),
    ):
        with pytest.raises(
            ArgumentError, match=f"batches that can be read 2 times, got a one-shot {name}. Hint: a list"
        ):
            fitted(net(), data, epochs=2)
    with pytest.raises(ArgumentError, match=r"\[fit \(validation\)\] expected batches that can be read 2 times"):
        fitted(net(), validation=generator(), epochs=2)


def test_an_epoch_without_batches_is_an_error_not_a_silence():
    """The seeds' loader, whose first generator was used up when epoch two began."""
    once = generator()
    model = net()
    with pytest.raises(ArgumentError, match=r"in every epoch, got none in epoch 2[.] Hint: a generator gives"):
        fitted(model, lambda: once, epochs=3)
    with pytest.raises(ArgumentError, match="at least one batch in every epoch, got none"):
        fitted(model, [])
    assert model.training


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ((X[:0], Y[:0]), r"at least one sample, got an empty data set \(x has shape \(0, 3\)\)"),
        ((X, Y[:30]), r"x and y with as many samples, got 37 and 30 \(shapes \(37, 3\), \(30, 1\)\)"),
        (X, r"expected \(x, y\), got one array of shape \(37, 3\). Hint: fit\(model, \(x, y\)"),
        ((np.array(1.0), Y), "arrays whose first axis counts the samples, got a scalar"),
        ([X], r"a batch \(x, y\), got a ndarray"),
        ([(X, Y, Y)], r"a batch \(x, y\), got 3 parts"),
        ([(X[:0], Y[:0])], "batches with at least one sample, got an empty one"),
        ("data.npz", "got a str"),
        ({"x": X}, "got a dict"),
        (7, "got a int"),
        (lambda: 7, "a function that makes an iterator of batches, got one that gives a int"),
    ],
)  # fmt: skip
def test_data_that_is_none_is_refused(data, match):
    with pytest.raises(KinoneError, match=match):
        fitted(net(), data)


# ------------------------------------------------------------------------------ what it refuses
def other_optimizer() -> Any:
    return optim.SGD(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"loss": lambda p, y: (p - y) ** 2}, ShapeError, r"one number, got shape \(8, 1\). Hint: take its mean"),
        ({"loss": lambda p, y: 1.5}, ArgumentError, "a loss that gives a Tensor, got a float"),
        ({"loss": lambda p, y: kn.Tensor(1.5)}, GraphError, "a loss that depends on the parameters, got one without"),
        ({"loss": 3}, ArgumentError, r"a loss that is called with \(prediction, target\), got a int"),
        ({"loss": nn.Linear}, ArgumentError, "got the class Linear"),
        ({"optimizer": optim.SGD}, ArgumentError, "step.. and zero_grad.., got the class SGD"),
        ({"optimizer": other_optimizer()}, ArgumentError, "the model's parameters, got one that learns none"),
        ({"epochs": 0}, ArgumentError, "epochs, a whole number from 1 on, got 0"),
        ({"epochs": 2, "initial_epoch": 2}, ArgumentError, "epochs above initial_epoch=2, got 2"),
        ({"accumulate": 0}, ArgumentError, "accumulate, a whole number from 1 on"),
        ({"max_steps": 0}, ArgumentError, "max_steps, a whole number from 1 on"),
        ({"batch_size": 0}, ArgumentError, "batch_size, a whole number from 1 on"),
        ({"clip_norm": -1.0}, ArgumentError, "clip_norm, a number from 0 on"),
        ({"clip_value": "1"}, ArgumentError, "clip_value, a number from 0 on"),
        ({"callbacks": [training.EarlyStopping]}, ArgumentError, "a callback, got the class EarlyStopping"),
        ({"callbacks": [3]}, ArgumentError, "a callback with some hook"),
        ({"schedule": optim.StepLR}, ArgumentError, "a schedule with step"),
        ({"schedule": optim.StepLR(other_optimizer(), 1)}, ArgumentError, "got one of another optimizer"),
        ({"metrics": ["acuracy"]}, ArgumentError, "a metric among accuracy, .*, got 'acuracy'"),
        ({"metrics": [lambda p, y: 0.0]}, ArgumentError, "a metric with a name, got a function without one"),
        ({"metrics": ["mse", "mse"]}, ArgumentError, "metrics with different names, .* got mse twice"),
        ({"metrics": [training.Accuracy]}, ArgumentError, r"a metric, got the class Accuracy. Hint: Accuracy\(\)"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        fitted(net(), **options)


def test_a_misspelt_hook_is_refused():
    class Late(training.Callback):
        def on_epoch_ends(self, fit: Any) -> None:
            raise AssertionError

    with pytest.raises(ArgumentError, match=r"got Late[.]on_epoch_ends[.] Hint: did you mean on_epoch_end"):
        fitted(net(), callbacks=[Late()])


def test_a_model_that_is_none_is_refused():
    anything: Any = "resnet18"
    with pytest.raises(
        ArgumentError, match=r"\[fit\] expected a model with __call__, parameters\(\) and train\(\), got a str"
    ):
        training.fit(anything, (X, Y), loss=mse, optimizer=other_optimizer())


# ------------------------------------------------------------------------------ evaluate, predict, train_on_batch
def test_evaluate_is_exact_over_uneven_batches():
    model = net().eval()
    p = model(X).numpy().astype(np.float64)
    found = model.evaluate((X, Y), loss=mse, metrics=["mae", "mse"], batch_size=8)
    assert found["mae"] == pytest.approx(np.abs(p - Y).mean(), rel=1e-6)
    assert found["mse"] == pytest.approx(((p - Y) ** 2).mean(), rel=1e-6) == pytest.approx(found["loss"], rel=1e-5)
    assert not model.training and all(p.grad is None for p in model.parameters())
    with pytest.raises(ArgumentError, match="a loss or metrics, got neither"):
        model.evaluate((X, Y))


def test_predict_is_the_model_in_use():
    model = net()
    model.train()
    whole = model.predict(X, batch_size=100)
    assert isinstance(whole, np.ndarray) and model.training
    np.testing.assert_allclose(model.predict(X, batch_size=5), whole, rtol=1e-5, atol=1e-6)
    for data in (Samples(), [X[:20], X[20:]], [(X[:20], Y[:20]), (X[20:], Y[20:])], kn.Tensor(X)):
        np.testing.assert_allclose(model.predict(data, batch_size=37), whole, rtol=1e-5, atol=1e-6)
    with pytest.raises(ArgumentError, match="at least one sample"):
        model.predict(X[:0])


def test_predict_of_several_outputs():
    model = nn.Module.build(lambda x, w: (x * w, x.sum(axis=1)), w=2.0)
    double, total = model.predict(X, batch_size=10)
    np.testing.assert_allclose(double, 2 * X)
    assert total.shape == (37,)


def test_train_on_batch_is_one_step_of_fit():
    one, two = net(), net()
    kn.random.seed(5)
    history = fitted(one, [(X[:8], Y[:8])], optimizer=optim.SGD(one, lr=0.1), metrics="mae", clip_norm=0.1)
    kn.random.seed(5)
    two.eval()
    found = two.train_on_batch(X[:8], Y[:8], loss=mse, optimizer=optim.SGD(two, lr=0.1), metrics="mae", clip_norm=0.1)
    assert bits(one) == bits(two) and not two.training
    assert found == {"loss": history["loss"][0], "mae": history["mae"][0]}
