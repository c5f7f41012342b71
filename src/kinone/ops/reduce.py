"""Reductions over axes.

`axis` is an int, a tuple of ints or None for all axes; with `keepdims` the reduced axes stay, with length 1. Where
elements tie for a maximum or minimum, they share its gradient equally.
"""

from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError
from kinone.ops.arguments import filled, flattened, kept_shape, reduced_axes, reduced_count, shape_of, widened
from kinone.ops.arithmetic import abs, sign, sqrt, where
from kinone.ops.compare import equal, not_equal
from kinone.ops.declare import (
    Bad,
    ByDefinition,
    Listed,
    Onnx,
    Sample,
    away,
    booleans,
    constant,
    distinct,
    integers,
    large,
    normal,
)  # fmt: skip
from kinone.ops.exponential import exp, log, pow
from kinone.ops.shape import astype, concat, expand, reshape, stop_gradient, transpose

Axis = int | tuple[int, ...] | None
Shape = tuple[int, ...]

_AXES = [{}, {"axis": (0, -1)}, {"axis": 1, "keepdims": True}, {"axis": -1}, {"axis": ()}]
_SAMPLES = [*(Sample(normal(2, 3, 2), **attrs) for attrs in _AXES), Sample(normal())]
_WHOLE = [Sample(integers(2, 3)), Sample(booleans(2, 3), axis=0)]
_UNTIED = [*(Sample(distinct(2, 3, 2), **attrs) for attrs in _AXES), Sample(normal())]
_OUTSIDE = Bad(normal(2, 3), axis=2, match="axis from -2 to 1 for shape .2, 3., got axis=2 is outside")
_TWICE = Bad(normal(2, 3), axis=(0, -2), match="each axis once")
_EMPTY = Bad(normal(0, 3), axis=0, match="at least one element along axis=0")


def _is_noop(axis: Axis) -> bool | None:
    return True if isinstance(axis, tuple | list) and not axis else None


def _onnx(op_type: str, unless: Any = None) -> Onnx:
    attributes = {"keepdims": "keepdims", "noop_with_empty_axes": _is_noop}
    return Onnx(op_type, inputs=("x", Listed("axis")), attributes=attributes, unless=unless)


def _spread(g: Array, x_shape: Shape, axis: Axis) -> Array:
    """g of a reduction as it stands beside x: broadcastable to it."""
    return reshape(g, kept_shape(x_shape, axis))


# ------------------------------------------------------------------------------ sums
@op(onnx=_onnx("ReduceSum", widened), methods=("sum",), numpy=(np.sum,), dtypes="any", errors=[_OUTSIDE, _TWICE],
    samples=[*_SAMPLES, *_WHOLE, Sample(normal(0, 3), axis=0)])  # fmt: skip
