"""What recording costs: the overhead of one call, and time and memory of a chain of 100,000.

    python benchmarks/overhead.py [--json FILE]

Machines differ and are noisy: times are the best of several, and are also given as they would be on a machine on
which np.tanh of an 8×8 array takes 0.3 µs.
"""

import argparse
import gc
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import kinone as kn
from kinone.inspection.observer import Observer, observing

YARDSTICK = 0.3  # µs for np.tanh on 8×8
REPEATS = 15


def best(run: Callable[[], Any], repeats: int = REPEATS) -> float:
    """The least seconds that `run` took."""
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def chain(x: kn.Tensor, n: int) -> kn.Tensor:
    y = x
    for _ in range(n):
        y = kn.tanh(y)
    return y


def walk(n: int, repeats: int) -> tuple[float, float]:
    """The least seconds of a chain of n calls, forward and backward; its backward never rides on a warm forward."""
    x = kn.Tensor(np.random.default_rng(0).standard_normal((8, 8)), requires_grad=True)
    ones = np.ones((8, 8))
    forward = backward = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        y = chain(x, n)
        middle = time.perf_counter()
        y.backward(ones)
        end = time.perf_counter()
        forward, backward = min(forward, middle - start), min(backward, end - middle)
        del y
    return forward, backward


def per_call(n: int = 10_000) -> dict[str, float]:
    """Microseconds of one call, as measured and `scaled` to the yardstick."""
    x = np.random.default_rng(0).standard_normal((8, 8))
    plain = best(lambda: [np.tanh(x) for _ in range(n)]) / n * 1e6
    raw = best(lambda: [kn.tanh(x) for _ in range(n)]) / n * 1e6
    forward, backward = (seconds / n * 1e6 for seconds in walk(n, REPEATS))
    times = {"np.tanh": plain, "kn.tanh of an array": raw, "recorded call": forward,
             "recorded call and its share of backward": forward + backward}  # fmt: skip
    return {**times, **{f"{name}, scaled": t * YARDSTICK / plain for name, t in times.items()}}


def long_chain(short: int = 10_000, long: int = 100_000) -> dict[str, float]:
    """Seconds of both chains; `growth` is time per call in the long one over that in the short one: 1 is linear."""
    result: dict[str, float] = {}
    times = {n: walk(n, 5) for n in (short, long)}
    for i, way in enumerate(("forward", "backward")):
        a, b = times[short][i], times[long][i]
        result |= {f"{way} of {short:,} (s)": a, f"{way} of {long:,} (s)": b, f"{way} growth": b / long / (a / short)}
    return result


def memory(n: int = 1000, size: int = 64) -> dict[str, float]:
    """MiB of a chain on size×size arrays, as tracemalloc counts them, while backward walks from its end to its start.

    Each call keeps one array for its rule. What backward has used it lets go, so memory falls as it proceeds.
    """
    x = kn.Tensor(np.random.default_rng(0).standard_normal((size, size)), requires_grad=True)
    array = size * size * 8 / 2**20
    held: list[int] = []
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        y = chain(x, n)
        forward = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.reset_peak()
        with observing(_Gauge(held)):
            y.backward(np.ones((size, size)))
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    quarters = {f"after {q} % of backward": (held[q * len(held) // 100] - before) / 2**20 for q in (25, 50, 75)}
    return {"kept arrays alone": n * array, "after forward": forward / 2**20, **quarters,
            "after backward": (now - before) / 2**20, "peak of backward": (peak - before) / 2**20}  # fmt: skip


class _Gauge(Observer):
    """Notes the memory in use at each rule."""

    def __init__(self, held: list[int]) -> None:
        self.held = held

    def before_backward(self, node: Any, g: Any) -> None:
        self.held.append(tracemalloc.get_traced_memory()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description="What recording costs.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    file: Path | None = parser.parse_args().json
    figures = {
        "one call on 8×8 (µs)": per_call(),
        "a chain of calls on 8×8": long_chain(),
        "memory of a chain of 1,000 calls on 64×64 (MiB)": memory(),
    }
    for title, rows in figures.items():
        print(f"\n{title}")
        for name, value in rows.items():
            print(f"  {name:<48}{value:>10.3f}")
    if file is not None:
        file.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
