"""KeyDNN's checkpoints become models that compute what they computed there, by NumPy alone."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn
from kinone.errors import FormatError, StateError

Node = dict[str, Any]


def layer(kind: str, children: dict[str, Node] | None = None, **config: Any) -> Node:
    return {"type": kind, "config": config, "children": children or {}}


def in_a_row(*layers: Node) -> Node:
    return layer("Sequential", {str(i): one for i, one in enumerate(layers)})


def write(path: Path, arch: Node, state: dict[str, Any]) -> Path:
    """As KeyDNN does: indented, and every key in alphabetical order."""
    payloads = {
        name: {
            "b64": base64.b64encode(a.tobytes()).decode(),
            "dtype": a.dtype.str,
            "shape": list(a.shape),
            "order": "C",
        }
        for name, a in state.items()
    }
    data = {"format": "keydnn.json.ckpt.v1", "arch": arch, "state": payloads}
    path.write_text(json.dumps(data, indent=2, sort_keys=True), encoding="utf-8")
    return path


def values(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


CONV = layer("Conv2d", in_channels=1, out_channels=2, kernel_size=[3, 3], stride=[1, 1], padding=[1, 1], bias=True,
             device="cpu", dtype="float32")  # fmt: skip
POOL: Node = {"kernel_size": [2, 2], "stride": [2, 2], "padding": [0, 0]}


def test_the_walk_through_of_its_manual(tmp_path: Path):
    """Conv2d, ReLU, MaxPool2d, Flatten, Linear, Softmax."""
    w, b, v, c = values(2, 1, 3, 3), values(2), values(4, 18), values(4)
    last = layer("Linear", in_features=18, out_features=4, bias=True, device="cpu")
    arch = in_a_row(CONV, layer("ReLU"), layer("MaxPool2d", **POOL), layer("Flatten"), last, layer("Softmax", axis=-1))
    path = write(tmp_path / "c.json", arch, {"0.weight": w, "0.bias": b, "4.weight": v, "4.bias": c})
    model = nn.Module.load_json(path)
    assert isinstance(nn.Sequential.load_json(path), nn.Sequential)
    x = values(3, 1, 6, 6)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    y = np.maximum(np.einsum("nchwij,ocij->nohw", windows, w) + b[:, None, None], 0)
    y = y.reshape(3, 2, 3, 2, 3, 2).max((3, 5)).reshape(3, 18) @ v.T + c
    y = np.exp(y - y.max(1, keepdims=True))
    np.testing.assert_allclose(model(x).data, y / y.sum(1, keepdims=True), rtol=2e-5, atol=1e-6)
    model.save_json(tmp_path / "ours.json")
    assert np.array_equal(nn.Module.load_json(tmp_path / "ours.json")(x).data, model(x).data)


@pytest.mark.parametrize("bias", [True, False])
def test_recurrent_cells_are_transposed(bias: bool, tmp_path: Path):
    u, v, b, c = values(3, 4), values(4, 4), values(4), values(4, seed=1)
    state = {"W_ih": u, "W_hh": v, **({"b_ih": b, "b_hh": c} if bias else {})}
    config = {"input_size": 3, "hidden_size": 4, "bias": bias}
    cell = nn.Module.load_json(write(tmp_path / "a.json", layer("RNNCell", **config), state))
    x, h = values(5, 2, 3), np.zeros((2, 4), np.float32)
    added = b + c if bias else 0
    np.testing.assert_allclose(cell(x[0], h).data, np.tanh(x[0] @ u + h @ v + added), rtol=1e-5, atol=1e-6)
    wanted = []
    for step in x:
        h = np.tanh(step @ u + h @ v + added)
        wanted.append(h)
    arch = layer("RNN", {"cell": layer("RNNCell", **config)}, **config)
    states = {f"cell.{name}": array for name, array in state.items()}
    y, last = nn.Module.load_json(write(tmp_path / "b.json", arch, states))(x)
    np.testing.assert_allclose(y.data, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last.data[0], wanted[-1], rtol=1e-5, atol=1e-6)
    keras = layer("RNN", arch["children"], **config, return_sequences=False, return_state=False, keras_compat=True)
    model = nn.Module.load_json(write(tmp_path / "c.json", in_a_row(keras), {f"0.{n}": a for n, a in states.items()}))
    np.testing.assert_allclose(model(x).data, wanted[-1], rtol=1e-5, atol=1e-6)


def test_lstms_are_transposed(tmp_path: Path):
    config = {"input_size": 3, "hidden_size": 4, "bias": True}
    state = {"W_ih": values(3, 16), "W_hh": values(4, 16), "b_ih": values(16), "b_hh": values(16, seed=1)}
    arch = layer("LSTM", {"cell": layer("LSTMCell", **config)}, **config, return_sequences=True, return_state=False)
    model = nn.Module.load_json(write(tmp_path / "a.json", arch, {f"cell.{n}": a for n, a in state.items()}))
    x, h, c = values(5, 2, 3), np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32)
    for step in x:
        i, f, g, o = np.split(step @ state["W_ih"] + h @ state["W_hh"] + state["b_ih"] + state["b_hh"], 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    np.testing.assert_allclose(model(x).data[-1], h, rtol=1e-5, atol=1e-6)


def test_layers_stand_in_the_order_of_their_numbers_not_of_the_alphabet(tmp_path: Path):
    """The seeds' fault: twelve layers by name are "0", "1", "10", "11", "2", … in the file."""
    weights = {f"{i}.weight": np.array([[1.0, i], [0.0, 1.0]], np.float32) @ np.diag([2.0, 1.0]).astype(np.float32)
               for i in range(12)}  # fmt: skip
    row = layer("Linear", in_features=2, out_features=2, bias=False)
    path = write(tmp_path / "a.json", in_a_row(*[row] * 12), weights)
    assert list(json.loads(path.read_text())["arch"]["children"])[:3] == ["0", "1", "10"]
    y = x = values(1, 2)
    for i in range(12):
        y = y @ weights[f"{i}.weight"].T
    np.testing.assert_allclose(nn.Module.load_json(path)(x).data, y, rtol=1e-5)
    named = layer("Sequential", {f"layer{i}": row for i in range(12)})
    named_path = write(tmp_path / "b.json", named, {f"layer{name}": array for name, array in weights.items()})
    np.testing.assert_allclose(nn.Module.load_json(named_path)(x).data, y, rtol=1e-5)


