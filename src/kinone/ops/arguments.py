"""The checks that many operators share: axes, shapes, and what is said when they do not fit."""

from typing import Any

import numpy as np

from kinone.errors import AxisError

Axis = int | tuple[int, ...] | None


def one_axis(where: str, x: Any, axis: int, name: str = "axis") -> int:
    """`axis` counted from the front."""
    ndim = np.ndim(x)
    if not isinstance(axis, int | np.integer) or not -ndim <= axis < ndim:
        raise AxisError(where, f"{name} from {-ndim} to {ndim - 1} for shape {np.shape(x)}", f"{name}={axis} is outside")
    return int(axis) % ndim


def reduced_axes(where: str, x: Any, axis: Axis) -> tuple[int, ...] | None:
    """The axes of a reduction as a tuple from the front, or None for all."""
    if axis is None:
        return None
    axes = tuple(one_axis(where, x, a) for a in (axis if isinstance(axis, tuple | list) else (axis,)))
    if len(set(axes)) < len(axes):
        raise AxisError(where, "each axis once", f"axis={axis}")
    return axes


def kept_shape(x_shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """The shape of a reduction of x with keepdims=True."""
    axes = range(len(x_shape)) if axis is None else [a % len(x_shape) for a in (axis if isinstance(axis, tuple | list) else (axis,))]
    return tuple(1 if i in axes else n for i, n in enumerate(x_shape))
