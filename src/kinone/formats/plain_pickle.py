"""Pickles of plain data, read without running anything: a machine of 35 opcodes that calls only what it is given.

A pickle is a program. The parts of its language that build dicts, lists, tuples, text and numbers are carried out
here; names of functions are looked up in a table that the caller hands in, and any other name ends the reading.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from kinone.errors import FormatError

Call = Callable[..., Any]


class Named:
    """A name in a pickle that the caller knows: calling it in the pickle calls `call`; alone it is `value`."""

    def __init__(self, name: str, call: Call | None = None, value: Any = None) -> None:
        self.name, self.call, self.value = name, call, value


class PlainPickle:
    """Reads one pickle; `known` are the names that it may use, `persistent` gives what stands outside of it.

    >>> PlainPickle(b"\\x80\\x02}X\\x01\\x00\\x00\\x00aK\\x07s.", "example", {}, lambda parts: None, limit=1000).load()
    {'a': 7}
    >>> PlainPickle(b"cos\\nsystem\\n.", "example", {}, lambda parts: None, limit=1000).load()
    Traceback (most recent call last):
    kinone.errors.FormatError: [example] expected tensors and plain data, got os.system...
    """

    def __init__(
        self, data: bytes, where: str, known: Mapping[str, Named], persistent: Callable[[Any], Any], *, limit: int
    ) -> None:
        self.data, self.where, self.known, self.persistent, self.left = data, where, known, persistent, limit
        self.at = 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # stacks of open marks
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The value that the pickle builds."""
        while True:
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                if len(self.stack) != 1 or self.below:
                    raise self.error("one value", f"{len(self.stack)}")
                return self.bare(self.stack[0])
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise self.error("opcodes that build plain data", f"{code:#04x} at byte {self.at - 1}")
            operation(self)

    # ------------------------------------------------------------------------------ bytes and stack
    def take(self, n: int) -> bytes:
        if n > len(self.data) - self.at:
            raise self.error("a whole pickle", "one that is cut off")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + 200)
        if end < 0:
            raise self.error("a line with a name", "none")
        return self.text(self.take(end + 1 - self.at)[:-1])

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.error("text in UTF-8", repr(raw[:40])) from None

    def pop(self) -> Any:
        if not self.stack:
            raise self.error("a value on the stack", "none")
        return self.stack.pop()

    def push(self, value: Any, cost: int = 40) -> None:
        self.spend(cost)
        self.stack.append(value)

    def spend(self, cost: int) -> None:
        self.left -= cost
        if self.left < 0:
            raise self.error("a pickle whose values fit in memory", "many more than such a file has")

    def bare(self, value: Any) -> Any:
        """What a name stands for; one that is there to be called is no value."""
        if type(value) is not Named:
            return value
        if value.call is not None:
            raise self.error("tensors and plain data", f"{value.name} itself")
        return value.value

    def since_mark(self) -> list[Any]:
        if not self.below:
            raise self.error("a mark", "none")
        items, self.stack = self.stack, self.below.pop()
        return [self.bare(item) for item in items]

    def error(self, expected: str, got: str, hint: str = "") -> FormatError:
        return FormatError(self.where, expected, got, hint=hint)

    # ------------------------------------------------------------------------------ what opcodes do
    def mark(self) -> None:
        self.spend(100)
        self.below.append(self.stack)
        self.stack = []

    def put_text(self, form: str) -> None:
        raw = self.take(self.number(form))
        self.push(self.text(raw), 80 + (1 if raw.isascii() else 4) * len(raw))

    def put_long(self) -> None:
        raw = self.take(self.number("<B"))
        if len(raw) > 16:
            raise self.error("integers of at most 16 bytes", str(len(raw)))
        self.push(int.from_bytes(raw, "little", signed=True))

    def put_tuple(self, items: list[Any]) -> None:
        self.push(tuple(items), 60 + 16 * len(items))

    def put_short_tuple(self, n: int) -> None:
        items = [self.bare(self.pop()) for _ in range(n)]
        self.put_tuple(items[::-1])

    def remember(self, number: int) -> None:
        if not self.stack:
            raise self.error("a value on the stack", "none")
        self.spend(100)
        self.memo[number] = self.stack[-1]

    def recall(self, number: int) -> None:
        if number not in self.memo:
            raise self.error("a value remembered before", f"number {number}")
        self.push(self.memo[number], 10)

    def look_up(self, module: Any, name: Any) -> None:
        full = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "no name"
        full = full.replace("__builtin__.", "builtins.")
        if full not in self.known:
            hint = "save the tensors alone: torch.save(model.state_dict(), path). Nothing of the file was run."
            raise self.error("tensors and plain data", full[:120], hint)
        self.push(self.known[full])

    def look_up_stack(self) -> None:
        name, module = self.pop(), self.pop()
        self.look_up(module, name)

    def call(self) -> None:
        args, what = self.pop(), self.pop()
        if type(what) is not Named or what.call is None or type(args) is not tuple:
            raise self.error("a call of a known name", _kind(what))
        if not _fits(what.call, args):
            raise self.error(f"{what.name} with its arguments", f"{len(args)} of them")
        self.push(what.call(*args), 200)

    def set_state(self) -> None:
        """PyTorch hangs a `_metadata` of versions on its dicts: nothing that we need."""
        state = self.pop()
        if not isinstance(state, dict) or not self.stack or type(self.stack[-1]) is not dict:
            raise self.error("attributes of a dict", _kind(state))

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if type(target) is not list:
            raise self.error("a list to append to", _kind(target))
        self.spend(16 * len(items))
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if type(target) is not dict or len(items) % 2:
            raise self.error("pairs for a dict", _kind(target))
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Tuples of tuples would be hashed by recursion, which a pickle can make endless.
            if not _is_key(key) and not (type(key) is tuple and all(_is_key(part) for part in key)):
                raise self.error("text, numbers and tuples of them as keys", _kind(key))
            self.spend(120)
            target[key] = value

    def two(self) -> list[Any]:
        value, key = self.pop(), self.pop()
        return [self.bare(key), self.bare(value)]


