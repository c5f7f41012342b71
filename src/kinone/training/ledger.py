"""The ledger of a run: one line for each step, each carrying the hash of the line before.

A line is a JSON object in one form only: keys in the order in which `FIELDS` lists them, no spaces, ASCII, real
numbers as C's %a writes them (0x1.8p-3), ended by one newline. The key "prev" is the SHA-256 of the line before, its
newline left out, in hexadecimal; 64 zeros on the first line. So whoever changes, drops, swaps or adds a line changes
every hash after it, the last one being the fingerprint of the run. Only what the computation determines goes in.

    run         what was computed: format, profile, configuration, digests of the data and of Kinone's sources
    step        a step's number, epoch, digest of its sample ids, rate, loss and gradient norm; at times weights
    epoch       what was measured at its end
    replaced    a sample that could not be read, why, and which stood for it
    checkpoint  a file and the digest of what is in it; the file carries the hash of the line before this one
    test        what was measured at the end of the best weights, those after `step`
    end         how many steps there were, and the digest of the last weights

Reading and checking need Python's standard library alone. What a ledger cannot prove: that the data was honest, and,
until someone replays it, that the numbers were computed at all.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from kinone.errors import ArgumentError, FormatError

FORMAT = "kinone.ledger.v1"
FIELDS: dict[str, dict[str, type]] = {
    "run": {"format": str, "profile": str, "config": dict, "data": str, "sources": str},
    "replaced": {"sample": str, "by": str, "why": str},
    "step": {"step": int, "epoch": int, "samples": str, "lr": float, "loss": float, "norm": float},
    "epoch": {"epoch": int, "step": int, "metrics": dict},
    "checkpoint": {"step": int, "file": str, "digest": str},
    "test": {"step": int, "metrics": dict},
    "end": {"steps": int, "weights": str},
}
OPTIONAL: dict[str, dict[str, type]] = {"step": {"weights": str, "optimizer": str}}
ZEROS = "0" * 64


class Entry(NamedTuple):
    """A line: its number from 1, its kind, its fields, the hash it carries and its own."""

    number: int
    kind: str
    fields: dict[str, Any]
    prev: str
    hash: str


# ------------------------------------------------------------------------------ one line
def written(kind: str, fields: dict[str, Any], prev: str) -> bytes:
    """The line, without its newline.

    >>> written("end", {"steps": 2, "weights": "ab"}, "c" * 64)[:40]
    b'{"kind":"end","steps":2,"weights":"ab","'
    """
    shape = {**FIELDS.get(kind, {}), **{k: v for k, v in OPTIONAL.get(kind, {}).items() if k in fields}}
    if not FIELDS.get(kind) or shape.keys() != fields.keys():
        raise ArgumentError(
            "ledger", f"the fields of {kind!r}: {', '.join(shape) or 'no such kind'}", ", ".join(fields)
        )
    ordered = {
        "kind": kind,
        **{name: _plain(fields[name], f"{kind}.{name}", shape[name]) for name in shape},
        "prev": prev,
    }
    return json.dumps(ordered, separators=(",", ":"), allow_nan=False).encode("ascii")


def _plain(value: Any, where: str, kind: type | None = None) -> Any:
    """JSON's kinds alone; real numbers as text, so that no reader can round them."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value).hex()
    if kind is not None and type(value) is not kind:
        raise ArgumentError("ledger", f"{where} to be a {kind.__name__}", f"{value!r}")
    if isinstance(value, float):
        return value.hex()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(part, where) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(value[key], where) for key in sorted(value)}
    raise ArgumentError("ledger", f"{where} of numbers, text, lists and names", f"a {type(value).__name__}")


def plain(fields: dict[str, Any]) -> dict[str, Any]:
    """The value of a field as `read` gives it: names in order, real numbers as text.

    >>> plain({"lr": 0.5, "epochs": 3})
    {'epochs': 3, 'lr': '0x1.0000000000000p-1'}
    """
    return _plain(fields, "config")


