"""Attention, native: the bits of its parts one after the other; chunks, groups, layouts, edges of memory."""

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from kinone.kernels import settings
from kinone.kernels.attention import reference
from kn1 import attention as kn1
from kn1.arithmetic import laid_out, same_bits
from processes import in_a_process

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)


def drawn(rng, *shapes, dtype: Any = np.float32):
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 3, 50, 70, 16, 24), (1, 1, 400, 900, 5, 3), (2, 1, 5, 3, 400, 2)])
def test_the_bits_of_matmul_softmax_and_matmul(shape, dtype):
    """Nothing is lost, and nothing gained, by never holding the scores at once."""
    b, h, n, s, d, e = shape
    rng = np.random.default_rng(0)
    q, k, v = drawn(rng, (b, h, n, d), (b, h, s, d), (b, h, s, e), dtype=dtype)
    g, mask = drawn(rng, (b, h, n, e), (n, s), dtype=dtype)
    scale = 0.3
    scores = native.matmul(q, k.swapaxes(-1, -2)) * dtype(scale) + mask
    p = native.softmax_forward(scores, -1)
    y, lse = native.attention_forward(q, k, v, mask, False, scale, 0.0, None)
    assert same_bits(y, native.matmul(p, v))
    np.testing.assert_allclose(lse, native.logsumexp(scores, (3,), False), rtol=1e-6)
    given = g, np.zeros_like(lse), q, k, v, mask, y, lse, False, scale, 0.0, None
    gq, gk, gv = native.attention_backward(*given)
    gs = native.attention_backward_mask(*given)
    assert same_bits(gv, native.matmul(p.swapaxes(-1, -2), g))
    assert same_bits(gq, native.matmul(gs, k) * dtype(scale))
    assert same_bits(gk, native.matmul(gs.swapaxes(-1, -2), q) * dtype(scale))


@pytest.mark.parametrize(("n", "s"), [(30, 30), (17, 60), (60, 17), (100, 100), (800, 20), (20, 800)])
def test_a_causal_mask_as_an_array_of_truths(n, s):
    """Pairs of groups that are left out add nothing."""
    rng = np.random.default_rng(1)
    q, k, v, g = drawn(rng, (2, n, 8), (2, s, 8), (2, s, 8), (2, n, 8))
    both = []
    for mask, is_causal in ((np.tri(n, s, dtype=bool), False), (None, True)):
        y, lse = native.attention_forward(q, k, v, mask, is_causal, 0.3, 0.0, None)
        both.append((y, lse, *native.attention_backward(g, lse, q, k, v, mask, y, lse, is_causal, 0.3, 0.0, None)))
    assert same_bits(both[0], both[1])


def test_a_key_that_nobody_may_see_spoils_only_its_own_group():
    q, k, v = drawn(np.random.default_rng(2), (40, 4), (40, 4), (40, 4))
    v[39] = np.nan
    y, _ = native.attention_forward(q, k, v, None, True, 0.5, 0.0, None)
    assert np.isfinite(y[:32]).all() and np.isnan(y[32:]).all()


@given(batch=st.sampled_from([(), (2,), (2, 3)]), n=st.integers(0, 70), s=st.integers(0, 70), d=st.integers(1, 40),
       e=st.integers(0, 40), dtype=st.sampled_from([np.float16, np.float32, np.float64]), is_causal=st.booleans(),
       masked=st.sampled_from(["", "truths", "numbers"]), seed=st.integers(0, 2**32 - 1))  # fmt: skip
def test_any_shape_as_the_reference(batch, n, s, d, e, dtype, is_causal, masked, seed):
    rng = np.random.default_rng(seed)
    shapes = ((*batch, n, d), (*batch[1:], s, d), (s, e), (*batch, n, e), (*batch, n))
    q, k, v, g, g_lse = (laid_out(rng, x) for x in drawn(rng, *shapes, dtype=dtype))
    mask = {"": None, "truths": rng.random((n, s)) < 0.7, "numbers": drawn(rng, (1, s), dtype=dtype)[0]}[masked]
    given = q, k, v, mask, is_causal, d**-0.5, 0.0, None
    tolerance: Any = {np.float16: 0.03, np.float32: 2e-4, np.float64: 1e-11}[dtype]
    y, lse = native.attention_forward(*given)
    for found, expected in zip((y, lse), reference.attention_forward(*given), strict=True):
        np.testing.assert_allclose(found, expected, tolerance, tolerance, strict=True)
    given = g, g_lse, *given[:4], y, lse, *given[4:]
    for found, expected in zip(native.attention_backward(*given), reference.attention_backward(*given), strict=True):
        np.testing.assert_allclose(found, expected, 5 * tolerance, 5 * tolerance, strict=True)
    expected = reference.attention_backward_mask(*given)
    np.testing.assert_allclose(native.attention_backward_mask(*given), expected, tolerance, tolerance, strict=True)


@pytest.mark.parametrize("is_causal", [False, True])
def test_chunks_of_queries_and_keys(is_causal):
    """Longer than a chunk of 384, with features that no vector divides: against the emulation."""
    rng = np.random.default_rng(3)
    args = kn1.arguments(rng, "attention_backward", np.float32, (), 450, 420, 5, 3, None, is_causal)
    assert same_bits(native.attention_backward(*args), kn1.KERNELS["attention_backward"](*args))
    args = args[2:6] + args[8:]
    assert same_bits(native.attention_forward(*args), kn1.KERNELS["attention_forward"](*args))


def test_heads_are_read_and_written_where_they_lie():
    """(B, L, H, d) in memory behind (B, H, L, d): y lies so too, and joining the heads again copies nothing."""
    rng = np.random.default_rng(4)
    together = drawn(rng, (2, 9, 3, 4, 8))[0]  # q, k and v of a layer that makes them at once
    q, k, v = (together[:, :, i].swapaxes(1, 2) for i in range(3))
    y, lse = native.attention_forward(q, k, v, None, False, 0.5, 0.0, None)
    assert y.swapaxes(1, 2).flags.c_contiguous
    apart = [x.copy() for x in (q, k, v)]
    assert same_bits((y, lse), native.attention_forward(*apart, None, False, 0.5, 0.0, None))
    for g in native.attention_backward(y, lse, q, k, v, None, y, lse, False, 0.5, 0.0, None):
        assert g.swapaxes(1, 2).flags.c_contiguous


def test_half_precision_is_computed_in_single():
    rng = np.random.default_rng(5)
    half = drawn(rng, (2, 9, 8), (2, 11, 8), (2, 11, 6), dtype=np.float16)
    expected = native.attention_forward(*(x.astype(np.float32) for x in half), None, True, 0.3, 0.0, None)
    found = native.attention_forward(*half, None, True, 0.3, 0.0, None)
    assert same_bits(found, tuple(x.astype(np.float16) for x in expected))


def test_what_is_not_for_us_is_the_references():
    q, other = np.ones((3, 4), np.float32), np.ones((3, 5), np.float32)
    for wrong in ((q, q.astype(np.float64), q, None), (q, other, q, None), (q, q, q[:2], None),
                  (q, q, q, np.ones((2, 2), bool)), (q, q, q, np.ones((3, 3), int)), (q[0], q, q, None)):  # fmt: skip
        assert native.attention_forward(*wrong, False, 1.0, 0.0, None) is NotImplemented
    with pytest.raises(kn.errors.ShapeError, match="k with 4 features"):
        kn.attention(q, other, q)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs mmap and mprotect")
def test_no_byte_outside_an_array_is_read():
    code = """
import numpy as np
from kinone import kernels
from processes import at_the_edge

rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    for n, s, d, e in ((1, 1, 1, 1), (5, 7, 3, 2), (17, 33, 9, 16), (50, 20, 33, 47), (3, 60, 16, 5)):
        for is_end in (False, True):
            def make(*shape):
                return at_the_edge(rng.standard_normal(shape).astype(dtype), is_end)
            q, k, v, g, g_lse, added = make(n, d), make(s, d), make(s, e), make(n, e), make(n), make(n, s)
            seen = at_the_edge(rng.random((n, s)) < 0.7, is_end)
            for a, b, c in ((q, k, v), (make(d, n).T, make(d, s).T, make(e, s).T), (q[::-1], k[:, ::-1], v[::-1])):
                for mask, is_causal in ((None, True), (added, False), (seen, True)):
                    y, lse = kernels.attention_forward(a, b, c, mask, is_causal, 0.5, 0.0, None)
                    y, lse = at_the_edge(y, is_end), at_the_edge(lse, is_end)
                    given = g, g_lse, a, b, c, mask, y, lse, is_causal, 0.5, 0.0, None
                    kernels.attention_backward(*given), kernels.attention_backward_mask(*given)
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr
