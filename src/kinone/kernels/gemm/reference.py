"""Products of matrices and what reduces to them, in plain NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone import kernels
from kinone.kernels.precision import widened

__all__ = ["einsum", "linear", "matmul"]

COMPOSED = ("einsum",)
"""Made of other kernels, whichever serve: what they are, this is."""

Array = NDArray[Any]


def matmul(a: Array, b: Array) -> Array:
    """y = a·b, over the last two axes; a vector on either side as NumPy has it."""
    a, b = np.asarray(a), np.asarray(b)
    return np.asarray(np.matmul(widened(a), widened(b)), np.result_type(a, b))


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """y = x·wᵀ + b: x (…, in), w (out, in), b (out,) → (…, out), as one product of matrices."""
    x, w = np.asarray(x), np.asarray(w)
    y = widened(x).reshape(-1 if w.shape[1] else int(np.prod(x.shape[:-1])), w.shape[1]) @ widened(w).T
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], w.shape[0]).astype(x.dtype, copy=False)


def einsum(terms: Sequence[str], out: str, xs: Sequence[Array]) -> Array:
    """y[out] = Σ x₁[terms₁]·x₂[terms₂]·… over the labels that `out` lacks: from the left, each pair as one matmul.

    A label has one length everywhere, or 1 where it is to be broadcast. The products and sums are those of the kernels
    that serve.
    """
    keep = set(out).union(*terms[1:])
    y, labels = _summed(widened(xs[0]), terms[0], keep)
    for i, (x, term) in enumerate(zip(xs[1:], terms[1:], strict=True), start=1):
        keep = set(out).union(*terms[i + 1 :])
        x, term = _summed(widened(x), term, keep.union(labels))
        y, labels = _pair(y, labels, x, term, keep)
    y = y.transpose([labels.index(label) for label in out])
    return np.array(y, np.result_type(*xs), order="C")


def _summed(x: Array, term: str, keep: set[str]) -> tuple[Array, str]:
    """The diagonal over repeated labels, summed over those that are not in `keep`."""
    labels = "".join(dict.fromkeys(term))
    if len(labels) < len(term):
        x = np.einsum(x, [labels.index(label) for label in term], [*range(len(labels))])
    lone = tuple(i for i, label in enumerate(labels) if label not in keep)
    return (kernels.sum(x, lone, False) if lone else x), "".join(label for label in labels if label in keep)


def _pair(a: Array, a_labels: str, b: Array, b_labels: str, keep: set[str]) -> tuple[Array, str]:
    """Σ a·b over the shared labels that are not in `keep`: (batch, m, k) times (batch, k, n)."""
    shared = [label for label in a_labels if label in b_labels]
    batch = [label for label in shared if label in keep]
    k = [label for label in shared if label not in keep]
    m = [label for label in a_labels if label not in shared]
    n = [label for label in b_labels if label not in shared]

    def matrices(x: Array, labels: str, rows: list[str]) -> Array:
        x = x.transpose([labels.index(label) for label in (*batch, *rows, *k)])
        split = len(batch) + len(rows)
        x = np.broadcast_to(x, (*x.shape[:split], *lengths))
        return x.reshape(*x.shape[: len(batch)], _count(x.shape[len(batch) : split]), _count(lengths))

    pairs = ((a.shape[a_labels.index(label)], b.shape[b_labels.index(label)]) for label in k)
    lengths = tuple(q if p == 1 else p for p, q in pairs)
    y = kernels.matmul(matrices(a, a_labels, m), matrices(b, b_labels, n).swapaxes(-1, -2))
    a_lengths = dict(zip(a_labels, a.shape, strict=True))
    b_lengths = dict(zip(b_labels, b.shape, strict=True))
    shape = (*y.shape[:-2], *(a_lengths[label] for label in m), *(b_lengths[label] for label in n))
    return y.reshape(shape), "".join([*batch, *m, *n])


def _count(lengths: tuple[int, ...]) -> int:
    return int(np.prod(lengths, dtype=int))
