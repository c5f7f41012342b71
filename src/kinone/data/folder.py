"""Image folders: one folder for each class, named as the class is."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.data.image import read_colours, read_gray
from kinone.data.transforms.warp import scaled
from kinone.errors import ArgumentError, DataError

_ENDINGS = (".png", ".jpg", ".jpeg")


class ImageFolder:
    """`folder/cat/1.png`, `folder/dog/1.jpg`, …: item i is (image, label), values (C, H, W) from 0 to 1 and a class.

    Classes are the folders' names, sorted, or `classes` in that order; images are those of a class's folder and the
    folders in it, sorted too. `size` (one number, or rows and columns) brings all to one size. PNG and JPEG are read,
    names that begin with a dot and files of other kinds are not.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, size: int | tuple[int, int] | None = None, is_gray: bool = False,
        classes: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.is_gray = Path(folder), is_gray
        self.size = (size, size) if isinstance(size, int) else size
        if self.size is not None and (len(self.size) != 2 or not all(type(n) is int and n > 0 for n in self.size)):
            raise ArgumentError("ImageFolder", "size, a whole number ≥ 1 or two", repr(size))
        if not self.folder.is_dir():
            raise DataError("ImageFolder", f"the folder {folder}", "none")
        found = sorted(p.name for p in self.folder.iterdir() if p.is_dir() and not p.name.startswith("."))
        self.classes: tuple[str, ...] = tuple(found if classes is None else classes)
        if not found:
            hint = "put the images of each class into a folder with its name."
            raise DataError("ImageFolder", f"a folder for each class in {folder}", "none", hint=hint)
        strangers = [name for name in found if name not in self.classes]
        if strangers:
            raise DataError("ImageFolder", f"folders among {', '.join(self.classes)}", ", ".join(strangers))
        self.paths: list[Path] = []
        labels: list[int] = []
        for number, name in enumerate(self.classes):
            images = _images(self.folder / name)
            if not images and classes is None:
                raise DataError("ImageFolder", f"PNG or JPEG images in {self.folder / name}", "none")
            self.paths += images
            labels += [number] * len(images)
        self.labels = np.array(labels, np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], Any]:
        return self.levels(index).astype(np.float32) / np.float32(255), self.labels[index]

    def levels(self, index: int) -> NDArray[np.uint8]:
        """The image as 8-bit levels (1 or 3, H, W)."""
        path = self.paths[index]
        try:
            levels = read_gray(path)[None] if self.is_gray else read_colours(path)
        except DataError as error:
            error.add_note(f"in {path.parent}")
            raise
        return levels if self.size is None else scaled(levels, *self.size)


def _images(folder: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(place) / name for name in sorted(files) if name.lower().endswith(_ENDINGS) and not name.startswith(".")
        ]
    return found
