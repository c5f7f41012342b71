"""`kinone report`: one HTML page about a run."""

import webbrowser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from kinone.cli.evaluate import Busy
from kinone.cli.terminal import DIM, console
from kinone.training.assessment import OperatingPoint
from kinone.training.report import write_report

Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def report(
    run: Path, /, *, out: Path | None = None, operating_point: str | None = None, draws: int = 1000,
    data: Path | None = None, open: Flag = False,  # noqa: A002
) -> int:  # fmt: skip
    """Write a page about a run: curves, figures with intervals, films with heat maps, and how to check all of it.

    It is one HTML file that needs no network; by default report.html in the run's folder.

    For example:

        kinone report runs/demo-1
        kinone report runs/demo-1 --out demo.html --open

    Parameters
    ----------
    run
        The run's folder.
    out
        Where to write it.
    operating_point
        Where a finding is called: youden, sensitivity=S or specificity=S; by default as the last evaluation chose.
    draws
        Samples of patients from which the 95 % intervals come; 0: no intervals.
    data
        The folder in which the films lie now, if they moved.
    open
        Show it in a browser.
    """
    rule = None if operating_point is None else OperatingPoint.parsed(operating_point)
    with Busy() as busy:
        place = write_report(run, out, draws=draws, operating_point=rule, data=data, progress=busy.tell)
    console().print(Text.assemble(str(place), (f"  {place.stat().st_size / 2**20:.1f} MiB, one file", DIM)))
    if open:
        webbrowser.open(place.resolve().as_uri())
    return 0
