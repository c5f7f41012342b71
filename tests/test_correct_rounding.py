"""Native functions of float32 numbers are rounded correctly: near every midpoint, in a sample, and, slowly, everywhere.

On a machine without gmpy2 or a compiler the hard cases alone are asked.
"""

from typing import Any

import numpy as np
import pytest

from kinone.kernels import settings

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)
rounding: Any = pytest.importorskip("correct_rounding", reason="gmpy2 decides", exc_type=ImportError)

SAMPLE = 2**24 // len(rounding.FUNCTIONS)


@pytest.mark.parametrize("isa", [name for name, is_here in native.isas().items() if is_here])
@pytest.mark.parametrize("name", rounding.FUNCTIONS)
def test_where_a_midpoint_is_near(name, isa):
    """Also where the other numbers of a vector need a branch that is seldom taken."""
    x, right = rounding.hard_cases(name)
    beside = np.stack([x, np.resize(np.array([np.inf, 60, -95, np.nan, 1e-20], np.float32), x.size)], -1)
    native.set_isa(isa)
    try:
        y, y_beside = getattr(native, name)(x), getattr(native, name)(beside)[:, 0]
    finally:
        native.set_isa(settings.isa())
    assert x[~rounding.are_same(y, right)].tolist() == []
    assert x[~rounding.are_same(np.ascontiguousarray(y_beside), right)].tolist() == []


@pytest.mark.skipif(rounding.oracle() is None, reason="no compiler for the oracle")
@pytest.mark.parametrize("name", rounding.FUNCTIONS)
def test_in_each_binade_of_either_sign(name):
    rng = np.random.default_rng(5)
    x = np.repeat(np.arange(512, dtype=np.uint32) << 23, SAMPLE // 512)
    x |= rng.integers(0, 1 << 23, x.size, np.uint32)
    assert rounding.judged(name, x.view(np.float32), getattr(native, name)).wrong.tolist() == []


def test_every_input_was_asked_once_and_the_page_says_so():
    found = rounding.found()
    assert {name: one["blocks"] for name, one in found.items()} == dict.fromkeys(rounding.FUNCTIONS, rounding.BLOCKS)
    assert not [name for name, one in found.items() if one["wrong"]]
    assert rounding.PAGE.read_text(encoding="utf-8") == rounding.page()


@pytest.mark.slow
@pytest.mark.skipif(rounding.oracle() is None, reason="no compiler for the oracle")
@pytest.mark.parametrize("name", rounding.FUNCTIONS)
def test_everywhere(name):
    f = getattr(native, name)
    wrong = [x for block in range(rounding.BLOCKS) for x in rounding.judged(name, rounding.inputs(block), f).wrong]
    assert wrong == []
