"""Reductions over axes."""

from kinone import kernels
from kinone.core.op import Array, op
from kinone.ops.declare import Bad, Onnx, Sample, normal
from kinone.ops.arguments import kept_shape, reduced_axes
from kinone.ops.shape import expand, reshape

Axis = int | tuple[int, ...] | None


@op(onnx=Onnx("ReduceSum", inputs=("x", "axis"), attributes={"keepdims": "keepdims"}), methods=("sum",), dtypes="any",
    samples=[Sample(normal(2, 3)), Sample(normal(2, 3, 2), axis=(0, -1)), Sample(normal(2, 3), axis=1, keepdims=True)],
    errors=[Bad(normal(2, 3), axis=2, match=r"axis=2 is outside")])  # fmt: skip
def sum(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = Σ x over `axis` (all axes if None).   ∂L/∂x = g, spread over the summed axes."""
    return kernels.sum(x, reduced_axes("sum", x, axis), keepdims)


@sum.backward
def sum_backward(g: Array, x_shape: tuple[int, ...], axis: Axis) -> Array:
    return expand(reshape(g, kept_shape(x_shape, axis)), x_shape)
