"""Reductions in plain NumPy. `axis` is None or a tuple of axes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["sum"]

Array = NDArray[Any]
Axis = tuple[int, ...] | None


def sum(x: Array, axis: Axis, keepdims: bool) -> Array:
    """y = Σ x over `axis`."""
    return np.add.reduce(x, axis=axis, keepdims=keepdims, dtype=x.dtype if x.dtype.kind == "f" else None)
