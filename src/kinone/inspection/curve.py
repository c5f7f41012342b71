"""An operator as a function of one variable, with its derivative: what a picture of it needs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.graph import Leaf
from kinone.core.op import Op
from kinone.core.tensor import Tensor, wrap
from kinone.core.transforms import gradients
from kinone.errors import ArgumentError, KinoneError
from kinone.ops.declare import Sample
from kinone.random import Stream

Floats = NDArray[np.float64]
Evaluate = Callable[[Floats], list[Floats]]
"""At these points: the values and, if there is one, the derivative."""

REACH = 4.0  # how far from 0 the picture looks
_POINTS, _LINE_POINTS = 641, 161


@dataclass(frozen=True)
class Series:
    """One curve: NaN in y where it is not defined, and between the two sides of a jump."""

    label: str
    x: Floats
    y: Floats


@dataclass(frozen=True)
class Curve:
    """The curves of an operator over one variable."""

    title: str
    variable: str
    series: tuple[Series, ...]


def plain(call: str) -> str:
    """The text of a call, with classes by their names.

    >>> plain("astype(x, dtype=<class 'numpy.float64'>)")
    'astype(x, dtype=float64)'
    """
    return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", call)


def curve(op: Op[...]) -> Curve:
    """f and f′ of an elementwise operator of one input; of others t ↦ Σ c·op(x₀ + t·d) through their first sample.

    >>> from kinone.ops import tanh
    >>> f, slope = curve(tanh).series
    >>> float(f.y[-1]), float(slope.y.max())
    (0.999329299739067, 1.0)
    """
    found = _elementwise(op)
    with np.errstate(all="ignore"):
        if found is not None:
            evaluate, call = found
            return Curve(f"y = {call}", "x", _traced(evaluate, ("y", "∂y/∂x"), _POINTS))
        evaluate, call = _line(op)
        return Curve(f"f(t) = Σ c·{call}", "t", _traced(evaluate, ("f", "f′"), _LINE_POINTS))


# ------------------------------------------------------------------------------ what to evaluate
def _elementwise(op: Op[...]) -> tuple[Evaluate, str] | None:
    """Each element by itself, with the attributes of the first sample where that is what the operator does."""
    if len(op.inputs) != 1 or op.is_variadic or "f" not in op.kinds[0] or not op.samples:
        return None
    sample: Sample = op.samples[0]

    def evaluate(x: Floats) -> list[Floats]:
        leaf = wrap(x, Leaf())
        y: Any = op(leaf, **sample.attrs)
        slope = [gradients(y, [leaf], np.ones(y.shape))[0].data] if y.node is not None else []
        return [np.asarray(part, np.float64) for part in (y.data, *slope)]

    probe = np.array([-1.7, -0.6, -0.2, 0.3, 0.4, 0.9, 1.3, 2.8])
    order = np.array([3, 0, 7, 5, 1, 6, 4, 2])
    try:
        with np.errstate(all="ignore"):
            whole, shuffled, part = (op(x, **sample.attrs) for x in (probe, probe[order], probe[:5]))
            is_alone = whole.shape == probe.shape
            is_alone = is_alone and np.array_equal(shuffled, whole[order], equal_nan=whole.dtype.kind == "f")
            if not is_alone or not np.array_equal(part, whole[:5], equal_nan=whole.dtype.kind == "f"):
                return None
    except (KinoneError, AttributeError):
        return None
    return evaluate, _call(op, [op.inputs[0]], sample)


def _line(op: Op[...]) -> tuple[Evaluate, str]:
    """Through the first floating input of the first sample that has one, in a direction d whose largest step is 1."""
    for index, sample in sorted(enumerate(op.samples), key=lambda pair: not pair[1].smooth):
        inputs = sample.make(op.name, index)
        spots = [i for i, x in enumerate(inputs) if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size]
        if spots:
            break
    else:
        raise ArgumentError("curve", "an operator of a floating input", op.name)
    spot, draw = spots[0], Stream(f"curve/{op.name}")
    start = inputs[spot]
    d = draw.uniform(start.shape, low=-1.0, high=1.0, dtype=np.float64)
    d = d / np.max(np.abs(d))

    def at(t: float) -> list[float]:
        leaf = wrap(start + t * d, Leaf())
        try:
            given: list[Any] = [*inputs[:spot], leaf, *inputs[spot + 1 :]]
            y: Any = op(*given, **sample.attrs)
        except (KinoneError, np.linalg.LinAlgError):
            return [np.nan, np.nan]
        parts = y if isinstance(y, tuple) else (y,)
        floats = [part for part in parts if part.dtype.kind == "f"] or parts[:1]
        weights = [draw.normal(part.shape, dtype=np.float64, step=1) for part in floats]
        value = sum(float((w * part.data).sum()) for w, part in zip(weights, floats, strict=True))
        slopes = [
            float((gradients(part, [leaf], w, retain_graph=True)[0].data * d).sum())
            for w, part in zip(weights, floats, strict=True)
            if isinstance(part, Tensor) and part.node is not None
        ]
        return [value, sum(slopes)] if slopes else [value]

    def evaluate(ts: Floats) -> list[Floats]:
        rows = [at(float(t)) for t in ts]
        return [np.array([row[i] for row in rows]) for i in range(min(map(len, rows)))]

    names = [f"x{chr(0x2080 + i)}" for i in range(len(inputs))] if op.is_variadic else op.inputs[: len(inputs)]
    names[spot] += " + t·d"
    return evaluate, _call(op, names, sample)


def _call(op: Op[...], names: list[str], sample: Sample) -> str:
    return plain(f"{op.name}({', '.join([*names, *(f'{name}={value!r}' for name, value in sample.attrs.items())])})")


# ------------------------------------------------------------------------------ where to evaluate it
def _traced(evaluate: Evaluate, labels: tuple[str, str], n: int) -> tuple[Series, ...]:
    """The curves over [−REACH, REACH], or over that part of it where the function is defined."""
    x = np.linspace(-REACH, REACH, n)
    x = np.union1d(x, 0.0)
    curves = evaluate(x)
    defined = np.flatnonzero(np.isfinite(curves[0]))
    if not defined.size:
        raise ArgumentError("curve", f"a function with values between ±{REACH:g}", "none that is finite")
    if defined[-1] - defined[0] < 0.6 * x.size:
        low, high = x[max(defined[0] - 1, 0)], x[min(defined[-1] + 1, x.size - 1)]
        x = np.linspace(low, high, n)
        curves = evaluate(x)
    return tuple(
        Series(label, *_broken(x, y, lambda at, i=i: evaluate(at)[i]))
        for i, (label, y) in enumerate(zip(labels, curves, strict=False))
    )


def _broken(x: Floats, y: Floats, evaluate: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """With a NaN wherever y jumps: a step that does not shrink, however near its two ends are brought."""
    y = np.where(np.isfinite(y), y, np.nan)
    steps = np.abs(np.diff(y))
    typical = np.nanpercentile(y, 95) - np.nanpercentile(y, 5)
    spots = np.flatnonzero(steps > max(0.02 * float(typical), 1e-12))
    if not spots.size:
        return x, y
    a, b, ya, yb = x[spots], x[spots + 1], y[spots], y[spots + 1]
    for _ in range(10):
        middle = (a + b) / 2
        y_middle = evaluate(middle)
        is_left = ~(np.abs(yb - y_middle) > np.abs(y_middle - ya))
        a, b = np.where(is_left, a, middle), np.where(is_left, middle, b)
        ya, yb = np.where(is_left, ya, y_middle), np.where(is_left, y_middle, yb)
    jumps = spots[~(np.abs(yb - ya) < 0.5 * steps[spots])]
    between = (x[jumps] + x[jumps + 1]) / 2
    return np.insert(x, jumps + 1, between), np.insert(y, jumps + 1, np.nan)
