"""Softmax and the losses, native: accuracy, shapes, what is refused, edges of memory."""

import os
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from digests import kernels
from kinone.errors import AxisError
from kinone.kernels import settings
from kinone.kernels.loss import reference as losses
from kinone.kernels.normalize import reference
from kinone.ops import ctc
from kn1 import softmax as kn1
from kn1.arithmetic import laid_out, same_bits
from kn1.loss import softmax_nll_forward
from processes import in_a_process

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)


def test_the_exponential_is_within_nine_tenths_of_the_last_place():
    """At a sample of all float32 from −87 to 0; all of them were tried when it was made."""
    x = np.arange(0x80000000, 0xC2AE0000, 4801).astype(np.uint32).view(np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.max(np.abs(kn1.decay(x) - exact) / np.ldexp(1.0, np.frexp(exact)[1] - 24)) < 0.9


@given(shape=hnp.array_shapes(max_dims=4, max_side=40), dtype=st.sampled_from(["f2", "f4", "f8"]),
       seed=st.integers(0, 2**32 - 1), data=st.data())  # fmt: skip
def test_any_axis_as_the_reference(shape, dtype, seed, data):
    rng = np.random.default_rng(seed)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x, g = (laid_out(rng, rng.standard_normal(shape).astype(dtype)) for _ in range(2))
    tolerance: Any = {"f2": (2e-3, 1e-2), "f4": (2e-6, 2e-5), "f8": (1e-14, 1e-13)}[dtype]
    for name in ("softmax", "log_softmax"):
        y = getattr(native, f"{name}_forward")(x, axis)
        np.testing.assert_allclose(y, getattr(reference, f"{name}_forward")(x, axis), *tolerance)
        gx = getattr(native, f"{name}_backward")(g, y, axis)
        assert y.dtype == gx.dtype == dtype
        np.testing.assert_allclose(gx, getattr(reference, f"{name}_backward")(g, y, axis), *tolerance, strict=True)
    rest = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    target, g = rng.integers(0, shape[axis], rest), laid_out(rng, rng.standard_normal(rest).astype(dtype))
    expected = losses.softmax_nll_forward(x, target, axis)
    np.testing.assert_allclose(native.softmax_nll_forward(x, target, axis), expected, *tolerance, strict=True)
    expected = losses.softmax_nll_backward(g, x, target, axis % len(shape))
    np.testing.assert_allclose(native.softmax_nll_backward(g, x, target, axis), expected, *tolerance, strict=True)


@pytest.mark.parametrize(("shape", "axis"), [((2, 100_000), 1), ((3, 1025, 7), 1), ((1, 2049), -1), ((40, 33, 33), 0)])
def test_long_rows_and_short_ones(shape, axis):
    rng = np.random.default_rng(5)
    x, g = (rng.standard_normal(shape).astype(np.float32) * 5 for _ in range(2))
    for name in ("softmax", "log_softmax"):
        y = getattr(native, f"{name}_forward")(x, axis)
        assert same_bits(y, kn1.KERNELS[f"{name}_forward"](x, axis))
        assert same_bits(getattr(native, f"{name}_backward")(g, y, axis), kn1.KERNELS[f"{name}_backward"](g, y, axis))


def test_a_loss_is_the_logarithm_of_its_share():
    """−softmax_nll has the bits of log_softmax at the target, and its gradient those of softmax beside it."""
    rng = np.random.default_rng(6)
    x, target = rng.standard_normal((50, 30)).astype(np.float32) * 4, rng.integers(0, 30, 50)
    logs, rows = native.log_softmax_forward(x, 1), np.arange(50)
    assert same_bits(-native.softmax_nll_forward(x, target, 1), logs[rows, target])
    gradient = native.softmax_forward(x, 1)
    gradient[rows, target] -= 1
    assert same_bits(native.softmax_nll_backward(np.ones(50, np.float32), x, target, 1), gradient)


def test_sums_of_shares_are_one():
    x = np.random.default_rng(7).standard_normal((20, 1000)).astype(np.float32) * 8
    np.testing.assert_allclose(native.softmax_forward(x, 1).sum(1, dtype=np.float64), 1, rtol=2e-7)
    assert same_bits(native.softmax_forward(np.zeros((1, 8), np.float32), 1), np.full((1, 8), 0.125, np.float32))


def test_far_inputs_and_what_is_no_number():
    far = np.array([[1e4, -1e4, 0], [np.inf, 0, 0], [0, np.nan, 0], [-np.inf] * 3, [-np.inf, 3, -np.inf]], np.float32)
    y = native.softmax_forward(far, 1)
    assert np.array_equal(y[[0, 4]], [[1, 0, 0], [0, 1, 0]])
    assert same_bits(y[1:4], np.full((3, 3), np.nan, np.float32))
    assert np.array_equal(native.log_softmax_forward(far, 1)[[0, 4]], [[0, -2e4, -1e4], [-np.inf, 0, -np.inf]])


def test_what_is_not_for_us_is_the_references():
    x, target = np.ones((2, 3), np.float32), np.array([0, 1])
    assert native.softmax_forward(np.ones((2, 3), int), 1) is NotImplemented
    assert native.softmax_forward(x, 2) is NotImplemented
    assert native.softmax_backward(x, x.astype(np.float64), 1) is NotImplemented
    assert native.softmax_nll_forward(x, target.astype(float), 1) is NotImplemented
    for wrong in (3, -1):
        assert native.softmax_nll_forward(x, np.array([0, wrong]), 1) is NotImplemented
        with pytest.raises(AxisError, match=f"classes from 0 to 2, got {wrong}"):
            kn.softmax_nll(x, np.array([0, wrong]))
    assert native.softmax_nll_forward(x, target[:1], 1) is NotImplemented
    assert same_bits(native.softmax_nll_forward(x, target.astype(np.uint8), 1), softmax_nll_forward(x, target, 1))


def test_indices_that_lead_out_of_memory_are_the_references():
    x = np.zeros((4, 2, 3), np.float32)
    labels, skips = np.zeros((2, 3), int), np.zeros((2, 3), bool)
    assert native.ctc_forward(x, labels, skips, skips, np.array([4, 1])).shape == (2,)
    for lengths in ([5, 1], [4, 0]):
        assert native.ctc_forward(x, labels, skips, skips, np.array(lengths)) is NotImplemented
    for label in (3, -1):
        wrong = np.where([[True, False, False]], label, labels)
        assert native.ctc_forward(x, wrong, skips, skips, np.array([4, 1])) is NotImplemented


def test_long_sequences_as_the_reference():
    rng = np.random.default_rng(9)
    x: Any = kn.log_softmax(rng.standard_normal((120, 5, 20)))
    targets, lengths = rng.integers(1, 20, (5, 30)), np.array([120, 80, 100, 61, 120])
    arguments = x, *ctc._states(targets, np.array([30, 12, 0, 30, 7]), 0), lengths
    np.testing.assert_allclose(native.ctc_forward(*arguments), losses.ctc_forward(*arguments), rtol=1e-13)
    g = rng.standard_normal(5)
    expected = losses.ctc_backward(g, *arguments)
    np.testing.assert_allclose(native.ctc_backward(g, *arguments), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,), (2, 0, 3)])
def test_of_nothing(shape):
    x = np.zeros(shape, np.float32)
    for axis in range(len(shape)):
        for name in ("softmax", "log_softmax"):
            assert getattr(kernels, f"{name}_forward")(x, axis).shape == shape
            assert getattr(kernels, f"{name}_backward")(x, x, axis).shape == shape
    assert kernels.sigmoid_nll_forward(x, x, 1.0).shape == shape


def test_results_lie_as_the_operand_does():
    x = np.moveaxis(np.ones((4, 5, 6, 3), np.float32), -1, 1)
    y = native.softmax_forward(x, 1)
    assert y.strides == native.softmax_backward(x, y, 1).strides == x.strides


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs mmap and mprotect")
def test_no_byte_outside_an_array_is_read():
    code = """
import numpy as np
from kinone import kernels
from processes import at_the_edge

rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    for shape in ((1,), (7,), (33,), (1030,), (3, 5), (9, 17), (1, 20), (30, 9), (1100, 11), (3, 9, 5)):
        for is_end in (False, True):
            x = at_the_edge(rng.standard_normal(shape).astype(dtype), is_end)
            for y in (x, x.T, x[::-1], x[..., ::-1]):
                for axis in range(y.ndim):
                    kernels.softmax_backward(y, kernels.softmax_forward(y, axis), axis)
                    kernels.log_softmax_backward(y, kernels.log_softmax_forward(y, axis), axis)
                    rest = [n for i, n in enumerate(y.shape) if i != axis]
                    target = at_the_edge(rng.integers(0, y.shape[axis], rest), is_end)
                    g = at_the_edge(rng.standard_normal(rest).astype(dtype), is_end)
                    kernels.softmax_nll_forward(y, target, axis), kernels.softmax_nll_backward(g, y, target, axis)
for steps, n, classes, states in ((1, 1, 1, 1), (3, 2, 4, 5), (9, 3, 2, 17), (20, 1, 33, 8)):
    for is_end in (False, True):
        x = at_the_edge(rng.standard_normal((steps, n, classes)), is_end)
        labels = at_the_edge(rng.integers(0, classes, (n, states)), is_end)
        skips = at_the_edge(rng.random((n, states)) < 0.5, is_end)
        lengths, g = at_the_edge(rng.integers(1, steps + 1, n), is_end), at_the_edge(np.ones(n), is_end)
        kernels.ctc_forward(x, labels, skips, skips, lengths), kernels.ctc_backward(g, x, labels, skips, skips, lengths)
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr
