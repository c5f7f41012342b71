"""Convolutions, a closed family: the gradients of each member are other members, so every order of derivative exists.

x is (batch, channels, *size), with one to three spatial axes; w is (out channels, channels / groups, *kernel), b is
(out channels,). `stride`, `padding` and `dilation` are one number, or one for each spatial axis; `padding` may also be
a pair (before, after) for each axis, "valid" (none) or "same" (at stride 1: y as large as x). Channels are cut into
`groups`, each convolved by itself; with as many groups as channels the convolution is depthwise.
"""

from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError, ShapeError
from kinone.kernels.windows import Ints, Pairs
from kinone.ops.declare import Bad, ByDefinition, NoOnnx, Onnx, Sample, normal
from kinone.ops.rectifier import relu
from kinone.ops.reduce import sum
from kinone.ops.window import (
    Padding,
    PerAxis,
    checked_filled,
    checked_rank,
    dilations,
    fitting_size,
    geometry_of,
    kernel_pads,
    per_axis,
    strides,
)  # fmt: skip


def _extra(x_shape: Ints, output_padding: PerAxis) -> Ints:
    return per_axis("ConvTranspose", "output_padding", output_padding, len(x_shape) - 2, 0)


_CONV = Onnx("Conv", attributes={"strides": strides, "pads": kernel_pads, "dilations": dilations, "group": "groups"})
_TRANSPOSE = Onnx("ConvTranspose", attributes={**_CONV.attributes, "output_padding": _extra})


# ------------------------------------------------------------------------------ convolution
@op(onnx=_CONV, stretches=False,
    samples=[Sample(normal(2, 2, 6), normal(4, 1, 3), normal(4), stride=2, padding=((2, 1),), groups=2),
             Sample(normal(1, 2, 5), normal(2, 2, 2), padding="same"), Sample(normal(0, 2, 5), normal(3, 2, 2)),
             Sample(normal(1, 1, 6), normal(2, 1, 3), dilation=2, padding="same")],
    errors=[Bad(normal(2, 6), normal(4, 2, 3), match=r"x of shape \(batch, channels, length\).*Hint: add a batch axis"),
            Bad(normal(1, 2, 6), normal(4, 2, 3), dilation=3, match=r"at least \(7,\).*dilation.*got \(6,"),
    ])  # fmt: skip
