"""Running sums and products."""

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import AxisError
from kinone.ops.arguments import one_axis, shape_of, widened
from kinone.ops.arrange import flip
from kinone.ops.declare import Bad, ByDefinition, Onnx, Sample, constant, integers, normal
from kinone.ops.shape import concat, moveaxis

_SAMPLES = [Sample(normal(4)), Sample(normal(2, 3), axis=0), Sample(normal(2, 3, 2), axis=-2),
            Sample(normal(0, 2), axis=1), Sample(integers(2, 3), axis=1)]  # fmt: skip
_ERRORS = [Bad(normal(2, 3), axis=2, match="axis=2 is outside"), Bad(normal(2, 3), match="axis, as x is not a vector")]


def _running(where: str, x: Array, axis: int | None) -> int:
    if axis is None and len(shape_of(x)) != 1:
        raise AxisError(where, "an axis, as x is not a vector", f"none for shape {shape_of(x)}")
    return one_axis(where, x, _axis(axis))


def _axis(axis: int | None) -> int:
    return 0 if axis is None else axis


@op(onnx=Onnx("CumSum", inputs=("x", _axis), unless=widened), methods=("cumulative_sum", "cumsum"), numpy=(np.cumsum,),
    dtypes="number", samples=_SAMPLES, errors=_ERRORS)  # fmt: skip
def cumulative_sum(x: Array, *, axis: int | None = None) -> Array:
    """yᵢ = x₀ + … + xᵢ along `axis`, which a vector may leave out.   ∂L/∂xᵢ = gᵢ + gᵢ₊₁ + ….

    >>> cumulative_sum(np.array([1, 2, 3]))
    array([1, 3, 6])
    """
    return kernels.cumulative_sum(np.asarray(x), _running("cumulative_sum", x, axis))


@cumulative_sum.backward
def cumulative_sum_backward(g: Array, axis: int | None) -> Array:
    axis = 0 if axis is None else axis
    return flip(cumulative_sum(flip(g, axis=axis), axis=axis), axis=axis)


cumsum = cumulative_sum


def cumulative_prod_definition(x: Array, *, axis: int | None = None) -> Array:
    """Products of 2, 4, 8, … neighbours: no division, so that zeros need no special case in any derivative."""
    axis = _running("cumulative_prod", x, axis)
    y, step = moveaxis(x, axis, 0), 1
    while step < y.shape[0]:
        y = concat(y[:step], y[step:] * y[:-step])
        step *= 2
    return moveaxis(y, 0, axis)


@op(onnx=ByDefinition(), methods=("cumulative_prod", "cumprod"), numpy=(np.cumprod,), dtypes="number",
    definition=cumulative_prod_definition, errors=_ERRORS,
    samples=[*_SAMPLES, Sample(constant([[2.0, 0.0, 3.0, 0.0, 5.0], [1.0, 2.0, 0.0, 4.0, 3.0]]), axis=1)])  # fmt: skip
def cumulative_prod(x: Array, *, axis: int | None = None) -> Array:
    """yᵢ = x₀ · … · xᵢ along `axis`.   ∂L/∂xᵢ = Σ gₖ · Π xⱼ over k ≥ i and j ≤ k, j ≠ i.

    A vector may leave out the axis. Zeros are no special case.

    >>> cumulative_prod(np.array([1, 2, 3]))
    array([1, 2, 6])
    """
    return kernels.cumulative_prod(np.asarray(x), _running("cumulative_prod", x, axis))


cumprod = cumulative_prod
