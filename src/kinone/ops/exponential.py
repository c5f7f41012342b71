"""Exponentials, logarithms, trigonometric and hyperbolic functions."""

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.ops.declare import Onnx, Sample, normal


@op(onnx=Onnx("Tanh"), methods=("tanh",), numpy=(np.tanh,),
    samples=[Sample(normal(2, 3)), Sample(normal()), Sample(normal(0, 3))])  # fmt: skip
def tanh(x: Array) -> Array:
    """y = tanh x.   ∂L/∂x = g · (1 − y²)."""
    return kernels.tanh(x)


@tanh.backward
def tanh_backward(g: Array, y: Array) -> Array:
    return g * (1 - y * y)