def conv1d(
    x: Array, w: Array, b: Array | None = None, *, stride: PerAxis = 1, padding: Padding = 0, dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:  # fmt: skip
    """y[n,o,i] = b[o] + Σ w[o,c,k] · x[n, c, i·stride + k·dilation − padding], over c and k.

    ∂L/∂x = conv_transpose1d(g, w),  ∂L/∂w[o,c,k] = Σ g[n,o,i] · x[n, c, i·stride + k·dilation − padding],  ∂L/∂b = Σ g.

    >>> conv1d([[[1, 2, 3, 4]]], [[[1, 0, -1]]])
    array([[[-2., -2.]]])
    """
    return _convolved("conv1d", 1, x, w, b, stride, padding, dilation, groups)


@op(onnx=_CONV, stretches=False,
    samples=[Sample(normal(1, 2, 4, 3), normal(2, 2, 3, 2), normal(2), padding=(1, 0)),
             Sample(normal(1, 2, 4, 4), normal(4, 1, 3, 3), stride=(2, 1), padding=1, groups=2),
             Sample(normal(1, 1, 5, 5), normal(2, 1, 2, 2), normal(2), dilation=2, padding=((0, 1), (1, 0)), stride=2),
             Sample(normal(1, 2, 3, 3), normal(2, 2, 2, 3), padding="same"),
             Sample(normal(2, 3, 2, 2), normal(2, 3, 1, 1), padding="valid"),
             Sample(normal(0, 2, 4, 4), normal(2, 2, 3, 3), normal(2))],
    errors=[Bad(normal(2, 3, 8, 8), normal(4, 6, 3, 3), error=ShapeError,
                match=r"x with 6 channels \(w has shape \(4, 6, 3, 3\)\), got 3 \(x has shape \(2, 3, 8, 8\)\)"),
            Bad(normal(2, 3, 4, 4), normal(6, 3, 3, 3), groups=3, match="x with 9 channels .*, groups=3.*, got 3"),
            Bad(normal(2, 6, 4, 4), normal(4, 2, 3, 3), groups=3, match="out channels that groups=3 divides, got 4"),
            Bad(normal(2, 3, 4, 4), normal(4, 3, 3, 3), normal(3), match=r"b of shape \(4,\), got shape \(3,\)"),
            Bad(normal(3, 4, 4), normal(4, 3, 3, 3), match=r"Hint: add a batch axis: x\[None\]"),
            Bad(normal(2, 3, 4, 4), normal(4, 3, 3), match=r"w of shape \(out channels, channels / groups, height"),
            Bad(normal(2, 3, 2, 9), normal(4, 3, 3, 3), match=r"at least \(3, 3\), the kernel's, got \(2, 9\). Hint:"),
            Bad(normal(2, 3, 4, 4), normal(4, 3, 0, 3), match=r"kernel without an axis of length 0"),
            Bad(normal(2, 3, 4, 4), normal(4, 3, 3, 3), stride=0, match="stride to be an integer of at least 1, or 2"),
            Bad(normal(2, 3, 4, 4), normal(4, 3, 3, 3), padding=-1, match="padding to be an integer of at least 0"),
            Bad(normal(2, 3, 4, 4), normal(4, 3, 3, 3), padding=((1, 2), (1, 2, 3)), match="padding"),
            Bad(normal(2, 3, 4, 4), normal(4, 3, 3, 3), padding="full", match="padding='full'"),
            Bad(normal(2, 3, 4, 4), normal(4, 3, 3, 3), padding="same", stride=2, match='stride=1 with padding="same"'),
            Bad(normal(2, 3, 4, 4), normal(4, 3, 3, 3), dilation=1.5, match="dilation=1.5"),
            Bad(normal(2, 3, 4, 4), normal(4, 3, 3, 3), groups=0, match="groups to be an integer of at least 1"),
    ])  # fmt: skip
def conv2d(
    x: Array, w: Array, b: Array | None = None, *, stride: PerAxis = 1, padding: Padding = 0, dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:  # fmt: skip
    """y[n,o,i,j] = b[o] + Σ w[o,c,k,l] · x[n, c, i·stride + k·dilation − padding, j·…], over c, k and l.

    ∂L/∂x = conv_transpose2d(g, w),  ∂L/∂w[o,c,k,l] = Σ g[n,o,i,j] · x[n, c, i·stride + k·dilation − padding, j·…],
    ∂L/∂b = Σ g.

    >>> import kinone as kn
    >>> x, w = kn.Tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), kn.Tensor([[[[1.0, -1.0]]]])
    >>> kn.conv2d(x, w, padding="same").tolist()
    [[[[-1.0, 2.0], [-1.0, 4.0]]]]
    """
    return _convolved("conv2d", 2, x, w, b, stride, padding, dilation, groups)


@op(onnx=_CONV, stretches=False,
    samples=[Sample(normal(1, 2, 2, 3, 2), normal(2, 1, 2, 2, 1), normal(2), padding=(1, 0, 0), stride=(2, 1, 1),
                    groups=2),
             Sample(normal(1, 1, 3, 3, 2), normal(1, 1, 2, 2, 2), dilation=(2, 1, 1))],
    errors=[Bad(normal(1, 2, 3, 3, 3), normal(2, 2, 3, 3), match=r"w of shape \(out .*depth, height, width\)"),
            Bad(normal(1, 2, 3, 3, 3), normal(2, 2, 2, 2, 2), stride=(1, 1), match="stride.* or 3 of")])  # fmt: skip
def conv3d(
    x: Array, w: Array, b: Array | None = None, *, stride: PerAxis = 1, padding: Padding = 0, dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:  # fmt: skip
    """y[n,o,h,i,j] = b[o] + Σ w[o,c,k,l,m] · x[n, c, h·stride + k·dilation − padding, i·…, j·…], over c, k, l and m.

    ∂L/∂x = conv_transpose3d(g, w),  ∂L/∂w = convolution_weight_gradient(x, g),  ∂L/∂b = Σ g.

    >>> conv3d(np.ones((1, 1, 2, 2, 2)), np.ones((1, 1, 2, 2, 2)))
    array([[[[[8.]]]]])
    """
    return _convolved("conv3d", 3, x, w, b, stride, padding, dilation, groups)


@conv1d.backward
@conv2d.backward
@conv3d.backward
def convolution_backward(
    g: Array, x: Array, w: Array, stride: PerAxis, padding: Padding, dilation: PerAxis, groups: int
) -> tuple[Array, Array, Array]:
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (
        lambda: _input_gradient(g, w, x.shape[2:], **geometry),
        lambda: convolution_weight_gradient(x, g, kernel_size=w.shape[2:], **geometry),
        lambda: _bias_gradient(g),
    )


# ------------------------------------------------------------------------------ with what follows it
def conv2d_activated_definition(
    x: Array, w: Array, b: Array | None = None, residual: Array | None = None, *, activation: str = "relu",
    **geometry: Any,
) -> Array:  # fmt: skip
    y = conv2d(x, w, b, **geometry)
    y = y if residual is None else y + residual
    return relu(y) if activation == "relu" else y


@op(onnx=ByDefinition(), stretches=False, definition=conv2d_activated_definition,
    samples=[Sample(normal(1, 2, 3, 3), normal(2, 2, 3, 3), normal(2), normal(1, 2, 3, 3), padding=1),
             Sample(normal(1, 2, 4, 4), normal(4, 1, 2, 2), None, normal(1, 4, 2, 2), stride=2, groups=2),
             Sample(normal(1, 1, 3, 2), normal(2, 1, 2, 1), normal(2), activation="none", dilation=2)],
    errors=[Bad(normal(1, 1, 3, 3), normal(1, 1, 3, 3), None, normal(1, 1, 3, 3),
                match=r"residual of shape \(1, 1, 1, 1\)"),
            Bad(normal(1, 1, 3, 3), normal(1, 1, 3, 3), activation="tanh", match="'none' or 'relu'")])  # fmt: skip
def conv2d_activated(
    x: Array, w: Array, b: Array | None = None, residual: Array | None = None, *, activation: str = "relu",
    stride: PerAxis = 1, padding: Padding = 0, dilation: PerAxis = 1, groups: int = 1,
) -> Array:  # fmt: skip
    """y = max(conv2d(x, w, b) + residual, 0), in one pass: what a network runs on once its batch norm is folded.

    ∂L/∂y flows where y > 0; see conv2d.

    >>> conv2d_activated(np.ones((1, 1, 1, 2)), -np.ones((1, 1, 1, 1)), None, np.array([[[[3.0, 0.0]]]]))
    array([[[[2., 0.]]]])
    """
    return _convolved("conv2d_activated", 2, x, w, b, stride, padding, dilation, groups, residual, activation)


# ------------------------------------------------------------------------------ its transpose
@op(onnx=_TRANSPOSE, stretches=False,
    samples=[Sample(normal(2, 2, 3), normal(2, 2, 3), normal(4), stride=2, padding=1, output_padding=1, groups=2),
             Sample(normal(1, 2, 4), normal(2, 1, 2), dilation=2, padding=((0, 1),)),
             Sample(normal(0, 2, 3), normal(2, 3, 2))],
    errors=[Bad(normal(2, 3), normal(2, 2, 3), match=r"x of shape \(batch, channels, length\)")])  # fmt: skip
def conv_transpose1d(
    x: Array, w: Array, b: Array | None = None, *, stride: PerAxis = 1, padding: Padding = 0,
    output_padding: PerAxis = 0, groups: int = 1, dilation: PerAxis = 1,
) -> Array:  # fmt: skip
    """y[n,o,i·stride + k·dilation − padding] = b[o] + Σ w[c,o,k] · x[n,c,i], over c and all that meet there.

    The transpose of the linear map x ↦ conv1d(x, w), whose weight it shares: w is (channels, out channels / groups,
    *kernel). `output_padding` more elements at the end choose among the sizes that conv1d would make into x's.

    ∂L/∂x = conv1d(g, w),  ∂L/∂w = convolution_weight_gradient(g, x),  ∂L/∂b = Σ g.

    >>> conv_transpose1d([[[1, 2]]], [[[1, 10, 100]]], stride=2)
    array([[[  1.,  10., 102.,  20., 200.]]])
    """
    return _transposed("conv_transpose1d", 1, x, w, b, stride, padding, output_padding, dilation, groups)


@op(onnx=_TRANSPOSE, stretches=False,
    samples=[Sample(normal(1, 2, 2, 3), normal(2, 2, 3, 2), normal(2), stride=(2, 1), padding=(1, 0),
                    output_padding=(1, 0)),
             Sample(normal(1, 4, 2, 2), normal(4, 1, 2, 2), stride=2, padding=((0, 1), (1, 0)), groups=2),
             Sample(normal(1, 1, 3, 3), normal(1, 2, 2, 2), dilation=2)],
    errors=[Bad(normal(1, 2, 3, 3), normal(3, 2, 2, 2), match=r"x with 3 channels \(w has shape .*, got 2"),
            Bad(normal(1, 3, 3, 3), normal(3, 2, 2, 2), groups=2, match="channels that groups=2 divides, got 3"),
            Bad(normal(1, 3, 3, 3), normal(3, 2, 2, 2), normal(3), match=r"b of shape \(2,\), got shape \(3,\)"),
            Bad(normal(1, 3, 3, 3), normal(3, 2, 2, 2), output_padding=1, match="output_padding below the stride"),
            Bad(normal(1, 3, 1, 1), normal(3, 2, 2, 2), padding=1, match=r"y of at least one element.*got \(0, 0\)"),
            Bad(normal(3, 3, 3), normal(3, 2, 2, 2), match="add a batch axis")])  # fmt: skip
def conv_transpose2d(
    x: Array, w: Array, b: Array | None = None, *, stride: PerAxis = 1, padding: Padding = 0,
    output_padding: PerAxis = 0, groups: int = 1, dilation: PerAxis = 1,
) -> Array:  # fmt: skip
    """y[n,o,i·stride + k·dilation − padding,…] = b[o] + Σ w[c,o,k,l] · x[n,c,i,j], over c and all that meet there.

    The transpose of the linear map x ↦ conv2d(x, w), whose weight it shares: w is (channels, out channels / groups,
    *kernel). `output_padding` more elements at the end choose among the sizes that conv2d would make into x's.

    ∂L/∂x = conv2d(g, w),  ∂L/∂w = convolution_weight_gradient(g, x),  ∂L/∂b = Σ g.

    >>> conv_transpose2d([[[[1, 2]]]], [[[[1, 1], [1, 1]]]])
    array([[[[1., 3., 2.],
             [1., 3., 2.]]]])
    """
    return _transposed("conv_transpose2d", 2, x, w, b, stride, padding, output_padding, dilation, groups)


@op(onnx=_TRANSPOSE, stretches=False,
    samples=[Sample(normal(1, 2, 2, 2, 1), normal(2, 1, 2, 1, 2), normal(2), stride=(2, 1, 1), padding=(1, 0, 0),
                    output_padding=(1, 0, 0), groups=2),
             Sample(normal(1, 1, 1, 2, 2), normal(1, 1, 1, 2, 2), dilation=(1, 2, 1))],
    errors=[Bad(normal(1, 2, 2, 2), normal(2, 1, 2, 1, 2), match=r"x of shape .*depth, height, width")])  # fmt: skip
def conv_transpose3d(
    x: Array, w: Array, b: Array | None = None, *, stride: PerAxis = 1, padding: Padding = 0,
    output_padding: PerAxis = 0, groups: int = 1, dilation: PerAxis = 1,
) -> Array:  # fmt: skip
    """y[n,o,h·stride + k·dilation − padding,…] = b[o] + Σ w[c,o,k,l,m] · x[n,c,h,i,j], over c and all that meet there.

    The transpose of the linear map x ↦ conv3d(x, w), whose weight it shares: w is (channels, out channels / groups,
    *kernel). `output_padding` more elements at the end choose among the sizes that conv3d would make into x's.

    ∂L/∂x = conv3d(g, w),  ∂L/∂w = convolution_weight_gradient(g, x),  ∂L/∂b = Σ g.

    >>> conv_transpose3d(np.ones((1, 1, 1, 1, 1)), np.ones((1, 1, 1, 2, 3))).shape
    (1, 1, 1, 2, 3)
    """
    return _transposed("conv_transpose3d", 3, x, w, b, stride, padding, output_padding, dilation, groups)


@conv_transpose1d.backward
@conv_transpose2d.backward
@conv_transpose3d.backward
def conv_transpose_backward(
    g: Array, x: Array, w: Array, stride: PerAxis, padding: Padding, dilation: PerAxis, groups: int
) -> tuple[Array, Array, Array]:
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (
        lambda: _convolution(g, w, **geometry),
        lambda: convolution_weight_gradient(g, x, kernel_size=w.shape[2:], **geometry),
        lambda: _bias_gradient(g),
    )


# ------------------------------------------------------------------------------ the third of the family
@op(onnx=NoOnnx("a gradient: exported graphs only compute forward"), stretches=False,
    samples=[Sample(normal(2, 2, 6), normal(2, 2, 3), kernel_size=3, stride=2, padding=1, groups=2),
             Sample(normal(1, 2, 4, 4), normal(1, 2, 3, 3), kernel_size=(2, 2)),
             Sample(normal(1, 1, 5, 5), normal(1, 2, 2, 2), kernel_size=2, padding=((0, 1), (1, 0)), stride=2,
                    dilation=2),
             Sample(normal(1, 2, 3, 3), normal(1, 2, 3, 3), kernel_size=(3, 1), padding="same", groups=2),
             Sample(normal(1, 1, 2, 3, 2), normal(1, 2, 1, 2, 2), kernel_size=(2, 2, 1)),
             Sample(normal(8, 3, 2, 1), normal(8, 3, 2, 1), kernel_size=1)],
    errors=[Bad(normal(1, 2, 4, 4), normal(1, 2, 3, 3), kernel_size=3, match=r"h of shape \(1, …, 2, 2\), got shape"),
            Bad(normal(1, 2, 4, 4), normal(2, 2, 3, 3), kernel_size=2, match=r"h of shape \(1, …, 3, 3\)"),
            Bad(normal(1, 3, 4, 4), normal(1, 2, 3, 3), kernel_size=2, groups=2, match="channels that groups=2"),
            Bad(normal(1, 2), normal(1, 2), kernel_size=2, match="one to three spatial axes")])  # fmt: skip
def convolution_weight_gradient(
    x: Array, h: Array, *, kernel_size: PerAxis, stride: PerAxis = 1, padding: Padding = 0, dilation: PerAxis = 1,
    groups: int = 1,
) -> Array:  # fmt: skip
    """y[o,c,k,…] = Σ h[n,o,i,…] · x[n, c, i·stride + k·dilation − padding, …], over n and i, …

    What a convolution of x by w, whose output has the cotangent h, gives back to w.

    ∂L/∂x = the transposed convolution of h by g,  ∂L/∂h = the convolution of x by g.

    >>> convolution_weight_gradient([[[1, 2, 3]]], [[[1, 10]]], kernel_size=2)
    array([[[21., 32.]]])
    """
    where, rank = "convolution_weight_gradient", np.ndim(x) - 2
    x, h = np.asarray(x), np.asarray(h)
    if rank not in (1, 2, 3):
        raise ShapeError(where, "x with one to three spatial axes", f"shape {x.shape}")
    kernel = per_axis(where, "kernel_size", kernel_size, rank)
    geometry = geometry_of(where, kernel, stride, padding, dilation)
    out = fitting_size(where, x.shape[2:], kernel, *geometry)
    if h.ndim != x.ndim or (h.shape[0], *h.shape[2:]) != (x.shape[0], *out):
        raise ShapeError(where, f"h of shape ({x.shape[0]}, …, {', '.join(map(str, out))})", f"shape {h.shape}")
    for name, a in (("x", x), ("h", h)):
        _checked_groups(where, groups, f"{name} with channels", a.shape[1])
    return kernels.convolution_backward_weight(h, x, kernel, *geometry, groups)


@convolution_weight_gradient.backward
def convolution_weight_gradient_backward(
    g: Array, x: Array, h: Array, stride: PerAxis, padding: Padding, dilation: PerAxis, groups: int
) -> tuple[Array, Array]:
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return lambda: _input_gradient(h, g, x.shape[2:], **geometry), lambda: _convolution(x, g, **geometry)


# ------------------------------------------------------------------------------ the family, for any number of axes
def _convolution(x: Array, w: Array, **geometry: Any) -> Array:
    return (conv1d, conv2d, conv3d)[w.ndim - 3](x, w, **geometry)


def _input_gradient(g: Array, w: Array, size: Ints, *, padding: Padding, **geometry: Any) -> Array:
    """The transposed convolution that gives back an x of that spatial `size`."""
    transposed = (conv_transpose1d, conv_transpose2d, conv_transpose3d)[w.ndim - 3]
    kernel = w.shape[2:]
    stride, pairs, dilation = geometry_of(transposed.name, kernel, geometry["stride"], padding, geometry["dilation"])
    least = _transposed_size(g.shape[2:], kernel, stride, pairs, dilation)
    extra = tuple(n - m for n, m in zip(size, least, strict=True))
    return transposed(g, w, padding=pairs, output_padding=extra, **geometry)


def _bias_gradient(g: Array) -> Array:
    return sum(g, axis=(0, *range(2, g.ndim)))


def _convolved(
    where: str, rank: int, x: Array, w: Array, b: Array | None, stride: PerAxis, padding: Padding, dilation: PerAxis,
    groups: int, residual: Array | None = None, activation: str = "none",
) -> Array:  # fmt: skip
    x, w = np.asarray(x), np.asarray(w)
    checked_rank(where, "x", x, rank)
    checked_rank(where, "w", w, rank, "out channels, channels / groups")
    geometry = geometry_of(where, w.shape[2:], stride, padding, dilation)
    _checked_groups(where, groups, "w with out channels", w.shape[0])
    _checked_channels(where, x, w, w.shape[1] * groups, groups)
    b = _checked_bias(where, b, w.shape[0])
    shape = x.shape[0], w.shape[0], *fitting_size(where, x.shape[2:], w.shape[2:], *geometry)
    if residual is not None and residual.shape != shape:
        raise ShapeError(where, f"residual of shape {shape}", f"shape {residual.shape}")
    if activation not in ("none", "relu"):
        raise ArgumentError(where, "activation 'none' or 'relu'", f"activation={activation!r}")
    return kernels.convolution_forward(x, w, b, *geometry, groups, residual, activation)


def _transposed(
    where: str, rank: int, x: Array, w: Array, b: Array | None, stride: PerAxis, padding: Padding,
    output_padding: PerAxis, dilation: PerAxis, groups: int,
) -> Array:  # fmt: skip
    x, w = np.asarray(x), np.asarray(w)
    checked_rank(where, "x", x, rank)
    checked_rank(where, "w", w, rank, "channels, out channels / groups")
    geometry = geometry_of(where, w.shape[2:], stride, padding, dilation)
    checked_filled(where, x.shape[2:])
    extra = per_axis(where, "output_padding", output_padding, rank, 0)
    if any(e >= s for e, s in zip(extra, geometry[0], strict=True)):
        raise ArgumentError(where, f"output_padding below the stride {geometry[0]}", f"output_padding={output_padding}")
    _checked_groups(where, groups, "w with channels", w.shape[0])
    _checked_channels(where, x, w, w.shape[0], groups)
    b = _checked_bias(where, b, w.shape[1] * groups)
    size = tuple(n + e for n, e in zip(_transposed_size(x.shape[2:], w.shape[2:], *geometry), extra, strict=True))
    if min(size) < 1:
        raise ShapeError(where, "a y of at least one element", f"{size} for x of shape {x.shape}", hint="pad less.")
    return kernels.convolution_backward_input(x, w, b, size, *geometry, groups)


def _transposed_size(out: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Ints:
    """The least size that a convolution makes into `out`."""
    rows = zip(out, kernel, stride, padding, dilation, strict=True)
    return tuple((m - 1) * s + d * (k - 1) + 1 - before - after for m, k, s, (before, after), d in rows)


def _checked_groups(where: str, groups: int, what: str, channels: int) -> None:
    per_axis(where, "groups", groups, 1)
    if channels % groups:
        raise ShapeError(where, f"{what} that groups={groups} divides", f"{channels}")


def _checked_channels(where: str, x: Array, w: Array, channels: int, groups: int) -> None:
    if x.shape[1] != channels:
        grouped = f", groups={groups}" if groups > 1 else ""
        expected = f"x with {channels} channels (w has shape {w.shape}{grouped})"
        raise ShapeError(where, expected, f"{x.shape[1]} (x has shape {x.shape})")


def _checked_bias(where: str, b: Array | None, channels: int) -> Array | None:
    if b is not None and np.shape(b) != (channels,):
        raise ShapeError(where, f"b of shape ({channels},)", f"shape {np.shape(b)}")
    return None if b is None else np.asarray(b)
