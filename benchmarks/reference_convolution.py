"""The reference convolution beside one plain matrix product of as many multiplications.

    python benchmarks/reference_convolution.py

The target for the first row is a forward pass within 3 × the product. OMP_NUM_THREADS sets the threads of both.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kinone import kernels

# batch, channels, out channels, size, kernel, stride, groups; padding is half the kernel
CASES = [
    (8, 64, 64, 56, 3, 1, 1),
    (8, 64, 128, 56, 3, 2, 1),
    (8, 256, 256, 14, 3, 1, 1),
    (8, 512, 512, 7, 3, 1, 1),
    (8, 3, 64, 224, 7, 2, 1),
    (8, 64, 256, 56, 1, 1, 1),
    (8, 64, 64, 56, 3, 1, 64),
]


def milliseconds(f: Callable[[], Any], runs: int = 7) -> float:
    f()
    times: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"{'batch, in, out, size, kernel, stride, groups':<46}{'product':>9}", end="")
    print("".join(f"{name:>16}" for name in ("forward", "input", "weight")), " [ms]")
    for case in CASES:
        batch, channels, outs, size, k, stride, groups = case
        geometry = ((stride,) * 2, ((k // 2, k // 2),) * 2, (1, 1), groups)
        x = rng.standard_normal((batch, channels, size, size), np.float32)
        w = rng.standard_normal((outs, channels // groups, k, k), np.float32)
        g = kernels.convolution_forward(x, w, None, *geometry)
        a = rng.standard_normal((batch * g[0, 0].size, w[0].size), np.float32)
        b = rng.standard_normal((w[0].size, outs), np.float32)
        plain = milliseconds(lambda a=a, b=b: a @ b)
        times = [
            milliseconds(lambda x=x, w=w, at=geometry: kernels.convolution_forward(x, w, None, *at)),
            milliseconds(
                lambda g=g, w=w, n=size, at=geometry: kernels.convolution_backward_input(g, w, None, (n, n), *at)
            ),
            milliseconds(lambda g=g, x=x, k=k, at=geometry: kernels.convolution_backward_weight(g, x, (k, k), *at)),
        ]
        print(f"{case!s:<46}{plain:9.1f}" + "".join(f"{t:8.1f} ({t / plain:4.1f}×)" for t in times))


if __name__ == "__main__":
    main()
