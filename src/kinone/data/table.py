"""Tables: columns of a CSV file, by name, as inputs and targets."""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.errors import ArgumentError, DataError

_LARGEST = float(np.finfo(np.float32).max)
_MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


class Table:
    """Row i of a CSV file is (x, y): the columns `inputs` as one vector, and the column `target`.

    `types` says what stands in a column: float (the default), int, or str for words. A column of words is a one-hot
    vector among the inputs, and the number of the class as a target; `categories` are the words, sorted. A target of
    type float is a number to be foretold, one of type int the number of a class. Cells that are empty or no number are
    refused, with the line. `like` takes the categories of another table, so that a test file is read as the training
    file was.
    """

    def __init__(
        self, path: str | os.PathLike[str], inputs: Sequence[str] | None = None, target: str | None = None, *,
        types: Mapping[str, type] | None = None, delimiter: str = ",", like: "Table | None" = None,
    ) -> None:  # fmt: skip
        self.path, self.types = Path(path), dict(like.types if like is not None and types is None else types or {})
        wrong = {name: kind for name, kind in self.types.items() if kind not in (float, int, str)}
        if wrong:
            raise ArgumentError("Table", "types float, int or str", repr(wrong))
        header, rows, lines = _read(self.path, delimiter)
        if like is not None:
            inputs, target = inputs or like.inputs, target or like.target
        chosen = list(inputs) if inputs is not None else [name for name in header if name != target]
        for name in [*chosen, *([] if target is None else [target]), *self.types]:
            if name not in header:
                close = get_close_matches(name, header, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(header)}."
                raise DataError("Table", f"the column {name!r} in {self.path.name}", "none", hint=hint)
        if target in chosen:
            raise ArgumentError("Table", "a target that is no input", repr(target))
        self.inputs, self.target = tuple(chosen), target
        self.categories: dict[str, tuple[str, ...]] = dict(like.categories) if like is not None else {}
        self.columns = {
            name: self._column(name, [row[header.index(name)] for row in rows], lines)
            for name in [*chosen, *([] if target is None else [target])]
        }
        parts = [self._as_input(name) for name in chosen]
        self.x: NDArray[np.float32] = np.concatenate(parts, 1) if parts else np.zeros((len(rows), 0), np.float32)
        self.features = tuple(feature for name in chosen for feature in self._features(name))
        """What each element of x is: a column, or column=word."""
        self.y: Any = None
        if target is not None:
            column = self.columns[target]
            self.y = column.astype(np.float32) if column.dtype.kind == "f" else column

    @property
    def classes(self) -> tuple[str, ...]:
        """The words of the target, if it has any."""
        return self.categories.get(self.target or "", ())

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> Any:
        return self.x[index] if self.y is None else (self.x[index], self.y[index])

    def _column(self, name: str, cells: list[str], lines: list[int]) -> NDArray[Any]:
        kind = self.types.get(name, float)
        for cell, line in zip(cells, lines, strict=True):
            if cell.strip().lower() in _MISSING and not (kind is str and cell.strip()):
                raise self._refused(name, line, "a value", "none" if not cell.strip() else repr(cell))
        if kind is str:
            return self._numbered(name, [cell.strip() for cell in cells], lines)
        values = [_number(cell, kind is int) for cell in cells]
        if None in values:
            at = values.index(None)
            what = "a whole number" if kind is int else "a number"
            hint = f"types={{{name!r}: str}} takes words." if kind is float else ""
            raise self._refused(name, lines[at], what, repr(cells[at]), hint)
        return np.array(values, np.int64 if kind is int else np.float64)

    def _numbered(self, name: str, cells: list[str], lines: list[int]) -> NDArray[np.int64]:
        if name not in self.categories:
            self.categories[name] = tuple(sorted(set(cells)))
        number = {word: n for n, word in enumerate(self.categories[name])}
        for cell, line in zip(cells, lines, strict=True):
            if cell not in number:
                raise self._refused(name, line, f"one of {', '.join(number)}", repr(cell))
        return np.array([number[cell] for cell in cells], np.int64)

    def _as_input(self, name: str) -> NDArray[np.float32]:
        column = self.columns[name]
        if name in self.categories:
            return np.eye(len(self.categories[name]), dtype=np.float32)[column]
        return column.astype(np.float32)[:, None]

    def _features(self, name: str) -> list[str]:
        return [f"{name}={word}" for word in self.categories[name]] if name in self.categories else [name]

    def _refused(self, name: str, line: int, expected: str, got: str, hint: str = "") -> DataError:
        return DataError("Table", f"{expected} in column {name!r}, line {line} of {self.path.name}", got, hint=hint)


def _number(cell: str, is_whole: bool) -> float | int | None:
    """What stands there, if it is one that its array can hold."""
    text = cell.strip()
    if is_whole:
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,19}", text) else 2**63
        return value if abs(value) < 2**63 else None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= _LARGEST and "_" not in text else None


def _read(path: Path, delimiter: str) -> tuple[list[str], list[list[str]], list[int]]:
    """The header, the rows, and the line on which each row ends."""
    if len(delimiter) != 1:
        raise ArgumentError("Table", "a delimiter of one character", repr(delimiter))
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            for row in reader:
                if row and any(cell.strip() for cell in row):
                    if len(row) != len(header):
                        what = f"{len(header)} fields in line {reader.line_num} of {path.name}"
                        raise DataError("Table", what, str(len(row)))
                    rows.append(row)
                    lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError("Table", f"a table in {path.name}", why) from None
    again = sorted({name for name in header if header.count(name) > 1})
    if not header or again or "" in header:
        got = f"{again[0]!r} twice" if again and again[0] else "one without a name" if header else "an empty file"
        raise DataError("Table", f"a header of different names in {path.name}", got)
    if not rows:
        raise DataError("Table", f"rows in {path.name}", "none")
    return header, rows, lines
