"""Data sets in files: what is in them, and what is wrong with those that are not as they should be."""

import gzip
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinone.data import DataLoader
from kinone.data.dataset import Subset
from kinone.data.demo import DemoSpec
from kinone.data.folder import ImageFolder
from kinone.data.image import read_colours
from kinone.data.named import DATASETS, module_of
from kinone.data.pictures import FASHION, Pictures, cifar10, cifar100, digits, fashion_mnist, mnist, read_idx
from kinone.data.png import gray_png
from kinone.errors import ArgumentError, DataError, MissingExtraError, ShapeError

RANDOM = np.random.default_rng(0)


# ------------------------------------------------------------------------------ pictures
def test_pictures_are_values_and_labels():
    levels = RANDOM.integers(0, 256, (5, 3, 4, 4)).astype(np.uint8)
    pictures = Pictures(levels, [0, 1, 2, 1, 0], ["a", "b", "c"])
    x, y = pictures[3]
    assert x.dtype == np.float32 and np.array_equal(x, levels[3].astype(np.float32) / np.float32(255)) and y == 1
    assert np.array_equal(pictures.x[3], x) and pictures.y.tolist() == [0, 1, 2, 1, 0]
    with pytest.raises(DataError, match="labels from 0 to 1, got 2 for picture 2"):
        Pictures(levels, [0, 1, 2, 1, 0], ["a", "b"])
    for wrong in ((levels[0], [0]), (levels / 255, [0] * 5), (levels, [0] * 4)):
        with pytest.raises(ShapeError, match=r"levels \(N, C, H, W\) of uint8"):
            Pictures(*wrong, ["a"])


def test_digits_of_scikit_learn():
    sklearn: Any = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    found = digits()
    theirs = sklearn.load_digits()
    assert len(found) == 1797 and found[0][0].shape == (1, 8, 8) and np.array_equal(found.y, theirs.target)
    assert np.abs(found.x[:, 0] - theirs.images / 16).max() < 1 / 500


def test_digits_without_scikit_learn_name_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"Hint: pip install scikit-learn"):
        digits()


# ------------------------------------------------------------------------------ IDX files
def idx(array: Any, kind: int = 8) -> bytes:
    array = np.asarray(array)
    big = array.astype(array.dtype.newbyteorder(">"))
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + big.tobytes()