def parsed(line: bytes, number: int) -> Entry:
    """A line taken apart; anything but the one form that `written` gives is refused."""
    where = f"ledger, line {number}"
    try:
        data = json.loads(line.decode("ascii"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise FormatError(where, "a JSON object", str(error)) from None
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str) or data["kind"] not in FIELDS:
        raise FormatError(where, f"a kind among {', '.join(FIELDS)}", str(line[:60]))
    kind = data["kind"]
    shape = {**FIELDS[kind], **{k: v for k, v in OPTIONAL.get(kind, {}).items() if k in data}}
    if list(data) != ["kind", *shape, "prev"]:
        raise FormatError(where, f"the keys kind, {', '.join(shape)}, prev", ", ".join(data))
    if not _is_hash(data["prev"]):
        raise FormatError(where, "64 hexadecimal digits in prev", repr(data["prev"])[:80])
    fields = {name: _value(data[name], wanted, f"{where}: {name}") for name, wanted in shape.items()}
    if json.dumps(data, separators=(",", ":")).encode("ascii") != line:
        raise FormatError(where, "JSON without spaces, in the ledger's form", str(line[:60]))
    if any(list(value) != sorted(value) for value in _objects(fields)):
        raise FormatError(where, "names in order", str(line[:60]))
    return Entry(number, kind, fields, data["prev"], hashlib.sha256(line).hexdigest())


def _value(value: Any, wanted: type, where: str) -> Any:
    if wanted is not float:
        if type(value) is not wanted:
            raise FormatError(where, f"a {wanted.__name__}", repr(value)[:60])
        return value
    number = real(value)
    if number is None:
        raise FormatError(where, "a number such as 0x1.8p-3", repr(value)[:60])
    return number


def real(text: Any) -> float | None:
    """The number that a text of the ledger stands for; None if it is not in the one form that it has.

    >>> real("0x1.8000000000000p-3"), real("0x1.8p-3"), real("nan")
    (0.1875, None, nan)
    """
    try:
        number = float.fromhex(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return number if number.hex() == text else None


def _is_hash(text: Any) -> bool:
    return isinstance(text, str) and len(text) == 64 and not set(text) - set("0123456789abcdef")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """The named values inside `value`, at any depth, the fields themselves aside."""
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(part, dict):
            yield part
        yield from _objects(part)


# ------------------------------------------------------------------------------ a whole ledger
@dataclass(frozen=True)
class Chain:
    """What stands in a ledger, as far as it holds together, and what is wrong with it."""

    entries: list[Entry]
    faults: list[str] = field(default_factory=list)
    is_torn: bool = False  # the last line has no end, as after a crash in the middle of writing it

    @property
    def head(self) -> str:
        """The hash of the last line: the run's fingerprint once it is closed."""
        return self.entries[-1].hash if self.entries else ZEROS

    @property
    def is_closed(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.entries) and self.entries[-1].kind == "end"


def read(path: str | os.PathLike[str]) -> Chain:
    """All lines and all faults of the chain: form, hashes, order of steps, opening and closing."""
    data = Path(path).read_bytes()
    lines = data.split(b"\n")
    torn = lines.pop()
    entries: list[Entry] = []
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            entry = parsed(line, number)
        except FormatError as error:
            faults.append(str(error))
            break
        if entry.prev != (entries[-1].hash if entries else ZEROS):
            faults.append(f"line {number}: the hash of the line before is another")
        entries.append(entry)
    faults += _order(entries)
    return Chain(entries, faults, bool(torn))


def _order(entries: list[Entry]) -> list[str]:
    """What must follow what: a run first, steps one by one, epochs that never fall, nothing after the end."""
    faults: list[str] = []
    step = epoch = 0
    weights = ""  # after the last step, if its line says so
    for entry in entries:
        where, fields = f"line {entry.number}", entry.fields
        if (entry.kind == "run") is not (entry.number == 1):
            faults.append(f"{where}: a ledger has one line of the run, its first")
        if entry.kind == "run" and fields["format"] != FORMAT:
            faults.append(f"{where}: format {fields['format']!r}, this reads {FORMAT!r}")
        if entry.kind == "step":
            step += 1
            if fields["step"] != step or fields["epoch"] not in (epoch, epoch + 1):
                faults.append(f"{where}: step {fields['step']} of epoch {fields['epoch']} after {step - 1} of {epoch}")
            step, epoch, weights = fields["step"], fields["epoch"], fields.get("weights", "")
        if entry.kind in ("checkpoint", "epoch") and fields["step"] != step:
            faults.append(f"{where}: a {entry.kind} at step {fields['step']} after step {step}")
        if entry.kind == "end" and (fields["steps"] != step or entry is not entries[-1]):
            faults.append(f"{where}: an end after {fields['steps']} steps, with {step} and more lines before or after")
        if entry.kind == "end" and weights and fields["weights"] != weights:
            faults.append(f"{where}: other weights at the end than after the last step")
    return faults


class Ledger:
    """A ledger that is being written; each line is handed to the system before the next step begins.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "ledger.jsonl"
    >>> with Ledger(place) as ledger:
    ...     ledger.open_run(profile="kn1", config={"lr": 0.1}, data="d", sources="s")
    ...     ledger.add("end", steps=0, weights="w")
    >>> read(place).is_closed, read(place).faults
    (True, [])
    """

    def __init__(self, path: str | os.PathLike[str], head: str = ZEROS) -> None:
        """A new ledger; with `head`, the one that is there, after the line with that hash: what follows is cut off."""
        self.path = Path(path)
        if head == ZEROS:
            self._file = self.path.open("xb")
        else:
            end = self._end_of(head)
            self._file = self.path.open("r+b")
            self._file.truncate(end)
            self._file.seek(end)
        self.head = head

    def _end_of(self, head: str) -> int:
        end = 0
        with self.path.open("rb") as file:
            for line in file:
                end += len(line)
                if hashlib.sha256(line.rstrip(b"\n")).hexdigest() == head and line.endswith(b"\n"):
                    return end
        raise FormatError(str(self.path), f"a line with the hash {head[:16]}…, at which to go on", "none")

    def open_run(self, *, profile: str, config: dict[str, Any], data: str, sources: str) -> None:
        """Write the first line."""
        self.add("run", format=FORMAT, profile=profile, config=config, data=data, sources=sources)

    def add(self, kind: str, **fields: Any) -> None:
        """Write a line."""
        line = written(kind, fields, self.head)
        self._file.write(line + b"\n")
        self._file.flush()
        self.head = hashlib.sha256(line).hexdigest()

    def sync(self) -> None:
        """Have what is written on the disk: before a checkpoint that refers to it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; whether the run has ended, its last line says."""
        if not self._file.closed:
            try:
                self._file.flush()
                self.sync()
            finally:
                self._file.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# ------------------------------------------------------------------------------ digests that lines carry
def digest_of_ids(ids: Any) -> str:
    """Of the samples of a step, in their order.

    >>> digest_of_ids([3, 1])[:8]
    '5cc133d7'
    """
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


def digest_of_state(state: dict[str, Any]) -> str:
    """Of arrays and plain values by name: SHA-256 over a line for each, in the order of the names.

    Of an array that is `name dtype shape digest`, the digest being that of its little-endian bytes in C's order; of
    another value its name and its JSON in the ledger's form.

    >>> digest_of_state({"lr": 0.5}) == hashlib.sha256(b'lr "0x1.0000000000000p-1"\\n').hexdigest()
    True
    """
    arrays = {name: getattr(value, "data", value) if not hasattr(value, "tobytes") else value  # of a Tensor, its array
              for name, value in state.items() if hasattr(value, "dtype")}  # fmt: skip
    size = sum(array.nbytes for array in arrays.values())
    with ThreadPoolExecutor(2 if size > 1 << 20 else 1) as pool:
        lines = dict(zip(arrays, pool.map(_digest_of_array, arrays.values()), strict=True))
    total = hashlib.sha256()
    for name in sorted(state):
        line = lines.get(name) or json.dumps(_plain(state[name], name), separators=(",", ":"))
        total.update(f"{name} {line}\n".encode())
    return total.hexdigest()


def _digest_of_array(array: Any) -> str:
    kind = array.dtype.newbyteorder("<")
    flat = array.astype(kind, order="C", copy=False).reshape(-1)
    return f"{kind.str} {array.shape} {hashlib.sha256(flat.view('u1').data).hexdigest()}"
