"""Linear algebra, normalizations, attention and losses beside PyTorch's: values and gradients."""

from typing import Any

import numpy as np
import pytest

import kinone as kn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")
from peers.compare import compare  # noqa: E402

F = torch.nn.functional
REDUCTIONS = ("mean", "sum", "none")


def normals(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def regular(seed: int, *shape: int) -> np.ndarray:
    """Well conditioned, so that 10⁻⁵ in float32 is a fair demand of an inverse."""
    return normals(seed, shape)[0] * 0.3 + 2 * np.eye(shape[-1])


def definite(seed: int, *shape: int) -> np.ndarray:
    a = normals(seed, shape)[0]
    return a @ a.swapaxes(-1, -2) / shape[-1] + np.eye(shape[-1])


# ---------------------------------------------------------------------------------- linear algebra
@pytest.mark.parametrize(
    ("a", "b"),
    [((5,), (5,)), ((4, 5), (5,)), ((5,), (5, 3)), ((4, 5), (5, 3)), ((2, 4, 5), (5, 3)), ((4, 5), (2, 5, 3)),
     ((2, 1, 4, 5), (3, 5, 2)), ((5,), (2, 5, 3)), ((2, 3, 4, 5), (5,)), ((70, 33), (33, 50)), ((0, 3), (3, 2)),
     ((2, 0), (0, 3))],
)  # fmt: skip
def test_matmul(a, b):
    compare(kn.matmul, torch.matmul, *normals(1, a, b))


@pytest.mark.parametrize(("shape", "has_bias"), [((6, 5), True), ((2, 3, 5), True), ((5,), True), ((6, 5), False)])
def test_linear(shape, has_bias):
    arrays = normals(2, shape, (4, 5), (4,))
    compare(kn.linear, F.linear, *(arrays if has_bias else arrays[:2]))


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [("ij,jk->ik", [(3, 4), (4, 5)]), ("ij,jk", [(3, 4), (4, 5)]), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
     ("bhid,bhjd->bhij", [(2, 2, 3, 4), (2, 2, 5, 4)]), ("ii->i", [(4, 4)]), ("ii", [(4, 4)]), ("ij->", [(3, 4)]),
     ("...ii->...i", [(2, 3, 3)]), ("iij->j", [(3, 3, 2)]), ("ij->ji", [(3, 4)]), ("ijk->kij", [(2, 3, 4)]),
     ("i,j->ij", [(3,), (4,)]), ("...ij,...jk->...ik", [(2, 1, 3, 4), (3, 4, 2)]), ("ij,k->k", [(2, 3), (4,)]),
     ("i...,i...->...", [(3, 2, 4), (3, 1, 4)]), ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
     ("bn,anm,bm->ba", [(2, 3), (4, 3, 5), (2, 5)]), ("iij,ikk->jk", [(3, 3, 2), (3, 4, 4)]),
     ("ij,ij->", [(3, 4), (3, 4)]), ("i,ij,j->", [(3,), (3, 4), (4,)])],
)  # fmt: skip
def test_einsum(subscripts, shapes):
    einsum: Any = kn.einsum  # whose subscripts may come first, which no signature can say
    compare(lambda *xs: einsum(subscripts, *xs), lambda *xs: torch.einsum(subscripts, *xs), *normals(3, *shapes))


@pytest.mark.parametrize("axes", [0, 1, 2, ((0, 2), (1, 0))])
def test_tensordot(axes):
    shapes = {2: ((2, 3, 4), (3, 4, 5)), 1: ((2, 4), (4, 3)), 0: ((2,), (3, 2))}.get(
        axes if isinstance(axes, int) else -1, ((4, 3, 5), (5, 4, 2))
    )
    compare(
        lambda a, b: kn.tensordot(a, b, axes=axes), lambda a, b: torch.tensordot(a, b, dims=axes), *normals(4, *shapes)
    )


TWINS: dict[str, tuple[Any, Any, Any]] = {
    "outer": (kn.outer, torch.outer, normals(5, (3,), (4,))),
    "vecdot": (kn.vecdot, torch.linalg.vecdot, normals(6, (2, 3, 4), (3, 4))),
    "dot": (kn.dot, torch.dot, normals(6, (4,), (4,))),
    "trace": (kn.trace, torch.trace, normals(7, (4, 4))),
    "inv": (kn.inv, torch.linalg.inv, [regular(8, 2, 4, 4)]),
    "solve": (kn.solve, torch.linalg.solve, [regular(9, 4, 4), *normals(9, (4, 3))]),
    "solve of a vector": (kn.solve, torch.linalg.solve, [regular(9, 5, 5), *normals(9, (5,))]),
    "solve of a batch": (kn.solve, torch.linalg.solve, [regular(9, 2, 3, 3), *normals(9, (2, 3, 2))]),
    "det": (kn.det, torch.linalg.det, [regular(10, 2, 4, 4)]),
    "slogdet": (lambda x: kn.slogdet(x)[1], lambda x: torch.linalg.slogdet(x)[1], [regular(11, 2, 4, 4)]),
    "cholesky": (kn.cholesky, torch.linalg.cholesky, [definite(12, 2, 4, 4)]),
}


