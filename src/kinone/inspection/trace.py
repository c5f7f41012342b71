"""What a recording notes while it listens: the calls, and where each of their inputs comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.graph import Leaf, Node
from kinone.core.op import retraced
from kinone.core.tensor import Tensor, as_array, wrap
from kinone.inspection.drawing import shortened
from kinone.inspection.observer import Observer


@dataclass(eq=False)
class Source:
    """A value that no recorded call made: an "input" (made of what was `given`), a "parameter" or a "constant"."""

    kind: str
    name: str
    tensor: Tensor
    given: Any = None


@dataclass(eq=False)
class Frame:
    """One call of a module, inside the call of another or at the top."""

    module: Any
    above: "Frame | None"
    is_leaf: bool = True  # whether it called no other module


Origin = tuple[Any, int]
"""Where an input comes from: a `Source` or a `Call` with the number of its output, or a plain number and 0."""


@dataclass(eq=False, repr=False)
class Call:
    """One recorded call of an operator."""

    index: int
    op: Any
    inputs: tuple[Origin, ...]
    input_names: tuple[str, ...]
    attributes: dict[str, Any]
    outputs: tuple[NDArray[Any], ...]
    frame: Frame | None = None  # the call of a module in which it was made

    @property
    def frames(self) -> list[Frame]:
        """The calls of modules in which it was made, the outermost first."""
        chain: list[Frame] = []
        frame = self.frame
        while frame is not None:
            chain.insert(0, frame)
            frame = frame.above
        return chain

    @property
    def id(self) -> str:
        """`#3` for call number 3."""
        return f"#{self.index}"

    @property
    def name(self) -> str:
        """The operator's name."""
        return self.op.name

    @property
    def value(self) -> Any:
        """The array that the call gave; a tuple of arrays if it gave several. So too `shape` and `dtype`."""
        return self._each(self.outputs)

    @property
    def shape(self) -> Any:
        """The shape of the value."""
        return self._each(tuple(y.shape for y in self.outputs))

    @property
    def dtype(self) -> Any:
        """The dtype of the value."""
        return self._each(tuple(y.dtype for y in self.outputs))

    @property
    def input_values(self) -> list[Any]:
        """The arrays (and numbers) that went in."""
        return [array_of(origin) for origin in self.inputs]

    @property
    def input_shapes(self) -> list[tuple[int, ...]]:
        """The shape of each input."""
        return [np.shape(x) for x in self.input_values]

    @property
    def input_dtypes(self) -> list[Any]:
        """The dtype of each input; None for a plain number, which takes that of the others."""
        return [getattr(x, "dtype", None) for x in self.input_values]

    @property
    def formula(self) -> str:
        """The call as one would type it, with `#2` for the value of call number 2."""
        return f"{self.name}({', '.join([*map(_reference, self.inputs), *self._settings()])})"

    @property
    def summary(self) -> str:
        """What the picture says below the name: plain numbers among the inputs, attributes that are not the default."""
        pairs = zip(self.input_names, self.inputs, strict=True)
        return ", ".join([*(f"{name}={short(x)}" for name, (x, _) in pairs if is_number(x)), *self._settings()])

    def _settings(self) -> list[str]:
        defaults = self.op.defaults
        given = [(k, v) for k, v in self.attributes.items() if k not in defaults or repr(v) != repr(defaults[k])]
        return [f"{name}={short(value)}" for name, value in given]

    def _each(self, parts: tuple[Any, ...]) -> Any:
        return parts[0] if len(parts) == 1 else parts

    def __repr__(self) -> str:
        return f"<{self.id} = {self.formula}: {' and '.join(map(flow, self.outputs))}>"


