"""What every optimizer is: groups of parameters with options, a state for each parameter, and one step over them."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone import kernels
from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, DtypeError, GraphError, NumericsError, ShapeError, nearest
from kinone.nn.module import Module

Array = NDArray[Any]
Arrays = list[Array]
Group = dict[str, Any]
Params = Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Mapping[str, Any]]

_FLAGS = ("nesterov", "maximize", "centered", "amsgrad", "decoupled_weight_decay")


@dataclass
class Slot:
    """One parameter, what errors call it, and what the optimizer remembers of it."""

    parameter: Tensor
    name: str
    is_named: bool
    step: int = 0
    arrays: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Parameters of one group that are updated in one call: their arrays, gradients and states, in one order."""

    group: Group
    slots: list[Slot]
    moment: Any
    params: Arrays
    grads: Arrays
    states: dict[str, Arrays]
    scale: float


class Optimizer:
    """p ← p + Δ(gradient, state, options) for every parameter that has a gradient.

    `params` is a Module, parameters, pairs (name, parameter) as `named_parameters()` gives them, or groups of these:
    dicts with "params" and the options in which they differ. `param_groups` holds the groups with all their options, to
    be read and changed. With `needs_finite`, a gradient with a NaN or an infinity is refused by the parameter's name.

    Parameters change in place, in one native call for a group. So call `backward` before `step`: a graph recorded
    earlier would see the new values.
    """

    always: tuple[str, ...] = ()  # the states that every parameter has after its first step
    sometimes: tuple[str, ...] = ()  # those that some options ask for
    scalars: tuple[str, ...] = ()  # those that are one number

    def __init__(self, params: Params, options: dict[str, Any], needs_finite: bool = False) -> None:
        self.where = type(self).__name__
        self.defaults = self.checked(options)
        self.needs_finite = needs_finite
        self.param_groups: list[Group] = []
        self.slots: list[Slot] = []
        self._by_id: dict[int, Slot] = {}
        given: list[Any] = [params] if isinstance(params, Module | Mapping) else _listed(self.where, params)
        if not given:
            hint = "a generator that was read before is empty; pass the model itself."
            raise ArgumentError(self.where, "at least one parameter", "none", hint=hint)
        is_grouped = [isinstance(part, Mapping) for part in given]
        if any(is_grouped) and not all(is_grouped):
            raise ArgumentError(self.where, "parameters, or groups of parameters", "both in one list")
        for group in given if is_grouped[0] else [{"params": params if isinstance(params, Module) else given}]:
            self.add_param_group(group)

    # ------------------------------------------------------------------------------ what each optimizer says
    def states(self, group: Group) -> tuple[str, ...]:
        """The arrays that a parameter of this group needs beside itself."""
        return self.always

    def update(self, batch: Batch) -> None:
        """Change parameters and states that are at the same `moment`."""
        raise NotImplementedError(f"{self.where} defines no update(self, batch)")

    def moment(self, slot: Slot) -> Hashable:
        """Parameters of a group that agree in this are updated in one call; by default, in the steps they made."""
        return slot.step

    def first(self, name: str, parameter: Array, group: Group) -> Array:
        """The state called `name` before the first step."""
        return np.zeros_like(parameter)

    def check_group(self, options: Group) -> None:
        """Refuse options that do not go together."""

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options, or an error that names the one that cannot be."""
        return {name: _checked(self.where, name, value) for name, value in options.items()}

    # ------------------------------------------------------------------------------ what they share
    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Learn further parameters too, with options of their own: {"params": …, "lr": …}."""
        given = dict(group)
        if "params" not in given:
            raise ArgumentError(self.where, 'a group {"params": …, options}', f"the keys {', '.join(given) or 'none'}")
        params = given.pop("params")
        kept = {name: given.pop(name) for name in ("initial_lr", "param_names") if name in given}
        for name in given:
            if name not in self.defaults:
                hint = nearest(name, self.defaults)
                raise ArgumentError(self.where, f"options among {', '.join(self.defaults)}", repr(name), hint=hint)
        options = self.checked({**self.defaults, **given})
        self.check_group(options)
        slots = self._slots_of(params, len(self.slots))
        if not slots:
            raise ArgumentError(self.where, "at least one parameter in a group", "none")
        known = dict(self._by_id)
        for slot in slots:
            if id(slot.parameter) in known:
                first = known[id(slot.parameter)].name
                raise ArgumentError(self.where, "each parameter once", f"{slot.name}, which was given as {first}")
            known[id(slot.parameter)] = slot
        self._by_id = known
        self.slots += slots
        kept.pop("param_names", None)
        self.param_groups.append({"params": [slot.parameter for slot in slots], **options, **kept})

    def _slots_of(self, params: Any, start: int) -> list[Slot]:
        named = isinstance(params, Module)
        parts = params.named_parameters() if named else [params] if isinstance(params, Tensor) else params
        slots: list[Slot] = []
        for i, part in enumerate(_listed(self.where, parts), start):
            is_pair = isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], str)
            name, parameter = part if is_pair else (f"parameter {i}", part)
            if not isinstance(parameter, Tensor):
                got = f"a {type(parameter).__name__} as {name}"
                raise ArgumentError(self.where, "Parameters (Tensors)", got, hint="pass model.parameters().")
            if not parameter.is_leaf:
                hint = "learn the tensors that it was computed from."
                raise GraphError(self.where, f"a leaf as {name}", "a result of an operator", hint=hint)
            if parameter.dtype.kind != "f":
                raise DtypeError(self.where, f"{name} of a floating dtype", str(parameter.dtype))
            slots.append(Slot(parameter, name, is_pair))
        return slots

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for slot in self.slots:
            if slot.parameter.grad is not None:
                slot.parameter.grad = None

    def step(self, scale: float = 1.0) -> None:
        """Change the parameters that have a gradient; each gradient counts `scale` times, as clipping by norm asks."""
        work = [(group, self._with_gradients(group)) for group in self.param_groups]
        if self.needs_finite:
            self._refuse_strange([pair for _, pairs in work for pair in pairs])
        for group, pairs in work:
            moments: dict[Hashable, list[tuple[Slot, Array]]] = {}
            for slot, gradient in pairs:
                moments.setdefault(self.moment(slot), []).append((slot, gradient))
            for moment, together in moments.items():
                self._update(group, moment, together, -scale if group["maximize"] else scale)

    def _with_gradients(self, group: Group) -> list[tuple[Slot, Array]]:
        found: list[tuple[Slot, Array]] = []
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            array, slot = gradient.data, self._by_id[id(parameter)]
            if array.shape != parameter.shape or array.dtype != parameter.dtype:
                expected = f"a gradient of {slot.name} like it, {parameter.dtype}{parameter.shape}"
                raise ShapeError(self.where, expected, f"{array.dtype}{array.shape}")
            found.append((slot, array))
        return found

    def _refuse_strange(self, pairs: Sequence[tuple[Slot, Array]]) -> None:
        if isfinite(kernels.global_norm([gradient for _, gradient in pairs])):
            return
        for slot, gradient in pairs:
            if not np.isfinite(gradient).all():
                value = gradient[~np.isfinite(gradient)][0]
                hint = "with kn.detect_anomaly(): names the operator where it arose."
                raise NumericsError(self.where, f"a finite gradient of {slot.name}", str(value), hint=hint)

    def _update(self, group: Group, moment: Any, together: list[tuple[Slot, Array]], scale: float) -> None:
        slots = [slot for slot, _ in together]
        for slot in slots:
            if not slot.parameter.data.flags.writeable:
                slot.parameter.data = slot.parameter.data.copy()
        states = {name: [self._state(slot, name, group) for slot in slots] for name in self.states(group)}
        params, grads = [slot.parameter.data for slot in slots], [gradient for _, gradient in together]
        self.update(Batch(group, slots, moment, params, grads, states, scale))
        for slot in slots:
            slot.step += 1

    def _state(self, slot: Slot, name: str, group: Group) -> Array:
        parameter = slot.parameter.data
        array = slot.arrays.get(name)
        if array is None:
            array = slot.arrays[name] = self.first(name, parameter, group)
        elif array.dtype != parameter.dtype:  # the model was converted meanwhile
            array = slot.arrays[name] = array.astype(parameter.dtype)
        return array

    # ------------------------------------------------------------------------------ out, and in again
    def state_dict(self) -> dict[str, Any]:
        """All that a later `load_state_dict` needs to go on with the same bits: numbers, and arrays in "state".

        The arrays are the optimizer's own, which the next step changes.
        """
        numbers = {id(slot.parameter): i for i, slot in enumerate(self.slots)}
        groups: list[Group] = []
        for group in self.param_groups:
            own = [self._by_id[id(p)] for p in group["params"]]
            options = {name: value for name, value in group.items() if name != "params"}
            names = {"param_names": [slot.name for slot in own]} if all(slot.is_named for slot in own) else {}
            groups.append({**options, **names, "params": [numbers[id(slot.parameter)] for slot in own]})
        state = {str(i): dict(slot.arrays) for i, slot in enumerate(self.slots) if slot.arrays}
        return {"name": self.where, "groups": groups, "state": state, "steps": [slot.step for slot in self.slots]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict()`, all or nothing; the error lists every parameter that does not fit."""
        from kinone.optim.state import load_into

        load_into(self, state)

    def __repr__(self) -> str:
        lines: list[str] = []
        for i, group in enumerate(self.param_groups):
            options = ", ".join(f"{name}={value!r}" for name, value in group.items() if name != "params")
            count = sum(p.size for p in group["params"])
            lines.append(f"  group {i}: {len(group['params'])} parameters ({count:,} numbers), {options}")
        return "\n".join([f"{self.where}(", *lines, ")"])


def _listed(where: str, params: Any) -> list[Any]:
    """The parameters in an order that is the same tomorrow."""
    if isinstance(params, set | frozenset | str | Tensor) or not isinstance(params, Iterable):
        hint = "a set has no order; give a list." if isinstance(params, set | frozenset) else "pass the model itself."
        raise ArgumentError(where, "a model, parameters or groups of them", f"a {type(params).__name__}", hint=hint)
    return list(params.items() if isinstance(params, Mapping) else params)


def _checked(where: str, name: str, value: Any) -> Any:
    if name in _FLAGS:
        if not isinstance(value, bool | np.bool_):
            raise ArgumentError(where, f"{name}, True or False", repr(value))
        return bool(value)
    if name == "betas":
        pair = list(value) if isinstance(value, tuple | list) else []
        if len(pair) != 2 or not all(_is_number(part) and 0 <= part < 1 for part in pair):
            raise ArgumentError(where, f"{name}, two numbers from 0 to below 1", repr(value))
        return tuple(float(part) for part in pair)
    if not _is_number(value) or value < 0:
        raise ArgumentError(where, f"{name}, a finite number from 0 on", repr(value))
    return float(value)


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return is_real and isfinite(float(value))
