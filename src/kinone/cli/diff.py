"""`kinone diff`: where two runs part."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from kinone.cli.display import Display
from kinone.cli.terminal import BAD, DIM, GOOD, NAME, TITLE, console
from kinone.training.difference import Parting, difference

Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def diff(a: Path, b: Path, /, *, ledger_only: Flag = False) -> int:
    """Name the first step in which two runs differ, and the first operator; exit 1 if they do.

    The step is computed again from both runs' checkpoints. If this machine does not compute what a ledger says, run
    `kinone replay RUN --steps N:N --digests` where it was made, and copy its folder digests/ into the run.

    For example:

        kinone diff runs/demo-1 runs/demo-2

    Parameters
    ----------
    a, b
        The runs' folders.
    ledger_only
        Compare the ledgers alone, and compute nothing.
    """
    out = console()
    with Display(out, has_table=False) as display:
        found = difference(a, b, progress=display.preparing, is_deep=not ledger_only)
    if found is None:
        out.print(Text("✓ ", GOOD) + Text("the two ledgers are the same, byte for byte"))
        return 0
    for words in found.setup:
        out.print(Text("  set up otherwise: ", DIM) + Text(words))
    if not found.line:
        out.print(Text("all other lines are the same", TITLE))
        return 1
    out.print(Text("✗ ", BAD) + Text(f"the first difference: line {found.line}", TITLE)
              + Text(f", of step {found.step}" if found.step else ""))  # fmt: skip
    for words in found.words:
        out.print(Text(f"  {words}"))
    _operator(out, found)
    return 1


def _operator(out: Console, found: Parting) -> None:
    show = out.print
    if found.op is not None:
        one = found.op.first or found.op.second
        name, number = (one.op, one.number) if one else ("", 0)
        show(
            Text("  the first operator that differs: ")
            + Text(name, NAME)
            + Text(f", call {number} of step {found.op_step}")
        )
    for run, agrees in zip("AB", found.agrees, strict=True):
        if agrees is False:
            show(Text(f"  this machine does not compute what the ledger of {run} says", BAD))
    if found.op is None and found.step and found.agrees != (None, None):
        show(Text("  computed here, both come out the same, so the difference arose where they were made", DIM))