@pytest.mark.parametrize(("kind", "dtype"), [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")])
@pytest.mark.parametrize("is_packed", [False, True])
def test_idx_files_of_every_kind(tmp_path, kind, dtype, is_packed):
    array = (RANDOM.random((2, 3, 4)) * 100).astype(dtype)
    data = idx(array, kind)
    (tmp_path / "a").write_bytes(gzip.compress(data) if is_packed else data)
    found = read_idx(tmp_path / "a")
    assert found.dtype == np.dtype(dtype) and np.array_equal(found, array)


GOOD = idx(RANDOM.integers(0, 256, (3, 4, 4)).astype(np.uint8))
MALFORMED = {
    "nothing": (b"", "begin as IDX files do"),
    "text": (b"<html>not found</html>", r"begin as IDX files do, got b'<htm'"),
    "an unknown kind": (b"\0\0\x0a\x01" + GOOD[4:], "begin as IDX files do"),
    "no axis": (b"\0\0\x08\0", "begin as IDX files do"),
    "many axes": (b"\0\0\x08\xff" + bytes(2000), "begin as IDX files do"),
    "cut off in its lengths": (GOOD[:9], "3 lengths in a, got its end"),
    "cut off": (GOOD[:-1], r"64 bytes in a, whose shape is \(3, 4, 4\), got 63"),
    "too long": (GOOD + b"x", r"64 bytes in a, whose shape is \(3, 4, 4\), got (65|more)"),
    "a shape of more than memory": (b"\0\0\x08\x03" + b"\xff" * 12, r"whose shape is \(4294967295, "),
}


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("is_packed", [False, True])
def test_malformed_idx_files_are_refused(tmp_path, case, is_packed):
    data, why = MALFORMED[case]
    (tmp_path / "a").write_bytes(gzip.compress(data) if is_packed else data)
    with pytest.raises(DataError, match=why):
        read_idx(tmp_path / "a")


def test_damaged_gzip_files_are_refused(tmp_path):
    packed = gzip.compress(GOOD)
    for data in (packed[:-5], packed[:20], packed[:-8] + bytes(8), packed + b"more"):
        (tmp_path / "a.gz").write_bytes(data)
        with pytest.raises(DataError, match=r"a whole gzip file in a\.gz"):
            read_idx(tmp_path / "a.gz")
    with pytest.raises(DataError, match="the file none, got No such file"):
        read_idx(tmp_path / "none")


def mnist_files(folder: Path, suffix: str = "", joint: str = "-") -> Any:
    folder.mkdir(exist_ok=True, parents=True)
    made = {}
    for prefix, count in (("train", 30), ("t10k", 20)):
        images, labels = RANDOM.integers(0, 256, (count, 6, 5)).astype(np.uint8), np.arange(count, dtype=np.uint8) % 10
        made[prefix] = images, labels
        for name, data in (
            (f"{prefix}-images{joint}idx3-ubyte", idx(images)),
            (f"{prefix}-labels{joint}idx1-ubyte", idx(labels)),
        ):
            (folder / (name + suffix)).write_bytes(gzip.compress(data) if suffix else data)
    return made


@pytest.mark.parametrize(
    ("suffix", "joint", "place"), [("", "-", "."), (".gz", "-", "."), ("", ".", "."), (".gz", "-", "raw")]
)
def test_mnist(tmp_path, suffix, joint, place):
    made = mnist_files(tmp_path / place, suffix, joint)
    for part, prefix in (("train", "train"), ("test", "t10k")):
        found = mnist(tmp_path, part)
        assert np.array_equal(found.levels[:, 0], made[prefix][0]) and np.array_equal(found.y, made[prefix][1])
        assert found.classes == tuple("0123456789") and fashion_mnist(tmp_path, part).classes == FASHION


def test_mnist_that_does_not_fit_together(tmp_path):
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte or train-images-idx3-ubyte\.gz in .*, got none"):
        mnist(tmp_path)
    with pytest.raises(DataError, match="got no such folder"):
        mnist(tmp_path / "none")
    with pytest.raises(ArgumentError, match='part "train" or "test"'):
        mnist(tmp_path, "validation")
    mnist_files(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(29, np.uint8)))
    with pytest.raises(DataError, match=r"images \(N, H, W\) of 8 bits and N labels"):
        mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.full(30, 10, np.uint8)))
    with pytest.raises(DataError, match="labels from 0 to 9, got 10 for picture 0"):
        mnist(tmp_path)


# ------------------------------------------------------------------------------ CIFAR
def cifar_files(folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True, parents=True)
    made = {}
    for name in [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]:
        rows = RANDOM.integers(0, 256, (4, 3073)).astype(np.uint8)
        rows[:, 0] %= 10
        (folder / name).write_bytes(rows.tobytes())
        made[name] = rows
    return made


@pytest.mark.parametrize("place", [".", "cifar-10-batches-bin"])
def test_cifar_10(tmp_path, place):
    made = cifar_files(tmp_path / place)
    train, test = cifar10(tmp_path), cifar10(tmp_path, "test")
    assert len(train) == 20 and len(test) == 4 and train.classes[:2] == ("airplane", "automobile")
    assert np.array_equal(train.levels[4], made["data_batch_2.bin"][0, 1:].reshape(3, 32, 32))
    assert np.array_equal(test.y, made["test_batch.bin"][:, 0])


