"""Checkpoints of training runs: all that the next step depends on, so that it has the bits it would have had."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kinone import random
from kinone.errors import ArgumentError, FormatError, KinoneError, StateError
from kinone.formats.atomic import Place
from kinone.formats.contents import Contents, apply_about, contents_of
from kinone.formats.files import read, write
from kinone.formats.rebuild import rebuilt
from kinone.nn.module import Module


class Stateful(Protocol):
    """Optimizers, schedules and whatever else has a state of numbers, text and arrays."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


@dataclass(frozen=True)
class Checkpoint:
    """What a file held: the model with its weights, and what `progress` the run noted.

    `has` names what else the file has: "optimizer", "schedule", "random".
    """

    model: Module
    progress: Any
    has: tuple[str, ...]


def save_checkpoint(
    path: Place, *, model: Module, optimizer: Stateful | None = None, schedule: Stateful | None = None,
    progress: Any = None, has_streams: bool = True,
) -> None:  # fmt: skip
    """Write model, optimizer, schedule, all random streams and `progress` into one file, whole or not at all.

    `progress` is for the loop: numbers, text, lists, dicts and arrays, such as {"epoch": 3, "history": […]}. Gradients
    that have been collected but not used are not kept: save after `optimizer.step()`. Without `has_streams` the random
    streams stay out of it, and loading leaves them alone.
    """
    training: dict[str, Any] = {"random": random.snapshot()} if has_streams else {}
    if optimizer is not None:
        training["optimizer"] = optimizer.state_dict()
    if schedule is not None:
        training["schedule"] = schedule.state_dict()
    contents = contents_of(model)
    write(path, Contents(contents.state, contents.arch, contents.about, {**training, "progress": progress}))


def load_checkpoint(
    path: Place, *, model: Module | None = None, optimizer: Stateful | None = None,
    schedule: Stateful | None = None, modules: Iterable[type[Module]] = (), limit: int | None = None,
) -> Checkpoint:  # fmt: skip
    """Put everything back to where it was when the file was written: the random streams too.

    Without `model` the file's architecture is built (`modules`: classes of your own in it); an optimizer can only go
    on with the model that it was made from, so it needs `model`. Nothing is changed if anything does not fit.
    """
    where = os.fspath(path)
    if optimizer is not None and model is None:
        hint = "load_checkpoint(path, model=model, optimizer=optimizer)."
        raise ArgumentError("load_checkpoint", "the model that the optimizer was made from", "none", hint=hint)
    contents = read(path, limit)
    training = contents.training or {}
    for name, wanted in (("optimizer", optimizer), ("schedule", schedule)):
        if wanted is not None and name not in training:
            raise StateError("load_checkpoint", f"the state of an {name} in {where}".replace("an s", "a s"), "none")
    streams = _checked_streams(training["random"], where) if "random" in training else None
    if model is None:
        model, _ = rebuilt(contents, where, modules)
    else:
        _put_back(contents, where, model, optimizer, training)
    if schedule is not None:
        _load(schedule, training["schedule"], where)
    if streams is not None:
        random.restore(streams)
    return Checkpoint(model, training.get("progress"), tuple(name for name in training if name != "progress"))


def _put_back(
    contents: Contents, where: str, model: Module, optimizer: Stateful | None, training: dict[str, Any]
) -> None:
    waits = any(module.is_waiting for module in model.modules())
    before = {} if waits else {name: tensor.data for name, tensor in model.state_dict().items()}
    model.load_state_dict(contents.state, assign=True)
    try:
        if optimizer is not None:
            _load(optimizer, training["optimizer"], where)
        apply_about(contents, model, where)
    except Exception:
        if before:
            model.load_state_dict(before, assign=True)
        raise


def _load(part: Stateful, state: Any, where: str) -> None:
    try:
        part.load_state_dict(state)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise FormatError(where, f"a state of {type(part).__name__}", f"another ({error!r})") from error


def _checked_streams(states: Any, where: str) -> dict[str, Any]:
    """The state of the random streams, if `random.restore` will take it."""
    if not isinstance(states, Mapping) or states.keys() != {"seed", "streams"} or type(states["seed"]) is not int:
        raise FormatError(where, "the random streams with their seed", "something else")
    try:
        for state in states["streams"]:
            random.Stream(state["name"]).restore(state)
        random.Stream("any", states["seed"])
    except (KeyError, TypeError, KinoneError) as error:
        raise FormatError(where, "states of random streams", str(error)) from None
    return dict(states)
