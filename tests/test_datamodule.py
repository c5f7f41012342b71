"""Data modules: parts that share no patient, loaders of them, and what a run needs to know of its data."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinone.data import Arrays, ChestFilms, ChestModule, DataModule, Subset, pos_weight
from kinone.data.demo import VERSION, DemoSpec, make_demo
from kinone.data.films import FINDINGS, LISTS, TABLES
from kinone.data.module import film_transforms
from kinone.data.transforms import Affine, BrightnessContrast, Compose, Normalize
from kinone.errors import ArgumentError, DataError, StateError
from kinone.random import Stream
from kinone.training.films import films_of
from runs import small

SPEC = DemoSpec(patients=30, size=32)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("data") / "demo", SPEC)


@pytest.fixture
def folder(demo: Path, tmp_path: Path) -> Path:
    """The demo data, to be spoilt."""
    made = tmp_path / "demo"
    (made / "images").mkdir(parents=True)
    for file in demo.rglob("*"):
        if file.is_file() and file.parent.name != "cache":
            (made / file.relative_to(demo)).write_bytes(file.read_bytes())
    return made


def patients(data: ChestModule) -> dict[str, set[int]]:
    return {name: {data.films.films[at].patient for at in indices} for name, indices in data.indices.items()}


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) for one, two in zip(a, b, strict=True) for x, y in zip(one, two, strict=True))


# ------------------------------------------------------------------------------ chest films
@pytest.mark.parametrize("split", ["official", "stratified"])
def test_every_film_is_in_one_part_and_every_patient_too(demo, split):
    data = ChestModule(demo, size=16, split=split)
    data.setup()
    who = patients(data)
    assert list(who) == ["train", "validation", "test"] and all(who.values())
    assert not (who["train"] & who["validation"] or who["train"] & who["test"] or who["validation"] & who["test"])
    assert sorted(np.concatenate(list(data.indices.values()))) == list(range(len(data.films)))
    assert data.classes == FINDINGS and data.input_shape == (1, 16, 16)
    if split == "official":
        tested = set((demo / LISTS["test"]).read_text().split())
        assert {data.films.films[at].name for at in data.indices["test"]} == tested
        assert 0.05 < data.sizes()["validation"] / (data.sizes()["train"] + data.sizes()["validation"]) < 0.2


def test_the_demo_films_are_made_where_they_are_missing(tmp_path):
    told = []
    data = ChestModule(tmp_path / "demo", size=16, demo=DemoSpec(patients=10, size=32), batch_size=8)
    data.setup(lambda *news: told.append(news))
    count = len(data.films)
    assert told[count - 1] == ("drawing the demo films", count, count)
    assert told[-1] == ("shrinking the films", count, count)
    x, y = next(iter(data.train_loader()))
    assert x.shape == (8, 1, 16, 16) and x.dtype == np.float32 and y.shape == (8, 14)


def test_loaders_change_training_films_alone(demo):
    data = ChestModule(demo, size=16, batch_size=16, seed=3)
    plain = ChestModule(demo, size=16, batch_size=16, transform=None, test_transform=None)
    assert same(data.validation_loader(), [(Normalize()(x[:, 0], None)[:, None], y)  # pyright: ignore[reportArgumentType]
                                           for x, y in plain.validation_loader()])  # fmt: skip
    loader = data.train_loader()
    first, second = list(loader), list(loader)
    assert not same(first, second) and same(first, data.train_loader(workers=2))
    assert not same(first, ChestModule(demo, size=16, batch_size=16, seed=4).train_loader())
    labels = np.concatenate([y for _, y in plain.train_loader(shuffle=False)])
    assert np.array_equal(labels, data.labels()) and np.array_equal(data.pos_weight(), pos_weight(labels))
    assert data.train_loader(drop_last=True, batch_size=7).batch_size == 7


PIXELS = """
import hashlib, sys
from kinone.data import ChestModule
total = hashlib.sha256()
for x, y in ChestModule(sys.argv[1], size=16, cache=sys.argv[2]).train_loader():
    total.update(x.tobytes() + y.tobytes())