def test_cifar_100(tmp_path):
    rows = RANDOM.integers(0, 256, (5, 3074)).astype(np.uint8)
    rows[:, 0] %= 20
    rows[:, 1] %= 100
    (tmp_path / "train.bin").write_bytes(rows.tobytes())
    fine, coarse = cifar100(tmp_path), cifar100(tmp_path, is_coarse=True)
    assert np.array_equal(fine.y, rows[:, 1]) and np.array_equal(coarse.y, rows[:, 0])
    assert np.array_equal(fine.levels[2], rows[2, 2:].reshape(3, 32, 32)) and fine.classes[7] == "7"
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"name{n}" for n in range(100)) + "\n")
    assert cifar100(tmp_path).classes[7] == "name7"
    (tmp_path / "fine_label_names.txt").write_text("one\ntwo\n")
    with pytest.raises(DataError, match=r"100 names in fine_label_names\.txt, got 2"):
        cifar100(tmp_path)


def test_the_python_version_of_cifar_is_refused(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"\x80\x04.")
    (tmp_path / "train").write_bytes(b"\x80\x04.")
    with pytest.raises(
        DataError, match=r"the Python version, whose pickles could run anything. Hint: .*cifar-10-binary"
    ):
        cifar10(tmp_path)
    with pytest.raises(DataError, match=r"the Python version.*cifar-100-binary\.tar\.gz"):
        cifar100(tmp_path)


