"""Is every float32 function rounded correctly? Each of the 2³² inputs is asked.

python tests/correct_rounding.py sin tan     over all inputs, a minute or so for each function; without names, for all.
                                             Interrupted, it goes on where it was; --again begins anew.
python tests/correct_rounding.py --page      docs/reference/correct-rounding.md, from what those runs counted

The C library decides almost all inputs (oracle.cpp), MPFR the rest.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kinone.kernels import settings

gmpy2: Any = import_module("gmpy2")  # its types are not all declared

HERE = Path(__file__).parent
FOUND = HERE / "correct_rounding.json"
PAGE = HERE.parent / "docs" / "reference" / "correct-rounding.md"
BLOCK = 1 << 22
BLOCKS = 2**32 // BLOCK
MOST = 1 << 16  # unsure results of a block, beyond which something is very wrong

# The float32 of IEEE 754: MPFR itself rounds to it, once.
FLOAT32 = gmpy2.context(precision=24, emin=-148, emax=128, subnormalize=True)
EXACT = gmpy2.context(precision=400)


# ------------------------------------------------------------------ MPFR's answers
def _sigmoid(x: Any, _: Any) -> Any:
    with gmpy2.context(EXACT):
        exact = 1 / (1 + gmpy2.exp(-x))
    return FLOAT32.plus(exact)


def _erfinv(x: Any, y: Any) -> Any:
    """The float32 nearest to erf⁻¹ x, looked for from y: between its midpoints with its neighbours lies x."""
    size, sign = abs(float(x)), np.copysign(np.float32(1), float(x))
    if not size < 1 or size == 0:
        return float(x) if size == 0 else sign * np.inf if size == 1 else np.nan

    def erf_halfway(to: float) -> Any:
        with gmpy2.context(EXACT):
            return gmpy2.erf((gmpy2.mpfr(float(y)) + gmpy2.mpfr(float(np.nextafter(y, np.float32(to))))) / 2)

    y = np.float32(0) if np.isnan(y) else abs(y)
    while erf_halfway(0) > size:
        y = np.nextafter(y, np.float32(0))
    while erf_halfway(np.inf) < size:
        y = np.nextafter(y, np.float32(np.inf))
    return sign * y


def _one(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, _: f(x)


FUNCTIONS = {
    name: _one(getattr(gmpy2, name))
    for name in ("acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erf", "erfc", "exp", "exp2",
                 "expm1", "log", "log10", "log1p", "log2", "sin", "sinh", "tan", "tanh")
} | {"erfinv": _erfinv, "rsqrt": _one(gmpy2.rec_sqrt), "sigmoid": _sigmoid}  # fmt: skip


def nearest(name: str, x: np.float32, y: np.float32) -> np.float32:
    """The right answer, whatever y is."""
    with gmpy2.context(FLOAT32):
        return np.float32(float(FUNCTIONS[name](gmpy2.mpfr(float(x)), y)))


# ------------------------------------------------------------------ all inputs
@cache
def oracle() -> Any:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "oracle.so"
        flags = ["-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC"]
        subprocess.run([compiler, *flags, str(HERE / "oracle.cpp"), "-o", str(library)], check=True)
        unsure = ctypes.CDLL(str(library)).unsure
    unsure.restype = ctypes.c_long
    unsure.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 2, ctypes.c_long, ctypes.c_void_p, ctypes.c_long]
    return unsure


class Verdict(NamedTuple):
    """The bit patterns of the inputs that MPFR had to decide, of the right results there, and of the wrong inputs."""

    hard: Any
    right: Any
    wrong: Any


def judged(name: str, x: Any, f: Callable[..., Any]) -> Verdict:
    y = f(x)
    assert y.dtype == np.float32 and y.flags.c_contiguous
    places = np.empty(MOST, np.uint32)
    count = oracle()(name.encode(), x.ctypes.data, y.ctypes.data, x.size, places.ctypes.data, MOST)
    assert count < MOST, f"{name} is wrong almost everywhere, as at {x[places[0]]!r}"
    places = places[:count]
    right = np.array([nearest(name, x[i], y[i]) for i in places], np.float32)
    hard = x[places].view(np.uint32)
    return Verdict(hard, right.view(np.uint32), hard[~are_same(right, y[places])])


def are_same(x: Any, y: Any) -> Any:
    """Whether the bits are, any NaN taken for any other."""
    return (x.view(np.uint32) == y.view(np.uint32)) | (np.isnan(x) & np.isnan(y))


def inputs(block: int) -> Any:
    """The float32 numbers with the bit patterns from block·2²² on, in memory that the next call fills anew."""
    patterns, x = _memory()
    return np.add(patterns, np.uint32(block * BLOCK), out=x).view(np.float32)


@cache
def _memory() -> tuple[Any, Any]:
    return np.arange(BLOCK, dtype=np.uint32), np.empty(BLOCK, np.uint32)


# ------------------------------------------------------------------ what the runs found
def found() -> dict[str, Any]:
    """By function: blocks done, wrong inputs, and the hard ones, each with its right result, in hexadecimal."""
    return json.loads(FOUND.read_text()) if FOUND.exists() else {}


def hard_cases(name: str) -> tuple[Any, Any]:
    """Inputs near a midpoint of float32 numbers, and what is right there."""
    pairs = np.array([[int(pair[:8], 16), int(pair[8:], 16)] for pair in found()[name]["hard"].split()], np.uint32)
    x, y = pairs.reshape(-1, 2).T.copy().view(np.float32)
    return x, y


def run(name: str, blocks: int = BLOCKS) -> None:
    f = getattr(settings.native, name)
    one = found().get(name, {"blocks": 0, "wrong": "", "hard": ""})
    while one["blocks"] < blocks:
        for block in range(one["blocks"], min(one["blocks"] + 16, blocks)):
            hard, right, wrong = judged(name, inputs(block), f)
            one["hard"] = " ".join(
                [*one["hard"].split(), *(f"{x:08x}{y:08x}" for x, y in zip(hard, right, strict=True))]
            )
            one["wrong"] = " ".join([*one["wrong"].split(), *(f"{x:08x}" for x in wrong)])
            one["blocks"] += 1
        FOUND.write_text(json.dumps(dict(sorted({**found(), name: one}.items())), indent=0) + "\n")
    print(f"{name}: {len(one['hard'].split())} decided by MPFR, wrong: {one['wrong'] or 'none'}", flush=True)


def page() -> str:
    rows = [f"| {name} | {one['blocks'] * BLOCK:,} | {len(one['hard'].split())} | {len(one['wrong'].split())} |"
            for name, one in found().items()]  # fmt: skip
    return HEAD + "\n".join(rows) + "\n"


HEAD = """# Correct rounding

Each function of one number gives, in float32, the number nearest to the exact value, whatever the input: a claim with
one right answer, so it holds on every processor and can be checked. `tests/correct_rounding.py` asked the native
kernels for all 2³² inputs, on AVX-512. The C library's functions of double are the judge where rounding them to float32
cannot depend on their last bits; where it could, within 2⁻⁴⁸ of the middle between two float32 numbers, MPFR decides.
Those inputs are kept, and the tests that run by default ask all of them again, on every instruction set here, with a
sample of 2²⁴ others; `pytest -m slow` asks all.

Quotients and square roots are IEEE 754's. Activations (`gelu`, `silu`, …) and functions of two numbers are no part of
this: they are computed in float64 and rounded once.

| function | inputs | decided by MPFR | wrong |
|---|---|---|---|
"""


def main(arguments: list[str]) -> None:
    names = [name for name in arguments if not name.startswith("--")] or list(FUNCTIONS)
    if "--page" in arguments:
        PAGE.write_text(page())
        return
    if "--again" in arguments:
        left = {name: one for name, one in found().items() if name not in names}
        FOUND.write_text(json.dumps(left, indent=0) + "\n")
    for name in names:
        run(name)


if __name__ == "__main__":
    main(sys.argv[1:])
