"""`kinone download`: data sets from the network or a mirror."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn
from rich.text import Text

from kinone.cli.terminal import DIM, GOOD, WARN, console
from kinone.data.nih import Report, archives, download_nih
from kinone.errors import ArgumentError

Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def download(
    dataset: Literal["nih"], /, *, out_dir: Path = Path("data/nih"), mirror: str | None = None, only: str | None = None,
    jobs: int = 3, keep_archives: Flag = False,
) -> int:  # fmt: skip
    """Download a data set, check it and unpack it; run it again to go on where it stopped.

    For example:

        kinone download nih --out-dir data/nih
        kinone download nih --only 1,2
        kinone download nih --mirror /media/disk/ChestX-ray14

    Parameters
    ----------
    dataset
        nih: the chest films of NIH ChestX-ray14, 45 GB in twelve archives.
    out_dir
        Where to put it.
    mirror
        A folder, or an address http(s)://…, with the archives (and lists and table) under NIH's names.
    only
        These archives only: 1,2 or 1-3.
    jobs
        How many archives are under way at a time.
    keep_archives
        Keep archives after they are unpacked.
    """
    chosen = None if only is None else _numbers(only)
    sizes = {file.name: file.size for file in archives(chosen)}
    columns = (
        TextColumn("{task.description}"), TextColumn("{task.fields[stage]}", style=DIM), BarColumn(), DownloadColumn(),
        SpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    shown = Console(stderr=True)
    try:
        with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
            bars = _Bars(progress, sizes)
            report = download_nih(
                out_dir, mirror=mirror, only=chosen, jobs=jobs, is_kept=keep_archives, progress=bars.told
            )
    except KeyboardInterrupt:
        Console(stderr=True).print(Text("stopped; the same command goes on from here", WARN))
        return 130
    _show(report, out_dir)
    return 0


def _numbers(text: str) -> list[int]:
    """`1,2` and `1-3`."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise ArgumentError("kinone download", "--only with numbers, as 1,2 or 1-3", repr(text))
        numbers += range(int(first), int(last or first) + 1)
    return numbers


class _Bars:
    """One bar for each archive that is under way, and one for all."""

    def __init__(self, progress: Progress, sizes: dict[str, int]) -> None:
        self.progress, self.sizes = progress, sizes
        self.bars: dict[str, TaskID] = {}
        self.done = dict.fromkeys(sizes, 0)
        self.all = progress.add_task("all archives", total=sum(sizes.values()), stage="")

    def told(self, name: str, stage: str, done: int, total: int) -> None:
        if stage == "complete":
            self.done[name] = self.sizes[name]
            if name in self.bars:
                self.progress.update(self.bars[name], visible=False)
        else:
            if name not in self.bars:
                self.bars[name] = self.progress.add_task(name, total=total, stage=stage)
            self.progress.update(self.bars[name], completed=done, total=total, stage=stage)
            if stage == "downloading":
                self.done[name] = done
        self.progress.update(self.all, completed=sum(self.done.values()))


def _show(report: Report, folder: Path) -> None:
    out = console()
    out.print(Text(f"{len(report.complete)} archives are complete in {folder / 'images'}", GOOD))
    for file in report.by_hand:
        out.print(Text(f"missing: {file}", WARN))
    for note in report.notes:
        out.print(Text(note))
