"""What a call of an operator costs: multiply-adds, bytes moved, and what this machine makes of them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.tensor import Tensor
from kinone.ops import add

Shape = tuple[int, ...]


def multiply_adds(op: Any, shapes: Sequence[Shape], attrs: Mapping[str, Any], y: Shape) -> int:
    """Pairs of a multiplication and an addition in one call of an operator, by the shapes of inputs and (first) result.

    Counted are products: convolutions, matrix products, attention and recurrent layers. What works on single elements
    (activations, normalizations, pooling, bias) and what solves equations counts 0, as is usual.

    >>> from kinone import linear, relu
    >>> multiply_adds(linear, [(8, 3), (5, 3)], {}, (8, 5)), multiply_adds(relu, [(8, 3)], {}, (8, 3))
    (120, 0)
    """
    match op.name:
        case "conv1d" | "conv2d" | "conv3d" | "conv2d_activated":
            return prod(y) * prod(shapes[1][1:])
        case "conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d":
            return prod(shapes[0]) * prod(shapes[1][1:])
        case "linear" | "matmul":
            return prod(y) * shapes[op.name == "linear"][-1]
        case "einsum":
            return prod(y) * _summed(attrs["subscripts"], shapes) * (len(shapes) - 1)
        case "attention":  # q·kᵀ, then its softmax times v
            (length, features), values = shapes[1][-2:], y[-1]
            return prod(y[:-1]) * length * (features + values)
        case "squeeze_excitation":
            return shapes[0][0] * (prod(shapes[1]) + prod(shapes[2]))
        case "rnn" | "gru_gates" | "lstm_gates":
            named = dict(zip(op.inputs, shapes, strict=False))
            return prod(shapes[0][:2]) * (prod(named["w_ih"]) + prod(named["w_hh"]))
        case _:
            return 0


def _summed(subscripts: str, shapes: Sequence[Shape]) -> int:
    """How many products einsum adds up for each element of its result."""
    left, arrow, out = subscripts.replace(" ", "").partition("->")
    lengths: dict[str, int] = {}
    for term, shape in zip(left.split(","), shapes, strict=True):
        start, _, end = term.partition("...")
        pairs = [*zip(start, shape, strict=False), *zip(reversed(end), reversed(shape), strict=False)]
        lengths.update({label: max(n, lengths.get(label, 1)) for label, n in pairs})
    kept = out if arrow else [label for label in lengths if left.count(label) == 1]
    return prod(n for label, n in lengths.items() if label not in kept)


def backward_share(op: str, needs: Sequence[bool]) -> float:
    """The multiply-adds of a rule as a multiple of those of its operator; `needs` says which inputs need gradients."""
    if op == "attention":
        return 2.5 if any(needs) else 0.0  # the scores are computed again, then four products
    if op in ("rnn", "gru_gates", "lstm_gates", "squeeze_excitation"):
        return 2.0 if any(needs) else 0.0
    return float(sum(needs[:2]) if op != "einsum" else sum(needs))


@dataclass(frozen=True)
class Machine:
    """What one process gets out of this machine: multiply-adds and bytes in a second, seconds for each call."""

    multiply_adds: float
    bandwidth: float
    call: float

    def seconds(self, count: float, moved: float) -> float:
        """t = call + max(count / multiply_adds, moved / bandwidth): what is slower hides the other."""
        return self.call + max(count / self.multiply_adds, moved / self.bandwidth)


def machine(dtype: Any = np.float32) -> Machine:
    """The rates of this machine, measured once a process in about a tenth of a second.

    Multiply-adds are those of a product of 512 × 512 matrices, bandwidth that of a sum of arrays beyond the caches,
    the time of a call that of a sum of two numbers; each the best of several.
    """
    return _measured(np.dtype(dtype))


@cache
def _measured(dtype: Any) -> Machine:
    n, length = 512, 2_000_000
    square, long = np.ones((n, n), dtype), np.ones(length, dtype)
    one = Tensor(np.ones(1, dtype), requires_grad=True)
    product = _best(lambda: kernels.matmul(square, square), 4)
    total = _best(lambda: add(long, long), 4)
    call = _best(lambda: [one + one for _ in range(50)], 4) / 50
    return Machine(n**3 / product, 3 * long.nbytes / total, call)


def _best(f: Any, times: int) -> float:
    taken: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        f()
        taken.append(time.perf_counter() - start)
    return min(taken)