def test_names_that_tell_no_order_are_refused_not_guessed(tmp_path: Path):
    arch = layer("Sequential", {"stem": layer("ReLU"), "head": layer("Tanh")})
    with pytest.raises(FormatError, match=r"whose names tell their order, got head, stem\. Hint: KeyDNN writes names"):
        nn.Module.load_json(write(tmp_path / "a.json", arch, {}))
    (tmp_path / "b.json").write_text(json.dumps({"format": "keydnn.json.ckpt.v1", "arch": arch, "state": {}}))
    model: Any = nn.Module.load_json(tmp_path / "b.json")
    assert isinstance(model[0], nn.ReLU) and list(model.parts()) == ["stem", "head"]


def test_layers_without_parameters_keep_what_they_were_told(tmp_path: Path):
    arch = in_a_row(layer("Sigmoid"), layer("LeakyReLU", alpha=0.125), layer("Tanh"), layer("Softmax", axis=1),
                    layer("AvgPool2d", kernel_size=[2, 2], stride=[2, 2], padding=[1, 1]), layer("GlobalAvgPool2d"),
                    layer("Dropout", p=0.25))  # fmt: skip
    model: Any = nn.Module.load_json(write(tmp_path / "a.json", arch, {}))
    assert model[1].negative_slope == 0.125 and model[3].dim == 1 and model[6].p == 0.25
    x = values(2, 3, 4, 4)
    assert model[5](x).shape == (2, 3, 1, 1)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))).reshape(2, 3, 3, 2, 3, 2).mean((3, 5))
    np.testing.assert_allclose(model[4](x).data, padded, rtol=1e-5, atol=1e-6)


