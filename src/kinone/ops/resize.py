"""Resizing of the spatial axes of x (batch, channels, *size), one to three of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError, ShapeError
from kinone.kernels.windows import Ints
from kinone.ops.arguments import composed, shape_of
from kinone.ops.declare import Bad, NoOnnx, Onnx, Sample, normal
from kinone.ops.index import take
from kinone.ops.reduce import sum
from kinone.ops.shape import reshape, transpose
from kinone.ops.window import PerAxis, checked_filled, per_axis, segments

_MODES = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,),
    "bicubic": (2,), "area": (1, 2, 3),
}  # fmt: skip


def interpolate_definition(
    x: Array, *, size: PerAxis | None = None, scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest", align_corners: bool = False,
) -> Array:  # fmt: skip
    """One axis after the other: what goes into each element, weighted, and its sum."""
    lines = _lines("interpolate", x.shape[2:], size, scale_factor, mode, align_corners)
    for axis, (indices, weights) in enumerate(lines, 2):
        x = take(x, indices, axis=axis)
        if weights is not None:
            x = x * weights.reshape(weights.shape + (1,) * (x.ndim - axis - 2)).astype(x.dtype)
        x = sum(x, axis=axis + 1)
    return x


def _not_resize(mode: str, scale_factor: float | Sequence[float] | None) -> str:
    if mode == "area":
        return "ONNX has no averages over what an element covers"
    factors = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor or 1,)
    return "" if all(np.float32(f) == f for f in factors) else "ONNX's scales are in float32"


def _scales(x_shape: Ints, scale_factor: float | Sequence[float] | None) -> Sequence[float] | None:
    if scale_factor is None or isinstance(scale_factor, Sequence):
        return scale_factor
    return (scale_factor,) * (len(x_shape) - 2)


def _sizes(x_shape: Ints, size: PerAxis | None) -> Ints | None:
    return None if size is None else per_axis("Resize", "size", size, len(x_shape) - 2)


def _axes(x_shape: Ints) -> list[int]:
    return list(range(2, len(x_shape)))


def _kind(mode: str) -> str:
    return "nearest" if mode.startswith("nearest") else "cubic" if mode == "bicubic" else "linear"


def _coordinates(mode: str, align_corners: bool) -> str:
    return "asymmetric" if mode == "nearest" else "align_corners" if align_corners else "half_pixel"


def _nearest(mode: str) -> str | None:
    return {"nearest": "floor", "nearest-exact": "round_prefer_ceil"}.get(mode)


_RESIZE = {"mode": _kind, "coordinate_transformation_mode": _coordinates, "nearest_mode": _nearest, "axes": _axes}


@op(onnx=Onnx("Resize", inputs=("x", "", _scales, _sizes), attributes=_RESIZE, unless=_not_resize),
    definition=interpolate_definition,
    samples=[Sample(normal(1, 2, 3, 4), size=(5, 2)), Sample(normal(2, 1, 4), scale_factor=1.5, mode="nearest-exact"),
             Sample(normal(1, 2, 4), size=7, mode="linear", align_corners=True),
             Sample(normal(1, 2, 3, 3), scale_factor=(2, 1.5), mode="bilinear"),
             Sample(normal(1, 1, 4, 3), size=(3, 6), mode="bilinear", align_corners=True),
             Sample(normal(1, 1, 2, 3, 2), size=(3, 2, 1), mode="trilinear"),
             Sample(normal(1, 1, 4, 3), size=(3, 5), mode="bicubic"),
             Sample(normal(1, 2, 5, 4), size=(3, 3), mode="area"),
             Sample(normal(0, 2, 4), size=3)],
    errors=[Bad(normal(1, 2, 3), match="size or scale_factor, got neither"),
            Bad(normal(1, 2, 3), size=3, scale_factor=2, match="size or scale_factor, got both"),
            Bad(normal(1, 2, 3), size=3, mode="cubic", match="mode to be one of nearest, .*, got mode='cubic'"),
            Bad(normal(1, 2, 3), size=3, mode="bilinear", match="two spatial axes"),
            Bad(normal(1, 2, 3), size=3, align_corners=True, match="align_corners=False for mode='nearest'"),
            Bad(normal(1, 2, 3, 3), size=0, match="size to be an integer of at least 1"),
            Bad(normal(1, 2, 3), scale_factor=0.1, match="scale_factor that leaves at least one element"),
            Bad(normal(1, 2, 3, 3), scale_factor=(1, 2, 3), match="scale_factor"),
            Bad(normal(1, 2, 0), size=2, match="at least one element"),
            Bad(normal(2, 3), size=3, match="one to three spatial axes")])  # fmt: skip
def interpolate(
    x: Array, *, size: PerAxis | None = None, scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest", align_corners: bool = False,
) -> Array:  # fmt: skip
    """y[i] = Σ wᵢⱼ · x[j] along each spatial axis, the weights set by `mode`.   ∂L/∂x[j] = Σ wᵢⱼ · g[i].

    Output i lies at (i + ½)·n/m − ½ of an axis that goes from n to m elements (with `scale_factor` s: n/m = 1/s), or
    with `align_corners` at i·(n − 1)/(m − 1). nearest takes the element at ⌊i·n/m⌋, nearest-exact that at
    ⌊(i + ½)·n/m⌋, linear (bilinear, trilinear) the two around the position, bicubic four (Keys, a = −¾), and area
    averages all that the output covers.

    >>> interpolate([[[1.0, 3.0]]], size=4, mode="linear")
    array([[[1. , 1.5, 2.5, 3. ]]])
    """
    x = np.asarray(x)
    lines = _lines("interpolate", x.shape[2:], size, scale_factor, mode, align_corners)
    return kernels.resize_forward(x, lines)


@interpolate.backward(serves_tensors=True)
def interpolate_backward(
    g: Array, x_shape: Ints, scale_factor: float | Sequence[float] | None, mode: str, align_corners: bool
) -> Array:
    return interpolate_transpose(g, size=x_shape[2:], scale_factor=scale_factor, mode=mode, align_corners=align_corners)


@op(onnx=NoOnnx("a gradient: exported graphs only compute forward"),
    samples=[Sample(normal(1, 2, 5, 2), size=(3, 4)), Sample(normal(1, 2, 6), size=4, scale_factor=1.5, mode="linear"),
             Sample(normal(1, 1, 3, 6), size=(4, 3), mode="bicubic", align_corners=True)],
    errors=[Bad(normal(1, 2, 5), size=4, scale_factor=2, match=r"x of shape \(…, 8\), got shape \(1, 2, 5\)"),
            Bad(normal(1, 2, 5), size=(4, 4), match="size to be")])  # fmt: skip
def interpolate_transpose(
    x: Array, *, size: PerAxis, scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
    align_corners: bool = False,
) -> Array:  # fmt: skip
    """y[j] = Σ wᵢⱼ · x[i]: the transpose of interpolate from the spatial `size` to x's.   ∂L/∂x = interpolate(g).

    >>> interpolate_transpose([[[1.0, 1.0, 10.0, 10.0]]], size=2)
    array([[[ 2., 20.]]])
    """
    where, x = "interpolate_transpose", np.asarray(x)
    small = per_axis(where, "size", size, x.ndim - 2)
    target = x.shape[2:] if scale_factor is None else None
    lines = _lines(where, small, target, scale_factor, mode, align_corners)
    out = tuple(len(indices) for indices, _ in lines)
    if x.shape[2:] != out:
        raise ShapeError(where, f"x of shape (…, {', '.join(map(str, out))})", f"shape {x.shape}")
    return kernels.resize_backward(x, lines, small)


@interpolate_transpose.backward
def interpolate_transpose_backward(
    g: Array, x_shape: Ints, scale_factor: float | Sequence[float] | None, mode: str, align_corners: bool
) -> Array:
    size = x_shape[2:] if scale_factor is None else None
    return interpolate(g, size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners)


@composed
def upsample_nearest(
    x: Array, *, size: PerAxis | None = None, scale_factor: float | Sequence[float] | None = None
) -> Array:
    """y = interpolate(x, mode="nearest").

    >>> upsample_nearest([[[1.0, 2.0]]], scale_factor=2)
    array([[[1., 1., 2., 2.]]])
    """
    return interpolate(x, size=size, scale_factor=scale_factor)


@composed
def upsample_bilinear(
    x: Array, *, size: PerAxis | None = None, scale_factor: float | Sequence[float] | None = None
) -> Array:
    """y = interpolate(x, mode="bilinear", align_corners=True).

    >>> upsample_bilinear([[[[0.0, 1.0]]]], size=(1, 3))
    array([[[[0. , 0.5, 1. ]]]])
    """
    return interpolate(x, size=size, scale_factor=scale_factor, mode="bilinear", align_corners=True)


# ------------------------------------------------------------------------------ channels into pixels
@composed
def pixel_shuffle(x: Array, *, upscale_factor: int) -> Array:
    """y[n, c, h·r + i, w·r + j] = x[n, c·r² + i·r + j, h, w] with r = `upscale_factor`.

    >>> pixel_shuffle(np.arange(4).reshape(1, 4, 1, 1), upscale_factor=2)
    array([[[[0, 1],
             [2, 3]]]])
    """
    (r,) = per_axis("pixel_shuffle", "upscale_factor", upscale_factor, 1)
    shape = shape_of(x)
    if len(shape) != 4 or shape[1] % (r * r):
        raise ShapeError(
            "pixel_shuffle", f"x (batch, channels, height, width), channels divisible by {r * r}", f"shape {shape}"
        )
    n, c, h, w = shape
    y = transpose(reshape(x, (n, c // (r * r), r, r, h, w)), (0, 1, 4, 2, 5, 3))
    return reshape(y, (n, c // (r * r), h * r, w * r))


@composed
def pixel_unshuffle(x: Array, *, downscale_factor: int) -> Array:
    """y[n, c·r² + i·r + j, h, w] = x[n, c, h·r + i, w·r + j] with r = `downscale_factor`: undoes pixel_shuffle.

    >>> pixel_unshuffle(np.arange(4).reshape(1, 1, 2, 2), downscale_factor=2).ravel()
    array([0, 1, 2, 3])
    """
    (r,) = per_axis("pixel_unshuffle", "downscale_factor", downscale_factor, 1)
    shape = shape_of(x)
    if len(shape) != 4 or shape[2] % r or shape[3] % r:
        raise ShapeError(
            "pixel_unshuffle", f"x (batch, channels, height, width), both divisible by {r}", f"shape {shape}"
        )
    n, c, h, w = shape
    y = transpose(reshape(x, (n, c, h // r, r, w // r, r)), (0, 1, 3, 5, 2, 4))
    return reshape(y, (n, c * r * r, h // r, w // r))


# ------------------------------------------------------------------------------ positions and weights
def _lines(
    where: str, size: Ints, target: PerAxis | None, scale_factor: Any, mode: str, align_corners: bool
) -> list[tuple[Any, Any]]:
    """The indices and weights (see kernels.resize) for each axis."""
    rank = len(size)
    if rank not in (1, 2, 3):
        raise ShapeError(where, "x with one to three spatial axes", f"{rank}")
    checked_filled(where, size)
    if mode not in _MODES:
        raise ArgumentError(where, f"mode to be one of {', '.join(_MODES)}", f"mode={mode!r}")
    if rank not in _MODES[mode]:
        count = ("one spatial axis", "two spatial axes", "three spatial axes")[_MODES[mode][0] - 1]
        other = next(m for m in ("linear", "bilinear", "trilinear") if rank in _MODES[m])
        raise ShapeError(where, f"x with {count} for mode={mode!r}", f"{rank}", hint=f"mode={other!r}.")
    if align_corners and (mode == "area" or mode.startswith("nearest")):
        raise ArgumentError(where, f"align_corners=False for mode={mode!r}", "align_corners=True")
    if (target is None) == (scale_factor is None):
        raise ArgumentError(where, "either size or scale_factor", "neither" if target is None else "both")
    if scale_factor is None:
        out = per_axis(where, "size", target, rank)
        steps = [n / m for n, m in zip(size, out, strict=True)]
    else:
        factors = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor,) * rank
        is_usable = all(isinstance(f, int | float) and 0 < f < 2**31 for f in factors)
        out = tuple(int(n * f) for n, f in zip(size, factors, strict=False)) if is_usable else (0,)
        if len(factors) != rank or min(out) < 1:
            raise ArgumentError(where, "scale_factor that leaves at least one element of each axis", f"{scale_factor}")
        steps = [1 / f for f in factors]
    return [_line(n, m, step, mode, align_corners) for n, m, step in zip(size, out, steps, strict=True)]


def _line(n: int, m: int, step: float, mode: str, align_corners: bool) -> tuple[Any, Any]:
    i = np.arange(m)
    if mode.startswith("nearest"):
        at = (i if mode == "nearest" else i + 0.5) * step
        # Where the position is a whole number but for rounding, it is that number.
        whole = np.rint(at)
        at = np.where(np.abs(at - whole) < 1e-9 * n, whole, np.floor(at))
        return np.minimum(at, n - 1).astype(int)[:, None], None
    if mode == "area":
        return segments(n, m)
    at = i * ((n - 1) / max(m - 1, 1)) if align_corners else (i + 0.5) * step - 0.5
    if mode != "bicubic":
        at = np.maximum(at, 0)
    low = np.floor(at).astype(int)
    t = at - low
    if mode == "bicubic":
        a = -0.75
        near, far = lambda d: ((a + 2) * d - (a + 3)) * d * d + 1, lambda d: ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        weights = np.stack([far(t + 1), near(t), near(1 - t), far(2 - t)], axis=1)
        return np.clip(low[:, None] + np.arange(-1, 3), 0, n - 1), weights
    return np.minimum(np.stack([low, low + 1], axis=1), n - 1), np.stack([1 - t, t], axis=1)
