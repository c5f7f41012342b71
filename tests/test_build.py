"""Kinone built anew in an environment of its own: with each compiler, and with one that fails.

Each build takes half a minute and fetches what it builds with, so these run where they are asked for, as in CI:
`pytest -m build`.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kinone.kernels import settings

pytestmark = [pytest.mark.slow, pytest.mark.build]

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = {file.stem: json.loads(file.read_text()) for file in (ROOT / "tests" / "golden").glob("*.json")}
PRODUCT = """
import kinone as kn
import numpy as np

one = np.ones((1, 2), np.float32)
why = {choice.name: choice.why for choice in kn.kernels.explain()}
print(*(kn.matmul(one, one.T).item() for _ in range(3)), why["matmul"])
"""


def environment(**more: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if not name.startswith("KINONE_")}, **more}


def installed(folder: Path, compiler: str, *packages: str, **more: str) -> str:
    """The Python of a new environment, Kinone in it as `compiler` built it from a copy of the sources."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    source, python = folder / "source", folder / "venv" / "bin" / "python"
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listing.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for command in (["venv", "--python", sys.executable, folder / "venv"],
                    ["pip", "install", "--no-cache", "--python", python, source, *packages]):  # fmt: skip
        ran = subprocess.run([uv, *map(str, command)], cwd=source, capture_output=True, text=True, check=False,
                             env=environment(CXX=compiler, **more))  # fmt: skip
        assert ran.returncode == 0, ran.stderr
    return str(python)


def ran(python: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *arguments], cwd=ROOT / "tests", capture_output=True, text=True, check=False,
                          env=environment(**more))  # fmt: skip


def test_without_a_compiler_the_reference_serves(tmp_path: Path) -> None:
    python = installed(tmp_path, "/bin/false")
    result = ran(python, "-c", PRODUCT)
    assert result.stdout == "2.0 2.0 2.0 the native ones are not built here\n", result.stderr
    assert result.stderr.count("MissingKernelsWarning: the native kernels are not built here: Kinone runs on its") == 1
    quiet = ran(python, "-W", "error", "-c", PRODUCT, KINONE_KERNELS="reference")
    assert quiet.stdout == "2.0 2.0 2.0 KINONE_KERNELS=reference\n" and not quiet.stderr
    refused = ran(python, "-c", PRODUCT, KINONE_KERNELS="native")
    assert "expected reference or native (not built here), got 'native'" in refused.stderr


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_the_compiler_changes_no_bit(tmp_path: Path, compiler: str) -> None:
    path = shutil.which(compiler)
    if path is None or settings.native is None:
        pytest.skip(f"{compiler} is not installed, or the native kernels are not built")
    python = installed(tmp_path, path)
    for isa, runs in settings.native.isas().items():
        if runs:
            result = ran(python, "digests.py", KINONE_ISA=isa)
            assert json.loads(result.stdout) == GOLDEN, result.stderr
