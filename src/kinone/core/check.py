"""Gradients held against central differences, to first and to second order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.graph import Leaf
from kinone.core.random import Stream
from kinone.core.tensor import Tensor, as_array, wrap
from kinone.core.transforms import gradients
from kinone.errors import NumericsError


@dataclass(frozen=True)
class Check:
    """What a gradient check found: for each floating input ‖∂ − ∂̂‖ / (‖∂‖ + ‖∂̂‖ + 10⁻³), ∂̂ by differences of step h."""

    errors: tuple[float, ...]
    order: int
    h: float
    tolerance: float

    @property
    def error(self) -> float:
        """The largest of the errors."""
        return max(self.errors, default=0.0)

    def __bool__(self) -> bool:
        return all(error <= self.tolerance for error in self.errors)  # false for a NaN as well


def gradcheck(
    f: Callable[..., Any], *inputs: Any, h: float = 1e-6, tolerance: float = 1e-6, raises: bool = True, **attrs: Any
) -> Check:
    """Hold ∂f/∂x in float64 against central differences; inputs that are not floating are passed on as they are.

    Several outputs, or one with many elements, are reduced to a number with fixed random weights.

    >>> import kinone as kn
    >>> bool(kn.gradcheck(kn.tanh, [0.3, -1.2]))
    True
    """
    return _check(f, inputs, attrs, 1, h, tolerance, raises)


def gradgradcheck(
    f: Callable[..., Any], *inputs: Any, h: float = 1e-5, tolerance: float = 1e-6, raises: bool = True, **attrs: Any
) -> Check:
    """The same for second derivatives, through a loss that is curved both in f and in its gradient.

    A loss linear in the gradient would not notice a wrong second derivative of a linear operator.
    """
    return _check(f, inputs, attrs, 2, h, tolerance, raises)


def _check(
    f: Callable[..., Any], inputs: Any, attrs: Any, order: int, h: float, tolerance: float, raises: bool
) -> Check:
    values = [x if x is None or isinstance(x, str | bool | int | tuple) else as_array(x) for x in inputs]
    values = [x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in values]
    spots = [i for i, x in enumerate(values) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]

    def value(arrays: list[Any], *, differentiable: bool) -> tuple[Tensor | None, list[Tensor]]:
        xs = [wrap(x, Leaf()) if i in spots else x for i, x in enumerate(arrays)]
        leaves = [xs[i] for i in spots]
        y = _curved(f(*xs, **attrs), order)
        if order == 2 and y is not None:
            y = _curved(tuple(gradients(y, leaves, create_graph=differentiable)), order)
        return y, leaves

    def number(arrays: list[Any]) -> float:
        y, _ = value(arrays, differentiable=False)
        return 0.0 if y is None else y.item()

    y, leaves = value(values, differentiable=True)
    exact = [np.zeros(x.shape) for x in leaves] if y is None or y.node is None else [g.data for g in gradients(y, leaves)]
    errors = [_distance(a, _differences(number, values, i, h)) for i, a in zip(spots, exact, strict=True)]
    check = Check(tuple(errors), order, h, tolerance)
    if raises and not check:
        name = getattr(f, "__name__", "f")
        worst = int(np.argmax([np.inf if np.isnan(e) else e for e in errors]))
        expected = f"order-{order} derivatives within {tolerance:g} of differences with h = {h:g}"
        raise NumericsError("gradcheck", expected, f"{errors[worst]:.3g} for input {spots[worst]} of {name}")
    return check


def _curved(y: Any, order: int) -> Tensor | None:
    """Σ w·φ(y) over all floating outputs, φ(t) = t for first order and t + t²/2 for second; None if there are none."""
    total: Tensor | None = None
    for i, part in enumerate(y if isinstance(y, tuple) else (y,)):
        if part.dtype.kind == "f":
            weights = wrap(Stream("gradcheck", i).uniform(part.shape, low=0.5, high=1.5, dtype=np.float64))
            term = ((part if order == 1 else part + part * part * 0.5) * weights).sum()
            total = term if total is None else total + term
    return total


def _differences(number: Callable[[list[Any]], float], values: list[Any], i: int, h: float) -> NDArray[np.float64]:
    slopes = np.zeros(values[i].shape)
    for at in np.ndindex(slopes.shape):
        ends: list[float] = []
        for step in (h, -h):
            moved = values[i].copy()
            moved[at] += step
            ends.append(number([*values[:i], moved, *values[i + 1 :]]))
        slopes[at] = (ends[0] - ends[1]) / (2 * h)
    return slopes


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b) + 1e-3))
