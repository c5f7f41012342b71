"""Windows: what convolution and pooling check before any work, and their arguments in one form."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from kinone.errors import ArgumentError, ShapeError
from kinone.kernels.windows import Ints, Pairs, out_size
from kinone.ops.arguments import shape_of

PerAxis = int | Sequence[int]
"""One number for every spatial axis, or one for each."""

Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]
"""One number for all, one for each spatial axis, a pair (before, after) for each; "same" and "valid" where said."""


def per_axis(where: str, name: str, value: Any, rank: int, least: int = 1) -> Ints:
    """`value` as one number for each of `rank` axes."""
    if type(value) is int and value >= least:  # most often
        return (value,) * rank
    values = (value,) * rank if isinstance(value, int | np.integer) else value
    if (
        not isinstance(values, Sequence)
        or len(values) != rank
        or not all(isinstance(v, int | np.integer) and not isinstance(v, bool) and v >= least for v in values)
    ):
        one_each = f", or {rank} of them" if rank > 1 else ""
        raise ArgumentError(where, f"{name} to be an integer of at least {least}{one_each}", f"{name}={value!r}")
    return tuple(int(v) for v in values)


def padding_pairs(where: str, padding: Any, rank: int) -> Pairs:
    """`padding` as a pair (before, after) for each of `rank` axes."""
    if isinstance(padding, Sequence) and len(padding) == rank and all(isinstance(p, Sequence) for p in padding):
        before, after = (per_axis(where, "padding", [p[i] for p in padding if len(p) == 2], rank, 0) for i in (0, 1))
        return tuple(zip(before, after, strict=True))
    return tuple((p, p) for p in per_axis(where, "padding", padding, rank, 0))


def convolution_padding(where: str, padding: Padding, kernel: Ints, stride: Ints, dilation: Ints) -> Pairs:
    """The same, where "valid" means none, and "same" as much as keeps the size (an odd one goes after)."""
    if not isinstance(padding, str):
        return padding_pairs(where, padding, len(kernel))
    if padding not in ("same", "valid"):
        raise ArgumentError(where, 'padding to be numbers, "same" or "valid"', f"padding={padding!r}")
    if padding == "same" and max(stride) > 1:
        hint = "give the padding in numbers."
        raise ArgumentError(where, 'stride=1 with padding="same"', f"stride={stride}", hint=hint)
    totals = [d * (k - 1) if padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def checked_rank(where: str, name: str, a: Any, rank: int, leading: str = "batch, channels") -> None:
    """Refuse an `a` that has not two axes and then `rank` spatial ones."""
    shape = shape_of(a)
    if len(shape) != rank + 2:
        spatial = ("length", "height, width", "depth, height, width")[rank - 1]
        hint = "add a batch axis: x[None]." if len(shape) == rank + 1 and name == "x" else ""
        raise ShapeError(where, f"{name} of shape ({leading}, {spatial})", f"shape {shape}", hint=hint)


def checked_filled(where: str, size: Ints) -> None:
    """Refuse an x without elements along a spatial axis."""
    if 0 in size:
        raise ShapeError(where, "x with at least one element along each spatial axis", f"{size}")


def checked_fit(where: str, size: Ints, kernel: Ints, padding: Pairs, dilation: Ints) -> None:
    """Refuse a kernel that does not fit into the padded x."""
    checked_filled(where, size)
    spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    padded = tuple(n + before + after for n, (before, after) in zip(size, padding, strict=True))
    if any(n < span for n, span in zip(padded, spans, strict=True)):
        reach = f" (dilation={dilation})" if max(dilation) > 1 else ""
        expected = f"x with a padded size of at least {spans}, the kernel's{reach}"
        raise ShapeError(where, expected, f"{padded}", hint="use a smaller kernel or more padding.")


# ------------------------------------------------------------------------------ in one form, looked up where it can be
def geometry_of(
    where: str, kernel: Ints, stride: PerAxis, padding: Padding, dilation: PerAxis
) -> tuple[Ints, Pairs, Ints]:
    """Stride, padding and dilation for each axis."""
    of_kernel = _kept_geometry if _is_plain(stride) and _is_plain(padding) and _is_plain(dilation) else _new_geometry
    return of_kernel(where, kernel, stride, padding, dilation)


def _is_plain(value: Any) -> bool:
    """Whether it can be looked up: True and 1.0 could not be told from 1."""
    if type(value) is not tuple:
        return type(value) is int or type(value) is str
    kinds = {type(v) for v in value}
    return kinds == {int} or (kinds == {tuple} and all(map(_is_plain, value)))


def _new_geometry(
    where: str, kernel: Ints, stride: PerAxis, padding: Padding, dilation: PerAxis
) -> tuple[Ints, Pairs, Ints]:
    if min(kernel) < 1:
        raise ShapeError(where, "a kernel without an axis of length 0", f"{kernel}")
    strides = per_axis(where, "stride", stride, len(kernel))
    dilations = per_axis(where, "dilation", dilation, len(kernel))
    return strides, convolution_padding(where, padding, kernel, strides, dilations), dilations


_kept_geometry: Any = lru_cache(1024)(_new_geometry)


@lru_cache(1024)
def fitting_size(where: str, size: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Ints:
    """The spatial size of y."""
    checked_fit(where, size, kernel, padding, dilation)
    return out_size(size, kernel, stride, padding, dilation)


# ------------------------------------------------------------------------------ as attributes of ONNX nodes
def strides(x_shape: Ints, stride: PerAxis) -> Ints:
    """One for each spatial axis; likewise below."""
    return per_axis("strides", "stride", stride, len(x_shape) - 2)


def dilations(x_shape: Ints, dilation: PerAxis) -> Ints:
    """One for each spatial axis."""
    return per_axis("dilations", "dilation", dilation, len(x_shape) - 2)


def kernel_shape(x_shape: Ints, kernel_size: PerAxis) -> Ints:
    """One for each spatial axis."""
    return per_axis("kernel_shape", "kernel_size", kernel_size, len(x_shape) - 2)


def pads(x_shape: Ints, padding: Padding) -> Ints:
    """All that goes before x, then all that goes after."""
    return _before_and_after(padding_pairs("pads", padding, len(x_shape) - 2))


def kernel_pads(w_shape: Ints, stride: PerAxis, padding: Padding, dilation: PerAxis) -> Ints:
    """The same, where the kernel may decide ("same")."""
    given = strides(w_shape, stride), dilations(w_shape, dilation)
    return _before_and_after(convolution_padding("pads", padding, w_shape[2:], *given))


def _before_and_after(pairs: Pairs) -> Ints:
    return tuple(n for ends in zip(*pairs, strict=True) for n in ends)


# ------------------------------------------------------------------------------ averages
def segments(n: int, m: int) -> tuple[Any, Any]:
    """Indices and weights (m, longest) of the averages over m stretches that cover n elements as evenly as can be.

    Stretch i reaches from ⌊i·n/m⌋ to ⌈(i + 1)·n/m⌉; where it is short, its last element comes twice, at half weight.

    >>> segments(3, 2)[0].tolist(), segments(3, 2)[1].tolist()
    ([[0, 1], [1, 2]], [[0.5, 0.5], [0.5, 0.5]])
    """
    i = np.arange(m)[:, None]
    start, end = i * n // m, -(-(i + 1) * n // m)
    lengths = end - start
    taps = start + np.arange(lengths.max())
    indices = np.minimum(taps, end - 1)
    return indices, 1 / lengths / (1 + (indices == end - 1) * (taps[:, -1:] >= end))
