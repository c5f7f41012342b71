"""Products of matrices beside NumPy's, PyTorch's if it is installed, and the machine's limit, in one run.

    python benchmarks/gemm.py [--threads 1 2] [--dtype float32 float64] [--json]

The limit is a loop of fused multiply-adds on registers. All are timed in turns, each for some milliseconds at a time,
so that no one's threads are still awake when another is timed; of a round's times the least counts, and of the rounds'
ratios the median.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SIZES = [(n, n, n) for n in (64, 128, 256, 512, 768, 1024, 2048)]
SKINNY = [(1, 2048, 2048), (8, 2048, 2048), (64, 784, 256), (2048, 2048, 1), (20000, 64, 10), (64, 576, 3136),
          (2048, 64, 2048), (64, 25088, 576)]  # fmt: skip


def least(f: Callable[[], Any], seconds: float) -> float:
    """The least time of a call, over `seconds` of calls."""
    best, end = float("inf"), time.perf_counter() + seconds
    f()  # wakes the threads, warms the caches
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        f()
        best = min(best, time.perf_counter() - start)
    return best


def measured(shape: tuple[int, int, int], dtype: str, rounds: int) -> dict[str, Any]:
    import numpy as np

    from kinone import kernels
    from kinone.kernels import settings

    native: Any = settings.native
    rng = np.random.default_rng(0)
    m, k, n = shape
    a, b = (rng.standard_normal(sides).astype(dtype) for sides in ((m, k), (k, n)))
    calls: dict[str, Callable[[], Any]] = {"kinone": lambda: kernels.matmul(a, b), "numpy": lambda: np.matmul(a, b)}
    if torch := _torch():
        at, bt = torch.from_numpy(a), torch.from_numpy(b)
        calls["torch"] = lambda: torch.matmul(at, bt)
    spins = 200_000
    operations = native.multiply_adds(np.dtype(dtype).char, 1)
    calls["limit"] = lambda: native.multiply_adds(np.dtype(dtype).char, spins)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(least(call, 0.02))
            time.sleep(0.001)  # until idle threads are asleep
    flops = 2.0 * m * k * n
    rates = {name: (operations * spins if name == "limit" else flops) / min(t) / 1e9 for name, t in times.items()}
    ratios = {
        name: statistics.median(theirs / ours for theirs, ours in zip(times[name], times["kinone"], strict=True))
        for name in calls
        if name not in ("kinone", "limit")
    }
    return {"shape": shape, "dtype": dtype, "threads": native.threads(), "gflops": rates,
            "of_limit": rates["kinone"] / rates["limit"], "ratios": ratios}  # fmt: skip


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(int(os.environ["KINONE_THREADS"]))
    return torch


def show(row: dict[str, Any]) -> None:
    m, k, n = row["shape"]
    rates = " ".join(f"{name} {rate:7.1f}" for name, rate in row["gflops"].items())
    ratios = " ".join(f"{ratio:5.2f}× {name}" for name, ratio in row["ratios"].items())
    work = f"{row['dtype']} on {row['threads']} {m:>6}×{k}×{n:<5}"
    print(f"{work} {rates} GFLOP/s {row['of_limit']:4.0%} of the limit {ratios}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in a process whose threads are set
    options = parser.parse_args()
    if options.here:
        for dtype in options.dtype:
            for shape in (*SIZES, *SKINNY):
                print(json.dumps(measured(shape, dtype, options.rounds)), flush=True)
        return
    rows: list[dict[str, Any]] = []
    for threads in options.threads:
        names = ("KINONE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        command = [sys.executable, __file__, "--here", "--rounds", str(options.rounds), "--dtype", *options.dtype]
        environment = {**os.environ, **dict.fromkeys(names, str(threads)), "OPENBLAS_THREAD_TIMEOUT": "12"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            for line in process.stdout or ():
                rows.append(json.loads(line))
                if not options.json:
                    show(rows[-1])
        if process.returncode:
            raise SystemExit(process.returncode)
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
