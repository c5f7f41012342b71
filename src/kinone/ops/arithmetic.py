"""Arithmetic: sums, products, quotients, roots, and choices between elements.

Where a function has a kink, the gradient is that of the piece to which its formula assigns the point; where several
inputs tie for an extremum, they share it equally.
"""

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError
from kinone.ops.arguments import composed
from kinone.ops.compare import isfinite
from kinone.ops.declare import (
    Bad,
    ByDefinition,
    Onnx,
    Sample,
    away,
    booleans,
    constant,
    distinct,
    integers,
    large,
    normal,
)
from kinone.ops.declare import positive as tame  # `positive` is an operator here

_BROADCAST = [
    Sample(normal(2, 3), normal(2, 3)),
    Sample(normal(2, 1), normal(3)),
    Sample(normal(), normal(2, 2)),
    Sample(normal(2, 3), 1.5),
    Sample(0.5, normal(0, 3)),
    Sample(integers(2, 3), integers(3)),
]
_MISMATCH = [
    Bad(normal(2, 3), normal(4), match=r"a, b that broadcast together, got \(2, 3\) and \(4,\)"),
    Bad(normal(2), integers(2), match="inputs of one dtype, got float64 and int64"),
]
_NO_FLOATS = [Bad(integers(2), match="x of a .*got int64")]
_ELEMENTS = [Sample(normal(2, 3)), Sample(normal()), Sample(normal(0, 3))]
_UNTIED = [
    Sample(distinct(2, 3), constant([[0.0], [0.1]])),
    Sample(away(2, 3, kinks=(0.5,)), 0.5),
    Sample(constant([1.0, 2.0]), constant([1.0, 2.0]), smooth=False, reason="a tie is a kink"),
    Sample(integers(2, 3), integers(3)),
]


