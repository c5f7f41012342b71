"""Gradients held against central differences, to first and to second order."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kinone.core.graph import Leaf
from kinone.core.tensor import Tensor, as_array, wrap
from kinone.core.transforms import gradients
from kinone.core.tree import is_a
from kinone.errors import NumericsError
from kinone.random import Stream


class Check(NamedTuple):
    """What a gradient check found: for each floating input ‖∂ − ∂̂‖ / (‖∂‖ + ‖∂̂‖ + 10⁻³), ∂̂ by differences of step h."""

    errors: tuple[float, ...]
    order: int
    h: float
    tolerance: float

    def __bool__(self) -> bool:
        return bool(self.errors) and all(error <= self.tolerance for error in self.errors)  # a NaN is no pass either


def gradgradcheck(f: Callable[..., Any], *inputs: Any, h: float = 1e-5, **options: Any) -> Check:
    """`gradcheck` for second derivatives, through a loss that is curved both in f and in its gradient.

    A loss linear in the gradient would not notice a wrong second derivative of a linear operator.
    """
    return gradcheck(f, *inputs, h=h, order=2, **options)


def gradcheck(
    f: Callable[..., Any], *inputs: Any, h: float = 1e-6, tolerance: float = 1e-6, order: int = 1, raises: bool = True,
    **attrs: Any,
) -> Check:  # fmt: skip
    """Hold ∂f/∂x in float64 against central differences; inputs that are not floating are passed on as they are.

    >>> import kinone as kn
    >>> bool(kn.gradcheck(kn.tanh, [0.3, -1.2]))
    True
    """
    values = [as_array(x) if isinstance(x, float | list | np.ndarray | Tensor) else x for x in inputs]
    spots = [i for i, x in enumerate(values) if is_a(np.ndarray, x) and x.dtype.kind == "f"]
    values = [x.astype(np.float64) if i in spots else x for i, x in enumerate(values)]

    def loss(arrays: list[Any], create_graph: bool) -> tuple[Tensor, list[Tensor]]:
        xs = [wrap(x, Leaf()) if i in spots else x for i, x in enumerate(arrays)]
        leaves = [xs[i] for i in spots]
        y = _reduced(f(*xs, **attrs), order)
        if order == 2 and y.node is not None:
            y = _reduced(tuple(gradients(y, leaves, create_graph=create_graph)), 2)
        return y, leaves

    y, leaves = loss(values, True)
    exact = [np.zeros(x.shape) for x in leaves] if y.node is None else [g.data for g in gradients(y, leaves)]
    errors: list[float] = []
    for i, a in zip(spots, exact, strict=True):
        b = np.zeros(a.shape)
        for at in np.ndindex(b.shape):
            for step in (h, -h):
                moved = values[i].copy()
                moved[at] += step
                b[at] += loss([*values[:i], moved, *values[i + 1 :]], False)[0].item() / (2 * step)
        errors.append(float(np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b) + 1e-3)))
    check = Check(tuple(errors), order, h, tolerance)
    if raises and not check:
        expected = f"order-{order} derivatives within {tolerance:g} of differences with h = {h:g}"
        raise NumericsError("gradcheck", expected, f"errors {errors} for inputs {spots} of {getattr(f, '__name__', f)}")
    return check


def _reduced(y: Any, order: int) -> Tensor:
    """Σ w·φ(y) over the floating outputs, with φ(t) = t for the first order and t + t²/2 for the second."""
    total = wrap(0.0)
    for i, part in enumerate(y if is_a(tuple, y) else (y,)):
        if part.dtype.kind == "f":
            weights = wrap(Stream("gradcheck", i).uniform(part.shape, low=0.5, high=1.5, dtype=np.float64))
            total = total + ((part if order == 1 else part + part * part * 0.5) * weights).sum()
    return total
