"""DataModule: the parts of a data set that a run trains on, validates on and is tested on, and their loaders."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.tree import flatten
from kinone.data.chestxray import ChestFilms
from kinone.data.dataset import Arrays, Dataset, Subset, pos_weight, random_split
from kinone.data.demo import DemoSpec, make_demo
from kinone.data.films import LISTS, read_list
from kinone.data.loader import DataLoader, Transform
from kinone.data.split import stratified_split
from kinone.data.transforms import Affine, BrightnessContrast, Compose, HorizontalFlip, Normalize
from kinone.errors import ArgumentError, DataError, StateError
from kinone.random import Stream

PARTS: tuple[str, ...] = ("train", "validation", "test")
SPLITS = ("auto", "official", "stratified")
Progress = Callable[[str, int, int], Any]


class DataModule:
    """The three parts of a data set: `train`, `validation` and `test`, and loaders of their batches.

    A part is a data set, or (x, y) arrays. Training batches are shuffled by `seed` and changed by `transform`, the
    others come in order and are changed by `test_transform`. What has to be made or read first happens in `setup()`,
    which every method calls for itself.

    >>> data = DataModule((np.zeros((8, 2)), np.arange(8) % 2), batch_size=4)
    >>> [x.shape for x, y in data.train_loader()], data.input_shape, data.sizes()
    ([(4, 2), (4, 2)], (2,), {'train': 8})
    """

    classes: tuple[str, ...] = ()
    """What each output stands for, where that is known."""

    def __init__(
        self, train: Any = None, validation: Any = None, test: Any = None, *, batch_size: int = 32,
        test_batch_size: int | None = None, seed: int = 0, workers: int = 0, prefetch: int = 2, drop_last: bool = False,
        transform: Transform | None = None, test_transform: Transform | None = None,
    ) -> None:  # fmt: skip
        self.batch_size, self.test_batch_size = batch_size, test_batch_size or batch_size
        self.seed, self.workers, self.prefetch, self.drop_last = seed, workers, prefetch, drop_last
        self.transform, self.test_transform = transform, test_transform
        given = zip(PARTS, (train, validation, test), strict=True)
        self.parts: dict[str, Dataset] = {name: _as_dataset(part) for name, part in given if part is not None}
        for (name, one), (other, two) in combinations(self.parts.items(), 2):
            if isinstance(one, Subset) and isinstance(two, Subset) and one.dataset is two.dataset:
                both = set(one.indices) & set(two.indices)
                if both:
                    raise DataError("DataModule", f"no sample both in {name} and in {other}", f"{len(both)}")
        self._is_set_up = False

    @classmethod
    def of_arrays(
        cls, x: Any, y: Any, *, shares: Sequence[float] = (0.7, 0.1, 0.2), groups: Any = None, split_seed: int = 0,
        **options: Any,
    ) -> "DataModule":  # fmt: skip
        """Rows of x and y, dealt out by `shares` to training, validation and test.

        Classes (whole numbers, or 0 and 1 for each finding) are in proportion in each part, and rows of one group (a
        patient) are all in one part.

        >>> DataModule.of_arrays(np.zeros((10, 3)), np.arange(10) % 2, shares=(0.6, 0.2, 0.2)).sizes()
        {'train': 6, 'validation': 2, 'test': 2}
        """
        rows = Arrays(x, y)
        labels = rows.arrays[1]
        if len(shares) != len(PARTS):
            raise ArgumentError("DataModule", "shares of training, validation and test", repr(tuple(shares)))
        has_classes = (
            labels.dtype.kind in "iub" if labels.ndim == 1 else labels.ndim == 2 and np.isin(labels, (0, 1)).all()
        )
        if has_classes or groups is not None:
            table = labels if has_classes else np.zeros(len(rows), np.int64)
            found = stratified_split(table, groups, shares, split_seed)
        else:
            found = [np.sort(part.indices) for part in random_split(rows, shares, split_seed)]
        parts = [Subset(rows, part.tolist()) if len(part) else None for part in found]
        return cls(*parts, **options)

    # ------------------------------------------------------------------------------ parts
    def setup(self, progress: Progress | None = None) -> None:
        """Make and read what is needed, once; `progress(what, done, all)` is told how far it is."""
        if not self._is_set_up:
            self._set_up(progress)
            self._is_set_up = True

    def _set_up(self, progress: Progress | None) -> None:
        """What a module of its own kind does to have `parts`."""

    def part(self, name: str) -> Dataset:
        """The data set of that part."""
        self.setup()
        if name not in self.parts:
            raise StateError("DataModule", f"a part among {', '.join(self.parts)}", repr(name))
        return self.parts[name]

    def sizes(self) -> dict[str, int]:
        """How many samples each part has."""
        self.setup()
        return {name: len(part) for name, part in self.parts.items()}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample's first part, as a model sees it."""
        sample: Any = self.part("train")[0]
        if self.test_transform is not None:
            sample = self.test_transform(sample, Stream("augment"))
        return tuple(np.shape(flatten(sample)[0][0]))

    # ------------------------------------------------------------------------------ loaders
    def train_loader(self, **options: Any) -> DataLoader:
        """Batches of the training part, shuffled anew for each epoch; `options` are DataLoader's."""
        given = {"batch_size": self.batch_size, "shuffle": "order" not in options, "drop_last": self.drop_last}
        return self._loader(self.part("train"), self.transform, {**given, **options})

    def validation_loader(self, **options: Any) -> DataLoader:
        """Batches of the validation part, in order."""
        return self.loader_of(self.part("validation"), **options)

    def test_loader(self, **options: Any) -> DataLoader:
        """Batches of the test part, in order."""
        return self.loader_of(self.part("test"), **options)

    def loader_of(self, part: Dataset, **options: Any) -> DataLoader:
        """Batches of samples of this data set, in order, as a model is tested on them."""
        return self._loader(part, self.test_transform, {"batch_size": self.test_batch_size, **options})

    def _loader(self, part: Dataset, transform: Transform | None, options: dict[str, Any]) -> DataLoader:
        own = {"seed": self.seed, "workers": self.workers, "prefetch": self.prefetch, "transform": transform}
        return DataLoader(part, **{**own, **options})

    # ------------------------------------------------------------------------------ what is in them
    def labels(self, name: str = "train") -> Any:
        """What a model is to say of each sample of that part, as one array."""
        part = self.part(name)
        indices: Any = slice(None)
        if isinstance(part, Subset):
            part, indices = part.dataset, part.indices
        known = part.arrays[-1] if isinstance(part, Arrays) and len(part.arrays) > 1 else getattr(part, "y", None)
        known = getattr(part, "labels", None) if known is None else known
        if isinstance(known, np.ndarray):
            return known[indices]
        return np.stack([np.asarray(flatten(self.parts[name][i])[0][-1]) for i in range(len(self.parts[name]))])

    def pos_weight(self) -> NDArray[np.float32]:
        """Negatives per positive of each finding in the training part, as the loss BCEWithLogits takes it."""
        return pos_weight(self.labels())

    def digest(self) -> str:
        """SHA-256 of all samples in all parts, before transforms: what a ledger says of a data set."""
        self.setup()
        total = hashlib.sha256()
        for name, part in self.parts.items():
            total.update(f"{name} {len(part)}\n".encode())
            for i in range(len(part)):
                for leaf in flatten(part[i])[0]:
                    array = np.asarray(leaf)
                    total.update(f"{array.dtype.str} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
        return total.hexdigest()


def _as_dataset(part: Any) -> Dataset:
    if isinstance(part, tuple) and len(part) == 2:
        return Arrays(*part)
    if not isinstance(part, Dataset):
        raise ArgumentError("DataModule", "a data set or (x, y) for each part", f"a {type(part).__name__}")
    return part


class ChestModule(DataModule):
    """Chest films in NIH's layout, or those of the demo data, which `setup` makes where they are not yet there.

    `split` is "official" (NIH's lists of training and test films), "stratified" (films dealt out by patient, the share
    `test_share` for tests), "auto" (official where the lists lie in the folder, else stratified), or a dict that names
    for each part a list file, film names, or indices. `validation_share` of the patients who are not tested are held
    out. Patients stay whole; parts that share one are refused, whoever made the lists. A film that cannot be read
    gives way to the next of its own part. `limit` takes so many films of each part, drawn by `split_seed`, and reads no
    more. Without transforms of your own, training films are changed a little by `film_transforms`, and all are
    normalized. `table` and `images` name a table and a folder of images that lie elsewhere.
    """

    films: ChestFilms
    """After `setup`."""

    def __init__(
        self, folder: str | Path, *, size: int = 224, demo: DemoSpec | None = None, split: Any = "auto",
        validation_share: float = 0.1, test_share: float = 0.2, split_seed: int = 0, has_no_finding: bool = False,
        is_partial: bool = False, most_broken: int = 20, cache: str | Path | None = None, limit: int | None = None,
        table: str | Path | None = None, images: str | Path | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**{"transform": film_transforms(), "test_transform": Normalize(), **options})
        if not isinstance(split, Mapping) and split not in SPLITS:
            raise ArgumentError("ChestModule", f"split {', '.join(map(repr, SPLITS))} or a dict of lists", repr(split))
        for name, share in (("validation_share", validation_share), ("test_share", test_share)):
            if not 0 < share < 1:
                raise ArgumentError("ChestModule", f"{name} between 0 and 1", repr(share))
        if limit is not None and limit < 1:
            raise ArgumentError("ChestModule", "limit ≥ 1, or None", repr(limit))
        self.folder, self.demo, self.split, self.split_seed = Path(folder), demo, split, split_seed
        self.validation_share, self.test_share, self.limit = validation_share, test_share, limit
        self._films = {"size": size, "has_no_finding": has_no_finding, "is_partial": is_partial,
                       "most_broken": most_broken, "cache": cache, "table": table, "images": images}  # fmt: skip
        self.indices: dict[str, NDArray[np.int64]] = {}

    def _set_up(self, progress: Progress | None) -> None:
        def told(what: str) -> Any:
            return None if progress is None else partial(progress, what)

        if self.demo is not None:
            make_demo(self.folder, self.demo, told("drawing the demo films"))
        films = ChestFilms(self.folder, **self._films)
        parts = self._split(films)
        films.check(parts)
        for name in ("train", *self.split) if isinstance(self.split, Mapping) else PARTS:
            if not len(parts.get(name, ())):
                raise DataError("ChestModule", f"films in the part {name}", "none")
        if self.limit is not None:
            parts = self._limited(parts, self.limit)
            kept = np.sort(np.concatenate(list(parts.values())))
            films.keep(kept)
            parts = {name: np.searchsorted(kept, indices) for name, indices in parts.items()}
        films.prepare(told("shrinking the films"))
        films.replace_within(parts)
        self.films, self.classes = films, films.classes
        self._take(parts)

    def _take(self, parts: dict[str, NDArray[np.int64]]) -> None:
        self.indices = parts
        self.parts = {name: Subset(self.films, indices.tolist()) for name, indices in parts.items()}

    def _split(self, films: ChestFilms) -> dict[str, NDArray[np.int64]]:
        if isinstance(self.split, Mapping):
            return {name: _listed(films, name, listed) for name, listed in self.split.items()}
        has_lists = all((self.folder / name).is_file() for name in LISTS.values())
        if self.split == "official" or (self.split == "auto" and has_lists):
            return films.three_parts(self.validation_share, self.split_seed)
        kept, held = 1 - self.test_share, self.validation_share
        shares = (kept * (1 - held), kept * held, self.test_share)
        found = stratified_split(films.labels, films.patients, shares, self.split_seed)
        return dict(zip(PARTS, found, strict=True))

    def _limited(self, parts: dict[str, NDArray[np.int64]], limit: int) -> dict[str, NDArray[np.int64]]:
        order = Stream("limit", self.split_seed)
        return {
            name: np.sort(indices[order.permutation(len(indices), step=k)[:limit]])
            for k, (name, indices) in enumerate(parts.items())
        }

    def learn_by_heart(self, count: int) -> None:
        """Let the first `count` training films, as they are, be every part: can a model learn at all?"""
        self.setup()
        self._take(dict.fromkeys(self.indices, self.indices["train"][:count]))
        self.transform = self.test_transform

    # ------------------------------------------------------------------------------ what is in them
    def labels(self, name: str = "train") -> Any:
        """0 or 1 for each film of that part and each of `classes`."""
        self.part(name)
        return self.films.labels_of(self.indices[name])

    def names(self, part: str = "train") -> list[str]:
        """The films of that part, as the table calls them."""
        self.part(part)
        return [self.films.films[at].name for at in self.indices[part].tolist()]

    def replaced(self) -> list[dict[str, str]]:
        """Films of the parts that cannot be read, which stands for each, and why: {"sample", "by", "why"}."""
        self.setup()
        used = {name for part in self.indices for name in self.names(part)}
        found = self.films.replaced.items()
        return [{"sample": name, "by": other, "why": why} for name, (why, other) in found if name in used]

    def digest(self) -> str:
        """SHA-256 over the parts: each film's name, patient, findings and small picture."""
        self.setup()
        total = hashlib.sha256("\n".join(self.classes).encode())
        for name, indices in self.indices.items():
            total.update(f"\n{name} {len(indices)}\n".encode())
            for at in indices.tolist():
                film = self.films.films[at]
                total.update(f"{film.name} {film.patient} {'|'.join(film.findings)}\n".encode())
                total.update(self.films.levels(at).tobytes())
        return total.hexdigest()


def film_transforms(
    *, rotate: float = 5, shift: float = 0.05, zoom: float = 0.05, brightness: float = 0.08, contrast: float = 0.15,
    flip: bool = False, mean: float = 0.5, std: float = 0.25,
) -> Compose:  # fmt: skip
    """What happens to a film by chance when it is taken: placed, turned and exposed a little otherwise.

    Up to `rotate` degrees, `shift` of its sides and `zoom` of its size, each way; then up to `brightness` and
    `contrast`, each way; then it has `mean` and `std` taken off. It is not mirrored, unless `flip`: hearts are on one
    side.

    >>> film_transforms(rotate=0, shift=0, zoom=0, contrast=0)
    Compose(BrightnessContrast(brightness=(-0.08, 0.08), contrast=(1.0, 1.0)), Normalize(mean=0.5, std=0.25))
    """
    steps: list[Any] = []
    if rotate or shift or zoom:
        steps.append(Affine(rotate, shift, shift, (1 - zoom, 1 + zoom), fill=None))
    if brightness or contrast:
        steps.append(BrightnessContrast(brightness, (1 - contrast, 1 + contrast)))
    if flip:
        steps.append(HorizontalFlip())
    return Compose(*steps, Normalize(mean, std))


def _listed(films: ChestFilms, part: str, listed: Any) -> NDArray[np.int64]:
    """The indices of a list file, of names, or as they are."""
    if part not in PARTS:
        raise ArgumentError("ChestModule", f"parts among {', '.join(PARTS)}", repr(part))
    names = read_list(listed) if isinstance(listed, str | Path) else list(listed)
    if not all(isinstance(name, str) for name in names):
        indices = np.asarray(names)
        if indices.dtype.kind not in "iu" or indices.ndim != 1 or (indices < 0).any() or (indices >= len(films)).any():
            raise ArgumentError("ChestModule", f"indices below {len(films)} for {part}", repr(listed))
        names = [films.films[at].name for at in indices.tolist()]
    number = {film.name: at for at, film in enumerate(films.films)}
    strangers = [name for name in names if name not in number]
    if strangers:
        shown = ", ".join(strangers[:3]) + (", …" if len(strangers) > 3 else "")
        raise DataError("ChestModule", f"films of the table in the list of {part}", f"{len(strangers)} others: {shown}")
    return np.array(sorted({number[name] for name in names}), np.int64)