@op(onnx=Onnx("Add", of_booleans="Or"), methods=("__add__",), reflected=("__radd__",), numpy=(np.add,), dtypes="any",
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


@op(onnx=Onnx("Sub"), methods=("__sub__",), reflected=("__rsub__",), numpy=(np.subtract,), dtypes="number",
    samples=_BROADCAST, errors=_MISMATCH)  # fmt: skip
def subtract(a: Array, b: Array) -> Array:
    """y = a − b.   ∂L/∂a = g,  ∂L/∂b = −g.

    >>> subtract([10, 20], [1, 2])
    array([ 9, 18])
    """
    return np.subtract(a, b)


@subtract.backward
def subtract_backward(g: Array) -> tuple[Array, Array]:
    return g, lambda: -g


@op(onnx=Onnx("Mul", of_booleans="And"), methods=("__mul__",), reflected=("__rmul__",), numpy=(np.multiply,),
    dtypes="any", samples=_BROADCAST, errors=_MISMATCH)  # fmt: skip
def multiply(a: Array, b: Array) -> Array:
    """y = a · b.   ∂L/∂a = g · b,  ∂L/∂b = g · a.

    >>> multiply([1, 2], [10, 20])
    array([10, 40])
    """
    return np.multiply(a, b)


@multiply.backward
def multiply_backward(g: Array, a: Array, b: Array) -> tuple[Array, Array]:
    return lambda: g * b, lambda: g * a


@op(onnx=Onnx("Div"), methods=("__truediv__",), reflected=("__rtruediv__",), numpy=(np.divide,),
    samples=[Sample(normal(2, 3), tame(2, 3)), Sample(normal(2, 1), tame(3)), Sample(2.0, tame(2)),
             Sample(normal(), -0.5)],
    errors=[*_MISMATCH[:1], Bad(integers(2), integers(2), match="a of a .*got int64")])  # fmt: skip
def divide(a: Array, b: Array) -> Array:
    """y = a / b.   ∂L/∂a = g / b,  ∂L/∂b = −g · y / b.

    >>> divide([1.0, 3.0], 2.0)
    array([0.5, 1.5])
    """
    return np.divide(a, b)


@divide.backward
def divide_backward(g: Array, y: Array, b: Array) -> tuple[Array, Array]:
    return lambda: g / b, lambda: -(g * y / b)


# ------------------------------------------------------------------------------ of one number
@op(onnx=Onnx("Neg"), methods=("__neg__",), numpy=(np.negative,), dtypes="number",
    samples=[*_ELEMENTS, Sample(integers(2))])  # fmt: skip
def negative(x: Array) -> Array:
    """y = −x.   ∂L/∂x = −g.

    >>> negative([1, -2])
    array([-1,  2])
    """
    return np.negative(x)


@negative.backward
def negative_backward(g: Array) -> Array:
    return -g


@op(onnx=Onnx("Identity"), methods=("__pos__",), numpy=(np.positive,), dtypes="number", samples=_ELEMENTS)
def positive(x: Array) -> Array:
    """y = x, in an array of its own.   ∂L/∂x = g.

    >>> positive([1, -2])
    array([ 1, -2])
    """
    return np.positive(x)


@positive.backward
def positive_backward(g: Array) -> Array:
    return g


@op(onnx=Onnx("Abs"), methods=("__abs__", "abs"), numpy=(np.abs,), dtypes="number",
    samples=[Sample(away(2, 3)), Sample(away()), Sample(constant([0.0, -0.0]), smooth=False, reason="a kink"),
             Sample(integers(3, low=-5))])  # fmt: skip
def abs(x: Array) -> Array:
    """y = |x|.   ∂L/∂x = g · sign x, which is 0 at 0.

    >>> abs([-1.5, 2.0])
    array([1.5, 2. ])
    """
    return np.abs(x)


@abs.backward
def abs_backward(g: Array, x: Array) -> Array:
    return g * sign(x)


@op(onnx=Onnx("Sign"), numpy=(np.sign,), dtypes="number",
    samples=[Sample(away(2, 3)), Sample(constant([0.0, -0.0]), smooth=False, reason="a jump"),
             Sample(integers(3, low=-5))])  # fmt: skip
def sign(x: Array) -> Array:
    """y = −1, 0 or 1, as x < 0, x = 0 or x > 0.   ∂L/∂x = 0.

    >>> sign([-2.5, 0.0, 3.0])
    array([-1.,  0.,  1.])
    """
    return np.sign(x)


@sign.backward
def sign_backward(g: Array) -> Array:
    return where(False, g, 0)


def copysign_definition(a: Array, b: Array) -> Array:
    return where(b < 0, -abs(a), abs(a))


@op(onnx=ByDefinition(), definition=copysign_definition, numpy=(np.copysign,), errors=_MISMATCH[:1],
    samples=[Sample(away(2, 3), away(3)), Sample(away(2), -1.0),
             Sample(constant([0.0, 1.0]), constant([0.0, 0.0]), smooth=False, reason="kink and jump")])  # fmt: skip
def copysign(a: Array, b: Array) -> Array:
    """y = |a| with the sign of b.   ∂L/∂a = g · sign a · sign y, ∂L/∂b = 0.

    >>> copysign([1.0, 2.0], -3.0)
    array([-1., -2.])
    """
    return np.copysign(a, b)


@copysign.backward(serves_tensors=True)
def copysign_backward(g: Array, y: Array, a: Array) -> tuple[Array, Array]:
    return lambda: g * sign(a) * sign(y), lambda: where(False, g, 0)


@op(onnx=Onnx("Mul", inputs=("x", "x")), methods=("square",), numpy=(np.square,), dtypes="number",
    samples=[*_ELEMENTS, Sample(integers(3))])  # fmt: skip
def square(x: Array) -> Array:
    """y = x².   ∂L/∂x = 2 g · x.

    >>> square([3, -4])
    array([ 9, 16])
    """
    return np.square(x)


@square.backward
def square_backward(g: Array, x: Array) -> Array:
    return 2 * (g * x)


@op(onnx=Onnx("Sqrt"), methods=("sqrt",), numpy=(np.sqrt,), samples=[Sample(tame(2, 3)), Sample(tame())],
    errors=_NO_FLOATS)  # fmt: skip
def sqrt(x: Array) -> Array:
    """y = √x.   ∂L/∂x = g / 2y.

    >>> sqrt([4.0, 9.0])
    array([2., 3.])
    """
    return np.sqrt(x)


@sqrt.backward
def sqrt_backward(g: Array, y: Array) -> Array:
    return g / (2 * y)


def rsqrt_definition(x: Array) -> Array:
    return reciprocal(sqrt(x))


@op(onnx=ByDefinition(), definition=rsqrt_definition, methods=("rsqrt",),
    samples=[Sample(tame(2, 3)), Sample(tame())], errors=_NO_FLOATS)  # fmt: skip
def rsqrt(x: Array) -> Array:
    """y = 1/√x.   ∂L/∂x = −½ g · y³.

    >>> rsqrt([4.0, 0.25])
    array([0.5, 2. ])
    """
    return kernels.rsqrt(np.asarray(x))


@rsqrt.backward(serves_tensors=True)
def rsqrt_backward(g: Array, y: Array) -> Array:
    return -0.5 * g * y * y * y


@op(onnx=Onnx("Reciprocal"), numpy=(np.reciprocal,), samples=[Sample(tame(2, 3)), Sample(tame())],
    errors=_NO_FLOATS)  # fmt: skip
def reciprocal(x: Array) -> Array:
    """y = 1/x.   ∂L/∂x = −g · y².

    >>> reciprocal([4.0, -0.5])
    array([ 0.25, -2.  ])
    """
    return np.reciprocal(x)


@reciprocal.backward
def reciprocal_backward(g: Array, y: Array) -> Array:
    return -(g * y * y)


# ------------------------------------------------------------------------------ choices
@op(onnx=Onnx("Max"), numpy=(np.maximum,), dtypes="number", samples=_UNTIED, errors=_MISMATCH)
def maximum(a: Array, b: Array) -> Array:
    """y = the larger of a and b, NaN if one is NaN.   ∂L/∂a = g where a is larger, g/2 where they tie;  b likewise.

    >>> maximum([1, 5], [3, 4])
    array([3, 5])
    """
    return np.maximum(a, b)


@maximum.backward
def maximum_backward(g: Array, a: Array, b: Array) -> tuple[Array, Array]:
    return lambda: _share(g, a > b, a == b), lambda: _share(g, b > a, a == b)


@op(onnx=Onnx("Min"), numpy=(np.minimum,), dtypes="number", samples=_UNTIED, errors=_MISMATCH)
def minimum(a: Array, b: Array) -> Array:
    """y = the smaller of a and b, NaN if one is NaN.   ∂L/∂a = g where a is smaller, g/2 where they tie;  b likewise.

    >>> minimum([1, 5], [3, 4])
    array([1, 4])
    """
    return np.minimum(a, b)


@minimum.backward
def minimum_backward(g: Array, a: Array, b: Array) -> tuple[Array, Array]:
    return lambda: _share(g, a < b, a == b), lambda: _share(g, b < a, a == b)


def _share(g: Array, is_chosen: Array, is_tied: Array) -> Array:
    return where(is_tied, g * 0.5, where(is_chosen, g, 0))


@op(onnx=Onnx("Clip", inputs=("x", "min", "max")), methods=("clip",), numpy=(np.clip,), dtypes="number",
    samples=[Sample(away(2, 3, kinks=(-0.5, 0.7)), min=-0.5, max=0.7), Sample(away(2, 3, kinks=(0.2,)), min=0.2),
             Sample(away(kinks=(1,)), max=1), Sample(normal(0, 3)), Sample(integers(2, 3), 3, 5),
             Sample(large(4), -1, 1), Sample(constant([0.0, 1.0]), 0, 1, smooth=False, reason="both at kinks")],
    errors=[Bad(normal(2), min=1.0, max=0.0, match="min ≤ max, got min=1.0", error=ArgumentError)])  # fmt: skip
def clip(x: Array, min: float | None = None, max: float | None = None) -> Array:
    """y = min(max(x, `min`), `max`).   ∂L/∂x = g where `min` ≤ x ≤ `max`, 0 elsewhere.

    >>> clip([-2, 0, 5], 0, 3)
    array([0, 0, 3])
    """
    if min is not None and max is not None and not min <= max:
        raise ArgumentError("clip", "min ≤ max", f"min={min}, max={max}")
    # NumPy 2.0 refuses to clip without a bound.
    return np.array(x) if min is None and max is None else np.clip(x, min, max)


@clip.backward
def clip_backward(g: Array, y: Array, x: Array) -> Array:
    return where(x == y, g, 0)


@op(onnx=Onnx("Where"), numpy=(np.where,), dtypes={"condition": "mask", "a": "any", "b": "any"},
    samples=[Sample(booleans(2, 3), normal(2, 3), normal(2, 3)), Sample(booleans(2, 1), normal(3), 0.0),
             Sample(booleans(2), normal(), normal(2)), Sample(booleans(3), integers(3), 7)],
    errors=[Bad(booleans(2), normal(3), normal(2), match=r"condition, a, b that broadcast"),
            Bad(integers(2), normal(2), normal(2), match="condition of a .*got int64")])  # fmt: skip
def where(condition: Array, a: Array, b: Array) -> Array:
    """y = a where the condition holds, b elsewhere.   ∂L/∂a = g where it holds, ∂L/∂b = g elsewhere; both else 0.

    >>> where(np.array([True, False]), [1, 2], 0)
    array([1, 0])
    """
    y = np.where(condition, a, b)
    # Python floats alone would make a float64; like everywhere else, they are float32.
    return y.astype(np.float32) if float in (type(a), type(b)) and {type(a), type(b)} <= {float, int, bool} else y


@where.backward
def where_backward(g: Array, condition: Array) -> tuple[None, Array, Array]:
    return None, lambda: where(condition, g, 0), lambda: where(condition, 0, g)


def nan_to_num_definition(
    x: Array, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Array:
    limit = float(np.finfo(x.dtype).max)
    top, bottom = limit if posinf is None else posinf, -limit if neginf is None else neginf
    return where(x != x, nan, where(x == np.inf, top, where(x == -np.inf, bottom, x)))  # noqa: PLR0124


@op(onnx=ByDefinition(), definition=nan_to_num_definition, numpy=(np.nan_to_num,),
    samples=[Sample(normal(2, 3)), Sample(constant([np.nan, 1.0]), smooth=False, reason="not finite"),
             Sample(constant([np.nan, np.inf, -np.inf, 1.0]), nan=1.0, posinf=2.0, neginf=-2.0, smooth=False,
                    reason="not finite")],
    errors=_NO_FLOATS)  # fmt: skip
def nan_to_num(x: Array, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Array:
    """y = x with `nan`, `posinf` and `neginf` (by default ± the largest finite number) for what is not finite.

    ∂L/∂x = g where x is finite, 0 elsewhere.

    >>> nan_to_num([np.nan, 2.0])
    array([0., 2.])
    """
    return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


@nan_to_num.backward(serves_tensors=True)
def nan_to_num_backward(g: Array, x: Array) -> Array:
    return where(isfinite(x), g, 0)


@composed
def lerp(a: Array, b: Array, weight: Array) -> Array:
    """y = a + weight · (b − a): a at weight 0, b at weight 1.

    >>> float(lerp(1.0, 3.0, 0.25))
    1.5
    """
    return add(a, multiply(weight, subtract(b, a)))
