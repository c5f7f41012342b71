"""safetensors: tensors by name in one file, without code. n (8 bytes), a header of n bytes in JSON, the data.

    {"weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"by": "whom"}}

The format has no checksum. What Kinone writes carries one in its metadata: "kinone.digest" is the SHA-256 of the file
with zeros for its 64 digits. Where a file has it, reading checks it.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, DtypeError, FormatError
from kinone.formats.atomic import Place, Writer, writing
from kinone.formats.strict_json import parse

# In the order in which the reference lays tensors out: the largest elements first, so that all are aligned.
DTYPES = {
    "U64": "<u8", "I64": "<i8", "F64": "<f8", "F32": "<f4", "U32": "<u4", "I32": "<i4", "BF16": "<u2", "F16": "<f2",
    "U16": "<u2", "I16": "<i2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
"""The dtypes by their names in the file; BF16 is read as float32, which holds each of its values."""

DIGEST = "kinone.digest"
_NAMES = {np.dtype(code): name for name, code in DTYPES.items() if name != "BF16"}
_ZEROS = "0" * 64
_LONGEST_HEADER = 100_000_000
_DIGITS = re.compile(rb'"kinone\.digest"\s*:\s*"([0-9a-f]{64})"')
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Entry:
    """What the header says of a tensor; its bytes are data[start:end]."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """The header: metadata, the tensors in the order of their data, and the header's own bytes."""

    metadata: dict[str, str]
    entries: tuple[Entry, ...]
    raw: bytes


# ------------------------------------------------------------------------------ out
def save_safetensors(path: Place, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None, *,
                     has_digest: bool = True) -> None:  # fmt: skip
    """Write the tensors; without metadata and digest, byte for byte what the reference writes."""
    arrays = {name: _array(name, value) for name, value in tensors.items()}
    with writing(path) as file:
        _write(file, arrays, dict(metadata or {}), has_digest)


def _array(name: Any, value: Any) -> NDArray[Any]:
    array = value.data if isinstance(value, Tensor) else np.asarray(value)
    if not isinstance(name, str) or name == "__metadata__":
        raise ArgumentError("save_safetensors", "names of tensors", repr(name))
    if array.dtype.newbyteorder("<") not in _NAMES:
        raise DtypeError("save_safetensors", f"{name} of a dtype that the format has", str(array.dtype))
    return array


