"""JSON checkpoints: what is written, what is read, and that no bit of it can change unseen."""

import base64
import gzip
import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import models, nn
from kinone.errors import ArgumentError, FormatError, KinoneError, MissingExtraError, StateError
from kinone.formats.contents import Contents
from kinone.formats.files import read
from kinone.formats.json_checkpoint import read_json
from module_samples import LAYERS, LOSSES, SEQUENCES
from network_samples import NETWORKS

SUFFIXES = (".safetensors", ".json", ".json.gz", ".json.zst")
WEIGHT = {
    "b64": base64.b64encode(np.arange(6, dtype="<f4").tobytes()).decode(),
    "dtype": "<f4",
    "shape": [2, 3],
    "order": "C",
}
BIAS = {"b64": "AAAAAAAAAAA=", "dtype": "<f4", "shape": [2], "order": "C"}
LINEAR = {"module": "Linear", "config": {"in_features": 3, "out_features": 2, "bias": True}}
FILE = {"format": "kinone.json.v1", "arch": LINEAR, "state": {"weight": WEIGHT, "bias": BIAS}}


def text(**changes: Any) -> bytes:
    return json.dumps({**FILE, **changes}).encode()


def load(raw: bytes, tmp_path: Path, **options: Any) -> nn.Module:
    (tmp_path / "m.json").write_bytes(raw)
    return nn.Module.load_json(tmp_path / "m.json", **options)


def same(a: nn.Module, b: nn.Module) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(
        one[n].dtype == two[n].dtype and one[n].data.tobytes() == two[n].data.tobytes() for n in one
    )


