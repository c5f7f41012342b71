"""docs/features.md and docs/faults.md tell the truth: ids, names and tests that they point to exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

import kinone as kn

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/features.md").read_text(encoding="utf-8")

# The list of requirements: its groups, and how many rows each has.
REQUIRED = {"A": 14, "B": 11, "C": 7, "D": 3, "E": 4, "F": 3, "G": 8, "H": 8, "I": 4, "J": 4, "L": 4, "M": 4, "N": 4}
IDS = [f"{group}{i}" for group, count in REQUIRED.items() for i in range(1, count + 1)]
ROWS = re.findall(r"^\| ([A-Z]\d+) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
FAULTS = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
NAME = re.compile(r"\bkn\.((?:[A-Za-z]\w*\.)*[A-Za-z_]\w*)")


def _tests_of(file: str) -> Iterator[str]:
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name


@pytest.mark.parametrize(("row", "call", "tests"), ROWS, ids=[row for row, *_ in ROWS])
def test_a_row_is_in_the_list_and_shows_its_tests(row: str, call: str, tests: str) -> None:
    assert row in IDS
    assert call.strip()
    assert TEST.findall(tests) and not TEST.sub("", tests).strip()


def test_rows_come_once_and_in_order() -> None:
    rows = [row for row, *_ in ROWS]
    assert rows == [i for i in IDS if i in rows]
    assert PAGE.count("\n| ") == len(ROWS) + PAGE.count("\n|---"), "a row that is not read"


@pytest.mark.parametrize("file", sorted({file for file, _ in TEST.findall(PAGE + FAULTS)}))
def test_the_tests_exist(file: str) -> None:
    named = {test for of, test in TEST.findall(PAGE + FAULTS) if of == file}
    assert not named - set(_tests_of(file))


@pytest.mark.parametrize("name", sorted(set(NAME.findall(PAGE))))
def test_the_names_exist(name: str) -> None:
    resolve_name(f"kinone.{name}")  # which imports what is a module


def test_the_methods_exist() -> None:
    assert not [m for m in re.findall(r"`x\.(\w+)", PAGE) if not hasattr(kn.Tensor, m)]
