"""Products of matrices."""

from functools import partial

import numpy as np
from harness import Call, Work


def _pair(m: int, k: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)


def _kinone(*shape: int) -> Call:
    from kinone import kernels

    a, b = _pair(*shape)
    return lambda: kernels.matmul(a, b)


def _numpy(*shape: int) -> Call:
    a, b = _pair(*shape)
    return lambda: a @ b


def _torch(*shape: int) -> Call:
    import torch

    a, b = map(torch.from_numpy, _pair(*shape))
    return lambda: a @ b


def _jax(*shape: int) -> Call:
    import jax

    product = jax.jit(lambda a, b: a @ b)
    a, b = map(jax.numpy.asarray, _pair(*shape))
    return lambda: product(a, b).block_until_ready()


def _work(m: int, k: int, n: int, target: float, moonshot: float) -> Work:
    makers = {"kinone": _kinone, "numpy": _numpy, "torch": _torch, "jax": _jax}
    peers = {name: partial(maker, m, k, n) for name, maker in makers.items()}
    moved = 4.0 * (m * k + k * n + m * n)
    return Work(f"gemm {m}×{k}×{n}", peers, 2.0 * m * k * n, moved, target, moonshot)


WORKS = [
    *(_work(n, n, n, 1.8, 2.0) for n in (512, 1024, 2048)),
    *(_work(*shape, 1.0, 1.5) for shape in ((64, 784, 256), (8, 2048, 2048), (1, 2048, 2048), (20000, 64, 10))),
]
