"""What `kinone bench` calls, in a process for each piece of work.

python benchmarks list                       names of all works, as JSON
python benchmarks time NAME ROUNDS SECONDS [PEER …]
python benchmarks peak NAME PEER
"""

import importlib
import json
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import Work, measured, peak  # noqa: E402

FAMILIES = ("gemm", "convolution", "networks", "sequences", "mlp", "memory_bound", "small", "loops")


def works() -> dict[str, list[Work]]:
    return {family: importlib.import_module(family).WORKS for family in FAMILIES if (HERE / f"{family}.py").exists()}


def work(name: str) -> Work:
    return next(work for family in works().values() for work in family if work.name == name)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # peers warn about themselves
    match sys.argv[1:]:
        case ["list"]:
            found = {
                family: [{"name": work.name, "peers": work.installed(), "has_memory": work.has_memory} for work in some]
                for family, some in works().items()
            }
        case ["time", name, rounds, seconds, *peers]:
            found = measured(work(name), int(rounds), float(seconds), peers)
        case ["peak", name, peer]:
            found = peak(work(name), peer)
        case _:
            sys.exit(__doc__)
    print(json.dumps(found))
