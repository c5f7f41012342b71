"""States and architectures: out of a module as plain data, and back into one that is the same."""

import json
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn
from kinone.errors import ArgumentError, FormatError, StateError


class Pair(nn.Module):
    """Two layers, the second of a width that its input tells."""

    def __init__(self, n: int, act: Any = kn.relu, inner: Any = None, *, scale: float = 1.0) -> None:
        self.n, self.act, self.scale = n, act, scale
        self.a, self.b, self.inner = nn.Linear(n, n), nn.Linear(4), inner
        self.register_buffer("count", kn.Tensor(0))

    def forward(self, x: Any) -> Any:
        return self.b(self.act(self.a(x))) * self.scale


KINDS = {**nn.MODULES, "Pair": Pair}
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def again(module: nn.Module) -> nn.Module:
    copy = nn.build(json.loads(json.dumps(nn.described(module))), KINDS)
    copy.load_state_dict(module.state_dict())
    return copy


def test_a_copy_computes_the_same():
    model = Pair(3, kn.tanh, nn.Identity(), scale=0.5)
    y = model(X)
    copy: Any = again(model)
    assert np.array_equal(copy(X).data, y.data)
    assert (copy.act, copy.scale, type(copy.inner)) == (kn.tanh, 0.5, nn.Identity)


def test_what_changed_after_the_constructor_is_described():
    model = Pair(3, inner=Pair(2))
    model.scale, model.a, model.inner.b = 2.0, nn.Linear(3, 3, bias=False), nn.Linear(2, 7)
    model(X)
    copy: Any = again(model) if not model.inner.a.is_waiting else None
    assert copy.scale == 2.0 and copy.a.bias is None and copy.inner.b.out_features == 7
    assert np.array_equal(copy(X).data, model(X).data)
    del model.inner
    without: Any = nn.build(nn.described(model), KINDS)
    assert without.inner is None
    model.b = None
    assert ["b", None] in nn.described(model)["changed"]


class Stack(nn.Module):
    """Layers in a container that its constructor makes."""

    def __init__(self, n: int) -> None:
        self.layers = nn.Sequential(nn.Linear(n, n), nn.Tanh(), nn.Linear(n, n))

    def forward(self, x: Any) -> Any:
        return self.layers(x)


@pytest.mark.parametrize("change", ["replaced", "one more", "one less", "in between"])
def test_what_changed_in_a_container_of_its_own_is_described(change):
    """A new head on a published model, above all."""
    model: Any = Stack(3)
    if change == "replaced":
        model.layers[2] = nn.Linear(3, 5)
    elif change == "one more":
        model.layers.append(nn.Linear(3, 5))
    elif change == "one less":
        del model.layers[1]
    else:
        model.layers.insert(1, nn.Linear(3, 3, bias=False))
    copy = nn.build(json.loads(json.dumps(nn.described(model))), {**KINDS, "Stack": Stack})
    assert copy.load_state_dict(model.state_dict()).is_complete
    assert np.array_equal(copy(X).data, model(X).data)
    assert nn.described(copy) == nn.described(model)
    assert "changed" not in nn.described(Stack(3))


def test_settings_of_parts_that_changed_are_described():
    model = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1)
    untouched = nn.described(model)
    assert "changed" not in untouched
    model.dropout1.p, model.norm1.eps = 0.5, 1e-3
    copy: Any = nn.build(json.loads(json.dumps(nn.described(model))), KINDS)
    assert (copy.dropout1.p, copy.dropout2.p, copy.norm1.eps, copy.norm2.eps) == (0.5, 0.1, 1e-3, 1e-5)
    waits = nn.Sequential(Pair(3))
    waits(X)
    assert "changed" not in json.dumps(nn.described(waits)["config"]), "a first input is no change"


def test_a_shared_module_stays_shared():
    shared = nn.Linear(3, 3)
    model = Pair(3, inner=Pair(3, inner=shared))
    model.a = shared
    model(X), model.inner(X)
    copy: Any = again(model)
    assert copy.a is copy.inner.inner


class Three(nn.Module):
    """Whose arguments do not stand in the alphabet's order."""

    def __init__(self, z: Any, m: Any, a: Any) -> None:
        self.z, self.m, self.a = z, m, a


def test_a_shared_module_is_found_whatever_the_order_of_keys():
    shared = nn.Linear(3, 3)
    model = Three(shared, nn.Tanh(), Three(nn.ReLU(), shared, nn.Linear(1, 1)))
    for is_sorted in (False, True):
        text = json.dumps(nn.described(model), sort_keys=is_sorted)
        copy: Any = nn.build(json.loads(text), {**KINDS, "Three": Three})
        assert copy.z is copy.a.m and copy.a.a.in_features == 1 and type(copy.a.z) is nn.ReLU


def test_special_values_survive():
    model = Pair(3, scale=float("inf"))
    copy: Any = nn.build(json.loads(json.dumps(nn.described(model))), KINDS)
    assert copy.scale == float("inf")


