"""Averages of weights: by hand, as a callback, from a checkpoint on, and with buffers."""

from typing import Any

import numpy as np
import pytest

from fit_samples import Net, X, Y, bits, fitted, mse, net
from kinone import nn, optim, training
from kinone.errors import ArgumentError, StateError
from kinone.formats import load_checkpoint


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
