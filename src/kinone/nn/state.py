"""States of modules: their parameters and buffers by path, out and in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from kinone.core.tensor import Tensor
from kinone.errors import StateError

if TYPE_CHECKING:
    from kinone.nn.module import Module

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """What loading a state did: the paths that were loaded, and what did not fit.

    `mismatched` says for each path the shape in the state and the one in the module.
    """

    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether everything in the state went into the module, and nothing there was left out."""
        return not (self.missing or self.unexpected or self.mismatched)

    def faults(self) -> list[str]:
        """One line for each fault, with the nearest name where one is like it."""
        wanted = [*self.missing, *self.loaded, *self.mismatched]
        given = [*self.unexpected, *self.loaded, *self.mismatched]
        lines = [f"missing: {name}{_like(name, self.unexpected or given)}" for name in self.missing]
        lines += [f"unexpected: {name}{_like(name, self.missing or wanted)}" for name in self.unexpected]
        for name, (given_shape, shape) in self.mismatched.items():
            lines.append(f"other shape: {name} is {given_shape} in the state and {shape} in the module")
        return lines

    def __str__(self) -> str:
        head = f"{len(self.loaded)} loaded"
        return "\n  ".join([head if self.is_complete else f"{head}, skipped:", *self.faults()])


def state_of(module: "Module") -> dict[str, Tensor]:
    """Parameters and persistent buffers by path, detached; parts that are shared come under each of their names."""
    return {name: tensor.detach() for name, tensor in _slots(module).items()}


def load_into(module: "Module", state: Mapping[str, Any], is_strict: bool, keeps_dtype: bool) -> LoadReport:
    """Put the values of `state` into the module: all that fit, or with `is_strict` all or none."""
    arrays = {name: value.data if isinstance(value, Tensor) else np.asarray(value) for name, value in state.items()}
    _settle(module, {name: array.shape for name, array in arrays.items()})
    slots = _slots(module)
    shapes = {name: (arrays[name].shape, slots[name].shape) for name in slots if name in arrays}
    fitting = [name for name, (given, own) in shapes.items() if given == own]
    report = LoadReport(
        loaded=tuple(fitting),
        missing=tuple(name for name in slots if name not in arrays),
        unexpected=tuple(name for name in arrays if name not in slots),
        mismatched={name: pair for name, pair in shapes.items() if pair[0] != pair[1]},
    )
    if is_strict and not report.is_complete:
        faults = report.faults()
        got = f"{len(faults)} that do not fit:\n  " + "\n  ".join(faults) + "\n"
        hint = "strict=False loads what fits, and says what it skipped."
        raise StateError("load_state_dict", f"the {len(slots)} entries of {type(module).__name__}", got, hint=hint)
    wrong = [name for name in fitting if _kind(arrays[name]) != _kind(slots[name].data)]
    if wrong:
        own, given = slots[wrong[0]].dtype, arrays[wrong[0]].dtype
        raise StateError("load_state_dict", f"{wrong[0]} of a dtype like {own}", str(given))
    for name in fitting:
        dtype = None if keeps_dtype else slots[name].dtype
        slots[name].data = np.array(arrays[name], dtype, order="K")  # a copy: the state stays as it is
    return report


def _slots(module: "Module") -> dict[str, Tensor]:
    """The tensors that make up the state, in the order of the module tree, each module's parameters first."""
    found: dict[str, Tensor] = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        owner.check_settled("state_dict", path)
        found.update((f"{path}.{name}" if path else name, tensor) for name, tensor in owner.own_state())
    return found


def _settle(module: "Module", shapes: dict[str, Shape]) -> None:
    """Give layers that wait for their first input the shapes that the state knows."""
    for path, owner in module.named_modules():
        if owner.is_waiting:
            start = f"{path}." if path else ""
            own = {name[len(start) :]: shape for name, shape in shapes.items() if name.startswith(start)}
            owner.settle_like({name: shape for name, shape in own.items() if "." not in name})


def _kind(array: Any) -> str:
    return {"f": "float", "b": "bool"}.get(array.dtype.kind, "integer")


def _like(name: str, names: Any) -> str:
    close = get_close_matches(name, list(names), n=1, cutoff=0.75)
    return f" (like {close[0]})" if close else ""
