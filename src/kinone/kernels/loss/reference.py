"""Losses, in plain NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.kernels.elementwise.reference import sigmoid, softplus
from kinone.kernels.normalize.reference import log_softmax_forward, softmax_forward
from kinone.kernels.precision import widened

__all__ = [
    "ctc_backward", "ctc_forward", "sigmoid_nll_backward", "sigmoid_nll_forward", "softmax_nll_backward",
    "softmax_nll_forward",
]  # fmt: skip

Array = NDArray[Any]


def softmax_nll_forward(x: Array, target: Array, axis: int) -> Array:
    """y = −log softmax(x)[target], the classes along `axis`, which y and the target lack."""
    logs = log_softmax_forward(widened(x), axis)
    picked = np.take_along_axis(logs, np.expand_dims(target, axis), axis)
    return -picked.squeeze(axis).astype(x.dtype, copy=False)


def softmax_nll_backward(g: Array, x: Array, target: Array, axis: int) -> Array:
    """∂L/∂x = g·(softmax x − onehot target)."""
    gx = softmax_forward(widened(x), axis)
    target = np.expand_dims(target, axis)
    np.put_along_axis(gx, target, np.take_along_axis(gx, target, axis) - 1, axis)
    gx *= np.expand_dims(g, axis)
    return gx.astype(x.dtype, copy=False)


def sigmoid_nll_forward(x: Array, target: Array, weight: Array | float) -> Array:
    """y = weight·target·ln(1 + e⁻ˣ) + (1 − target)·ln(1 + eˣ)."""
    wide, t = widened(x), widened(target)
    return (widened(weight) * t * softplus(-wide) + (1 - t) * softplus(wide)).astype(x.dtype, copy=False)


def sigmoid_nll_backward(g: Array, x: Array, target: Array, weight: Array | float) -> Array:
    """∂L/∂x = g·((1 − target)·σ(x) − weight·target·σ(−x))."""
    wide, t = widened(x), widened(target)
    gx = widened(g) * ((1 - t) * sigmoid(wide) - widened(weight) * t * sigmoid(-wide))
    return gx.astype(x.dtype, copy=False)


def ctc_forward(x: Array, labels: Array, skips: Array, ends: Array, lengths: Array) -> Array:
    """y = −log Σ over all paths through the states of exp Σₜ x[t, label of the state at t].

    x (T, N, C), labels (N, L). A path begins in state 0 or 1, stays, moves on by one, or by two where `skips`; after
    `lengths` steps it is in one of the `ends`, all (N, L) but lengths (N,).
    """
    last = _ctc_alphas(_emissions(x, labels), skips, lengths)[-1]
    return -np.logaddexp.reduce(np.where(ends, last, -np.inf), axis=1).astype(x.dtype, copy=False)


def ctc_backward(g: Array, x: Array, labels: Array, skips: Array, ends: Array, lengths: Array) -> Array:
    """∂L/∂x[t, n, c] = −g[n]·P(a path is in a state labelled c at t)."""
    emissions = _emissions(x, labels)
    alphas = _ctc_alphas(emissions, skips, lengths)
    final = np.where(ends, alphas[-1], -np.inf)
    share = -np.expand_dims(g, 1) * _shares(np.logaddexp.reduce(final, axis=1, keepdims=True), final)
    gx = np.zeros(x.shape, alphas.dtype)
    places = np.arange(len(labels))[:, None], labels
    for t in range(len(x) - 1, -1, -1):
        is_active = (t < lengths)[:, None]
        np.add.at(gx[t], places, np.where(is_active, share, 0))
        if t:
            steps = _steps(alphas[t - 1], skips)
            total = np.logaddexp.reduce(steps, axis=0)
            back = np.zeros_like(share)
            for step, came in enumerate(steps):
                back[:, : share.shape[1] - step] += (share * _shares(total, came))[:, step:]
            share = np.where(is_active, back, share)
    return gx.astype(x.dtype, copy=False)


def _emissions(x: Array, labels: Array) -> Array:
    return np.take_along_axis(widened(x), np.broadcast_to(labels, (len(x), *labels.shape)), axis=2)


def _ctc_alphas(emissions: Array, skips: Array, lengths: Array) -> Array:
    """αₜ[n, s] = log Σ of the paths that are in state s at t; it stands still once a sequence is over."""
    alphas = np.full_like(emissions, -np.inf)
    alphas[0, :, :2] = emissions[0, :, :2]
    for t in range(1, len(emissions)):
        moved = np.logaddexp.reduce(_steps(alphas[t - 1], skips), axis=0) + emissions[t]
        alphas[t] = np.where((t < lengths)[:, None], moved, alphas[t - 1])
    return alphas


def _steps(alpha: Array, skips: Array) -> list[Array]:
    """α of the state itself, of the one before, and of the one before that where it may be skipped to."""
    before = np.full((2, *alpha.shape), -np.inf, alpha.dtype)
    before[0, :, 1:] = alpha[:, :-1]
    before[1, :, 2:] = alpha[:, :-2]
    return [alpha, before[0], np.where(skips, before[1], -np.inf).astype(alpha.dtype, copy=False)]


def _shares(total: Array, part: Array) -> Array:
    """exp(part − total); a total of −∞ has no parts."""
    return np.exp(part - np.where(total == -np.inf, 0, total))