class Trace(Observer):
    """Notes every call, and finds out which earlier results its inputs are."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.sources: list[Source] = []
        self._by_node: dict[Node, Origin] = {}
        self._frame: Frame | None = None
        self._by_array: dict[int, Origin] = {}  # sources and calls keep the arrays alive, so no id comes twice

    def add(self, source: Source) -> Source:
        """Take in a source."""
        self.sources.append(source)
        self._note(source.tensor, (source, 0))
        return source

    def origin(self, x: Any) -> Origin:
        """Where x comes from; what nobody has seen before becomes a source, whose name is still to be found."""
        if is_number(x):
            return x, 0
        tensor = x if isinstance(x, Tensor) else wrap(as_array(x))
        if tensor.node in self._by_node:
            return self._by_node[tensor.node]
        is_leaf = type(tensor.node) is Leaf
        # A Function, a checkpoint or a detach hands on the array that we know with a node that we do not.
        if not is_leaf and id(tensor.data) in self._by_array:
            return self._by_array[id(tensor.data)]
        return self.add(Source("parameter" if is_leaf else "constant", "", tensor)), 0

    def after_forward(self, op: Any, args: Any, attrs: Mapping[str, Any], result: Any) -> None:
        """Note a call."""
        if op is retraced:  # the engine's own, behind which x is still x
            self._note(result, self.origin(args[0]))
            return
        given = [
            (f"{op.inputs[0]}[{i}]" if op.is_variadic else op.inputs[i], x) for i, x in enumerate(args) if x is not None
        ]
        origins = tuple(self.origin(x) for _, x in given)
        results = result if isinstance(result, tuple) else (result,)
        arrays = tuple(y.data for y in results)
        names = tuple(name for name, _ in given)
        call = Call(len(self.calls), op, origins, names, {**op.defaults, **attrs}, arrays, self._frame)
        self.calls.append(call)
        for port, y in enumerate(results):
            self._note(y, (call, port))

    def before_module(self, module: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Go down into a module."""
        if self._frame is not None:
            self._frame.is_leaf = False
        self._frame = Frame(module, self._frame)

    def after_module(self, module: Any, args: Any, kwargs: Mapping[str, Any], result: Any) -> None:
        """And up again, past what was left by an error that somebody caught."""
        while self._frame is not None and self._frame.module is not module:
            self._frame = self._frame.above
        self._frame = self._frame and self._frame.above

    def _note(self, tensor: Tensor, origin: Origin) -> None:
        if tensor.node is not None:
            self._by_node[tensor.node] = origin
        self._by_array[id(tensor.data)] = origin


def is_number(x: Any) -> bool:
    """True for an input that is neither tensor nor array."""
    return isinstance(x, int | float | np.generic)


def array_of(origin: Origin) -> Any:
    """The array (or the number) that an input was."""
    x, port = origin
    return x.tensor.data if isinstance(x, Source) else x.outputs[port] if isinstance(x, Call) else x


def flow(array: Any) -> str:
    """What flows along an edge.

    >>> flow(np.zeros((2, 3), np.float32)), flow(np.zeros((), np.int64))
    ('2×3 float32', 'scalar int64')
    """
    return f"{'×'.join(map(str, array.shape)) or 'scalar'} {array.dtype}"


def short(value: Any) -> str:
    """An attribute in a few characters."""
    match value:
        case np.ndarray() | Tensor():
            return flow(value)
        case slice():
            ends = [value.start, value.stop, *([value.step] if value.step is not None else [])]
            return ":".join("" if end is None else str(end) for end in ends)
        case tuple() | list():
            body = ", ".join(map(short, value))
            return f"[{body}]" if isinstance(value, list) else f"({body}{',' if len(value) == 1 else ''})"
        case type():
            return value.__name__
        case _:
            return "..." if value is Ellipsis else shortened(str(value) if is_number(value) else repr(value), 24)


def _reference(origin: Origin) -> str:
    x, port = origin
    if isinstance(x, Call):
        return x.id if len(x.outputs) == 1 else f"{x.id}[{port}]"
    return x.name if isinstance(x, Source) else short(x)
