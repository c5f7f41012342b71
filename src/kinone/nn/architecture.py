"""Architectures: a module as plain data, JSON's kinds alone, and a module made from that again.

{"module": "Linear", "config": {"in_features": 3, "out_features": 2, "bias": true}}

A module that stands in several places is described at the first and pointed at from the others ({"shared": 4}: the
fifth description, a module's arguments counted in the alphabet's order). What was put in another module's place later
stands in "changed", as pairs of a path and a description, in the order in which the modules stand. So a writer of JSON
may sort its keys.
"""

import inspect
from collections.abc import Iterable, Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from kinone import ops
from kinone.core.op import Op
from kinone.errors import ArgumentError, FormatError
from kinone.nn.module import Module

Kinds = Mapping[str, type[Module]]
M = TypeVar("M", bound=type[Module])


def kinds_in(classes: Iterable[type[Module]]) -> Kinds:
    """The classes by the names that files call them."""
    found: dict[str, type[Module]] = {}
    for kind in classes:
        if found.setdefault(kind.__name__, kind) is not kind:
            raise ArgumentError("modules", "one class of a name", f"two of {kind.__name__}")
    return MappingProxyType(found)


_registered: dict[str, type[Module]] = {}


def register(kind: M) -> M:
    """Let checkpoints contain this class of yours; use it as a decorator.

    >>> @register
    ... class Twice(Module):
    ...     def forward(self, x):
    ...         return x + x
    >>> build({"module": "Twice", "config": {}}, registered())(2.0)
    4.0
    """
    _registered[kind.__name__] = kind
    return kind


def registered() -> Kinds:
    """The classes that `register` was given."""
    return MappingProxyType(_registered)


# ------------------------------------------------------------------------------ out
def described(module: Module) -> dict[str, Any]:
    """The module as plain data, its parameters' values aside."""
    return _Writer().module(module)


class _Writer:
    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}  # of the modules described so far

    def module(self, module: Module) -> dict[str, Any]:
        if id(module) in self.numbers:
            return {"shared": self.numbers[id(module)]}
        self.numbers[id(module)] = len(self.numbers)
        where = type(module).__name__
        config = module.get_config()
        values = {name: self.value(config[name], f"{where}.{name}") for name in sorted(config)}  # as they are counted
        written: dict[str, Any] = {"module": where, "config": {name: values[name] for name in config}}
        changed = [[path, None if new is None else self.module(new)] for path, new in _changes(module)]
        return {**written, "changed": changed} if changed else written

    def value(self, value: Any, where: str) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value)):
            return value
        if isinstance(value, float):
            return {"float": str(value)}
        if isinstance(value, Module):
            return self.module(value)
        if isinstance(value, Op) and ops.ALL_OPS.get(value.name) is value:
            return {"op": value.name}
        if isinstance(value, type) and issubclass(value, Module):
            return {"class": value.__name__}
        if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
            return {"dtype": np.dtype(value).name}
        if isinstance(value, tuple | list):
            return [self.value(part, where) for part in value]
        if isinstance(value, dict):
            return {"dict": [[self.value(key, where), self.value(part, where)] for key, part in value.items()]}
        hint = "save the state alone (state_dict), or give the class a get_config() of plain values."
        raise ArgumentError(where, "numbers, text, modules and operators", f"a {type(value).__name__}", hint=hint)


def _changes(module: Module) -> list[tuple[str, Module | None]]:
    """Paths below `module` whose module is not as its constructor put it there, and what stands there now."""
    found: list[tuple[str, Module | None]] = []
    stack = [("", module)]
    seen: set[int] = set()
    while stack:
        path, owner = stack.pop()
        if id(owner) in seen:
            continue
        seen.add(id(owner))
        is_listed = owner.describes_children  # in its own description, of which only that of `module` is written here
        own, given = vars(owner), {id(part) for part in _modules_in({} if is_listed else owner.get_config())}
        if is_listed and owner is module:
            continue
        changed, start = own.get("_changed", set()), f"{path}." if path else ""
        found += [(start + name, None) for name in sorted(changed) if name not in own]
        if changed and owner.orders_children:  # all of them, so that they stand in their order again
            found += [(start + name, value) for name, value in own.items() if isinstance(value, Module)]
            continue
        for name, value in own.items():
            if isinstance(value, Module) and id(value) in given:
                continue  # described as an argument
            is_other = isinstance(value, Module) and "_has_other_settings" in vars(value)
            if is_other or (name in changed and (value is None or isinstance(value, Module))):
                found.append((start + name, value))
            elif isinstance(value, Module):
                stack.append((start + name, value))
    return found


def _modules_in(value: Any) -> Iterable[Module]:
    if isinstance(value, Module):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _modules_in(part)


# ------------------------------------------------------------------------------ in
def build(architecture: Any, kinds: Kinds) -> Module:
    """The module that `described` wrote, with new parameters; `kinds` are the classes that it may be made of."""
    return _Reader(kinds).module(architecture, "architecture")


class _Reader:
    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self.made: dict[int, Module] = {}
        self.count = 0

    def module(self, data: Any, where: str) -> Module:
        if isinstance(data, dict) and data.keys() == {"shared"}:
            if data["shared"] not in self.made:
                raise FormatError(where, "a module described before", f"shared: {data['shared']!r}")
            return self.made[data["shared"]]
        if not isinstance(data, dict) or not {"module", "config"} <= data.keys() <= {"module", "config", "changed"}:
            raise FormatError(where, "a description with module and config", _short(data))
        number, self.count = self.count, self.count + 1
        kind, config, where = self.kind(data["module"], where), data["config"], f"{where}: {data['module']}"
        if not isinstance(config, dict):
            raise FormatError(where, "a config of named values", _short(config))
        unknown = config.keys() - inspect.signature(kind.__init__).parameters.keys()
        if unknown and kind.from_config.__func__ is Module.from_config.__func__:  # type: ignore[attr-defined]
            raise FormatError(where, f"arguments of {kind.__name__}", ", ".join(sorted(unknown)))
        values = {name: self.value(config[name], f"{where}.{name}") for name in sorted(config)}
        try:
            module = kind.from_config(values)
        except (TypeError, AttributeError) as error:
            raise FormatError(where, f"a config that makes a {kind.__name__}", str(error)) from None
        self.made[number] = module
        changed = data.get("changed") or []
        if not isinstance(changed, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in changed):
            raise FormatError(where, "pairs of a path and a module as changed", _short(changed))
        for path, new in changed:
            self.change(module, path, None if new is None else self.module(new, f"{where}.{path}"), where)
        return module

    def change(self, module: Module, path: str, new: Module | None, where: str) -> None:
        *parents, name = str(path).split(".")
        owner: Any = module
        for parent in parents:
            owner = vars(owner).get(parent)
            if not isinstance(owner, Module):
                raise FormatError(where, "a path of modules", repr(path))
        if name.startswith("_"):
            raise FormatError(where, "a path of modules", repr(path))
        if owner.orders_children and name in vars(owner):
            delattr(owner, name)
        if new is not None or not owner.orders_children:
            setattr(owner, name, new)

    def kind(self, name: Any, where: str) -> type[Module]:
        if not isinstance(name, str) or name not in self.kinds:
            hint = "a class of your own: modules=[TheClass], or @nn.register above it."
            raise FormatError(where, "the name of a known module", repr(name), hint=hint)
        return self.kinds[name]

    def value(self, data: Any, where: str) -> Any:
        if isinstance(data, list):
            return [self.value(part, where) for part in data]
        if not isinstance(data, dict):
            return data
        if "module" in data or "shared" in data:
            return self.module(data, where)
        match list(data.items()):
            case [("float", str() as text)] if text in ("inf", "-inf", "nan"):
                return float(text)
            case [("op", str() as name)] if name in ops.ALL_OPS:
                return ops.ALL_OPS[name]
            case [("class", name)]:
                return self.kind(name, where)
            case [("dtype", str() as name)] if name in ("float16", "float32", "float64", "int32", "int64", "bool"):
                return np.dtype(name)
            case [("dict", list() as pairs)] if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
                return {self.value(key, where): self.value(part, where) for key, part in pairs}
        raise FormatError(where, "a value of a config", _short(data))


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) < 60 else text[:57] + "…"
