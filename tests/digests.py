"""Digests of what the native kernels compute: one for every processor, number of threads and compiler.

python tests/digests.py
"""

import hashlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

import kinone.kernels
from kinone.kernels import dispatch

kernels: Any = SimpleNamespace(**vars(kinone.kernels))  # as KINONE_KERNELS=native has it
dispatch.bind(vars(kernels), "native")


def products() -> Iterator[Callable[[], Any]]:
    """Products of every path: small and large, few rows, few columns, batches, transposes, bias."""
    rng = np.random.default_rng(11)
    shapes = [(3, 5, 7), (64, 64, 64), (257, 511, 130), (1, 900, 3000), (2000, 700, 3), (65, 2000, 66), (50, 400, 5000),
              (300, 1, 300), (9, 40, 3200), (128, 385, 3100)]  # fmt: skip
    for dtype in (np.float32, np.float64):
        for m, k, n in shapes:
            a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n)))
            yield lambda a=a, b=b: kernels.matmul(a, b)
            yield lambda a=a, b=b: kernels.matmul(np.asfortranarray(a), np.asfortranarray(b))
        x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((40, 100, 90), (310, 90), (310,)))
        yield lambda x=x, w=w, b=b: kernels.linear(x, w, b)
        yield lambda x=x: kernels.matmul(x, x.swapaxes(-1, -2))


def gemm() -> str:
    found = hashlib.sha256()
    for product in products():
        found.update(product().tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    print(gemm())
