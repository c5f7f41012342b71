"""Module: a function with parameters, made of smaller ones."""

import inspect
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Self

import numpy as np

from kinone.core.modes import modes
from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, DtypeError, StateError
from kinone.nn.methods import Methods
from kinone.nn.parameter import Parameter
from kinone.nn.state import LoadReport, Shape, load_into, state_of


@dataclass(frozen=True)
class Input:
    """A handle for the input of that name, as `Recording.grad` takes it."""

    module: "Module"
    name: str


class ModuleType(ABCMeta):
    """Makes modules, and notes what each was made from, so that a checkpoint can make it again."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        module = super().__call__(*args, **kwargs)
        vars(module)["_made"] = (args, kwargs)  # from here on, what is put in place counts as a change
        return module


@cache
def _settings(kind: type) -> frozenset[str]:
    """The names of the constructor's arguments; attributes of the same name speak for them."""
    return frozenset(list(inspect.signature(kind.__init__).parameters)[1:])


class Module(Methods, metaclass=ModuleType):
    """A function with parameters: subclass it, set parameters and modules as attributes, define `forward`.

    Attributes that are Parameters or Modules are found by themselves, in the order in which they were first set;
    whatever else belongs to the state (running statistics, masks) is given to `register_buffer`. Names are dotted
    paths, as in PyTorch: `layer1.0.weight`.

    >>> class Line(Module):
    ...     def __init__(self):
    ...         self.w, self.b = Parameter(2.0), Parameter(1.0)
    ...     def forward(self, x):
    ...         return x * self.w + self.b
    >>> line = Line()
    >>> line(3.0), [name for name, _ in line.named_parameters()]
    (Tensor(7., dtype=float32, from=add), ['w', 'b'])
    """

    training: bool = True
    is_waiting: bool = False  # for its first input, which tells the shapes of its parameters
    describes_children: bool = False  # whether get_config says what stands where now
    orders_children: bool = False  # whether it matters in which order they stand
    title: str = ""  # what errors call it, if not by its class
    _buffers: dict[str, bool]  # name: whether it belongs in a checkpoint
    _made: tuple[tuple[Any, ...], dict[str, Any]]  # the arguments that it was made with
    _changed: set[str]  # attributes that got another module since
    _has_other_settings: bool  # whether arguments of the constructor were set anew since

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(self, …)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            for watcher in (watchers := modes.observers):
                watcher.before_module(self, args, kwargs)
            if self.is_waiting:
                self.settle(*args, **kwargs)
            y = self.forward(*args, **kwargs)
            for watcher in watchers:
                watcher.after_module(self, args, kwargs, y)
            return y
        except Exception as error:
            self._locate(error)
            raise

    @classmethod
    def build(cls, f: Callable[..., Any], **parameters: Any) -> "Module":
        """A module of a plain function: the arguments named here become its parameters, the others its inputs.

        >>> m = Module.build(lambda x, w: (x + w) * x * x, w=1.0)
        >>> m(3.0)
        Tensor(36., dtype=float32, from=multiply)
        """
        return Built(f, parameters)

    # ------------------------------------------------------------------------------ what belongs to it
    def __setattr__(self, name: str, value: Any) -> None:
        own, kind = vars(self), f"a {type(value).__name__}"
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        if isinstance(own.get(name), Parameter) and not isinstance(value, Parameter | None):
            hint = f"{name}.copy_from(…) under no_grad() changes its values; del first to have something else there."
            raise ArgumentError("Module", f"a Parameter for {name}, which is one", kind, hint=hint)
        if name in own.get("_buffers", ()) and not isinstance(value, Tensor | None):
            raise ArgumentError("Module", f"a Tensor for the buffer {name}", kind)
        if not name.startswith("_") and any(isinstance(part, Module | Parameter) for part in parts):
            hint = "give each an attribute of its own: setattr(self, str(i), layer), or use a container of modules."
            got = f"{kind} of them, whose parameters nobody would find"
            raise ArgumentError("Module", f"a module or a parameter for {name}", got, hint=hint)
        if isinstance(value, Module | Parameter) and (hasattr(Module, name) or "." in name):
            raise ArgumentError("Module", "a name without dots that Module does not use itself", repr(name))
        if isinstance(value, Module) and any(module is self for module in value.modules()):
            raise ArgumentError("Module", f"a module below this one for {name}", f"{kind} that contains it")
        self._note_change(name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._note_change(name, None)
        vars(self).get("_buffers", {}).pop(name, None)
        super().__delattr__(name)

    def _note_change(self, name: str, value: Any) -> None:
        own = vars(self)
        if "_made" in own and (isinstance(value, Module) or isinstance(own.get(name), Module)):
            own.setdefault("_changed", set()).add(name)
        elif "_made" in own and name in _settings(type(self)) and not isinstance(value, Tensor) and not self.is_waiting:
            own["_has_other_settings"] = True

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Set a tensor that is state but not a parameter; `persistent` ones go into checkpoints."""
        if not name.isidentifier() or hasattr(self, name) or type(tensor) not in (Tensor, type(None)):
            raise ArgumentError("register_buffer", "a new name and a Tensor", f"{name!r} and a {type(tensor).__name__}")
        vars(self).setdefault("_buffers", {})[name] = persistent
        setattr(self, name, tensor)

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules that are attributes of this one, each once."""
        names: dict[Module, str] = {}
        for name, value in vars(self).items():
            if isinstance(value, Module):
                names.setdefault(value, name)
        return ((name, module) for module, name in names.items())

    def children(self) -> Iterator["Module"]:
        """The same without names."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, "Module"]]:
        """This module (as "") and all below it, parents first; a shared one once, under its first name."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if remove_duplicate and id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            below = [(name, value) for name, value in vars(module).items() if isinstance(value, Module)]
            stack += [(f"{path}.{name}" if path else name, child) for name, child in reversed(below)]

    def modules(self) -> Iterator["Module"]:
        """The same without names."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths; a shared one once, under its first name."""
        for path, module in self.named_modules(prefix):
            module.check_settled("named_parameters", path)
        return self._named(lambda _, __, value: isinstance(value, Parameter), prefix, remove_duplicate)

    def parameters(self) -> Iterator[Parameter]:
        """The same without names: what an optimizer takes."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their paths."""
        return self._named(lambda module, name, _: name in vars(module).get("_buffers", ()), prefix, remove_duplicate)

    def buffers(self) -> Iterator[Tensor]:
        """The same without names."""
        return (buffer for _, buffer in self.named_buffers())

    def _named(
        self, belongs: Callable[["Module", str, Any], bool], prefix: str, once: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix, once):
            for name, value in vars(module).items():
                if value is not None and belongs(module, name, value) and not (once and id(value) in seen):
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def own_state(self) -> Iterator[tuple[str, Tensor]]:
        """What a checkpoint keeps of this module itself: parameters, then persistent buffers."""
        own, buffers = vars(self), vars(self).get("_buffers", {})
        yield from ((name, value) for name, value in own.items() if isinstance(value, Parameter))
        yield from ((name, own[name]) for name, is_kept in buffers.items() if is_kept and own[name] is not None)

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers by path, under PyTorch's names; they share memory with the module.

        >>> from kinone import nn
        >>> {name: value.shape for name, value in nn.Linear(3, 2).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        return state_of(self)

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True, assign: bool = False) -> LoadReport:
        """Take over the values of a state, in this module's dtypes (with `assign`, the state's); all or nothing.

        The error lists every entry that is missing, unexpected or of another shape. With strict=False what fits is
        loaded; print the report to see what was skipped.
        """
        return load_into(self, state, strict, assign)

    def param(self, name: str) -> Parameter:
        """The parameter with that path."""
        found = dict(self.named_parameters(remove_duplicate=False))
        if name not in found:
            raise ArgumentError(
                "param", f"a parameter of {type(self).__name__}", repr(name), hint=_similar(name, list(found))
            )
        return found[name]

    def input(self, name: str) -> Input:
        """A handle for the input of that name: `recording.grad(model.input("x"))`."""
        names = list(self.signature().parameters)
        if name not in names:
            raise ArgumentError("input", f"an input of {type(self).__name__}", repr(name), hint=_similar(name, names))
        return Input(self, name)

    def signature(self) -> inspect.Signature:
        """What a call of this module takes."""
        return inspect.signature(self.forward)

    # ------------------------------------------------------------------------------ how it is made again
    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments that would make this module as it is now.

        An attribute with the name of an argument speaks for it, so `dropout.p = 0.2` is not forgotten.

        >>> from kinone import nn
        >>> nn.Linear(3, 2).get_config()
        {'in_features': 3, 'out_features': 2, 'bias': True}
        """
        args, kwargs = self._made
        if type(self).__init__ is object.__init__:
            return {}
        signature = inspect.signature(type(self).__init__)
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        return {name: self._current(name, value) for name, value in list(given.arguments.items())[1:]}

    def _current(self, name: str, given: Any) -> Any:
        own = vars(self).get(name, given)
        is_part = isinstance(own, Tensor) or (isinstance(own, Module) and not isinstance(given, Module))
        return given if is_part or (own is None and isinstance(given, bool | str)) else own

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The module that `get_config` described, with new parameters."""
        kinds = {p.name: p.kind for p in inspect.signature(cls.__init__).parameters.values()}
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for name, value in config.items():
            if kinds.get(name) is inspect.Parameter.VAR_POSITIONAL:
                positional += value
            elif kinds.get(name) is inspect.Parameter.VAR_KEYWORD:
                named.update(value)
            else:
                named[name] = value
        return cls(*positional, **named)

    # ------------------------------------------------------------------------------ what happens to all of it
    def train(self, mode: bool = True) -> Self:
        """Compute as in training (dropout drops, batch norm looks at the batch), here and below."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Compute as in use."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze all parameters (False), or thaw them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def to(self, dtype: Any) -> Self:
        """Convert all floating parameters and buffers to that dtype; gradients are forgotten.

        >>> from kinone import nn
        >>> nn.Linear(3, 2).to("float64").weight.dtype
        dtype('float64')
        """
        wanted = np.dtype(dtype)
        if wanted.kind != "f":
            raise DtypeError("to", "a floating dtype", str(wanted))
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.dtype.kind == "f" and tensor.dtype != wanted:
                tensor.data = tensor.data.astype(wanted)
                if isinstance(tensor, Parameter):
                    tensor.grad = None
        return self

    def float(self) -> Self:
        """Compute in float32."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Compute in float64."""
        return self.to(np.float64)

    def apply(self, f: Callable[["Module"], Any]) -> Self:
        """Call f on every module, children first."""
        for child in self.children():
            child.apply(f)
        f(self)
        return self

    # ------------------------------------------------------------------------------ shapes from the first input
    def settle(self, *args: Any, **kwargs: Any) -> None:
        """Make the parameters that waited for the first input; layers that can wait define it."""
        raise NotImplementedError(f"{type(self).__name__} waits for its first input but defines no settle(self, …)")

    def settle_like(self, shapes: dict[str, Shape]) -> None:
        """Make them as large as the entries of a state that is about to be loaded."""
        raise NotImplementedError(f"{type(self).__name__} waits for its first input but defines no settle_like")

    def check_settled(self, where: str, path: str) -> None:
        """Refuse to list parameters that do not exist yet."""
        if self.is_waiting:
            name = path or type(self).__name__
            hint = "call the model on an example first, or say the number of inputs when making the layer."
            raise StateError(where, f"the parameters of {name}", "a layer that waits for its first input", hint=hint)

    # ------------------------------------------------------------------------------ how it looks
    def extra_repr(self) -> str:
        """What stands in the brackets of `repr`; by default the module's own parameters."""
        own = [(name, value) for name, value in vars(self).items() if isinstance(value, Parameter)]
        return ", ".join(f"{name}: {'×'.join(map(str, p.shape)) or 'scalar'} {p.dtype}" for name, p in own)

    def __repr__(self) -> str:
        head, own = f"{type(self).__name__}(", self.extra_repr()
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        return "\n  ".join([head, *([own] if own else []), *children]) + "\n)" if children else f"{head}{own})"

    def _locate(self, error: Exception) -> None:
        """Say in the error's note where below this module it arose; modules further up make the path longer."""
        place, note = getattr(error, "_arose_in", (self, ""))
        top = self.title or type(self).__name__
        path = next((path for path, module in self.named_modules(top) if module is place), None)
        if path is not None:
            notes = [n for n in getattr(error, "__notes__", ()) if n != note]
            note = f"in {path} ({type(place).__name__})"
            error.__dict__.update(__notes__=[*notes, note], _arose_in=(place, note))


class Built(Module):
    """What `Module.build` makes."""

    def __init__(self, f: Callable[..., Any], parameters: dict[str, Any]) -> None:
        self.__name__ = getattr(f, "__name__", "f")
        self._f, self._names, self._whole = f, list(parameters), inspect.signature(f)
        unknown = [name for name in parameters if name not in self._whole.parameters]
        if unknown:
            takes = ", ".join(self._whole.parameters)
            raise ArgumentError("build", f"parameters among the arguments of f ({takes})", ", ".join(unknown))
        for name, value in parameters.items():
            setattr(self, name, value if isinstance(value, Parameter) else Parameter(value))

    def signature(self) -> inspect.Signature:
        inputs = [p for name, p in self._whole.parameters.items() if name not in self._names]
        return self._whole.replace(parameters=inputs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        given = self.signature().bind(*args, **kwargs).arguments
        given.update((name, getattr(self, name)) for name in self._names)
        call = inspect.BoundArguments(self._whole, given)
        return self._f(*call.args, **call.kwargs)


def _similar(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names) or 'none'}."
