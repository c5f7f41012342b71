"""safetensors: what is written and read, and that nothing malformed is."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.errors import ArgumentError, DtypeError, FormatError
from kinone.formats import load_safetensors, read_header, save_safetensors
from kinone.formats.safetensors import DIGEST, DTYPES, read_safetensors

FLOATS = {"a": np.array([1.5, -2.0, np.nan], np.float32), "b": np.arange(6.0).reshape(2, 3), "s": np.array(7)}


def file_of(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_round_trip_of_every_dtype_and_of_odd_shapes(tmp_path: Path):
    rng = np.random.default_rng(0)
    tensors = {name: rng.integers(0, 2, (2, 3)).astype(code) for name, code in DTYPES.items() if name != "BF16"}
    tensors |= {"": np.zeros((0, 5), np.float16), "0-d": np.array(3, np.int8), "ü.\n": np.float64(2.5).reshape(1, 1, 1)}
    tensors["transposed"] = np.arange(6).reshape(2, 3).T
    tensors["big end first"] = np.arange(3, dtype=">f4")
    save_safetensors(tmp_path / "x", {**tensors, "tensor": kn.Tensor([1.0])}, {"by": "this test"})
    metadata, found = read_safetensors(tmp_path / "x")
    assert metadata["by"] == "this test" and len(metadata[DIGEST]) == 64
    assert found.pop("tensor").tolist() == [1.0]
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype.newbyteorder("=") and found[name].shape == array.shape
        assert found[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
        assert found[name].flags.writeable and found[name].dtype.isnative


def test_the_data_begins_where_every_dtype_is_aligned(tmp_path: Path):
    for n in range(1, 9):
        save_safetensors(tmp_path / "x", {"a" * n: np.zeros(1)}, has_digest=False)
        raw = (tmp_path / "x").read_bytes()
        assert int.from_bytes(raw[:8], "little") % 8 == 0
        assert raw[8:9] == b"{" and len(read_header(raw).raw) == len(raw) - 16


def test_bfloat16_is_read_as_the_float32_that_it_is():
    values = np.array([1.0, -2.5, 3.140625, np.inf, 2.0**-133], np.float32)
    raw = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    found = load_safetensors(file_of({"a": entry("BF16", [5], [0, 10])}, raw))["a"]
    assert found.dtype == np.float32 and np.array_equal(found, values)


def test_the_header_alone_says_what_is_in_the_file(tmp_path: Path):
    save_safetensors(tmp_path / "x", FLOATS)
    header = read_header(tmp_path / "x")
    assert [(e.name, e.dtype, e.shape) for e in header.entries] == [("s", "I64", ()), ("b", "F64", (2, 3)),
                                                                     ("a", "F32", (3,))]  # fmt: skip


def test_files_without_a_digest_and_metadata_of_others_are_read():
    found = load_safetensors(file_of({"__metadata__": {"format": "pt"}, "a": entry()}, bytes(8)))
    assert found["a"].tolist() == [0, 0]
    assert load_safetensors(file_of({"a": entry(offsets=[0, 8])} | {"__metadata__": None}, bytes(8))).keys() == {"a"}
    assert load_safetensors(file_of({})) == {}
    assert (
        load_safetensors(file_of(b'{ "a" : {"dtype":"U8","shape":[1],"data_offsets":[0,1]} }   \n', b"x")) is not None
    )


MALFORMED: list[tuple[bytes, str]] = [
    (b"", "0 bytes"),
    (bytes(7), "7 bytes"),
    (bytes(8), "begins with a brace"),
    (file_of(b"", length=1), "a header that fits in the file, got one of 1 bytes in 8"),
    (file_of({}, length=100_000_001), "fits in the file"),
    (file_of({}, length=2**63), "fits in the file"),
    (file_of(b" {}"), "begins with a brace"),
    (file_of(b"[]"), "begins with a brace"),
    (file_of(b"{"), "JSON, got the end of the text"),
    (file_of(b"{} x"), "nothing after the value"),
    (file_of(b"{}\0"), "nothing after the value"),
    (file_of(b'{"\xff": 1}'), "text in UTF-8"),
    (file_of(b'{"\\ud800": 1}'), "text in UTF-8"),
    (file_of(b'{"a": NaN}'), "JSON, got b'NaN}"),
    (file_of(b'{"a": 1e999}'), "finite numbers"),
    (file_of(b'{"a": ' + b"9" * 101 + b"}"), "at most 100 digits"),
    (file_of(b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}"), "at most 200 deep"),
    (file_of(b'{"a": 1, "a": 1}'), "each name once, got 'a' twice"),
    (file_of(b'{"a": {"dtype": "F32", "dtype": "F32"}}'), "'dtype' twice"),
    (file_of({"a": 1}), "dtype, shape and data_offsets of 'a'"),
    (file_of({"a": {"dtype": "F32", "shape": []}}), "dtype, shape and data_offsets"),
    (file_of({"a": {**entry(), "more": 1}}, bytes(8)), "dtype, shape and data_offsets"),
    (file_of({"a": entry("f4")}, bytes(8)), "a dtype of 'a' among"),
    (file_of({"a": entry(["F32"])}, bytes(8)), "a dtype of 'a' among"),
    (file_of({"a": entry("F8_E4M3", [8])}, bytes(8)), "a dtype of 'a' among"),
    (file_of({"a": entry(shape=[-2])}, bytes(8)), "a shape"),
    (file_of({"a": entry(shape=[2.0])}, bytes(8)), "a shape"),
    (file_of(b'{"a":{"dtype":"F32","shape":[-0,2],"data_offsets":[0,0]}}'), "a shape"),
    (file_of({"a": entry(shape=[True, 2])}, bytes(8)), "a shape"),
    (file_of({"a": entry(shape=2)}, bytes(8)), "a shape"),
    (file_of({"a": entry(shape=[2**62, 2**62, 4])}, bytes(8)), "a shape"),
    (file_of({"a": entry(shape=[2**40, 2**40, 0], offsets=[0, 0])}), "a shape"),
    (file_of({"a": entry(shape=[1] * 33, offsets=[0, 4])}, bytes(4)), "a shape"),
    (file_of({"a": entry(offsets=[0])}, bytes(8)), "two data_offsets"),
    (file_of({"a": entry(offsets=[8, 0])}, bytes(8)), "that rise"),
    (file_of({"a": entry(offsets=[0, 7])}, bytes(7)), "8 bytes for 'a'"),
    (file_of({"a": entry(offsets=[4, 12])}, bytes(12)), "from byte 0 on, got from 4 on"),
    (file_of({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)), "'b' from byte 8 on, got from 12 on"),
    (file_of({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)), "'b' from byte 8 on, got from 4 on"),
    (file_of({"a": entry(), "b": entry()}, bytes(8)), "from byte 8 on, got from 0 on"),
    (file_of({"a": entry()}, bytes(9)), "8 bytes of data, got 9"),
    (file_of({"a": entry()}, bytes(4)), "8 bytes of data, got 4"),
    (file_of({"a": entry("BOOL", [2], [0, 2])}, b"\1\2"), "0 and 1 in 'a', got 2"),
    (file_of({"__metadata__": {"a": 1}}), "__metadata__ of text by text"),
    (file_of({"__metadata__": 0}), "__metadata__ of text by text"),
    (file_of({"__metadata__": []}), "__metadata__ of text by text"),
    (file_of({"__metadata__": {"kinone": "{}"}}), "kinone.digest in a file of Kinone's, got none"),
    (file_of({"__metadata__": {DIGEST: "0"}}), "64 hexadecimal digits"),
    (file_of({"__metadata__": {DIGEST: "0" * 64}}), "the digest 0000"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "match"), MALFORMED, ids=[f"{i}" for i in range(len(MALFORMED))])
def test_malformed_files_are_refused(raw: bytes, match: str, tmp_path: Path):
    with pytest.raises(FormatError) as caught:
        load_safetensors(raw)
    assert match in str(caught.value)
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(FormatError) as caught:
        load_safetensors(tmp_path / "x")
    assert match in str(caught.value)


def test_every_bit_that_flips_is_noticed(tmp_path: Path):
    """Each of a file's bits: an error, or tensors with the same values (where a key of the metadata is another)."""
    save_safetensors(tmp_path / "x", {"w": FLOATS["a"], "on": np.array([True, False])}, {"kinone": "{}"})
    raw = (tmp_path / "x").read_bytes()
    wanted = {name: array.tobytes() for name, array in load_safetensors(raw).items()}
    passed = []
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            found = load_safetensors(bytes(flipped))
        except FormatError:
            continue
        passed.append(bit)
        assert {name: array.tobytes() for name, array in found.items()} == wanted
    assert not passed


def test_a_changed_file_that_kept_its_digest_is_refused_with_a_hint(tmp_path: Path):
    save_safetensors(tmp_path / "x", FLOATS)
    raw = bytearray((tmp_path / "x").read_bytes())
    raw[-1] ^= 1
    with pytest.raises(FormatError, match=r"the digest \w+…, got \w+…\. Hint: the file is damaged, or another program"):
        load_safetensors(bytes(raw))


def test_what_cannot_be_written_is_refused_and_nothing_is_written(tmp_path: Path):
    for tensors, error in [
        ({"a": np.zeros(2, np.complex64)}, DtypeError),
        ({"a": np.array(["text"])}, DtypeError),
        ({"__metadata__": np.zeros(1)}, ArgumentError),
        ({1: np.zeros(1)}, ArgumentError),
    ]:
        with pytest.raises(error):
            save_safetensors(tmp_path / "x", tensors)
    with pytest.raises(ArgumentError, match="text by text"):
        save_safetensors(tmp_path / "x", {}, {"n": 1})  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_reading_takes_no_more_than_twice_the_files_size(dtype: str, tmp_path: Path):
    n = 1 << 21
    size = n * (4 if dtype == "F32" else 2)
    (tmp_path / "x").write_bytes(file_of({"a": entry(dtype, [n], [0, size])}, bytes(size)))
    tracemalloc.start()
    try:
        load_safetensors(tmp_path / "x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * size + (1 << 19)


@pytest.mark.parametrize("unit", [b"[],", b"{},", b'"",', b"1,", b'[[[]],""],'])
def test_a_header_of_many_small_values_does_not_fill_the_memory(unit: bytes):
    raw = file_of(b'{"a":[' + unit * (700_000 // len(unit)) + b"1]}")
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            load_safetensors(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(raw) + (12 << 20)
