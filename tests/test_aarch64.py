"""The bits of the native kernels on an ARM processor: cross-compiled, and run by qemu with an ARM Python and NumPy.

Needs Debian with the architecture arm64 added (`dpkg --add-architecture arm64 && apt-get update`), a compiler and an
emulator for it (`apt-get install g++-aarch64-linux-gnu qemu-user`). Marked `aarch64`: `pytest -m aarch64`.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from digests import FAMILIES

pytestmark = [pytest.mark.slow, pytest.mark.aarch64]

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src" / "kinone"
PACKAGES = """
    python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libpython3.11-dev libpython3.11 libexpat1
    zlib1g libssl3 libffi8 libbz2-1.0 liblzma5 libc6 libstdc++6 libgcc-s1 libcrypt1
"""


def run(*command: Any, **more: Any) -> str:
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **more)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return ran.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ARM Python 3.11 and NumPy, and Kinone built for it."""
    for tool in ("aarch64-linux-gnu-g++", "qemu-aarch64", "apt-get", "uv"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    root = tmp_path_factory.mktemp("aarch64")
    asked = subprocess.run(["apt-get", "download", "-q", *(f"{name}:arm64" for name in PACKAGES.split())], cwd=root,
                           capture_output=True, text=True, check=False)  # fmt: skip
    if asked.returncode:
        pytest.skip(f"the packages of arm64 are not at hand: {asked.stderr.splitlines()[-1]}")
    for package in sorted(root.glob("*.deb")):
        run("dpkg", "-x", package, root)
    site = root / "site"
    run("uv", "pip", "install", "--quiet", "--target", site, "--no-deps", "--only-binary", ":all:", "--python-version",
        "3.11", "--python-platform", "aarch64-manylinux_2_28", f"numpy=={np.__version__}")  # fmt: skip
    run("uv", "pip", "install", "--quiet", "--target", root / "tools", "--no-deps", "nanobind")
    nanobind = root / "tools" / "nanobind"
    shutil.copytree(SOURCE, site / "kinone", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    kernels = SOURCE / "kernels"
    sources = [*kernels.glob("*/native*.cpp"), *kernels.glob("*/module*.cpp"), *kernels.glob("native/*.cpp")]
    flags = ["-std=gnu++20", "-O2", "-ffp-contract=off", "-fwrapv", "-fno-strict-aliasing", "-fvisibility=hidden", "-w"]
    included = [nanobind / "include", nanobind / "ext/robin_map/include", root / "usr/include/python3.11",
                root / "usr/include", site / "numpy/_core/include"]  # fmt: skip
    run("aarch64-linux-gnu-g++", *flags, "-shared", "-fPIC", "-DKINONE_HAS_NEON", "-DKINONE_ISA=neon",
        *(f"-I{folder}" for folder in included), nanobind / "src" / "nb_combined.cpp", *sorted(set(sources)),
        "-pthread", "-o", site / "kinone" / "kernels" / "_native.cpython-311-aarch64-linux-gnu.so")  # fmt: skip
    return root


def python(machine: Path, *arguments: str) -> str:
    paths = os.pathsep.join([str(machine / "site"), str(HERE)])
    environment = {**os.environ, "PYTHONPATH": paths, "KINONE_KERNELS": "native", "KINONE_THREADS": "2",
                   "PYTHONDONTWRITEBYTECODE": "1", "KINONE_ISA": "neon"}  # fmt: skip
    return run("qemu-aarch64", "-L", machine, machine / "usr" / "bin" / "python3.11", "-W", "ignore", *arguments,
               env=environment)  # fmt: skip


def test_the_emulated_machine_is_an_arm(machine: Path) -> None:
    code = "import platform; from kinone.kernels import settings; print(platform.machine(), settings.isa())"
    assert python(machine, "-c", code).split() == ["aarch64", "neon"]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_arm_has_the_same_bits(machine: Path, family: str) -> None:
    expected = json.loads((HERE / "golden" / f"{family}.json").read_text())
    assert json.loads(python(machine, str(HERE / "digests.py"), family)) == expected
