"""Reductions, changes of shape, indexing and sorting beside PyTorch's: values and gradients in both precisions."""

from typing import Any

import numpy as np
import pytest

import kinone as kn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")
from peers.compare import compare  # noqa: E402

SHAPES: list[tuple[int, ...]] = [(5,), (3, 4), (2, 3, 5), (2, 1, 4, 3), (40, 30)]
SEEDS = range(3)


def arrays(seed: int, *shapes: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def axes(shape: tuple[int, ...]) -> list[Any]:
    """Every axis from the front and from the back, all of them, and two together."""
    n = len(shape)
    return [*range(-n, n), tuple(range(n)), *([(0, -1)] if n > 1 else [])]


# Ours, PyTorch's, and the attributes (those two functions may translate them).
REDUCED: dict[str, tuple[Any, Any]] = {
    "sum": (kn.sum, lambda x, axis, keepdims: torch.sum(x, axis, keepdim=keepdims)),
    "mean": (kn.mean, lambda x, axis, keepdims: torch.mean(x, axis, keepdim=keepdims)),
    "var": (kn.var, lambda x, axis, keepdims: torch.var(x, axis, correction=0, keepdim=keepdims)),
    "std": (kn.std, lambda x, axis, keepdims: torch.std(x, axis, correction=0, keepdim=keepdims)),
    "max": (kn.max, lambda x, axis, keepdims: torch.amax(x, axis, keepdim=keepdims)),
    "min": (kn.min, lambda x, axis, keepdims: torch.amin(x, axis, keepdim=keepdims)),
    "logsumexp": (kn.logsumexp, lambda x, axis, keepdims: torch.logsumexp(x, axis, keepdim=keepdims)),
    **{
        f"norm {p}": (
            lambda x, axis, keepdims, p=p: kn.norm(x, axis=axis, keepdims=keepdims, ord=p),
            lambda x, axis, keepdims, p=p: torch.linalg.vector_norm(x, p, axis, keepdim=keepdims),
        )
        for p in (1, 2, 2.5, 4, np.inf, -np.inf)
    },
    "count_nonzero": (
        lambda x, axis, keepdims: kn.count_nonzero(x > 0, axis=axis),
        lambda x, axis, keepdims: torch.count_nonzero(x > 0, axis),
    ),
    "any": (
        lambda x, axis, keepdims: kn.any(x > 1, axis=axis, keepdims=keepdims),
        lambda x, axis, keepdims: torch.any(x > 1, axis, keepdim=keepdims),
    ),
    "all": (
        lambda x, axis, keepdims: kn.all(x > -1, axis=axis, keepdims=keepdims),
        lambda x, axis, keepdims: torch.all(x > -1, axis, keepdim=keepdims),
    ),
}
# A gradient of std with one element alone divides 0 by 0; PyTorch's norm for -inf splits ties as ours does.
LONELY = {"std"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", REDUCED)
def test_reductions(name, shape):
    ours, theirs = REDUCED[name]
    for seed in SEEDS:
        for axis in axes(shape):
            if name in LONELY and not isinstance(axis, tuple) and shape[axis] == 1:
                continue
            for keepdims in (False, True):
                compare(ours, theirs, *arrays(seed, shape), axis=axis, keepdims=keepdims)


@pytest.mark.parametrize("name", ["max", "min", "norm inf", "norm -inf"])
def test_ties_share_their_gradient(name):
    ours, theirs = REDUCED[name]
    for seed in SEEDS:
        x = np.random.default_rng(seed).integers(-2, 3, (3, 4, 5)) + 0.0
        for axis in axes(x.shape):
            compare(ours, theirs, x, axis=axis, keepdims=False)


@pytest.mark.parametrize("correction", [1, 0.5, 2])
@pytest.mark.parametrize("name", ["var", "std"])
def test_correction(name, correction):
    ours, theirs = getattr(kn, name), getattr(torch, name)
    for shape in SHAPES[1:3]:
        (x,) = arrays(1, shape)
        compare(lambda x: ours(x, axis=-1, correction=correction), lambda x: theirs(x, -1, correction=correction), x)


@pytest.mark.parametrize("zeros", [0, 1, 2, 4])
@pytest.mark.parametrize("name", ["prod", "cumulative_prod", "cumulative_sum"])
def test_running_and_whole_products(name, zeros):
    peer = {"prod": torch.prod, "cumulative_prod": torch.cumprod, "cumulative_sum": torch.cumsum}[name]
    for seed in SEEDS:
        for shape in [(6,), (3, 5), (2, 4, 3)]:
            (x,) = arrays(seed, shape)
            x.ravel()[np.random.default_rng(seed).permutation(x.size)[:zeros]] = 0
            for axis in range(-len(shape), len(shape)):
                compare(lambda x, axis: getattr(kn, name)(x, axis=axis), peer, x, axis=axis)


@pytest.mark.parametrize("shape", SHAPES)
def test_places(shape):
    for seed in SEEDS:
        (x,) = arrays(seed, shape)
        for axis in range(-len(shape), len(shape)):
            for ours, theirs in [(kn.argmax, torch.argmax), (kn.argmin, torch.argmin)]:
                compare(lambda x, axis, f=ours: f(x, axis=axis), theirs, x, axis=axis)


# ---------------------------------------------------------------------------- shape
SHAPED: dict[str, tuple[Any, Any]] = {
    "reshape": (lambda x: kn.reshape(x, (4, -1)), lambda x: x.reshape(4, -1)),
    "method reshape": (lambda x: x.reshape(-1, 2), lambda x: x.reshape(-1, 2)),
    "flatten": (kn.flatten, torch.flatten),
    "flatten from 1": (lambda x: kn.flatten(x, start_axis=1), lambda x: torch.flatten(x, 1)),
    "transpose": (kn.transpose, lambda x: x.permute(2, 1, 0)),
    "permute": (lambda x: x.permute(1, 2, 0), lambda x: x.permute(1, 2, 0)),
    "moveaxis": (lambda x: kn.moveaxis(x, (0, 1), (-1, 0)), lambda x: torch.moveaxis(x, (0, 1), (-1, 0))),
    "swapaxes": (lambda x: kn.swapaxes(x, 0, -1), lambda x: torch.swapaxes(x, 0, -1)),
    "mT": (kn.matrix_transpose, lambda x: x.mT),
    "expand": (lambda x: kn.expand(x, (3, 2, 4, 6)), lambda x: x.expand(3, 2, 4, 6)),
    "unsqueeze and squeeze": (lambda x: kn.squeeze(x.expand_dims(1) * 2, 1), lambda x: (x.unsqueeze(1) * 2).squeeze(1)),
    "flip": (lambda x: kn.flip(x, axis=(0, -1)), lambda x: torch.flip(x, (0, -1))),
    "roll": (lambda x: kn.roll(x, (3, -1), axis=(2, 1)), lambda x: torch.roll(x, (3, -1), (2, 1))),
    "roll flat": (lambda x: kn.roll(x, 7), lambda x: torch.roll(x, 7)),
    "split": (lambda x: kn.split(x, 3, axis=2), lambda x: torch.split(x, 2, 2)),
    "split by lengths": (lambda x: kn.split(x, (1, 0, 3), axis=1), lambda x: torch.split(x, (1, 0, 3), 1)),
    "unstack": (lambda x: kn.unstack(x, axis=-2), lambda x: torch.unbind(x, -2)),
    "tile": (lambda x: kn.tile(x, (3, 1, 2)), lambda x: x.tile(3, 1, 2)),
    "tile behind": (lambda x: kn.tile(x, (2,)), lambda x: x.tile(2)),
    "repeat": (lambda x: kn.repeat(x, 3, axis=1), lambda x: torch.repeat_interleave(x, 3, 1)),
    "repeat by counts": (lambda x: kn.repeat(x, (2, 0, 1, 3), axis=1),
                         lambda x: torch.repeat_interleave(x, torch.tensor([2, 0, 1, 3]), 1)),
    "repeat flat": (lambda x: kn.repeat(x, 2), lambda x: torch.repeat_interleave(x, 2)),
    "pad": (lambda x: kn.pad(x, ((0, 1), (2, 0), (1, 3)), constant_values=0.5),
            lambda x: torch.nn.functional.pad(x, (1, 3, 2, 0, 0, 1), value=0.5)),
    **{f"pad {ours}": (lambda x, mode=ours: kn.pad(x, ((0, 0), (2, 3), (1, 2)), mode=mode),
                       lambda x, mode=theirs: torch.nn.functional.pad(x[None], (1, 2, 2, 3), mode)[0])
       for ours, theirs in [("reflect", "reflect"), ("edge", "replicate"), ("wrap", "circular")]},
    "tril": (lambda x: kn.tril(x, k=1), lambda x: torch.tril(x, 1)),
    "triu": (lambda x: kn.triu(x, k=-1), lambda x: torch.triu(x, -1)),
    "diagonal": (lambda x: kn.diagonal(x, offset=2), lambda x: torch.diagonal(x, 2, -2, -1)),
    "diagonal below": (lambda x: kn.diagonal(x, offset=-1), lambda x: torch.diagonal(x, -1, -2, -1)),
    "diag": (lambda x: kn.diag(x[0, 0], offset=-1), lambda x: torch.diag(x[0, 0], -1)),
    "sort": (lambda x: kn.sort(x, axis=1), lambda x: torch.sort(x, 1)[0]),
    "sort down": (lambda x: kn.sort(x, descending=True), lambda x: torch.sort(x, descending=True)[0]),
    "argsort": (lambda x: kn.argsort(x, axis=0), lambda x: torch.argsort(x, 0)),
    "topk": (lambda x: kn.topk(x, 4), lambda x: torch.topk(x, 4)),
    "smallest": (lambda x: kn.topk(x, 2, axis=1, largest=False), lambda x: torch.topk(x, 2, 1, largest=False)),
    "median": (lambda x: kn.median(x[:, :3], axis=1), lambda x: torch.median(x[:, :3], 1)[0]),
    "unique": (kn.unique_values, torch.unique),
    "masked_fill": (lambda x: kn.masked_fill(x, x > 0, -2.0), lambda x: x.masked_fill(x > 0, -2.0)),
    "meshgrid": (lambda x: kn.meshgrid(x[0, 0], x[1, :, 0]),
                 lambda x: torch.meshgrid(x[0, 0], x[1, :, 0], indexing="xy")),
    "astype": (lambda x: x.astype(np.float32) * 2, lambda x: x.float() * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPED)
def test_shapes(name):
    for seed in range(5):
        compare(*SHAPED[name], *arrays(seed, (2, 4, 6)))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_joining(axis):
    for seed in SEEDS:
        parts = arrays(seed, *((n, 3) if axis == 0 else (3, n) for n in (2, 1, 4)))
        compare(lambda *xs: kn.concat(xs, axis=axis), lambda *xs: torch.cat(xs, axis), *parts)
        compare(lambda *xs: kn.stack(*xs, axis=axis), lambda *xs: torch.stack(xs, axis), *arrays(seed, *[(2, 3)] * 4))


# ---------------------------------------------------------------------------- index
INDICES: list[Any] = [
    1, -2, slice(1, None), slice(None, None, 2), ..., None, (slice(None), 2), (..., 1), (1, ..., 0),
    (None, 0, None, ...), ([2, 0, 2],), (slice(None), [1, 1, 1, 3]), ([0, 2], [1, -1]), ([[0], [2]], [1, 3, 1]),
    (..., [0, 0, 4]),
    (slice(1, 3), [0, 1], [2, 2]), ([0, 1, 1], slice(None), [2, 0, 0]), (1, [3, 0, 3], slice(0, 4, 3)),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_getitem(index):
    for seed in SEEDS:
        compare(lambda x: x[index], lambda x: x[index], *arrays(seed, (3, 4, 5)))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_picking_along_an_axis(axis):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, src = arrays(seed, (3, 4, 5), (3, 4, 5))
        n = x.shape[axis]
        few = rng.integers(0, n, 7)
        compare(lambda x, i: kn.take(x, i, axis=axis), lambda x, i: torch.index_select(x, axis, i), x, few)
        compare(kn.take, torch.take, x, rng.integers(0, x.size, (2, 6)))
        many = rng.integers(0, n, x.shape)
        compare(lambda x, i: kn.gather(x, i, axis=axis), lambda x, i: torch.gather(x, axis, i), x, many)
        compare(lambda x, i, s: kn.scatter_add(x, i, s, axis=axis), lambda x, i, s: torch.scatter_add(x, axis, i, s),
                x, many, src)  # fmt: skip
        rows = rng.integers(0, n, n)
        compare(lambda x, i, s: kn.index_add(x, i, s, axis=axis), lambda x, i, s: torch.index_add(x, axis, i, s),
                x, rows, src)  # fmt: skip


@pytest.mark.parametrize("padding_idx", [None, 3, -1])
def test_words(padding_idx):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        words, (w,) = rng.integers(0, 6, (4, 5)), arrays(seed, (6, 8))
        compare(lambda i, w: kn.embedding(i, w, padding_idx=padding_idx),
                lambda i, w: torch.nn.functional.embedding(i, w, padding_idx), words, w)  # fmt: skip
        compare(lambda i: kn.one_hot(i, 6, dtype=int), lambda i: torch.nn.functional.one_hot(i, 6), words)


def test_searchsorted():
    for seed in SEEDS:
        a, b = arrays(seed, (20,), (4, 5))
        for side in ("left", "right"):
            compare(kn.searchsorted, torch.searchsorted, np.sort(a).round(1), b.round(1), side=side)
