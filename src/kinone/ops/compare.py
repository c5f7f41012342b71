"""Comparisons, logic, and the bits of integers. Nothing here has a gradient."""

from typing import Any

import numpy as np

from kinone.core.op import Array, op
from kinone.core.tensor import as_array
from kinone.errors import ArgumentError
from kinone.ops.arguments import composed
from kinone.ops.declare import Bad, ByDefinition, Literal, NoOnnx, Onnx, Sample, booleans, constant, integers, normal

_NONE = "the output is boolean"
_WHOLE = "integers and booleans have no gradients"
_SMALL = constant([[0, 1, 2], [2, 1, 0]])
_COMPARED = [
    Sample(normal(2, 3), normal(2, 3)),
    Sample(_SMALL, constant([0, 1, 2])),
    Sample(normal(2, 1), 0.5),
    Sample(normal(), normal(0, 3)),
    Sample(constant([np.nan, np.inf, -np.inf]), np.inf),
]
_MISMATCH = [
    Bad(normal(2, 3), normal(4), match=r"a, b that broadcast together, got \(2, 3\) and \(4,\)"),
    Bad(normal(2), integers(2), match="inputs of one dtype, got float64 and int64"),
]
_TESTED = [Sample(normal(2, 3)), Sample(constant([np.nan, np.inf, -np.inf, 0.0, -0.0])), Sample(normal())]
_DECIDED = [Sample(booleans(2, 3), booleans(3)), Sample(booleans(2, 1), True), Sample(booleans(), booleans(0, 3))]
_UNDECIDED = [Bad(integers(2), booleans(2), match="a of a .*got int64")]
_BITS = [Sample(integers(2, 3), integers(3)), Sample(booleans(2, 3), booleans(2, 1)), Sample(integers(2), 6)]
_NO_BITS = [Bad(normal(2), integers(2), match="a of an .*got float64")]
_SHIFTED = [Sample(integers(2, 3), integers(3)), Sample(integers(2), 3),
            Sample(constant(np.array([7, 3], np.uint8)), constant(np.array([1, 2], np.uint8)))]  # fmt: skip


@op(onnx=Onnx("Equal"), methods=("__eq__",), numpy=(np.equal,), dtypes="any", no_gradient=_NONE,
    samples=[*_COMPARED, Sample(booleans(3), booleans(3))], errors=_MISMATCH)  # fmt: skip
def equal(a: Array, b: Array) -> Array:
    """y = (a = b); NaN equals nothing.

    >>> equal([1, 2], [1, 3])
    array([ True, False])
    """
    return np.equal(a, b)


def not_equal_definition(a: Array, b: Array) -> Array:
    return logical_not(equal(a, b))


@op(onnx=ByDefinition(), definition=not_equal_definition, methods=("__ne__",), numpy=(np.not_equal,), dtypes="any",
    no_gradient=_NONE, samples=_COMPARED, errors=_MISMATCH)  # fmt: skip
def not_equal(a: Array, b: Array) -> Array:
    """y = (a ≠ b).

    >>> not_equal([1, 2], [1, 3])
    array([False,  True])
    """
    return np.not_equal(a, b)


@op(onnx=Onnx("Less"), methods=("__lt__",), numpy=(np.less,), dtypes="number", no_gradient=_NONE,
    samples=_COMPARED, errors=_MISMATCH)  # fmt: skip
def less(a: Array, b: Array) -> Array:
    """y = (a < b).

    >>> less([1, 2, 3], 2)
    array([ True, False, False])
    """
    return np.less(a, b)


@op(onnx=Onnx("LessOrEqual"), methods=("__le__",), numpy=(np.less_equal,), dtypes="number", no_gradient=_NONE,
    samples=_COMPARED, errors=_MISMATCH)  # fmt: skip
def less_equal(a: Array, b: Array) -> Array:
    """y = (a ≤ b).

    >>> less_equal([1, 2, 3], 2)
    array([ True,  True, False])
    """
    return np.less_equal(a, b)


@op(onnx=Onnx("Greater"), methods=("__gt__",), numpy=(np.greater,), dtypes="number", no_gradient=_NONE,
    samples=_COMPARED, errors=_MISMATCH)  # fmt: skip
def greater(a: Array, b: Array) -> Array:
    """y = (a > b).

    >>> greater([1, 2, 3], 2)
    array([False, False,  True])
    """
    return np.greater(a, b)


@op(onnx=Onnx("GreaterOrEqual"), methods=("__ge__",), numpy=(np.greater_equal,), dtypes="number", no_gradient=_NONE,
    samples=_COMPARED, errors=_MISMATCH)  # fmt: skip
