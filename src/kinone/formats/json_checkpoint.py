"""JSON checkpoints, `kinone.json.v1`: architecture and weights in one text file.

    {"format": "kinone.json.v1", "kinone": "0.1.0", "arch": {"module": "Linear", "config": {…}},
     "state": {"weight": {"b64": "…", "dtype": "<f4", "shape": [2, 3], "order": "C"}, …}, "digest": "…"}

The digest stands last: the SHA-256, in hexadecimal digits, of all bytes of the text before its first digit.
"""

import hashlib
import json
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterator, Mapping
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone._version import __version__
from kinone.errors import ArgumentError, FormatError
from kinone.formats.atomic import Place, writing
from kinone.formats.compression import compressing
from kinone.formats.contents import ABOUT, FORMAT, Contents, checked, plain, unplain
from kinone.formats.strict_json import Span, parse

Text = bytes | bytearray
CODES = ("<f2", "<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "|b1")
"""The dtypes of arrays; numbers with the large end first (`>f4`) are read, never written."""

_READABLE = {*CODES, *(code.replace("<", ">") for code in CODES)}
_PIECE = 3 << 18  # bytes that become base64 at a time


# ------------------------------------------------------------------------------ out
def write_json(path: Place, contents: Contents, suffix: str = "") -> None:
    """Write them, compressed if the suffix (.gz, .zst) says so."""
    digest = hashlib.sha256()
    with writing(path) as file, compressing(file, suffix) as out:
        for piece in _pieces(contents):
            digest.update(piece)
            out.write(piece)
        out.write(f'{digest.hexdigest()}"}}\n'.encode())


def _pieces(contents: Contents) -> Iterator[bytes]:
    yield f'{{"format":"{FORMAT}","kinone":"{__version__}",\n"arch":'.encode() + _text(contents.arch)
    for name in ABOUT:
        if name in contents.about:
            yield f',\n"{name}":'.encode() + _text(contents.about[name])
    yield b',\n"state":'
    yield from _values(contents.state)
    if contents.training is not None:
        yield b',\n"training":'
        yield from _values(plain(contents.training, "training"))
    yield b',\n"digest":"'


def _values(value: Any) -> Iterator[bytes]:
    """Plain data; each entry of a dict that holds arrays on a line of its own."""
    if isinstance(value, np.ndarray):
        yield from _array_pieces(value)
    elif isinstance(value, dict):
        separator = b"{\n"
        for name, part in value.items():
            yield separator + _text(name) + b":"
            yield from _values(part)
            separator = b",\n"
        yield b"}" if value else b"{}"
    elif isinstance(value, list) and any(isinstance(part, dict | list | np.ndarray) for part in value):
        for i, part in enumerate(value):
            yield b"," if i else b"["
            yield from _values(part)
        yield b"]"
    else:
        yield _text(value)


def _array_pieces(array: NDArray[Any]) -> Iterator[bytes]:
    little = array.dtype.newbyteorder("<")
    if little.str not in CODES:
        raise ArgumentError("save_json", "arrays of numbers", str(array.dtype))
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    flat = np.ascontiguousarray(array.T if order == "F" else array, little).reshape(-1).view(np.uint8)
    yield b'{"b64":"'
    for start in range(0, flat.size, _PIECE):
        yield b2a_base64(flat[start : start + _PIECE].data, newline=False)
    yield f'","dtype":"{little.str}","shape":{_text(list(array.shape)).decode()},"order":"{order}"}}'.encode()


def _text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


# ------------------------------------------------------------------------------ in
Tree = dict[str, Any]
Migrations = Mapping[str, Callable[[Tree, str], Tree]]


def read_json(text: Text, where: str, migrations: Migrations = MappingProxyType({})) -> Contents:
    """The contents of the text; files of another format go through the migrations until they have this one."""
    tree = parse(text, where, limit=len(text) // 4 + (8 << 20), spans=("b64", "digest"))
    if not isinstance(tree, dict) or not isinstance(tree.get("format"), str):
        raise FormatError(where, "a checkpoint with its format", "other JSON")
    _check_digest(text, tree, where)
    tree = {name: _decoded(value, memoryview(text), where) for name, value in tree.items() if name != "digest"}
    for _ in range(len(migrations) + 1):
        if tree["format"] == FORMAT:
            return _contents(tree, where)
        if tree["format"] not in migrations:
            break
        tree = migrations[tree["format"]](tree, where)
    known = ", ".join([FORMAT, *migrations])
    raise FormatError(where, f"one of the formats {known}", repr(tree["format"]))


def _contents(tree: Tree, where: str) -> Contents:
    unknown = tree.keys() - {"format", "kinone", "arch", "state", "training", *ABOUT}
    missing = {"arch", "state"} - tree.keys()
    if unknown or missing:
        got = f"no {missing.pop()}" if missing else f"{sorted(unknown)[0]!r}"
        raise FormatError(where, "arch and state, and what else a checkpoint has", got)
    state = tree["state"]
    if not isinstance(state, dict) or not all(isinstance(value, np.ndarray) for value in state.values()):
        raise FormatError(where, "a state of arrays by path", "something else")
    about = {name: tree[name] for name in ABOUT if name in tree}
    return checked(Contents(state, tree["arch"], about, unplain(tree.get("training"), where)), where)


def _check_digest(text: Text, tree: Tree, where: str) -> None:
    if "digest" not in tree:
        return
    said = tree["digest"]
    if not isinstance(said, Span) or next(reversed(tree)) != "digest":
        raise FormatError(where, "a digest as the last entry", "something else")
    digits = bytes(text[said.start : said.end])
    found = hashlib.sha256(memoryview(text)[: said.start]).hexdigest()
    if digits != found.encode():
        hint = "the file is damaged; if it was changed on purpose, leave the entry out."
        raise FormatError(where, f"the digest {digits[:12].decode(errors='replace')}…", f"{found[:12]}…", hint=hint)


def _decoded(value: Any, text: memoryview, where: str) -> Any:
    if isinstance(value, Span):
        return str(text[value.start : value.end], "ascii", "replace")
    if isinstance(value, list):
        return [_decoded(part, text, where) for part in value]
    if not isinstance(value, dict):
        return value
    if "b64" in value:
        return _array(value, text, where)
    return {name: _decoded(part, text, where) for name, part in value.items()}


def _array(data: Tree, text: memoryview, where: str) -> NDArray[Any]:
    digits, shape, code = data.get("b64"), data.get("shape"), data.get("dtype")
    if data.keys() != {"b64", "dtype", "shape", "order"} or not isinstance(digits, Span):
        raise FormatError(where, "an array as b64, dtype, shape and order", f"one of {', '.join(data)}")
    if not isinstance(code, str) or code not in _READABLE or data["order"] not in ("C", "F"):
        raise FormatError(
            where, f"a dtype of {', '.join(CODES)} and an order C or F", f"{code!r} and {data['order']!r}"
        )
    if not isinstance(shape, list) or len(shape) > 32 or not all(type(n) is int and 0 <= n < 1 << 60 for n in shape):
        raise FormatError(where, "a shape of up to 32 lengths", repr(shape)[:60])
    dtype, length = np.dtype(code), digits.end - digits.start
    size = prod(shape) * dtype.itemsize
    if length != -(-size // 3) * 4 or prod(n or 1 for n in shape) >= 1 << 60:
        raise FormatError(where, f"{-(-size // 3) * 4} digits for {size} bytes of shape {shape}", str(length))
    flat = np.empty(size, np.uint8)
    step = _PIECE // 3 * 4
    for i, start in enumerate(range(digits.start, digits.end, step)):
        try:
            piece = a2b_base64(text[start : min(start + step, digits.end)], strict_mode=True)
            flat[i * _PIECE : (i + 1) * _PIECE] = np.frombuffer(piece, np.uint8)
        except (Base64Error, ValueError) as error:
            raise FormatError(where, "base64", str(error)) from None
    array = flat.view(dtype).astype(dtype.newbyteorder("="), copy=False)
    if code == "|b1" and flat.size and flat.max() > 1:
        raise FormatError(where, "0 and 1 as truth values", str(flat.max()))
    return array.reshape(shape[::-1]).T if data["order"] == "F" else array.reshape(shape)