# ------------------------------------------------------------------------------ round trips
SAMPLES = {**LAYERS, **SEQUENCES, **LOSSES, **NETWORKS}


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
@pytest.mark.parametrize("name", sorted({**nn.MODULES, **models.MODULES}))
def test_every_module_goes_out_and_comes_back(name: str, suffix: str, tmp_path: Path):
    module, path = SAMPLES[name].make(), tmp_path / f"m{suffix}"
    module.save(path)
    copy = nn.Module.load_json(path)
    assert nn.described(copy) == nn.described(module) and same(copy, module)
    assert repr(copy) == repr(module) and copy.title == module.title
    other = SAMPLES[name].make()
    assert other.load(path).is_complete and same(other, module)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_keep_their_order_whatever_they_are_called(suffix: str, tmp_path: Path):
    """The seeds' fault: named layers reloaded in alphabetical order."""
    names = ["stem", "b10", "b9", "a", "Z"]
    model = nn.Sequential(
        {name: nn.Linear(2, 2) for name in names} | {str(i): nn.Linear(2, 2) for i in range(11, -1, -1)}
    )
    model.save(tmp_path / f"m{suffix}")
    copy: Any = nn.Module.load_json(tmp_path / f"m{suffix}")
    x = np.ones((1, 2), np.float32)
    assert list(copy.parts()) == [*names, *map(str, range(11, -1, -1))] and np.array_equal(copy(x).data, model(x).data)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_model_gives_the_same_file(suffix: str, tmp_path: Path):
    model = nn.Linear(3, 2)
    for name in "ab":
        model.save(tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_memory_order_and_every_dtype_survive(tmp_path: Path):
    module: Any = nn.Identity()
    for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"):
        module.register_buffer(f"x{'b' if code == '?' else code}", kn.Tensor(np.arange(6).reshape(2, 3).astype(code)))
    module.register_buffer("turned", kn.Tensor(np.asfortranarray(np.arange(6.0).reshape(2, 3))))
    module.register_buffer("empty", kn.Tensor(np.zeros((0, 3))))
    module.save(tmp_path / "m.json")
    found = read(tmp_path / "m.json").state
    for name, tensor in module.state_dict().items():
        assert found[name].dtype == tensor.dtype and np.array_equal(found[name], tensor.data), name
        assert found[name].flags.f_contiguous == tensor.data.flags.f_contiguous
    assert json.loads((tmp_path / "m.json").read_text())["state"]["turned"]["order"] == "F"


def test_a_file_is_json_as_it_is_described(tmp_path: Path):
    """A reader of ten lines, from the guide alone."""
    model = nn.Linear(3, 2)
    model.save_json(tmp_path / "m.json")
    data = json.loads((tmp_path / "m.json").read_text())
    assert list(data) == ["format", "kinone", "arch", "state", "digest"] and data["format"] == "kinone.json.v1"
    payload = data["state"]["weight"]
    array = np.frombuffer(base64.b64decode(payload["b64"]), payload["dtype"]).reshape(payload["shape"])
    assert np.array_equal(array, model.weight.data)


def test_classes_of_ones_own(tmp_path: Path):
    class Own(nn.Module):
        def __init__(self, n: int) -> None:
            self.inner = nn.Linear(n, n)

    Own(2).save_json(tmp_path / "m.json")
    with pytest.raises(FormatError, match=r"the name of a known module, got 'Own'\. Hint: a class of your own"):
        nn.Module.load_json(tmp_path / "m.json")
    assert isinstance(nn.Module.load_json(tmp_path / "m.json", modules=[Own]), Own)
    with pytest.raises(StateError, match=r"a Linear in .*, got a Own"):
        nn.Linear.load_json(tmp_path / "m.json", modules=[Own])


# ------------------------------------------------------------------------------ parts of a file
def test_all_that_does_not_fit_comes_in_one_error(tmp_path: Path):
    nn.Sequential({"fc1": nn.Linear(3, 4), "fc2": nn.Linear(4, 2)}).save(tmp_path / "m.safetensors")
    model = nn.Sequential({"fc1": nn.Linear(3, 5), "fc3": nn.Linear(4, 2)})
    before = model.state_dict()["fc1.bias"].data.copy()
    with pytest.raises(StateError) as caught:
        model.load(tmp_path / "m.safetensors")
    for line in ("missing: fc3.weight (like fc2.weight)", "unexpected: fc2.bias (like fc3.bias)",
                 "fc1.weight is (4, 3) in the state and (5, 3) in the module"):  # fmt: skip
        assert line in str(caught.value)
    assert np.array_equal(model.state_dict()["fc1.bias"].data, before)
    report = model.load(tmp_path / "m.safetensors", strict=False)
    assert not report.loaded and len(report.missing) == len(report.unexpected) == len(report.mismatched) == 2


def test_a_head_of_ones_own_stays(tmp_path: Path):
    nn.Sequential({"body": nn.Linear(3, 4), "fc": nn.Linear(4, 10)}).save(tmp_path / "m.json.gz")
    model = nn.Sequential({"body": nn.Linear(3, 4), "fc": nn.Linear(4, 2)})
    head = model.state_dict()["fc.weight"].data.copy()
    report = model.load(tmp_path / "m.json.gz", skip=("fc.",))
    assert report.loaded == ("body.weight", "body.bias") and report.missing == ("fc.weight", "fc.bias")
    assert np.array_equal(model.state_dict()["fc.weight"].data, head) and "missing: fc.weight" in str(report)
    with pytest.raises(ArgumentError, match=r"skip as a sequence of names, got 'fc\.'"):
        model.load(tmp_path / "m.json.gz", skip="fc.")


def test_partial_files_are_built_with_a_warning(tmp_path: Path):
    with pytest.raises(StateError, match="missing: bias"):
        load(text(state={"weight": WEIGHT}), tmp_path)
    with pytest.warns(UserWarning, match=r"(?s)1 loaded, skipped:\s+missing: bias"):
        model: Any = load(text(state={"weight": WEIGHT}), tmp_path, strict=False)
    assert model.weight.data.tolist() == [[0, 1, 2], [3, 4, 5]] and model.bias.shape == (2,)


def test_building_draws_nothing_from_the_process(tmp_path: Path):
    before = kn.random.snapshot()
    load(text(), tmp_path)
    assert kn.random.snapshot() == before


# ------------------------------------------------------------------------------ versions
def test_older_formats_go_through_their_migrations():
    old = {"format": "old.v0", "weights": {"weight": WEIGHT, "bias": BIAS}}
    migrations: Any = {
        "old.v0": lambda tree, where: {**tree, "format": "old.v1", "arch": LINEAR},
        "old.v1": lambda tree, where: {"format": "kinone.json.v1", "arch": tree["arch"], "state": tree["weights"]},
    }
    contents = read_json(json.dumps(old).encode(), "a", migrations)
    assert isinstance(contents, Contents) and contents.arch == LINEAR and list(contents.state) == ["weight", "bias"]
    with pytest.raises(FormatError, match=r"one of the formats kinone\.json\.v1, old\.v1, got 'old\.v0'"):
        read_json(json.dumps(old).encode(), "a", {"old.v1": migrations["old.v1"]})
    with pytest.raises(FormatError, match=r"one of the formats kinone\.json\.v1, keydnn"):
        read(text(format="kinone.json.v2"))
    with pytest.raises(FormatError, match="one of the formats"):
        read_json(json.dumps(old).encode(), "a", {"old.v0": lambda tree, where: tree})


# ------------------------------------------------------------------------------ what is refused
REFUSED: list[tuple[Any, str]] = [
    (text(more=1), "what else a checkpoint has, got 'more'"),
    (b'{"format": "kinone.json.v1", "state": {}}', "got no arch"),
    (b'{"format": 1}', "a checkpoint with its format"),
    (b'{"format": "kinone.json.v1", "format": "kinone.json.v1"}', "each name once"),
    (b'{"a": NaN}', "JSON"),
    (b'{"a": Infinity}', "JSON"),
    (b'{"a": 01}', "a comma or a brace"),
    (b'{"a": "\n"}', "JSON"),
    (b'{"a": 1,}', "a name"),
    (b"{'a': 1}", "JSON"),
    (text() + b"{}", "nothing after the value"),
    (text()[:-1], "the end of the text"),
    (text(state=[]), "a state of arrays by path"),
    (text(state={"weight": 1}), "a state of arrays by path"),
    (text(state={"weight": {**WEIGHT, "more": 1}}), "an array as b64, dtype, shape and order"),
    (text(state={"weight": {"b64": "AAAA"}}), "an array as b64, dtype, shape and order"),
    (text(state={"weight": {**WEIGHT, "b64": 1}}), "an array as b64, dtype, shape and order"),
    (text(state={"weight": {**WEIGHT, "dtype": "|O8"}}), "got '|O8' and 'C'"),
    (text(state={"weight": {**WEIGHT, "dtype": "<f4,<f4"}}), "a dtype of"),
    (text(state={"weight": {**WEIGHT, "order": "K"}}), "got '<f4' and 'K'"),
    (text(state={"weight": {**WEIGHT, "shape": [2, 4]}}), "44 digits for 32 bytes of shape [2, 4], got 32"),
    (text(state={"weight": {**WEIGHT, "shape": [2, -3]}}), "a shape of up to 32 lengths"),
    (text(state={"weight": {**WEIGHT, "shape": [True, 6]}}), "a shape of up to 32 lengths"),
    (text(state={"weight": {**WEIGHT, "shape": [1 << 59, 1 << 59, 0]}}), "digits for"),
    (text(state={"weight": {**WEIGHT, "shape": [0] * 33}}), "a shape of up to 32 lengths"),
    (text(state={"weight": {**WEIGHT, "b64": "*" * 32}}), "base64"),
    (text(state={"weight": {**WEIGHT, "b64": "AA==" * 8}}), "base64"),
    (text(state={"a": {"b64": "Ag==", "dtype": "|b1", "shape": [1], "order": "C"}}), "0 and 1 as truth values, got 2"),
    (text(digest="0" * 64), "the digest 000000000000…"),
    (text(digest=1), "a digest as the last entry"),
    (json.dumps({"digest": "0" * 64, **FILE}).encode(), "a digest as the last entry"),
    (text(title=1), "title of another kind"),
    (text(frozen="weight"), "frozen of another kind"),
    (text(frozen=["width"]), "names of the model's own parts as frozen or in eval mode, got width"),
    (text(eval=["a"]), "names of the model's own parts"),
    (text(tied=[["weight"]]), "tied as groups of paths"),
    (text(tied=[["weight", "bias"]]), "tied parameters of one shape"),
    (text(frozen=[1]), "paths as text"),
    (text(training=[]), "training as named values"),
    (text(training={"progress": {"float": "1e5"}}), "inf, -inf or nan"),
    (text(arch=[]), "a description with module and config"),
    (text(arch=None), "an architecture beside the weights"),
    (text(arch={"module": "Linear", "config": {"in_features": {"b64": "AAAA"}}}), "an array as b64"),
    (text(arch={"module": "eval", "config": {}}), "the name of a known module"),
    (b"", "0 bytes of another kind"),
    (b"[1]", "3 bytes of another kind"),
    (b"\xef\xbb\xbf{}", "5 bytes of another kind"),
    (b"\x80\x04N.", "4 bytes of another kind"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras?)"),
    (b"\x80\x02\x8a\x0alxxxxx", "a pickle, which we do not run"),
]


@pytest.mark.parametrize("i", range(len(REFUSED)))
def test_what_is_no_checkpoint_is_refused(i: int, tmp_path: Path):
    raw, match = REFUSED[i]
    with pytest.raises(KinoneError) as caught:
        load(raw, tmp_path)
    assert match in str(caught.value)


def test_half_of_these_tests_begin_with_a_file_that_loads(tmp_path: Path):
    model: Any = load(text(), tmp_path)
    assert model.weight.data.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".safetensors"])
