"""Trigonometric and hyperbolic functions, and their inverses."""

from math import pi

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.ops.arguments import by_kernel
from kinone.ops.arithmetic import divide, sqrt, square, where
from kinone.ops.declare import (
    Bad,
    ByDefinition,
    Onnx,
    Sample,
    away,
    constant,
    integers,
    large,
    normal,
    positive,
    uniform,
)

_ELEMENTS = [Sample(normal(2, 3)), Sample(normal()), Sample(normal(0, 3))]
_INSIDE = [Sample(uniform(2, 3, low=-0.8, high=0.8)), Sample(uniform(low=-0.8, high=0.8))]
_MISMATCH = [Bad(normal(2, 3), normal(4), match="a, b that broadcast together")]
_NO_FLOATS = [Bad(integers(2), match="x of a .*got int64")]


@op(onnx=Onnx("Sin"), methods=("sin",), numpy=(np.sin,), samples=_ELEMENTS, errors=_NO_FLOATS)
def sin(x: Array) -> Array:
    """y = sin x.   ∂L/∂x = g · cos x.

    >>> sin([0.0, np.pi / 2])
    array([0., 1.])
    """
    return kernels.sin(x)


@sin.backward
def sin_backward(g: Array, x: Array) -> Array:
    return g * cos(x)


@op(onnx=Onnx("Cos"), methods=("cos",), numpy=(np.cos,), samples=_ELEMENTS, errors=_NO_FLOATS)
def cos(x: Array) -> Array:
    """y = cos x.   ∂L/∂x = −g · sin x.

    >>> cos([0.0, np.pi])
    array([ 1., -1.])
    """
    return kernels.cos(x)


@cos.backward
def cos_backward(g: Array, x: Array) -> Array:
    return -(g * sin(x))


@op(onnx=Onnx("Tan"), methods=("tan",), numpy=(np.tan,), samples=[Sample(uniform(2, 3)), Sample(uniform())],
    errors=_NO_FLOATS)  # fmt: skip
def tan(x: Array) -> Array:
    """y = tan x.   ∂L/∂x = g · (1 + y²).

    >>> tan([0.0, 1.0])
    array([0.        , 1.55740772])
    """
    return kernels.tan(x)


@tan.backward
def tan_backward(g: Array, y: Array) -> Array:
    return g * (1 + y * y)


@op(onnx=Onnx("Asin"), numpy=(np.arcsin,), samples=_INSIDE, errors=_NO_FLOATS)
def asin(x: Array) -> Array:
    """y = sin⁻¹ x.   ∂L/∂x = g / √(1 − x²).

    >>> asin([0.0, 1.0])
    array([0.        , 1.57079633])
    """
    return kernels.asin(x)


@asin.backward
def asin_backward(g: Array, x: Array) -> Array:
    return g / sqrt((1 - x) * (1 + x))


@op(onnx=Onnx("Acos"), numpy=(np.arccos,), samples=_INSIDE, errors=_NO_FLOATS)
def acos(x: Array) -> Array:
    """y = cos⁻¹ x.   ∂L/∂x = −g / √(1 − x²).

    >>> acos([0.0, 1.0])
    array([1.57079633, 0.        ])
    """
    return kernels.acos(x)


@acos.backward
def acos_backward(g: Array, x: Array) -> Array:
    return -(g / sqrt((1 - x) * (1 + x)))


@op(onnx=Onnx("Atan"), numpy=(np.arctan,), samples=[*_ELEMENTS, Sample(large(2, 3))], errors=_NO_FLOATS)
def atan(x: Array) -> Array:
    """y = tan⁻¹ x.   ∂L/∂x = g / (1 + x²).

    >>> atan([0.0, 1.0])
    array([0.        , 0.78539816])
    """
    return kernels.atan(x)


@atan.backward
def atan_backward(g: Array, x: Array) -> Array:
    return g / (1 + x * x)


def hypot_definition(a: Array, b: Array) -> Array:
    return sqrt(square(a) + square(b))


@op(onnx=ByDefinition(), definition=hypot_definition, numpy=(np.hypot,), errors=_MISMATCH,
    samples=[Sample(normal(2, 3), normal(3)), Sample(positive(2), 2.0),
             Sample(constant([0.0]), constant([0.0]), smooth=False, reason="a kink")])  # fmt: skip
def hypot(a: Array, b: Array) -> Array:
    """y = √(a² + b²), without overflow on the way.   ∂L/∂a = g · a/y,  ∂L/∂b = g · b/y, which are 0 where y is 0.

    >>> hypot([3.0, 1e200], [4.0, 0.0])
    array([5.e+000, 1.e+200])
    """
    return np.hypot(a, b)


