"""PyTorch's files (`torch.save`: .pt, .pth): a zip archive of a pickle and one entry for each storage.

The pickle is never run: `plain_pickle` reads dicts, lists, tuples, text and numbers, and of PyTorch's names those that
rebuild tensors. Whatever else it names (a class, a function) is refused by that name.
"""

import os
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinone.errors import FormatError
from kinone.formats.atomic import Place
from kinone.formats.plain_pickle import Named, PlainPickle
from kinone.formats.stored_zip import StoredZip

ZIP = b"PK\x03\x04"
LEGACY = (b"\x80\x02\x8a\x0a\x6c\xfc", b"\x80\x02")
_STORAGES = {
    "Double": "f8", "Float": "f4", "Half": "f2", "BFloat16": "bfloat16", "Long": "i8", "Int": "i4", "Short": "i2",
    "Char": "i1", "Byte": "u1", "Bool": "b1",
}  # fmt: skip
_DTYPES = {
    "float64": "f8", "double": "f8", "float32": "f4", "float": "f4", "float16": "f2", "half": "f2",
    "bfloat16": "bfloat16", "int64": "i8", "long": "i8", "int32": "i4", "int": "i4", "int16": "i2", "short": "i2",
    "int8": "i1", "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "bool": "b1",
}  # fmt: skip
_USUAL = ("state_dict", "model_state_dict", "model")


class _Storage:
    """A storage as the pickle names it; its numbers are read when a tensor needs them."""

    def __init__(self, key: str, code: str, size: int) -> None:
        self.key, self.code, self.size = key, code, size


class _Code(str):
    """The name of a dtype, which a dtype that stands in the data alone becomes, and what NumPy calls it."""

    def __new__(cls, name: str, code: str) -> "_Code":
        made = super().__new__(cls, name)
        made.code = code
        return made

    code: str


def load_torch(source: Place | bytes) -> Any:
    """What `torch.save` wrote, with NumPy arrays for its tensors; bfloat16 becomes float32. Nothing in it is run.

    Tensors that share a storage share memory here too.
    """
    if isinstance(source, bytes):
        return _Reader(BytesIO(source), len(source), "torch file").load()
    with open(source, "rb", buffering=0) as file:
        return _Reader(file, os.fstat(file.fileno()).st_size, os.fspath(source)).load()


def legacy(where: str) -> FormatError:
    """What to say of the format that `torch.save` wrote before version 1.6, which is a pickle alone."""
    hint = "with PyTorch: torch.save(torch.load(path, weights_only=True), new_path)."
    return FormatError(where, "a zip file of PyTorch's (1.6 or later)", "a pickle, which we do not run", hint=hint)


