"""The demo data: synthetic chest films with findings, of patients who come back, laid out as NIH lays out its own.

Who has what, and how it looks, is drawn from named random streams, so a seed always gives the same files, byte by
byte, on every machine. The rules are a student's, not a physician's: nothing here may teach anyone medicine.
"""

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.data.film import DRAWN, Anatomy, Film, Sign, blown_up, gray
from kinone.data.png import gray_png
from kinone.errors import ArgumentError
from kinone.random import Stream

FINDINGS = {
    "Atelectasis": 0.10, "Cardiomegaly": 0.07, "Effusion": 0.12, "Infiltration": 0.17, "Mass": 0.07, "Nodule": 0.08,
    "Pneumonia": 0.05, "Pneumothorax": 0.06, "Consolidation": 0.06, "Edema": 0.05, "Emphysema": 0.05, "Fibrosis": 0.05,
    "Pleural_Thickening": 0.06, "Hernia": 0.03,
}  # fmt: skip
"""How often each finding is there when a patient is first seen; the rare ones are rare in NIH's films too."""

TOGETHER = {
    ("Cardiomegaly", "Effusion"): 2.5, ("Cardiomegaly", "Edema"): 3.0, ("Effusion", "Atelectasis"): 2.0,
    ("Emphysema", "Pneumothorax"): 2.5, ("Pneumonia", "Infiltration"): 2.0, ("Pneumonia", "Consolidation"): 1.5,
}  # fmt: skip
"""How much likelier the second is where the first is."""

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
BOXED = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
VERSION = 1


@dataclass(frozen=True)
class DemoSpec:
    """What the demo data is made from."""

    patients: int = 700
    size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("patients", 10), ("size", 32), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ArgumentError("demo", f"{name}, at least {least}", repr(value))


@dataclass(frozen=True)
class Visit:
    """One film of one patient, before it is drawn."""

    patient: int
    follow_up: int
    age: int
    gender: str
    view: str
    anatomy: Anatomy
    signs: dict[str, Sign]

    @property
    def name(self) -> str:
        """The film's file, as NIH names them."""
        return f"{self.patient:08d}_{self.follow_up:03d}.png"

    @property
    def labels(self) -> str:
        """The findings, joined as in NIH's table."""
        return "|".join(name for name in FINDINGS if name in self.signs) or "No Finding"


