"""The report of a run: one HTML file, with all that a reader needs to judge it, and nothing from the network."""

import os
from pathlib import Path

from kinone import __version__
from kinone.data.module import Progress
from kinone.errors import ArgumentError
from kinone.formats.atomic import write_bytes
from kinone.training.assessment import OperatingPoint
from kinone.training.judging import Judgement, judged
from kinone.training.report import findings, record, sections
from kinone.training.report.page import document, escape
from kinone.training.run_directory import read_metrics

__all__ = ["report_of", "write_report"]


def write_report(
    run_directory: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, *, draws: int = 1000,
    operating_point: OperatingPoint | None = None, data: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Path:  # fmt: skip
    """Judge the run's best weights on its test films, if that was not done yet, and write report.html there.

    `out` is another place for the file; `data` where the films lie now, if they moved.
    """
    found = judged(run_directory, draws=draws, operating_point=operating_point, data=data, progress=progress)
    place = found.trained.run.report if out is None else Path(out)
    try:
        write_bytes(place, report_of(found).encode())
    except OSError as error:
        raise ArgumentError("report", f"a place for {place}", error.strerror or str(error)) from None
    return place


def report_of(found: Judgement) -> str:
    """The report as HTML."""
    metrics_file = found.trained.run.metrics
    metrics = read_metrics(metrics_file) if metrics_file.is_file() else []
    word, sentence, verdict = record.state(found)
    parts = [
        ("summary", "In short", sections.summary(found, record.ledger_tile(word, verdict), metrics)),
        ("results", "How good it is", sections.results(found)),
        ("findings", "Each finding", findings.cards(found)),
        ("examples", "Where it looks", findings.examples(found)),
        ("data", "Films", sections.data(found)),
        ("training", "Training", sections.training(found, metrics)),
        ("ledger", "Check it", record.checking(found, sentence, verdict)),
        ("limits", "Limits", record.limits(found)),
        ("environment", "Environment", record.environment(found)),
        ("configuration", "Configuration", record.configuration(found)),
    ]
    name = found.trained.run.path.resolve().name
    foot = (
        f"Made by Kinone {escape(__version__)} from the folder {escape(name)}. This file loads nothing from anywhere."
    )
    return document(f"{name} – Kinone", sections.heading(found), parts, foot)
