"""The scores of all queries and keys never exist at once, forward or backward; and rows that see nothing."""

import tracemalloc

import numpy as np
import pytest

import kinone as kn
from kinone.kernels.attention import reference
from kinone.random import Stream


def draw(*shape: int) -> np.ndarray:
    return Stream("attention test").normal(shape, dtype=np.float32, step=len(shape))


def peak(f) -> int:
    tracemalloc.start()
    try:
        f()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("attrs", [{}, {"is_causal": True}, {"dropout_p": 0.1, "key": (0, "attention", 0)}])
def test_no_score_matrix_is_kept_or_made(attrs):
    length, d = 2048, 32
    q, k, v = (kn.Tensor(draw(length, d), requires_grad=True) for _ in range(3))

    def both():
        kn.scaled_dot_product_attention(q, k, v, **attrs).sum().backward()

    both()  # what is imported or cached at first use is not attention's
    assert peak(both) < length * length * 4 / 3, "a third of one L×L matrix in float32"


def test_blocks_do_not_show(monkeypatch):
    """One block or many: the same numbers, noise included."""
    q, k, v = (draw(2, 3, 7, 4).astype(np.float64) for _ in range(3))
    mask = draw(3, 7, 7) > -0.5

    def run():
        xs = [kn.Tensor(x, requires_grad=True) for x in (q, k, v)]
        y = kn.scaled_dot_product_attention(*xs, mask=mask, is_causal=True, dropout_p=0.3, key=(1, "attention", 2))
        return [y.numpy(), *(g.numpy() for g in kn.gradients((y * y).sum(), xs))]

    whole = run()
    for block in (1, 20, 100):
        monkeypatch.setattr(reference, "BLOCK", block)
        for a, b in zip(run(), whole, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_query_that_sees_no_key_gives_zero_and_no_nan():
    mask = np.array([[True, False, True], [False, False, False]])
    xs = [kn.Tensor(draw(n, 2).astype(np.float64), requires_grad=True) for n in (2, 3, 3)]
    y = kn.scaled_dot_product_attention(*xs, mask=mask)
    assert (y.numpy()[1] == 0).all()
    gq, gk, gv = kn.gradients(y.sum(), xs)
    assert (gq.numpy()[1] == 0).all()
    assert all(np.isfinite(g.numpy()).all() for g in (gq, gk, gv))
    kn.gradcheck(lambda q, k, v: kn.scaled_dot_product_attention(q, k, v, mask), *xs)
    kn.gradgradcheck(lambda q, k, v: kn.scaled_dot_product_attention(q, k, v, mask), *xs)


def test_far_scores_stay_finite():
    q, k, v = draw(4, 8) * 1e4, draw(5, 8) * 1e4, draw(5, 3)
    xs = [kn.Tensor(x, requires_grad=True) for x in (q, k, v)]
    y = kn.scaled_dot_product_attention(*xs)
    assert np.isfinite(y.numpy()).all()
    assert all(np.isfinite(g.numpy()).all() for g in kn.gradients(y.sum(), xs))


def test_dropout_moves_its_stream_by_one_step():
    kn.random.seed(3)
    q, k, v = draw(2, 4), draw(3, 4), draw(3, 4)
    first = kn.scaled_dot_product_attention(q, k, v, dropout_p=0.5)
    np.testing.assert_array_equal(first, kn.attention(q, k, v, dropout_p=0.5, key=(3, "dropout", 0))[0])
    assert kn.random.stream("dropout").step == 1
