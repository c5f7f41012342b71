"""What the ledger of a run costs: its share of the steps' time, and its bytes a step.

    python benchmarks/ledger.py [--steps 108] [--data FOLDER] [--json FILE]

A part of `kinone train` as it is without arguments (by default three epochs); what is counted is everything that a run
without a ledger would not do: digests of samples, weights and optimizer, and writing the lines. Targets: 2 % and 1 KB.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kinone.training import ledger, loop, session
from kinone.training.config import RunConfig
from kinone.training.ledger import Ledger
from kinone.training.run_directory import read_metrics

spent: dict[str, float] = {"samples": 0.0, "weights and optimizer": 0.0, "lines": 0.0}


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] += time.perf_counter() - start

    return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=108)
    parser.add_argument("--data", type=Path, default=Path("data/demo"))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    loop.digest_of_ids = timed("samples", loop.digest_of_ids)
    loop.Loop.digests = timed("weights and optimizer", loop.Loop.digests)
    Ledger.add = timed("lines", Ledger.add)
    config = RunConfig.of([{"loop": {"max_steps": asked.steps}, "machine": {"folder": str(asked.data)}}])
    with tempfile.TemporaryDirectory() as scratch:
        run = session.begin(config, Path(scratch) / "run").run
        steps = [line["seconds"] for line in read_metrics(run.metrics) if line["kind"] == "step"]
        lines = run.ledger.read_bytes().splitlines(keepends=True)
    recorded = [line for line in lines if ledger.parsed(line.rstrip(b"\n"), 0).kind == "step"]
    cost, whole = sum(spent.values()), sum(steps)
    found = {
        "steps": len(steps),
        "median_step_seconds": statistics.median(steps),
        "share_of_step_time": cost / (whole - cost),
        "shares": {name: seconds / (whole - cost) for name, seconds in spent.items()},
        "bytes_a_step": sum(map(len, recorded)) / len(recorded),
        "bytes_of_the_longest": max(map(len, recorded)),
        "bytes_a_step_with_all_lines": sum(map(len, lines)) / len(steps),
    }
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name, value in found.items():
        print(f"{name:<28} {value}")


if __name__ == "__main__":
    main()
