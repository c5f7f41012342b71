"""What an operator declares beside its formula: samples, wrong calls, its place in ONNX. All of it plain data."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.random import Stream

Draw = Callable[[Stream], NDArray[Any]]


@dataclass(frozen=True)
class Arg:
    """An input of a sample: how to draw it. Floating inputs are drawn in float64 and cast to the dtype under test."""

    text: str
    draw: Draw

    def make(self, stream: Stream, dtype: Any = np.float64) -> NDArray[Any]:
        array = self.draw(stream)
        return array.astype(dtype) if array.dtype.kind == "f" else array

    def __repr__(self) -> str:
        return self.text


def normal(*shape: int) -> Arg:
    """Standard normal values."""
    return Arg(f"normal{shape}", lambda s: s.normal(shape, dtype=np.float64))


def uniform(*shape: int, low: float = -1.0, high: float = 1.0) -> Arg:
    """Values between low and high."""
    return Arg(f"uniform{shape}", lambda s: s.uniform(shape, low=low, high=high, dtype=np.float64))


def positive(*shape: int) -> Arg:
    """Values between 0.5 and 2, where logarithms, roots and quotients are tame."""
    return uniform(*shape, low=0.5, high=2.0)


def away(*shape: int, kinks: tuple[float, ...] = (0.0,), margin: float = 0.05, scale: float = 2.0) -> Arg:
    """Values at least `margin` away from the kinks of a function, so that a difference never straddles one."""

    def draw(s: Stream) -> NDArray[Any]:
        x = s.uniform(shape, low=-scale, high=scale, dtype=np.float64)
        for kink in kinks:
            near = np.abs(x - kink) < margin
            x = np.where(near, kink + np.where(x < kink, -margin, margin) * 1.5, x)
        return x

    return Arg(f"away{shape}", draw)


def distinct(*shape: int) -> Arg:
    """Values of which no two are closer than 0.1: an order that a small step cannot change."""

    def draw(s: Stream) -> NDArray[Any]:
        n = int(np.prod(shape, dtype=int))
        return (s.permutation(n).reshape(shape) - n / 2) * 0.1 + 0.03

    return Arg(f"distinct{shape}", draw)


def large(*shape: int) -> Arg:
    """Values between −10⁴ and 10⁴, where a careless formula overflows."""
    return uniform(*shape, low=-1e4, high=1e4)


def integers(*shape: int, low: int = 0, high: int = 10) -> Arg:
    """Integers from low to high − 1."""
    return Arg(f"integers{shape}", lambda s: s.integers(shape, low=low, high=high))


def booleans(*shape: int, p: float = 0.5) -> Arg:
    """True with probability p."""
    return Arg(f"booleans{shape}", lambda s: s.bernoulli(shape, p))


def definite(*shape: int) -> Arg:
    """Symmetric positive definite matrices (..., n, n), well conditioned."""

    def draw(s: Stream) -> NDArray[Any]:
        a = s.normal(shape, dtype=np.float64)
        return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1]) * shape[-1]

    return Arg(f"definite{shape}", draw)


def invertible(*shape: int) -> Arg:
    """Well-conditioned square matrices (..., n, n)."""
    return Arg(f"invertible{shape}", lambda s: s.normal(shape, dtype=np.float64) * 0.3 + np.eye(shape[-1]) * 2)


def constant(value: Any) -> Arg:
    """This very array."""
    return Arg(f"constant({value})", lambda s: np.asarray(value))


class Sample:
    """A call that the tests make: inputs (an `Arg`, or a value passed as it is), then attributes.

    `smooth=False` keeps the sample out of the finite differences, and `reason` says why.
    """

    def __init__(self, *inputs: Any, smooth: bool = True, reason: str = "", **attrs: Any) -> None:
        self.inputs, self.attrs, self.smooth, self.reason = inputs, attrs, smooth, reason
        if not smooth and not reason:
            raise ValueError("a sample that is not checked says why")

    def make(self, name: str, index: int, dtype: Any = np.float64) -> list[Any]:
        """The inputs, the same ones at each call for the operator `name` and its sample number `index`."""
        draws = (Stream(f"sample/{name}/{index}/{i}") for i in range(len(self.inputs)))
        return [a.make(s, dtype) if isinstance(a, Arg) else a for a, s in zip(self.inputs, draws, strict=True)]

    def __repr__(self) -> str:
        return ", ".join([*map(repr, self.inputs), *(f"{k}={v!r}" for k, v in self.attrs.items())])


class Bad(Sample):
    """A call that must be refused, with a message that `match` (a regular expression) finds."""

    def __init__(self, *inputs: Any, match: str, error: type[Exception] = Exception, **attrs: Any) -> None:
        super().__init__(*inputs, **attrs)
        self.match, self.error = match, error


# ------------------------------------------------------------------------------ the place in ONNX
Computed = Callable[..., Any]
"""A pure function; as with a rule, its parameter names say what it needs: attributes, `<input>_shape`, `<input>_dtype`.

