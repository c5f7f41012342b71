"""What holds for every module, class by class: tests/module_samples.py has one sample of each."""

import json
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import models, nn
from kinone.errors import KinoneError, StateError
from module_samples import LAYERS, LOSSES, SEQUENCES, Sample
from network_samples import NETWORKS

SAMPLES: dict[str, Sample] = {**LAYERS, **SEQUENCES, **LOSSES, **NETWORKS}
KINDS = {**nn.MODULES, **models.MODULES}
RUN = [name for name, sample in SAMPLES.items() if sample.is_run]
LAZY = [name for name, sample in SAMPLES.items() if sample.lazy is not None]


def parts(y: Any) -> list[Any]:
    """All tensors and arrays of a result."""
    return [part for inner in y for part in parts(inner)] if isinstance(y, tuple | list) else [] if y is None else [y]


def values(y: Any) -> list[Any]:
    return [np.asarray(getattr(part, "data", part)) for part in parts(y)]


def call(module: nn.Module, inputs: tuple[Any, ...], seed: int = 0) -> Any:
    kn.random.seed(seed)
    return module(*inputs)


def mapped(f: Any, inputs: Any) -> Any:
    return tuple(mapped(f, x) for x in inputs) if isinstance(inputs, tuple) else f(inputs)


def as_double(x: Any) -> Any:
    return x.astype(np.float64) if x.dtype == np.float32 else x


def test_every_module_has_a_sample():
    assert sorted(SAMPLES) == sorted(KINDS)


@pytest.mark.parametrize("name", SAMPLES)
def test_an_architecture_and_a_state_make_the_same_module(name: str):
    sample = SAMPLES[name]
    module = sample.make()
    assert type(module) is KINDS[name]
    text = json.dumps(nn.described(module), sort_keys=True)
    copy = nn.build(json.loads(text), KINDS)
    assert json.dumps(nn.described(copy), sort_keys=True) == text
    assert repr(copy) == repr(module)
    assert type(module).from_config(module.get_config()).get_config().keys() == module.get_config().keys()
    state = module.state_dict()
    assert copy.load_state_dict(state).is_complete
    assert [*copy.state_dict()] == [*state]
    if sample.is_run:
        for mode in (True, False):
            ours, theirs = call(module.train(mode), sample.inputs), call(copy.train(mode), sample.inputs)
            for a, b in zip(values(ours), values(theirs), strict=True):
                np.testing.assert_array_equal(a, b)
        for key, value in module.state_dict().items():
            np.testing.assert_array_equal(value.data, copy.state_dict()[key].data)


@pytest.mark.parametrize("name", SAMPLES)
def test_it_prints_itself(name: str):
    text = repr(SAMPLES[name].make())
    assert text.startswith(f"{name}(") and text.endswith(")") and "object at" not in text


@pytest.mark.parametrize("name", RUN)
def test_gradients_reach_all_parameters_and_inputs(name: str):
    sample = SAMPLES[name]
    module = sample.make()
    inputs = mapped(lambda x: kn.Tensor(x, requires_grad=x.dtype.kind == "f"), sample.inputs)
    y = [part for part in parts(call(module, inputs)) if part.dtype.kind == "f"]
    if sample.shape is not None:
        assert y[0].shape == sample.shape
    for part in y:
        weights = np.cos(np.arange(part.size, dtype=part.dtype)).reshape(part.shape)
        part.backward(weights, retain_graph=True)
    for path, parameter in module.named_parameters():
        if path not in sample.idle:
            assert parameter.grad is not None and np.any(parameter.grad.data), path
    assert {path for path, _ in module.named_parameters()} >= set(sample.idle)
    for i, x in enumerate(parts(inputs)):
        assert not x.requires_grad or (x.grad is not None and np.any(x.grad.data)), f"input {i}"


@pytest.mark.parametrize("name", RUN)
def test_it_computes_in_double(name: str):
    sample = SAMPLES[name]
    single, double = sample.make(), sample.make()
    double.load_state_dict(single.state_dict())
    double.double()
    assert all(value.dtype != np.float32 for value in double.state_dict().values())
    for mode in (True, False):
        ys = call(single.train(mode), sample.inputs), call(double.train(mode), mapped(as_double, sample.inputs))
        for a, b in zip(*map(values, ys), strict=True):
            assert b.dtype == (np.float64 if a.dtype == np.float32 else a.dtype)
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    assert all(p.dtype == np.float64 for p in double.parameters())


@pytest.mark.parametrize(
    ("name", "inputs", "match"),
    [(name, *wrong) for name, sample in SAMPLES.items() for wrong in sample.wrong],
    ids=[f"{name}-{i}" for name, sample in SAMPLES.items() for i, _ in enumerate(sample.wrong)],
)
def test_wrong_inputs_are_refused_by_name_and_shape(name: str, inputs: tuple[Any, ...], match: str):
    model = nn.ModuleDict({"part": SAMPLES[name].make()})
    model.forward = model["part"].__call__
    with pytest.raises(KinoneError, match=match) as caught:
        model(*inputs)
    assert any(note.startswith("in ModuleDict.part") for note in caught.value.__notes__)


@pytest.mark.parametrize("name", [name for name in RUN if SAMPLES[name].empty is not None])
def test_an_empty_batch_is_answered_or_refused(name: str):
    sample = SAMPLES[name]
    assert sample.empty is not None
    for mode in (True, False):
        module = sample.make().train(mode)
        if sample.empty_error and mode in sample.empty_modes:
            with pytest.raises(KinoneError, match=sample.empty_error):
                call(module, sample.empty)
            continue
        y = call(module, sample.empty)
        assert all(not np.isnan(part).any() for part in values(y) if part.dtype.kind == "f")
        if sample.shape:
            assert values(y)[0].shape == (0, *sample.shape[1:])


@pytest.mark.parametrize("name", LAZY)
def test_shapes_come_from_the_first_input_or_from_a_state(name: str):
    sample = SAMPLES[name]
    assert sample.lazy is not None
    module, whole = sample.lazy(), sample.make()
    with pytest.raises(StateError, match="waits for its first input"):
        module.state_dict()
    waiting = nn.build(json.loads(json.dumps(nn.described(module))), KINDS)
    call(module, sample.inputs)
    assert {k: v.shape for k, v in module.state_dict().items()} == {k: v.shape for k, v in whole.state_dict().items()}
    assert module.get_config() == whole.get_config()
    waiting.load_state_dict(module.state_dict())
    for a, b in zip(
        values(call(waiting.eval(), sample.inputs)), values(call(module.eval(), sample.inputs)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
