"""KeyDNN's checkpoints, `keydnn.json.ckpt.v1`: layers as type, config and children, parameters as ours in base64.

    {"format": "keydnn.json.ckpt.v1", "arch": {"type": "Sequential", "config": {}, "children": {"0": {…}, …}},
     "state": {"0.weight": {"b64": "…", "dtype": "<f4", "shape": [2, 3], "order": "C"}, …}}

Linear and Conv2d have our weights. Recurrent cells compute x·W, not x·Wᵀ: their matrices are transposed on the way.
KeyDNN writes its keys in alphabetical order, "10" before "2": layers stand in the order of their numbers here. It
writes parameters only: the running statistics of a batch norm are missing in the file, and loading says so.
"""

import re
from collections.abc import Callable
from typing import Any

from kinone import nn, random
from kinone.errors import ArgumentError, FormatError
from kinone.formats.bounds import Bounded, check_sizes
from kinone.formats.contents import FORMAT

NAME = "keydnn.json.ckpt.v1"
Config = dict[str, Any]
_LEFT_OUT = {"device", "dtype"}  # of a config: we compute on the CPU, and the state tells the dtypes
_NUMBERED = re.compile(r"(\D*)(\d+)")


def migrated(tree: dict[str, Any], where: str) -> dict[str, Any]:
    """The contents of a `kinone.json.v1` that is the same model."""
    if tree.keys() != {"format", "arch", "state"} or not isinstance(tree["state"], dict):
        raise FormatError(where, "a checkpoint of KeyDNN's: format, arch and state", ", ".join(tree))
    reader = _Reader(where)
    held = sum(getattr(array, "size", 0) for array in tree["state"].values())
    check_sizes(tree["arch"], held, where)
    with random.standing_in(Bounded(4 * held + (1 << 16), where)):
        model = reader.module(tree["arch"], "")
    state = {reader.renamed(name): reader.turned(name, array) for name, array in tree["state"].items()}
    return {"format": FORMAT, "arch": nn.described(model), "state": state}


class _Reader:
    def __init__(self, where: str) -> None:
        self.where = where
        self.cells: set[str] = set()  # paths of recurrent cells
        self.names: dict[str, str] = {}  # of parameters, where ours are others

    def module(self, node: Any, path: str) -> nn.Module:
        if not isinstance(node, dict) or not {"type"} <= node.keys() <= {"type", "config", "children"}:
            raise self.error(path, "type, config and children", "something else")
        kind, config, children = node["type"], node.get("config") or {}, node.get("children") or {}
        if not isinstance(kind, str) or kind not in _LAYERS:
            expected = f"one of {', '.join(_LAYERS)}"
            hint = "its gates are others than ours." if kind in ("GRU", "GRUCell") else ""
            raise FormatError(self.where, f"{expected} at {path or 'the top'}", repr(kind)[:60], hint=hint)
        if not isinstance(config, dict) or not isinstance(children, dict):
            raise self.error(path, "a config and children by name", "something else")
        given = {name: value for name, value in config.items() if name not in _LEFT_OUT}
        try:
            return _LAYERS[kind](self, given, children, path)
        except (TypeError, KeyError, AttributeError) as error:
            raise self.error(path, f"a config that makes a {kind}", str(error)) from None
        except ArgumentError as error:
            raise self.error(path, f"a config that makes a {kind}", f"{error.got} ({error.where})") from None

    def error(self, path: str, expected: str, got: str) -> FormatError:
        return FormatError(self.where, f"{expected} at {path or 'the top'}", got)

    def alone(self, children: Config, path: str, *names: str) -> None:
        if children.keys() - set(names):
            raise self.error(path, "a layer without children", ", ".join(children))

    def sequential(self, config: Config, children: Config, path: str) -> nn.Module:
        if config:
            raise self.error(path, "a Sequential without a config", ", ".join(config))
        names = self.ordered(list(children), path)
        layers = {name: self.module(children[name], f"{path}.{name}" if path else name) for name in names}
        return (
            nn.Sequential(layers) if names != [str(i) for i in range(len(names))] else nn.Sequential(*layers.values())
        )

    def ordered(self, names: list[str], path: str) -> list[str]:
        """The order in which the layers stood: that of their numbers, or of the file where it is not the alphabet's."""
        parts = [_NUMBERED.fullmatch(name) for name in names]
        numbers = {name: int(part[2]) for name, part in zip(names, parts, strict=True) if part}
        if len(numbers) == len(names) and len({part[1] for part in parts if part}) <= 1:
            return sorted(names, key=numbers.__getitem__)
        if len(names) > 1 and names == sorted(names):
            hint = 'KeyDNN writes names alphabetically; in arch and state, call the layers "0", "1", … in their order.'
            got = ", ".join(names)[:200]
            expected = f"layers at {path or 'the top'} whose names tell their order"
            raise FormatError(self.where, expected, got, hint=hint)
        return names

    def rnn(self, kind: type[nn.Module], config: Config, children: Config, path: str) -> nn.Module:
        """KeyDNN returns (sequence, last state) or the sequence alone; as Keras does only with `keras_compat`."""
        self.alone(children, path, "cell")
        given = dict(config)
        is_keras = given.pop("keras_compat", False)
        if not is_keras:
            given["return_sequences"] = True
        start = f"{path}." if path else ""
        self.cells.add(f"{start}cell")
        for ours, theirs in (("weight_ih", "W_ih"), ("weight_hh", "W_hh"), ("bias_ih", "b_ih"), ("bias_hh", "b_hh")):
            self.names[f"{start}cell.{theirs}"] = f"{start}{ours}_l0"
        return kind(**given)

    def cell(self, kind: type[nn.Module], config: Config, children: Config, path: str) -> nn.Module:
        self.alone(children, path)
        start = f"{path}." if path else ""
        self.cells.add(path)
        for ours, theirs in (("weight_ih", "W_ih"), ("weight_hh", "W_hh"), ("bias_ih", "b_ih"), ("bias_hh", "b_hh")):
            self.names[f"{start}{theirs}"] = f"{start}{ours}"
        return kind(**config)

    def norm(self, kind: type[nn.Module], config: Config, children: Config, path: str) -> nn.Module:
        self.alone(children, path)
        start = f"{path}." if path else ""
        self.names |= {f"{start}gamma": f"{start}weight", f"{start}beta": f"{start}bias"}
        return kind(**({"elementwise_affine" if k == "affine" else k: v for k, v in config.items()}
                       if kind is nn.LayerNorm else config))  # fmt: skip

    def renamed(self, name: str) -> str:
        return self.names.get(name, name)

    def turned(self, name: str, array: Any) -> Any:
        owner, _, own = name.rpartition(".")
        return array.T if owner in self.cells and own in ("W_ih", "W_hh") and hasattr(array, "T") else array


