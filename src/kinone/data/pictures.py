"""Small labelled pictures: the digits of scikit-learn, MNIST and its kin, CIFAR-10 and CIFAR-100."""

import gzip
import struct
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.errors import ArgumentError, DataError, MissingExtraError, ShapeError

Folder = str | Path

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_DIGITS = tuple("0123456789")
_KINDS = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_MOST_BYTES = 1 << 32


class Pictures:
    """`pictures[i]` is (image, label): values (C, H, W) from 0 to 1, and the number of its class.

    `levels` (N, C, H, W) are kept as 8 bits; `labels` (N,) are numbers of `classes`.

    >>> pictures = Pictures(np.full((2, 1, 1, 1), 255, np.uint8), [1, 0], ["cat", "dog"])
    >>> pictures[0], pictures.y
    ((array([[[1.]]], dtype=float32), np.int64(1)), array([1, 0]))
    """

    def __init__(self, levels: Any, labels: Any, classes: Sequence[str]) -> None:
        self.levels, self.labels, self.classes = np.asarray(levels), np.asarray(labels, np.int64), tuple(classes)
        if self.levels.ndim != 4 or self.levels.dtype != np.uint8 or self.labels.shape != self.levels.shape[:1]:
            got = f"{self.levels.dtype} {self.levels.shape} and {self.labels.shape}"
            raise ShapeError("Pictures", "levels (N, C, H, W) of uint8 and labels (N,)", got)
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))
        if len(wrong):
            got = f"{self.labels[wrong[0]]} for picture {wrong[0]}"
            raise DataError("Pictures", f"labels from 0 to {len(self.classes) - 1}", got)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> tuple[NDArray[np.float32], Any]:
        return self.levels[index].astype(np.float32) / np.float32(255), self.labels[index]

    @property
    def x(self) -> NDArray[np.float32]:
        """All images, as `fit` takes them."""
        return self[:][0]

    @property
    def y(self) -> NDArray[np.int64]:
        """All labels."""
        return self.labels