It should need no length that it could leave open: an export may not know that of the batch.
"""


@dataclass(frozen=True)
class Literal:
    """A value for ONNX that is always this one (plain strings name inputs and attributes of ours)."""

    value: Any


@dataclass(frozen=True)
class Listed:
    """An attribute of one number or several, as the list that ONNX wants."""

    name: str


@dataclass(frozen=True)
class Default:
    """An input of ours that ONNX does not let a call leave out; then `otherwise` computes it."""

    name: str
    otherwise: Computed


@dataclass(frozen=True)
class Onnx:
    """The ONNX operator that computes the same.

    `inputs`: in ONNX's order our inputs, attributes or what is computed from them, which become constants (numbers in
    the dtype of x where ONNX wants them so); by default our inputs. `attributes`: ONNX's name → ours, a `Literal`, or
    what is computed. None is left out of both, "" of the inputs. `of_booleans`, `of_integers`: the operator for such
    inputs, where ONNX has another. `unless`: why a call has no such form, or "" if it has; then the definition is
    exported, if there is one. `differ`: number of an output → why ONNX's is not ours.
    """

    op_type: str
    inputs: tuple[str | Literal | Listed | Default | Computed, ...] | None = None
    attributes: Mapping[str, str | Literal | Listed | Computed] = field(default_factory=dict)
    of_booleans: str = ""
    of_integers: str = ""
    unless: Computed | None = None
    differ: Mapping[int, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.op_type


@dataclass(frozen=True)
class ByDefinition:
    """The export writes out the definition, in operators that ONNX has, `unless` a call (it says why) has no form."""

    unless: Computed | None = None

    def __repr__(self) -> str:
        return "by definition"


@dataclass(frozen=True)
class NoOnnx:
    """There is no ONNX form, and why."""

    reason: str

    def __repr__(self) -> str:
        return f"none: {self.reason}"


@dataclass(frozen=True)
class OnnxNode:
    """One call as ONNX has it: inputs are numbers of the call's own, constants, or None where one is left out."""

    op_type: str
    inputs: list[int | Literal | None]
    attributes: dict[str, Any]


def in_onnx(op: Any, inputs: Sequence[Any], attrs: Mapping[str, Any]) -> OnnxNode | ByDefinition | NoOnnx:
    """What an export writes for a call of `op`: a node, its definition, or nothing, and why."""
    form = op.onnx
    if isinstance(form, NoOnnx):
        return form
    facts = _facts(op, inputs, attrs)
    if form.unless is not None and (why := _computed(form.unless, facts)):
        return NoOnnx(why) if isinstance(form, ByDefinition) or op.definition is None else ByDefinition()
    if isinstance(form, ByDefinition):
        return form
    kinds = {x.dtype.kind for x in inputs if hasattr(x, "dtype")}
    op_type = form.of_booleans if kinds == {"b"} else form.of_integers if kinds and kinds <= set("iub") else ""
    slots = [slot for part in form.inputs or op.inputs for slot in _slots(op, inputs, facts, part)]
    while slots and slots[-1] is None:
        slots.pop()
    values = {name: _value(part, facts) for name, part in form.attributes.items()}
    given = {name: int(v) if isinstance(v, bool) else v for name, v in values.items() if v is not None}
    return OnnxNode(op_type or form.op_type, slots, given if not op_type else {})


def _facts(op: Any, inputs: Sequence[Any], attrs: Mapping[str, Any]) -> dict[str, Any]:
    shapes = [None if x is None else tuple(np.shape(x)) for x in inputs]
    dtypes = [getattr(x, "dtype", None) for x in inputs]
    if op.is_variadic:
        shapes, dtypes = [tuple(shapes)], [tuple(dtypes)]
    named = {f"{name}_shape": shape for name, shape in zip(op.inputs, shapes, strict=True)}
    return {**op.defaults, **attrs, **named, **{f"{n}_dtype": d for n, d in zip(op.inputs, dtypes, strict=True)}}


def _computed(function: Computed, facts: Mapping[str, Any]) -> Any:
    named = inspect.signature(function).parameters.values()
    return function(**{p.name: facts[p.name] for p in named if p.name in facts or p.default is p.empty})


def _value(part: str | Literal | Listed | Computed, facts: Mapping[str, Any]) -> Any:
    if isinstance(part, Listed):
        value = facts[part.name]
        return value if value is None else list(value) if isinstance(value, tuple | list) else [value]
    return part.value if isinstance(part, Literal) else facts[part] if isinstance(part, str) else _computed(part, facts)


def _slots(op: Any, inputs: Sequence[Any], facts: Mapping[str, Any], part: Any) -> list[int | Literal | None]:
    if (name := getattr(part, "name", part)) in op.inputs:
        place = op.inputs.index(name)
        if op.is_variadic:
            return list(range(len(inputs)))
        if inputs[place] is not None:
            return [place]
        return [Literal(_computed(part.otherwise, facts)) if isinstance(part, Default) else None]
    value: Any = None if part == "" else _value(part, facts)
    return [None if value is None else Literal(value)]
