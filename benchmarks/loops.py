"""The seeds' own tables: convolution and pooling as loops of Python, in plain NumPy, and native."""

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Call, Work


def convolved(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """A 3×3 convolution with padding 1, a number at a time."""
    n, c, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((n, len(w), height, width), x.dtype)
    for i in range(n):
        for o in range(len(w)):
            for h in range(height):
                for v in range(width):
                    s = 0.0
                    for k in range(c):
                        for p in range(3):
                            for q in range(3):
                                s += padded[i, k, h + p, v + q] * w[o, k, p, q]
                    y[i, o, h, v] = s
    return y


def pooled(x: np.ndarray) -> np.ndarray:
    """2×2 max-pooling, a window at a time."""
    n, c, height, width = x.shape
    y = np.zeros((n, c, height // 2, width // 2), x.dtype)
    for i in range(n):
        for k in range(c):
            for h in range(height // 2):
                for v in range(width // 2):
                    y[i, k, h, v] = x[i, k, 2 * h : 2 * h + 2, 2 * v : 2 * v + 2].max()
    return y


def _convolution(shape: tuple[int, ...], out: int) -> dict[str, Callable[[], Call]]:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(shape, np.float32), rng.standard_normal((out, shape[1], 3, 3), np.float32)
    geometry: Any = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}

    def native() -> Call:
        from kinone import kernels

        return lambda: kernels.convolution_forward(x, w, None, **geometry)

    def reference() -> Call:
        from kinone.kernels.convolution.reference import convolution_forward

        return lambda: convolution_forward(x, w, None, **geometry)

    return {"kinone": native, "reference": reference, "python": lambda: lambda: convolved(x, w)}


def _pooling(shape: tuple[int, ...]) -> dict[str, Callable[[], Call]]:
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    out = tuple(n // 2 for n in shape[2:])
    geometry: Any = ((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), out)

    def native() -> Call:
        from kinone import kernels

        return lambda: kernels.max_pool_forward(x, *geometry)

    def reference() -> Call:
        from kinone.kernels.pooling.reference import max_pool_forward

        return lambda: max_pool_forward(x, *geometry)

    return {"kinone": native, "reference": reference, "python": lambda: lambda: pooled(x)}


_NEEDS = {"python": "numpy", "reference": "numpy"}

WORKS = [
    *(Work(f"loops: conv 3×3 {'×'.join(map(str, shape))}→{out}", _convolution(shape, out), needs=_NEEDS, target=20)
      for shape, out in (((1, 8, 28, 28), 8), ((1, 16, 32, 32), 16))),
    *(Work(f"loops: max-pool 2×2 {'×'.join(map(str, shape))}", _pooling(shape), needs=_NEEDS, target=10)
      for shape in ((1, 8, 28, 28), (2, 16, 32, 32))),
]  # fmt: skip