def _is_key(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool)


def _kind(value: Any) -> str:
    return value.name if isinstance(value, Named) else f"a {type(value).__name__}"


def _fits(call: Call, args: tuple[Any, ...]) -> bool:
    code = call.__code__
    most = code.co_argcount - hasattr(call, "__self__")
    return most - len(call.__defaults__ or ()) <= len(args) <= most


def _protocol(machine: PlainPickle) -> None:
    version = machine.number("<B")
    if not 2 <= version <= 5:
        raise machine.error("a pickle of protocol 2 to 5", str(version))


_OPERATIONS: dict[int, Callable[[PlainPickle], Any]] = {
    0x80: _protocol,
    0x95: lambda m: m.take(8),  # FRAME
    ord("("): PlainPickle.mark,
    ord("}"): lambda m: m.push({}, 240),
    ord("]"): lambda m: m.push([], 80),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.put_tuple(m.since_mark()),
    0x85: lambda m: m.put_short_tuple(1),
    0x86: lambda m: m.put_short_tuple(2),
    0x87: lambda m: m.put_short_tuple(3),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    0x8A: PlainPickle.put_long,
    ord("G"): lambda m: m.push(m.number(">d")),
    ord("X"): lambda m: m.put_text("<I"),
    0x8C: lambda m: m.put_text("<B"),
    0x8D: lambda m: m.put_text("<Q"),
    ord("c"): lambda m: m.look_up(m.line(), m.line()),
    0x93: PlainPickle.look_up_stack,
    ord("Q"): lambda m: m.push(m.persistent(m.bare(m.pop()))),
    ord("R"): PlainPickle.call,
    ord("b"): PlainPickle.set_state,
    ord("a"): lambda m: m.extend([m.bare(m.pop())]),
    ord("e"): lambda m: m.extend(m.since_mark()),
    ord("s"): lambda m: m.update(m.two()),
    ord("u"): lambda m: m.update(m.since_mark()),
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    0x94: lambda m: m.remember(len(m.memo)),
}
