"""What a benchmark is, and how it is timed: Kinone and its peers take turns at the same work in one process.

Every turn lasts some milliseconds, and between turns everyone's threads fall asleep. A turn's time is the median of its
calls; Kinone's and each peer's turns of one round make a ratio, and the median of those is what counts. The machine's
limits are measured in the same rounds: fused multiply-adds on registers, and the copying of a large array.
"""

import gc
import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Any]


@dataclass(frozen=True)
class Work:
    """One piece of work, and what each peer makes of it."""

    name: str
    peers: dict[str, Callable[[], Call]]
    """By name, first Kinone: prepares what the work needs and returns the call to be timed."""
    operations: float = 0
    """Floating-point operations of a call, two for a multiply-add, as the plain algorithm has them."""
    bytes: float = 0
    """What has to be read and written at least."""
    target: float = 1.0
    """How many times as fast as the best peer Kinone is to be; and the moonshot."""
    moonshot: float = 1.5
    has_memory: bool = False
    """Whether its peak memory is of interest."""
    needs: dict[str, str] = field(default_factory=dict[str, str])
    """The module that a peer needs, where it is not named like the peer's first word."""

    def installed(self) -> list[str]:
        """The peers whose module is there."""
        return [peer for peer in self.peers if importlib.util.find_spec(self.needs.get(peer, peer.split()[0]))]


def turn(call: Call, seconds: float) -> float:
    """The median time of a call, over `seconds` of them."""
    call()  # wakes the threads
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    time.sleep(0.002)  # until idle threads are asleep
    return statistics.median(times)


def own_allocator(is_on: bool) -> None:
    """Whether NumPy takes memory from Kinone's cache: peers that are made of NumPy have NumPy's allocator."""
    from kinone.kernels import settings

    if settings.native is not None:
        settings.native.set_allocator(is_on)


def limits() -> dict[str, Callable[[float], float]]:
    """Operations and bytes a second: a function of the seconds it may take, for each."""
    from kinone.kernels import settings

    native: Any = settings.native

    def multiply_adds(seconds: float) -> float:
        operations = native.multiply_adds("f", 100_000)
        return operations / turn(lambda: native.multiply_adds("f", 100_000), seconds)

    def copied(seconds: float) -> float:
        size = 1 << 24
        x, y = np.ones(size, np.float32), np.ones(size, np.float32)
        return 8 * size / turn(lambda: native.copy(y, x), seconds)

    return {"operations": multiply_adds, "bytes": copied} if native else {}


def measured(work: Work, rounds: int, seconds: float, peers: list[str] | None = None) -> dict[str, Any]:
    """Times, ratios, and the most that the machine did in any of these rounds."""
    names = [peer for peer in work.installed() if peer == "kinone" or not peers or peer.split()[0] in peers]
    calls = {name: work.peers[name]() for name in names}
    for name, call in calls.items():
        own_allocator(name == "kinone")
        call(), call()  # what is compiled or cached on the first call
    gc.collect()
    gc.disable()
    times: dict[str, list[float]] = {name: [] for name in names}
    most: dict[str, list[float]] = {name: [] for name in limits()}
    for _ in range(rounds):
        time.sleep(0.02)  # some peers' threads stay awake for longer, and would halve the limits
        own_allocator(True)
        for name, limit in limits().items():
            most[name].append(limit(min(seconds, 0.02)))
        for name, call in calls.items():
            own_allocator(name == "kinone")
            times[name].append(turn(call, seconds))
        gc.collect()
    found = {name: statistics.median(t) for name, t in times.items()}
    ratios = {
        name: statistics.median(peer / own for peer, own in zip(t, times["kinone"], strict=True))
        for name, t in times.items()
        if name != "kinone"
    }
    best = min(ratios, key=ratios.__getitem__) if ratios else None
    reached = {name: max(t) for name, t in most.items()}
    amounts = {"operations": work.operations, "bytes": work.bytes}
    least = max((amounts[name] / limit for name, limit in reached.items()), default=0.0)
    return {
        "name": work.name, "seconds": found, "ratios": ratios, "best_peer": best,
        "ratio": ratios[best] if best else None, "target": work.target, "moonshot": work.moonshot,
        **amounts, "limits": reached, "of_limit": least / found["kinone"] if least else None,
    }  # fmt: skip


def peak(work: Work, peer: str) -> int:
    """The bytes by which three calls and their preparation raise the most memory that the process ever had."""
    setup = work.peers[peer]
    before = _status("VmRSS")
    own_allocator(peer == "kinone")
    call = setup()
    for _ in range(3):
        call()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))