class _Reader:
    def __init__(self, file: Any, size: int, where: str) -> None:
        self.where, self.size, self.arrays = where, size, {}
        head = file.read(8)
        if head.startswith(LEGACY):
            raise legacy(where)
        if not head.startswith(ZIP):
            raise FormatError(where, "a zip file of PyTorch's", f"one that begins with {head[:4]!r}")
        self.zip = StoredZip(file, size, where)
        pickles = [name for name in self.zip.entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise FormatError(where, "one data.pkl", f"{len(pickles)}", hint="is it PyTorch's?")
        self.prefix = pickles[0].removesuffix("data.pkl")
        if f"{self.prefix}constants.pkl" in self.zip.entries:
            hint = "torch.save(torch.jit.load(path).state_dict(), new_path)."
            raise FormatError(where, "tensors", "TorchScript, which is a program", hint=hint)
        self.order: Literal["<", ">"] = self.byte_order()

    def load(self) -> Any:
        data = self.zip.read(f"{self.prefix}data.pkl").tobytes()
        machine = PlainPickle(data, self.where, self.names(), self.storage, limit=self.size // 2 + (8 << 20))
        return machine.load()

    def byte_order(self) -> Literal["<", ">"]:
        name = f"{self.prefix}byteorder"
        order = self.zip.read(name).tobytes() if name in self.zip.entries else b"little"
        if order not in (b"little", b"big"):
            raise FormatError(self.where, "byteorder little or big", repr(order[:20]))
        return "<" if order == b"little" else ">"

    def names(self) -> dict[str, Named]:
        called = {
            "collections.OrderedDict": self.ordered, "torch.Size": self.size_of, "torch.device": self.device,
            "torch._utils._rebuild_tensor_v2": self.tensor, "torch._utils._rebuild_tensor_v3": self.typed_tensor,
            "torch._utils._rebuild_parameter": self.parameter,
            "torch._utils._rebuild_parameter_with_state": self.parameter,
        }  # fmt: skip
        known = {name: Named(name, call=call) for name, call in called.items()}
        for kind, code in _STORAGES.items():
            known[f"torch.{kind}Storage"] = Named(kind, value=_Code(f"torch.{kind}Storage", code))
        known["torch.storage.UntypedStorage"] = Named("UntypedStorage", value=_Code("torch.UntypedStorage", "u1"))
        for name, code in _DTYPES.items():
            known[f"torch.{name}"] = Named(name, value=_Code(f"torch.{name}", code))
        return known

    def error(self, expected: str, got: str) -> FormatError:
        return FormatError(self.where, expected, got)

    # ------------------------------------------------------------------------------ what the pickle may call
    def ordered(self, pairs: Any = ()) -> dict[Any, Any]:
        if pairs:
            raise self.error("an OrderedDict that is filled item by item", "one made of a list")
        return {}

    def size_of(self, lengths: Any = ()) -> tuple[int, ...]:
        if not _are_sizes(lengths):
            raise self.error("a torch.Size of lengths", _kind(lengths))
        return tuple(lengths)

    def device(self, kind: Any, index: Any = 0) -> str:
        return kind if isinstance(kind, str) else "cpu"

    def parameter(self, data: Any, requires_grad: Any, hooks: Any = None, state: Any = None) -> NDArray[Any]:
        if not isinstance(data, np.ndarray):
            raise self.error("a parameter of a tensor", _kind(data))
        return data

    def typed_tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any,
        metadata: Any = None,
    ) -> NDArray[Any]:  # fmt: skip
        if not isinstance(dtype, _Code) or not isinstance(storage, _Storage) or storage.code != "u1":
            raise self.error("an untyped storage and a dtype", f"{_kind(storage)} and {_kind(dtype)}")
        each = 2 if dtype.code == "bfloat16" else np.dtype(dtype.code).itemsize
        if storage.size % each:
            raise self.error("a storage of whole elements", f"{storage.size} bytes of {each} each")
        typed = _Storage(storage.key, dtype.code, storage.size // each)
        return self.tensor(typed, offset, size, stride, requires_grad, hooks, metadata)

    def tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None,
        metadata: Any = None,
    ) -> NDArray[Any]:  # fmt: skip
        if not isinstance(storage, _Storage) or not _are_sizes((offset,)) or metadata:
            raise self.error("a tensor as storage, offset, size and stride", _kind(storage))
        if not _are_sizes(size) or not _are_sizes(stride) or len(size) != len(stride) or len(size) > 32:
            raise self.error("a size and a stride of one length", "others")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if 0 not in size and last >= storage.size:
            raise self.error(f"a tensor inside its storage of {storage.size}", f"one up to element {last}")
        values = self.values(storage)
        if 0 in size:
            return np.empty(size, values.dtype) if max(size) < 1 << 30 else self.refuse_size()
        each = values.itemsize
        return np.lib.stride_tricks.as_strided(values[offset:], size, [step * each for step in stride], writeable=False)

    def refuse_size(self) -> NDArray[Any]:
        raise self.error("a size that an array can have", "a longer one")

    # ------------------------------------------------------------------------------ storages
    def storage(self, parts: Any) -> _Storage:
        if type(parts) is not tuple or len(parts) != 5 or parts[0] != "storage":
            raise self.error("a storage", _kind(parts))
        _, code, key, _, size = parts
        if not isinstance(code, _Code) or not isinstance(key, str) or not _are_sizes((size,)):
            raise self.error("a storage's kind, name and size", f"{_kind(code)}, {_kind(key)}, {_kind(size)}")
        return _Storage(key, code.code, size)

    def values(self, storage: _Storage) -> NDArray[Any]:
        """The numbers of a storage, read once however many tensors look at it."""
        place = (storage.key, storage.code)
        if place not in self.arrays:
            if any(key == storage.key for key, _ in self.arrays):
                raise self.error(f"storage {storage.key[:40]!r} of one dtype", "two")
            raw = self.zip.read(f"{self.prefix}data/{storage.key}")
            kind = np.dtype("u2" if storage.code == "bfloat16" else storage.code).newbyteorder(self.order)
            if raw.size != storage.size * kind.itemsize:
                expected = f"{storage.size * kind.itemsize} bytes of storage {storage.key[:40]!r}"
                raise self.error(expected, str(raw.size))
            if kind.kind == "b" and raw.size and raw.max() > 1:
                raise self.error("0 and 1 as truth values", str(raw.max()))
            values = raw.view(kind)
            if storage.code == "bfloat16":  # the upper halves of float32
                wide = values.astype(np.uint32)
                wide <<= 16
                values = wide.view(np.float32)
            self.arrays[place] = values.astype(values.dtype.newbyteorder("="), copy=False)
        array = self.arrays[place]
        if array.size != storage.size:
            raise self.error(f"storage {storage.key[:40]!r} of one size", "two")
        return array


def _are_sizes(value: Any) -> bool:
    return type(value) in (tuple, list) and all(type(n) is int and 0 <= n < 1 << 60 for n in value)


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


# ------------------------------------------------------------------------------ the weights in it
def weights_of(data: Any, where: str) -> dict[str, NDArray[Any]]:
    """The state of a model in what was loaded: it itself, what stands under a usual name, or all of them by path."""
    if _is_state(data):
        return data
    if not isinstance(data, dict):
        raise FormatError(where, "a dict of tensors", _kind(data))
    for name in _USUAL:
        if _is_state(data.get(name)):
            return data[name]
    states: dict[str, dict[str, NDArray[Any]]] = {}
    _collect(data, "", states, set())
    if not states:
        keys = ", ".join(str(key)[:40] for key in list(data)[:8])
        raise FormatError(where, "a dict of tensors", f"a dict of {keys or 'nothing'}")
    if len(states) == 1:
        return next(iter(states.values()))
    return {f"{path}.{name}": array for path, state in states.items() for name, array in state.items()}


def _is_state(data: Any) -> bool:
    return isinstance(data, dict) and all(isinstance(k, str) and isinstance(v, np.ndarray) for k, v in data.items())


def _collect(data: dict[Any, Any], path: str, states: dict[str, dict[str, NDArray[Any]]], seen: set[int]) -> None:
    """The states in nested dicts, by path; a dict that stands in several places, or in itself, counts once."""
    for name, part in data.items():
        if isinstance(name, str) and isinstance(part, dict) and part and id(part) not in seen and path.count(".") < 5:
            seen.add(id(part))
            place = f"{path}.{name}" if path else name
            if _is_state(part):
                states[place] = part
            else:
                _collect(part, place, states, seen)