class Dice:
    """Numbers between 0 and 1, one after the other, from one step of a stream."""

    def __init__(self, name: str, seed: int, step: int) -> None:
        self._numbers = iter(Stream(name, seed).uniform(512, dtype=np.float64, step=step).tolist())

    def __call__(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * next(self._numbers)

    def side(self) -> int:
        return 1 if self() < 0.5 else -1


# ------------------------------------------------------------------------------ who has what
def visits(spec: DemoSpec) -> Iterator[Visit]:
    """All films of all patients, in order."""
    for patient in range(1, spec.patients + 1):
        yield from _of_patient(spec, patient)


def _of_patient(spec: DemoSpec, patient: int) -> Iterator[Visit]:
    dice = Dice("demo/patients", spec.seed, patient)
    anatomy = _anatomy(dice)
    age, gender = int(dice(18, 88)), "MF"[dice() < 0.44]
    count = 1
    while count < 8 and dice() < 0.58:  # a few come back often
        count += 1
    present: dict[str, int] = {}
    for follow_up in range(count):
        film = Dice("demo/films", spec.seed, patient * 16 + follow_up)
        sides = {name: film.side() for name in FINDINGS}
        stays = {name: side for name, side in present.items() if film() < 0.78}
        present = dict(stays)
        for name, chance in FINDINGS.items():
            for (first, second), factor in TOGETHER.items():
                chance *= factor if second == name and first in present else 1
            if film() < chance * (1.0 if follow_up == 0 else 0.3) and name not in present:
                present[name] = sides[name]
        view = "AP" if film() < 0.3 else "PA"
        signs = {name: _sign(name, side, film) for name, side in present.items()}
        yield Visit(patient, follow_up, age + follow_up // 2, gender, view, anatomy, signs)


def _anatomy(dice: Dice) -> Anatomy:
    vessels: list[tuple[float, float, float, float, float]] = []
    for side in (-1, 1):
        for k in range(10):
            lean = -0.95 + 0.19 * (k + dice())
            u, v, width, length = 0.19 * side, -0.06 + 0.12 * lean, dice(0.012, 0.02), dice(0.16, 0.26)
            du, dv = side * (1 - 0.45 * lean * lean), 1.25 * lean
            for part in range(3):
                end = (u + length * du, v + length * dv)
                vessels.append((u, v, *end, width))
                if part:
                    vessels.append((u, v, u + length * (du - 0.4 * dice(-1, 1)), v + length * (dv + dice(-0.7, 0.7)),
                                    width * 0.7))  # fmt: skip
                (u, v), width, length = end, width * 0.62, length * 0.85
                du, dv = du + 0.25 * dice(-1, 1), dv + dice(-0.35, 0.35)
    return Anatomy(
        thorax=dice(0.76, 0.84), apex=dice(-0.84, -0.76), domes=(dice(0.38, 0.46), dice(0.45, 0.54)),
        heart=dice(0.42, 0.49), rib_gap=dice(0.145, 0.165), rib_phase=dice(), vessels=tuple(vessels),
        tilt=dice(-0.05, 0.05),
    )  # fmt: skip


def _sign(name: str, side: int, dice: Dice) -> Sign:
    """How a finding looks this time."""
    strength = dice(0.85, 1.15)

    def spots(count: int, u: tuple[float, float], v: tuple[float, float], size: tuple[float, float]) -> Any:
        return tuple((dice(*u), dice(*v), dice(*size)) for _ in range(count))

    match name:
        case "Atelectasis":
            return Sign(name, side, density=0.22 * strength, spots=spots(2, (0.15, 0.35), (0.12, 0.34), (0.02, 0.035)))
        case "Cardiomegaly":
            return Sign(name, size=dice(0.59, 0.70))
        case "Effusion":
            return Sign(name, side, size=dice(0.24, 0.5), density=0.30 * strength)
        case "Infiltration":
            both = [spots(1, (s * 0.25, s * 0.62), (-0.35, 0.3), (0.09, 0.15))[0] for s in (side, side, -side)]
            return Sign(name, 0, density=0.17 * strength, spots=tuple(both))
        case "Mass":
            return Sign(name, side, dice(0.3, 0.55), dice(-0.5, 0.2), dice(0.12, 0.18), 0.27 * strength)
        case "Nodule":
            return Sign(name, side, dice(0.3, 0.6), dice(-0.55, 0.25), dice(0.05, 0.075), 0.27 * strength)
        case "Pneumonia":
            bronchi = spots(3, (0.4, 0.65), (0.0, 0.35), (0.012, 0.018))
            return Sign(name, side, dice(0.38, 0.5), dice(0.0, 0.25), dice(0.26, 0.36), 0.22 * strength, bronchi)
        case "Pneumothorax":
            return Sign(name, side, size=dice(0.07, 0.16), density=0.16 * strength)
        case "Consolidation":
            upper = side < 0 and dice() < 0.5
            return Sign(name, side, float(upper), dice(-0.6, -0.45) if upper else dice(-0.15, 0.05), dice(0.36, 0.5),
                        0.26 * strength)  # fmt: skip
        case "Edema":
            return Sign(name, 0, density=0.18 * strength)
        case "Fibrosis":
            return Sign(name, 0, size=dice(0.08, 0.11), density=0.11 * strength)
        case "Pleural_Thickening":
            return Sign(name, side, size=dice(0.05, 0.085), density=0.25 * strength)
        case "Hernia":
            return Sign(name, side, size=dice(0.14, 0.19), density=0.22 * strength)
        case _:
            return Sign(name)  # emphysema changes the anatomy alone


# ------------------------------------------------------------------------------ films and files
def drawn(visit: Visit, spec: DemoSpec) -> tuple[NDArray[np.uint8], dict[str, tuple[int, int, int, int]]]:
    """The film's gray levels, and a box (x, y, width, height) around each finding that has a place."""
    step, size = visit.patient * 16 + visit.follow_up, spec.size
    dice = Dice("demo/exposure", spec.seed, step)
    film = Film(size, visit.anatomy, visit.signs)
    coarse = Stream("demo/coarse", spec.seed).uniform((9, 9), step=step)
    grain = Stream("demo/grain", spec.seed).integers((2, size, size), low=0, high=256, step=step)
    mixed = (grain[0] + grain[1]).astype(np.float32) / 510
    exposure = np.float32(dice(0.92, 1.08) * (0.97 if visit.view == "AP" else 1.0))
    boxes = {name: box for name in visit.signs if name in BOXED and (box := _box(film, visit.signs[name]))}
    return gray(film.density, blown_up(coarse, size), mixed, exposure), boxes


def _box(film: Film, sign: Sign) -> tuple[int, int, int, int] | None:
    shadow = film.heart if sign.name == "Cardiomegaly" else np.abs(DRAWN[sign.name](film, sign))
    inside = shadow > 0.35 * shadow.max()
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)


def make_demo(
    folder: str | os.PathLike[str], spec: DemoSpec | None = None, progress: Callable[[int, int], Any] | None = None
) -> Path:
    """Write the demo data into `folder` and return it; what is there and complete stays.

    images/, Data_Entry_2017_v2020.csv, BBox_List_2017.csv, train_val_list.txt, test_list.txt (a fifth of the patients)
    and demo.json, which is written last and says what all was made from. `progress(done, all)` is told of each film.
    """
    spec = spec or DemoSpec()
    folder = Path(folder)
    if _is_made(folder, spec):
        return folder
    if folder.exists() and any(folder.iterdir()) and not (folder / "demo.json").is_file():
        raise ArgumentError("demo", "an empty folder, or one with demo data", str(folder))
    made = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(made, ignore_errors=True)
    try:
        (made / "images").mkdir(parents=True)
        _write(made, spec, progress)
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _is_made(folder: Path, spec: DemoSpec) -> bool:
    try:
        found = json.loads((folder / "demo.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("version") == VERSION and found.get("spec") == asdict(spec)


def _write(folder: Path, spec: DemoSpec, progress: Callable[[int, int], Any] | None) -> None:
    everything = list(visits(spec))
    table, boxes, digest = io.StringIO(newline=""), io.StringIO(newline=""), hashlib.sha256()
    rows, box_rows = csv.writer(table, lineterminator="\n"), csv.writer(boxes, lineterminator="\n")
    table.write(HEADER + "\n")
    boxes.write(BOX_HEADER + "\n")
    with ThreadPoolExecutor(2) as pool:
        films = pool.map(lambda visit: drawn(visit, spec), everything)
        for done, (visit, (levels, found)) in enumerate(zip(everything, films, strict=True), 1):
            file = gray_png(levels)
            digest.update(file)
            (folder / "images" / visit.name).write_bytes(file)
            who = [visit.name, visit.labels, visit.follow_up, visit.patient, visit.age, visit.gender, visit.view]
            rows.writerow([*who, spec.size, spec.size, 0.35, 0.35])
            if visit.patient % 9 == 0:  # NIH had only some of its films marked
                box_rows.writerows([visit.name, name, *box, "", "", ""] for name, box in found.items())
            if progress is not None:
                progress(done, len(everything))
    tested = set(Stream("demo/split", spec.seed).permutation(spec.patients)[: spec.patients // 5].tolist())
    for name, is_test in (("train_val_list.txt", False), ("test_list.txt", True)):
        chosen = [visit.name for visit in everything if (visit.patient - 1 in tested) is is_test]
        (folder / name).write_text("\n".join(chosen), newline="\n")
    (folder / "Data_Entry_2017_v2020.csv").write_text(table.getvalue(), newline="")
    (folder / "BBox_List_2017.csv").write_text(boxes.getvalue(), newline="")
    about = {"version": VERSION, "spec": asdict(spec), "films": len(everything), "sha256": digest.hexdigest()}
    (folder / "demo.json").write_text(json.dumps(about, indent=1) + "\n")
