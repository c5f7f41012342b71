"""The native reductions beyond what the table of emulations says: accuracy, larger shapes, edges of memory."""

import os
from fractions import Fraction
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from kinone.kernels import settings
from kinone.kernels.reduction import reference
from kn1.arithmetic import laid_out, lane_sum, same_bits
from processes import in_a_process

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)


def test_the_emulation_of_the_lane_sum_is_what_the_profile_says():
    """Once more in plain loops, after the words of the rule."""
    rng = np.random.default_rng(0)
    for n in (0, 1, 7, 8, 9, 1023, 1024, 1025, 5000):
        t = rng.standard_normal(n)
        sums = []
        for block in range(max(1, -(-n // 1024))):
            s = [0.0] * 8
            for i, x in enumerate(t[1024 * block : 1024 * (block + 1)].tolist()):
                s[i % 8] += x
            sums.append(((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])))
        while len(sums) > 1:
            sums = [sum(sums[i : i + 2]) if i + 1 < len(sums) else sums[i] for i in range(0, len(sums), 2)]
        assert same_bits(lane_sum(t), np.float64(sums[0]))


@given(shape=hnp.array_shapes(max_dims=4, max_side=40), dtype=st.sampled_from([np.float32, np.float64]),
       seed=st.integers(0, 2**32 - 1), data=st.data())  # fmt: skip
def test_any_axes_as_the_reference(shape, dtype, seed, data):
    rng = np.random.default_rng(seed)
    x = laid_out(rng, rng.uniform(0.5, 1.5, shape).astype(dtype))
    axis = data.draw(st.none() | st.sets(st.integers(0, len(shape) - 1)).map(tuple))
    tolerance: Any = {"rtol": 1e-5 if dtype == np.float32 else 1e-12, "atol": 1e-7 if dtype == np.float32 else 1e-15}
    for name, more in (("sum", ()), ("mean", ()), ("logsumexp", ()), ("vector_norm", (2.0,)), ("vector_norm", (1.0,))):
        y = getattr(native, name)(x, axis, True, *more)
        np.testing.assert_allclose(y, getattr(reference, name)(x, axis, True, *more), **tolerance)
    for name in ("var", "std"):
        y = getattr(native, name)(x, axis, 0.0, False)
        np.testing.assert_allclose(y, getattr(reference, name)(x, axis, 0.0, False), **tolerance)
    last = len(shape) - 1
    np.testing.assert_allclose(native.cumulative_sum(x, last), reference.cumulative_sum(x, last), **tolerance)


def _exact_variance(x):
    x = [Fraction(float(each)) for each in x]
    mean = sum(x) / len(x)
    return float(sum((each - mean) ** 2 for each in x) / len(x))


@pytest.mark.parametrize(("name", "x"), [
    ("a spread of a few units in the last place", 1e4 + 2e-3 * np.arange(5000) % 3e-3),
    ("one number apart from equal ones", np.r_[np.full(3000, 7e5), 7e5 + 0.0625]),
    ("the first one far off", np.r_[1e6, np.random.default_rng(0).standard_normal(3000)]),
    ("large", np.random.default_rng(1).standard_normal(3000) * 1e19),
    ("equal", np.full(4000, 1 / 3)),
])  # fmt: skip
def test_one_pass_is_enough_for_a_variance(name, x):
    """The shift by the first number keeps what x² would swamp: all digits of float32, most of float64."""
    single = x.astype(np.float32)
    assert native.var(single, None, 0.0, False) == np.float32(_exact_variance(single)), name
    np.testing.assert_allclose(native.var(x, None, 0.0, False), _exact_variance(x), rtol=1e-11, err_msg=name)


def test_no_square_overflows_where_the_result_does_not():
    for dtype, size in ((np.float32, 1e38), (np.float32, 1e-44), (np.float64, 1e308), (np.float64, 1e-320)):
        x = np.array([3, -4, 0, 0], dtype) * dtype(size / 5)
        exact = x.astype(np.longdouble)
        assert native.vector_norm(x, None, False, 2.0) == np.sqrt(np.sum(exact * exact)).astype(dtype)
        expected = np.std(exact / np.longdouble(size)) * np.longdouble(size)
        np.testing.assert_allclose(native.std(x, None, 0.0, False), expected.astype(dtype), rtol=1e-15)


def test_what_is_not_for_us_is_the_references():
    assert native.sum(np.arange(3), None, False) is NotImplemented
    assert native.sum([1.0], None, False) is NotImplemented
    assert native.vector_norm(np.ones(3), None, False, 2.5) is NotImplemented
    assert native.cumulative_sum(np.ones(3, bool), 0) is NotImplemented
    with pytest.raises(kn.errors.AxisError):
        kn.sum(np.ones((2, 3), np.float32), axis=2)


def test_half_precision_is_computed_in_single():
    x = np.random.default_rng(3).standard_normal((40, 50)).astype(np.float16)
    for axis in (None, (0,), (1,)):
        y = native.sum(x, axis, False)
        assert same_bits(y, native.sum(x.astype(np.float32), axis, False).astype(np.float16))


def test_results_lie_as_the_operand_does():
    x = np.moveaxis(np.ones((4, 5, 6, 3), np.float32), -1, 1)
    assert native.sum(x, (0,), False).strides == native.sum(x, (0,), True)[0].strides == (4, 72, 12)


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
            x = at_the_edge(rng.integers(-9, 9, shape).astype(dtype), is_end)
            for y in (x, x.T, x[::-1], x[..., ::-1]):
                for axis in (None, (0,), (y.ndim - 1,)):
                    assert np.array_equal(kernels.sum(y, axis, False), np.sum(y, axis))
                    kernels.var(y, axis, 0.0, False), kernels.logsumexp(y, axis, False)
                assert np.array_equal(kernels.cumulative_sum(y, 0), np.cumsum(y, 0))
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr
