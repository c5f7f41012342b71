"""Digests of what the native kernels compute: one for every processor, number of threads and compiler.

python tests/digests.py                                        of every family
python tests/digests.py gemm > tests/golden/gemm.json          of one: only a new profile may change it
"""

import hashlib
import importlib
import json
import pkgutil
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

import kinone.kernels
import kn1
from kinone.kernels import dispatch

kernels: Any = SimpleNamespace(**vars(kinone.kernels))  # as KINONE_KERNELS=native has it
dispatch.bind(vars(kernels), "native")

FAMILIES = {
    module.name: importlib.import_module(f"kn1.{module.name}")
    for module in pkgutil.iter_modules(kn1.__path__)
    if module.name not in ("arithmetic", "functions", "winograd")
}


def digest(y: Any) -> str:
    """Of an array or a structure of them: shape, dtype and numbers, however they lie in memory."""
    found = hashlib.sha256()
    for part in y if isinstance(y, tuple | list) else [y]:
        a = np.asarray(part)
        found.update(f"{a.dtype.str}{a.shape}".encode() + a.tobytes() if part is not None else b"none")
    return found.hexdigest()[:32]


def digests(family: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for label, name, args, attrs in FAMILIES[family].digest_calls():
        key = f"{name} {label}"
        assert key not in found, f"two calls bear the name {key}"
        found[key] = digest(getattr(kernels, name)(*args, **attrs))
    return found


if __name__ == "__main__":
    found = digests(sys.argv[1]) if sys.argv[1:] else {family: digests(family) for family in FAMILIES}
    print(json.dumps(found, indent=1, sort_keys=True))
