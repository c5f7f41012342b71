"""Modules of modules: in a row, in a list, by name, beside a shortcut."""

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Self

from kinone.errors import ArgumentError, ShapeError
from kinone.nn.module import Module
from kinone.ops.arguments import shape_of


class Container(Module):
    """What containers share: their modules are the attributes that are modules, in the order in which they stand."""

    describes_children = True
    orders_children = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls) and cls.__module__ != __name__:
            cls.describes_children = False  # it is made from arguments of its own, and puts its modules there itself

    def parts(self) -> dict[str, Module]:
        """The modules by name, one that stands in two places twice."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Module)}

    def _arrange(self, parts: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Let these be the modules, in this order."""
        new = dict(parts)
        for name, module in new.items():
            self._check(name, module)
        for name in self.parts():
            delattr(self, name)
        for name, module in new.items():
            setattr(self, name, module)

    def _check(self, name: Any, module: Any) -> None:
        where = type(self).__name__
        if not isinstance(module, Module):
            hint = "nn.Lambda(f) makes a module of a function." if callable(module) else ""
            raise ArgumentError(where, f"a module as {name!r}", f"a {type(module).__name__}", hint=hint)
        if not isinstance(name, str) or not name or name.startswith("_") or hasattr(type(self), name):
            raise ArgumentError(where, f"names that {where} does not use itself, without _ in front", repr(name))

    def __len__(self) -> int:
        return len(self.parts())

    def __bool__(self) -> bool:
        return True  # a container is there even if nothing is in it


class Row(Container):
    """Modules one after another, called "0", "1", …"""

    def __iter__(self) -> Iterator[Module]:
        return iter(self.parts().values())

    def __getitem__(self, index: Any) -> Any:
        parts = self.parts()
        if isinstance(index, slice):
            return self._of(list(parts.items())[index])
        return parts[self._name(index)]

    def __setitem__(self, index: int | str, module: Module) -> None:
        name = self._name(index)
        self._check(name, module)
        setattr(self, name, module)

    def __delitem__(self, index: int | str | slice) -> None:
        parts = self.parts()
        names = list(parts)[index] if isinstance(index, slice) else [self._name(index)]
        kept = [(name, module) for name, module in parts.items() if name not in names]
        self._arrange(_renumbered(kept) if _is_numbered(parts) else kept)

    def __contains__(self, module: object) -> bool:
        return any(part is module for part in self)

    def append(self, module: Module) -> Self:
        """Put one more at the end."""
        return self.insert(len(self), module)

    def extend(self, modules: Iterable[Module]) -> Self:
        """Put several more at the end, in their order."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module, name: str | None = None) -> Self:
        """Put one before the one at `index`; those behind it get the next numbers, unless they have names."""
        parts = list(self.parts().items())
        is_numbered = name is None and _is_numbered(dict(parts))
        parts.insert(index, (_free(dict(parts)) if name is None else name, module))
        if len(dict(parts)) < len(parts):
            raise ArgumentError(type(self).__name__, "a name that is not taken", repr(name))
        self._arrange(_renumbered(parts) if is_numbered else parts)
        return self

    def pop(self, index: int | str = -1) -> Module:
        """Take one out."""
        module = self[index]
        del self[index]
        return module

    def _name(self, index: Any) -> str:
        names = list(self.parts())
        if isinstance(index, str) and index in names:
            return index
        if isinstance(index, str) or not isinstance(index, int) or not -len(names) <= index < len(names):
            got, expected = repr(index), f"one of {', '.join(names) or 'none'}, or a position among {len(names)}"
            kind = _MissingNameError if isinstance(index, str) else _MissingPositionError
            raise kind(type(self).__name__, expected, got)
        return names[index]

    def _of(self, parts: list[tuple[str, Module]]) -> "Row":
        raise NotImplementedError


class _MissingNameError(ArgumentError, KeyError):
    """No module has that name."""

    __str__ = Exception.__str__


class _MissingPositionError(ArgumentError, IndexError):
    """Nothing stands at that position: what tells Python's loops where a container ends."""


def _is_numbered(parts: Mapping[str, Module]) -> bool:
    return list(parts) == [str(i) for i in range(len(parts))]


