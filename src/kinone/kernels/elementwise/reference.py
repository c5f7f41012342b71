"""Functions of one element at a time, in plain NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["exp", "tanh"]

Array = NDArray[Any]


def tanh(x: Array) -> Array:
    """y = tanh x."""
    return np.tanh(x)


def exp(x: Array) -> Array:
    """y = eˣ."""
    return np.exp(x)