def greater_equal(a: Array, b: Array) -> Array:
    """y = (a ≥ b).

    >>> greater_equal([1, 2, 3], 2)
    array([False,  True,  True])
    """
    return np.greater_equal(a, b)


# ------------------------------------------------------------------------------ what kind of number
def isnan_definition(x: Array) -> Array:
    return not_equal(x, x)


@op(onnx=Onnx("IsNaN"), definition=isnan_definition, numpy=(np.isnan,), dtypes="any", no_gradient=_NONE,
    samples=_TESTED)  # fmt: skip
def isnan(x: Array) -> Array:
    """y = (x is not a number).

    >>> isnan([0.0, np.inf, np.nan])
    array([False, False,  True])
    """
    return np.isnan(x)


@op(onnx=Onnx("IsInf"), numpy=(np.isinf,), dtypes="any", no_gradient=_NONE, samples=_TESTED)
def isinf(x: Array) -> Array:
    """y = (|x| = ∞).

    >>> isinf([0.0, -np.inf, np.nan])
    array([False,  True, False])
    """
    return np.isinf(x)


def isfinite_definition(x: Array) -> Array:
    return logical_not(logical_or(isnan(x), isinf(x)))


@op(onnx=ByDefinition(), definition=isfinite_definition, numpy=(np.isfinite,), dtypes="any", no_gradient=_NONE,
    samples=_TESTED)  # fmt: skip
def isfinite(x: Array) -> Array:
    """y = (|x| < ∞).

    >>> isfinite([0.0, -np.inf, np.nan])
    array([ True, False, False])
    """
    return np.isfinite(x)


@op(onnx=NoOnnx("ONNX has no operator that sees the sign of a zero"), numpy=(np.signbit,), no_gradient=_NONE,
    samples=_TESTED)  # fmt: skip
def signbit(x: Array) -> Array:
    """y = (the sign bit of x is set), as it is in −0.

    >>> signbit([1.0, 0.0, -0.0])
    array([False, False,  True])
    """
    return np.signbit(x)


# ------------------------------------------------------------------------------ logic
@op(onnx=Onnx("And"), numpy=(np.logical_and,), dtypes="bool", no_gradient=_NONE, samples=_DECIDED, errors=_UNDECIDED)
def logical_and(a: Array, b: Array) -> Array:
    """y = a ∧ b.

    >>> logical_and([True, True], [True, False])
    array([ True, False])
    """
    return np.logical_and(a, b)


@op(onnx=Onnx("Or"), numpy=(np.logical_or,), dtypes="bool", no_gradient=_NONE, samples=_DECIDED, errors=_UNDECIDED)
def logical_or(a: Array, b: Array) -> Array:
    """y = a ∨ b.

    >>> logical_or([True, False], [False, False])
    array([ True, False])
    """
    return np.logical_or(a, b)


@op(onnx=Onnx("Xor"), numpy=(np.logical_xor,), dtypes="bool", no_gradient=_NONE, samples=_DECIDED, errors=_UNDECIDED)
def logical_xor(a: Array, b: Array) -> Array:
    """y = (a ≠ b), of booleans.

    >>> logical_xor([True, False], [True, True])
    array([False,  True])
    """
    return np.logical_xor(a, b)


@op(onnx=Onnx("Not"), numpy=(np.logical_not,), dtypes="bool", no_gradient=_NONE,
    samples=[Sample(booleans(2, 3)), Sample(booleans())],
    errors=[Bad(integers(2), match="x of a .*got int64")])  # fmt: skip
def logical_not(x: Array) -> Array:
    """y = ¬x.

    >>> logical_not([True, False])
    array([False,  True])
    """
    return np.logical_not(x)


# ------------------------------------------------------------------------------ bits
@op(onnx=Onnx("BitwiseAnd", of_booleans="And"), methods=("__and__",), reflected=("__rand__",), numpy=(np.bitwise_and,),
    dtypes="integer", no_gradient=_WHOLE, samples=_BITS, errors=_NO_BITS)  # fmt: skip
def bitwise_and(a: Array, b: Array) -> Array:
    """y = a ∧ b, bit by bit; of booleans, logical_and.

    >>> bitwise_and([6, 5], 3)
    array([2, 1])
    """
    return np.bitwise_and(a, b)


@op(onnx=Onnx("BitwiseOr", of_booleans="Or"), methods=("__or__",), reflected=("__ror__",), numpy=(np.bitwise_or,),
    dtypes="integer", no_gradient=_WHOLE, samples=_BITS, errors=_NO_BITS)  # fmt: skip
