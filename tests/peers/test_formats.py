"""Files beside the safetensors library's and PyTorch's."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinone import nn
from kinone.errors import FormatError, StateError
from kinone.formats import load_safetensors, load_torch, read_header, save_safetensors

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")
safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed (tests/peers/requirements.txt)")
from safetensors import numpy as theirs  # noqa: E402
from safetensors import torch as theirs_torch  # noqa: E402

DTYPES = ["bool", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]


def tensors(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        f"{'.'.join('abü'[i] for i in rng.integers(0, 3, 3))}.{i}": rng.integers(
            0, 2, rng.integers(0, 4, i % 4)
        ).astype(d)
        for i, d in enumerate(rng.permutation(DTYPES))
    }


# ------------------------------------------------------------------------------ safetensors
@pytest.mark.parametrize("seed", range(5))
def test_files_are_byte_for_byte_those_of_the_library(seed: int, tmp_path: Path):
    arrays = tensors(seed)
    for metadata in (None, {"by": "ü"}):
        save_safetensors(tmp_path / "x", arrays, metadata, has_digest=False)
        assert (tmp_path / "x").read_bytes() == theirs.save(arrays, metadata)


@pytest.mark.parametrize("seed", range(5))
def test_either_reads_what_the_other_wrote(seed: int, tmp_path: Path):
    arrays = tensors(seed)
    save_safetensors(tmp_path / "ours", arrays, {"a": "b"})
    theirs.save_file(arrays, tmp_path / "theirs", {"a": "b"})
    for found in (theirs.load_file(tmp_path / "ours"), load_safetensors(tmp_path / "theirs")):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype and np.array_equal(found[name], array)
    assert read_header(tmp_path / "theirs").metadata == {"a": "b"}


def test_bfloat16_has_pytorchs_values():
    values = torch.tensor([1.0, -0.1, 3e38, float("inf"), 1e-40, 0.0]).bfloat16()
    raw = theirs_torch.save({"a": values, "n": torch.tensor(float("nan")).bfloat16()})
    found = load_safetensors(raw)
    assert np.array_equal(found["a"], values.float().numpy()) and np.isnan(found["n"])


def _file(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


@pytest.mark.parametrize(
    "raw",
    [
        b"", bytes(8), _file(b"[]"), _file(b"{"), _file(b"{}", b"x"),
        _file(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', bytes(4)),
        _file(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}', bytes(5)),
        _file(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', bytes(4)),
        _file(b'{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', bytes(4)),
        _file(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(8)),
        _file(b'{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        _file(b'{"a":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904],"data_offsets":[0,0]}}'),
        _file(b'{"__metadata__":{"a":1}}'), (1 << 62).to_bytes(8, "little") + b"{}",
    ],
)  # fmt: skip
def test_what_the_library_refuses_is_refused(raw: bytes):
    with pytest.raises(safetensors.SafetensorError):
        theirs.load(raw)
    with pytest.raises(FormatError):
        load_safetensors(raw)


# ------------------------------------------------------------------------------ PyTorch's files
def saved(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def twin() -> Any:
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(),
                               torch.nn.Linear(16, 3))  # fmt: skip


def ours() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_model_takes_the_weights_of_its_twin_and_computes_the_same(suffix: str, tmp_path: Path):
    model = twin()
    model(torch.randn(8, 1, 4, 4))
    path = tmp_path / f"m.{suffix}"
    if suffix == "pth":
        torch.save(model.state_dict(), path)
    else:
        theirs_torch.save_model(model, str(path))
    mine = ours().eval()
    assert mine.load(path).is_complete
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 1, 4, 4)
    np.testing.assert_allclose(mine(x).data, model.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_the_library_and_pytorch_read_the_weights_that_a_model_saved(tmp_path: Path):
    mine = ours()
    mine.save(tmp_path / "m.safetensors")
    model = twin()
    assert not theirs_torch.load_model(model, str(tmp_path / "m.safetensors"))[1]
    for name, tensor in model.state_dict().items():
        assert np.array_equal(tensor.numpy(), mine.state_dict()[name].data)


@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model", "net", "any.thing"])
def test_weights_are_found_where_people_put_them(key: str | None, tmp_path: Path):
    model = twin()
    data: Any = model.state_dict()
    if key:
        optimizer = torch.optim.Adam(model.parameters())
        model(torch.randn(8, 1, 4, 4)).sum().backward()
        optimizer.step()
        data = {"epoch": 3, "best": 0.5, key: data, "optimizer": optimizer.state_dict(), "args": ["a", None, (1, 2)]}
    torch.save(data, tmp_path / "m.pt")
    mine = ours()
    assert mine.load(tmp_path / "m.pt").is_complete
    assert np.array_equal(mine.state_dict()["3.weight"].data, model.state_dict()["3.weight"].numpy())


def test_parts_of_larger_models_by_prefix(tmp_path: Path):
    one, two = twin(), twin()
    torch.save({"generator": one.state_dict(), "critic": two.state_dict()}, tmp_path / "m.pt")
    mine = ours()
    assert mine.load(tmp_path / "m.pt", prefix="critic.").is_complete
    assert np.array_equal(mine.state_dict()["0.weight"].data, two.state_dict()["0.weight"].numpy())
    with pytest.raises(StateError, match=r"entries below 'judge\.' in .*, got generator\.0\.weight"):
        mine.load(tmp_path / "m.pt", prefix="judge.")
    with pytest.raises(StateError, match=r"unexpected: critic\.0\.weight") as caught:
        mine.load(tmp_path / "m.pt")
    assert not hasattr(caught.value, "__notes__")
    torch.save({f"module.{name}": value for name, value in one.state_dict().items()}, tmp_path / "parallel.pt")
    with pytest.raises(StateError) as caught:
        mine.load(tmp_path / "parallel.pt")
    assert "load(path, prefix='module.')" in caught.value.__notes__[0]


def test_weights_from_before_batches_were_counted(tmp_path: Path):
    state = {name: value for name, value in twin().state_dict().items() if "num_batches" not in name}
    torch.save(state, tmp_path / "m.pth")
    mine = ours()
    mine(np.ones((4, 1, 4, 4), np.float32))
    assert mine.load(tmp_path / "m.pth").is_complete and mine.state_dict()["1.num_batches_tracked"].item() == 0


def test_tensors_of_every_dtype_and_layout():
    base = torch.arange(24).reshape(2, 3, 4)
    values = {
        str(dtype): base.to(dtype)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8,
                      torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool)
    }  # fmt: skip
    values |= {
        "transposed": base.transpose(0, 2), "steps": base[:, ::2, 1:], "expanded": torch.ones(1).expand(5, 5),
        "0-d": torch.tensor(2.5), "empty": torch.zeros(0, 3), "far": base.flatten()[20:], "one": base[1, 2, 3],
        "parameter": torch.nn.Parameter(torch.randn(3, 2).t()),
    }  # fmt: skip
    found = load_torch(saved(values))
    for name, value in values.items():
        assert found[name].dtype == value.detach().numpy().dtype, name
        assert np.array_equal(found[name], value.detach().numpy()), name
    half = torch.randn(7).bfloat16()
    assert np.array_equal(load_torch(saved([half, half[2:5]]))[1], half[2:5].float().numpy())


def test_shared_storages_stay_shared_and_are_read_once():
    base = torch.randn(1000)
    found = load_torch(saved([base, base[10:20], base.view(10, 100).t()]))
    assert np.shares_memory(found[0], found[1]) and np.array_equal(found[2], base.view(10, 100).t().numpy())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_of_every_protocol(protocol: int):
    numbers = [1, -1, 300, 70000, 2**40, -(2**70), True, None, 1.5, (), (1,), (1, 2), (1, 2, 3, 4)]
    data = {"a": numbers, 1: {"b": "ü" * 300}, (1, "c"): torch.Size([2, 3]), "dtype": torch.float32,
            "device": torch.device("cpu")}  # fmt: skip
    found = load_torch(saved(data, pickle_protocol=protocol))
    assert found == {**data, "dtype": "torch.float32", "device": "cpu"}


def test_checksums_that_were_left_out_are_not_missed():
    was = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        raw = saved({"a": torch.ones(3)})
    finally:
        torch.serialization.set_crc32_options(was)
    assert load_torch(raw)["a"].tolist() == [1, 1, 1]


def test_numbers_with_the_large_end_first():
    source = zipfile.ZipFile(io.BytesIO(saved({"a": torch.tensor([1.5, -2.0]), "b": torch.tensor([1.0]).bfloat16()})))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            raw = source.read(name)
            raw = b"big" if name.endswith("byteorder") else raw
            if "/data/" in name:
                raw = struct.pack(">2f", 1.5, -2.0) if len(raw) == 8 else raw[::-1]
            archive.writestr(name, raw)
    found = load_torch(target.getvalue())
    assert found["a"].tolist() == [1.5, -2.0] and found["b"].tolist() == [1.0]


class Class:
    """Something that pickle makes by calling it."""


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: saved(Class()), r"tensors and plain data, got .*Class\. Hint: save the tensors alone"),
        (lambda: saved(print), r"got builtins\.print"),
        (lambda: saved({"x": np.float64(1)}), r"got numpy\._core\.multiarray\.scalar"),
        (lambda: saved(torch.nn.Linear(1, 1)), r"got torch\.nn\.modules\.linear\.Linear"),
        (lambda: saved({1, 2}), "got builtins.set"),
        (lambda: saved(b"bytes"), "got _codecs.encode"),
        (lambda: saved(1j), "got builtins.complex"),
        (lambda: saved(torch.ones(2, dtype=torch.complex64)), "got torch.ComplexFloatStorage"),
        (lambda: saved(torch.ones(2).to_sparse()), r"got torch\._utils\._rebuild_sparse_tensor"),
        (lambda: saved(torch.ones(2), _use_new_zipfile_serialization=False), "a pickle, which we do not run"),
    ],
)
def test_whatever_else_is_refused_by_name(make: Any, match: str):
    with pytest.raises(FormatError, match=match):
        load_torch(make())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused(tmp_path: Path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "m.pt"))
    with pytest.raises(FormatError, match="TorchScript, which is a program"):
        ours().load(tmp_path / "m.pt")
