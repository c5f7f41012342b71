"""Draws from what a model expects: the next token of a sequence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.modes import no_grad
from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, ShapeError
from kinone.nn.module import Module
from kinone.ops import softmax
from kinone.random import Stream, stream


def sample(
    logits: Any, temperature: float = 1.0, top_k: int | None = None, source: Stream | None = None
) -> NDArray[np.int64]:
    """t ~ softmax(logits / temperature): logits (…, classes) → whole numbers (…).

    Only the `top_k` most likely can be drawn, of equally likely ones the first. At temperature 0 it is the most likely
    one. The numbers come from the stream "sample", or from `source`.

    >>> sample([[0.0, 1.0], [3.0, 2.0]], temperature=0)
    array([1, 0])
    """
    x = np.array(logits.data if isinstance(logits, Tensor) else logits, np.float64)  # ours to change
    if not x.ndim or not x.shape[-1]:
        raise ShapeError("sample", "logits (…, classes)", f"shape {x.shape}")
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not temperature >= 0:
        raise ArgumentError("sample", "temperature ≥ 0", repr(temperature))
    if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
        raise ArgumentError("sample", "top_k, a whole number of at least 1, or None", repr(top_k))
    highest = x.max(axis=-1, keepdims=True)
    if not np.isfinite(highest).all():
        raise ArgumentError("sample", "logits with a highest one", str(highest[~np.isfinite(highest)][0]))
    if not temperature:
        return x.argmax(axis=-1)
    if top_k is not None and top_k < x.shape[-1]:
        order = np.argsort(-x, axis=-1, kind="stable")
        np.put_along_axis(x, order[..., top_k:], -np.inf, axis=-1)
    sums = np.cumsum(softmax((x - highest) / temperature), axis=-1)
    u = (source or stream("sample")).uniform(x.shape[:-1], dtype=np.float64)
    # u < 1, and so below the last sum, but for its rounding; what has no probability is never stepped on
    return np.minimum((sums <= u[..., None] * sums[..., -1:]).sum(axis=-1), (sums < sums[..., -1:]).sum(axis=-1))


@contextmanager
def generating(model: Module) -> Iterator[None]:
    """Compute as in use and record nothing inside; afterwards each module is in the mode in which it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        with no_grad():
            model.eval()
            yield
    finally:
        for module, is_training in modes:
            module.training = is_training