def sum(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = Σ x.   ∂L/∂x = g, spread over the summed axes.

    >>> import kinone as kn
    >>> kn.sum(kn.Tensor([[1, 2], [3, 4]]), axis=0)
    Tensor([4, 6], dtype=int64)
    """
    return kernels.sum(np.asarray(x), reduced_axes("sum", x, axis), keepdims)


@sum.backward
def sum_backward(g: Array, x_shape: Shape, axis: Axis) -> Array:
    return expand(_spread(g, x_shape, axis), x_shape)


@op(onnx=_onnx("ReduceMean"), methods=("mean",), numpy=(np.mean,), samples=_SAMPLES, errors=[_OUTSIDE, _TWICE, _EMPTY])
def mean(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = Σ x / n, n the number of elements that a y takes together.   ∂L/∂x = g / n, spread.

    >>> import kinone as kn
    >>> kn.mean(kn.Tensor([[1.0, 2.0], [3.0, 5.0]]), axis=1)
    Tensor([1.5, 4. ], dtype=float32)
    """
    return kernels.mean(filled("mean", x, axis), reduced_axes("mean", x, axis), keepdims)


@mean.backward
def mean_backward(g: Array, x_shape: Shape, axis: Axis) -> Array:
    return expand(_spread(g * (1 / reduced_count(x_shape, axis)), x_shape, axis), x_shape)


def _degrees(where: str, x_shape: Shape, axis: Axis, correction: float) -> float:
    """n − correction, which must leave something to divide by."""
    n = reduced_count(x_shape, axis)
    if n <= correction:
        raise ArgumentError(where, f"more than correction={correction} elements along axis={axis}", f"shape {x_shape}")
    return n - correction


def var_definition(x: Array, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Array:
    centred = x - mean(x, axis=axis, keepdims=True)
    return sum(centred * centred, axis=axis, keepdims=keepdims) / _degrees("var", x.shape, axis, correction)


@op(onnx=ByDefinition(), methods=("var",), definition=var_definition,
    samples=[*_SAMPLES, Sample(normal(3, 4), axis=0, correction=1)],
    errors=[_OUTSIDE, Bad(normal(1, 3), axis=0, correction=1, match="more than correction=1 elements")])  # fmt: skip
def var(x: Array, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Array:
    """y = Σ (x − mean x)² / (n − `correction`).   ∂L/∂x = g · 2 (x − mean x) / (n − `correction`).

    `correction=1` gives the unbiased estimate.

    >>> import kinone as kn
    >>> kn.var(kn.Tensor([1.0, 2.0, 6.0])), kn.var(kn.Tensor([1.0, 2.0, 6.0]), correction=1)
    (Tensor(4.6666665, dtype=float32), Tensor(7., dtype=float32))
    """
    axes = reduced_axes("var", x, axis)
    _degrees("var", shape_of(x), axes, correction)
    return kernels.var(np.asarray(x), axes, correction, keepdims)


@var.backward(serves_tensors=True)
def var_backward(g: Array, x: Array, axis: Axis, correction: float) -> Array:
    centred = x - mean(x, axis=axis, keepdims=True)
    return centred * (_spread(g, x.shape, axis) * (2 / _degrees("var", x.shape, axis, correction)))


def std_definition(x: Array, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Array:
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


@op(onnx=ByDefinition(), methods=("std",), definition=std_definition,
    samples=[*(Sample(normal(2, 3, 2), **attrs) for attrs in _AXES[:4]), Sample(normal(3, 4), axis=0, correction=1),
             Sample(constant([[0.5, 0.5], [1.0, 1.0]]), axis=1, smooth=False, reason="√ has a corner at 0")],
    errors=[_OUTSIDE, Bad(normal(1, 3), axis=0, correction=1, match="more than correction=1 elements")])  # fmt: skip
def std(x: Array, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Array:
    """y = √(Σ (x − mean x)² / (n − `correction`)).   ∂L/∂x = g · (x − mean x) / (y · (n − `correction`)).

    Where y = 0 the gradient is 0: of all slopes at that corner the one that moves nothing.

    >>> import kinone as kn
    >>> kn.std(kn.Tensor([1.0, 3.0]))
    Tensor(1., dtype=float32)
    """
    axes = reduced_axes("std", x, axis)
    _degrees("std", shape_of(x), axes, correction)
    return kernels.std(np.asarray(x), axes, correction, keepdims)


@std.backward(serves_tensors=True)
def std_backward(g: Array, y: Array, x: Array, axis: Axis, correction: float) -> Array:
    scale = where(y == 0, 0, g) / where(y == 0, 1, y) * (1 / _degrees("std", x.shape, axis, correction))
    return (x - mean(x, axis=axis, keepdims=True)) * _spread(scale, x.shape, axis)


def logsumexp_definition(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    m = stop_gradient(max(x, axis=axis, keepdims=True))
    y = log(sum(exp(x - m), axis=axis, keepdims=True)) + m
    return reshape(y, max(x, axis=axis, keepdims=keepdims).shape)


@op(onnx=_onnx("ReduceLogSumExp"), methods=("logsumexp",), definition=logsumexp_definition,
    samples=[*_SAMPLES, Sample(large(2, 3), axis=0)], errors=[_OUTSIDE, _TWICE])  # fmt: skip
def logsumexp(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = log Σ eˣ, without overflow; −∞ for no elements.   ∂L/∂x = g · eˣ⁻ʸ, 0 where y = −∞.

    >>> import kinone as kn
    >>> kn.logsumexp(kn.Tensor([1000.0, 1000.0]))
    Tensor(1000.6932, dtype=float32)
    """
    return kernels.logsumexp(np.asarray(x), reduced_axes("logsumexp", x, axis), keepdims)


@logsumexp.backward(serves_tensors=True)
def logsumexp_backward(g: Array, y: Array, x: Array, axis: Axis) -> Array:
    return exp(x - _spread(where(y == -np.inf, 0, y), x.shape, axis)) * _spread(g, x.shape, axis)


def vector_norm_definition(x: Array, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Array:
    size = abs(x)
    if ord in (np.inf, -np.inf):
        return (max if ord > 0 else min)(size, axis=axis, keepdims=keepdims)
    return pow(sum(pow(size, ord), axis=axis, keepdims=keepdims), 1 / ord)


def _not_euclidean(ord: float) -> str:
    return "" if ord == 2 else "ReduceL2 is the norm of order 2"


@op(onnx=_onnx("ReduceL2", _not_euclidean), methods=("norm",), numpy=(np.linalg.vector_norm,),
    definition=vector_norm_definition,
    samples=[*_SAMPLES, Sample(away(2, 3), axis=1, ord=1), Sample(distinct(2, 3), axis=0, ord=np.inf),
             Sample(distinct(2, 3), ord=-np.inf), Sample(away(2, 3), axis=-1, keepdims=True, ord=2.5),
             Sample(large(4)),
             Sample(constant([[0.0, 0.0], [3.0, 4.0]]), axis=1, smooth=False, reason="a corner at 0")],
    errors=[_OUTSIDE, _TWICE, Bad(normal(2), ord=0.5, match="ord ≥ 1 or ±inf, got ord=0.5")])  # fmt: skip
def vector_norm(x: Array, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Array:
    """y = (Σ |x|ᵖ)^(1/p), p = `ord` ≥ 1.   ∂L/∂x = g · sign x · (|x| / y)ᵖ⁻¹, 0 where x = 0.

    y = max |x| for p = ∞ and min |x| for p = −∞, where ties share the gradient.

    >>> import kinone as kn
    >>> kn.norm(kn.Tensor([[3.0, 4.0], [6.0, 8.0]]), axis=1)
    Tensor([ 5., 10.], dtype=float32)
    """
    if ord != -np.inf and not ord >= 1:
        hint = "count_nonzero counts." if ord == 0 else ""
        raise ArgumentError("vector_norm", "ord ≥ 1 or ±inf", f"ord={ord}", hint=hint)
    axes = reduced_axes("vector_norm", x, axis)
    return kernels.vector_norm(filled("vector_norm", x, axis) if ord < 0 else np.asarray(x), axes, keepdims, ord)


@vector_norm.backward(serves_tensors=True)
def vector_norm_backward(g: Array, y: Array, x: Array, axis: Axis, ord: float) -> Array:
    g, y = _spread(g, x.shape, axis), _spread(y, x.shape, axis)
    if ord in (np.inf, -np.inf):
        return sign(x) * _shared(g, abs(x) == y, axis)
    if ord == 1:
        return sign(x) * g
    length = where(y == 0, 1, y)
    return x / length * g if ord == 2 else sign(x) * pow(abs(x) / length, ord - 1) * g


norm = vector_norm


# ------------------------------------------------------------------------------ products
def prod_definition(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Pairs, pairs of pairs, …: no division, so that zeros need no special case in any derivative."""
    x = x if x.dtype.kind == "f" else astype(x, np.result_type(x.dtype, np.uint64 if x.dtype.kind == "u" else np.int64))
    kept = kept_shape(x.shape, axis)
    axes = tuple(range(x.ndim)) if axis is None else reduced_axes("prod", x, axis) or ()
    others = tuple(a for a in range(x.ndim) if a not in axes)
    n = reduced_count(x.shape, axis)
    y = reshape(transpose(x, axes + others), (n, *(x.shape[a] for a in others)))
    while n > 1:
        half = n // 2
        y = concat(y[:half] * y[half : 2 * half], y[2 * half :])
        n -= half
    return reshape(y if n else sum(y, axis=0) + 1, kept if keepdims else tuple(x.shape[a] for a in others))


@op(onnx=_onnx("ReduceProd", widened), methods=("prod",), numpy=(np.prod,), dtypes="any", definition=prod_definition,
    samples=[*_SAMPLES, *_WHOLE, Sample(constant([[0.0, 2.0, 3.0], [0.0, 0.0, 5.0]]), axis=1),
             Sample(normal(0, 2), axis=0)], errors=[_OUTSIDE, _TWICE])  # fmt: skip
def prod(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = Π x.   ∂L/∂xᵢ = g · Π xⱼ over j ≠ i, whether or not there are zeros.

    >>> import kinone as kn
    >>> kn.grad(kn.prod)([0.0, 2.0, 3.0])
    Tensor([6., 0., 0.], dtype=float32)
    """
    return kernels.prod(np.asarray(x), reduced_axes("prod", x, axis), keepdims)


# ------------------------------------------------------------------------------ extremes
def _shared(g: Array, is_tied: Array, axis: Axis) -> Array:
    """g in equal parts for the elements that tie."""
    share = astype(is_tied, g.dtype)
    return share * (g / sum(share, axis=axis, keepdims=True))


_TIE = Sample(constant([[1.0, 1.0, 0.0]]), axis=1, smooth=False, reason="a tie is a kink")


@op(onnx=_onnx("ReduceMax"), methods=("max",), numpy=(np.max,), dtypes="number", samples=[*_UNTIED, _TIE, _WHOLE[0]],
    errors=[_OUTSIDE, _TWICE, _EMPTY])  # fmt: skip
def max(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = the largest x, NaN if one is NaN.   ∂L/∂x = g / k where x is one of the k elements equal to y, 0 elsewhere.

    >>> import kinone as kn
    >>> kn.max(kn.Tensor([[1, 5], [7, 3]]), axis=1)
    Tensor([5, 7], dtype=int64)
    """
    return np.max(filled("max", x, axis), axis=reduced_axes("max", x, axis), keepdims=keepdims)


@op(onnx=_onnx("ReduceMin"), methods=("min",), numpy=(np.min,), dtypes="number", samples=[*_UNTIED, _TIE, _WHOLE[0]],
    errors=[_OUTSIDE, _TWICE, _EMPTY])  # fmt: skip
def min(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = the smallest x, NaN if one is NaN.   ∂L/∂x = g / k where x is one of the k elements equal to y, 0 elsewhere.

    >>> import kinone as kn
    >>> kn.min(kn.Tensor([[1, 5], [7, 3]]), axis=1)
    Tensor([1, 3], dtype=int64)
    """
    return np.min(filled("min", x, axis), axis=reduced_axes("min", x, axis), keepdims=keepdims)


@max.backward
@min.backward
def extreme_backward(g: Array, y: Array, x: Array, axis: Axis) -> Array:
    return _shared(_spread(g, x.shape, axis), x == _spread(y, x.shape, axis), axis)


_PLACES = [Sample(normal(2, 3, 2)), Sample(normal(2, 3), axis=-1), Sample(integers(2, 3), axis=0, keepdims=True),
           Sample(constant([1.0, 3.0, 3.0, 1.0]))]  # fmt: skip
_PLACE = "the output is an integer"


def _chosen(op_type: str) -> Onnx:
    return Onnx(op_type, attributes={"axis": "axis", "keepdims": "keepdims"}, unless=flattened)


def _place(search: Any, x: Array, axis: int | None, keepdims: bool) -> Array:
    if axis is not None:
        return search(x, axis=axis, keepdims=keepdims)
    y = search(reshape(x, (-1,)), axis=0)
    return reshape(y, (1,) * x.ndim) if keepdims else y


def argmax_definition(x: Array, *, axis: int | None = None, keepdims: bool = False) -> Array:
    return _place(argmax, x, axis, keepdims)


def argmin_definition(x: Array, *, axis: int | None = None, keepdims: bool = False) -> Array:
    return _place(argmin, x, axis, keepdims)


@op(onnx=_chosen("ArgMax"), definition=argmax_definition, methods=("argmax",), numpy=(np.argmax,), dtypes="number",
    no_gradient=_PLACE, samples=_PLACES, errors=[_OUTSIDE, _EMPTY])  # fmt: skip
def argmax(x: Array, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """y = the index of the largest x along `axis`, the first one of a tie; in x flattened if `axis` is None.

    >>> argmax(np.array([[1, 5], [7, 3]]), axis=1)
    array([1, 0])
    """
    return np.argmax(filled("argmax", x, axis), axis=axis, keepdims=keepdims)


@op(onnx=_chosen("ArgMin"), definition=argmin_definition, methods=("argmin",), numpy=(np.argmin,), dtypes="number",
    no_gradient=_PLACE, samples=_PLACES, errors=[_OUTSIDE, _EMPTY])  # fmt: skip
def argmin(x: Array, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """y = the index of the smallest x along `axis`, the first one of a tie; in x flattened if `axis` is None.

    >>> argmin(np.array([[1, 5], [7, 3]]), axis=1)
    array([0, 1])
    """
    return np.argmin(filled("argmin", x, axis), axis=axis, keepdims=keepdims)


# ------------------------------------------------------------------------------ truth
_TRUTHS = [Sample(booleans(2, 3)), Sample(booleans(2, 3, 2), axis=(0, 2)), Sample(normal(0, 2), axis=0),
           Sample(integers(2, 3), axis=1, keepdims=True)]  # fmt: skip
_TRUTH = "the output is boolean"


def any_definition(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    return count_nonzero(x, axis=axis, keepdims=keepdims) != 0


def all_definition(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    return count_nonzero(equal(x, np.zeros((), x.dtype)), axis=axis, keepdims=keepdims) == 0


def count_nonzero_definition(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    return sum(astype(not_equal(x, np.zeros((), x.dtype)), np.int64), axis=axis, keepdims=keepdims)


@op(onnx=ByDefinition(), definition=any_definition, methods=("any",), numpy=(np.any,), dtypes="any",
    no_gradient=_TRUTH, samples=_TRUTHS, errors=[_OUTSIDE, _TWICE])  # fmt: skip
def any(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = whether some x is true (not 0); false for no elements.

    >>> any(np.array([[True, False], [False, False]]), axis=1)
    array([ True, False])
    """
    return np.any(x, axis=reduced_axes("any", x, axis), keepdims=keepdims)


@op(onnx=ByDefinition(), definition=all_definition, methods=("all",), numpy=(np.all,), dtypes="any",
    no_gradient=_TRUTH, samples=_TRUTHS, errors=[_OUTSIDE, _TWICE])  # fmt: skip
def all(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = whether every x is true (not 0); true for no elements.

    >>> all(np.array([[True, False], [True, True]]), axis=1)
    array([False,  True])
    """
    return np.all(x, axis=reduced_axes("all", x, axis), keepdims=keepdims)


@op(onnx=ByDefinition(), definition=count_nonzero_definition, methods=("count_nonzero",), numpy=(np.count_nonzero,),
    dtypes="any", no_gradient=_PLACE, samples=_TRUTHS, errors=[_OUTSIDE, _TWICE])  # fmt: skip
def count_nonzero(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = the number of x that are not 0.

    >>> count_nonzero(np.array([[1, 0], [2, 3]]), axis=1)
    array([1, 2])
    """
    return np.asarray(np.count_nonzero(x, axis=reduced_axes("count_nonzero", x, axis), keepdims=keepdims))
