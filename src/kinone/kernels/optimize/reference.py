"""Steps of optimizers over all parameters at once, in place, in plain NumPy.

Formulas and the meaning of arguments are PyTorch's. `params`, `grads` and each list of states hold an array for every
parameter; a gradient counts `scale` times, which is how clipping by the norm of all costs no pass of its own. What is
returned are the arrays that were changed: the parameters, then each list of states.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from math import sqrt
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

from kinone.errors import ArgumentError, ShapeError
from kinone.kernels.precision import widened

__all__ = ["adagrad_update", "adam_update", "ema_update", "global_norm", "lion_update", "nadam_update",
           "rmsprop_update", "sgd_update"]  # fmt: skip

Array = NDArray[Any]
Arrays = Sequence[Array]


def sgd_update(
    params: Arrays, grads: Arrays, momenta: Arrays | None, lr: float, momentum: float, dampening: float,
    weight_decay: float, is_nesterov: bool, is_first: bool, scale: float,
) -> list[Array]:  # fmt: skip
    """b ← μ·b + (1 − dampening)·g, at first g;  p ← p − lr·b, after Nesterov p − lr·(g + μ·b). No momenta: b = g."""

    def step(p: Array, g: Array, b: Array | None) -> tuple[Any, ...]:
        p, g = _decayed(p, g * scale, weight_decay)
        if b is None:
            return p - lr * g, b
        b = g if is_first else momentum * b + (1 - dampening) * g
        return p - lr * (g + momentum * b if is_nesterov else b), b

    return _changed("sgd_update", step, params, grads, momenta)


def adam_update(
    params: Arrays, grads: Arrays, averages: Arrays, squares: Arrays, largest: Arrays | None, step: int, lr: float,
    beta1: float, beta2: float, eps: float, weight_decay: float, is_decoupled: bool, scale: float,
) -> list[Array]:  # fmt: skip
    """m ← β₁·m + (1 − β₁)·g,  v ← β₂·v + (1 − β₂)·g²;  p ← p − lr·m̂ / (√v̂ + eps),  m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ).

    `step` is t, 1 at first. `largest`, if given, holds the largest v so far, which is then used (AMSGrad). Weight decay
    is added to the gradient, or `is_decoupled`: p ← (1 − lr·weight_decay)·p (AdamW).
    """
    size, root = lr / (1 - power(beta1, step)), sqrt(1 - power(beta2, step))

    def rule(p: Array, g: Array, m: Array, v: Array, most: Array | None) -> tuple[Any, ...]:
        p, g = _decayed(p, g * scale, weight_decay, lr if is_decoupled else None)
        m, v = m + (1 - beta1) * (g - m), beta2 * v + (1 - beta2) * g * g
        most = None if most is None else np.maximum(most, v)
        return p - size * (m / (np.sqrt(v if most is None else most) / root + eps)), m, v, most

    return _changed("adam_update", rule, params, grads, averages, squares, largest)


def nadam_update(
    params: Arrays, grads: Arrays, averages: Arrays, squares: Arrays, step: int, lr: float, beta1: float, beta2: float,
    eps: float, weight_decay: float, is_decoupled: bool, mu: float, mu_next: float, mu_product: float, scale: float,
) -> list[Array]:  # fmt: skip
    """m, v as Adam's;  p ← p − lr·((1 − μₜ)/(1 − ∏μ)·g + μₜ₊₁/(1 − ∏μ·μₜ₊₁)·m) / (√v̂ + eps), ∏μ = μ₁·…·μₜ.

    μₜ is `nadam_momentum(t, …)`.
    """
    size, ahead = lr * (1 - mu) / (1 - mu_product), lr * mu_next / (1 - mu_product * mu_next)
    root = sqrt(1 - power(beta2, step))

    def rule(p: Array, g: Array, m: Array, v: Array) -> tuple[Any, ...]:
        p, g = _decayed(p, g * scale, weight_decay, lr if is_decoupled else None)
        m, v = m + (1 - beta1) * (g - m), beta2 * v + (1 - beta2) * g * g
        r = np.sqrt(v) / root + eps
        return p - size * (g / r) - ahead * (m / r), m, v

    return _changed("nadam_update", rule, params, grads, averages, squares)


def rmsprop_update(
    params: Arrays, grads: Arrays, squares: Arrays, averages: Arrays | None, momenta: Arrays | None, lr: float,
    alpha: float, eps: float, weight_decay: float, momentum: float, scale: float,
) -> list[Array]:  # fmt: skip
    """v ← α·v + (1 − α)·g²;  p ← p − lr·u, u = g/(√v + eps), or with momenta b ← μ·b + u and p ← p − lr·b.

    With `averages` a ← α·a + (1 − α)·g, the root is that of v − a² (centered).
    """

    def rule(p: Array, g: Array, v: Array, a: Array | None, b: Array | None) -> tuple[Any, ...]:
        p, g = _decayed(p, g * scale, weight_decay)
        v, a = alpha * v + (1 - alpha) * g * g, None if a is None else a + (1 - alpha) * (g - a)
        u = g / (np.sqrt(v if a is None else v - a * a) + eps)
        b = None if b is None else momentum * b + u
        return p - lr * (u if b is None else b), v, a, b

    return _changed("rmsprop_update", rule, params, grads, squares, averages, momenta)


def adagrad_update(
    params: Arrays, grads: Arrays, sums: Arrays, step: int, lr: float, lr_decay: float, eps: float,
    weight_decay: float, scale: float,
) -> list[Array]:  # fmt: skip
    """s ← s + g²;  p ← p − lr/(1 + (t − 1)·lr_decay) · g/(√s + eps)."""

    def rule(p: Array, g: Array, s: Array) -> tuple[Any, ...]:
        p, g = _decayed(p, g * scale, weight_decay)
        s = s + g * g
        return p - lr / (1 + (step - 1) * lr_decay) * (g / (np.sqrt(s) + eps)), s

    return _changed("adagrad_update", rule, params, grads, sums)


def lion_update(
    params: Arrays, grads: Arrays, momenta: Arrays, lr: float, beta1: float, beta2: float, weight_decay: float,
    scale: float,
) -> list[Array]:  # fmt: skip
    """p ← (1 − lr·weight_decay)·p − lr·sign(β₁·m + (1 − β₁)·g), then m ← β₂·m + (1 − β₂)·g."""

    def rule(p: Array, g: Array, m: Array) -> tuple[Any, ...]:
        p, g = _decayed(p, g * scale, weight_decay, lr)
        return p - lr * np.sign(m + (1 - beta1) * (g - m)), m + (1 - beta2) * (g - m)

    return _changed("lion_update", rule, params, grads, momenta)


def ema_update(averages: Arrays, params: Arrays, decay: float) -> list[Array]:
    """a ← decay·a + (1 − decay)·p."""
    return _changed("ema_update", lambda a, p: (a + (1 - decay) * (p - a),), averages, params)


def global_norm(grads: Arrays) -> float:
    """√Σ g² over all elements of all arrays."""
    return sqrt(sum(float(np.sum(np.square(g, dtype=np.float64))) for g in grads))


def nadam_momentum(step: int, beta1: float, momentum_decay: float) -> float:
    """μₜ = β₁·(1 − ½·0.96^(t·momentum_decay)), the same on every processor: a power of real numbers is none of IEEE's.

    >>> nadam_momentum(1, 0.9, 0.004)
    0.45007347...
    """
    power = (Decimal(step * momentum_decay) * Decimal("0.96").ln()).exp()
    return beta1 * (1 - 0.5 * float(power))


def power(x: float, n: int) -> float:
    """xⁿ by squaring: in whatever order a processor's library multiplies, here it is this one.

    >>> power(0.5, 3)
    0.125
    """
    y = 1.0
    while n:
        if n & 1:
            y *= x
        x *= x
        n >>= 1
    return y


def _decayed(p: Array, g: Array, weight_decay: float, lr: float | None = None) -> tuple[Array, Array]:
    """The parameter and the gradient with the decay: in the gradient or, given lr, in the parameter."""
    if not weight_decay:
        return p, g
    return (p, g + weight_decay * p) if lr is None else (p * (1 - lr * weight_decay), g)


def _changed(
    where: str, rule: Callable[..., tuple[Any, ...]], params: Arrays, read: Arrays, *states: Arrays | None
) -> list[Array]:
    """Each parameter and its states as rule(parameter, gradient, states…) has them: computed wide, and rounded once."""
    written = [arrays for arrays in (params, *states) if arrays is not None]
    _check(where, written, read)
    for k in range(len(params)):
        some = [None if arrays is None else arrays[k] for arrays in (params, *states)]
        p, *more = (None if a is None else widened(a) for a in some)
        for array, new in zip(some, rule(p, widened(read[k]), *more), strict=True):
            if array is not None:
                array[...] = new
    return [array for arrays in written for array in arrays]


def _check(where: str, written: Sequence[Arrays], read: Arrays) -> None:
    """All arrays of a parameter are of one shape and dtype, and those that are changed apart from others in memory."""
    counts = [len(arrays) for arrays in (*written, read)]
    if len(set(counts)) > 1:
        raise ArgumentError(where, f"lists of {counts[0]} arrays", ", ".join(map(str, counts)))
    for first, *others in zip(*written, read, strict=True):
        if wrong := [a for a in others if a.shape != first.shape or a.dtype != first.dtype]:
            expected = f"arrays of the parameter's shape and dtype, {first.dtype}{first.shape}"
            raise ShapeError(where, expected, f"{wrong[0].dtype}{wrong[0].shape}")
    changed = [a for arrays in written for a in arrays]
    if not all(a.flags.writeable for a in changed):
        raise ArgumentError(where, "arrays that may be changed", "one that may only be read")
    bounds = [(*byte_bounds(a), True) for a in changed if a.size] + [(*byte_bounds(a), False) for a in read if a.size]
    end = end_written = 0
    for low, high, is_written in sorted(bounds):
        if low < end_written or (is_written and low < end):
            raise ArgumentError(where, "arrays that lie apart in memory", "two that overlap")
        end, end_written = max(end, high), max(end_written, high * is_written)