def _plain(kind: type[nn.Module], **renamed: str) -> Callable[[_Reader, Config, Config, str], nn.Module]:
    def make(reader: _Reader, config: Config, children: Config, path: str) -> nn.Module:
        reader.alone(children, path)
        return kind(**{renamed.get(name, name): value for name, value in config.items()})

    return make


def _global_pool(reader: _Reader, config: Config, children: Config, path: str) -> nn.Module:
    reader.alone(children, path)
    return nn.AdaptiveAvgPool2d(1, **config)


_LAYERS: dict[str, Callable[[_Reader, Config, Config, str], nn.Module]] = {
    "Sequential": _Reader.sequential,
    "Linear": _plain(nn.Linear),
    "Conv2d": _plain(nn.Conv2d),
    "Conv2dTranspose": _plain(nn.ConvTranspose2d),
    "RNNCell": lambda r, *rest: r.cell(nn.RNNCell, *rest),
    "LSTMCell": lambda r, *rest: r.cell(nn.LSTMCell, *rest),
    "RNN": lambda r, *rest: r.rnn(nn.RNN, *rest),
    "LSTM": lambda r, *rest: r.rnn(nn.LSTM, *rest),
    "Flatten": _plain(nn.Flatten),
    "MaxPool2d": _plain(nn.MaxPool2d),
    "AvgPool2d": _plain(nn.AvgPool2d),
    "GlobalAvgPool2d": _global_pool,
    "BatchNorm1d": lambda r, *rest: r.norm(nn.BatchNorm1d, *rest),
    "BatchNorm2d": lambda r, *rest: r.norm(nn.BatchNorm2d, *rest),
    "LayerNorm": lambda r, *rest: r.norm(nn.LayerNorm, *rest),
    "Dropout": _plain(nn.Dropout),
    "ReLU": _plain(nn.ReLU),
    "LeakyReLU": _plain(nn.LeakyReLU, alpha="negative_slope"),
    "Sigmoid": _plain(nn.Sigmoid),
    "Tanh": _plain(nn.Tanh),
    "Softmax": _plain(nn.Softmax, axis="dim"),
}
