"""NIH ChestX-ray14: films as small gray images, and which of the findings are in them."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.data.dataset import pos_weight
from kinone.data.films import (
    BOXES,
    FINDINGS,
    LISTS,
    NO_FINDING,
    Box,
    Film,
    find_images,
    find_table,
    images_in,
    read_boxes,
    read_list,
    read_table,
)
from kinone.data.image import Levels, read_gray, resized
from kinone.data.split import check_disjoint, stratified_split
from kinone.errors import ArgumentError, DataError, StateError
from kinone.kernels import settings

Progress = Callable[[int, int], Any]
_READING = "2"  # another number where the same file is read otherwise, so that no older cache is taken up


class ChestFilms:
    """`films[i]` is (image, labels): gray levels (1, size, size) from 0 to 1, and 0 or 1 for each of `classes`.

    `folder` holds NIH's table and images, as they come from NIH or from `kinone.data.make_demo`. `prepare` decodes and
    shrinks all films once, into a file beside them, and finds out which cannot be read: those are listed in `replaced`,
    and each gives way to the next one that can, labels and all. More than `most_broken` of them, and it stops.
    A table and a folder of images that lie elsewhere are given as `table` and `images`.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, size: int = 224, has_no_finding: bool = False,
        is_partial: bool = False, most_broken: int = 20, cache: str | os.PathLike[str] | None = None,
        table: str | os.PathLike[str] | None = None, images: str | os.PathLike[str] | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.size, self.most_broken, self.is_partial = Path(folder), size, most_broken, is_partial
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ArgumentError("ChestFilms", "size ≥ 1", repr(size))
        films = read_table(find_table(folder) if table is None else table)
        paths = find_images(folder) if images is None else images_in(images)
        missing = [film.name for film in films if film.name not in paths]
        if missing and not is_partial:
            shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
            hint = "is_partial=True takes the films that are there."
            got = f"{len(missing):,} without one: {shown}"
            raise DataError("chest films", f"an image for each of {len(films):,} rows", got, hint=hint)
        self.films: list[Film] = [film for film in films if film.name in paths]
        if not self.films:
            raise DataError("chest films", f"films in {folder}", "none of the table's")
        self.paths = [paths[film.name] for film in self.films]
        self.classes: tuple[str, ...] = (*FINDINGS, NO_FINDING) if has_no_finding else FINDINGS
        self.labels = self._labels()
        self.cache = Path(cache) if cache is not None else self.folder / "cache"
        self.replaced: dict[str, tuple[str, str]] = {}  # a film that cannot be read: why, and which stands for it
        self._source = np.arange(len(self.films))
        self._broken: dict[int, str] = {}
        self._levels: Any = None

    def _labels(self) -> NDArray[np.float32]:
        table = np.array([[name in film.findings for name in FINDINGS] for film in self.films], np.float32)
        none = 1 - table.max(1, keepdims=True)
        return np.concatenate([table, none], 1) if len(self.classes) > len(FINDINGS) else table

    def __len__(self) -> int:
        return len(self.films)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        at = int(self._source[index])
        return self.levels(index)[None].astype(np.float32) / np.float32(255), self.labels[at]

    def levels(self, index: int) -> Levels:
        """The small film as 8-bit levels."""
        at = int(self._source[index])
        return self._small(at) if self._levels is None else np.array(self._levels[at])

    def _small(self, at: int) -> Levels:
        return resized(read_gray(self.paths[at]), self.size)

    def labels_of(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Those of several films, one row for each."""
        return self.labels[self._source[np.asarray(indices, np.int64)]]

    def name_of(self, index: int) -> str:
        """The film's file, or that of the one that stands for it."""
        return self.films[int(self._source[index])].name

    def keep(self, indices: Sequence[int] | NDArray[np.int64]) -> None:
        """Forget all other films; those that stay are numbered anew. Before `prepare`, which then reads fewer."""
        kept = np.asarray(indices, np.int64)
        if self._levels is not None:
            raise StateError("chest films", "keep before prepare", "films that are prepared")
        self.films, self.paths = [self.films[at] for at in kept], [self.paths[at] for at in kept]
        self.labels, self._source = self.labels[kept], np.arange(len(kept))

    @property
    def patients(self) -> NDArray[np.int64]:
        """Who is on each film: what a split goes by."""
        return np.array([film.patient for film in self.films])

    # ------------------------------------------------------------------------------ small films in one file
    def prepare(self, progress: Progress | None = None) -> None:
        """Make the file of small films, or take up the one that is there and fits."""
        files = (f"{p.name} {p.stat().st_size}" for p in self.paths)
        key = hashlib.sha256("\n".join([_READING, *files]).encode()).hexdigest()[:16]
        levels, about = (self.cache / f"films-{self.size}-{key}.{kind}" for kind in ("npy", "json"))
        if not (levels.is_file() and about.is_file()):
            self._make(levels, about, progress)
        self._levels = np.load(levels, mmap_mode="r")
        broken = json.loads(about.read_text(encoding="utf-8"))["broken"]
        self._replace({int(at): why for at, why in broken.items()})

    def _make(self, levels: Path, about: Path, progress: Progress | None) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        part = levels.with_name(f".{levels.name}.{os.getpid()}.part")
        broken: dict[int, str] = {}
        try:
            shape = (len(self), self.size, self.size)
            small = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            with ThreadPoolExecutor(settings.threads_now()) as pool:
                for at, made in enumerate(pool.map(self._try, range(len(self)))):
                    if isinstance(made, str):
                        broken[at] = made
                        if len(broken) > self.most_broken:
                            pool.shutdown(cancel_futures=True)
                            raise self._too_many(broken)
                    else:
                        small[at] = made
                    if progress is not None:
                        progress(at + 1, len(self))
            small.flush()
            del small
            # The description last: a file of films without one was not finished.
            os.replace(part, levels)
            written = about.with_name(f".{about.name}.{os.getpid()}.part")
            written.write_text(json.dumps({"films": len(self), "broken": broken}, indent=1) + "\n", encoding="utf-8")
            os.replace(written, about)
        finally:
            part.unlink(missing_ok=True)

    def _try(self, at: int) -> Levels | str:
        try:
            return self._small(at)
        except DataError as error:
            return error.got

    def _replace(self, broken: dict[int, str]) -> None:
        if len(broken) > self.most_broken:
            raise self._too_many(broken)
        self._broken = broken
        self.replace_within({"the films": np.arange(len(self))})

    def replace_within(self, parts: Mapping[str, Any]) -> None:
        """Let a film that cannot be read give way to the next that can of its own part: no patient changes sides."""
        for name, indices in parts.items():
            members = np.asarray(indices).tolist()
            lost = [place for place, at in enumerate(members) if at in self._broken]
            if members and len(lost) == len(members):
                raise DataError("chest films", f"a film that can be read in {name}", "none")
            for place in lost:
                other = place
                while members[other] in self._broken:
                    other = (other + 1) % len(members)
                at, source = members[place], members[other]
                self._source[at] = source
                self.replaced[self.films[at].name] = (self._broken[at], self.films[source].name)

    def _too_many(self, broken: dict[int, str]) -> DataError:
        listed = "; ".join(f"{self.films[at].name}: {why}" for at, why in list(broken.items())[:30])
        hint = "download them again, or allow more with most_broken."
        return DataError("chest films", f"at most {self.most_broken} films that cannot be read", listed, hint=hint)

    # ------------------------------------------------------------------------------ parts, places
    def official_parts(self) -> dict[str, NDArray[np.int64]]:
        """NIH's own parts, "train" (with what is to be held out for validation) and "test": indices of films.

        Lists that do not go with the table are refused, unless films may be missing (`is_partial`).
        """
        number = {film.name: at for at, film in enumerate(self.films)}
        listed = {name: read_list(self.folder / file) for name, file in LISTS.items()}
        parts = {name: np.array(sorted({number[film] for film in own if film in number}), np.int64)
                 for name, own in listed.items()}  # fmt: skip
        if not self.is_partial:
            known = {film for own in listed.values() for film in own}
            wrongs = {
                "films of the table in the lists": [f for own in listed.values() for f in own if f not in number],
                "every film in one of the lists": [film for film in number if film not in known],
            }
            for expected, wrong in wrongs.items():
                if wrong:
                    hint = "is_partial=True leaves them out; split='stratified' needs no lists."
                    got = f"{len(wrong):,} others: {', '.join(wrong[:3])}"
                    raise DataError("chest films", expected, got, hint=hint)
        self.check(parts)
        return parts

    def three_parts(self, validation: float, seed: int) -> dict[str, NDArray[np.int64]]:
        """NIH's own parts, that share of the training patients held out as "validation"."""
        official = self.official_parts()
        known = official["train"]
        kept, held = stratified_split(self.labels[known], self.patients[known], (1 - validation, validation), seed)
        return {"train": known[kept], "validation": known[held], "test": official["test"]}

    def check(self, parts: dict[str, Any]) -> None:
        """Refuse parts that share a patient."""
        check_disjoint(self.patients, parts)

    def boxes(self) -> dict[str, list[Box]]:
        """The marked findings of each film that has any."""
        found: dict[str, list[Box]] = {}
        for box in read_boxes(self.folder / BOXES):
            found.setdefault(box.name, []).append(box)
        return found

    def pos_weight(self, indices: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Negatives per positive of each class among those films, 1 where one of both is missing."""
        return pos_weight(self.labels[self._source] if indices is None else self.labels_of(indices))
