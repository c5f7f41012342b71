"""`kinone evaluate`: how good a run's model is on a split, finding by finding."""

import json as json_format
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from kinone.cli.terminal import DIM, NAME, TITLE, WARN, console
from kinone.training.assessment import Figure, OperatingPoint
from kinone.training.judging import Judgement, evaluation_file, judged

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
_COLUMNS = {
    "roc_auc": "ROC-AUC", "average_precision": "PR-AUC", "f1": "F1", "sensitivity": "sensitivity",
    "specificity": "specificity",
}  # fmt: skip


def evaluate(
    run: Path, /, *, split: str = "test", operating_point: str = "youden", draws: int = 1000, data: Path | None = None,
    fresh: Flag = False, json: Flag = False,
) -> int:  # fmt: skip
    """Judge the best weights of a run: areas with intervals, thresholds, calibration; evaluation.json holds it all.

    For example:

        kinone evaluate runs/demo-1
        kinone evaluate runs/demo-1 --operating-point sensitivity=0.9
        kinone evaluate runs/demo-1 --split validation --json

    Parameters
    ----------
    run
        The run's folder.
    split
        train, validation or test.
    operating_point
        Where a finding is called, chosen on the validation films: youden, sensitivity=S or specificity=S.
    draws
        Samples of patients from which the 95 % intervals come; 0: no intervals.
    data
        The folder in which the films lie now, if they moved.
    fresh
        Ask the model again, even if its scores lie in the run.
    json
        Print JSON instead of a table.
    """
    rule = OperatingPoint.parsed(operating_point)
    with Busy(is_quiet=json) as busy:
        found = judged(run, split, operating_point=rule, draws=draws, data=data, progress=busy.tell, is_fresh=fresh)
    if json:
        print(json_format.dumps(found.to_dict(), ensure_ascii=False, indent=1, allow_nan=False))
    else:
        _show(found)
    return 0


class Busy:
    """A bar for whatever takes long, on a terminal; gone when it is over."""

    def __init__(self, is_quiet: bool = False) -> None:
        out = console()
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
        self.bar = Progress(*columns, console=out, transient=True, disable=is_quiet or not out.is_terminal)
        self.task = self.bar.add_task("", visible=False)

    def tell(self, what: str, done: int, of: int) -> None:
        """So much of it is done."""
        self.bar.update(self.task, description=what, completed=done, total=of, visible=done < of)

    def __enter__(self) -> "Busy":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def _show(found: Judgement) -> None:
    out, e, t = console(), found.evaluation, found.trained
    out.print(Text.assemble(
        (str(t.run.path), TITLE), f": {t.config.model.name}, the weights of epoch {t.epoch} (step {t.step:,})"
    ))  # fmt: skip
    intervals = f"95 % intervals from {e.draws:,} samples of patients" if e.draws else "no intervals"
    out.print(Text(f"{e.split} split: {e.films:,} films of {e.patients:,} patients; {intervals}", DIM))
    out.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=TITLE)
    table.add_column("finding")
    table.add_column("films", justify="right")
    for title in (*_COLUMNS.values(), "threshold", "calibration error"):
        table.add_column(title, justify="right")
    for f in e.findings:
        cells = [_figure(f.figures[name]) for name in _COLUMNS]
        table.add_row(Text(f.name.replace("_", " "), NAME), f"{f.positives:,}", *cells, number(f.threshold),
                      number(f.calibration.error))  # fmt: skip
    means = [_figure(e.means[name]) for name in _COLUMNS]
    table.add_section()
    table.add_row(Text("mean", TITLE), "", *means, "", number(e.means["calibration_error"].value))
    out.print(table)
    out.print()
    out.print(Text(f"thresholds: {e.operating_point}, chosen on the {e.chosen_on} split", DIM))
    for name, why in e.undefined.items():
        out.print(Text(f"{name.replace('_', ' ')}: {why}", WARN))
    if found.left_out:
        out.print(Text(f"left out, since they cannot be read: {', '.join(found.left_out)}", WARN))
    out.print(Text(f"{evaluation_file(t.run, e.split)} has all of it", DIM))


def _figure(figure: Figure) -> Any:
    if figure.value is None:
        return Text("undefined", DIM)
    text = Text(f"{figure.value:.3f}")
    if figure.interval is not None:
        text.append(f" {figure.interval.low:.2f}–{figure.interval.high:.2f}", DIM)
    return text


def number(value: Any) -> str:
    """Three decimals, or "undefined"."""
    return "undefined" if value is None else f"{value:.3f}"
