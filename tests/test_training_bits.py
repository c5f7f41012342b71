"""The bits of 200 training steps on native kernels: any number of threads, any processor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kinone.kernels import settings

native = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)

HERE = Path(__file__).resolve().parent
GOLDEN = json.loads((HERE / "golden_training.json").read_text())
ISAS = [isa for isa, runs in native.isas().items() if runs]


@pytest.mark.parametrize(
    ("isa", "threads"), [(ISAS[-1], n) for n in (1, 2, 3, 4, 7, 8)] + [(isa, 2) for isa in ISAS[:-1]]
)
def test_the_bits_of_training_are_the_profiles(isa: str, threads: int) -> None:
    environment = {**os.environ, "KINONE_KERNELS": "native", "KINONE_ISA": isa, "KINONE_THREADS": str(threads),
                   "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent / "src")])}  # fmt: skip
    ran = subprocess.run([sys.executable, "-W", "ignore", str(HERE / "training.py")], capture_output=True, text=True,
                         check=False, env=environment)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == GOLDEN