def digits() -> Pictures:
    """1,797 handwritten digits of 8 × 8 pixels, which come with scikit-learn: no download."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        hint = "pip install scikit-learn."
        raise MissingExtraError("digits", "scikit-learn, whose digits these are", "none installed", hint=hint) from None
    found: Any = load_digits()
    levels = (np.asarray(found.images) * 255 / 16 + 0.5).astype(np.uint8)  # from 0 to 16 there
    return Pictures(levels[:, None], found.target, _DIGITS)


# ------------------------------------------------------------------------------ MNIST
def mnist(folder: Folder, part: str = "train", classes: Sequence[str] = _DIGITS) -> Pictures:
    """MNIST, or what has its form, from `train-images-idx3-ubyte` and its three fellows, packed (.gz) or not.

    `part` is "train" (60,000 pictures) or "test" (10,000).
    """
    if part not in ("train", "test"):
        raise ArgumentError("mnist", 'part "train" or "test"', repr(part))
    prefix = "train" if part == "train" else "t10k"
    images = read_idx(_idx_file(Path(folder), f"{prefix}-images", "idx3-ubyte"))
    labels = read_idx(_idx_file(Path(folder), f"{prefix}-labels", "idx1-ubyte"))
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or images.dtype != np.uint8:
        got = f"{images.dtype} {images.shape} and {labels.shape}"
        raise DataError("mnist", f"images (N, H, W) of 8 bits and N labels in {folder}", got)
    return Pictures(images[:, None], labels, classes)


def fashion_mnist(folder: Folder, part: str = "train") -> Pictures:
    """Fashion-MNIST, in the same form."""
    return mnist(folder, part, FASHION)


def _idx_file(folder: Path, name: str, kind: str) -> Path:
    names = [f"{name}-{kind}", f"{name}-{kind}.gz", f"{name}.{kind}", f"{name}.{kind}.gz"]
    for place in (folder, folder / "raw"):  # torchvision puts them in raw/
        for candidate in names:
            if (place / candidate).is_file():
                return place / candidate
    got = "none" if folder.is_dir() else "no such folder"
    raise DataError("mnist", f"{names[0]} or {names[1]} in {folder}", got)


def read_idx(path: Folder) -> NDArray[Any]:
    """The array of an IDX file, packed by gzip or not: what its header claims is checked before memory is taken."""
    path = Path(path)
    try:
        with path.open("rb") as raw:
            is_packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if is_packed else raw as stream:
                return _idx(stream, path.name, None if is_packed else path.stat().st_size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError("idx", f"a whole gzip file in {path.name}", str(error)) from None
    except OSError as error:
        raise DataError("idx", f"the file {path.name}", error.strerror or str(error)) from None


def _idx(stream: Any, name: str, size: int | None) -> NDArray[Any]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _KINDS or not 1 <= head[3] <= 8:
        raise DataError("idx", f"{name} to begin as IDX files do", repr(head))
    lengths = stream.read(4 * head[3])
    if len(lengths) < 4 * head[3]:
        raise DataError("idx", f"{head[3]} lengths in {name}", "its end")
    shape, dtype = struct.unpack(f">{head[3]}I", lengths), np.dtype(_KINDS[head[2]])
    wanted, before = prod(shape) * dtype.itemsize, 4 + 4 * head[3]
    if wanted > _MOST_BYTES or (size is not None and size != before + wanted):
        got = f"{size:,}" if size is not None else f"at most {_MOST_BYTES:,} allowed"
        raise DataError("idx", f"{before + wanted:,} bytes in {name}, whose shape is {shape}", got)
    data = bytearray()
    while len(data) <= wanted and (chunk := stream.read(min(1 << 20, wanted + 1 - len(data)))):
        data += chunk
    if len(data) != wanted:
        got = "more" if len(data) > wanted else f"{before + len(data):,}"
        raise DataError("idx", f"{before + wanted:,} bytes in {name}, whose shape is {shape}", got)
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


# ------------------------------------------------------------------------------ CIFAR
def cifar10(folder: Folder, part: str = "train") -> Pictures:
    """CIFAR-10 in its binary version: `data_batch_1.bin` … `data_batch_5.bin` and `test_batch.bin`."""
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] if part == "train" else ["test_batch.bin"]
    levels, labels = _cifar("cifar10", Path(folder), part, names, 1, ("data_batch_1", "test_batch"), 10)
    return Pictures(levels, labels[:, 0], CIFAR10)


def cifar100(folder: Folder, part: str = "train", *, is_coarse: bool = False) -> Pictures:
    """CIFAR-100 in its binary version, `train.bin` and `test.bin`: 100 classes, or the 20 groups of them."""
    levels, labels = _cifar("cifar100", Path(folder), part, [f"{part}.bin"], 2, ("train", "test"), 100)
    kind, count = ("coarse", 20) if is_coarse else ("fine", 100)
    names = next((place / f"{kind}_label_names.txt" for place in _cifar_places(Path(folder))
                  if (place / f"{kind}_label_names.txt").is_file()), None)  # fmt: skip
    classes = [str(n) for n in range(count)] if names is None else names.read_text(encoding="utf-8").split()
    if len(classes) != count:
        raise DataError("cifar100", f"{count} names in {kind}_label_names.txt", str(len(classes)))
    return Pictures(levels, labels[:, 0 if is_coarse else 1], classes)


def _cifar_places(folder: Path) -> list[Path]:
    return [folder, folder / "cifar-10-batches-bin", folder / "cifar-100-binary"]


def _cifar(
    where: str, folder: Path, part: str, names: list[str], labels: int, pickles: Sequence[str], classes: int
) -> tuple[Any, Any]:
    if part not in ("train", "test"):
        raise ArgumentError(where, 'part "train" or "test"', repr(part))
    place = next((place for place in _cifar_places(folder) if (place / names[0]).is_file()), folder)
    size = labels + 3 * 32 * 32
    rows = []
    for name in names:
        file = place / name
        if not file.is_file():
            places = (folder, folder / "cifar-10-batches-py", folder / "cifar-100-python")
            is_python = any((place / pickled).is_file() for place in places for pickled in pickles)
            hint = f"download the binary version, cifar-{classes}-binary.tar.gz."
            got = "the Python version, whose pickles could run anything" if is_python else "none"
            raise DataError(where, f"{name} in {folder}", got, hint=hint)
        data = file.read_bytes()
        if not data or len(data) % size:
            raise DataError(where, f"records of {size:,} bytes in {name}", f"{len(data):,} bytes")
        rows.append(np.frombuffer(data, np.uint8).reshape(-1, size))
    table = np.concatenate(rows)
    return table[:, labels:].reshape(-1, 3, 32, 32), table[:, :labels]
