"""Clipping: gradients that are too long, made shorter."""

from collections.abc import Iterable
from math import inf, isfinite
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.tensor import Tensor, wrap
from kinone.errors import ArgumentError, NumericsError
from kinone.nn.contracts import ParameterLike
from kinone.nn.module import Module
from kinone.optim.schedule import checked_number


def global_norm(parameters: Any, norm_type: float = 2.0) -> float:
    """‖g‖ over the gradients of all parameters (a model, or parameters); those without one count as 0.

    >>> from kinone import nn
    >>> p = nn.Parameter([3.0, 4.0]); (p * p).sum().backward()
    >>> global_norm([p])
    10.0
    """
    return norm_of([p.grad.data for p in listed("global_norm", parameters)], norm_type)


def norm_of(grads: list[Any], norm_type: float = 2.0) -> float:
    """The norm of all elements of all arrays."""
    if norm_type == 2.0:
        return kernels.global_norm(grads)
    if norm_type == inf:
        return max((float(np.abs(g).max()) for g in grads if g.size), default=0.0)
    if not norm_type > 0:
        raise ArgumentError("global_norm", "norm_type above 0", repr(norm_type))
    return sum(float((np.abs(g, dtype=np.float64) ** norm_type).sum()) for g in grads) ** (1 / norm_type)


def clip_factor(norm: float, max_norm: float) -> float:
    """By what gradients of this norm are multiplied: min(1, max_norm/(norm + 1e-6)), as PyTorch does."""
    factor = max_norm / (norm + 1e-6)
    return 1.0 if factor > 1.0 else factor  # a NaN stays one


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """g ← g · min(1, max_norm/‖g‖), ‖g‖ over all parameters together; returns ‖g‖ as it was.

    The optimizers of Kinone can do it in the step itself, without a pass over the gradients:
    `optimizer.step(scale=clip_factor(global_norm(model), max_norm))`. `fit` does so.

    >>> from kinone import nn
    >>> p = nn.Parameter([3.0, 4.0]); (p * p).sum().backward()
    >>> clip_grad_norm_([p], 1.0), [round(float(g), 4) for g in p.grad.numpy()]
    (10.0, [0.6, 0.8])
    """
    checked_number("clip_grad_norm_", "max_norm", max_norm)
    given = listed("clip_grad_norm_", parameters)
    norm = norm_of([p.grad.data for p in given], norm_type)
    if error_if_nonfinite and not isfinite(norm):
        raise NumericsError("clip_grad_norm_", "gradients with a finite norm", str(norm))
    factor = clip_factor(norm, max_norm)
    if factor != 1.0:
        for p in given:
            p.grad = wrap(p.grad.data * p.dtype.type(factor))
    return norm


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """g ← min(max(g, −clip_value), clip_value), element by element; a NaN stays one.

    >>> from kinone import nn
    >>> p = nn.Parameter([3.0, -0.1]); (p * p).sum().backward()
    >>> clip_grad_value_([p], 1.0); p.grad
    Tensor([ 1. , -0.2], dtype=float32)
    """
    checked_number("clip_grad_value_", "clip_value", clip_value)
    for p in listed("clip_grad_value_", parameters):
        limit = p.dtype.type(clip_value)
        p.grad = wrap(np.clip(p.grad.data, -limit, limit))


def listed(where: str, parameters: Any) -> list[Any]:
    """The parameters with a gradient, each once."""
    if isinstance(parameters, Module):
        parameters = parameters.parameters()
    is_one = isinstance(parameters, Tensor) or not isinstance(parameters, Iterable)
    given: list[Any] = [parameters] if is_one else list(parameters)
    if not all(isinstance(p, (Tensor, ParameterLike)) for p in given):
        raise ArgumentError(where, "a model, or Parameters", f"a {type(parameters).__name__}")
    return [p for p in {id(p): p for p in given}.values() if p.grad is not None]
