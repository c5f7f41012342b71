"""How the commands look."""

import os
import sys

from rich.console import Console

NAME, DIM, TITLE, GOOD, BAD, WARN = "bold cyan", "bright_black", "bold", "green", "bold red", "yellow"
CURVES = {"0": "bright_blue", "1": "yellow", "axis": DIM, "zero": DIM, "label": DIM, "": ""}


class _Output(Console):
    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 # the exception at hand: that the reader has left is `main`'s business


def console() -> Console:
    """Standard output: as wide as the terminal, and 120 characters where it goes to a file or another program."""
    is_free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return _Output(width=120 if is_free else None, highlight=False)
