"""Native scattering and resizing on larger arrays, and what they leave to the reference."""

import os
from typing import Any

import numpy as np
import pytest

import kinone as kn
from digests import FAMILIES, kernels
from kinone.kernels import settings
from kinone.kernels.index import reference
from kinone.kernels.resize import reference as resizing
from kinone.ops import resize
from kn1.arithmetic import laid_out, same_bits
from processes import in_a_process

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)


@pytest.mark.parametrize("family", ["index", "resize"])
def test_larger_arrays_have_the_profiles_bits(family):
    for label, name, args, _ in FAMILIES[family].digest_calls():
        assert same_bits(getattr(native, name)(*args), FAMILIES[family].KERNELS[name](*args)), (name, label)


INDICES: list[tuple[Any, bool]] = [
    (np.array([3, -1, 3]), True), ((np.array([[1, 1], [0, -2]]),), True), ((slice(None), np.array([4, 4])), True),
    ((Ellipsis, np.array([0, 1, 0])), True), ((np.array([0, 1]), np.array([[2], [3]])), True),
    ((np.array(2), Ellipsis), True), ((np.array([], int),), True), ((slice(None), np.array([1]), Ellipsis), True),
    ((np.array([1, 2]), slice(None), np.array([0, 0])), False), ((slice(1, 3), np.array([0, 0])), False),
    ((None, np.array([0, 0])), False), ((np.array([1, 1], np.int32),), False), (slice(1, 3), False), (2, False),
]  # fmt: skip


@pytest.mark.parametrize(("index", "is_native"), INDICES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_indices_of_every_form(index, is_native, dtype):
    shape, rng = (4, 5, 6), np.random.default_rng(0)
    x = laid_out(rng, rng.integers(-9, 9, np.zeros(shape)[index].shape).astype(dtype))
    assert (native.scatter_index(x, index, shape) is not NotImplemented) == is_native
    y = kernels.scatter_index(x, index, shape)
    assert y.dtype == dtype and same_bits(y + 0, reference.scatter_index(x, index, shape) + 0)


@pytest.mark.parametrize("index", [np.array([4]), np.array([-5]), (slice(None), np.array([0, 5]))])
def test_no_contribution_goes_outside(index):
    x = np.ones((1, 5, 6) if isinstance(index, np.ndarray) else (4, 2, 6), np.float32)
    assert native.scatter_index(x, index, (4, 5, 6)) is NotImplemented
    with pytest.raises(kn.errors.KinoneError, match="axis of length"):
        kn.scatter_index(x, index=index, shape=(4, 5, 6))


@pytest.mark.parametrize("mode", ["nearest", "linear", "bicubic", "area"])
@pytest.mark.parametrize(
    ("size", "out"), [((7,), (12,)), ((9, 17), (20, 5)), ((1, 40), (3, 40)), ((4, 5, 6), (7, 3, 9))]
)
def test_resizing_as_the_reference(mode, size, out):
    mode = ("linear", "bilinear", "trilinear")[len(size) - 1] if mode == "linear" else mode
    if mode == "bicubic" and len(size) != 2:
        pytest.skip("bicubic has two axes")
    rng = np.random.default_rng(1)
    lines = resize._lines("test", size, out, None, mode, False)
    for channels in (1, 3, 16, 21):
        x, g = (rng.standard_normal((2, channels, *lengths)) for lengths in (size, out))
        for _ in range(4):
            y = native.resize_forward(laid_out(rng, x), lines)
            np.testing.assert_allclose(y, resizing.resize_forward(x, lines), rtol=1e-12, atol=1e-12)
            back = native.resize_backward(laid_out(rng, g), lines, size)
            np.testing.assert_allclose(back, resizing.resize_backward(g, lines, size), rtol=1e-12, atol=1e-12)


def test_results_lie_as_x_does():
    x = np.moveaxis(np.ones((2, 6, 6, 5), np.float32), -1, 1)
    lines = resize._lines("test", (6, 6), (3, 9), None, "bilinear", False)
    y = native.resize_forward(x, lines)
    assert np.moveaxis(y, 1, -1).flags.c_contiguous
    assert np.moveaxis(native.resize_backward(y, lines, (6, 6)), 1, -1).flags.c_contiguous


def test_lines_that_reach_outside_are_left_to_the_reference():
    x, line = np.ones((1, 1, 3), np.float32), (np.array([[0], [3]]), None)
    assert native.resize_forward(x, [line]) is NotImplemented
    assert native.resize_backward(x, [line], (3,)) is NotImplemented
    assert native.resize_forward(x, [line, line]) is NotImplemented


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs mmap and mprotect")
def test_no_byte_outside_an_array_is_read():
    code = """
import numpy as np
from kinone import kernels
from kinone.kernels.index import reference
from kinone.kernels.random import reference as random
from kinone.kernels.resize import reference as resizing
from processes import at_the_edge

rng, key = np.random.default_rng(0), np.array([1, 2], np.uint32)
line = np.array([[0, 1], [1, 2], [3, 4]]), np.array([[0.5, 0.5], [1, 2], [0.25, 0.75]])
for dtype in (np.float32, np.float64):
    for is_end in (False, True):
        for n in (1, 3, 16, 17, 40):
            def edge(*shape):
                return at_the_edge(rng.integers(-9, 9, shape).astype(dtype), is_end)
            places, rows, images = at_the_edge(rng.integers(-5, 5, 7), is_end), edge(7, n), edge(1, 5, 5, n)
            for name, args, plain in (("scatter_index", (rows, (places,), (5, n)), reference),
                                      ("dropout", (rows, key, 3, 0.5), random),
                                      ("dropout", (images.transpose(0, 3, 1, 2), key, 3, 0.5), random),
                                      ("resize_forward", (images.transpose(0, 3, 1, 2), [line, line]), resizing),
                                      ("resize_forward", (edge(1, n, 5, 5), [line, line]), resizing),
                                      ("resize_backward", (edge(1, n, 3, 3), [line, line], (5, 5)), resizing)):
                assert np.array_equal(getattr(kernels, name)(*args), getattr(plain, name)(*args)), name
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr
