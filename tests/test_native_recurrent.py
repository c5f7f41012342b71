"""The native recurrent layers beside the emulation where sums have several chunks, and what no table says."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from digests import kernels
from kinone.kernels import settings
from kinone.kernels.recurrent import reference
from kn1 import recurrent as kn1
from kn1.arithmetic import laid_out, same_bits
from processes import in_a_process

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)


def arguments(rng, name, steps, n, size, *, dtype: Any = np.float32, has_lengths=False, is_reversed=False):
    lengths = rng.integers(1, steps + 1, n) if has_lengths else None
    draw = lambda shape: laid_out(rng, rng.uniform(-1, 1, shape).astype(dtype))  # noqa: E731
    return kn1.call_of(name, draw, steps, n, size, True, lengths, "tanh", is_reversed)


@pytest.mark.parametrize("name", kn1.KERNELS)
def test_sums_of_several_chunks_have_the_profiles_bits(name):
    args = arguments(np.random.default_rng(1), name, 2, 3, 390)
    assert same_bits(getattr(native, name)(*args), kn1.KERNELS[name](*args))


@given(name=st.sampled_from(sorted(kn1.KERNELS)), steps=st.integers(1, 6), n=st.integers(0, 40),
       size=st.integers(0, 70), dtype=st.sampled_from([np.float32, np.float64]), has_lengths=st.booleans(),
       is_reversed=st.booleans(), seed=st.integers(0, 2**32 - 1))  # fmt: skip
def test_any_shape_and_stride_as_the_reference(name, steps, n, size, dtype, has_lengths, is_reversed, seed):
    args = arguments(np.random.default_rng(seed), name, steps, n, size, dtype=dtype, has_lengths=has_lengths,
                     is_reversed=is_reversed)  # fmt: skip
    limit = {np.float32: 1e-3, np.float64: 1e-9}[dtype]
    for y, want in zip(getattr(native, name)(*args), getattr(reference, name)(*args), strict=True):
        assert y.shape == want.shape and y.dtype == dtype
        np.testing.assert_allclose(y, want, rtol=limit, atol=limit * max(1, np.abs(want).max(initial=0)))


def test_rows_do_not_depend_on_the_batch():
    rng = np.random.default_rng(3)
    p, h0, c0, w, b, *rest = arguments(rng, "lstm_forward", 4, 50, 40)
    whole = native.lstm_forward(p, h0, c0, w, b, *rest)
    for i in (0, 7, 49):
        alone = native.lstm_forward(p[:, i : i + 1], h0[i : i + 1], c0[i : i + 1], w, b, *rest)
        assert same_bits(alone[0], whole[0][:, i : i + 1]) and same_bits(alone[2], whole[2][i : i + 1])


def test_threads_of_python_share_what_threads_there_are():
    """Some calls find the pool busy, and do all shares of every step by themselves."""
    before = native.threads()
    try:
        kernels.set_threads(3)
        args = arguments(np.random.default_rng(4), "lstm_forward", 20, 20, 64)
        want = native.lstm_forward(*args)
        with ThreadPoolExecutor(4) as pool:
            assert all(same_bits(y, want) for y in pool.map(lambda _: native.lstm_forward(*args), range(40)))
    finally:
        kernels.set_threads(before)


def test_half_precision_is_computed_in_single():
    rng = np.random.default_rng(5)
    shapes = ((5, 2, 3), (2, 4), (12, 3), (12, 4), 12)
    x, h0, w_ih, w_hh, b = (rng.standard_normal(shape).astype(np.float16) for shape in shapes)
    half = kn.gru_gates(x, h0, w_ih, w_hh, b, b)
    single = kn.gru_gates(*(a.astype(np.float32) for a in (x, h0, w_ih, w_hh, b, b)))
    for y, want in zip(half, single, strict=True):
        assert same_bits(np.asarray(y), np.asarray(want).astype(np.float16))


def test_what_is_not_served_is_left_to_the_reference():
    rng = np.random.default_rng(6)
    p, h0, w, b, *rest = arguments(rng, "gru_forward", 3, 2, 4)
    for wrong in ((p[:, :1], h0, w, b), (p, h0.astype(np.float64), w, b), (p, h0, w[:, 1:], b), (p, h0, w, b[1:]),
                  (p, h0, w.astype(int), b), (None, h0, w, b)):  # fmt: skip
        assert native.gru_forward(*wrong, *rest) is NotImplemented
    assert native.gru_forward(p, h0, w, b, np.array([1, 2, 3]), False) is NotImplemented
    assert native.gru_forward(p, h0, w, b, np.array([1, 2], np.int32), False) is NotImplemented
    assert native.rnn_forward(p[..., :4], h0, w[:4], b[:4], None, "sin", False) is NotImplemented


def test_no_byte_outside_an_array_is_read():
    """Operands that begin or end where memory does: one byte too far ends the process."""
    code = """
import numpy as np
from kinone.kernels import settings
from kn1 import recurrent as kn1
from processes import at_the_edge
rng = np.random.default_rng(0)
for name in kn1.KERNELS:
    for dtype in (np.float32, np.float64):
        for steps, n, size in ((1, 1, 1), (2, 3, 17), (3, 9, 8), (2, 2, 33)):
            for is_end in (False, True):
                def draw(shape):
                    return at_the_edge(rng.standard_normal(shape).astype(dtype), is_end)
                lengths = at_the_edge(rng.integers(1, steps + 1, n), is_end)
                args = kn1.call_of(name, draw, steps, n, size, True, lengths, "tanh", is_end)
                assert getattr(settings.native, name)(*args) is not NotImplemented
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr
