"""`kinone replay`: compute steps of a run again."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from kinone.cli.display import Display
from kinone.cli.terminal import BAD, DIM, GOOD, TITLE, console
from kinone.errors import ArgumentError
from kinone.inspection.digest import Digest
from kinone.training.replay import replay as replayed
from kinone.training.replay import write_digests
from kinone.training.run_directory import RunDirectory

Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def replay(
    run: Path, /, *, steps: str = ":", digests: Flag = False, threads: int | None = None, workers: int | None = None,
    dir: Path | None = None,  # noqa: A002
) -> int:  # fmt: skip
    """Compute steps of a run again, from its nearest checkpoint; every line must come out as the ledger has it.

    There is no tolerance: exit 1 if one bit is another.

    For example:

        kinone replay runs/demo-1 --steps 1:5

    Parameters
    ----------
    run
        The run's folder.
    steps
        First and last step, as 100:120; without them from the beginning and to the end.
    digests
        Write the digest of each operator's results in these steps to the run's folder digests/, for kinone diff.
    threads
        Threads of the kernels.
    workers
        Processes that prepare batches.
    dir
        The data set's folder, if it lies elsewhere than in the run's configuration.
    """
    first, last = _steps(steps)
    machine = {"threads": threads, "workers": workers, "folder": None if dir is None else str(dir)}
    layer = {"machine": {name: value for name, value in machine.items() if value is not None}}
    noted: dict[int, list[Digest]] | None = {} if digests else None
    out = console()
    with Display(out, has_table=False) as display:
        found = replayed(
            run, first, last, watchers=(display,), progress=display.preparing, layers=(layer,), digests=noted
        )
    if noted:
        out.print(Text(f"digests of {len(noted)} steps are in {write_digests(RunDirectory.open(run), noted)}", DIM))
    if found.has_other_sources:
        out.print(Text("these sources of Kinone are others than those that made the run", DIM))
    if found.line is None:
        out.print(Text("✓ ", GOOD) + Text(f"steps {found.first} to {found.last} came out the same, bit for bit")
                  + Text(f" (from {found.start})", DIM))  # fmt: skip
        return 0
    out.print(
        Text("✗ ", BAD) + Text(f"line {found.line.number} of the ledger ({found.line.kind}) comes out otherwise", TITLE)
    )
    for words in found.differences:
        out.print(Text(f"  {words}"))
    return 1


def _steps(text: str) -> tuple[int, int | None]:
    low, colon, high = text.partition(":")
    if not all(part == "" or part.isdecimal() for part in (low, high)) or (not colon and not low):
        raise ArgumentError("kinone replay", "--steps FIRST:LAST", repr(text))
    first = int(low or 1)
    return first, int(high) if high else None if colon else first
