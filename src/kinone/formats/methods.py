"""What formats give to modules: save, load, save_json, load_json."""

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kinone.errors import ArgumentError, StateError
from kinone.formats.atomic import Place
from kinone.formats.contents import contents_of
from kinone.formats.files import read, suffix_of, write
from kinone.formats.rebuild import rebuilt
from kinone.nn.module import Module
from kinone.nn.state import LoadReport


def save(self: Module, path: Place) -> None:
    """Write architecture, weights and buffers: .safetensors, .json, .json.gz or .json.zst, whole or not at all."""
    write(path, contents_of(self))


def load(self: Module, path: Place, strict: bool = True, *, skip: Sequence[str] = (), prefix: str = "") -> LoadReport:
    """Take over the weights of a .safetensors, .json, .pth or .pt file, in this module's dtypes.

    All or nothing, and one error lists all that does not fit; with strict=False what fits is loaded, and the report
    says what was skipped. What begins with a name in `skip` stays as it is here, whatever the file has: `("fc.",)` for
    a head of one's own. With `prefix` the entries below it are taken, without it: "backbone.".
    """
    if isinstance(skip, str):
        raise ArgumentError("load", "skip as a sequence of names", repr(skip), hint=f"skip=({skip!r},).")
    contents = read(path)
    state: dict[str, Any] = {
        name.removeprefix(prefix): value for name, value in contents.state.items() if name.startswith(prefix)
    }
    if prefix and not state:
        got = ", ".join(list(contents.state)[:5]) or "no entries"
        raise StateError("load", f"entries below {prefix!r} in {os.fspath(path)}", got)
    if contents.arch is None:
        _count_batches(state)
    try:
        return _load(self, state, strict, tuple(skip))
    except StateError as error:
        if place := _place_of(self, state):
            error.add_note(f"All of them are in the file below {place!r}: load(path, prefix={prefix + place!r}).")
        raise


def _load(self: Module, state: dict[str, Any], strict: bool, skipped: tuple[str, ...]) -> LoadReport:
    if not skipped:
        return self.load_state_dict(state, strict)
    own = {name: value for name, value in self.state_dict().items() if name.startswith(skipped)}
    unread = tuple(name for name in state if name.startswith(skipped) and name not in own)
    state = {name: value for name, value in state.items() if not name.startswith(skipped)}
    report = self.load_state_dict({**state, **own}, strict)
    loaded = tuple(name for name in report.loaded if name not in own)
    return replace(report, loaded=loaded, missing=(*report.missing, *own), unexpected=(*report.unexpected, *unread))


def _place_of(self: Module, state: dict[str, Any]) -> str:
    """The prefix below which the state has every parameter of the model; "" if there is none, or several."""
    if any(module.is_waiting for module in self.modules()):
        return ""
    names = [name for name, _ in self.named_parameters()]
    places = [key.removesuffix(names[0]) for key in state if names and key.endswith(f".{names[0]}")]
    fitting = [place for place in places if all(place + name in state for name in names)]
    return fitting[0] if len(fitting) == 1 else ""


def _count_batches(state: dict[str, Any]) -> None:
    """Weights from before PyTorch counted batches say nothing of their number: it is 0, as PyTorch reads them."""
    for name in list(state):
        owner, _, own = name.rpartition("running_var")
        if own == "" and name.endswith("running_var"):
            state.setdefault(f"{owner}num_batches_tracked", np.zeros((), np.int64))


def save_json(self: Module, path: Place) -> None:
    """Write architecture and weights into one JSON file; .json.gz and .json.zst are compressed."""
    if suffix_of(path) == ".safetensors":
        raise ArgumentError("save_json", "a file name that ends in .json", repr(os.fspath(path)))
    write(path, contents_of(self))


def load_json(
    cls: type[Module], path: Place, modules: Iterable[type[Module]] = (), strict: bool = True, *,
    limit: int | None = None,
) -> Module:  # fmt: skip
    """The model that a file describes, with its weights: whatever `save` wrote, and KeyDNN's checkpoints.

    `modules` are classes of your own that it is made of (or put @nn.register above them). With strict=False a
    warning says what of the weights was missing or did not fit. `limit` is the number of bytes that a compressed file
    may grow to; without it, 64 times its size.
    """
    model, report = rebuilt(read(path, limit), os.fspath(path), modules, strict)
    if not isinstance(model, cls):
        raise StateError("load_json", f"a {cls.__name__} in {os.fspath(path)}", f"a {type(model).__name__}")
    if not report.is_complete:
        warnings.warn(str(report), stacklevel=2)
    return model


METHODS: dict[str, Any] = {"save": save, "load": load, "save_json": save_json, "load_json": classmethod(load_json)}
"""What `kinone` puts on modules."""
