"""NIH's films: every form of its table, broken images, the cache, official parts, boxes."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinone.data import demo
from kinone.data.chestxray import ChestFilms
from kinone.data.demo import DemoSpec, make_demo
from kinone.data.films import FINDINGS, find_images, read_boxes, read_table
from kinone.data.image import read_gray, resized
from kinone.errors import ArgumentError, DataError

pytest.importorskip("cv2", reason="OpenCV is not installed")

HEADER = ("Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
          "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]")  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("nih") / "demo", DemoSpec(patients=12, size=48))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "demo"))


def table(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return tmp_path / "t.csv"


# ------------------------------------------------------------------------------ the table
def test_the_forms_of_a_row(tmp_path: Path):
    films = read_table(table(tmp_path, "a_000.png,Effusion|Mass,0,1,58,M,PA,2682,2749,0.143,0.143",
                             "a_001.png,No Finding,1,1,058Y,F,AP,2682,2749,0.143,0.143,",
                             "b_000.png,Hernia,0,2,412,F,AP,2682,2749,0.143,0.143", ""))  # fmt: skip
    assert [film.findings for film in films] == [("Effusion", "Mass"), (), ("Hernia",)]
    assert [film.age for film in films] == [58, 58, None] and [film.patient for film in films] == [1, 1, 2]
    assert (films[1].sex, films[1].view, films[1].follow_up) == ("F", "AP", 1)


def test_the_forms_of_the_header(tmp_path: Path):
    row = "a_000.png,Mass,0,1,58,M,PA,1,1,1,1"
    for header in (HEADER + ",", HEADER.replace("Gender", "Sex"), "\ufeff" + HEADER):
        assert read_table(table(tmp_path, row, header=header))[0].sex == "M"


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ("a.png,Efusion,0,1,58,M,PA,1,1,1,1", r"a finding in line 2 of t\.csv, got 'Efusion'. Hint: did you mean Effu"),
        ("a.png,Mass,0", "at least 7 fields in line 2"),
        ("a.png,Mass,x,1,58,M,PA,1,1,1,1", "whole numbers for follow-up and patient in line 2"),
        ("../a.png,Mass,0,1,58,M,PA,1,1,1,1", "a file's name"),
        ("b.png,Mass,0,1,5,M,PA,1,1,1,1\nb.png,Mass,0,1,5,M,PA,1,1,1,1", r"each film once, got b\.png again in line 3"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, row: str, match: str):
    with pytest.raises(DataError, match=match):
        read_table(table(tmp_path, row))


def test_wrong_files_are_named(tmp_path: Path):
    with pytest.raises(DataError, match="the column 'Patient Age' in"):
        read_table(table(tmp_path, header=HEADER.replace("Patient Age,", "")))
    (tmp_path / "e.csv").write_text("")
    with pytest.raises(DataError, match="an empty file"):
        read_table(tmp_path / "e.csv")
    with pytest.raises(DataError, match=r"the file none\.csv"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match="download it by hand"):
        ChestFilms(tmp_path)
    with pytest.raises(DataError, match="got no such folder"):
        ChestFilms(tmp_path / "nowhere")


# ------------------------------------------------------------------------------ films
def test_items_are_small_films_and_labels(folder: Path):
    films = ChestFilms(folder, size=16)
    x, y = films[3]
    assert x.shape == (1, 16, 16) and x.dtype == y.dtype == np.float32 and y.shape == (14,)
    assert np.array_equal(x[0] * 255, resized(read_gray(films.paths[3]), 16))
    assert [name for name, v in zip(films.classes, y, strict=True) if v] == list(films.films[3].findings)
    more = ChestFilms(folder, size=16, has_no_finding=True)
    assert more.classes[-1] == "No Finding" and (more.labels.sum(1) >= 1).all()
    assert (more.labels[:, -1] == (more.labels[:, :-1].sum(1) == 0)).all()


def test_the_cache_changes_no_item(folder: Path):
    films, plain = ChestFilms(folder, size=16), ChestFilms(folder, size=16)
    told: list[tuple[int, int]] = []
    films.prepare(progress=lambda done, n: told.append((done, n)))
    assert told[-1] == (len(films), len(films)) and not films.replaced
    assert all(np.array_equal(films[i][0], plain[i][0]) for i in range(len(films)))
    again = ChestFilms(folder, size=16)
    again.prepare(progress=lambda done, n: pytest.fail("made anew"))
    assert np.array_equal(again[5][0], plain[5][0])
    assert not [path for path in films.cache.iterdir() if path.name.startswith(".")]


def test_a_broken_film_gives_way_to_the_next(folder: Path):
    films = ChestFilms(folder, size=16)
    for at in (4, 5, len(films) - 1):
        films.paths[at].write_bytes(films.paths[at].read_bytes()[:500])
    films = ChestFilms(folder, size=16)
    films.prepare()
    names = [film.name for film in films.films]
    assert films.replaced == {
        names[4]: ("a PNG file that is cut off", names[6]),
        names[5]: ("a PNG file that is cut off", names[6]),
        names[-1]: ("a PNG file that is cut off", names[0]),
    }
    for at, other in ((4, 6), (5, 6), (len(films) - 1, 0)):
        assert all(np.array_equal(a, b) for a, b in zip(films[at], films[other], strict=True))
    with pytest.raises(DataError, match=r"at most 2 films that cannot be read, got 0000.*cut off; 0000") as caught:
        ChestFilms(folder, size=16, most_broken=2).prepare()
    assert str(caught.value).count("cut off") == 3


def test_an_interruption_leaves_no_cache(folder: Path):
    def stop(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    films = ChestFilms(folder, size=16)
    with pytest.raises(KeyboardInterrupt):
        films.prepare(progress=stop)
    assert not list(films.cache.iterdir())
    films.prepare()
    assert len(films[0]) == 2


def test_missing_images(folder: Path):
    films = ChestFilms(folder)
    films.paths[2].unlink()
    with pytest.raises(DataError, match=rf"an image for each of {len(films)} rows, got 1 without one: 000.*is_partial"):
        ChestFilms(folder)
    assert len(ChestFilms(folder, is_partial=True)) == len(films) - 1
    shutil.rmtree(folder / "images")
    with pytest.raises(DataError, match="none of the table's"):
        ChestFilms(folder, is_partial=True)
    with pytest.raises(ArgumentError, match="size ≥ 1"):
        ChestFilms(folder, size=0)


def test_the_other_layout(folder: Path):
    before = find_images(folder)
    for i, path in enumerate(before.values()):
        place = folder / f"images_{1 + i % 3:03d}" / "images"
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / path.name)
    (folder / "images").rmdir()
    assert find_images(folder).keys() == before.keys() and len(ChestFilms(folder)) == len(before)


# ------------------------------------------------------------------------------ parts, boxes, weights
def test_official_parts(folder: Path):
    films = ChestFilms(folder)
    parts = films.official_parts()
    assert len(parts["train"]) + len(parts["test"]) == len(films)
    stolen = films.films[parts["test"][0]].name
    (folder / "train_val_list.txt").write_text((folder / "train_val_list.txt").read_text() + f"\n{stolen}")
    with pytest.raises(DataError, match="no patient both in train and in test"):
        films.official_parts()


def test_lists_that_do_not_go_with_the_table(folder: Path):
    films, lists = ChestFilms(folder), folder / "test_list.txt"
    whole, names = lists.read_text(), lists.read_text().split()
    for text, match in [
        (whole + "\nnobody.png", r"films of the table in the lists, got 1 others: nobody\.png\. Hint: is_partial"),
        ("\n".join(names[1:]), rf"every film in one of the lists, got 1 others: {names[0]}"),
    ]:
        lists.write_text(text)
        with pytest.raises(DataError, match=match):
            films.official_parts()
        assert len(ChestFilms(folder, is_partial=True).official_parts()["test"]) >= len(names) - 1
    lists.write_text("\n".join(names * 2))
    assert len(films.official_parts()["test"]) == len(names), "a name that is there twice counts once"


def test_boxes(tmp_path: Path):
    boxes = ChestFilms(make_demo(tmp_path / "demo", DemoSpec(patients=40, size=32))).boxes()
    assert boxes and all(box.finding in FINDINGS for found in boxes.values() for box in found)
    (tmp_path / "b.csv").write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\na.png,Infiltrate,1.5,2,3,4,,,\n")
    assert read_boxes(tmp_path / "b.csv")[0] == ("a.png", "Infiltration", 1.5, 2, 3, 4)
    (tmp_path / "b.csv").write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\na.png,Mass,1.5,2,x,4,,,\n")
    with pytest.raises(DataError, match="four numbers in line 2"):
        read_boxes(tmp_path / "b.csv")


def test_the_demo_data_has_nihs_findings_in_nihs_order():
    assert tuple(demo.FINDINGS) == FINDINGS


def test_weights_of_positives(folder: Path):
    films: Any = ChestFilms(folder)
    positives = films.labels.sum(0)
    for weight, n in zip(films.pos_weight(), positives, strict=True):
        assert weight == pytest.approx((len(films) - n) / n if n else 1)
    assert films.pos_weight([0, 1]).shape == (14,)