@pytest.mark.parametrize("name", TWINS)
def test_linalg(name):
    ours, theirs, arrays = TWINS[name]
    compare(ours, theirs, *arrays)


# ---------------------------------------------------------------------------------- softmax and normalizations
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(("shape", "axis"), [((5,), 0), ((3, 7), -1), ((3, 7), 0), ((2, 3, 4), 1), ((0, 3), 1)])
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_softmax(name, shape, axis, scale):
    (x,) = normals(20, shape)
    compare(lambda x: getattr(kn, name)(x, axis=axis), lambda x: getattr(F, name)(x, dim=axis), x * scale)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 2)])
@pytest.mark.parametrize("eps", [1e-5, 1e-2])
@pytest.mark.parametrize("has_affine", [True, False])
def test_batch_norm(shape, eps, has_affine):
    arrays = [normals(21, shape)[0] * 2 + 1, *(normals(22, (3,), (3,)) if has_affine else [])]
    compare(
        lambda *a: kn.batch_norm(*a, eps=eps)[0],
        lambda x, *wb: F.batch_norm(x, None, None, *(wb or (None, None)), True, 0.1, eps),
        *arrays,
    )
    axes = (0, *range(2, len(shape)))
    compare(
        lambda x: kn.batch_norm(x)[1:], lambda x: (x.mean(axes), x.var(axes, correction=0)), arrays[0]
    )  # the statistics, and the gradients through them


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("has_residual", [True, False])
def test_batch_norm_and_what_follows(has_residual, activation):
    act = getattr(F, activation)
    x, w, b, *residual = normals(29, (4, 3, 5), (3,), (3,), *[(4, 3, 5)] * has_residual)
    compare(
        lambda *a: kn.batch_norm(*a, activation=activation)[0],
        lambda x, w, b, *r: act(F.batch_norm(x, None, None, w, b, True) + (r[0] if r else 0)),
        x, w, b, *residual,
    )  # fmt: skip
    mean, var = np.array([0.1, -0.2, 0.0]), np.array([0.5, 1.0, 3.0])
    compare(
        lambda x, *a: kn.batch_norm_inference(x, *(s.astype(x.dtype) for s in (mean, var)), *a, activation=activation),
        lambda x, w, b, *r: act(
            F.batch_norm(x, *(torch.from_numpy(s).to(x.dtype) for s in (mean, var)), w, b) + (r[0] if r else 0)
        ),
        x, w, b, *residual,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 4, 5)])
def test_batch_norm_inference(shape):
    x, mean, w, b = normals(23, shape, (3,), (3,), (3,))
    # PyTorch gives no gradient of the running statistics; ours is held against differences in test_operators.
    var = np.array([0.5, 1.0, 3.0])
    compare(
        kn.batch_norm_inference, lambda x, m, v, *wb: F.batch_norm(x, m.detach(), v.detach(), *wb), x, mean, var, w, b
    )


@pytest.mark.parametrize(("shape", "axis"), [((4, 6), -1), ((2, 3, 4), 1), ((2, 3, 4), 2), ((2, 3, 4, 5), 1)])
@pytest.mark.parametrize("has_affine", [True, False])
def test_layer_norm(shape, axis, has_affine):
    rest = shape[axis:]
    arrays = normals(24, shape, rest, rest) if has_affine else normals(24, shape)
    compare(lambda *a: kn.layer_norm(*a, axis=axis), lambda x, *wb: F.layer_norm(x, rest, *wb), *arrays)


@pytest.mark.parametrize(("shape", "axis"), [((4, 6), -1), ((2, 3, 4), 1)])
@pytest.mark.parametrize("has_weight", [True, False])
def test_rms_norm(shape, axis, has_weight):
    rest = shape[axis:]
    arrays = normals(25, shape, rest) if has_weight else normals(25, shape)
    compare(lambda *a: kn.rms_norm(*a, axis=axis, eps=1e-5), lambda x, *w: F.rms_norm(x, rest, *w, eps=1e-5), *arrays)


