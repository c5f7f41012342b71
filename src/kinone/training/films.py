"""The films of a run: opened, dealt into parts, changed a little for training, and their digest."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.data import ChestFilms, stratified_split
from kinone.data.demo import DemoSpec, make_demo
from kinone.data.films import LISTS
from kinone.data.module import PARTS
from kinone.errors import ArgumentError, DataError
from kinone.random import Stream
from kinone.training.config import DataConfig, RunConfig

Progress = Callable[[str, int, int], Any]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Films:
    """Chest films and their parts; `parts` are indices of films, ascending."""

    films: ChestFilms
    parts: dict[str, Indices]
    config: DataConfig

    @property
    def classes(self) -> tuple[str, ...]:
        """The findings, in the order of the labels."""
        return self.films.classes

    def shown(self, part: str) -> "Shown":
        """A part as the model sees it."""
        return Shown(self.films, self.parts[part], self.config)

    def replaced(self) -> list[dict[str, str]]:
        """Films of these parts that cannot be read, why, and which stands for each."""
        used = {self.films.films[i].name for part in self.parts.values() for i in part}
        return [
            {"sample": name, "by": other, "why": why}
            for name, (why, other) in self.films.replaced.items()
            if name in used
        ]

    def digest(self) -> str:
        """SHA-256 over the parts: each film's name, findings and small picture."""
        total = hashlib.sha256("\n".join(self.classes).encode())
        for part, indices in self.parts.items():
            total.update(f"\n{part} {len(indices)}\n".encode())
            for i in indices.tolist():
                film = self.films.films[i]
                total.update(f"{film.name} {film.patient} {'|'.join(film.findings)}\n".encode())
                total.update(self.films.levels(i).tobytes())
        return total.hexdigest()


class Shown:
    """Films of a part: item i is (number of the film, image (1, size, size), labels), the image with mean 0, std 1."""

    def __init__(self, films: ChestFilms, indices: Indices, config: DataConfig) -> None:
        self.films, self.indices = films, indices
        self.mean, self.std = np.float32(config.mean), np.float32(config.std)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[int, NDArray[np.float32], NDArray[np.float32]]:
        at = int(self.indices[i])
        image, labels = self.films[at]
        return at, normalized(image, self.mean, self.std), labels

    def names(self, numbers: Any) -> list[str]:
        """What the films with these numbers are called."""
        return [self.films.films[int(i)].name for i in numbers]


def normalized(image: NDArray[np.float32], mean: Any, std: Any) -> NDArray[np.float32]:
    """(image − mean)/std, in float32: how every film reaches a model, in training and in use."""
    return (image - np.float32(mean)) / np.float32(std)


class Augment:
    """Moves a film by whole pixels, makes it brighter, mirrors it: drawn from the sample's own stream."""

    def __init__(self, config: DataConfig) -> None:
        self.shift = round(config.shift * config.image_size)
        self.brightness, self.flip = config.brightness, config.flip

    def __call__(self, sample: Any, stream: Stream) -> Any:
        number, image, labels = sample
        if self.shift:
            down, right = stream.integers(2, low=-self.shift, high=self.shift + 1, step=0).tolist()
            image = _moved(image, down, right)
        if self.brightness:
            factor = 1 + self.brightness * (2 * stream.uniform(1, dtype=np.float64, step=1)[0] - 1)
            image = image * np.float32(factor)
        if self.flip and stream.bernoulli(1, 0.5, step=2)[0]:
            image = image[:, :, ::-1]
        return number, np.ascontiguousarray(image), labels


def _moved(image: Any, down: int, right: int) -> Any:
    """What leaves on one side is lost; what comes in on the other repeats the border."""
    rows, columns = image.shape[1:]
    up = np.clip(np.arange(rows) - down, 0, rows - 1)
    left = np.clip(np.arange(columns) - right, 0, columns - 1)
    return image[:, up[:, None], left]


# ------------------------------------------------------------------------------ opening
def open_films(config: RunConfig, progress: Progress | None = None) -> Films:
    """The films that a configuration asks for; the demo data are made if they are not there."""
    data, machine = config.data, config.machine
    folder = Path(machine.folder or f"data/{data.dataset}")
    tell = progress or (lambda *_: None)
    if data.dataset == "demo":
        if machine.image_dir or machine.csv_file:
            hint = "--dataset nih reads a table and films of your own."
            raise ArgumentError(
                "data", "the demo data in a folder of their own", "--image-dir or --csv-file", hint=hint
            )
        spec = DemoSpec(patients=data.patients, size=2 * max(data.image_size, 32))
        make_demo(folder, spec, lambda done, of: tell("making the demo data", done, of))
    elif not folder.is_dir() and not (machine.image_dir and machine.csv_file):
        hint = "kinone download nih fetches them; --dir names another folder, or --image-dir and --csv-file."
        raise DataError("data", f"the folder {folder} with the films of {data.dataset}", "no such folder", hint=hint)
    films = ChestFilms(
        folder, size=data.image_size, has_no_finding=data.has_no_finding, most_broken=data.most_broken,
        is_partial=data.is_partial,
        cache=machine.cache or (folder if folder.is_dir() else Path(machine.csv_file).parent) / "cache",
        table=_there(machine.csv_file, "csv-file"), images=machine.image_dir or None,
    )  # fmt: skip
    films.prepare(lambda done, of: tell("shrinking films", done, of), threads=machine.threads or None)
    parts = _parts(films, config)
    films.check(parts)
    if config.loop.overfit_batches:
        few = parts["train"][: config.loop.overfit_batches * config.loop.batch_size]
        parts = dict.fromkeys(PARTS, few)
    for name, indices in parts.items():
        if not len(indices):
            raise DataError("data", f"films in the part {name}", f"none of {len(films)}", hint="take more films.")
    films.replace_within(parts)
    return Films(films, parts, data)


def _there(path: str, what: str) -> Path | None:
    if path and not Path(path).is_file():
        raise DataError("data", f"a file as --{what}", f"none at {path}")
    return Path(path) if path else None


def _parts(films: ChestFilms, config: RunConfig) -> dict[str, Indices]:
    """NIH's own lists where they lie in the folder, else three parts by patient; validation is held out of training."""
    seed, held_out = config.loop.seed, config.data.validation
    if all((films.folder / name).is_file() for name in LISTS.values()):
        parts = films.three_parts(held_out, seed)
    else:
        shares = (0.8 * (1 - held_out), 0.8 * held_out, 0.2)
        found = stratified_split(films.labels, films.patients, shares, seed)
        parts = dict(zip(PARTS, found, strict=True))
    if limit := config.data.limit:
        order = Stream("limit", seed)
        parts = {
            name: np.sort(indices[order.permutation(len(indices), step=k)[:limit]])
            for k, (name, indices) in enumerate(parts.items())
        }
    return parts
