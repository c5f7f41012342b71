"""Putting an optimizer's state back: all of it or nothing, with every parameter that does not fit in one error."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kinone.core.tensor import Tensor
from kinone.errors import StateError

if TYPE_CHECKING:
    from kinone.optim.optimizer import Optimizer, Slot

WHERE = "load_state_dict"


def load_into(optimizer: "Optimizer", state: Mapping[str, Any]) -> None:
    """Give every parameter its state and every group its options; by name where both sides know names."""
    groups, arrays, steps = _parts(optimizer, state)
    faults = _faults_of_groups(optimizer, groups)
    own = _slots_of_groups(optimizer)
    pairs: list[tuple[int, Slot]] = []
    if not faults:
        for group, slots in zip(groups, own, strict=True):
            found, more = _paired(group, slots)
            pairs += found
            faults += more
    loaded: dict[int, dict[str, Any]] = {}
    for number, slot in pairs:
        given = {name: _array(value) for name, value in arrays.get(str(number), {}).items()}
        loaded[id(slot)] = given
        faults += _faults_of(optimizer, slot, given, steps[number] if number < len(steps) else None)
    if faults:
        got = f"{len(faults)} that do not:\n  " + "\n  ".join(faults) + "\n"
        hint = "make the optimizer from the same model and groups as the one that was saved."
        raise StateError(WHERE, f"a state whose parts all fit this {optimizer.where}", got, hint=hint)
    for number, slot in pairs:
        dtype = slot.parameter.dtype
        slot.step = steps[number]
        slot.arrays = {
            name: np.array(array, None if name in optimizer.scalars else dtype, order="K")
            for name, array in loaded[id(slot)].items()
        }
    for group, given in zip(optimizer.param_groups, groups, strict=True):
        options = {name: value for name, value in given.items() if name not in ("params", "param_names")}
        group.update({name: tuple(v) if isinstance(v, list) else v for name, v in options.items()})


def _parts(optimizer: "Optimizer", state: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any], list[Any]]:
    kinds = {"name": str, "groups": list, "state": Mapping, "steps": list}
    if not isinstance(state, Mapping) or not all(isinstance(state.get(key), kind) for key, kind in kinds.items()):
        got = f"the keys {', '.join(map(str, state))}" if isinstance(state, Mapping) else f"a {type(state).__name__}"
        raise StateError(WHERE, "what an optimizer's state_dict() gave: name, groups, state, steps", got)
    if state["name"] != optimizer.where:
        raise StateError(WHERE, f"the state of {optimizer.where}", f"that of {state['name']}")
    return state["groups"], dict(state["state"]), state["steps"]


def _faults_of_groups(optimizer: "Optimizer", groups: list[Any]) -> list[str]:
    if len(groups) != len(optimizer.param_groups):
        return [f"{len(groups)} groups in the state, {len(optimizer.param_groups)} here"]
    faults: list[str] = []
    for i, (given, own) in enumerate(zip(groups, optimizer.param_groups, strict=True)):
        if len(given["params"]) != len(own["params"]):
            faults.append(f"group {i} has {len(given['params'])} parameters in the state, {len(own['params'])} here")
        known = {*optimizer.defaults, "params", "param_names", "initial_lr"}
        faults += [f"group {i}: no option {name}" for name in given if name not in known]
    return faults


def _slots_of_groups(optimizer: "Optimizer") -> list[list["Slot"]]:
    left = iter(optimizer.slots)
    return [[next(left) for _ in group["params"]] for group in optimizer.param_groups]


def _paired(group: Mapping[str, Any], slots: list["Slot"]) -> tuple[list[tuple[int, "Slot"]], list[str]]:
    """The number of each parameter in the state: the one of its name, or of its place if names are not known."""
    names = group.get("param_names")
    if names is None or not all(slot.is_named for slot in slots):
        return list(zip(group["params"], slots, strict=True)), []
    numbers = dict(zip(names, group["params"], strict=True))
    missing = [f"{slot.name} is not in the state" for slot in slots if slot.name not in numbers]
    strange = sorted(numbers.keys() - {slot.name for slot in slots})
    return [(numbers[slot.name], slot) for slot in slots if slot.name in numbers], [
        *missing,
        *(f"{name} is only in the state" for name in strange),
    ]


def _faults_of(optimizer: "Optimizer", slot: "Slot", given: dict[str, Any], step: Any) -> list[str]:
    if type(step) is not int or step < 0:
        return [f"{slot.name} has no number of steps in the state"]
    shapes = dict.fromkeys((*optimizer.always, *optimizer.sometimes), slot.parameter.shape)
    shapes |= dict.fromkeys(optimizer.scalars, ())
    faults = [f"{slot.name} has no {name} in the state" for name in optimizer.always if step and name not in given]
    faults += [f"{slot.name} has {name} in the state" for name in given if name not in shapes]
    return faults + [
        f"{slot.name} is of shape {slot.parameter.shape}, its {name} in the state of shape {array.shape}"
        for name, array in given.items()
        if name in shapes and array.shape != shapes[name]
    ]


def _array(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else np.asarray(value)
