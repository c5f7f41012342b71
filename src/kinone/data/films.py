"""The table of NIH ChestX-ray14 and what stands in it, with all the forms in which it goes round."""

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kinone.errors import DataError, nearest

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
NO_FINDING = "No Finding"
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
BOXES = "BBox_List_2017.csv"

_COLUMNS = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "View Position")
_SEX = ("Patient Gender", "Patient Sex")
_OLDEST = 120


class Film(NamedTuple):
    """A row of the table. `age` is None where the table's cannot be one."""

    name: str
    findings: tuple[str, ...]
    follow_up: int
    patient: int
    age: int | None
    sex: str
    view: str


class Box(NamedTuple):
    """Where a radiologist marked a finding, in pixels of the original film."""

    name: str
    finding: str
    x: float
    y: float
    width: float
    height: float


def _lines(path: Path) -> Iterable[tuple[int, list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from enumerate(csv.reader(file), 1)
    except FileNotFoundError:
        raise DataError("chest films", f"the file {path.name} in {path.parent}", "none") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError("chest films", f"a table in {path.name}", str(error)) from None


def find_table(folder: str | os.PathLike[str]) -> Path:
    """The table in that folder, the newer of the two where both lie there."""
    folder = Path(folder)
    for name in TABLES:
        if (folder / name).is_file():
            return folder / name
    hint = "it has no link of its own: download it by hand from NIH's Box folder and put it there."
    got = "no such folder" if not folder.is_dir() else "neither"
    raise DataError("chest films", f"{' or '.join(TABLES)} in {folder}", got, hint=hint)


def read_table(path: str | os.PathLike[str]) -> list[Film]:
    """All films of a table, in its order."""
    path = Path(path)
    films: dict[str, Film] = {}
    places: dict[str, int] = {}
    for number, fields in _lines(path):
        if number == 1:
            places = _places(path, fields)
        elif any(fields):
            film = _film(path, number, fields, places)
            if film.name in films:
                raise DataError(
                    "chest films", f"{path.name} with each film once", f"{film.name} again in line {number}"
                )
            films[film.name] = film
    if not places:
        raise DataError("chest films", f"a table in {path.name}", "an empty file")
    return list(films.values())


def _places(path: Path, header: list[str]) -> dict[str, int]:
    names = [name.strip() for name in header]
    sex = next((name for name in _SEX if name in names), _SEX[0])
    missing = [name for name in (*_COLUMNS, sex) if name not in names]
    if missing:
        got = f"the columns {', '.join(names)[:200]}"
        raise DataError("chest films", f"the column {missing[0]!r} in {path.name}", got)
    return {**{name: names.index(name) for name in _COLUMNS}, "sex": names.index(sex)}


def _film(path: Path, number: int, fields: list[str], places: dict[str, int]) -> Film:
    where = f"line {number} of {path.name}"
    if len(fields) <= max(places.values()):
        raise DataError("chest films", f"at least {max(places.values()) + 1} fields in {where}", str(len(fields)))
    name, labels, follow_up, patient, age, view = (fields[places[column]].strip() for column in _COLUMNS)
    findings = tuple(label for label in labels.split("|") if label != NO_FINDING)
    for label in findings:
        if label not in FINDINGS:
            hint = nearest(label, FINDINGS) or f"there are {', '.join(FINDINGS)}."
            raise DataError("chest films", f"a finding in {where}", repr(label), hint=hint)
    if not (follow_up.isdecimal() and patient.isdecimal()) or not name or "/" in name or "\\" in name:
        got = f"{name!r}, {follow_up!r}, {patient!r}"
        raise DataError("chest films", f"a file's name and whole numbers for follow-up and patient in {where}", got)
    return Film(name, findings, int(follow_up), int(patient), _age(age), fields[places["sex"]].strip(), view)


def _age(text: str) -> int | None:
    """Years; "058Y" are 58, and nobody is 412."""
    digits = text[:-1] if text[-1:] in ("Y", "y") else text
    return int(digits) if digits.isdecimal() and int(digits) <= _OLDEST else None


def read_list(path: str | os.PathLike[str]) -> list[str]:
    """The names of the films in one of NIH's lists."""
    path = Path(path)
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("chest films", f"the list {path.name} in {path.parent}", str(error)) from None


def read_boxes(path: str | os.PathLike[str]) -> list[Box]:
    """The marked findings; "Infiltrate", as the table of boxes says, is "Infiltration"."""
    path = Path(path)
    boxes = []
    for number, fields in _lines(path):
        if number > 1 and any(fields):
            try:
                x, y, width, height = map(float, fields[2:6])
            except ValueError:
                raise DataError(
                    "chest films", f"four numbers in line {number} of {path.name}", ",".join(fields)
                ) from None
            boxes.append(Box(fields[0], {"Infiltrate": "Infiltration"}.get(fields[1], fields[1]), x, y, width, height))
    return boxes


def find_images(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Where each image lies: in images/, or as one mirror unpacks them in images_001/images/ … images_012/images/."""
    folder = Path(folder)
    places = [folder / "images", *sorted(folder.glob("images_*/images")), *sorted(folder.glob("images_*"))]
    found: dict[str, Path] = {}
    for place in places:
        found = _files(place) | found
    return found


def images_in(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Where each image lies if its folder is known: there, or in folders below as `find_images` knows them."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("chest films", f"the folder {folder} of images", "none")
    return find_images(folder) | _files(folder)


def _files(place: Path) -> dict[str, Path]:
    if not place.is_dir():
        return {}
    entries = sorted(os.scandir(place), key=lambda entry: entry.name)
    kinds = (".png", ".jpg", ".jpeg")
    return {e.name: Path(e.path) for e in entries if e.name.lower().endswith(kinds) and _is_file(e)}


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Without an error where a link leads in circles."""
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()
