"""Changes of shape."""

import numpy as np

from kinone.core.graph import unbroadcast
from kinone.core.op import Array, op
from kinone.ops.declare import Onnx, Sample, normal

Shape = tuple[int, ...]


@op(onnx=Onnx("Identity"), methods=("clone",), dtypes="any", samples=[Sample(normal(2, 3))])
def identity(x: Array) -> Array:
    """y = x, in an array of its own.   ∂L/∂x = g."""
    return np.array(x)


@identity.backward
def identity_backward(g: Array) -> Array:
    return g


@op(onnx=Onnx("Reshape", inputs=("x", "shape")), methods=("reshape",), dtypes="any", samples=[Sample(normal(2, 3), (3, 2))])
def reshape(x: Array, shape: Shape) -> Array:
    """y = x in another shape, elements in the same (row-major) order; one length may be −1.   ∂L/∂x = g reshaped."""
    return np.reshape(x, shape)


@reshape.backward
def reshape_backward(g: Array, x_shape: Shape) -> Array:
    return reshape(g, x_shape)


@op(onnx=Onnx("Expand", inputs=("x", "shape")), methods=("expand",), dtypes="any", samples=[Sample(normal(2, 1), (4, 2, 3))])
def expand(x: Array, shape: Shape) -> Array:
    """y = x broadcast to `shape`.   ∂L/∂x = g summed over what was broadcast."""
    return np.broadcast_to(x, shape)


@expand.backward
def expand_backward(g: Array, x_shape: Shape) -> Array:
    return unbroadcast(g, x_shape)
