"""History: what a fit has learned about itself, epoch by epoch, with its curves."""

import csv
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from kinone.errors import ArgumentError, FormatError
from kinone.formats.atomic import writing
from kinone.inspection.chart import Panel, chart, label
from kinone.inspection.curve import Series


class History:
    """Figures of each epoch by name ("loss", "accuracy", "val_loss", "lr", "seconds"), and the loss of each batch.

    `epochs` are the numbers of the epochs, from 1 on; a figure that an epoch lacks is NaN. `stopped` says why the fit
    ended before its last epoch, and is empty if it did not.

    >>> h = History()
    >>> h.add(1, {"loss": 0.5}); h.add(2, {"loss": 0.25, "val_loss": 0.375})
    >>> h["loss"], h.last["val_loss"], h.best("loss")
    ([0.5, 0.25], 0.375, (2, 0.25))
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.logs: dict[str, list[float]] = {}
        self.losses: list[float] = []
        self.stopped = ""

    def add(self, epoch: int, logs: dict[str, float]) -> None:
        """Take in the figures of an epoch."""
        for name in logs:
            self.logs.setdefault(name, [float("nan")] * len(self.epochs))
        self.epochs.append(epoch)
        for name, values in self.logs.items():
            values.append(float(logs.get(name, float("nan"))))

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.logs:
            raise ArgumentError("History", f"one of {', '.join(self.logs) or 'no figures yet'}", repr(name))
        return self.logs[name]

    def __contains__(self, name: object) -> bool:
        return name in self.logs

    def __len__(self) -> int:
        return len(self.epochs)

    @property
    def last(self) -> dict[str, float]:
        """The figures of the last epoch."""
        return {name: values[-1] for name, values in self.logs.items() if values}

    def best(self, name: str, mode: str = "min") -> tuple[int, float]:
        """The epoch in which that figure was best, the first of equals, and the figure."""
        if mode not in ("min", "max"):
            raise ArgumentError("History.best", "mode 'min' or 'max'", repr(mode))
        values = np.array(self[name])
        if not np.isfinite(values).any():
            raise ArgumentError("History.best", f"a {name} that is finite in some epoch", "none")
        at = int(np.nanargmin(values) if mode == "min" else np.nanargmax(values))
        return self.epochs[at], float(values[at])

    # ------------------------------------------------------------------------------ out, and in again
    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which `from_dict` makes it again."""
        logs = {name: list(values) for name, values in self.logs.items()}
        return {"epochs": list(self.epochs), "logs": logs, "losses": list(self.losses), "stopped": self.stopped}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "History":
        """The history that `to_dict` described."""
        history = cls()
        try:
            history.epochs = [int(epoch) for epoch in data["epochs"]]
            history.logs = {str(name): [float(v) for v in values] for name, values in data["logs"].items()}
            history.losses, history.stopped = [float(v) for v in data["losses"]], str(data["stopped"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError("History", "what to_dict() gave", str(error)) from None
        if any(len(values) != len(history.epochs) for values in history.logs.values()):
            raise FormatError("History", "a figure for every epoch", "lists of other lengths")
        return history

    def to_csv(self) -> str:
        """A line for each epoch, with the names above."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *self.logs])
        writer.writerows([epoch, *(repr(v[i]) for v in self.logs.values())] for i, epoch in enumerate(self.epochs))
        return text.getvalue()

    def save(self, path: str | Path) -> None:
        """Write it as .csv (the epochs) or .json (all of it)."""
        place = Path(path)
        if place.suffix not in (".csv", ".json"):
            raise ArgumentError("History.save", "a file name that ends in .csv or .json", repr(str(path)))
        text = self.to_csv() if place.suffix == ".csv" else json.dumps(_named_strange(self.to_dict()), indent=1) + "\n"
        with writing(place) as file:
            file.write(text.encode())

    @classmethod
    def load(cls, path: str | Path) -> "History":
        """The history that `save` wrote as .json."""
        return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))

    # ------------------------------------------------------------------------------ how it looks
    def plot(self, path: str | Path | None = None, names: Sequence[str] | None = None) -> str:
        """The curves as SVG, written to the file if there is one: training and validation of a figure in one panel.

        `names` chooses figures. A history of less than two epochs shows the loss of each batch instead.
        """
        for name in names or ():
            self[name]
        picture = chart(self._panels(names), "history")
        if path is not None:
            Path(path).write_text(picture, encoding="utf-8")
        return picture

    def _panels(self, names: Sequence[str] | None) -> list[Panel]:
        if len(self.epochs) < 2 and names is None:
            x = np.arange(1, len(self.losses) + 1, dtype=np.float64)
            return [Panel("loss", "batch", (Series("loss", x, np.array(self.losses, dtype=np.float64)),))]
        x = np.array(self.epochs, dtype=np.float64)
        shown = [name for name in self.logs if name != "seconds"] if names is None else list(names)
        panels: list[Panel] = []
        for name in dict.fromkeys(name.removeprefix("val_") for name in shown):
            both = [("training", name), ("validation", f"val_{name}")]
            series = tuple(Series(words, x, np.array(self.logs[key])) for words, key in both if key in self.logs)
            panels.append(Panel("learning rate" if name == "lr" else name.replace("_", " "), "epoch", series))
        return panels

    def _repr_html_(self) -> str:
        rows = [self.epochs[i] for i in range(len(self))][-5:]
        head = "".join(f"<th>{escape(name)}</th>" for name in ("epoch", *self.logs))
        body = "".join(
            f"<tr><td>{epoch}</td>"
            + "".join(f"<td>{label(v[i - len(rows)])}</td>" for v in self.logs.values())
            + "</tr>"
            for i, epoch in enumerate(rows)
        )
        why = f"<p>{escape(self.stopped)}</p>" if self.stopped else ""
        picture = self.plot() if self.epochs or self.losses else ""
        return f"<div>{picture}<table><tr>{head}</tr>{body}</table>{why}</div>"

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={value:.4g}" for name, value in self.last.items() if name != "seconds")
        why = f"; {self.stopped}" if self.stopped else ""
        return f"History({len(self)} epochs{': ' + figures if figures else ''}{why})"


def _named_strange(value: Any) -> Any:
    """With "nan" and "inf" for what JSON has no numbers for; float() reads them."""
    if isinstance(value, dict):
        return {name: _named_strange(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_named_strange(part) for part in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
