"""The cache of memory for arrays: what it hands out is the caller's alone, and what waits in it has a limit."""

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from kinone import kernels
from kinone.errors import ArgumentError
from kinone.kernels import settings
from processes import in_a_process

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)
handler = np._core.multiarray.get_handler_name  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def allocator():
    before = handler() == "kinone"
    native.set_allocator(True)
    yield
    native.set_allocator(before)
    kernels.release_memory()


def test_what_it_hands_out_is_the_callers_alone(allocator):
    rng = np.random.default_rng(0)
    held: list[tuple[Any, int]] = []
    for i in range(5000):
        x = np.empty(int(np.exp(rng.uniform(0, 14))), np.uint8)
        assert x.ctypes.data % 64 == 0
        x[...] = i % 251
        held.append((x, i % 251))
        if len(held) > 60:
            y, value = held.pop(rng.integers(60))
            assert (y == value).all()
    assert all((x == value).all() for x, value in held)


@pytest.mark.parametrize("size", [10, 5000, 300_000, 5_000_000])
def test_zeros_are_zero_in_used_memory(allocator, size):
    np.full(size, np.nan)
    assert not np.zeros(size).any()
    assert not np.zeros(size).any()


@pytest.mark.parametrize("size", [10, 5000, 3_000_000])
def test_an_array_may_grow_and_shrink(allocator, size):
    x = np.arange(size)
    x.resize(2 * size, refcheck=False)
    assert np.array_equal(x[:size], np.arange(size)) and not x[size:].any()
    x.resize(size // 2, refcheck=False)
    assert np.array_equal(x, np.arange(size // 2))


def test_memory_is_used_again(allocator):
    kernels.release_memory()
    x = np.empty(1 << 20)
    address = x.ctypes.data
    del x
    assert np.empty(1 << 20).ctypes.data == address


def test_what_waits_has_a_limit_and_can_be_released(allocator):
    code = """
import numpy as np
from kinone import kernels

held = [np.ones(1 << 20) for _ in range(20)]
used = kernels.memory().used
assert used >= 20 << 23
del held
for size in range(1, 20):
    np.ones(size << 18)
    now = kernels.memory()
    assert now.used + now.waiting <= 1.5 * now.most_used + (33 << 20)
assert kernels.memory().waiting > 20 << 22
kernels.release_memory()
assert kernels.memory().waiting == 0
"""
    ran = in_a_process(code)  # the limit follows the most that a process ever used
    assert ran.returncode == 0, ran.stderr


def test_a_size_that_no_memory_holds_is_a_memory_error(allocator):
    with pytest.raises(MemoryError, match=r"1\.00 EiB"):
        np.empty(1 << 60, np.uint8)
    with pytest.raises(MemoryError):
        np.zeros((1 << 40, 1 << 20), np.uint8)


def test_threads_that_call_kernels_use_it_too(allocator):
    found = []

    def work():
        kernels.memory()
        a = np.ones((3, 3))
        native.matmul(a, a)
        found.append(handler())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["kinone"]


def test_arrays_may_outlive_the_setting(allocator):
    x = np.ones(1000)
    native.set_allocator(False)
    y = np.ones(1000)
    assert handler() == "default_allocator"
    native.set_allocator(True)
    del x, y


def test_a_wrong_setting_is_an_error_that_lists_the_choices():
    with pytest.raises(ArgumentError, match=r"\[KINONE_ALLOCATOR\] expected kinone or numpy, got 'malloc'"):
        settings.has_allocator("malloc")


def test_a_forked_child_may_allocate():
    code = """
import os, threading, numpy as np
from kinone.kernels import settings
settings.native.set_allocator(True)
is_over = False
def churn():
    settings.native.set_allocator(True)
    while not is_over:
        np.empty(100)
threads = [threading.Thread(target=churn) for _ in range(2)]
for thread in threads: thread.start()
for _ in range(10):
    child = os.fork()
    if not child:
        np.ones(1000)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
is_over = True
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=300)
