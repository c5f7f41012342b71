"""Tests that need a Python of their own: other settings, or an end of the process where a kernel reads too far."""

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import kinone


def in_a_process(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs the code on native kernels, with the tests in its path, and the Kinone that runs here."""
    root = Path(__file__).resolve().parent.parent
    settings = {
        **os.environ,
        "KINONE_KERNELS": "native",
        "PYTHONPATH": os.pathsep.join(["tests", str(Path(kinone.__file__).parents[1])]),
        **environment,
    }
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=root, capture_output=True, text=True,
                          check=False, env=settings)  # fmt: skip


_kept: list[Any] = []


def at_the_edge(x: Any, is_end: bool) -> Any:
    """x in memory that begins or ends where the process's does: one byte too far ends the process."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    page = mmap.PAGESIZE
    inside = -(-x.nbytes // page) * page
    memory = mmap.mmap(-1, inside + 2 * page)
    raw = np.frombuffer(memory, np.uint8)
    for wall in (raw.ctypes.data, raw.ctypes.data + page + inside):
        assert libc.mprotect(wall, page, 0) == 0
    begin = page + (inside - x.nbytes if is_end else 0)
    y = raw[begin : begin + x.nbytes].view(x.dtype).reshape(x.shape)
    y[...] = x
    _kept.append(memory)
    return y
