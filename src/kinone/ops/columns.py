"""Windows as columns and back: each the other's transpose, for one to three spatial axes."""

import math

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ShapeError
from kinone.kernels.windows import Ints, Pairs, out_size
from kinone.ops.arrange import pad
from kinone.ops.declare import Bad, ByDefinition, Listed, Onnx, Sample, normal
from kinone.ops.index import take
from kinone.ops.shape import reshape
from kinone.ops.window import (
    Padding,
    PerAxis,
    checked_fit,
    dilations,
    kernel_shape,
    padding_pairs,
    pads,
    per_axis,
    strides,
)  # fmt: skip


def unfold_definition(
    x: Array, *, kernel_size: PerAxis, dilation: PerAxis = 1, padding: Padding = 0, stride: PerAxis = 1
) -> Array:
    kernel, strides, pairs, dilations = _geometry("unfold", x.shape[2:], kernel_size, stride, padding, dilation)
    x = pad(x, ((0, 0), (0, 0), *pairs))
    places = np.arange(math.prod(x.shape[2:])).reshape(1, 1, *x.shape[2:])
    columns = kernels.unfold(places, kernel, strides, ((0, 0),) * len(kernel), dilations).reshape(math.prod(kernel), -1)
    y = take(reshape(x, (*x.shape[:2], math.prod(x.shape[2:]))), columns, axis=2)
    return reshape(y, (x.shape[0], x.shape[1] * columns.shape[0], columns.shape[1]))


@op(onnx=ByDefinition(), definition=unfold_definition,
    samples=[Sample(normal(1, 2, 3, 4), kernel_size=2), Sample(normal(2, 1, 6), kernel_size=3, stride=2, padding=1),
             Sample(normal(1, 1, 4, 5), kernel_size=(2, 3), dilation=(2, 1), padding=((0, 1), (1, 0)), stride=2),
             Sample(normal(1, 2, 2, 3, 2), kernel_size=(1, 2, 2)), Sample(normal(1, 2, 2, 3), kernel_size=1),
             Sample(normal(0, 2, 3, 4), kernel_size=2)],
    errors=[Bad(normal(3, 4), kernel_size=2, match="one to three spatial axes"),
            Bad(normal(1, 2, 3, 4), kernel_size=4, match=r"at least \(4, 4\), the kernel's, got \(3, 4\)"),
            Bad(normal(1, 2, 3, 4), kernel_size=2, stride=0, match="stride to be")])  # fmt: skip
def unfold(
    x: Array, *, kernel_size: PerAxis, dilation: PerAxis = 1, padding: Padding = 0, stride: PerAxis = 1
) -> Array:
    """y[n, (c, k), i] = x[n, c, i·stride + k·dilation − padding].   ∂L/∂x = fold(g).

    x is (batch, channels, *size), y is (batch, channels · elements of the kernel, windows): a column for each window.

    >>> unfold([[[1, 2, 3]]], kernel_size=2)
    array([[[1., 2.],
            [2., 3.]]])
    """
    x = np.asarray(x)
    geometry = _geometry("unfold", x.shape[2:], kernel_size, stride, padding, dilation)
    y = kernels.unfold(x, *geometry)
    kernel = geometry[0]
    out = y.shape[2 + len(kernel) :]
    return y.reshape(x.shape[0], x.shape[1] * math.prod(kernel), math.prod(out))


@unfold.backward(serves_tensors=True)
def unfold_backward(
    g: Array, x_shape: Ints, kernel_size: PerAxis, dilation: PerAxis, padding: Padding, stride: PerAxis
) -> Array:
    geometry = {"kernel_size": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
    return fold(g, output_size=x_shape[2:], **geometry)


def _size(output_size: Ints) -> Ints:
    """(batch, channels, *size), as far as the lists below ask."""
    return (0, 0, *output_size)


def _blocks(output_size: Ints, kernel_size: PerAxis) -> Ints:
    return kernel_shape(_size(output_size), kernel_size)


def _strides(output_size: Ints, stride: PerAxis) -> Ints:
    return strides(_size(output_size), stride)


def _pads(output_size: Ints, padding: Padding) -> Ints:
    return pads(_size(output_size), padding)


def _dilations(output_size: Ints, dilation: PerAxis) -> Ints:
    return dilations(_size(output_size), dilation)


_COL2IM = {"dilations": _dilations, "pads": _pads, "strides": _strides}


@op(onnx=Onnx("Col2Im", inputs=("x", Listed("output_size"), _blocks), attributes=_COL2IM),
    samples=[Sample(normal(1, 8, 6), output_size=(3, 4), kernel_size=2),
             Sample(normal(2, 3, 3), output_size=(6,), kernel_size=3, stride=2, padding=1),
             Sample(normal(1, 4, 6), output_size=(4, 5), kernel_size=2, dilation=(2, 1), padding=((0, 1), (1, 0)),
                    stride=2),
             Sample(normal(0, 8, 6), output_size=(3, 4), kernel_size=2)],
    errors=[Bad(normal(1, 8, 5), output_size=(3, 4), kernel_size=2, match=r"6 windows, got shape \(1, 8, 5\)"),
            Bad(normal(1, 7, 6), output_size=(3, 4), kernel_size=2, match="multiple of the kernel's 4"),
            Bad(normal(8, 6), output_size=(3, 4), kernel_size=2, match="x of shape"),
            Bad(normal(1, 8, 6), output_size=(3, 4), kernel_size=(2, 2, 2), match="kernel_size to be")])  # fmt: skip
def fold(
    x: Array, *, output_size: Ints, kernel_size: PerAxis, dilation: PerAxis = 1, padding: Padding = 0,
    stride: PerAxis = 1,
) -> Array:  # fmt: skip
    """y[n, c, i·stride + k·dilation − padding] = Σ x[n, (c, k), i] over the i, k that meet there.   ∂L/∂x = unfold(g).

    >>> fold([[[1, 2], [20, 30]]], output_size=(3,), kernel_size=2)
    array([[[ 1., 22., 30.]]])
    """
    x = np.asarray(x)
    kernel, strides, pairs, dilations = _geometry("fold", tuple(output_size), kernel_size, stride, padding, dilation)
    out = out_size(tuple(output_size), kernel, strides, pairs, dilations)
    rows, windows = math.prod(kernel), math.prod(out)
    if x.ndim != 3 or x.shape[1] % rows or x.shape[2] != windows:
        expected = f"x of shape (batch, a multiple of the kernel's {rows}, windows) with {windows} windows"
        raise ShapeError("fold", expected, f"shape {x.shape}")
    columns = x.reshape(x.shape[0], x.shape[1] // rows, *kernel, *out)
    return kernels.fold(columns, tuple(output_size), strides, pairs, dilations)


@fold.backward
def fold_backward(g: Array, kernel_size: PerAxis, dilation: PerAxis, padding: Padding, stride: PerAxis) -> Array:
    return unfold(g, kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride)


def _geometry(
    where: str, size: Ints, kernel_size: PerAxis, stride: PerAxis, padding: Padding, dilation: PerAxis
) -> tuple[Ints, Ints, Pairs, Ints]:
    rank = len(size)
    if rank not in (1, 2, 3):
        raise ShapeError(where, "one to three spatial axes", f"{rank} (size {size})")
    kernel, strides, dilations = (
        per_axis(where, name, value, rank)
        for name, value in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation))
    )
    pairs = padding_pairs(where, padding, rank)
    checked_fit(where, size, kernel, pairs, dilations)
    return kernel, strides, pairs, dilations
