"""`kinone bench`: Kinone beside its peers, on the same work in the same run."""

import json as json_format
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from kinone.cli.benchplot import picture
from kinone.cli.benchtables import limits_text, memory_text, tables, time_text
from kinone.cli.terminal import BAD, DIM, GOOD, NAME, TITLE, WARN, console
from kinone.errors import ArgumentError
from kinone.kernels.environment import environment

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Names = Annotated[list[str] | None, Parameter(consume_multiple=True)]
Found = dict[str, Any]


def bench(
    families: Annotated[tuple[str, ...], Parameter(show_default=False)] = (), /, *, grep: str | None = None,
    peers: Names = None, rounds: int = 7, seconds: float = 0.1, no_memory: Flag = False, listing: Annotated[
        bool, Parameter(name="--list", negative="", show_default=False)] = False, json: Path | None = None,
    markdown: Path | None = None, plot: Path | None = None, folder: Path | None = None,
) -> int:  # fmt: skip
    """Time Kinone and its peers on the same work, in turns, and say how far from the machine's limits they are.

    Each piece of work has a process of its own. A ratio is the peer's time by Kinone's, the median over the rounds;
    above 1, Kinone is faster. Close what else is running: a shared core shows in every figure.

    For example:

        kinone bench --list
        kinone bench gemm convolution
        kinone bench --grep ResNet --peers torch --json results.json --plot results.svg

    Parameters
    ----------
    families
        Run these only.
    grep
        Run only the works whose name contains this text.
    peers
        Compare with these only, of those that are installed: torch, numpy, jax, onnxruntime …
    rounds
        How often everyone has a turn.
    seconds
        How long a turn is.
    no_memory
        Leave out the peak memory of training steps, which needs a process for each peer.
    listing
        Only list the works, and the peers that are installed for each.
    json
        Write all that was measured to this file.
    markdown
        Write the tables to this file, as benchmarks/RESULTS.md has them.
    plot
        Draw the ratios, as SVG, to this file.
    folder
        The repository's folder `benchmarks`, if it is not where Kinone's sources are.
    """
    if rounds < 1 or seconds <= 0:
        raise ArgumentError("kinone bench", "rounds ≥ 1 and seconds > 0", f"rounds={rounds} and seconds={seconds}")
    for file in (json, markdown, plot):
        if file is not None and not file.resolve().parent.is_dir():
            raise ArgumentError("kinone bench", "a file in a folder that exists", repr(str(file)))
    folder = _folder(folder)
    works = _chosen(folder, families, grep)
    if listing:
        _show_list(console(), works)
        return 0
    report: Found = {"environment": environment(), "rounds": rounds, "seconds_a_turn": seconds, "works": []}
    _run(folder, works, report, peers or [], "" if no_memory else "peak")
    if json is not None:
        json.write_text(json_format.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if markdown is not None:
        markdown.write_text(tables(report), encoding="utf-8")
    if plot is not None:
        plot.write_text(picture(report["works"]), encoding="utf-8")
    _show(console(), report)  # last: nothing is lost when nobody reads on
    return 0


# ------------------------------------------------------------------------------ what there is to run
def _folder(asked: Path | None) -> Path:
    folder = asked or Path(__file__).resolve().parents[3] / "benchmarks"
    if not (folder / "__main__.py").is_file():
        hint = "they are in Kinone's repository: clone it, and run the command there or pass --folder."
        raise ArgumentError("kinone bench", "a folder of benchmarks", repr(str(folder)), hint=hint)
    return folder


def _chosen(folder: Path, families: tuple[str, ...], grep: str | None) -> dict[str, list[Found]]:
    works: dict[str, list[Found]] = _asked(folder, "list")
    if unknown := [family for family in families if family not in works]:
        raise ArgumentError("kinone bench", f"families among {', '.join(works)}", ", ".join(map(repr, unknown)))
    chosen = {
        family: [work for work in some if (grep or "").lower() in work["name"].lower()]
        for family, some in works.items()
        if not families or family in families
    }
    if not any(chosen.values()):
        raise ArgumentError("kinone bench", "a text that some work's name contains", repr(grep))
    return {family: some for family, some in chosen.items() if some}


def _asked(folder: Path, *arguments: str) -> Any:
    """What a process of the benchmarks answers."""
    command = [sys.executable, str(folder), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        last = ran.stderr.strip().splitlines() or ["no message"]
        raise ArgumentError("kinone bench", f"{' '.join(arguments)} to run", last[-1])
    return json_format.loads(ran.stdout.splitlines()[-1])


# ------------------------------------------------------------------------------ running it
def _run(folder: Path, works: dict[str, list[Found]], report: Found, peers: list[str], peak: str) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=sum(map(len, works.values())))
        for family, work in ((family, work) for family, some in works.items() for work in some):
            progress.update(task, description=work["name"])
            turns = (str(report["rounds"]), str(report["seconds_a_turn"]))
            try:
                found = _asked(folder, "time", work["name"], *turns, *peers)
                if peak and work["has_memory"]:
                    found["memory"] = {peer: _asked(folder, peak, work["name"], peer) for peer in found["seconds"]}
            except ArgumentError as error:
                found = {"name": work["name"], "error": str(error)}
            report["works"].append({"family": family, **found})
            progress.advance(task)
    each = [work["limits"] for work in report["works"] if work.get("limits")]
    report["limits"] = {name: max(limit[name] for limit in each) for name in (each[0] if each else ())}


# ------------------------------------------------------------------------------ showing it
def _show_list(out: Console, works: dict[str, list[Found]]) -> None:
    table = Table(box=None, header_style=TITLE)
    for column in ("family", "work", "peers installed"):
        table.add_column(column)
    for family, some in works.items():
        for i, work in enumerate(some):
            others = ", ".join(peer for peer in work["peers"] if peer != "kinone")
            table.add_row("" if i else family, Text(work["name"], NAME), Text(others or "none", DIM))
    out.print(table)


def _show(out: Console, report: Found) -> None:
    table = Table(box=None, header_style=TITLE)
    table.add_column("work", min_width=14)  # names give way where the terminal is narrow, figures do not
    for column in ("kinone", "best peer", "ratio", "target", "of limit", "peak memory"):
        table.add_column(column, justify="right", no_wrap=column not in ("best peer", "peak memory"))
    for cells in map(_row, report["works"]):
        table.add_row(*cells)
    out.print(table)
    if best := report["limits"]:
        out.print(Text(limits_text(best), DIM))
    out.print(Text("a ratio is the peer's time by Kinone's; green: the target is met", DIM))


def _row(work: Found) -> Iterator[Text]:
    yield Text(work["name"], NAME)
    if "error" in work:
        yield Text("failed", BAD)
        yield Text(work["error"], BAD)
        return
    yield Text(time_text(work["seconds"]["kinone"]))
    if work["best_peer"] is None:
        yield from (Text("none", DIM), Text(""), Text(f"{work['target']:g}×", DIM))
    else:
        yield Text(f"{time_text(work['seconds'][work['best_peer']])} {work['best_peer']}")
        style = GOOD if work["ratio"] >= work["target"] else WARN if work["ratio"] >= 1 else BAD
        yield Text(f"{work['ratio']:.2f}×", style)
        yield Text(f"{work['target']:g}×", DIM)
    yield Text(f"{work['of_limit']:.0%}" if work["of_limit"] else "")
    yield Text(memory_text(work))
