"""How long the steps of a run wait for their films, and what memory it has, epoch by epoch: ResNet-18 at 224 pixels.

    python benchmarks/waiting.py [--size 224] [--epochs 3] [--workers 0 1 2] [--data FOLDER] [--json FILE]

`kinone train` as it is, on demo films from the cache, once with each number of workers; figures are those of its own
metrics.jsonl, the first step aside, which waits for the workers to start. Target: waiting is less than 2 % of the time,
and the last epoch has no more memory than the first.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kinone.training.run_directory import read_metrics

ROOT = Path(__file__).resolve().parent.parent


def measured(lines: list[dict[str, Any]]) -> dict[str, Any]:
    steps = [line for line in lines if line["kind"] == "step"][1:]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    waited, busy = (sum(step[name] for step in steps) for name in ("waited", "seconds"))
    return {
        "steps": len(steps),
        "median_step_seconds": statistics.median(step["seconds"] for step in steps),
        "median_wait_seconds": statistics.median(step["waited"] for step in steps),
        "share_of_waiting": waited / (waited + busy),
        "films_a_second": sum(step["samples"] for step in steps) / (waited + busy),
        "memory_after_each_epoch": [epoch["memory"] for epoch in epochs],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        data = asked.data or Path(scratch) / "data"
        for workers in asked.workers:  # a process for each, so that memory begins anew
            run = Path(scratch) / f"run-{workers}"
            flags = {"dir": data, "set": "data.patients=140", "image-size": asked.size, "epochs": asked.epochs,
                     "batch-size": asked.batch_size, "workers": workers, "run-dir": run}  # fmt: skip
            words = [f"--{name}={value}" for name, value in flags.items()]
            command = [sys.executable, "-W", "ignore", "-m", "kinone.cli", "train", *words]
            subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            found[f"{workers} workers"] = measured(read_metrics(run / "metrics.jsonl"))
            print(f"{workers} workers")
            for name, value in found[f"{workers} workers"].items():
                print(f"  {name:<26} {value}")
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
