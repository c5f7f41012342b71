"""Data sets of pictures by name, as modules that are ready to train on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kinone.data.dataset import Subset
from kinone.data.demo import DemoSpec
from kinone.data.folder import ImageFolder
from kinone.data.module import ChestModule, DataModule
from kinone.data.pictures import Pictures, cifar10, cifar100, digits, fashion_mnist, mnist
from kinone.data.split import stratified_split
from kinone.errors import ArgumentError, DataError, nearest

_Reader = Callable[..., Pictures]
_READERS: dict[str, _Reader] = {
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
}
DATASETS = ("demo", "nih", "digits", *_READERS, "folder")


def module_of(
    name: str, folder: str | Path | None = None, *, validation_share: float = 0.1, test_share: float = 0.2,
    split_seed: int = 0, size: int | None = None, **options: Any,
) -> DataModule:  # fmt: skip
    """The data set `name` in `folder` (by default data/NAME), in its own parts or, where it has none, dealt out.

    `validation_share` is of what is not for tests. `size` is that of films and of the images of a folder; `options` are
    those of `DataModule`, or of `ChestModule` for "demo" and "nih". "folder" has a folder for each class, or folders
    train, validation (or val) and test with such.
    """
    if name not in DATASETS:
        hint = nearest(name, DATASETS)
        raise ArgumentError("data", f"a data set among {', '.join(DATASETS)}", repr(name), hint=hint)
    for share in (validation_share, test_share):
        if not 0 < share < 1:
            raise ArgumentError("data", "shares between 0 and 1", repr((validation_share, test_share)))
    place = Path("data") / name if folder is None else Path(folder)
    if name in ("demo", "nih"):
        own: dict[str, Any] = {"validation_share": validation_share, "test_share": test_share,
                               "split_seed": split_seed, **options}  # fmt: skip
        if name == "demo":
            own = {"demo": DemoSpec(), **own}
        if size is not None:
            own["size"] = size
        return ChestModule(place, **own)
    if name == "folder":
        parts = _folders(place, size)
    elif name == "digits":
        parts = {"train": digits()}
    else:
        parts = {part: _READERS[name](place, part) for part in ("train", "test")}
    return _dealt(parts, validation_share, test_share, split_seed, options)


def _folders(place: Path, size: int | None) -> dict[str, Any]:
    if not (place / "train").is_dir():
        return {"train": ImageFolder(place, size=size)}
    train = ImageFolder(place / "train", size=size)
    parts = {"train": train}
    for name, folders in {"validation": ("validation", "val"), "test": ("test",)}.items():
        there = [place / folder for folder in folders if (place / folder).is_dir()]
        if len(there) > 1:
            raise DataError("data", f"one folder for validation in {place}", " and ".join(path.name for path in there))
        if there:
            parts[name] = ImageFolder(there[0], size=size, classes=train.classes)
    return parts


def _dealt(parts: dict[str, Any], validation: float, test: float, seed: int, options: dict[str, Any]) -> DataModule:
    """What is missing of validation and test is taken from training, in proportion."""
    train = parts["train"]
    kept = 1.0 if "test" in parts else 1 - test
    missing = {name: share for name, share in (("validation", kept * validation), ("test", test)) if name not in parts}
    if missing:
        shares = (1 - sum(missing.values()), *missing.values())
        found = stratified_split(np.asarray(train.labels), shares=shares, seed=seed)
        dealt = {name: Subset(train, part.tolist()) for name, part in zip(("train", *missing), found, strict=True)}
        parts = {**parts, **dealt}
    module = DataModule(**parts, **options)
    module.classes = train.classes
    return module
