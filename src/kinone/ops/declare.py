"""What an operator declares beside its formula: samples, wrong calls, its place in ONNX. All of it plain data."""

from collections.abc import Callable, Mapping
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


@dataclass(frozen=True)
class Literal:
    """An ONNX attribute that always has this value (plain strings name attributes of the operator)."""

    value: Any


@dataclass(frozen=True)
class Onnx:
    """The ONNX operator that computes the same.

    `inputs`: names of our inputs and attributes in ONNX's order ("" for one that is left out); an attribute becomes a
    constant int64 tensor, the inputs are ours by default. `attributes`: ONNX name → our attribute's, or a `Literal`.
    `of_booleans`: the operator for boolean inputs, where ONNX has another.
    """

    op_type: str
    inputs: tuple[str, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    of_booleans: str = ""

    def __repr__(self) -> str:
        return self.op_type


@dataclass(frozen=True)
class ByDefinition:
    """ONNX has no such operator; the export writes out the definition in those that it has."""

    def __repr__(self) -> str:
        return "by definition"


@dataclass(frozen=True)
class NoOnnx:
    """There is no ONNX form, and why."""

    reason: str

    def __repr__(self) -> str:
        return f"none: {self.reason}"
