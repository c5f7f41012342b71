"""Arithmetic: sums, products, powers and roots of elements."""

import numpy as np

from kinone.core.op import Array, op
from kinone.ops.declare import Bad, Onnx, Sample, normal, positive

_BROADCAST = [
    Sample(normal(2, 3), normal(2, 3)),
    Sample(normal(2, 1), normal(3)),
    Sample(normal(), normal(2, 2)),
    Sample(normal(2, 3), 1.5),
]
_MISMATCH = [Bad(normal(2, 3), normal(4), match=r"a, b that broadcast together, got \(2, 3\) and \(4,\)")]


@op(onnx=Onnx("Add"), methods=("__add__",), reflected=("__radd__",), numpy=(np.add,), dtypes="any",
    samples=_BROADCAST, errors=_MISMATCH)  # fmt: skip
def add(a: Array, b: Array) -> Array:
    """y = a + b.   ∂L/∂a = g,  ∂L/∂b = g.

    >>> add([1, 2], [10, 20])
    array([11, 22])
    """
    return np.add(a, b)


@add.backward
def add_backward(g: Array) -> tuple[Array, Array]:
    return g, g


@op(onnx=Onnx("Mul"), methods=("__mul__",), reflected=("__rmul__",), numpy=(np.multiply,), dtypes="any",
    samples=_BROADCAST, errors=_MISMATCH)  # fmt: skip
def multiply(a: Array, b: Array) -> Array:
    """y = a · b.   ∂L/∂a = g · b,  ∂L/∂b = g · a."""
    return np.multiply(a, b)


@multiply.backward
def multiply_backward(g: Array, a: Array, b: Array) -> tuple[Array, Array]:
    return lambda: g * b, lambda: g * a


@op(onnx=Onnx("Sub"), methods=("__sub__",), reflected=("__rsub__",), numpy=(np.subtract,), dtypes="number",
    samples=_BROADCAST, errors=_MISMATCH)  # fmt: skip
def subtract(a: Array, b: Array) -> Array:
    """y = a − b.   ∂L/∂a = g,  ∂L/∂b = −g."""
    return np.subtract(a, b)


@subtract.backward
def subtract_backward(g: Array) -> tuple[Array, Array]:
    return g, lambda: -g


@op(onnx=Onnx("Neg"), methods=("__neg__",), numpy=(np.negative,), dtypes="number", samples=[Sample(normal(2, 3))])
def negative(x: Array) -> Array:
    """y = −x.   ∂L/∂x = −g."""
    return np.negative(x)


@negative.backward
def negative_backward(g: Array) -> Array:
    return -g
