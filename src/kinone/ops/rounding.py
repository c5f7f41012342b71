"""Rounding, and what rounded quotients leave over."""

from typing import Any

import numpy as np

from kinone.core.op import Array, op
from kinone.ops.arithmetic import divide, where
from kinone.ops.declare import Bad, ByDefinition, Literal, Onnx, Sample, away, constant, integers, normal
from kinone.ops.shape import astype

_JUMPS = tuple(float(n) / 2 for n in range(-4, 5))
_STEPS = [
    Sample(away(2, 3, kinks=_JUMPS)),
    Sample(away(kinks=_JUMPS)),
    Sample(constant([-2.0, -1.5, -0.5, 0.5, 1.5, 2.5, 3.0]), smooth=False, reason="at jumps"),
    Sample(integers(3, low=-5)),
]
_DIVIDED = [
    Sample(constant([[7.3, -7.3], [2.2, -0.4]]), constant([[2.0, 2.0], [-1.5, 1.3]])),
    Sample(constant([7.3, -7.2]), 2.0),
    Sample(constant([[7.3], [-7.2]]), constant([0.7, 1.1, 1.9])),
    Sample(integers(2, 3, low=-9), integers(3, low=1)),
]
_NOT_DIVIDED = [
    Bad(normal(2, 3), normal(4), match="a, b that broadcast together"),
    Bad(normal(2), integers(2), match="inputs of one dtype"),
]


@op(onnx=Onnx("Floor", of_integers="Identity"), methods=("floor",), numpy=(np.floor,), dtypes="number", samples=_STEPS)
def floor(x: Array) -> Array:
    """y = ⌊x⌋, the largest integer ≤ x.   ∂L/∂x = 0.

    >>> floor([1.5, -1.5])
    array([ 1., -2.])
    """
    return np.floor(x)


@op(onnx=Onnx("Ceil", of_integers="Identity"), methods=("ceil",), numpy=(np.ceil,), dtypes="number", samples=_STEPS)
def ceil(x: Array) -> Array:
    """y = ⌈x⌉, the smallest integer ≥ x.   ∂L/∂x = 0.

    >>> ceil([1.5, -1.5])
    array([ 2., -1.])
    """
    return np.ceil(x)


@op(onnx=Onnx("Round", of_integers="Identity"), methods=("round",), numpy=(np.round,), dtypes="number", samples=_STEPS)
def round(x: Array) -> Array:
    """y = the integer nearest to x, of two the even one.   ∂L/∂x = 0.

    >>> round([0.5, 1.5, -1.2])
    array([ 0.,  2., -1.])
    """
    return np.round(x)


def trunc_definition(x: Array) -> Array:
    return where(x < 0, ceil(x), floor(x))


@op(onnx=ByDefinition(), definition=trunc_definition, methods=("trunc",), numpy=(np.trunc,), dtypes="number",
    samples=_STEPS)  # fmt: skip
def trunc(x: Array) -> Array:
    """y = x without its fraction.   ∂L/∂x = 0.

    >>> trunc([1.5, -1.5])
    array([ 1., -1.])
    """
    return np.trunc(x)


@floor.backward
@ceil.backward
@round.backward
@trunc.backward(serves_tensors=True)
def rounded_backward(g: Array) -> Array:
    return where(False, g, 0)


def floor_divide_definition(a: Array, b: Array) -> Array:
    dtype = np.result_type(*(x.dtype if hasattr(x, "dtype") else x for x in (a, b)))
    if dtype.kind == "f":
        return floor(divide(a, b))
    return astype(floor(divide(astype(a, np.float64), astype(b, np.float64))), dtype)  # exact below 2⁵³


@op(onnx=ByDefinition(), definition=floor_divide_definition, methods=("__floordiv__",), reflected=("__rfloordiv__",),
    numpy=(np.floor_divide,), dtypes="number", samples=_DIVIDED, errors=_NOT_DIVIDED)  # fmt: skip
def floor_divide(a: Array, b: Array) -> Array:
    """y = ⌊a / b⌋.   ∂L/∂a = ∂L/∂b = 0.

    >>> floor_divide([7, -7], 2)
    array([ 3, -4])
    """
    return np.floor_divide(a, b)


@floor_divide.backward(serves_tensors=True)
def floor_divide_backward(g: Array) -> tuple[Array, Array]:
    zero = where(False, g, 0)
    return zero, zero


def remainder_definition(a: Array, b: Array) -> Array:
    return a - b * floor_divide(a, b)


def _is_fraction(a_dtype: Any, b_dtype: Any) -> str:
    is_whole = all(dtype is None or dtype.kind in "iu" for dtype in (a_dtype, b_dtype))
    return "" if is_whole else "of floating numbers, ONNX's Mod takes the sign of a"


@op(onnx=Onnx("Mod", unless=_is_fraction), definition=remainder_definition, methods=("__mod__",),
    reflected=("__rmod__",), numpy=(np.remainder,), dtypes="number", samples=_DIVIDED, errors=_NOT_DIVIDED)  # fmt: skip
def remainder(a: Array, b: Array) -> Array:
    """y = a − b · ⌊a / b⌋, with the sign of b.   ∂L/∂a = g,  ∂L/∂b = −g · ⌊a / b⌋.

    >>> remainder([7, -7], 4)
    array([3, 1])
    """
    return np.remainder(a, b)


@remainder.backward(serves_tensors=True)
def remainder_backward(g: Array, a: Array, b: Array) -> tuple[Array, Array]:
    return g, lambda: -(g * floor_divide(a, b))


@op(onnx=Onnx("Mod", attributes={"fmod": Literal(1)}), numpy=(np.fmod,), dtypes="number", samples=_DIVIDED,
    errors=_NOT_DIVIDED)  # fmt: skip
def fmod(a: Array, b: Array) -> Array:
    """y = a − b · trunc(a / b), with the sign of a.   ∂L/∂a = g,  ∂L/∂b = −g · trunc(a / b).

    >>> fmod([7, -7], 4)
    array([ 3, -3])
    """
    return np.fmod(a, b)


@fmod.backward
def fmod_backward(g: Array, a: Array, b: Array) -> tuple[Array, Array]:
    return g, lambda: -(g * trunc(divide(a, b)))
