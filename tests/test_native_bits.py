"""Every native kernel against the exact emulation of profile kn1, bit for bit; on any processor, with any threads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import digests
from digests import FAMILIES
from kinone import kernels
from kinone.kernels import dispatch, settings
from kn1.arithmetic import same_bits

native: Any = settings.native
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)

HERE = Path(__file__).parent
GOLDEN = {family: json.loads((HERE / "golden" / f"{family}.json").read_text()) for family in FAMILIES}


def differing(family: str, cases: int, dtype: Any, most: int, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    wrong = []
    for i in range(cases):
        name, args, attrs = FAMILIES[family].case(rng, dtype, most)
        with np.errstate(all="ignore"):
            expected = FAMILIES[family].KERNELS[name](*args, **attrs)
        y = getattr(native, name)(*args, **attrs)
        assert y is not NotImplemented, (name, args, attrs)
        if not same_bits(y, expected):
            shapes = [(a.shape, a.strides) if isinstance(a, np.ndarray) else a for a in args]
            wrong.append((i, name, shapes, attrs))
    return wrong


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("dtype", "cases", "most"), [(np.float32, 600, 12), (np.float64, 60, 6)])
def test_no_bit_differs_from_the_profile(family, dtype, cases, most):
    assert not differing(family, cases, dtype, most, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_no_bit_differs_over_a_hundred_thousand_cases(family):
    """Over all families together, and then some of larger shapes."""
    assert not differing(family, 1 + 100_000 // len(FAMILIES), np.float32, 14, seed=2)
    assert not differing(family, 200, np.float32, 40, seed=3)
    assert not differing(family, 300, np.float64, 10, seed=4)


def test_every_native_kernel_has_an_emulation():
    emulated = {name for family in FAMILIES.values() for name in family.KERNELS}
    chosen = [choice for choice in kernels.explain("native") if choice.implementation == "native"]
    assert {choice.name for choice in chosen if not choice.why.startswith("composed")} == emulated
    assert dispatch.profile("native") == "kn1", "a kernel without a native one"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_digests_are_the_profiles(family):
    assert digests.digests(family) == GOLDEN[family]


def test_the_number_of_threads_changes_no_bit():
    before = native.threads()
    try:
        for count in (1, 2, 3, 4, 7, 8):
            kernels.set_threads(count)
            assert native.threads() == count
            assert {family: digests.digests(family) for family in FAMILIES} == GOLDEN, f"{count} threads"
    finally:
        kernels.set_threads(before)


@pytest.mark.parametrize("isa", native.isas())
def test_the_instruction_set_changes_no_bit(isa):
    if not native.isas()[isa]:
        pytest.skip(f"this processor has no {isa}")
    environment = {**os.environ, "KINONE_KERNELS": "native", "KINONE_ISA": isa, "KINONE_THREADS": "2",
                   "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent / "src")])}  # fmt: skip
    ran = subprocess.run([sys.executable, "-W", "ignore", str(HERE / "digests.py")], capture_output=True, text=True,
                         check=True, env=environment)  # fmt: skip
    assert json.loads(ran.stdout) == GOLDEN


def test_the_profile_is_named():
    assert dispatch.profile("reference") == "reference"
