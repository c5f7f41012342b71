"""Sequences: each of its own length, or with gaps, and long ones in pieces."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kinone.core.tensor import Tensor
from kinone.core.tree import flatten
from kinone.errors import ArgumentError, ShapeError
from kinone.nn.state import Shape


def where_steps_are(where: str, shape: Shape, lengths: Any, mask: Any, batch_first: bool) -> tuple[Any, Any]:
    """How long each sequence is (None: all of it), and, where its steps do not stand in front, two ways to index.

    The first brings the steps of each sequence to the front, in their order; the second brings them back.
    """
    steps, n = shape
    if mask is not None:
        if lengths is not None:
            raise ArgumentError(where, "lengths or mask", "both")
        mask = np.asarray(mask.data if isinstance(mask, Tensor) else mask)
        wanted = (n, steps) if batch_first else (steps, n)
        if mask.shape != wanted or mask.dtype != bool:
            expected = f"a mask of shape {wanted} and dtype bool, True where a sequence has a step"
            raise ShapeError(where, expected, f"shape {mask.shape} and dtype {mask.dtype}")
        mask = mask.T if batch_first else mask
        counts = mask.sum(axis=0)
        order = np.argsort(~mask, axis=0, kind="stable")
        places = None
        if (np.diff(mask.astype(np.int8), axis=0) > 0).any():  # a step after one that is none
            sequences = np.arange(n)
            places = ((order, sequences), (np.argsort(order, axis=0, kind="stable"), sequences))
    elif lengths is not None:
        counts, places = np.asarray(lengths.data if isinstance(lengths, Tensor) else lengths), None
        if counts.shape != (n,) or counts.dtype.kind not in "iu":
            raise ShapeError(where, f"{n} lengths, whole numbers", f"shape {counts.shape} and dtype {counts.dtype}")
    else:
        return None, None
    wrong = np.flatnonzero((counts < 1) | (counts > steps))
    if wrong.size:
        hint = "a sequence without steps has no outputs and no last state: leave it out of the batch."
        got = f"{counts[wrong[0]]} (sequence {wrong[0]})"
        raise ArgumentError(where, f"lengths from 1 to {steps}", got, hint=hint if counts[wrong[0]] < 1 else "")
    return counts.astype(np.int64), places


def truncated(model: Any, x: Any, length: int, hx: Any = None) -> Iterator[tuple[slice, Any, Any]]:
    """The sequence x in pieces of `length` steps: of each, where it lies in time, its outputs and the state after it.

    The state goes on into the next piece as a number only, so gradients reach back no further than a piece begins, and
    memory holds one piece: truncated backpropagation through time. The parameters may change between pieces.

    `model(x, state)` answers (y, state), as RNN, GRU and LSTM in one direction do; if time is not x's first axis, the
    model's `time_axis(x)` says which.

    >>> from kinone import nn
    >>> model, x = nn.RNN(1, 1), np.ones((5, 2, 1), np.float32)
    >>> [(at.start, y.shape) for at, y, state in truncated(model, x, 2)]
    [(0, (2, 2, 1)), (2, (2, 2, 1)), (4, (1, 2, 1))]
    """
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise ArgumentError("truncated", "length, a whole number of at least 1", repr(length))
    if getattr(model, "bidirectional", False):
        hint = "the backward direction begins at the end of the whole sequence."
        raise ArgumentError("truncated", "a model that reads in one direction", "bidirectional=True", hint=hint)
    for name in ("return_sequences", "return_state"):
        if not getattr(model, name, True):
            raise ArgumentError("truncated", f"a model with {name}=True", "False")
    axis = model.time_axis(x) if hasattr(model, "time_axis") else 0
    if not x.shape[axis]:
        raise ShapeError("truncated", "a sequence of at least one step", f"x of shape {x.shape}")
    return _pieces(model, x, length, hx, axis)


def _pieces(model: Any, x: Any, length: int, hx: Any, axis: int) -> Iterator[tuple[slice, Any, Any]]:
    for start in range(0, x.shape[axis], length):
        at = slice(start, min(start + length, x.shape[axis]))
        y, state = model(x[:, at] if axis else x[at], hx)
        leaves, build = flatten(state)
        hx = build(leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves)
        yield at, y, hx