def test_every_bit_that_flips_is_noticed(suffix: str, tmp_path: Path):
    """Each of the file's bits: an error, or the same model (gzip's packer, time, and last filling bits)."""
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    path = tmp_path / f"m{suffix}"
    model.save(path)
    raw = path.read_bytes()
    wanted = read(raw)
    passed = 0
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            found = read(bytes(flipped))
        except FormatError:
            continue
        passed += 1
        assert suffix == ".json.gz" and (bit < 80 or bit // 8 == len(raw) - 9)
        assert (found.arch, found.about, found.training) == (wanted.arch, wanted.about, wanted.training)
        assert {n: a.tobytes() for n, a in found.state.items()} == {n: a.tobytes() for n, a in wanted.state.items()}
    assert 49 <= passed <= 56 if suffix == ".json.gz" else not passed


# ------------------------------------------------------------------------------ size and memory
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_bombs_are_stopped(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / f"m.json{suffix}"
    raw = b" " * (100 << 20) + text()
    if suffix == ".gz":
        path.write_bytes(gzip.compress(raw))
    else:
        path.write_bytes(pytest.importorskip("zstandard").compress(raw))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"at most 67108864 bytes when decompressed, got more\. Hint: .*limit="):
            nn.Module.load_json(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 140 << 20
    with pytest.raises(FormatError, match="at most 1000 bytes"):
        nn.Module.load_json(path, limit=1000)
    assert isinstance(nn.Module.load_json(path, limit=len(raw)), nn.Linear)


def test_damaged_gzip_is_refused():
    raw = gzip.compress(text())
    damaged = [(raw[:-9], "its end missing"), (raw[:30], "its end missing"), (raw + b"x", "bytes behind it"),
               (raw + raw, "bytes behind it"), (raw[:-8] + b"1234" + raw[-4:], "incorrect data check")]  # fmt: skip
    for other, match in damaged:
        with pytest.raises(FormatError, match=match):
            read(other)


def test_without_zstandard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"kinone\[zstd\], or use \.json\.gz"):
        nn.Linear(3, 2).save(tmp_path / "m.json.zst")
    with pytest.raises(MissingExtraError, match=r"kinone\[zstd\]"):
        read(b"\x28\xb5\x2f\xfd")
    assert not list(tmp_path.iterdir())


def test_reading_takes_no_more_than_twice_the_files_size(tmp_path: Path):
    module: Any = nn.Identity()
    module.register_buffer("x", kn.Tensor(np.random.default_rng(0).normal(size=1 << 20)))
    for suffix in (".json", ".json.gz"):
        module.save(tmp_path / f"m{suffix}")
        size = (tmp_path / "m.json").stat().st_size
        tracemalloc.start()
        try:
            found = read(tmp_path / f"m{suffix}")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert np.array_equal(found.state["x"], module.x.data)
        assert peak < 2 * size + (1 << 20)


@pytest.mark.parametrize(
    "config",
    [
        {"in_features": 100_000, "out_features": 100_000}, {"in_features": 1 << 40, "out_features": 1},
        {"in_features": 3, "out_features": 1 << 62}, {"in_features": 3, "out_features": 10**30},
    ],
)  # fmt: skip
def test_an_architecture_larger_than_its_weights_takes_no_memory(config: Any, tmp_path: Path):
    for arch in ({"module": "Linear", "config": config}, {"module": "BatchNorm1d", "config": {"num_features": 1 << 40}},
                 {"module": "LayerNorm", "config": {"normalized_shape": [4096] * 4}}):  # fmt: skip
        tracemalloc.start()
        try:
            with pytest.raises(KinoneError, match="an architecture of about as many numbers as the weights"):
                load(text(arch=arch), tmp_path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 << 20
