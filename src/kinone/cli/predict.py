"""`kinone predict`: what a run's model says of films."""

import csv as csv_format
import json as json_format
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from kinone.cli.terminal import BAD, DIM, NAME, TITLE, WARN, console
from kinone.errors import ArgumentError
from kinone.training.heatmaps import write_heat
from kinone.training.judging import thresholds
from kinone.training.trained import Trained, images_at

Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def predict(
    run: Path, images: Path, /, *, top: int | None = None, gradcam: Path | None = None, layer: str | None = None,
    json: Flag = False, csv: Flag = False,
) -> int:  # fmt: skip
    """Say how likely each finding is on a film, or on all films of a folder.

    A finding is called where its probability reaches the threshold that `kinone evaluate` chose. Exit code 1 if some
    file of a folder is no image.

    For example:

        kinone predict runs/demo-1 data/demo/images/00000001_000.png --gradcam heat.png
        kinone predict runs/demo-1 films/ --csv > probabilities.csv
        kinone predict runs/demo-1 films/ --top 3 --gradcam heat/

    Parameters
    ----------
    run
        The run's folder.
    images
        An image (PNG or JPEG), or a folder of images.
    top
        The likeliest findings only, so many of them.
    gradcam
        Where to draw heat maps of what is called, or of the likeliest: a .png for one image, or a folder.
    layer
        The module whose feature maps the heat comes from; by default the last ones after a convolution.
    json
        Print JSON.
    csv
        Print a table of comma-separated values.
    """
    if json and csv:
        raise ArgumentError("kinone predict", "--json or --csv", "both")
    if top is not None and top < 1:
        raise ArgumentError("kinone predict", "--top of at least 1", str(top))
    files = images_at(images)
    if gradcam is not None and gradcam.suffix.lower() == ".png" and images.is_dir():
        raise ArgumentError("kinone predict", "a folder as --gradcam for a folder of images", str(gradcam))
    trained = Trained.open(run)
    points = thresholds(trained)
    rows = _said(trained, files, points, top, gradcam, layer)
    if json:
        found = list(rows)
        print(json_format.dumps(found if images.is_dir() else found[0], ensure_ascii=False, indent=1))
        return int(any("error" in row for row in found))
    if csv:
        return _print_csv(trained, rows)
    return _print_table(trained, rows, points, is_one=not images.is_dir())


def _said(
    trained: Trained, files: list[Path], points: dict[str, float], top: int | None, gradcam: Path | None,
    layer: str | None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """For each file a row of plain values: the findings, the likeliest first, or the error."""
    for file, film, said in trained.read(files):
        if film is None:
            if len(files) == 1:
                raise said
            yield {"image": str(file), "error": f"{said.expected}, got {said.got}"}
            continue
        order = sorted(range(len(trained.classes)), key=lambda c: -said[c])[:top]
        names = [trained.classes[c] for c in order]
        findings = [
            {"finding": name, "probability": float(said[c]), "threshold": points.get(name),
             "is_called": None if name not in points else bool(said[c] >= points[name])}
            for name, c in zip(names, order, strict=True)
        ]  # fmt: skip
        row: dict[str, Any] = {"image": str(file), "findings": findings}
        if gradcam is not None:
            called = [f["finding"] for f in findings if f["is_called"]] or names[:1]
            row["heat"] = [str(p) for p in write_heat(trained, film, called, gradcam, file.stem, layer)]
        yield row


def _print_csv(trained: Trained, rows: Iterator[dict[str, Any]]) -> int:
    writer = csv_format.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["image", *trained.classes, "error"])
    status = 0
    for row in rows:
        said = {f["finding"]: repr(f["probability"]) for f in row.get("findings", ())}
        writer.writerow([row["image"], *(said.get(name, "") for name in trained.classes), row.get("error", "")])
        status |= "error" in row
    return int(status)


def _print_table(trained: Trained, rows: Iterator[dict[str, Any]], points: dict[str, float], is_one: bool) -> int:
    out, status = console(), 0
    for row in rows:
        if is_one:
            out.print(Text(row["image"], TITLE))
            table = Table(box=None, show_header=True, pad_edge=False, padding=(0, 2, 0, 0), header_style=DIM)
            for title in ("finding", "probability", "", "threshold", "verdict"):
                table.add_column(title, justify="right" if title in ("probability", "threshold") else "left")
            for f in row["findings"]:
                p, at, style = f["probability"], f["threshold"], WARN if f["is_called"] else ""
                verdict = "" if f["is_called"] is None else "called" if f["is_called"] else "not called"
                table.add_row(Text(f["finding"].replace("_", " "), NAME), Text(f"{p:.3f}", style),
                              Text(_bar(p), style or DIM), "" if at is None else f"{at:.3f}",
                              Text(verdict, style))  # fmt: skip
            out.print(table)
        elif "error" in row:
            status = 1
            out.print(Text.assemble((Path(row["image"]).name, TITLE), "  ", (row["error"], BAD)))
        else:
            called = [f for f in row["findings"] if f["is_called"]]
            shown = called or ([] if points else row["findings"][:3])
            words = ", ".join(f"{f['finding'].replace('_', ' ')} {f['probability']:.2f}" for f in shown)
            out.print(Text.assemble((Path(row["image"]).name, TITLE), "  ", words or ("nothing called", DIM)))
        for place in row.get("heat", ()):
            out.print(Text(f"  heat: {place}", DIM))
    if not points:
        out.print(Text(f"no thresholds: kinone evaluate {trained.run.path} chooses them", DIM))
    return status


def _bar(p: float, width: int = 20) -> str:
    return ("━" * round(p * width)).ljust(width)