def test_functions_of_ones_own_are_refused_by_name():
    with pytest.raises(ArgumentError, match=r"\[Pair.act\] expected numbers, text, modules and operators"):
        nn.described(Pair(3, lambda x: x))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ([], "a description with module and config"),
        ({"module": "os.system", "config": {}}, "the name of a known module, got 'os.system'"),
        ({"module": "Linear", "config": []}, "a config of named values"),
        ({"module": "Linear", "config": {"in_features": 2, "width": 3}}, "arguments of Linear, got width"),
        ({"module": "Linear", "config": {"in_features": "2", "out_features": 3}}, "in_features"),
        ({"module": "Linear", "config": {"in_features": {"float": "1e9"}, "out_features": 3}}, "a value of a config"),
        ({"module": "Linear", "config": {}}, "a config that makes a Linear"),
        ({"shared": 0}, "a module described before"),
        ({"module": "Identity", "config": {}, "changed": [["a.b", None]]}, "a path of modules, got 'a.b'"),
        ({"module": "Identity", "config": {}, "changed": [["_made", None]]}, "a path of modules, got '_made'"),
        ({"module": "Identity", "config": {}, "changed": {"a": None}}, "pairs of a path and a module as changed"),
    ],
)
def test_wrong_descriptions_are_refused(data: Any, match: str):
    with pytest.raises((FormatError, ArgumentError), match=match):
        nn.build(data, KINDS)


# ------------------------------------------------------------------------------ states
def test_keys_and_order_are_pytorchs():
    model = Pair(3)
    model(X)
    assert list(model.state_dict()) == ["count", "a.weight", "a.bias", "b.weight", "b.bias"]


def test_all_faults_of_a_state_come_in_one_error_and_nothing_changes():
    model = Pair(3)
    before = model(X).data
    state = {name: value.data + 1 for name, value in model.state_dict().items()}
    state["a.weigth"] = state.pop("a.weight")
    state["b.bias"] = np.ones(7, np.float32)
    with pytest.raises(StateError) as caught:
        model.load_state_dict(state)
    for line in ("missing: a.weight (like a.weigth)", "unexpected: a.weigth (like a.weight)",
                 "b.bias is (7,) in the state and (4,) in the module"):  # fmt: skip
        assert line in str(caught.value)
    assert np.array_equal(model(X).data, before)


def test_what_fits_is_loaded_on_request_and_the_rest_is_told():
    model = Pair(3)
    model(X)
    report = model.load_state_dict({"a.bias": np.full(3, 2.0), "c": np.ones(1)}, strict=False)
    assert report.loaded == ("a.bias",) and report.unexpected == ("c",) and not report.is_complete
    assert set(report.missing) == {"count", "a.weight", "b.weight", "b.bias"}
    assert model.a.bias is not None and model.a.bias.data.tolist() == [2, 2, 2] and model.a.bias.dtype == np.float32
    assert "missing: b.weight" in str(report)


def test_dtypes_stay_or_are_taken_over_but_never_change_kind():
    layer = nn.Linear(2, 2)
    state = {name: value.data.astype(np.float64) for name, value in layer.state_dict().items()}
    layer.load_state_dict(state)
    assert {p.dtype for p in layer.parameters()} == {np.dtype(np.float32)}
    layer.load_state_dict(state, assign=True)
    assert {p.dtype for p in layer.parameters()} == {np.dtype(np.float64)}
    with pytest.raises(StateError, match="a dtype like float64, got int64"):
        layer.load_state_dict({**state, "bias": np.array([1, 2])})


def test_a_loaded_state_is_a_copy():
    layer, state = nn.Linear(2, 2), {"weight": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}
    layer.load_state_dict(state)
    state["weight"][:] = 5
    assert layer.weight is not None and layer.weight.data.max() == 1


def test_waiting_layers_take_their_shapes_from_the_first_input_or_a_state():
    layer = nn.Linear(4)
    with pytest.raises(StateError, match="waits for its first input"):
        list(layer.parameters())
    with pytest.raises(StateError, match="waits for its first input"):
        layer.state_dict()
    layer.load_state_dict({"weight": np.ones((4, 5), np.float32), "bias": np.ones(4, np.float32)})
    assert layer(np.ones((1, 5), np.float32)).data.tolist() == [[6, 6, 6, 6]]
    other = nn.Linear(4)
    other(np.ones((1, 7), np.float32))
    assert other.in_features == 7 and other.get_config()["in_features"] == 7


def test_conversion_and_titles():
    model = Pair(3)
    model(X)
    assert {p.dtype for p in model.double().parameters()} == {np.dtype(np.float64)}
    model.title = "pair18"
    with pytest.raises(kn.errors.ShapeError) as caught:
        model(np.ones((2, 5)))
    assert caught.value.__notes__ == ["in pair18.a (Linear)"]