@hypot.backward(serves_tensors=True)
def hypot_backward(g: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    length = where(y == 0, 1, y)
    return lambda: g * (a / length), lambda: g * (b / length)


def atan2_definition(a: Array, b: Array) -> Array:
    y = atan(divide(a, b))
    return where(b < 0, where(a < 0, y - pi, y + pi), y)


@op(onnx=ByDefinition(), definition=atan2_definition, numpy=(np.arctan2,),
    samples=[Sample(away(2, 3, margin=0.3), away(3, margin=0.3)), Sample(away(3, margin=0.3), 0.5),
             Sample(constant([0.0, -0.0]), constant([1.0, 1.0]))],
    errors=_MISMATCH)  # fmt: skip
def atan2(a: Array, b: Array) -> Array:
    """y = the angle of the point (b, a), from −π to π.   ∂L/∂a = g · b/(a² + b²),  ∂L/∂b = −g · a/(a² + b²).

    Both gradients are 0 at (0, 0).

    >>> atan2([1.0, -1.0], [1.0, -1.0])
    array([ 0.78539816, -2.35619449])
    """
    return kernels.atan2(a, b)


@atan2.backward(serves_tensors=True)
def atan2_backward(g: Array, a: Array, b: Array) -> tuple[Array, Array]:
    length = hypot(a, b)
    length = where(length == 0, 1, length)
    return lambda: g * (b / length / length), lambda: -(g * (a / length / length))


# ------------------------------------------------------------------------------ hyperbolic
@op(onnx=Onnx("Sinh"), numpy=(np.sinh,), samples=_ELEMENTS, errors=_NO_FLOATS)
def sinh(x: Array) -> Array:
    """y = sinh x.   ∂L/∂x = g · cosh x.

    >>> sinh([0.0, 1.0])
    array([0.        , 1.17520119])
    """
    return kernels.sinh(x)


@sinh.backward
def sinh_backward(g: Array, x: Array) -> Array:
    return g * cosh(x)


@op(onnx=Onnx("Cosh"), numpy=(np.cosh,), samples=_ELEMENTS, errors=_NO_FLOATS)
def cosh(x: Array) -> Array:
    """y = cosh x.   ∂L/∂x = g · sinh x.

    >>> cosh([0.0, 1.0])
    array([1.        , 1.54308063])
    """
    return kernels.cosh(x)


@cosh.backward
def cosh_backward(g: Array, x: Array) -> Array:
    return g * sinh(x)


@op(onnx=Onnx("Tanh"), methods=("tanh",), numpy=(np.tanh,), samples=[*_ELEMENTS, Sample(large(2, 3))],
    errors=_NO_FLOATS)  # fmt: skip
def tanh(x: Array) -> Array:
    """y = tanh x.   ∂L/∂x = g · (1 − y²).

    >>> tanh([0.0, 1.0])
    array([0.        , 0.76159416])
    """
    return kernels.tanh(x)


@tanh.backward
@by_kernel
def tanh_backward(g: Array, y: Array) -> Array:
    return g * (1 - y * y)


@op(onnx=Onnx("Asinh"), numpy=(np.arcsinh,), samples=[*_ELEMENTS, Sample(large(2, 3))], errors=_NO_FLOATS)
def asinh(x: Array) -> Array:
    """y = sinh⁻¹ x.   ∂L/∂x = g / √(1 + x²).

    >>> asinh([0.0, 1.0])
    array([0.        , 0.88137359])
    """
    return kernels.asinh(x)


@asinh.backward
def asinh_backward(g: Array, x: Array) -> Array:
    return g / hypot(x, 1.0)


@op(onnx=Onnx("Acosh"), numpy=(np.arccosh,), errors=_NO_FLOATS,
    samples=[Sample(uniform(2, 3, low=1.3, high=3)), Sample(uniform(low=1.3, high=3))])  # fmt: skip
def acosh(x: Array) -> Array:
    """y = cosh⁻¹ x.   ∂L/∂x = g / √(x² − 1).

    >>> acosh([1.0, 2.0])
    array([0.        , 1.3169579])
    """
    return kernels.acosh(x)


@acosh.backward
def acosh_backward(g: Array, x: Array) -> Array:
    return g / (sqrt(x - 1) * sqrt(x + 1))


@op(onnx=Onnx("Atanh"), numpy=(np.arctanh,), samples=_INSIDE, errors=_NO_FLOATS)
def atanh(x: Array) -> Array:
    """y = tanh⁻¹ x.   ∂L/∂x = g / (1 − x²).

    >>> atanh([0.0, 0.5])
    array([0.        , 0.54930614])
    """
    return kernels.atanh(x)


@atanh.backward
def atanh_backward(g: Array, x: Array) -> Array:
    return g / ((1 - x) * (1 + x))