def test_malformed_cifar_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"data_batch_1\.bin in .*, got none. Hint: download the binary version"):
        cifar10(tmp_path)
    with pytest.raises(ArgumentError, match='part "train" or "test"'):
        cifar10(tmp_path, "val")
    cifar_files(tmp_path)
    for data in (b"", bytes(3072), bytes(3074)):
        (tmp_path / "data_batch_3.bin").write_bytes(data)
        with pytest.raises(DataError, match=r"records of 3,073 bytes in data_batch_3\.bin"):
            cifar10(tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(DataError, match="labels from 0 to 9, got 10 for picture 8"):
        cifar10(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin"):
        cifar10(tmp_path)


# ------------------------------------------------------------------------------ folders
def png(folder: Path, name: str, levels: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(gray_png(levels))
    return folder / name


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    for n, (kind, name) in enumerate([("dog", "b.png"), ("dog", "a.png"), ("cat", "10.PNG"), ("cat", "9.png")]):
        png(tmp_path / "animals" / kind, name, np.full((4, 5), 10 * n, np.uint8))
    png(tmp_path / "animals" / "dog" / "more", "z.png", np.full((4, 5), 99, np.uint8))
    (tmp_path / "animals" / "dog" / "notes.txt").write_text("not an image")
    png(tmp_path / "animals" / "dog", ".hidden.png", np.zeros((1, 1), np.uint8))
    (tmp_path / "animals" / ".cache").mkdir()
    return tmp_path / "animals"


def test_a_folder_for_each_class(animals):
    found = ImageFolder(animals)
    assert found.classes == ("cat", "dog") and found.labels.tolist() == [0, 0, 1, 1, 1]
    assert [path.name for path in found.paths] == ["10.PNG", "9.png", "a.png", "b.png", "z.png"]
    x, y = found[2]
    assert x.shape == (3, 4, 5) and x.dtype == np.float32 and (x == np.float32(10) / np.float32(255)).all() and y == 1
    assert ImageFolder(animals, is_gray=True, size=(6, 7))[0][0].shape == (1, 6, 7)
    turned = ImageFolder(animals, classes=["wolf", "dog", "cat"])
    assert turned.labels.tolist() == [1, 1, 1, 2, 2]
    batch = next(iter(DataLoader(ImageFolder(animals, size=4), batch_size=5, workers=2)))
    assert batch[0].shape == (5, 3, 4, 4)


def test_colours_are_red_green_blue(tmp_path):
    cv2: Any = pytest.importorskip("cv2", reason="OpenCV is not installed")
    pixels = RANDOM.integers(0, 256, (4, 5, 4)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "c.png"), pixels)  # blue, green, red and alpha
    assert np.array_equal(read_colours(tmp_path / "c.png"), np.moveaxis(pixels[..., [2, 1, 0]], -1, 0))
    cv2.imwrite(str(tmp_path / "c.png"), pixels[..., :3].astype(np.uint16) * 257)
    assert np.array_equal(read_colours(tmp_path / "c.png"), np.moveaxis(pixels[..., [2, 1, 0]], -1, 0))
    gray = read_colours(png(tmp_path, "g.png", pixels[..., 0]))
    assert gray.shape == (3, 4, 5) and (gray == pixels[..., 0]).all()


def test_folders_that_are_wrong_are_refused(animals):
    with pytest.raises(DataError, match=r"the folder .*none"):
        ImageFolder(animals / "none")
    with pytest.raises(DataError, match=r"a folder for each class in .*Hint: put the images"):
        ImageFolder(animals / "cat")
    with pytest.raises(DataError, match="folders among cat, got dog"):
        ImageFolder(animals, classes=["cat"])
    with pytest.raises(ArgumentError, match="size, a whole number ≥ 1 or two"):
        ImageFolder(animals, size=0)
    (animals / "cow").mkdir()
    with pytest.raises(DataError, match=r"PNG or JPEG images in .*cow, got none"):
        ImageFolder(animals)
    (animals / "cat" / "9.png").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"9\.png to be PNG or JPEG") as caught:
        ImageFolder(animals, classes=["cat", "cow", "dog"])[1]
    assert caught.value.__notes__ == [f"in {animals / 'cat'}"]
    png(animals / "dog", "a.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(ShapeError, match="samples of one shape"):
        list(DataLoader(Subset(ImageFolder(animals, classes=["cow", "dog", "cat"]), [0, 1])))


# ------------------------------------------------------------------------------ by name
def test_modules_by_name(tmp_path, animals):
    mnist_files(tmp_path / "m")
    data = module_of("mnist", tmp_path / "m", validation_share=1 / 3)
    assert data.sizes() == {"train": 20, "test": 20, "validation": 10} and data.input_shape == (1, 6, 5)
    assert np.bincount(data.labels("validation")).tolist() == [1] * 10 and data.classes == tuple("0123456789")
    assert module_of("fashion-mnist", tmp_path / "m").classes == FASHION
    cifar_files(tmp_path / "c")
    assert sum(module_of("cifar10", tmp_path / "c").sizes().values()) == 24
    pictures = module_of("folder", animals, size=8, validation_share=0.2, test_share=0.2, batch_size=2)
    assert sum(pictures.sizes().values()) == 5 and pictures.classes == ("cat", "dog")
    for part, kind in (("train", "cat"), ("train", "dog"), ("val", "dog"), ("test", "cat")):
        png(tmp_path / "own" / part / kind, f"{part}.png", np.zeros((4, 4), np.uint8))
    own = module_of("folder", tmp_path / "own")
    assert own.sizes() == {"train": 2, "validation": 1, "test": 1} and own.labels("validation").tolist() == [1]
    demo = module_of("demo", tmp_path / "demo", size=16, demo=DemoSpec(10, 32))
    assert demo.input_shape == (1, 16, 16)


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("cifar", {}, r"a data set among demo, nih, .* got 'cifar'. Hint: did you mean cifar10\?"),
        ("mnist", {"validation_share": 0}, "shares between 0 and 1"),
        ("folder", {"validation_share": 0.5, "test_share": 1.0}, "shares between 0 and 1"),
    ],
)
def test_names_and_shares_that_are_wrong(tmp_path, name, options, match):
    with pytest.raises(ArgumentError, match=match):
        module_of(name, tmp_path, **options)
    assert "cifar10" in DATASETS


def test_two_folders_for_validation_are_refused(tmp_path):
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    for part in ("train", "val", "validation"):
        png(tmp_path / part / "cat", "a.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"one folder for validation in .*, got validation and val"):
        module_of("folder", tmp_path)
