"""Contents to files and back: the suffix says what is written, the first bytes say what is read."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone._version import __version__
from kinone.errors import ArgumentError, FormatError
from kinone.formats.atomic import Place
from kinone.formats.compression import GZIP, ZSTD, decompressed
from kinone.formats.contents import ABOUT, TRAINING, Contents, checked, plain, unplain
from kinone.formats.json_checkpoint import read_json, write_json
from kinone.formats.migrations import MIGRATIONS
from kinone.formats.safetensors import read_safetensors, save_safetensors
from kinone.formats.strict_json import parse
from kinone.formats.torch_file import LEGACY, ZIP, legacy, load_torch, weights_of

SUFFIXES = (".safetensors", ".json", ".json.gz", ".json.zst")
"""What files are written as."""

SAFETENSORS_FORMAT = "kinone.safetensors.v1"
_FOREIGN = {
    b"\x89HDF": "an HDF5 file (Keras?)", b"\x93NUM": "a NumPy file", b"GGUF": "a GGUF file",
}  # fmt: skip


def suffix_of(path: Place) -> str:
    """The suffix that says how to write the file."""
    name = Path(path).name.lower()
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            return suffix
    raise ArgumentError("save", f"a file name that ends in {', '.join(SUFFIXES)}", repr(os.fspath(path)))


def write(path: Place, contents: Contents) -> None:
    """Write the file that the suffix asks for, whole or not at all."""
    suffix = suffix_of(path)
    if suffix != ".safetensors":
        write_json(path, contents, suffix.removeprefix(".json"))
        return
    arrays = dict(contents.state)
    if strangers := [name for name in arrays if name.startswith(TRAINING)]:
        raise ArgumentError("save", f"paths that do not begin with {TRAINING}", repr(strangers[0]))
    about: dict[str, Any] = {"format": SAFETENSORS_FORMAT, "kinone": __version__, "arch": contents.arch}
    about |= {name: contents.about[name] for name in ABOUT if name in contents.about}
    if contents.training is not None:
        about["training"] = _named_arrays(plain(contents.training, "training"), "training", arrays)
    save_safetensors(path, arrays, {"kinone": json.dumps(about, separators=(",", ":"), allow_nan=False)})


def _named_arrays(value: Any, path: str, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray):
        arrays[TRAINING + path] = value
        return {"tensor": TRAINING + path}
    if isinstance(value, list):
        return [_named_arrays(part, f"{path}.{i}", arrays) for i, part in enumerate(value)]
    if isinstance(value, dict):
        return {name: _named_arrays(part, f"{path}.{name}", arrays) for name, part in value.items()}
    return value


def read(source: Place | bytes, limit: int | None = None) -> Contents:
    """What a file (or its bytes) holds; `limit` is the number of bytes that a compressed one may grow to."""
    where = "bytes" if isinstance(source, bytes) else os.fspath(source)
    head, size = _beginning(source)
    starts_with_zeros = head[4:8] == bytes(4)  # the upper half of a header's length; no text has a zero
    if starts_with_zeros and head[8:9] == b"{":
        return _from_safetensors(source, where)
    if head.startswith(ZIP):
        return Contents(weights_of(load_torch(source), where))
    if head.startswith(LEGACY):
        raise legacy(where)
    if head.startswith((GZIP, ZSTD)) or head.lstrip(b" \t\r\n").startswith(b"{"):
        return read_json(_text(source, where, limit), where, MIGRATIONS)
    if starts_with_zeros:
        return _from_safetensors(source, where)
    got = next((what for start, what in _FOREIGN.items() if head.startswith(start)), f"{size} bytes of another kind")
    raise FormatError(where, "safetensors, a JSON checkpoint or PyTorch's zip file", got)


def _beginning(source: Place | bytes) -> tuple[bytes, int]:
    if isinstance(source, bytes):
        return source[:16], len(source)
    with open(source, "rb") as file:
        return file.read(16), os.fstat(file.fileno()).st_size


def _text(source: Place | bytes, where: str, limit: int | None) -> bytes | bytearray:
    return decompressed(source if isinstance(source, bytes) else Path(source).read_bytes(), where, limit)


def _from_safetensors(source: Place | bytes, where: str) -> Contents:
    metadata, arrays = read_safetensors(source)
    if "kinone" not in metadata:
        return Contents(arrays)
    text = metadata["kinone"].encode()
    about = parse(text, where, limit=2 * len(text) + (8 << 20))
    if not isinstance(about, dict) or about.get("format") != SAFETENSORS_FORMAT or "arch" not in about:
        raise FormatError(where, f"metadata of the format {SAFETENSORS_FORMAT}", "other metadata")
    if unknown := about.keys() - {"format", "kinone", "arch", "training", *ABOUT}:
        raise FormatError(where, "what metadata of Kinone's has", repr(sorted(unknown)[0]))
    run = {name: arrays.pop(name) for name in list(arrays) if name.startswith(TRAINING)}

    def array(value: dict[str, Any]) -> NDArray[Any]:
        name = value["tensor"]
        if value.keys() != {"tensor"} or not isinstance(name, str) or name not in run:
            raise FormatError(where, "the name of a tensor", repr(value)[:60])
        return run.pop(name)

    training = unplain(about.get("training"), where, array)
    if run:
        raise FormatError(where, "tensors that the training names", next(iter(run)))
    return checked(Contents(arrays, about["arch"], {n: about[n] for n in ABOUT if n in about}, training), where)