def _renumbered(parts: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {str(i): module for i, (_, module) in enumerate(parts)}


def _free(parts: Mapping[str, Any]) -> str:
    return next(str(i) for i in range(len(parts), 2 * len(parts) + 1) if str(i) not in parts)


class Sequential(Row):
    """y = fₙ(… f₂(f₁(x))): one module after another, called "0", "1", …, or by the names of a dict.

    It can be indexed by position and name, sliced, looped over and changed: append, extend, insert, pop, del, `+`. Its
    order is that in which the modules stand, and is kept in every copy, whatever they are called.

    >>> from kinone import nn
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> net[0].out_features, len(net[1:]), list(net.state_dict())
    (4, 2, ['0.weight', '0.bias', '2.weight', '2.bias'])
    >>> list(nn.Sequential({"hidden": nn.Linear(3, 4), "act": nn.ReLU()}).parts())
    ['hidden', 'act']
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], Mapping) else None
        self._arrange(named if named is not None else _renumbered(("", module) for module in modules))

    def get_config(self) -> dict[str, Any]:
        if not self.describes_children:
            return super().get_config()
        parts = self.parts()
        return {"modules": list(parts.values()) if _is_numbered(parts) else [parts]}

    def add(self, module: Module, name: str | None = None) -> Self:
        """Put one more at the end, under a name if it is to have one; so calls can be chained."""
        return self.insert(len(self), module, name)

    def __add__(self, other: "Sequential") -> "Sequential":
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self, *other)

    def forward(self, x: Any) -> Any:
        for module in self.parts().values():
            x = module(x)
        return x

    def _of(self, parts: list[tuple[str, Module]]) -> "Sequential":
        whole = _is_numbered(self.parts())
        return Sequential(*(module for _, module in parts)) if whole else Sequential(dict(parts))


class ModuleList(Row):
    """Modules one after another, which a forward of yours calls as it likes.

    >>> from kinone import nn
    >>> heads = nn.ModuleList([nn.Linear(4, n) for n in (2, 3)])
    >>> len(heads), heads[-1].out_features, [name for name, _ in heads.named_parameters()]
    (2, 3, ['0.weight', '0.bias', '1.weight', '1.bias'])
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._arrange(_renumbered(("", module) for module in modules))

    def get_config(self) -> dict[str, Any]:
        return {"modules": list(self)} if self.describes_children else super().get_config()

    def __add__(self, other: Iterable[Module]) -> "ModuleList":
        return ModuleList([*self, *other])

    def _of(self, parts: list[tuple[str, Module]]) -> "ModuleList":
        return ModuleList(module for _, module in parts)


class ModuleDict(Container):
    """Modules by name, which a forward of yours calls as it likes; in the order in which they were put there.

    >>> from kinone import nn
    >>> acts = nn.ModuleDict({"relu": nn.ReLU(), "gelu": nn.GELU()})
    >>> list(acts), acts["gelu"], "tanh" in acts
    (['relu', 'gelu'], GELU(), False)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        self._arrange(modules)

    def get_config(self) -> dict[str, Any]:
        return {"modules": self.parts()} if self.describes_children else super().get_config()

    def __getitem__(self, name: str) -> Module:
        parts = self.parts()
        if name not in parts:
            raise _MissingNameError(type(self).__name__, f"one of {', '.join(parts) or 'none'}", repr(name))
        return parts[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self._check(name, module)
        setattr(self, name, module)

    def __delitem__(self, name: str) -> None:
        _ = self[name]
        delattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts())

    def __contains__(self, name: object) -> bool:
        return name in self.parts()

    def keys(self) -> KeysView[str]:
        """The names."""
        return self.parts().keys()

    def values(self) -> ValuesView[Module]:
        """The modules."""
        return self.parts().values()

    def items(self) -> ItemsView[str, Module]:
        """Names and modules."""
        return self.parts().items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Put several there; those of known names take the others' places."""
        for name, module in dict(modules).items():
            self[name] = module

    def pop(self, name: str) -> Module:
        """Take one out."""
        module = self[name]
        del self[name]
        return module


class Residual(Module):
    """y = block(x) + shortcut(x), the shortcut being x itself unless a module is given.

    >>> from kinone import nn
    >>> nn.Residual(nn.Linear(3, 3))([[1.0, 2.0, 3.0]]).shape
    (1, 3)
    """

    def __init__(self, block: Module, shortcut: Module | None = None) -> None:
        for name, module in (("block", block), ("shortcut", shortcut)):
            if not isinstance(module, Module) and not (module is None and name == "shortcut"):
                raise ArgumentError("Residual", f"a module as {name}", f"a {type(module).__name__}")
        self.block, self.shortcut = block, shortcut

    def forward(self, x: Any) -> Any:
        y, beside = self.block(x), x if self.shortcut is None else self.shortcut(x)
        if shape_of(y) != shape_of(beside):
            hint = "a shortcut that changes the shape likewise: nn.Residual(block, shortcut=nn.Conv2d(…))."
            expected = f"block and shortcut of one shape, {shape_of(y)}"
            raise ShapeError("Residual", expected, f"{shape_of(beside)}", hint=hint)
        return y + beside


class Lambda(Module):
    """y = f(x, **attributes), f an operator or a function.

    A checkpoint can say the name of an operator, not what a function of yours does: such a model saves its state, or
    has a class of its own in the function's place.

    >>> import kinone as kn
    >>> Lambda(kn.softmax, axis=0)([0.0, 0.0])
    array([0.5, 0.5])
    """

    def __init__(self, function: Callable[..., Any], **attributes: Any) -> None:
        if not callable(function) or isinstance(function, Module):
            raise ArgumentError("Lambda", "an operator or a function", f"a {type(function).__name__}")
        self.function, self.attributes = function, attributes

    def forward(self, *xs: Any) -> Any:
        return self.function(*xs, **self.attributes)

    def extra_repr(self) -> str:
        name = getattr(self.function, "name", getattr(self.function, "__name__", "function"))
        return ", ".join([name, *(f"{key}={value!r}" for key, value in self.attributes.items())])