def _write(file: Writer, arrays: dict[str, NDArray[Any]], metadata: dict[str, str], has_digest: bool) -> None:
    order = list(DTYPES)
    kinds = {name: _NAMES[array.dtype.newbyteorder("<")] for name, array in arrays.items()}
    names = sorted(arrays, key=lambda name: (order.index(kinds[name]), name.encode()))
    header: dict[str, Any] = {}
    if has_digest:
        metadata[DIGEST] = _ZEROS
    if metadata:
        header["__metadata__"] = metadata
    if not all(isinstance(part, str) for item in metadata.items() for part in item):
        raise ArgumentError("save_safetensors", "metadata of text by text", repr(metadata))
    at = 0
    for name in names:
        end = at + arrays[name].nbytes
        header[name] = {"dtype": kinds[name], "shape": list(arrays[name].shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST_HEADER:
        raise ArgumentError("save_safetensors", f"a header of at most {_LONGEST_HEADER} bytes", str(len(text)))
    if has_digest:
        digest = hashlib.sha256(len(text).to_bytes(8, "little") + text)
        for name in names:
            digest.update(_bytes_of(arrays[name]))
        text = text.replace(f'"{DIGEST}":"{_ZEROS}"'.encode(), f'"{DIGEST}":"{digest.hexdigest()}"'.encode(), 1)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        file.write(_bytes_of(arrays[name]))


def _bytes_of(array: NDArray[Any]) -> memoryview:
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return flat.view(np.uint8).data


# ------------------------------------------------------------------------------ in
def load_safetensors(source: Place | bytes) -> dict[str, NDArray[Any]]:
    """All tensors of a file (or of its bytes), in the order of their data; memory for them and nothing more."""
    return read_safetensors(source)[1]


def read_safetensors(source: Place | bytes) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """The metadata and all tensors."""
    if isinstance(source, bytes):
        return _read(BytesIO(source), len(source), "safetensors")
    with open(source, "rb", buffering=0) as file:
        return _read(file, os.fstat(file.fileno()).st_size, os.fspath(source))


def read_header(source: Place | bytes) -> Header:
    """The header alone: what is in the file, without reading it."""
    if isinstance(source, bytes):
        return _header(BytesIO(source), len(source), "safetensors")
    with open(source, "rb", buffering=0) as file:
        return _header(file, os.fstat(file.fileno()).st_size, os.fspath(source))


def _read(file: Any, size: int, where: str) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    header = _header(file, size, where)
    digest = _Digest(header, where)
    tensors: dict[str, NDArray[Any]] = {}
    for entry in header.entries:
        tensors[entry.name] = _tensor(file, entry, digest, where)
    digest.check()
    return header.metadata, tensors


def _header(file: Any, size: int, where: str) -> Header:
    if size < 8:
        raise FormatError(where, "a safetensors file", f"{size} bytes")
    length = int.from_bytes(_exactly(file, 8, where), "little")
    if length > _LONGEST_HEADER or length > size - 8:
        raise FormatError(where, "a header that fits in the file", f"one of {length} bytes in {size}")
    raw = _exactly(file, length, where)
    if not raw.startswith(b"{"):
        raise FormatError(where, "a header that begins with a brace", repr(raw[:8]))
    data = parse(raw, where, limit=size + (8 << 20))
    metadata = data.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(where, "__metadata__ of text by text", "something else")
    entries = sorted((_entry(name, about, where) for name, about in data.items()), key=lambda e: (e.start, e.end))
    at = 0
    for entry in entries:
        if entry.start != at:
            raise FormatError(where, f"the data of {entry.name!r} from byte {at} on", f"from {entry.start} on")
        at = entry.end
    if at != size - 8 - length:
        raise FormatError(where, f"{at} bytes of data", str(size - 8 - length))
    return Header(metadata, tuple(entries), raw)


def _entry(name: str, about: Any, where: str) -> Entry:
    if not isinstance(about, dict) or about.keys() != {"dtype", "shape", "data_offsets"}:
        raise FormatError(where, f"dtype, shape and data_offsets of {name!r}", _short(about))
    dtype, shape, offsets = about["dtype"], about["shape"], about["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise FormatError(where, f"a dtype of {name!r} among {', '.join(DTYPES)}", _short(dtype))
    if not _are_sizes(shape) or len(shape) > 32 or prod(n or 1 for n in shape) >= 1 << 60:
        raise FormatError(where, f"a shape of {name!r}", _short(shape))
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FormatError(where, f"two data_offsets of {name!r} that rise", _short(offsets))
    needed = prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if offsets[1] - offsets[0] != needed:
        raise FormatError(where, f"{needed} bytes for {name!r}, {dtype} of {shape}", str(offsets[1] - offsets[0]))
    return Entry(name, dtype, tuple(shape), offsets[0], offsets[1])


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in value)


def _tensor(file: Any, entry: Entry, digest: "_Digest", where: str) -> NDArray[Any]:
    if entry.dtype == "BF16":
        return _bfloat16(file, entry, digest, where)
    array = np.empty(entry.shape, DTYPES[entry.dtype])
    raw = array.reshape(-1).view(np.uint8)
    _fill(file, raw, where)
    digest.add(raw)
    if entry.dtype == "BOOL" and raw.size and raw.max() > 1:
        raise FormatError(where, f"0 and 1 in {entry.name!r}", str(raw.max()))
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _bfloat16(file: Any, entry: Entry, digest: "_Digest", where: str) -> NDArray[Any]:
    """The upper halves of float32, piece by piece: no second copy of the data."""
    bits = np.zeros(entry.shape, np.uint32)
    flat = bits.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK]
        raw = np.empty(part.size, "<u2")
        _fill(file, raw.view(np.uint8), where)
        digest.add(raw)
        part |= raw
        part <<= 16
    return bits.view(np.float32)


def _fill(file: Any, raw: NDArray[np.uint8], where: str) -> None:
    view = raw.data
    while view:
        n = file.readinto(view)
        if not n:
            raise FormatError(where, f"{len(view)} more bytes", "the end of the file")
        view = view[n:]


def _exactly(file: Any, n: int, where: str) -> bytes:
    raw = np.empty(n, np.uint8)
    _fill(file, raw, where)
    return raw.tobytes()


class _Digest:
    """What the metadata says that the file's SHA-256 is, and what it comes to as the data is read."""

    def __init__(self, header: Header, where: str) -> None:
        self.said, self.where, self.sum = header.metadata.get(DIGEST), where, hashlib.sha256()
        if self.said is None and any(name.startswith("kinone") for name in header.metadata):
            raise FormatError(where, f"{DIGEST} in a file of Kinone's", "none")
        if self.said is not None:
            digits = list(_DIGITS.finditer(header.raw))
            if len(digits) != 1 or digits[0][1].decode() != self.said:
                raise FormatError(where, f"{DIGEST} of 64 hexadecimal digits", _short(self.said))
            start, end = digits[0].span(1)
            self.add(len(header.raw).to_bytes(8, "little") + header.raw[:start] + b"0" * 64 + header.raw[end:])

    def add(self, data: Any) -> None:
        if self.said is not None:
            self.sum.update(data)

    def check(self) -> None:
        if self.said is not None and self.sum.hexdigest() != self.said:
            hint = f"the file is damaged, or another program changed it and kept {DIGEST}."
            raise FormatError(self.where, f"the digest {self.said[:12]}…", f"{self.sum.hexdigest()[:12]}…", hint=hint)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
