"""Squeeze and excitation: a gate for each channel, computed from the means of all."""

from math import prod
from typing import Any

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ShapeError
from kinone.ops.activation import sigmoid, silu
from kinone.ops.declare import Bad, ByDefinition, Sample, normal
from kinone.ops.linalg import linear
from kinone.ops.reduce import mean
from kinone.ops.shape import reshape


def _places(x: Any) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def squeeze_excitation_definition(
    x: Array, w1: Array, w2: Array, b1: Array | None = None, b2: Array | None = None
) -> tuple[Array, Array, Array]:
    m = mean(x, axis=_places(x))
    s = sigmoid(linear(silu(linear(m, w1, b1)), w2, b2))
    return x * reshape(s, s.shape + (1,) * (x.ndim - 2)), m, s


@op(onnx=ByDefinition(), definition=squeeze_excitation_definition, stretches=False,
    samples=[Sample(normal(2, 3, 2, 2), normal(2, 3), normal(3, 2), normal(2), normal(3)),
             Sample(normal(1, 2, 4), normal(3, 2), normal(2, 3)),
             Sample(normal(3, 2), normal(1, 2), normal(2, 1), normal(1)),
             Sample(normal(0, 2, 3), normal(1, 2), normal(2, 1), None, normal(2))],
    errors=[Bad(normal(3), normal(1, 3), normal(3, 1), match=r"x \(N, C, …\), got shape \(3,\)"),
            Bad(normal(2, 3, 0), normal(1, 3), normal(3, 1), match=r"a place of which there is a mean"),
            Bad(normal(2, 3, 4), normal(2, 4), normal(3, 2), match=r"x with 4 channels .*, got 3 \(x has"),
            Bad(normal(2, 3, 4), normal(3), normal(3, 2), match=r"w1 \(squeezed, C\), got shape \(3,\)"),
            Bad(normal(2, 3, 4), normal(2, 3), normal(2, 3), match=r"w2 of shape \(3, 2\), got \(2, 3\)"),
            Bad(normal(2, 3, 4), normal(2, 3), normal(3, 2), normal(3), match=r"b1 of shape \(2,\), got \(3,\)"),
            Bad(normal(2, 3, 4), normal(2, 3), normal(3, 2), None, normal(1), match=r"b2 of shape")])  # fmt: skip
def squeeze_excitation(
    x: Array, w1: Array, w2: Array, b1: Array | None = None, b2: Array | None = None
) -> tuple[Array, Array, Array]:
    """y = x·s, s = σ(w₂·silu(w₁·m + b₁) + b₂), m = mean x.   ∂L/∂x = g·s + ∂L/∂m/P,  ∂L/∂s = Σ g·x.

    x (N, C, …), of which m (N, C) is the mean over the P places behind the channels, w₁ (S, C), w₂ (C, S). Gives
    (y, m, s): s (N, C) says how much of each channel goes on. Backward reads g and x twice, and makes no array of their
    size but ∂L/∂x.

    >>> squeeze_excitation([[[1.0, 3.0], [2.0, 2.0]]], [[0.0, 0.0]], [[0.0], [0.0]])
    (array([[[0.5, 1.5],
        [1. , 1. ]]]), array([[2., 2.]]), array([[0.5, 0.5]]))
    """
    _check(x, w1, w2, b1, b2)
    m = kernels.mean(x, _places(x), False)
    s = kernels.sigmoid(kernels.linear(kernels.silu_forward(kernels.linear(m, w1, b1)), w2, b2))
    return kernels.affine(x, _at_places(s, x)), m, s


@squeeze_excitation.backward
def squeeze_excitation_backward(
    g: tuple[Array, Array, Array], y: tuple[Array, Array, Array], x: Array, w1: Array, w2: Array, b1: Array | None,
    b2: Array | None,
) -> tuple[Any, ...]:  # fmt: skip
    (gy, gm, gs), (_, m, s) = g, y
    squeezed = kernels.linear(m, w1, b1)
    excited = kernels.silu_forward(squeezed)
    gz = kernels.sigmoid_backward(gs + kernels.product_sum(gy, x, _places(x), False), s)
    gh = kernels.silu_backward(kernels.matmul(gz, w2), squeezed)
    gm = (gm + kernels.matmul(gh, w1)) / x.dtype.type(prod(x.shape[2:]))
    gx = kernels.affine(gy, _at_places(s, x), _at_places(gm, x))
    gw1, gw2 = kernels.matmul(gh.T, m), kernels.matmul(gz.T, excited)
    return gx, gw1, gw2, kernels.sum(gh, (0,), False), kernels.sum(gz, (0,), False)


def _at_places(of_channels: Any, x: Any) -> Any:
    """(N, C) as (N, C, 1, …), to broadcast against x."""
    return of_channels.reshape(of_channels.shape + (1,) * (x.ndim - 2))


def _check(x: Any, w1: Any, w2: Any, b1: Any, b2: Any) -> None:
    if x.ndim < 2:
        raise ShapeError("squeeze_excitation", "x (N, C, …)", f"shape {x.shape}")
    channels = x.shape[1]
    if not prod(x.shape[2:]):
        raise ShapeError("squeeze_excitation", "a place of which there is a mean", f"x of shape {x.shape}")
    if w1.ndim != 2:
        raise ShapeError("squeeze_excitation", "w1 (squeezed, C)", f"shape {w1.shape}")
    if w1.shape[1] != channels:
        expected = f"x with {w1.shape[1]} channels (w1 has shape {w1.shape})"
        raise ShapeError("squeeze_excitation", expected, f"{channels} (x has shape {x.shape})")
    shapes = {"w2": (channels, w1.shape[0]), "b1": (w1.shape[0],), "b2": (channels,)}
    for (name, shape), array in zip(shapes.items(), (w2, b1, b2), strict=True):
        if array is not None and array.shape != shape:
            raise ShapeError("squeeze_excitation", f"{name} of shape {shape}", f"{array.shape}")
