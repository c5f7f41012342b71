"""The demo data: the same bytes from the same seed, NIH's layout, and findings where a student would look for them."""

import csv
import json
import struct
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinone.data.demo import FINDINGS, DemoSpec, drawn, make_demo, visits
from kinone.data.film import Anatomy, Film, Sign
from kinone.data.png import gray_png
from kinone.errors import ArgumentError

SPEC = DemoSpec(patients=40, size=64, seed=7)
PINNED = {"films": 92, "sha256": "9d2820ee9f3ebeec20561fb4235f2e78c862e352dcaecabc21be54aa573f1edc"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("data") / "demo", SPEC)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "Data_Entry_2017_v2020.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_bytes_are_pinned(folder: Path):
    about = json.loads((folder / "demo.json").read_text())
    assert about["films"] == len(list((folder / "images").iterdir())) == PINNED["films"]
    assert about["sha256"] == PINNED["sha256"]


def test_another_seed_gives_other_films():
    one, other = next(visits(SPEC)), next(visits(replace(SPEC, seed=8)))
    assert not np.array_equal(drawn(one, SPEC)[0], drawn(other, replace(SPEC, seed=8))[0])


def test_the_table_is_laid_out_as_nihs(folder: Path):
    table = rows(folder)
    assert list(table[0])[:7] == ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age",
                                  "Patient Gender", "View Position"]  # fmt: skip
    for row in table:
        assert row["Image Index"] == f"{int(row['Patient ID']):08d}_{int(row['Follow-up #']):03d}.png"
        labels = row["Finding Labels"].split("|")
        assert labels == ["No Finding"] or set(labels) <= set(FINDINGS)
        assert (folder / "images" / row["Image Index"]).is_file()
    assert {row["Patient Gender"] for row in table} == {"M", "F"}
    assert {row["View Position"] for row in table} == {"PA", "AP"}


def test_no_patient_stands_in_both_lists(folder: Path):
    lists = [(folder / name).read_text().split("\n") for name in ("train_val_list.txt", "test_list.txt")]
    patients = [{name[:8] for name in names} for names in lists]
    assert not patients[0] & patients[1] and len(patients[1]) == SPEC.patients // 5
    assert sorted(lists[0] + lists[1]) == [row["Image Index"] for row in rows(folder)]


def test_patients_come_back_and_findings_stay():
    seen: dict[int, list[Any]] = {}
    for visit in visits(DemoSpec(patients=300)):
        seen.setdefault(visit.patient, []).append(visit)
    films = [visit for found in seen.values() for visit in found]
    again = [found for found in seen.values() if len(found) > 1]
    assert 0.45 < len(again) / len(seen) < 0.7
    kept = [set(a.signs) & set(b.signs) for found in again for a, b in pairwise(found) if a.signs]
    assert sum(map(bool, kept)) > len(kept) / 2
    assert all(found[0].anatomy == visit.anatomy for found in again for visit in found)
    counts = {name: sum(name in visit.signs for visit in films) for name in FINDINGS}
    assert max(counts, key=lambda name: counts[name]) in ("Infiltration", "Effusion", "Atelectasis")
    assert min(counts, key=lambda name: counts[name]) == "Hernia" and counts["Hernia"] >= 3
    assert any(len(visit.signs) > 2 for visit in films) and any(not visit.signs for visit in films)


def test_what_is_complete_stays_and_what_is_not_is_made_anew(folder: Path, tmp_path: Path):
    before = (folder / "demo.json").stat().st_mtime_ns
    assert make_demo(folder, SPEC) == folder and (folder / "demo.json").stat().st_mtime_ns == before
    small, told = DemoSpec(patients=10, size=32), []
    made = make_demo(tmp_path / "demo", small, progress=lambda done, n: told.append((done, n)))
    assert told[-1][0] == told[-1][1] == len(told) == json.loads((made / "demo.json").read_text())["films"]
    make_demo(made, replace(small, seed=1))
    assert json.loads((made / "demo.json").read_text())["spec"]["seed"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_folder_with_something_else_is_refused(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(ArgumentError, match="an empty folder, or one with demo data"):
        make_demo(tmp_path, SPEC)
    assert (tmp_path / "thesis.txt").read_text() == "three years"


def test_an_interruption_leaves_nothing(tmp_path: Path):
    def stop(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_demo(tmp_path / "demo", DemoSpec(patients=10, size=32), progress=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"patients": 3}, {"size": 8}, {"seed": -1}, {"patients": 10.5}])
def test_wrong_specs_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ArgumentError, match=f"demo.*{next(iter(wrong))}, at least"):
        DemoSpec(**wrong)


def test_png_files_hold_the_levels():
    levels = np.arange(300 * 301, dtype=np.uint32).reshape(300, 301).astype(np.uint8)
    file = gray_png(levels)
    assert struct.unpack(">II", file[16:24]) == (301, 300)
    length = struct.unpack(">I", file[33:37])[0]
    data = np.frombuffer(zlib.decompress(file[41 : 41 + length]), np.uint8).reshape(300, 302)
    assert not data[:, 0].any() and np.array_equal(data[:, 1:], levels)


# ------------------------------------------------------------------------------ what findings look like
def changed(sign: Sign) -> Any:
    """What a finding adds to the density of a film, of 96 × 96."""
    return Film(96, Anatomy(), {sign.name: sign}).density - Film(96, Anatomy(), {}).density


def half(field: Any, side: int) -> Any:
    return field[:, 48:] if side > 0 else field[:, :48]


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(
    "sign",
    [Sign("Effusion", size=0.35, density=0.3), Sign("Mass", u=0.45, v=-0.2, size=0.15, density=0.27),
     Sign("Pleural_Thickening", size=0.07, density=0.25), Sign("Consolidation", u=0.0, v=-0.1, size=0.4, density=0.25),
     Sign("Pneumonia", u=0.45, v=0.1, size=0.3, density=0.2)],
)  # fmt: skip
def test_a_shadow_is_bright_and_on_its_side(sign: Sign, side: int):
    change = changed(replace(sign, side=side))
    assert half(change, side).max() > 0.1 and abs(half(change, -side)).max() < 1e-3 and change.min() > -1e-6


def test_the_rules():
    assert half(changed(Sign("Pneumothorax", 1, size=0.12, density=0.16)), 1).min() < -0.1, "air is black"
    effusion = changed(Sign("Effusion", 1, size=0.35, density=0.3))
    assert effusion[:40].max() < 0.05 < effusion[60:].max(), "fluid lies at the base"
    normal, large = (
        Film(96, Anatomy(), signs).heart for signs in ({}, {"Cardiomegaly": Sign("Cardiomegaly", size=0.65)})
    )
    widths = [np.ptp(np.flatnonzero((heart > 0.5).any(0))) for heart in (normal, large)]
    assert widths[1] > 1.25 * widths[0], "an enlarged heart is wide"
    lungs = [(Film(96, Anatomy(), signs).lung > 0.5).sum() for signs in ({}, {"Emphysema": Sign("Emphysema")})]
    assert lungs[1] > 1.08 * lungs[0], "trapped air makes lungs large"
    nodule, mass = (np.count_nonzero(changed(Sign(n, 1, 0.45, -0.3, s, 0.27)) > 0.1)
                    for n, s in (("Nodule", 0.06), ("Mass", 0.15)))  # fmt: skip
    assert 0 < 3 * nodule < mass
    edema = changed(Sign("Edema", density=0.18))
    assert abs(half(edema, 1).max() - half(edema, -1).max()) < 0.03, "wings on both sides"


def test_boxes_hold_their_findings():
    boxed = 0
    for visit in visits(DemoSpec(patients=60, size=96)):
        for name, (x, y, width, height) in drawn(visit, DemoSpec(patients=60, size=96))[1].items():
            assert 0 <= x < x + width <= 96 and 0 <= y < y + height <= 96 and name in visit.signs
            if name == "Mass":
                assert 8 <= width <= 24
            boxed += 1
        if boxed > 30:
            return
    raise AssertionError("too few boxes")