def test_running_statistics_that_are_not_in_the_file_are_told(tmp_path: Path):
    """The seeds' fault: the buffers of batch norm are missing from their checkpoints."""
    arch = in_a_row(layer("BatchNorm2d", num_features=2, eps=1e-3, momentum=0.2, affine=True, device="cpu"),
                    layer("LayerNorm", normalized_shape=[4], eps=1e-5, affine=True))  # fmt: skip
    state = {"0.gamma": values(2), "0.beta": values(2, seed=1), "1.gamma": values(4), "1.beta": values(4, seed=1)}
    path = write(tmp_path / "a.json", arch, state)
    with pytest.raises(StateError, match=r"(?s)missing: 0\.running_mean.*missing: 0\.running_var"):
        nn.Module.load_json(path)
    with pytest.warns(UserWarning, match=r"(?s)4 loaded, skipped:.*missing: 0\.running_mean"):
        model: Any = nn.Module.load_json(path, strict=False)
    assert np.array_equal(model[0].weight.data, state["0.gamma"]) and model[0].eps == 1e-3
    assert np.array_equal(model[1].bias.data, state["1.beta"])


@pytest.mark.parametrize(
    ("arch", "match"),
    [
        ([], "type, config and children at the top"),
        ({"type": "Linear", "more": 1}, "type, config and children"),
        (layer("GRU"), r"got 'GRU'\. Hint: its gates are others"),
        (layer("os.system"), "got 'os.system'"),
        ({"type": ["Linear"]}, r"got \['Linear'\]"),
        (layer("Linear"), "a config that makes a Linear"),
        (layer("Linear", in_features=3, out_features="2"), "a config that makes a Linear"),
        (layer("Linear", in_features=3, out_features=2, width=1), "a config that makes a Linear"),
        (layer("ReLU", {"0": layer("ReLU")}), "a layer without children at the top, got 0"),
        (in_a_row(in_a_row(layer("ReLU", {"0": layer("ReLU")}))), r"a layer without children at 0\.0"),
        (layer("Sequential", x=1), "a Sequential without a config"),
        ({"type": "Linear", "config": [1]}, "a config and children by name"),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_of_its_is_refused(arch: Any, match: str, tmp_path: Path):
    with pytest.raises(FormatError, match=match):
        nn.Module.load_json(write(tmp_path / "a.json", arch, {}))


def test_missing_and_malformed_parameters_are_refused(tmp_path: Path):
    arch = layer("Linear", in_features=3, out_features=2, bias=True)
    with pytest.raises(StateError, match="missing: bias"):
        nn.Module.load_json(write(tmp_path / "a.json", arch, {"weight": values(2, 3)}))
    with pytest.raises(StateError, match=r"weight is \(3, 2\) in the state and \(2, 3\)"):
        nn.Module.load_json(write(tmp_path / "a.json", arch, {"weight": values(3, 2), "bias": values(2)}))
    wrong: dict[str, Any] = {"format": "keydnn.json.ckpt.v1", "arch": arch, "state": {"weight": 1}}
    for state in ({"weight": 1}, [], {"weight": {"b64": "AAAA"}}):
        (tmp_path / "b.json").write_text(json.dumps({**wrong, "state": state}))
        with pytest.raises(FormatError):
            nn.Module.load_json(tmp_path / "b.json")


def test_weights_alone_go_into_a_model_that_is_there(tmp_path: Path):
    path = write(tmp_path / "a.json", in_a_row(CONV), {"0.weight": values(2, 1, 3, 3), "0.bias": values(2)})
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    before = kn.random.stream("init").step
    assert model.load(path).is_complete and kn.random.stream("init").step == before
    assert np.array_equal(model.state_dict()["0.bias"].data, values(2))
