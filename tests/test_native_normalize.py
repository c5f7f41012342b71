"""The native normalizations beyond what the table of emulations says: accuracy, larger shapes, edges of memory."""

import os
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from kinone.kernels import settings
from kinone.kernels.normalize import reference
from kn1.arithmetic import laid_out, same_bits
from processes import in_a_process

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)


def _close(found, expected, dtype, scale=1.0):
    rtol = 2e-4 if dtype == np.float32 else 1e-11
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale)


@given(shape=hnp.array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=24), channel=st.integers(0, 3),
       dtype=st.sampled_from([np.float32, np.float64]), seed=st.integers(0, 2**32 - 1),
       has_weights=st.booleans(), has_residual=st.booleans(),
       activation=st.sampled_from(["none", "relu", "silu"]))  # fmt: skip
def test_batch_norm_as_the_reference(shape, channel, dtype, seed, has_weights, has_residual, activation):
    rng = np.random.default_rng(seed)
    channel %= len(shape)
    axes = tuple(a for a in range(len(shape)) if a != channel)
    statistics = tuple(n if a == channel else 1 for a, n in enumerate(shape))
    some = lambda shape: laid_out(rng, rng.standard_normal(shape).astype(dtype))  # noqa: E731
    x, g, residual = some(shape), some(shape), some(shape) if has_residual else None
    w, b = (some(statistics) for _ in range(2)) if has_weights else (None, None)
    call = (x, w, b, axes, 1e-3, True, residual, activation)
    y, mean, var = reference.norm_forward(*call)
    _close(native.norm_forward(*call), (y, mean, var), dtype)
    made, is_silu = y if activation == "relu" else None, activation == "silu"
    again: Any = (mean, var, residual) if is_silu else ()
    call = (g, x, w, b, axes, 1e-3, True, some(statistics), some(statistics), made, has_residual, *again)
    _close(native.norm_backward(*call), reference.norm_backward(*call), dtype, x.size)
    call = (x, mean, var, w, b, 1e-3, residual, activation)
    expected = reference.batch_norm_inference_forward(*call)
    _close([native.batch_norm_inference_forward(*call)], [expected], dtype)
    again = (b, residual, activation) if is_silu else ()
    call = (g, x, mean, var, w, axes, 1e-3, expected if activation == "relu" else None, has_residual, *again)
    _close(native.batch_norm_inference_backward(*call), reference.batch_norm_inference_backward(*call), dtype, x.size)


@given(shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=24), dtype=st.sampled_from([np.float32, np.float64]),
       seed=st.integers(0, 2**32 - 1), is_centred=st.booleans(), data=st.data())  # fmt: skip
def test_layer_norm_as_the_reference(shape, dtype, seed, is_centred, data):
    rng = np.random.default_rng(seed)
    axis = data.draw(st.integers(0, len(shape) - 1))
    axes = tuple(range(axis, len(shape)))
    x, g = (laid_out(rng, rng.standard_normal(shape).astype(dtype)) for _ in range(2))
    w, b = (laid_out(rng, rng.standard_normal(shape[axis:]).astype(dtype)) for _ in range(2))
    call = (x, w, b, axes, 0.1, is_centred)
    _close(native.norm_forward(*call), reference.norm_forward(*call), dtype)
    call = (g, x, w, b, axes, 0.1, is_centred)
    _close(native.norm_backward(*call), reference.norm_backward(*call), dtype, x.size)


def test_a_spread_that_is_small_beside_the_mean_keeps_its_digits():
    """float32 at 10⁴ has steps of 10⁻³: what is normalized is a few of them."""
    rng = np.random.default_rng(0)
    x = (1e4 + rng.standard_normal((64, 8, 5, 5)) * 1e-2).astype(np.float32)
    exact = x.astype(np.float64)
    expected = (exact - exact.mean((0, 2, 3), keepdims=True)) / np.sqrt(exact.var((0, 2, 3), keepdims=True) + 1e-12)
    for lies in (x, np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)):
        y, _, var = native.norm_forward(lies, None, None, (0, 2, 3), 1e-12)
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(var, exact.var((0, 2, 3), keepdims=True), rtol=1e-7)


def test_large_numbers_are_normalized_too():
    """Their squares are beyond float32."""
    x = np.random.default_rng(1).standard_normal((4, 3, 5)).astype(np.float32)
    huge = x * np.float32(2.0**100)
    y, mean, var = native.norm_forward(huge, None, None, (0, 2), 1e-5)
    np.testing.assert_allclose(y, native.norm_forward(x, None, None, (0, 2), 1e-30)[0], rtol=1e-6)
    assert np.isfinite(mean).all() and np.isinf(var).all()
    np.testing.assert_allclose(native.norm_forward(huge, None, None, (2,), 1e-5, False)[0].std(), 1, atol=0.1)


def test_equal_numbers_have_no_variance():
    x = np.full((5, 2, 700), 1 / 3, np.float32)
    y, mean, var = native.norm_forward(x, None, None, (0, 2), 1e-5)
    assert not y.any() and not var.any() and (mean == x[0, 0, 0]).all()


def test_half_precision_is_computed_in_single():
    rng = np.random.default_rng(3)
    x, g, w = (rng.standard_normal(shape).astype(np.float16) for shape in ((6, 40), (6, 40), (40,)))
    wide = [a.astype(np.float32) for a in (g, x, w)]
    y = native.norm_forward(x, w, w, (1,), 1e-5)
    assert same_bits(y, [a.astype(np.float16) for a in native.norm_forward(*wide[1:], wide[2], (1,), 1e-5)])
    found = native.norm_backward(g, x, w, w, (1,), 1e-5)
    assert same_bits(found[:3], [a.astype(np.float16) for a in native.norm_backward(*wide, wide[2], (1,), 1e-5)[:3]])


def test_results_lie_as_x_does():
    x = np.moveaxis(np.random.default_rng(4).standard_normal((4, 5, 6, 3)).astype(np.float32), -1, 1)
    assert native.norm_forward(x, None, None, (0, 2, 3), 1e-5)[0].strides == x.strides
    gx, _, _, g_residual = native.norm_backward(x.copy(), x, None, None, (0, 2, 3), 1e-5, True, 0.0, 0.0, x, True)
    assert gx.strides == g_residual.strides == x.strides


def test_what_is_not_for_us_is_the_references():
    x = np.ones((2, 3), np.float32)
    assert native.norm_forward(np.ones((2, 3), int), None, None, (0,), 1e-5) is NotImplemented
    assert native.norm_forward(x, x.astype(np.float64), None, (0,), 1e-5) is NotImplemented
    assert native.norm_forward(x, None, None, (0,), 1e-5, True, None, "tanh") is NotImplemented
    assert native.norm_backward(x, x, x[0], x[0], (1,), 1e-5, True, 0.0, 0.0, x) is NotImplemented
    with pytest.raises(kn.errors.ShapeError, match="residual of shape"):
        kn.batch_norm(x, None, None, x[:1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs mmap and mprotect")
def test_no_byte_outside_an_array_is_read():
    code = """
import numpy as np
from kinone import kernels
from kinone.kernels.normalize import reference
from processes import at_the_edge

rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    for shape, axes, weights in (((3, 5), (1,), (5,)), ((1030, 9), (1,), (9,)), ((5, 17), (0,), (1, 17)),
                                 ((2, 3, 7), (0, 2), (1, 3, 1)), ((2, 7, 33), (0, 1), (1, 1, 33))):
        for is_end in (False, True):
            some = lambda shape: at_the_edge(rng.standard_normal(shape).astype(dtype), is_end)
            x, g, y, w, b = some(shape), some(shape), some(shape), some(weights), some(weights)
            calls = [(kernels.norm_forward, reference.norm_forward, (x, w, b, axes, 0.1)),
                     (kernels.norm_backward, reference.norm_backward, (g, x, w, b, axes, 0.1))]
            if axes != (1,):
                calls += [(kernels.norm_forward, reference.norm_forward, (x, w, b, axes, 0.1, True, y, "relu")),
                          (kernels.norm_backward, reference.norm_backward,
                           (g, x, w, b, axes, 0.1, True, 0.0, 0.0, y, True)),
                          (kernels.norm_backward, reference.norm_backward,
                           (g, x, w, b, axes, 0.1, True, 0.0, 0.0, None, True, b, w * w, y))]
            for native, plain, call in calls:
                for a, b_ in zip(native(*call), plain(*call)):
                    assert a is None or np.allclose(a, b_, rtol=1e-3, atol=1e-3 * len(x))
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr
