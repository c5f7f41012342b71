"""Powers, exponentials, logarithms, and the error function."""

from math import log as ln
from math import nan, pi, sqrt
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.ops.arguments import composed
from kinone.ops.arithmetic import abs, maximum, negative, square, subtract, where
from kinone.ops.declare import (
    Bad,
    ByDefinition,
    NoOnnx,
    Onnx,
    Sample,
    constant,
    integers,
    large,
    normal,
    positive,
    uniform,
)  # fmt: skip

_ELEMENTS = [Sample(normal(2, 3)), Sample(normal()), Sample(normal(0, 3))]
_POSITIVE = [Sample(positive(2, 3)), Sample(positive()), Sample(positive(0, 3))]
_NO_FLOATS = [Bad(integers(2), match="x of a .*got int64")]


@op(onnx=Onnx("Pow"), methods=("__pow__", "pow"), reflected=("__rpow__",), numpy=(np.power,), dtypes="number",
    samples=[Sample(positive(2, 3), normal(2, 3)), Sample(positive(2, 1), normal(3)), Sample(normal(2, 3), 2),
             Sample(normal(2, 3), -3), Sample(positive(2), -0.5), Sample(2.0, normal(2, 3)), Sample(normal(2), 0),
             Sample(constant([0.0, -2.0, 3.0]), 1), Sample(integers(2, 3), integers(3)),
             Sample(constant([0.0, -0.5, 0.3]), 2)],
    errors=[Bad(normal(2, 3), normal(4), match="a, b that broadcast together"),
            Bad(normal(2), integers(2), match="inputs of one dtype"),
            Bad(integers(3, low=1), constant([-1, 2, 3]), match="negative integer powers")])  # fmt: skip
def pow(a: Array, b: Array) -> Array:
    """y = aᵇ, with 0⁰ = 1.   ∂L/∂a = g · b · aᵇ⁻¹,  ∂L/∂b = g · y · ln a, which is NaN for a < 0.

    >>> pow([1, 2, 3], 2)
    array([1, 4, 9])
    """
    return kernels.power(a, b)


@pow.backward
def pow_backward(g: Array, a: Array, b: Array) -> tuple[Array, Array]:
    return lambda: g * (b * pow(a, _lowered(a, b))), lambda: g * (pow(a, b) * _log_of_base(a, b))


def _lowered(a: Any, b: Any) -> Any:
    """b − 1, but 0 where b · aᵇ⁻¹ would be 0 · ∞."""
    if isinstance(b, int | float):
        return b - 1 if b else 0
    return where((a == 0) & (b == 0), 0, b - 1)


def _log_of_base(a: Any, b: Any) -> Any:
    """ln a, but 0 where aᵇ · ln a would be 0 · ∞ (0ᵇ is 0 around every b > 0)."""
    if isinstance(a, int | float):
        return ln(a) if a > 0 else nan if a < 0 else 0
    return log(where((a == 0) & (b >= 0), 1, a))


# ------------------------------------------------------------------------------ exponentials
@op(onnx=Onnx("Exp"), methods=("exp",), numpy=(np.exp,), samples=_ELEMENTS, errors=_NO_FLOATS)
def exp(x: Array) -> Array:
    """y = eˣ.   ∂L/∂x = g · y.

    >>> exp([0.0, 1.0])
    array([1.        , 2.71828183])
    """
    return kernels.exp(x)


@exp.backward
def exp_backward(g: Array, y: Array) -> Array:
    return g * y


def exp2_definition(x: Array) -> Array:
    return pow(2.0, x)


@op(onnx=ByDefinition(), definition=exp2_definition, numpy=(np.exp2,), samples=_ELEMENTS, errors=_NO_FLOATS)
def exp2(x: Array) -> Array:
    """y = 2ˣ.   ∂L/∂x = g · y · ln 2.

    >>> exp2([3.0, -1.0])
    array([8. , 0.5])
    """
    return kernels.exp2(x)


@exp2.backward(serves_tensors=True)
def exp2_backward(g: Array, y: Array) -> Array:
    return g * y * ln(2)


def expm1_definition(x: Array) -> Array:
    return exp(x) - 1


@op(onnx=ByDefinition(), definition=expm1_definition, methods=("expm1",), numpy=(np.expm1,), samples=_ELEMENTS,
    errors=_NO_FLOATS)  # fmt: skip
def expm1(x: Array) -> Array:
    """y = eˣ − 1, exact near 0.   ∂L/∂x = g · (y + 1).

    >>> expm1([0.0, 1e-20])
    array([0.e+00, 1.e-20])
    """
    return kernels.expm1(x)


@expm1.backward(serves_tensors=True)
def expm1_backward(g: Array, y: Array) -> Array:
    return g * (y + 1)


# ------------------------------------------------------------------------------ logarithms
@op(onnx=Onnx("Log"), methods=("log",), numpy=(np.log,), samples=_POSITIVE, errors=_NO_FLOATS)
def log(x: Array) -> Array:
    """y = ln x.   ∂L/∂x = g / x.

    >>> log([1.0, np.e])
    array([0., 1.])
    """
    return kernels.log(x)


@log.backward
def log_backward(g: Array, x: Array) -> Array:
    return g / x


def log1p_definition(x: Array) -> Array:
    return log(1 + x)


@op(onnx=ByDefinition(), definition=log1p_definition, methods=("log1p",), numpy=(np.log1p,), samples=_POSITIVE,
    errors=_NO_FLOATS)  # fmt: skip
