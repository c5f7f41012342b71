"""Data sets that are tables: their columns, their forms, and what is wrong in which line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinone.data import DataModule
from kinone.data.table import Table
from kinone.errors import ArgumentError, DataError

IRIS = """length, width ,species,age
5.1,3.5,setosa,3
4.9,3.0,"versicolor",4

6.25,-1e1,setosa,5
"""


def csv_of(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_columns_by_name(tmp_path):
    table = Table(csv_of(tmp_path, IRIS), ["width", "length"], "species", types={"species": str})
    assert table.x.dtype == np.float32 and table.x.tolist() == [
        [3.5, np.float32(5.1)],
        [3, np.float32(4.9)],
        [-10, 6.25],
    ]
    assert table.y.dtype == np.int64 and table.y.tolist() == [0, 1, 0] and table.classes == ("setosa", "versicolor")
    x, y = table[1]
    assert x.shape == (2,) and y == 1 and len(table) == 3
    every = Table(csv_of(tmp_path, IRIS), target="age", types={"species": str, "age": int})
    assert every.features == ("length", "width", "species=setosa", "species=versicolor")
    assert every.x[1, 2:].tolist() == [0, 1] and every.y.tolist() == [3, 4, 5] and every.y.dtype == np.int64
    assert Table(csv_of(tmp_path, IRIS), ["width"], "age")[2][1].dtype == np.float32
    assert Table(csv_of(tmp_path, IRIS), ["width"])[0].shape == (1,)
    module = DataModule(table, batch_size=2)
    assert [len(y) for _, y in module.train_loader()] == [2, 1] and module.labels().tolist() == [0, 1, 0]


def test_forms_of_tables(tmp_path):
    wide = Table(csv_of(tmp_path, "\ufeffa;b\r\n1;2\r\n"), delimiter=";")
    assert wide.inputs == ("a", "b") and wide.x.tolist() == [[1, 2]]
    quoted = Table(csv_of(tmp_path, 'a,b\n"x, y",1\n"two\nlines",2\n'), ["a"], "b", types={"a": str})
    assert quoted.features == ("a=two\nlines", "a=x, y")


def test_a_test_table_is_read_as_the_training_table(tmp_path):
    train = Table(csv_of(tmp_path, IRIS), ["length"], "species", types={"species": str})
    test = Table(csv_of(tmp_path, "species,length\nversicolor,1\n", "u.csv"), like=train)
    assert test.y.tolist() == [1] and test.classes == train.classes and test.inputs == ("length",)
    with pytest.raises(DataError, match=r"one of setosa, versicolor in column 'species', line 2 of u\.csv, got 'rose'"):
        Table(csv_of(tmp_path, "species,length\nrose,1\n", "u.csv"), like=train)


@pytest.mark.parametrize(
    ("text", "options", "match"),
    [
        ("", {}, r"a header of different names in t\.csv, got an empty file"),
        ("a,b\n", {}, r"rows in t\.csv, got none"),
        ("a,a\n1,2\n", {}, "got 'a' twice"),
        ("a,\n1,2\n", {}, "got one without a name"),
        ("a,b\n1,2\n3\n", {}, r"2 fields in line 3 of t\.csv, got 1"),
        ("a,b\n1,2\n\n3,4,5\n", {}, r"2 fields in line 4 of t\.csv, got 3"),
        ("a,b\n1,2\n3,\n", {}, r"a value in column 'b', line 3 of t\.csv, got none"),
        ("a,b\n1,NA\n", {}, r"a value in column 'b', line 2 of t\.csv, got 'NA'"),
        ("a,b\n1,nan\n", {}, "a value in column 'b', line 2"),
        ("a,b\n1,x\n", {}, r"a number in column 'b', line 2 of t\.csv, got 'x'. Hint: types={'b': str} takes words"),
        ("a,b\n1,inf\n", {}, "a number in column 'b', line 2 of t.csv, got 'inf'"),
        ("a,b\n1,1e39\n", {}, "a number in column 'b'"),
        ("a,b\n1,1_000\n", {}, "a number in column 'b'"),
        ("a,b\n1,2.5\n", {"types": {"b": int}}, "a whole number in column 'b', line 2 of t.csv, got '2.5'"),
        ("a,b\n1,9223372036854775808\n", {"types": {"b": int}}, "a whole number"),
        ("a,b\n1, \n", {"types": {"b": str}}, "a value in column 'b'"),
        ("age,b\n1,2\n", {"inputs": ["aeg"]}, r"the column 'aeg' in t\.csv, got none. Hint: did you mean 'age'\?"),
        ("a,b\n1,2\n", {"target": "species"}, "Hint: there are a, b"),
        ("a,b\n1,2\n", {"types": {"c": int}}, "the column 'c'"),
        ('a,b\n"1,2\n', {}, r"a table in t\.csv, got unexpected end of data"),
        ('a,b\n"1"2,3\n', {}, r"a table in t\.csv"),
    ],
)  # fmt: skip
def test_malformed_tables_are_refused_by_line(tmp_path, text, options, match):
    with pytest.raises(DataError, match=match):
        Table(csv_of(tmp_path, text), **options)


def test_tables_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"a table in none\.csv, got No such file"):
        Table(tmp_path / "none.csv")
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff,2\n")
    with pytest.raises(DataError, match=r"a table in t\.csv, got 'utf-8' codec"):
        Table(tmp_path / "t.csv")
    options: Any
    for options, match in (
        ({"types": {"a": bool}}, "types float, int or str"), ({"delimiter": ""}, "one character"),
        ({"inputs": ["a"], "target": "a"}, "a target that is no input"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=match):
            Table(csv_of(tmp_path, "a,b\n1,2\n"), **options)
