"""The native products of matrices: against an exact emulation of profile kn1, bit for bit, and against NumPy."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, cast

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kinone as kn
from digests import kernels
from kinone.errors import ArgumentError
from kinone.kernels import dispatch, settings
from kn1.arithmetic import fma32, laid_out, numbers, same_bits
from kn1.gemm import product as kn1
from processes import in_a_process

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)


def test_the_emulation_of_fma_is_exact():
    rng = np.random.default_rng(0)
    a, b, c = (numbers(rng, 3000, np.float32) for _ in range(3))
    with np.errstate(all="ignore"):
        c[::3] = -(a * b)[::3]  # what the product loses by rounding remains
        got = fma32(a, b, c)
    for x, y, z, found in zip(a, b, c, got, strict=True):
        if np.isfinite([x, y, z]).all():
            exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
            beside = [np.nextafter(found, np.float32(side)) for side in (-np.inf, np.inf)] if np.isfinite(found) else []
            nearest = [abs(Fraction(float(other)) - exact) for other in beside if np.isfinite(other)]
            assert not nearest or abs(Fraction(float(found)) - exact) <= min(nearest), (x, y, z)


@pytest.mark.parametrize("shape", [(5, 770, 19), (70, 390, 65), (1, 1200, 300), (300, 385, 1), (13, 384, 7),
                                   (67, 1153, 101), (1, 2000, 1), (130, 400, 10)])  # fmt: skip
def test_chunks_of_long_sums(shape):
    m, k, n = shape
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
    expected = kn1(a, b)
    for x in (a, np.asfortranarray(a)):
        for y in (b, np.asfortranarray(b)):
            assert same_bits(kernels.matmul(x, y), expected)


def test_linear_adds_its_bias_last():
    rng = np.random.default_rng(7)
    for _ in range(300):
        k, n = rng.integers(1, 40, 2)
        lead = tuple(rng.integers(1, 6, rng.integers(0, 4)))
        x, w, b = (laid_out(rng, numbers(rng, shape, np.float32)) for shape in ((*lead, k), (n, k), (n,)))
        expected = kn1(x.reshape(-1, k), w.T, b).reshape(*lead, n)
        assert same_bits(native.linear(x, w, b), expected)
        assert same_bits(native.linear(x, w, None), native.matmul(x, w.T))


def test_half_precision_is_computed_in_single():
    rng = np.random.default_rng(8)
    a, b = (rng.standard_normal(shape).astype(np.float16) for shape in ((7, 30), (30, 5)))
    expected = kn1(a.astype(np.float32), b.astype(np.float32)).astype(np.float16)
    assert same_bits(kernels.matmul(a, b), expected)
    assert same_bits(kernels.linear(a, b.T, None), expected)


def test_what_is_not_floating_point_is_the_references():
    a = np.arange(6).reshape(2, 3)
    assert kernels.matmul(a, a.T).dtype == a.dtype
    assert kernels.matmul(a, a.T.astype(np.float32)).dtype == np.float64
    assert kernels.matmul(cast(Any, [[1.0, 2.0]]), cast(Any, [[3.0], [4.0]])) == 11
    assert kernels.matmul(a.astype(">f4"), a.T.astype(">f4"))[0, 0] == 5
    assert kernels.matmul(a.astype(bool), a.T.astype(bool)).dtype == bool


# ------------------------------------------------------------------ against NumPy
@given(shapes=hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, min_side=0, max_side=9, max_dims=3),
       dtype=st.sampled_from(["f2", "f4", "f8"]), seed=st.integers(0, 2**32 - 1))  # fmt: skip
def test_any_shape_and_stride_as_numpy(shapes, dtype, seed):
    rng = np.random.default_rng(seed)
    a, b = (laid_out(rng, rng.integers(-9, 9, shape).astype(dtype)) for shape in shapes.input_shapes)
    y = native.matmul(a, b)
    assert y.dtype == dtype and y.shape == shapes.result_shape
    assert np.array_equal(y, np.matmul(a.astype("f8"), b.astype("f8")))  # small whole numbers: exact


@given(m=st.integers(1, 150), n=st.integers(1, 150), k=st.integers(0, 900), batch=st.integers(1, 3),
       dtype=st.sampled_from([np.float32, np.float64]), seed=st.integers(0, 2**32 - 1))  # fmt: skip
def test_larger_shapes_as_numpy(m, n, k, batch, dtype, seed):
    rng = np.random.default_rng(seed)
    a, b = (laid_out(rng, rng.integers(-9, 9, shape).astype(dtype)) for shape in ((batch, m, k), (k, n)))
    assert np.array_equal(native.matmul(a, b), np.matmul(a.astype("f8"), b.astype("f8")))


def test_errors_are_the_references():
    with pytest.raises(kn.errors.ShapeError, match="b with 3 rows"):
        kn.matmul(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))
    with pytest.raises(kn.errors.ShapeError, match="broadcast"):
        kn.matmul(np.ones((2, 2, 3), np.float32), np.ones((3, 3, 2), np.float32))


@pytest.mark.parametrize(("rows", "columns"), [(2**20, 2**21), (2**31, 2**32), (2**60, 2**60)])
def test_a_result_that_no_memory_holds_is_a_memory_error(rows, columns):
    a, b = (np.broadcast_to(np.float32(1), shape) for shape in ((rows, 1), (1, columns)))
    with pytest.raises(MemoryError, match=str(rows)):
        kernels.matmul(a, b)


# ------------------------------------------------------------------ threads, processors, processes
@pytest.fixture
def one_to_many():
    before = native.threads()
    yield kernels.set_threads
    kernels.set_threads(before)


@pytest.mark.parametrize(("name", "value", "choices"), [
    ("KINONE_ISA", "sse2", "expected " + " or ".join(native.isas())),
    ("KINONE_THREADS", "0", "a whole number from 1 to 1024, got 0"),
    ("KINONE_THREADS", "two", "a whole number from 1 to 1024, got 'two'"),
])  # fmt: skip
def test_wrong_settings_are_errors_that_list_the_choices(name, value, choices):
    ran = in_a_process("import kinone as kn, numpy as np; kn.matmul(np.ones((1, 1)), np.ones((1, 1)))", **{name: value})
    assert ran.returncode and "ArgumentError: [" + name in ran.stderr and choices in ran.stderr
    assert in_a_process("import kinone", **{name: value}).returncode == 0


def test_threads_are_limited_by_the_environment(monkeypatch):
    cores = settings.usable_cores()
    assert settings.threads("5") == 5
    for openmp, expected in (("1", 1), ("1,4", 1), ("999", cores), ("", cores), ("x", cores)):
        monkeypatch.setitem(settings.ASKED, settings.OPENMP, openmp)
        assert settings.threads("") == expected
    for wrong in (0, -1, 1025, 2.0, True, "2"):
        with pytest.raises(ArgumentError, match=r"\[set_threads\] expected a whole number from 1 to 1024"):
            kernels.set_threads(cast(Any, wrong))


def test_kinone_kernels_takes_the_reference():
    code = "from kinone import kernels; print({c.implementation for c in kernels.explain()}, kernels.matmul.__module__)"
    ran = in_a_process(code, KINONE_KERNELS="reference")
    assert ran.stdout == "{'reference'} kinone.kernels.gemm.reference\n", ran.stderr


def test_explain_tells_what_runs():
    chosen = {choice.name: choice for choice in kernels.explain("native")}
    assert all(hasattr(native, name) for name, choice in chosen.items() if settings.isa() in choice.why)
    assert chosen["einsum"].why == "composed of native kernels"
    assert settings.isa() in chosen["matmul"].why
    assert dispatch.profile("native") == "kn1"
    assert dispatch.profile("reference") == "reference"


def test_a_forked_child_has_its_own_threads():
    code = """
import os, numpy as np
from kinone import kernels
kernels.set_threads(3)
a = np.random.default_rng(0).standard_normal((400, 400), np.float32)
y = kernels.matmul(a, a)
generation = 0
while generation < 3 and not (child := os.fork()):  # a child, its child, and the child of that
    generation += 1
    assert np.array_equal(kernels.matmul(a, a), y)
assert np.array_equal(kernels.matmul(a, a), y)
os._exit(generation < 3 and os.waitpid(child, 0)[1] != 0)
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr


def test_python_threads_may_call_at_once(one_to_many):
    one_to_many(2)
    rng = np.random.default_rng(12)
    pairs = [(rng.standard_normal((m, 300), np.float32), rng.standard_normal((300, 200), np.float32))
             for m in (1, 50, 150, 400)]  # fmt: skip
    expected = [kernels.matmul(a, b) for a, b in pairs]

    def some(i):
        a, b = pairs[i % 4]
        if i % 50 == 0:
            kernels.set_threads(1 + i // 50)
        return same_bits(kernels.matmul(a, b), expected[i % 4])

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(some, range(200)))


def test_other_python_threads_run_meanwhile():
    a = np.ones((1500, 1500))
    is_done = threading.Event()

    def work():
        kernels.matmul(a, a)
        is_done.set()

    thread = threading.Thread(target=work)
    thread.start()
    turns = 0
    while not is_done.is_set():
        turns += 1
        time.sleep(0)
    thread.join()
    assert turns > 20


def test_flush_to_zero_is_off_in_kernels():
    """A library may set it for the thread that loads it; products of denormals come out all the same."""
    code = """
import ctypes, ctypes.util, platform, numpy as np
from kinone import kernels
if platform.machine() != "x86_64": raise SystemExit
libm = ctypes.CDLL(ctypes.util.find_library("m"))
state = (ctypes.c_uint32 * 8)()
libm.fegetenv(state)
state[7] |= 0x8040
a = np.full((64, 2), 2.0**-140, np.float32)
b = np.full((2, 64), 0.5, np.float32)
libm.fesetenv(state)
y = kernels.matmul(a, b)
is_flushed = float(np.float32(2.0**-140) * np.float32(0.5)) == 0
state[7] &= ~0x8040
libm.fesetenv(state)
assert is_flushed and np.all(y == np.float32(2.0**-140))
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs mmap and mprotect")
def test_no_byte_outside_an_array_is_read():
    """Operands that begin or end where memory does: one byte too far ends the process."""
    code = """
import numpy as np
from kinone import kernels
from processes import at_the_edge
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    for m, k, n in [(1, 1, 1), (1, 7, 5), (9, 3, 17), (65, 13, 33), (70, 400, 50), (130, 9, 3), (3, 390, 100),
                    (1, 50, 49), (300, 5, 1)]:
        for is_end in (False, True):
            a, b = (at_the_edge(rng.integers(-9, 9, s).astype(dtype), is_end) for s in ((m, k), (k, n)))
            at, bt = (at_the_edge(rng.integers(-9, 9, s).astype(dtype), is_end) for s in ((k, m), (n, k)))
            c = at_the_edge(rng.integers(-9, 9, n).astype(dtype), is_end)
            for x in (a, at.T, a[::-1], a[:, ::-1]):
                for y in (b, bt.T, b[::-1], b[:, ::-1]):
                    assert np.array_equal(kernels.matmul(x, y), np.matmul(x, y))
                assert np.array_equal(kernels.linear(x, bt, c), np.matmul(x, bt.T) + c)
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr
