"""Native random numbers: the reference's, which are the profile's, at the edges of draws and of what is asked for."""

from typing import Any

import numpy as np
import pytest

import kinone as kn
from digests import kernels
from kinone.kernels import settings
from kinone.kernels.random import reference
from kn1 import random as kn1
from kn1.arithmetic import same_bits

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)

KEY = np.array([1, 2], np.uint32)


def test_longer_draws_have_the_profiles_bits():
    for label, name, args, _ in kn1.digest_calls():
        assert same_bits(getattr(native, name)(*args), kn1.KERNELS[name](*args)), (name, label)


@pytest.mark.parametrize("key", [(1, 2), (2**32 - 1, 2**32 - 1)])
@pytest.mark.parametrize("step", [0, 2**64 - 1])
@pytest.mark.parametrize("start", [0, 1, 2**32 - 9, 2**33 - 9, 2**64 - 50])
def test_any_place_in_the_stream(key, step, start):
    key = np.array(key, np.uint32)
    for count in (0, 1, 2, 15, 16, 17, 50):
        for name, more in (("uniform", (np.float32,)), ("normal", (np.float64,)), ("bernoulli", (0.5,)),
                           ("integers", (-5, 6))):  # fmt: skip
            given = (key, step, start, count, *more)
            assert same_bits(getattr(native, name)(*given), getattr(reference, name)(*given))


def test_the_far_tail_of_the_normal_distribution():
    """One element in 4·10¹⁰ is made by the last of Wichura's three ratios; these are beside and at such a one."""
    given = (KEY, 0, 6_208_212_235, 20, np.float64)
    assert reference.normal(*given).min() < -6.6
    assert same_bits(native.normal(*given), reference.normal(*given))


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0**-53, 2.0**-52, 1.5 * 2.0**-52, 0.1, 1 - 2.0**-53])
def test_probabilities_to_the_last_bit(p):
    assert same_bits(native.bernoulli(KEY, 0, 0, 5000, p), reference.bernoulli(KEY, 0, 0, 5000, p))


def test_integers_of_every_range():
    for low, high in ((0, 1), (-(2**63), -(2**63) + 2**32), (2**63 - 7, 2**63 - 1), (0, 2**32), (5, 2**31)):
        assert same_bits(native.integers(KEY, 9, 3, 300, low, high), reference.integers(KEY, 9, 3, 300, low, high))


@pytest.mark.parametrize(
    "shape", [(), (0,), (3, 0, 2), (1,), (33, 1001), (2, 3, 4, 5), (2, 17, 5, 3), (1, 40, 3, 3, 3)]
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dropout_does_not_depend_on_the_layout(shape, dtype):
    x = np.random.default_rng(0).integers(-9, 9, shape).astype(dtype)
    y = kernels.dropout(x, KEY, 4, 0.5)
    assert same_bits(y + 0, reference.dropout(x, KEY, 4, 0.5) + 0) and y.dtype == dtype
    if len(shape) > 2:
        last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
        z = kernels.dropout(last, KEY, 4, 0.5)
        assert same_bits(y, z) and z.strides == last.strides
    assert same_bits(y, kernels.dropout(x.copy(order="F"), KEY, 4, 0.5))


def test_what_is_refused_is_left_to_the_reference():
    for name, given in (("uniform", (np.float32, 1.0, 1.0)), ("uniform", (np.int32,)), ("normal", ("no dtype",)),
                        ("normal", (np.float32, 0.0, -1.0)), ("bernoulli", (1.5,)), ("integers", (3, 3)),
                        ("integers", (0, 2**40)), ("uniform", (None,))):  # fmt: skip
        assert getattr(native, name)(KEY, 0, 0, 5, *given) is NotImplemented
        with pytest.raises(kn.errors.KinoneError):
            getattr(kernels, name)(KEY, 0, 0, 5, *given)
