"""The native pooling beside the emulation on larger images, and what no table says: layouts, edges, bad indices."""

import os
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from digests import kernels
from kinone.kernels import settings
from kinone.kernels.pooling import reference
from kn1 import pooling as kn1
from kn1.arithmetic import laid_out, same_bits
from processes import in_a_process

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)


def test_larger_images_have_the_profiles_bits():
    for label, name, args, _ in kn1.digest_calls():
        assert same_bits(getattr(native, name)(*args), kn1.KERNELS[name](*args)), (name, label)


@given(shape=hnp.array_shapes(min_dims=3, max_dims=5, min_side=0, max_side=20),
       dtype=st.sampled_from(["f2", "f4", "f8"]),
       k=st.integers(1, 3), s=st.integers(1, 3), d=st.integers(1, 2), p=st.integers(0, 1),
       seed=st.integers(0, 2**32 - 1))  # fmt: skip
def test_any_shape_as_the_reference(shape, dtype, k, s, d, p, seed):
    rng = np.random.default_rng(seed)
    axes = len(shape) - 2
    p = min(p, k // 2)
    out = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n in shape[2:])
    plain = tuple((n + 2 * p - k) // s + 1 for n in shape[2:])
    kernel, stride, padding, dilation = (k,) * axes, (s,) * axes, ((p, p),) * axes, (d,) * axes
    x = laid_out(rng, rng.integers(-9, 9, shape).astype(dtype))
    if min(out) > 0 and min(shape[2:]) > d * (k - 1):
        y, indices = kernels.max_pool_forward(x, kernel, stride, padding, dilation, out)
        expected = reference.max_pool_forward(x, kernel, stride, padding, dilation, out)
        assert same_bits((y, indices), expected)
        g = laid_out(rng, rng.integers(-9, 9, y.shape).astype(dtype))
        both = (f.max_pool_backward(g, indices, shape[2:]) for f in (kernels, reference))
        assert same_bits(*both)
    if min(plain) > 0:
        counts = rng.choice([1.0, 2.0, 4.0], plain)
        both = (f.avg_pool_forward(x, counts, kernel, stride, padding) for f in (kernels, reference))
        assert same_bits(*(y + 0 for y in both))
        g = laid_out(rng, rng.integers(-9, 9, (*shape[:2], *plain)).astype(dtype))
        both = (f.avg_pool_backward(g, counts, shape[2:], kernel, stride, padding) for f in (kernels, reference))
        assert same_bits(*(x + 0 for x in both))


def test_results_lie_as_what_they_are_computed_from():
    x = np.moveaxis(np.ones((2, 6, 6, 5), np.float32), -1, 1)
    y, indices = native.max_pool_forward(x, (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), (3, 3))
    g = native.max_pool_backward(y, indices, (6, 6))
    averages = native.avg_pool_forward(x, np.ones((3, 3)), (2, 2), (2, 2), ((0, 0), (0, 0)))
    spread = native.avg_pool_backward(averages, np.ones((3, 3)), (6, 6), (2, 2), (2, 2), ((0, 0), (0, 0)))
    for found in (y, indices, g, averages, spread):
        assert np.moveaxis(found, 1, -1).flags.c_contiguous


@pytest.mark.parametrize("index", [-1, 4, 2**62])
def test_no_gradient_is_written_outside(index):
    g, indices = np.ones((1, 1, 3), np.float32), np.array([[[0, 3, index]]])
    with pytest.raises(kn.errors.ShapeError, match=f"indices from 0 to 3, got {index}"):
        kernels.max_pool_backward(g, indices, (4,))


def test_what_is_not_floating_point_is_the_references():
    x = np.arange(4).reshape(1, 1, 4)
    assert native.avg_pool_forward(x, np.ones(2), (2,), (2,), ((0, 0),)) is NotImplemented
    assert native.max_pool_forward(x, (2,), (2,), ((0, 0),), (1,), (2,)) is NotImplemented
    assert native.max_pool_backward(x, x, (4,)) is NotImplemented


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs mmap and mprotect")
def test_no_byte_outside_an_array_is_read():
    code = """
import numpy as np
from kinone import kernels
from kinone.kernels.pooling import reference
from processes import at_the_edge

rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    for shape, k, s, p in [((1, 1, 1, 1), 1, 1, 0), ((1, 3, 5, 7), 2, 2, 0), ((2, 17, 9, 9), 3, 2, 1),
                           ((1, 40, 6, 7), 3, 1, 1), ((1, 70, 4, 4), 4, 1, 0), ((3, 33, 5, 5), 2, 3, 1)]:
        out = tuple((n + 2 * p - k) // s + 1 for n in shape[2:])
        given = (k, k), (s, s), ((p, p), (p, p))
        for is_end in (False, True):
            for is_last in (False, True):
                def edge(a):
                    if not is_last:
                        return at_the_edge(a, is_end)
                    return np.moveaxis(at_the_edge(np.moveaxis(a, 1, -1).copy(), is_end), -1, 1)
                x, g = (edge(rng.integers(-9, 9, (*shape[:2], *size)).astype(dtype)) for size in (shape[2:], out))
                counts = at_the_edge(np.full(out, 4.0), is_end)
                y, indices = kernels.max_pool_forward(x, *given, (1, 1), out)
                expected = reference.max_pool_forward(x, *given, (1, 1), out)
                assert np.array_equal(y, expected[0]) and np.array_equal(indices, expected[1])
                for name, args in (("max_pool_backward", (g, edge(indices), shape[2:])),
                                   ("avg_pool_forward", (x, counts, *given)),
                                   ("avg_pool_backward", (g, counts, shape[2:], *given))):
                    assert np.array_equal(getattr(kernels, name)(*args), getattr(reference, name)(*args))
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr
