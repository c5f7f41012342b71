"""Mutated files of every format: each loads, or is refused with an error of ours, in the memory that it may take."""

import base64
import gzip
import json
import os
import pickle
import random
import tempfile
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest

from kinone import nn, optim
from kinone.errors import KinoneError
from kinone.formats import load_torch, save_checkpoint, save_safetensors
from kinone.formats.contents import Contents
from kinone.formats.files import read
from kinone.formats.plain_pickle import PlainPickle
from kinone.formats.rebuild import rebuilt

FLOOR = 24 << 20  # what a file of any size may take: the limit of small values, and a model of small numbers
EACH = int(os.environ.get("KINONE_FUZZ", "143000"))  # mutated files of each of the seven kinds under `-m slow`


def storage(key: str, n: int) -> bytes:
    return b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + key.encode() + b"X\3\0\0\0cpuM" + pack("<H", n) + b"tQ"


def tensor(key: str, *shape: int) -> bytes:
    steps = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    sizes = b"(" + b"".join(b"K" + bytes([n]) for n in shape) + b"t"
    strides = b"(" + b"".join(b"K" + bytes([n]) for n in steps) + b"t"
    rest = b"K\0" + sizes + strides + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(key, int(np.prod(shape))) + rest + b"tR"


def archive(entries: dict[str, bytes], has_crc: bool = True) -> bytes:
    """A zip file of stored entries; without checksums, changes of its parts get further."""
    body, directory = b"", b""
    for name, data in entries.items():
        crc = zlib.crc32(data) if has_crc else 0
        common = pack("<5H3I2H", 20, 0, 0, 0, 0, crc, len(data), len(data), len(name), 0)
        directory += b"PK\1\2" + pack("<H", 20) + common + pack("<3H2I", 0, 0, 0, 0, len(body)) + name.encode()
        body += b"PK\3\4" + common + name.encode() + data
    end = b"PK\5\6" + pack("<4H2IH", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    return body + directory + end


PICKLE = (b"\x80\2}(X\5\0\0\0epochK\3X\5\0\0\0model}(X\6\0\0\0weight" + tensor("0", 2, 3) + b"X\4\0\0\0bias"
          + tensor("1", 2) + b"uX\4\0\0\0argsq\0]q\1(N\x88G?\xf0\0\0\0\0\0\0\x8a\2\1\2eX\1\0\0\0ah\1u.")  # fmt: skip
TORCH = {"a/data.pkl": PICKLE, "a/byteorder": b"little", "a/data/0": np.arange(6, dtype="<f4").tobytes(),
         "a/data/1": np.ones(2, "<f4").tobytes(), "a/version": b"3\n"}  # fmt: skip


def bases() -> dict[str, bytes]:
    """One small file of each kind."""
    with tempfile.TemporaryDirectory() as folder:
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
        found: dict[str, bytes] = {}
        for suffix in ("safetensors", "json"):
            path = Path(folder) / f"m.{suffix}"
            save_checkpoint(path, model=model, optimizer=optimizer, progress={"losses": [0.5, float("inf")]})
            found[suffix] = path.read_bytes()
        save_safetensors(path, {"weight": np.ones((2, 2)), "on": np.array(True)}, {"a": "b"}, has_digest=False)
        found["foreign"] = path.read_bytes()
    text = json.loads(found["json"])
    del text["digest"]
    found["unsigned"] = json.dumps(text).encode()
    found["gzip"] = gzip.compress(found["unsigned"], mtime=0)
    weight = {
        "b64": base64.b64encode(np.ones((2, 3), "<f4").tobytes()).decode(),
        "dtype": "<f4",
        "shape": [2, 3],
        "order": "C",
    }
    cell = {"type": "RNNCell", "config": {"input_size": 2, "hidden_size": 3, "bias": False}, "children": {}}
    arch = {
        "type": "Sequential",
        "config": {},
        "children": {"0": cell, "1": {"type": "Softmax", "config": {"axis": -1}}},
    }
    state = {"0.W_ih": weight, "0.W_hh": {**weight, "b64": base64.b64encode(bytes(36)).decode(), "shape": [3, 3]}}
    found["keydnn"] = json.dumps({"format": "keydnn.json.ckpt.v1", "arch": arch, "state": state}).encode()
    found["torch"] = archive(TORCH, has_crc=False)
    return found


def mutated(raw: bytes, dice: random.Random, others: list[bytes]) -> bytes:
    data = bytearray(raw)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(9):
            case 0 | 1 if data:
                data[at % len(data)] ^= 1 << dice.randrange(8)
            case 2 if data:
                data[at % len(data)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, *b'"{}[],:09-e.R(c'))
            case 3:
                del data[at : at + dice.choice((1, 2, 8, 100))]
            case 4:
                data[at:at] = dice.randbytes(dice.choice((1, 4, 30)))
            case 5:
                data[at:at] = data[at : at + dice.choice((1, 5, 50, 500))]
            case 6:
                other = dice.choice(others)
                start = dice.randrange(len(other))
                data[at : at + dice.choice((0, 10))] = other[start : start + dice.choice((3, 30))]
            case 7:
                digits = [i for i in range(at, min(at + 200, len(data))) if 48 <= data[i] < 58]
                if digits:
                    data[digits[0] : digits[0] + 1] = dice.choice(
                        (b"-1", b"0", b"1e9", b"4294967296", b"9" * 19, b"3", b"null")
                    )
            case _:
                del data[at:]
    return bytes(data)


def load(raw: bytes) -> None:
    """As far as the file goes: contents, then the model that they describe."""
    contents: Contents = read(raw)
    if contents.arch is not None:
        rebuilt(contents, "a file", strict=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rebuilt(contents, "a file", strict=False)
    else:
        nn.Linear(3, 2).load_state_dict(contents.state, strict=False)


def attacked(kind: str, times: int, check: Callable[[bytes], None] = load) -> tuple[int, int]:
    """How many of `times` mutated files were refused, and how many loaded; any other end is an error of the test's."""
    files = bases()
    dice, others, refused = random.Random(f"{kind} {times}"), list(files.values()), 0
    for _ in range(times):
        raw = mutated(files[kind], dice, others)
        try:
            check(raw)
        except KinoneError:
            refused += 1
        except BaseException as error:
            error.add_note(f"the file: {raw!r}")
            raise
    return refused, times - refused


KINDS = ("safetensors", "json", "foreign", "unsigned", "gzip", "keydnn", "torch")


def measured(raw: bytes) -> None:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        load(raw)
    finally:
        assert tracemalloc.get_traced_memory()[1] - before < 2 * len(raw) + FLOOR


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_load_before_they_are_mutated(kind: str):
    load(bases()[kind])
    assert load_torch(archive(TORCH))["model"]["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_hundred_mutated_files_end_well_and_in_little_memory(kind: str):
    tracemalloc.start()
    try:
        refused, loaded = attacked(kind, 300, measured)
    finally:
        tracemalloc.stop()
    assert refused > 150 and refused + loaded == 300


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
@pytest.mark.parametrize("kind", KINDS)
def test_a_million_mutated_files_end_well(kind: str, part: int):
    """In ten parts for each of seven kinds; KINONE_FUZZ sets how many there are of a kind."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, loaded = attacked(kind, EACH // 10 + part)
    assert refused + loaded == EACH // 10 + part and refused > loaded
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10


# ------------------------------------------------------------------------------ pickles
class Evil:
    """Runs a command where pickles are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder / "ran"),)


def test_nothing_in_a_pickle_runs(tmp_path: Path):
    for protocol in (2, 3, 4, 5):
        raw = archive({**TORCH, "a/data.pkl": pickle.dumps({"weight": Evil(tmp_path)}, protocol)})
        with pytest.raises(
            KinoneError, match=r"tensors and plain data, got posix\.mkdir\. Hint: .*Nothing of the file"
        ):
            load_torch(raw)
    assert not list(tmp_path.iterdir())


OPCODES: list[tuple[bytes, str]] = [
    (b"", "a whole pickle"),
    (b".", "one value, got 0"),
    (b"NN.", "one value, got 2"),
    (b"(N.", "one value"),
    (b"\x80\1N.", "protocol 2 to 5, got 1"),
    (b"\x80\6N.", "protocol 2 to 5, got 6"),
    (b"0.", "opcodes that build plain data, got 0x30"),
    (b"cos\nsystem\n(X\2\0\0\0lstR.", r"got os\.system"),
    (b"X\2\0\0\0osX\6\0\0\0system\x93.", r"got os\.system"),
    (b"NN\x93.", "got no name"),
    (b"c" + b"a" * 300, "a line with a name"),
    (b"ccollections\nOrderedDict\n.", r"got collections\.OrderedDict itself"),
    (b"ccollections\nOrderedDict\nNR.", "a call of a known name"),
    (b"N)R.", "a call of a known name"),
    (b"ccollections\nOrderedDict\nNNN\x87R.", "with its arguments, got 3 of them"),
    (b"ccollections\nOrderedDict\n]NaN\x86R.", "with its arguments"),
    (b"a.", "a value on the stack"), (b"NNa.", "a list to append to"), (b"t.", "a mark"), (b"u.", "a mark"),
    (b"}(Nu.", "pairs for a dict"), (b"}]Ns.", "text, numbers and tuples of them as keys"),
    (b"}N\x85\x85Ns.", "as keys, got a tuple"), (b"NNNs.", "pairs for a dict"), (b"h\0.", "a value remembered before"),
    (b"q\0.", "a value on the stack"), (b"X\xff\xff\xff\xffabc", "a whole pickle"),
    (b"X\1\0\0\0\xff.", "text in UTF-8"),
    (b"\x8a\x14" + bytes(20) + b".", "integers of at most 16 bytes"), (b"}Nb.", "attributes of a dict"),
    (b"N}b.", "attributes of a dict"), (b"NQ.", "nothing outside"), (b"(" * 100_000, "values fit in memory"),
    (b"N" + b"r\1\0\0\0" * 5 + b"".join(b"r" + pack("<I", i) for i in range(99_999)), "values fit in memory"),
    (b"]" * 100_000, "values fit in memory"), (b"]q\0(" + b"h\0" * 500_000 + b"e.", "values fit in memory"),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(OPCODES)))
def test_pickles_that_do_not_build_plain_data_are_refused(i: int):
    def outside(parts: Any) -> Any:
        raise KinoneError("a pickle", "nothing outside", repr(parts))

    from kinone.formats.plain_pickle import Named

    raw, match = OPCODES[i]
    known = {"collections.OrderedDict": Named("collections.OrderedDict", call=lambda pairs=(): {})}
    with pytest.raises(KinoneError, match=match):
        PlainPickle(raw, "a pickle", known, outside, limit=1_000_000).load()


def test_a_dict_in_itself_ends(tmp_path: Path):
    raw = b"\x80\2}q\0X\1\0\0\0ah\0sX\1\0\0\0bh\0s."
    (tmp_path / "m.pt").write_bytes(archive({"a/data.pkl": raw}))
    with pytest.raises(KinoneError, match="a dict of tensors, got a dict of a, b"):
        nn.Linear(1, 1).load(tmp_path / "m.pt")


TENSORS: list[tuple[bytes, bytes, str]] = [
    (b"K\2K\3t(K\3K\1", b"K\2K\4t(K\3K\1", "inside its storage of 6, got one up to element 6"),
    (b"K\2K\3t(K\3K\1", b"K\2K\3t(K\xffK\1", "inside its storage of 6"),
    (b"K\2K\3t(K\3K\1", b"K\2K\3t(K\3", "a size and a stride of one length"),
    (b"K\2K\3t(K\3K\1", b"K\2J\xff\xff\xff\xfft(K\3K\1", "a size and a stride"),
    (b"K\2K\3t(K\3K\1", b"K\0J\xff\xff\xff\x7ft(K\3K\1", "a size that an array can have"),
    (b"K\2K\3t(K\3K\1", b"K\2\x88t(K\3K\1", "a size and a stride"),
    (b"X\1\0\0\0" + b"1", b"X\1\0\0\0" + b"9", r"an entry 'a/data/9', got none"),
    (b"X\1\0\0\0" + b"1", b"X\1\0\0\0" + b"0", "storage '0' of one size, got two"),
    (b"M\6\0", b"M\7\0", "28 bytes of storage '0', got 24"),
    (b"FloatStorage", b"HalfStorage", "12 bytes of storage '0', got 24"),
    (b"FloatStorage", b"EvilStorage", r"got torch\.EvilStorage"),
    (b"X\7\0\0\0storage", b"X\6\0\0\0module", "a storage, got a tuple"),
]


@pytest.mark.parametrize("i", range(len(TENSORS)))
def test_tensors_outside_their_storages_are_refused(i: int):
    old, new, match = TENSORS[i]
    assert old in PICKLE
    with pytest.raises(KinoneError, match=match):
        load_torch(archive({**TORCH, "a/data.pkl": PICKLE.replace(old, new, 1)}))


def test_zips_that_lie_are_refused():
    raw = archive(TORCH)
    flipped = bytearray(raw)
    flipped[raw.index(np.ones(2, "<f4").tobytes())] ^= 1
    directory = raw.index(b"PK\1\2")
    for other, match in [
        (raw[:-1], "without its end"), (raw + b"x", "without its end"), (raw[:100], "without its end"),
        (bytes(flipped), r"'a/data/1' with its CRC-32, got other bytes\. Hint: the file is damaged"),
        (archive({**TORCH, "b/data.pkl": b""}), "one data.pkl, got 2"), (archive({"a": b""}), "one data.pkl, got 0"),
        (archive({**TORCH, "a/byteorder": b"middle"}), "byteorder little or big"),
        (archive({**TORCH, "a/constants.pkl": b""}), "TorchScript"),
        (raw[: directory + 10] + b"\x08" + raw[directory + 11 :], "compressed or encrypted"),
        (raw[: directory + 8] + b"\x01" + raw[directory + 9 :], "compressed or encrypted"),
        (raw[: directory + 42] + b"\xff\xff\xff\x7f" + raw[directory + 46 :], "outside"),
        (raw.replace(b"a/data/1", b"a/data/0"), "each name once"),
        (raw[:directory] + raw[directory:].replace(b"a/data/1", b"a/data/2"), "the same name in the directory"),
        (archive(TORCH) [:-6] + pack("<IH", 1, 0), "an entry of the directory"),
    ]:  # fmt: skip
        with pytest.raises(KinoneError, match=match):
            load_torch(other)