def log1p(x: Array) -> Array:
    """y = ln(1 + x), exact near 0.   ∂L/∂x = g / (1 + x).

    >>> log1p([0.0, 1e-20])
    array([0.e+00, 1.e-20])
    """
    return kernels.log1p(x)


@log1p.backward(serves_tensors=True)
def log1p_backward(g: Array, x: Array) -> Array:
    return g / (1 + x)


def log2_definition(x: Array) -> Array:
    return log(x) / ln(2)


@op(onnx=ByDefinition(), definition=log2_definition, numpy=(np.log2,), samples=_POSITIVE, errors=_NO_FLOATS)
def log2(x: Array) -> Array:
    """y = log₂ x.   ∂L/∂x = g / (x · ln 2).

    >>> log2([8.0, 0.5])
    array([ 3., -1.])
    """
    return kernels.log2(x)


@log2.backward(serves_tensors=True)
def log2_backward(g: Array, x: Array) -> Array:
    return g / (x * ln(2))


def log10_definition(x: Array) -> Array:
    return log(x) / ln(10)


@op(onnx=ByDefinition(), definition=log10_definition, numpy=(np.log10,), samples=_POSITIVE, errors=_NO_FLOATS)
def log10(x: Array) -> Array:
    """y = log₁₀ x.   ∂L/∂x = g / (x · ln 10).

    >>> log10([100.0, 0.1])
    array([ 2., -1.])
    """
    return kernels.log10(x)


@log10.backward(serves_tensors=True)
def log10_backward(g: Array, x: Array) -> Array:
    return g / (x * ln(10))


def logaddexp_definition(a: Array, b: Array) -> Array:
    return maximum(a, b) + log1p(exp(-abs(a - b)))


@op(onnx=ByDefinition(), definition=logaddexp_definition, numpy=(np.logaddexp,),
    samples=[Sample(normal(2, 3), normal(3)), Sample(normal(2), 0.5), Sample(large(2, 3), large(2, 3)),
             Sample(constant([0.0, 1.0]), constant([0.0, 1.0]))],
    errors=[Bad(normal(2, 3), normal(4), match="a, b that broadcast together")])  # fmt: skip
def logaddexp(a: Array, b: Array) -> Array:
    """y = ln(eᵃ + eᵇ).   ∂L/∂a = g · exp(a − y),  ∂L/∂b = g · exp(b − y), both 0 where both are −∞.

    >>> logaddexp([1000.0, -np.inf], [1000.0, 2.0])
    array([1000.69314718,    2.        ])
    """
    return kernels.logaddexp(a, b)


@logaddexp.backward(serves_tensors=True)
def logaddexp_backward(g: Array, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    finite = where(y == -np.inf, 0, y)
    return lambda: g * exp(a - finite), lambda: g * exp(b - finite)


# ------------------------------------------------------------------------------ the error function
@op(onnx=Onnx("Erf"), methods=("erf",), samples=[*_ELEMENTS, Sample(uniform(2, 6, low=-6, high=6))], errors=_NO_FLOATS)
def erf(x: Array) -> Array:
    """y = 2/√π ∫₀ˣ e^−t² dt.   ∂L/∂x = g · 2/√π · e^−x².

    >>> erf([0.0, 0.5])
    array([0.        , 0.52049988])
    """
    return kernels.erf(np.asarray(x))


@erf.backward
def erf_backward(g: Array, x: Array) -> Array:
    return g * exp(-square(x)) * (2 / sqrt(pi))


def erfc_definition(x: Array) -> Array:
    return 1 - erf(x)


@op(onnx=ByDefinition(), definition=erfc_definition, samples=[*_ELEMENTS, Sample(uniform(2, 6, low=-6, high=6))],
    errors=_NO_FLOATS)  # fmt: skip
def erfc(x: Array) -> Array:
    """y = 1 − erf x, without cancellation for large x.   ∂L/∂x = −g · 2/√π · e^−x².

    >>> erfc([0.0, 10.0])
    array([1.00000000e+00, 2.08848758e-45])
    """
    return kernels.erfc(np.asarray(x))


@erfc.backward(serves_tensors=True)
def erfc_backward(g: Array, x: Array) -> Array:
    return g * exp(-square(x)) * (-2 / sqrt(pi))


@op(onnx=NoOnnx("ONNX has no inverse of the error function"), samples=[Sample(uniform(2, 3, low=-0.9, high=0.9)),
    Sample(constant(0.25)), Sample(constant([-1.0, 1.0]), smooth=False, reason="not finite")],
    errors=_NO_FLOATS)  # fmt: skip
def erfinv(x: Array) -> Array:
    """y = the number whose erf is x: ±∞ at ±1, NaN beyond.   ∂L/∂x = g · ½√π · e^y².

    >>> erfinv([0.0, 0.52049988])
    array([0. , 0.5])
    """
    return kernels.erfinv(np.asarray(x))


@erfinv.backward
def erfinv_backward(g: Array, y: Array) -> Array:
    return g * exp(square(y)) * (sqrt(pi) / 2)


@composed
def logit(x: Array) -> Array:
    """y = ln(x / (1 − x)), the inverse of the sigmoid.

    >>> logit([0.5, 0.9])
    array([0.        , 2.19722458])
    """
    return subtract(log(x), log1p(negative(x)))