def bitwise_or(a: Array, b: Array) -> Array:
    """y = a ∨ b, bit by bit; of booleans, logical_or.

    >>> bitwise_or([6, 5], 3)
    array([7, 7])
    """
    return np.bitwise_or(a, b)


@op(onnx=Onnx("BitwiseXor", of_booleans="Xor"), methods=("__xor__",), reflected=("__rxor__",), numpy=(np.bitwise_xor,),
    dtypes="integer", no_gradient=_WHOLE, samples=_BITS, errors=_NO_BITS)  # fmt: skip
def bitwise_xor(a: Array, b: Array) -> Array:
    """y = (a ≠ b), bit by bit; of booleans, logical_xor.

    >>> bitwise_xor([6, 5], 3)
    array([5, 6])
    """
    return np.bitwise_xor(a, b)


@op(onnx=Onnx("BitwiseNot", of_booleans="Not"), methods=("__invert__",), numpy=(np.bitwise_invert,), dtypes="integer",
    no_gradient=_WHOLE, samples=[Sample(integers(2, 3)), Sample(booleans(3))],
    errors=[Bad(normal(2), match="x of an .*got float64")])  # fmt: skip
def bitwise_invert(x: Array) -> Array:
    """y = ¬x, bit by bit, which of signed integers is −x − 1; of booleans, logical_not.

    >>> bitwise_invert([0, 5])
    array([-1, -6])
    """
    return np.bitwise_invert(x)


def _is_signed(a_dtype: Any, b_dtype: Any) -> str:
    dtype = a_dtype or b_dtype
    return "" if dtype.kind == "u" else f"ONNX shifts unsigned integers, and not {dtype}"


def _shift(direction: str) -> Onnx:
    return Onnx("BitShift", attributes={"direction": Literal(direction)}, unless=_is_signed)


@op(onnx=_shift("LEFT"), methods=("__lshift__",), reflected=("__rlshift__",),
    numpy=(np.bitwise_left_shift,), dtypes="integer", no_gradient=_WHOLE, samples=_SHIFTED,
    errors=_NO_BITS)  # fmt: skip
def bitwise_left_shift(a: Array, b: Array) -> Array:
    """y = a · 2ᵇ.

    >>> bitwise_left_shift([1, 3], 2)
    array([ 4, 12])
    """
    return np.bitwise_left_shift(a, b)


@op(onnx=_shift("RIGHT"), methods=("__rshift__",), reflected=("__rrshift__",),
    numpy=(np.bitwise_right_shift,), dtypes="integer", no_gradient=_WHOLE, samples=_SHIFTED,
    errors=_NO_BITS)  # fmt: skip
def bitwise_right_shift(a: Array, b: Array) -> Array:
    """y = ⌊a / 2ᵇ⌋.

    >>> bitwise_right_shift([13, -1], 2)
    array([ 3, -1])
    """
    return np.bitwise_right_shift(a, b)


# ------------------------------------------------------------------------------ nearly, and altogether
@op(onnx=NoOnnx("a test of arrays, not a part of models"), numpy=(np.isclose,), dtypes="any", no_gradient=_NONE,
    samples=[Sample(constant([1.0, 1.0, np.nan, np.inf]), constant([1.0 + 1e-9, 1.1, np.nan, np.inf])),
             Sample(constant([np.nan, 2.0]), constant([np.nan, 2.1]), rtol=0.1, equal_nan=True),
             Sample(normal(2, 3), normal(3), atol=0.5)],
    errors=_MISMATCH)  # fmt: skip
def isclose(a: Array, b: Array, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Array:
    """y = (|a − b| ≤ atol + rtol · |b|), or a = b where they are infinite, or both are NaN with `equal_nan`.

    >>> isclose([1.0, 2.0], [1.000001, 2.1])
    array([ True, False])
    """
    if not (0 <= rtol < np.inf and 0 <= atol < np.inf):
        raise ArgumentError("isclose", "finite rtol ≥ 0 and atol ≥ 0", f"rtol={rtol}, atol={atol}")
    return np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)


@composed
def allclose(a: Any, b: Any, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """y = (every |a − b| ≤ atol + rtol · |b|).

    >>> allclose([1.0, 2.0], [1.000001, 2.0])
    True
    """
    return bool(as_array(isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)).all())


@composed
def array_equal(a: Any, b: Any) -> bool:
    """y = (a and b have one shape, and every a = b).

    >>> array_equal([1, 2], [[1, 2]])
    False
    """
    a, b = as_array(a), as_array(b)
    return a.shape == b.shape and bool(equal(a, b).all())