@pytest.mark.parametrize(("shape", "groups"), [((2, 6, 4), 3), ((2, 6, 3, 4), 2), ((3, 6, 2), 1), ((2, 6, 5), 6)])
@pytest.mark.parametrize("has_affine", [True, False])
def test_group_norm(shape, groups, has_affine):
    arrays = normals(26, shape, (6,), (6,)) if has_affine else normals(26, shape)
    compare(lambda *a: kn.group_norm(*a, num_groups=groups), lambda x, *wb: F.group_norm(x, groups, *wb), *arrays)


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 4)])
def test_instance_norm(shape):
    compare(kn.instance_norm, lambda x, w, b: F.instance_norm(x, None, None, w, b), *normals(27, shape, (3,), (3,)))


@pytest.mark.parametrize(("ord", "axis"), [(2, 1), (1, 1), (3, -1), (2, 0)])
def test_normalize(ord, axis):
    compare(
        lambda x: kn.normalize(x, ord=ord, axis=axis), lambda x: F.normalize(x, p=ord, dim=axis), *normals(28, (3, 4))
    )


@pytest.mark.parametrize("places", [(), (5,), (40, 30)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_squeeze_excitation(places, has_bias):
    shapes = [(2, 6, *places), (3, 6), (6, 3), *([(3,), (6,)] if has_bias else [])]

    def twin(x, w1, w2, b1=None, b2=None):
        m = x.mean(tuple(range(2, x.ndim))) if places else x
        s = torch.sigmoid(F.linear(F.silu(F.linear(m, w1, b1)), w2, b2))
        return x * s.reshape(*s.shape, *(1 for _ in places)), m, s

    compare(kn.squeeze_excitation, twin, *normals(29, *shapes))


# ---------------------------------------------------------------------------------- attention
@pytest.mark.parametrize(
    "shapes",
    [((5, 4), (5, 4), (5, 3)), ((2, 3, 6, 4), (2, 3, 6, 4), (2, 3, 6, 4)), ((2, 70, 8), (2, 90, 8), (2, 90, 8))],
)
@pytest.mark.parametrize("kind", ["plain", "causal", "bool", "additive"])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention(shapes, kind, scale):
    q, k, v = normals(30, *shapes)
    length, width = shapes[0][-2], shapes[1][-2]
    # No row without a key: what PyTorch's gradients are there depends on the version.
    some = (np.random.default_rng(0).random((length, width)) < 0.6) | (np.arange(width) == 0)
    mask = {"bool": some, "additive": normals(31, (length, width))[0]}.get(kind)
    compare(
        lambda q, k, v, *m: kn.scaled_dot_product_attention(q, k, v, *m, is_causal=kind == "causal", scale=scale),
        lambda q, k, v, *m: F.scaled_dot_product_attention(q, k, v, *m, is_causal=kind == "causal", scale=scale),
        *(q, k, v) if mask is None else (q, k, v, mask),
    )  # fmt: skip


# ---------------------------------------------------------------------------------- losses
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("has_weight", [True, False])
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (2, 4, 3, 2)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_cross_entropy_of_classes(reduction, smoothing, has_weight, shape, scale):
    rng = np.random.default_rng(40)
    (x,) = normals(41, shape)
    target = rng.integers(0, 4, (shape[0], *shape[2:]))
    target.flat[1] = -100
    weight = rng.random(4) + 0.2
    attrs: Any = {"label_smoothing": smoothing, "reduction": reduction}
    # PyTorch takes the weights for constants, so it has no gradient of them to compare with.
    compare(
        lambda x, t, *w: kn.cross_entropy(x, t, *(p.detach() for p in w), **attrs),
        lambda x, t, *w: F.cross_entropy(x, t, *(p.detach() for p in w), **attrs),
        *(x * scale, target, weight) if has_weight else (x * scale, target),
    )  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5)])
def test_cross_entropy_of_probabilities(reduction, smoothing, shape):
    rng = np.random.default_rng(42)
    target = rng.dirichlet(np.ones(4), (shape[0], *shape[2:]))
    target, weight = np.moveaxis(target, -1, 1), rng.random(4) + 0.2
    compare(
        lambda x, t, w: kn.cross_entropy(x, t, w.detach(), label_smoothing=smoothing, reduction=reduction),
        lambda x, t, w: F.cross_entropy(x, t, w.detach(), label_smoothing=smoothing, reduction=reduction),
        *normals(43, shape), target, weight,
    )  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ignore_index", [-100, 2])
def test_nll_loss(reduction, ignore_index):
    rng = np.random.default_rng(44)
    arrays = [*normals(45, (5, 4, 3)), rng.integers(0, 4, (5, 3)), rng.random(4) + 0.2]
    compare(
        lambda x, t, w: kn.nll_loss(x, t, w.detach(), ignore_index=ignore_index, reduction=reduction),
        lambda x, t, w: F.nll_loss(x, t, w.detach(), ignore_index=ignore_index, reduction=reduction),
        *arrays,
    )


