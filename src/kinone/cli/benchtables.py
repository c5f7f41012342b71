"""The tables that `kinone bench --markdown` writes: one for each family, as benchmarks/RESULTS.md has them."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

_COLUMNS = ("work", "Kinone", "peers", "ratio to the best", "target", "of the limit", "peak memory")


def tables(report: dict[str, Any]) -> str:
    """The text of a Markdown file; a ratio is bold where the target is met."""
    limits: dict[str, float] = report["limits"]
    parts = [f"{limits_text(limits)}.\n"] if limits else []
    for family, works in groupby(report["works"], lambda work: work["family"]):
        head = f"### {family.replace('_', '-')}\n\n{_line(*_COLUMNS)}{_line(*['---'] * len(_COLUMNS))}"
        parts.append(head + "".join(_line(*_cells(work)) for work in works))
    return "\n".join(parts)


def limits_text(limits: dict[str, float]) -> str:
    """What the machine can do.

    >>> limits_text({"operations": 2.13e11, "bytes": 6.2e10})
    'the limits here: 213 GFLOP/s, 62.0 GB/s'
    """
    return f"the limits here: {limits['operations'] / 1e9:.0f} GFLOP/s, {limits['bytes'] / 1e9:.1f} GB/s"


def time_text(seconds: float) -> str:
    """A time with three digits and a unit.

    >>> time_text(0.0000123), time_text(0.0123), time_text(1.5)
    ('12.3 µs', '12.3 ms', '1.50 s')
    """
    unit, scale = ("µs", 1e6) if seconds < 1e-3 else ("ms", 1e3) if seconds < 1 else ("s", 1.0)
    value = seconds * scale
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def memory_text(work: dict[str, Any]) -> str:
    """Kinone's peak, and its share of the most frugal peer's; nothing where it was not measured.

    >>> memory_text({"memory": {"kinone": 3 << 20, "torch": 4 << 20}})
    '3 MiB (75%)'
    """
    memory: dict[str, int] = work.get("memory", {})
    own, others = memory.get("kinone"), [size for peer, size in memory.items() if peer != "kinone"]
    return f"{own / 2**20:.0f} MiB" + (f" ({own / min(others):.0%})" if others else "") if own else ""


def _cells(work: dict[str, Any]) -> Iterator[str]:
    yield work["name"]
    if "error" in work:
        yield from (f"failed: {work['error']}", *[""] * (len(_COLUMNS) - 2))
        return
    seconds: dict[str, float] = dict(work["seconds"])
    yield time_text(seconds.pop("kinone"))
    yield ", ".join(f"{peer} {time_text(time)}" for peer, time in seconds.items()) or "none"
    ratio = "" if work["ratio"] is None else f"{work['ratio']:.2f}×"
    yield f"**{ratio}**" if ratio and work["ratio"] >= work["target"] else ratio
    yield f"{work['target']:g}×"
    yield f"{work['of_limit']:.0%}" if work["of_limit"] else ""
    yield memory_text(work)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"
