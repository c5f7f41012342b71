"""Dropout: noise that is a function of a key, so that backward draws it again instead of keeping it."""

from math import sqrt
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError
from kinone.kernels.random.reference import stream_key
from kinone.ops.arguments import checked_noise, composed, reduced_axes
from kinone.ops.declare import Bad, NoOnnx, Sample, normal
from kinone.random import Stream, stream

Key = tuple[int, str, int]
"""Where noise is drawn: (seed, name of the stream, step)."""

_KEY = (0, "dropout", 3)


@composed
def next_key(name: str = "dropout") -> Key:
    """The key at which the process-wide stream of that name stands; the stream moves on by one step.

    >>> a, b = next_key(), next_key()
    >>> a[:2] == b[:2], b[2] - a[2]
    (True, 1)
    """
    source = stream(name)
    source.step += 1
    return source.seed, source.name, source.step - 1


@op(onnx=NoOnnx("a draw; in evaluation, which is what is exported, nothing is dropped"),
    samples=[Sample(normal(4, 5), p=0.5, key=_KEY), Sample(normal(2, 3, 4), p=0.3, key=_KEY, shared_axes=(-1,)),
             Sample(normal(3), p=0.0, key=_KEY), Sample(normal(3), p=1.0, key=_KEY), Sample(normal(), p=0.5, key=_KEY),
             Sample(normal(0, 3), p=0.5, key=_KEY)],
    errors=[Bad(normal(2), p=1.5, key=_KEY, match=r"0 ≤ p ≤ 1, got p=1.5"),
            Bad(normal(2), p=-0.1, key=_KEY, match=r"p=-0.1"),
            Bad(normal(2), p=0.5, key=(7,), match=r"key \(seed, stream name, step\), got \(7,\)"),
            Bad(normal(2), p=0.5, key=_KEY, shared_axes=(1,), match=r"shared_axes=1 is outside")])  # fmt: skip
def keyed_dropout(x: Array, *, p: float, key: Key, shared_axes: tuple[int, ...] = ()) -> Array:
    """y = x·m/(1 − p), m ~ Bernoulli(1 − p) drawn at `key`.   ∂L/∂x = g·m/(1 − p), m drawn again.

    One draw serves all elements along `shared_axes`. p = 1 gives zeros.

    >>> keyed_dropout(np.ones(6), p=0.5, key=(0, "dropout", 0))
    array([0., 0., 2., 2., 2., 2.])
    """
    checked_noise("keyed_dropout", p, key)
    shared = reduced_axes("keyed_dropout", x, shared_axes, "shared_axes") or ()
    if p == 1:
        return np.zeros_like(x)
    seed, name, step = key
    if not shared:
        return kernels.dropout(x, stream_key(seed, name), step, p)
    shape = tuple(1 if i in shared else n for i, n in enumerate(x.shape))
    kept = Stream(name, seed).bernoulli(shape, 1 - p, step=step)
    return np.where(kept, x / (1 - p), np.zeros((), x.dtype))


@keyed_dropout.backward
def keyed_dropout_backward(g: Array, p: float, key: Key, shared_axes: tuple[int, ...]) -> Array:
    return keyed_dropout(g, p=p, key=key, shared_axes=shared_axes)


@composed
def dropout(x: Any, *, p: float = 0.5, key: Key | None = None) -> Any:
    """y = x·m/(1 − p), each element dropped with probability p; without `key` at the next one of stream "dropout".

    >>> dropout(np.ones(3), p=0.0)
    array([1., 1., 1.])
    """
    return keyed_dropout(x, p=p, key=key or next_key())


@composed
def channel_dropout(x: Any, *, p: float = 0.5, key: Key | None = None) -> Any:
    """Dropout of whole channels of x (N, C, …): PyTorch's dropout1d, dropout2d and dropout3d.

    >>> y = channel_dropout(np.ones((1, 3, 2)), p=0.5, key=(0, "dropout", 0))
    >>> y[0, :, 0], y[0, :, 1]
    (array([0., 0., 2.]), array([0., 0., 2.]))
    """
    return keyed_dropout(x, p=p, key=key or next_key(), shared_axes=tuple(range(2, x.ndim)))


@composed
def alpha_dropout(x: Any, *, p: float = 0.5, key: Key | None = None) -> Any:
    """y = a·(x·m + α′·(1 − m)) + b: what is dropped takes SELU's lower limit α′; a and b restore mean 0, variance 1.

    >>> alpha_dropout(np.ones(2), p=0.0)
    array([1., 1.])
    """
    if not 0 <= p < 1:
        raise ArgumentError("alpha_dropout", "0 ≤ p < 1", f"p={p}")
    limit = -1.7580993408473766  # −λα of SELU
    a = 1 / sqrt((1 - p) * (1 + p * limit * limit))
    kept = keyed_dropout(x - limit, p=p, key=key or next_key()) * (1 - p)
    return (kept + limit) * a - a * limit * p
