"""Connectionist temporal classification: the loss of a sequence whose alignment is not known."""

from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import ArgumentError, AxisError, ShapeError
from kinone.ops.arithmetic import where
from kinone.ops.declare import Bad, NoOnnx, Sample, constant, normal
from kinone.ops.index import take_along_axis
from kinone.ops.reduce import logsumexp
from kinone.ops.shape import concat, stack

_TWO = (constant([[1, 2], [1, 1]]), constant([4, 3]), constant([2, 1]))


def ctc_nll_definition(
    x: Array, targets: Array, input_lengths: Array, target_lengths: Array, *, blank: int = 0
) -> Array:
    labels, skips, ends = _states(targets, target_lengths, blank)
    count = labels.shape[1]
    nothing = np.full((len(labels), 2), -np.inf, x.dtype)
    emissions = take_along_axis(x, np.broadcast_to(labels, (x.shape[0], *labels.shape)), axis=2)
    alpha = where(np.arange(count) < 2, emissions[0], -np.inf)
    for t in range(1, x.shape[0]):
        one, two = concat(nothing[:, :1], alpha, axis=1)[:, :count], concat(nothing, alpha, axis=1)[:, :count]
        moved = logsumexp(stack(alpha, one, where(skips, two, -np.inf)), axis=0) + emissions[t]
        alpha = where((t < input_lengths)[:, None], moved, alpha)
    return -logsumexp(where(ends, alpha, -np.inf), axis=1)


@op(onnx=NoOnnx("a loss is no part of an exported model"), definition=ctc_nll_definition, stretches=False,
    dtypes={"x": "float", "targets": "index", "input_lengths": "index", "target_lengths": "index"},
    samples=[Sample(normal(4, 2, 3), *_TWO),
             Sample(normal(3, 1, 3), constant([[0, 1]]), constant([3]), constant([2]), blank=2),
             Sample(normal(3, 2, 2), constant([[1], [7]]), constant([2, 3]), constant([1, 0])),
             Sample(normal(3, 1, 2), constant(np.zeros((1, 0), int)), constant([3]), constant([0])),
             Sample(normal(2, 1, 3), constant([[1, 1]]), constant([2]), constant([2]), smooth=False,
                    reason="no alignment, so the loss is ∞ everywhere")],
    errors=[Bad(normal(4, 2, 2), *_TWO, match=r"classes from 0 to 1, got 2"),
            Bad(normal(3, 2, 3), *_TWO, match=r"input_lengths from 1 to 3, got 4"),
            Bad(normal(4, 2, 3), _TWO[0], _TWO[1], constant([3, 1]), match=r"target_lengths from 0 to 2, got 3"),
            Bad(normal(4, 2, 3), *_TWO, blank=3, match=r"blank from 0 to 2, got 3"),
            Bad(normal(4, 2, 3), *_TWO, blank=1, match=r"no blank in targets"),
            Bad(normal(4, 3, 3), *_TWO, match=r"targets \(3, S\), and 3 lengths of each kind"),
            Bad(normal(4, 3), *_TWO, match=r"x \(T, N, C\)")])  # fmt: skip
def ctc_nll(x: Array, targets: Array, input_lengths: Array, target_lengths: Array, *, blank: int = 0) -> Array:
    """y = −log Σ_π exp Σₜ x[t, π(t)].   ∂L/∂x[t, n, c] = −g[n]·P(π(t) = c).

    π runs over all sequences of labels that become the target when repeats are merged and then blanks removed.
    x (T, N, C) holds logarithms of probabilities, targets (N, S) classes; what lies beyond the lengths (N,) does not
    count. y (N,) is ∞, with gradient 0, where the input is too short for its target.

    >>> x = np.log(np.full((2, 1, 2), 0.5))
    >>> ctc_nll(x, np.array([[1]]), np.array([2]), np.array([1])).round(4)  # 3 of the 4 sequences: 01, 10, 11
    array([0.2877])
    """
    _check(x, targets, input_lengths, target_lengths, blank)
    return kernels.ctc_forward(x, *_states(targets, target_lengths, blank), input_lengths)


@ctc_nll.backward
def ctc_nll_backward(
    g: Array, x: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank: int
) -> tuple[Array, None, None, None]:
    states = _states(targets, target_lengths, blank)
    return kernels.ctc_backward(g, x, *states, input_lengths), None, None, None


def _states(targets: Any, target_lengths: Any, blank: int) -> tuple[Any, Any, Any]:
    """Labels (N, 2S + 1), a blank around every label; where two steps at once are allowed; where a path may end."""
    n, s = targets.shape
    labels = np.full((n, 2 * s + 1), blank)
    labels[:, 1::2] = np.where(np.arange(s) < target_lengths[:, None], targets, blank)
    skips = np.zeros(labels.shape, bool)
    skips[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
    last, state = 2 * target_lengths[:, None], np.arange(2 * s + 1)
    return labels, skips, (state == last) | (state == last - 1)


def _check(x: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int) -> None:
    if x.ndim != 3 or not x.shape[0]:
        raise ShapeError("ctc_nll", "x (T, N, C) with T ≥ 1", f"shape {x.shape}")
    steps, n, classes = x.shape
    if targets.shape[:-1] != (n,) or input_lengths.shape != (n,) or target_lengths.shape != (n,):
        shapes = f"shapes {targets.shape}, {input_lengths.shape} and {target_lengths.shape}"
        raise ShapeError("ctc_nll", f"targets ({n}, S), and {n} lengths of each kind", shapes)
    for name, least, most, given in (
        ("input_lengths", 1, steps, input_lengths),
        ("target_lengths", 0, targets.shape[1], target_lengths),
        ("blank", 0, classes - 1, np.array([blank])),
    ):
        if (wrong := given[(given < least) | (given > most)]).size:
            raise ArgumentError("ctc_nll", f"{name} from {least} to {most}", str(wrong[0]))
    used = targets[np.arange(targets.shape[1]) < target_lengths[:, None]]
    if (wrong := used[(used < 0) | (used >= classes)]).size:
        raise AxisError("ctc_nll", f"classes from 0 to {classes - 1}", str(wrong[0]))
    if (used == blank).any():
        raise ArgumentError("ctc_nll", "no blank in targets", f"class {blank}")
