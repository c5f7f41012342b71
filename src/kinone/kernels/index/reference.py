"""Gathering and scattering in plain NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["scatter_index"]

Array = NDArray[Any]


def scatter_index(x: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """y = 0, then y[index] += x; where an index repeats, its contributions are added in their order."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, np.ndarray) and part.dtype.kind != "b" for part in parts):
        y = np.zeros(shape, np.float32 if x.dtype == np.float16 else x.dtype)
        np.add.at(y.reshape(-1), _positions(index, shape), np.ravel(x))
        return y.astype(x.dtype, copy=False)
    y = np.zeros(shape, x.dtype)
    y[index] = x  # slices, integers and masks meet no element twice
    return y


def _positions(index: Any, shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Where `index` finds its elements in a flattened array of that shape, without making an array of that shape."""
    total: Any = 0
    stride = 1
    for axis in reversed(range(len(shape))):
        coordinate = (np.arange(shape[axis]) * stride).reshape(-1, *(1,) * (len(shape) - axis - 1))
        total = total + np.broadcast_to(coordinate, shape)[index]
        stride *= shape[axis]
    return np.ravel(total)