def _probabilities(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) * 0.9 + 0.05


LOSSES: dict[str, tuple[Any, Any, list[np.ndarray]]] = {
    "binary_cross_entropy": (
        kn.binary_cross_entropy,
        lambda x, t, w, reduction: F.binary_cross_entropy(x, t, w.detach(), reduction=reduction),
        [_probabilities(50, 4, 3), _probabilities(51, 4, 3), _probabilities(52, 3)],
    ),
    "binary_cross_entropy_with_logits": (
        kn.binary_cross_entropy_with_logits,
        lambda x, t, w, p, **r: F.binary_cross_entropy_with_logits(x, t, w.detach(), pos_weight=p.detach(), **r),
        [*normals(53, (4, 3)), _probabilities(54, 4, 3), _probabilities(55, 3), _probabilities(56, 3)],
    ),
    "mse_loss": (kn.mse_loss, F.mse_loss, normals(57, (4, 3), (4, 3))),
    "l1_loss": (kn.l1_loss, F.l1_loss, normals(58, (4, 3), (4, 3))),
    "huber_loss": (
        lambda *a, reduction: kn.huber_loss(*a, delta=0.7, reduction=reduction),
        lambda *a, reduction: F.huber_loss(*a, delta=0.7, reduction=reduction),
        normals(59, (4, 3), (4, 3)),
    ),
    "smooth_l1_loss": (
        lambda *a, reduction: kn.smooth_l1_loss(*a, beta=0.7, reduction=reduction),
        lambda *a, reduction: F.smooth_l1_loss(*a, beta=0.7, reduction=reduction),
        normals(60, (4, 3), (4, 3)),
    ),
    "smooth_l1_loss at beta 0": (
        lambda *a, reduction: kn.smooth_l1_loss(*a, beta=0, reduction=reduction),
        lambda *a, reduction: F.smooth_l1_loss(*a, beta=0, reduction=reduction),
        normals(61, (4, 3), (4, 3)),
    ),
    "kl_div": (kn.kl_div, F.kl_div, [np.log(_probabilities(62, 4, 3)), _probabilities(63, 4, 3)]),
    "kl_div of logarithms": (
        lambda *a, reduction: kn.kl_div(*a, log_target=True, reduction=reduction),
        lambda *a, reduction: F.kl_div(*a, log_target=True, reduction=reduction),
        [np.log(_probabilities(64, 4, 3)), np.log(_probabilities(65, 4, 3))],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # kl_div, of a change to come
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_loss(name, reduction):
    ours, theirs, arrays = LOSSES[name]
    # .detach() on their side: what PyTorch takes for a constant has no gradient there.
    compare(lambda *a: ours(*a, reduction=reduction), lambda *a: theirs(*a, reduction=reduction), *arrays)


def test_kl_div_of_a_batch():
    x, t = np.log(_probabilities(66, 4, 3)), _probabilities(67, 4, 3)
    compare(
        lambda x, t: kn.kl_div(x, t, reduction="batchmean"), lambda x, t: F.kl_div(x, t, reduction="batchmean"), x, t
    )


@pytest.mark.parametrize("x", [1e4, -1e4, 10.0, 0.0])
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_binary_cross_entropy_with_logits_far_out(x, t):
    compare(kn.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits, np.full((2,), x), np.full((2,), t),
            dtypes=(np.float64,))  # fmt: skip


def test_binary_cross_entropy_at_the_ends():
    x, t = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    theirs = F.binary_cross_entropy(torch.tensor(x), torch.tensor(t), reduction="none").numpy()
    np.testing.assert_array_equal(kn.binary_cross_entropy(x, t, reduction="none"), theirs)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("zero_infinity", [True, False])
def test_ctc_loss(reduction, seed, zero_infinity):
    rng = np.random.default_rng(70 + seed)
    steps, n, classes, longest = 9, 4, 5, 4
    targets = rng.integers(1, classes, (n, longest))
    lengths = rng.integers(0, longest + 1, n)
    inputs = rng.integers(2 * longest, steps + 1, n)
    if zero_infinity:  # without it PyTorch's gradient of what cannot be aligned is NaN; ours is 0
        targets[0], lengths[0], inputs[0] = 1, longest, 2
    given = (targets, inputs, lengths)
    attrs: Any = {"reduction": reduction, "zero_infinity": zero_infinity}
    # After log_softmax, because PyTorch's gradient of the loss alone presumes it.
    compare(
        lambda x: kn.ctc_loss(kn.log_softmax(x), *given, **attrs),
        lambda x: F.ctc_loss(F.log_softmax(x, -1), *map(torch.tensor, given), **attrs),
        *normals(80 + seed, (steps, n, classes)),
    )