print(total.hexdigest())
"""


def test_pixels_do_not_depend_on_the_instructions_of_the_processor(demo, tmp_path):
    """Neither in NumPy, which chooses its loops by them, nor in OpenCV, which decodes."""
    umath: Any = np._core._multiarray_umath  # pyright: ignore[reportAttributeAccessIssue]
    there = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    plain = {"NPY_DISABLE_CPU_FEATURES": ",".join(there), "OPENCV_CPU_DISABLE": "AVX2", "OPENCV_IPP": "disabled"}
    found = []
    for k, variables in enumerate(({}, plain)):
        words = [sys.executable, "-W", "ignore", "-c", PIXELS, str(demo), str(tmp_path / str(k))]
        told = subprocess.run(words, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
        found.append(told.stdout)
    assert len(found[0]) == 65 and found[0] == found[1]


def test_lists_of_ones_own(demo):
    names = sorted(path.name for path in (demo / "images").iterdir())
    who = [name[:8] for name in names]
    parts = {
        "train": [name for name in names if name[:8] <= who[40]],
        "test": demo / LISTS["test"],
    }
    tested = set((demo / LISTS["test"]).read_text().split())
    parts["train"] = [name for name in parts["train"] if name not in tested]
    data = ChestModule(demo, size=16, split=parts)
    assert data.sizes() == {"train": len(parts["train"]), "test": len(tested)}
    again = ChestModule(demo, size=16, split={"train": data.indices["train"], "test": data.indices["test"].tolist()})
    assert again.digest() == data.digest()
    with pytest.raises(StateError, match="a part among train, test, got 'validation'"):
        data.validation_loader()


def test_a_patient_in_two_parts_is_refused_whoever_made_the_lists(folder):
    names = sorted(path.name for path in (folder / "images").iterdir())
    shared = next(b for a, b in pairwise(names) if a[:8] == b[:8])
    parts = {"train": [name for name in names if name != shared], "test": [shared]}
    with pytest.raises(DataError, match="no patient both in train and in test, got 1"):
        ChestModule(folder, size=16, split=parts).setup()
    assert not (folder / "cache").exists(), "refused before anything is made"
    lists = folder / LISTS["train"]
    lists.write_text(lists.read_text() + "\n" + (folder / LISTS["test"]).read_text().split()[0])
    with pytest.raises(DataError, match="no patient both in train and in test"):
        ChestModule(folder, size=16).setup()


def test_a_broken_film_gives_way_to_one_of_its_own_part(folder):
    before = ChestModule(folder, size=16, cache=folder / "first")
    before.setup()
    tested = before.indices["test"]
    lone = next(at for at in tested if at + 1 not in tested and at + 1 < len(before.films))
    before.films.paths[lone].write_bytes(b"")
    data = ChestModule(folder, size=16)
    data.setup()
    name = data.films.films[lone].name
    why, stand_in = data.films.replaced[name]
    assert why == "an empty file" and stand_in in {data.films.films[at].name for at in tested} - {name}
    assert data.films.name_of(int(lone)) == stand_in
    place = tested.tolist().index(lone)
    other = tested.tolist().index(next(at for at in tested if data.films.films[at].name == stand_in))
    assert np.array_equal(data.part("test")[place][0], data.part("test")[other][0])
    assert np.array_equal(data.labels("test")[place], data.labels("test")[other])


def test_in_a_run_too_a_broken_film_gives_way_to_one_of_its_own_part(folder):
    config = small(folder, data={"patients": 30, "validation_share": 0.3})
    (folder / "demo.json").write_text(json.dumps({"version": VERSION, "spec": vars(DemoSpec(30, 64))}))
    tested = films_of(config).indices["test"].tolist()
    films = ChestFilms(folder)
    lone = next(at for at in tested if at + 1 not in tested and at + 1 < len(films))
    films.paths[lone].write_bytes(b"")
    opened = films_of(config)
    (entry,) = opened.replaced()
    names = [film.name for film in opened.films.films]
    assert entry["sample"] == names[lone] and names.index(entry["by"]) in tested


def test_a_table_and_images_from_elsewhere(folder, tmp_path):
    (folder / TABLES[0]).rename(tmp_path / "mine.csv")
    (folder / "images").rename(tmp_path / "pictures")
    data = ChestModule(folder, size=16, table=tmp_path / "mine.csv", images=tmp_path / "pictures")
    assert sum(data.sizes().values()) == len(list((tmp_path / "pictures").iterdir()))


def test_a_part_of_broken_films_is_refused(folder):
    for name in (folder / LISTS["test"]).read_text().split():
        (folder / "images" / name).write_bytes(b"")
    with pytest.raises(DataError, match="a film that can be read in test, got none"):
        ChestModule(folder, size=16, most_broken=1000).setup()


def test_a_limit_reads_no_more_films(demo, tmp_path):
    data = ChestModule(demo, size=16, limit=5, cache=tmp_path)
    assert data.sizes() == {"train": 5, "validation": 5, "test": 5} and len(data.films) == 15
    whole = ChestModule(demo, size=16, transform=None, test_transform=None)
    few = ChestModule(demo, size=16, limit=5, cache=tmp_path, transform=None, test_transform=None)
    for name in data.sizes():
        places = [whole.names(name).index(film) for film in few.names(name)]
        assert places == sorted(places) and places != list(range(5)), "drawn, not the first"
        assert all(same(few.part(name)[i], whole.part(name)[at]) for i, at in enumerate(places))
        assert np.array_equal(few.labels(name), whole.labels(name)[places])


def test_the_digest_is_of_films_labels_and_parts(folder):
    def digest(**options: Any) -> str:
        return ChestModule(folder, size=16, **options).digest()

    first = digest()
    assert digest(workers=3, batch_size=2, seed=9, cache=folder / "elsewhere") == first
    assert len({first, digest(split="stratified"), digest(limit=4), digest(has_no_finding=True)}) == 4
    table = folder / TABLES[0]
    table.write_text(table.read_text().replace("Effusion", "Edema", 1))
    assert digest() != first


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"split": "random"}, "split 'auto', 'official', 'stratified' or a dict"),
        ({"validation_share": 0}, "validation_share between 0 and 1"),
        ({"test_share": 1.0}, "test_share between 0 and 1"),
        ({"limit": 0}, "limit ≥ 1"),
        ({"split": {"tset": []}}, "parts among train, validation, test, got 'tset'"),
        ({"split": {"train": [10**6]}}, "indices below"),
        ({"split": {"train": ["nobody.png"]}}, r"films of the table in the list of train, got 1 others: nobody\.png"),
        ({"split": {"train": [0], "test": []}}, "films in the part test, got none"),
        ({"split": {"test": [0]}}, "films in the part train, got none"),
        ({"batch": 3}, "batch"),
    ],
)
def test_wrong_arguments_are_refused(demo, options, match):
    with pytest.raises((ArgumentError, DataError, TypeError), match=match):
        ChestModule(demo, size=16, **options).setup()


def test_a_folder_without_lists_names_them(folder):
    (folder / LISTS["test"]).unlink()
    with pytest.raises(DataError, match=r"the list test_list\.txt"):
        ChestModule(folder, size=16, split="official").setup()
    dealt = ChestModule(folder, size=16, test_share=0.5, validation_share=0.5).sizes()
    assert dealt == ChestModule(folder, size=16, split="stratified", test_share=0.5, validation_share=0.5).sizes()
    assert 0.4 < dealt["test"] / sum(dealt.values()) < 0.6 and 0.2 < dealt["validation"] / sum(dealt.values()) < 0.3


def test_films_are_changed_a_little():
    kinds = [type(t) for t in film_transforms().transforms]
    assert kinds == [Affine, BrightnessContrast, Normalize], "and not mirrored"
    assert film_transforms(rotate=0, shift=0, zoom=0, brightness=0, contrast=0).transforms == (Normalize(),)
    film = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    whole = film_transforms(flip=True, rotate=0, shift=0, zoom=0, brightness=0, contrast=0, mean=0, std=1)
    seen = {whole((film,), Stream(f"sample/{i}"))[0].tobytes() for i in range(20)}
    assert seen == {film.tobytes(), film[..., ::-1].tobytes()}


# ------------------------------------------------------------------------------ arrays
def test_arrays_are_dealt_out_in_proportion():
    x, y = np.arange(200).reshape(100, 2), np.arange(100) % 5
    data = DataModule.of_arrays(x, y, batch_size=10, split_seed=1)
    assert data.sizes() == {"train": 70, "validation": 10, "test": 20}
    assert np.bincount(data.labels("test")).tolist() == [4, 4, 4, 4, 4]
    rows = np.concatenate([bx for name in ("train", "validation", "test") for bx, _ in data.loader_of(data.part(name))])
    assert np.array_equal(np.sort(rows[:, 0]), x[:, 0])
    assert [len(by) for _, by in data.validation_loader()] == [10] and data.input_shape == (2,)
    assert DataModule.of_arrays(x, y, split_seed=1).digest() == data.digest()
    assert DataModule.of_arrays(x, y, split_seed=2).digest() != data.digest()


def test_arrays_of_groups_numbers_and_no_test_part():
    x, y = np.zeros((60, 2)), np.linspace(0, 1, 60)
    groups = np.arange(60) // 3
    data = DataModule.of_arrays(x, y, groups=groups, shares=(0.5, 0.25, 0.25))
    parts: Any = data.parts
    of = [set(groups[part.indices]) for part in parts.values()]
    assert not (of[0] & of[1] or of[0] & of[2] or of[1] & of[2])
    assert DataModule.of_arrays(x, y, shares=(0.8, 0.2, 0)).sizes() == {"train": 48, "validation": 12}
    with pytest.raises(ArgumentError, match="shares of training, validation and test"):
        DataModule.of_arrays(x, y, shares=(0.8, 0.2))


def test_parts_of_ones_own():
    rows = Arrays(np.zeros((9, 3)), np.arange(9) % 2)
    data = DataModule(Subset(rows, [0, 1, 2]), (np.ones((2, 3)), np.ones(2)), test_transform=Compose())
    assert data.sizes() == {"train": 3, "validation": 2} and data.labels("train").tolist() == [0, 1, 0]
    assert data.pos_weight() == 2 and data.labels("validation").tolist() == [1, 1]
    listed = DataModule([(np.zeros(3), 1), (np.ones(3), 0)])
    assert listed.labels().tolist() == [1, 0] and listed.input_shape == (3,)
    with pytest.raises(DataError, match="no sample both in train and in test, got 2"):
        DataModule(Subset(rows, [0, 1, 2]), test=Subset(rows, [1, 2, 3]))
    with pytest.raises(ArgumentError, match="a data set or"):
        DataModule(iter([]))


def test_weights_of_positives():
    assert pos_weight([1, 0, 0, 0]) == 3 and pos_weight(np.ones((3, 2))).tolist() == [1, 1]
    for wrong in ([0, 2], [[[1]]], [0.5]):
        with pytest.raises(ArgumentError, match="labels 0 and 1"):
            pos_weight(wrong)
