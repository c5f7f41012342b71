"""The native steps of optimizers: in place, whatever the layout; and what they refuse."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digests import kernels
from kinone.errors import ArgumentError, ShapeError
from kinone.kernels import settings
from kinone.kernels.optimize import reference
from kn1 import optimize as kn1
from kn1.arithmetic import laid_out, same_bits
from processes import in_a_process

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)


def copied(args):
    return tuple([a.copy(order="K") for a in x] if isinstance(x, list) else x for x in args)


@given(name=st.sampled_from(sorted(kn1.KERNELS)), dtype=st.sampled_from([np.float16, np.float32, np.float64]),
       seed=st.integers(0, 2**32 - 1))  # fmt: skip
def test_any_layout_as_the_reference(name, dtype, seed):
    rng = np.random.default_rng(seed)
    shapes = [tuple(rng.integers(0, 7, rng.integers(0, 5))) for _ in range(3)]
    draw = lambda shape: laid_out(rng, np.asarray(rng.uniform(0.5, 1, shape) * rng.choice([-1, 1], shape), dtype))  # noqa: E731
    args: Any = kn1.call_of(rng, name, draw, shapes)
    other = copied(args)
    limit = {np.float16: 2e-3, np.float32: 1e-5, np.float64: 1e-13}[dtype]
    got, want = getattr(native, name)(*args), getattr(reference, name)(*other)
    for y, z in zip(*(x if isinstance(x, list) else [x] for x in (got, want)), strict=True):
        assert np.asarray(y).dtype == np.asarray(z).dtype
        np.testing.assert_allclose(y, z, rtol=limit, atol=limit)


def test_what_is_returned_is_what_was_given():
    """And gradients are left alone."""
    rng = np.random.default_rng(1)
    for name in sorted({*kn1.KERNELS} - {"global_norm"}):
        args: Any = kn1.call_of(rng, name, lambda shape: laid_out(rng, rng.standard_normal(shape)), [(3, 4), (5, 6, 7)])
        before = copied(args)
        changed = getattr(kernels, name)(*args)
        lists = [x for i, x in enumerate(args) if i != 1 and isinstance(x, list)]
        assert [id(a) for a in changed] == [id(a) for arrays in lists for a in arrays]
        assert same_bits(args[1], before[1])
        assert not any(same_bits(a, b) for a, b in zip(args[0], before[0], strict=True))


def test_blocks_of_many_parameters_have_the_profiles_bits():
    rng = np.random.default_rng(2)
    for name in kn1.KERNELS:
        args: Any = kn1.call_of(rng, name, lambda shape: rng.standard_normal(shape).astype(np.float32),
                           [(20_000,), (1,), (150, 230), (16_384,)])  # fmt: skip
        want = kn1.KERNELS[name](*args)
        assert same_bits(getattr(native, name)(*args), want), name


@pytest.mark.parametrize("name", sorted({*kn1.KERNELS} - {"global_norm"}))
def test_what_may_not_be_changed_is_refused_and_nothing_is(name):
    rng = np.random.default_rng(3)
    args: Any = kn1.call_of(rng, name, lambda shape: rng.standard_normal(shape).astype(np.float32), [(4,), (3, 2)])
    params, grads, *rest = args
    wide = np.zeros(6, np.float32)
    fixed = params[1].copy()
    fixed.flags.writeable = False
    wrong: list[tuple[Any, Any, type[Exception], str]] = [
        ([params[0], fixed], grads, ArgumentError, "may be changed"),
        ([wide[:4], wide.reshape(3, 2)], grads, ArgumentError, "lie apart"),
        (params, [params[0], grads[1]], ArgumentError, "lie apart"),
        (params, grads[:1], ArgumentError, "lists of 2 arrays"),
        (params, [grads[0], grads[1].T], ShapeError, "of the parameter's shape and dtype"),
        (params, [grads[0], grads[1].astype(np.float64)], ShapeError, "of the parameter's shape and dtype"),
    ]
    before = copied(args)
    for p, g, error, match in wrong:
        with pytest.raises(error, match=rf"\[{name}\] expected .*{match}"):
            getattr(kernels, name)(p, g, *rest)
    assert all(same_bits(a, b) for a, b in zip(args, before, strict=True) if isinstance(a, list))


def test_one_gradient_may_serve_two_parameters():
    a, b, g = np.zeros(4), np.zeros(4), np.ones(4)
    kernels.sgd_update([a, b], [g, g], None, 0.5, 0.0, 0.0, 0.0, False, False, 1.0)
    assert np.array_equal(a, b) and np.array_equal(a, np.full(4, -0.5))


def test_parameters_of_several_dtypes_in_one_call():
    params: list[Any] = [np.zeros(3, np.float32), np.zeros(2), np.zeros(4, np.float16)]
    changed = kernels.sgd_update(params, [np.ones_like(p) for p in params], None, 0.1, 0.0, 0.0, 0.0, False, False, 2.0)
    for p, q in zip(params, changed, strict=True):
        assert p is q and np.array_equal(p, np.full(p.shape, -0.2, p.dtype))


def test_integers_are_left_to_the_reference():
    assert native.global_norm([np.arange(3)]) is NotImplemented
    assert kernels.global_norm([np.arange(3)]) == 5**0.5
    assert kernels.global_norm([]) == 0


def test_no_byte_outside_an_array_is_touched():
    """Arrays that begin or end where memory does: one byte too far ends the process."""
    code = """
import numpy as np
from kinone.kernels import settings
from kn1 import optimize as kn1
from processes import at_the_edge
rng = np.random.default_rng(0)
for name in kn1.KERNELS:
    for dtype in (np.float32, np.float64):
        for size in (1, 7, 17, 100):
            for is_end in (False, True):
                draw = lambda shape: at_the_edge(rng.standard_normal(shape).astype(dtype), is_end)
                getattr(settings.native, name)(*kn1.call_of(rng, name, draw, [(size,), (size, 3)]))
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr
