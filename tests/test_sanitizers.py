"""The native kernels' tests under the compiler's sanitizers: no byte outside an array, nothing undefined, no race.

Kinone is built with g++ and the sanitizer in an environment of its own, arrays come from the system's allocator, and
the tests of the kernels run there: `pytest -m sanitize`.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kinone.kernels import settings
from test_build import ROOT, environment, installed

pytestmark = [pytest.mark.slow, pytest.mark.sanitize]

SANITIZERS = {
    "address": (
        "address,undefined",
        {"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1", "UBSAN_OPTIONS": "halt_on_error=1"},
    ),
    "thread": (
        "thread",
        {"TSAN_OPTIONS": "halt_on_error=1:allocator_may_return_null=1:ignore_noninstrumented_modules=1"},
    ),
}
# Forking and walls of protected memory are tests of their own, and a sanitizer has its own walls.
LEFT_OUT = "not forked and not outside and not process and not wrong_settings and not instruction_set and not flush"


def chosen() -> str:
    """The instruction set that runs here without a wish."""
    native: Any = settings.native
    if native is None:
        pytest.skip(f"the native kernels are {settings.WHY_NOT}")
    return [isa for isa, runs in native.isas().items() if runs][-1]


def library(compiler: str, name: str) -> str:
    """Where the compiler has it."""
    command = [compiler, f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("name", SANITIZERS)
def test_the_kernels_are_clean(tmp_path: Path, name: str) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    kinds, options = SANITIZERS[name]
    flags = f"-fsanitize={kinds} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1"
    # One instruction set, the one that this processor would choose: sanitized sources take minutes to compile.
    build = {"SKBUILD_CMAKE_DEFINE": f"KINONE_ISAS={chosen()}", "SKBUILD_CMAKE_BUILD_TYPE": "RelWithDebInfo"}
    linked = f"-fsanitize={kinds}"
    python = installed(tmp_path, compiler, "pytest", "hypothesis", CXXFLAGS=flags, LDFLAGS=linked, **build)
    # Python does not need the C++ library, but a sanitizer looks for its functions before Kinone brings it along.
    preload = ":".join(library(compiler, file) for file in (f"lib{name[0]}san.so", "libstdc++.so"))
    tests = sorted(str(file) for file in (ROOT / "tests").glob("test_native_*.py"))
    own = {"KINONE_ALLOCATOR": "numpy", "KINONE_KERNELS": "native", "KINONE_THREADS": "3"}
    more = {**options, **own, "LD_PRELOAD": preload, "PYTHONMALLOC": "malloc", "OPENBLAS_NUM_THREADS": "1"}
    pytest_options = ["-q", "-x", "-s", "-p", "no:cacheprovider", "-o", "pythonpath=tests", "-k", LEFT_OUT]
    command = [python, "-m", "pytest", *pytest_options, *tests]
    log = tmp_path / "log"
    with log.open("w") as output:
        code = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False,
                              env={**environment(**more), "PATH": os.environ["PATH"]}).returncode  # fmt: skip
    assert code == 0, log.read_text()[-6000:]
