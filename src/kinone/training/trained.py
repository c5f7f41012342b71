"""The model of a run, ready for use: what it says of the run's films, and of any other."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.modes import no_grad
from kinone.core.tensor import Tensor
from kinone.data.dataset import Subset
from kinone.data.films import FINDINGS, NO_FINDING
from kinone.data.image import Levels, read_gray, resized
from kinone.data.module import PARTS, ChestModule, Progress
from kinone.data.transforms import Normalize
from kinone.errors import DataError, FormatError, StateError
from kinone.formats.checkpoint import load_checkpoint
from kinone.nn.module import Module
from kinone.optim import WeightAverage
from kinone.random import Stream
from kinone.training.assessment import Scores
from kinone.training.config import RunConfig
from kinone.training.films import films_of
from kinone.training.run_directory import RunDirectory, digest_in
from kinone.training.scores import answers

SUFFIXES = (".png", ".jpg", ".jpeg")
Tick = Callable[[int, int], Any]


@dataclass(frozen=True)
class Trained:
    """A run's network in the mode of use, with the weights of its best (or last) checkpoint.

    `step` and `epoch` are when those weights were; `digest` is of all that is in the checkpoint `file`.
    """

    run: RunDirectory
    config: RunConfig
    model: Module
    classes: tuple[str, ...]
    file: Path
    digest: str
    step: int
    epoch: int

    @classmethod
    def open(cls, folder: str | os.PathLike[str], which: str = "best") -> "Trained":
        """The network of the run in `folder`."""
        run = RunDirectory.open(folder)
        config, named = run.config(), run.named()
        file = run.checkpoint(which if which in named or "last" not in named else "last")
        if not file.is_file():
            raise StateError("run", f"the checkpoint {file.name} in {run.checkpoints}", "none")
        found = load_checkpoint(file)
        progress = found.progress if isinstance(found.progress, dict) else {}
        try:
            step, epoch, average = progress["step"], progress["epoch"], progress["average"]
        except KeyError as error:
            raise FormatError(str(file), "a checkpoint of a run", f"one without {error}") from None
        if average is not None:
            averages = WeightAverage(found.model, config.optimizer.ema)
            averages.load_state_dict(average)
            averages.copy_to()
        classes = (*FINDINGS, NO_FINDING) if config.data.has_no_finding else FINDINGS
        # A checkpoint after an epoch (without a loss of the one at hand) names the epoch that comes next.
        ended = epoch if progress.get("count") else epoch - 1
        return cls(run, config, found.model.eval(), classes, file, digest_in(file), step, ended)

    # ------------------------------------------------------------------------------ the run's own films
    def films(self, progress: Progress | None = None, folder: str | os.PathLike[str] | None = None) -> ChestModule:
        """The films that the run was made with: where its configuration says, seen from here or from where it began.

        A `folder` in which they lie now goes before both.
        """
        machine, name = self.config.machine, self.config.data.dataset
        begun = self._begun_in()
        place = Path(folder or machine.folder or Path("data") / name)
        if folder is None and begun is not None and not place.is_dir() and (begun / place).is_dir():
            place = begun / place
        elsewhere = {key: str(begun / path) for key in ("image_dir", "csv_file", "cache")
                     if (path := getattr(machine, key)) and begun is not None and not Path(path).exists()}  # fmt: skip
        if folder is not None:
            elsewhere["cache"] = ""
        return films_of(replace(self.config, machine=replace(machine, folder=str(place), **elsewhere)), progress)

    def _begun_in(self) -> Path | None:
        try:
            found = json.loads(self.run.environment.read_text(encoding="utf-8"))["folder"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Path(found) if isinstance(found, str) else None

    def scores(self, data: ChestModule, split: str, tick: Tick | None = None) -> Scores:
        """What it says of the films of a split; those that cannot be read are left out, not replaced."""
        if split not in PARTS:
            raise StateError("run", f"a split among {', '.join(PARTS)}", repr(split))
        films = data.films
        readable = [at for at in data.indices[split].tolist() if films.films[at].name not in films.replaced]
        if not readable:
            raise DataError("run", f"films in the {split} split", "none")
        found = answers(self.model, data.loader_of(Subset(films, readable)), tick=tick or (lambda *_: 0))
        names, patients = zip(*((films.films[at].name, str(films.films[at].patient)) for at in readable), strict=True)
        return Scores(split, self.classes, names, patients, found.labels == 1, logistic(found.logits))

    # ------------------------------------------------------------------------------ any film
    def picture(self, levels: Levels) -> NDArray[np.float32]:
        """A film of any size as the network takes it: (1, size, size)."""
        data = self.config.data
        return Normalize(data.mean, data.std)(resized(levels, data.image_size)[None], Stream("unused"))

    def probabilities(self, pictures: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Of each picture and finding (N, C)."""
        with no_grad():
            return logistic(self.model(Tensor(np.stack(pictures))).data)

    def read(self, files: Sequence[Path], batch: int = 32) -> Iterator[tuple[Path, Levels | None, Any]]:
        """Each file with its film and probabilities (C,), or with None and the DataError that says what is wrong."""
        for at in range(0, len(files), batch):
            films: dict[Path, Levels | DataError] = {}
            for file in files[at : at + batch]:
                try:
                    films[file] = read_gray(file)
                except DataError as error:
                    films[file] = error
            good = {file: film for file, film in films.items() if not isinstance(film, DataError)}
            said = iter(self.probabilities([self.picture(film) for film in good.values()])) if good else iter(())
            for file, film in films.items():
                yield (file, None, film) if isinstance(film, DataError) else (file, film, next(said))


def logistic(logits: Any) -> NDArray[np.float64]:
    """1/(1 + e⁻ˣ), in float64, without overflow.

    >>> logistic([0.0, -1000.0, 1000.0]).tolist()
    [0.5, 0.0, 1.0]
    """
    small = np.exp(-np.abs(np.asarray(logits, np.float64)))
    return np.where(np.asarray(logits) >= 0, 1, small) / (1 + small)


def images_at(place: str | os.PathLike[str]) -> list[Path]:
    """The file, or the images of the folder in the order of their names."""
    path = Path(place)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not found:
            raise DataError("images", f"PNG or JPEG files in {path}", "none")
        return found
    if not path.is_file():
        raise DataError("images", f"an image or a folder of images at {path}", "nothing")
    return [path]
