"""Losses, in plain NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.kernels.normalize.reference import log_softmax_forward, softmax_forward
from kinone.kernels.precision import widened

__all__ = ["softmax_nll_backward", "softmax_nll_forward"]

Array = NDArray[Any]


def softmax_nll_forward(x: Array, target: Array, axis: int) -> Array:
    """y = −log softmax(x)[target], the classes along `axis`, which y and the target lack."""
    logs = log_softmax_forward(widened(x), axis)
    picked = np.take_along_axis(logs, np.expand_dims(target, axis), axis)
    return -picked.squeeze(axis).astype(x.dtype, copy=False)


def softmax_nll_backward(g: Array, x: Array, target: Array, axis: int) -> Array:
    """∂L/∂x = g·(softmax x − onehot target)."""
    gx = softmax_forward(widened(x), axis)
    target = np.expand_dims(target, axis)
    np.put_along_axis(gx, target, np.take_along_axis(gx, target, axis) - 1, axis)
    gx *= np.expand_dims(g, axis)
    return gx.astype(x.dtype, copy=False)
