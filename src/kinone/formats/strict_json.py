"""JSON, read strictly and within a limit of memory: RFC 8259 with no name twice, no NaN and nothing after the end.

Python's own reader takes two copies of the text and 30 times the length of a text like `[[],[],[]]`. This one counts
what its values will take, and leaves strings of the names that it is told in the text: they come as `Span`.
"""

import json
import re
from dataclasses import dataclass
from math import isfinite
from typing import Any

from kinone.errors import FormatError

_DEPTH = 200
_TOKEN = re.compile(
    rb"[ \t\n\r]*+(?:"
    rb'"(?P<plain>[^"\\\x00-\x1f]*+)"'
    rb"|(?P<mark>[\[\]{},:])"
    rb"|(?P<word>true|false|null)"
    rb"|(?P<number>-?(?:0|[1-9][0-9]*+)(?P<fraction>(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+))"
    rb'|(?P<escaped>"(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+")'
    rb")"
)
_SPACE = re.compile(rb"[ \t\n\r]*+")
_WORDS = {b"true": True, b"false": False, b"null": None}


@dataclass(frozen=True)
class Span:
    """A string that was left where it stands: text[start:end], without its quotes, nothing escaped in it."""

    start: int
    end: int


def parse(text: bytes | bytearray | memoryview, where: str, *, limit: int, spans: tuple[str, ...] = ()) -> Any:
    """The value that the text holds, of at most about `limit` bytes in memory; strings named in `spans` as Span.

    >>> parse(b'{"a": [1, 2.5, null], "b64": "AAAA"}', "example", limit=10_000, spans=("b64",))
    {'a': [1, 2.5, None], 'b64': Span(start=30, end=34)}
    """
    parser = _Parser(text, where, limit, frozenset(spans))
    value = parser.value(parser.token(), _DEPTH)
    parser.end()
    return value


class _Parser:
    def __init__(self, text: Any, where: str, limit: int, spans: frozenset[str]) -> None:
        self.text, self.where, self.left, self.spans = text, where, limit, spans
        self.at = 0
        self.names: dict[bytes, str] = {}
        self.match = _TOKEN.match

    def token(self) -> re.Match[bytes]:
        found = self.match(self.text, self.at)
        if found is None:
            raise self.error("JSON", self.here())
        self.at = found.end()
        return found

    def value(self, found: re.Match[bytes], depth: int, name: str = "") -> Any:
        match found.lastgroup:
            case "plain" | "escaped":
                return self.string(found, name)
            case "word":
                return _WORDS[found["word"]]
            case "number" | "fraction":
                return self.number(found)
        mark = found["mark"]
        if depth == 0:
            raise self.error(f"values at most {_DEPTH} deep", f"more at byte {found.start()}")
        if mark == b"{":
            return self.mapping(depth - 1)
        if mark == b"[":
            return self.sequence(depth - 1)
        raise self.error("a value", self.here(found))

    def mapping(self, depth: int) -> dict[str, Any]:
        self.spend(240)
        result: dict[str, Any] = {}
        found = self.token()
        if found["mark"] == b"}":
            return result
        while True:
            name = self.name(found)
            if name in result:
                raise self.error("each name once", f"{name[:60]!r} twice")
            if self.token()["mark"] != b":":
                raise self.error("a colon", f"none after {name[:60]!r}")
            self.spend(80)
            result[name] = self.value(self.token(), depth, name)
            mark = self.token()["mark"]
            if mark == b"}":
                return result
            if mark != b",":
                raise self.error("a comma or a brace", f"neither after {name[:60]!r}")
            found = self.token()

    def sequence(self, depth: int) -> list[Any]:
        self.spend(64)
        result: list[Any] = []
        found = self.token()
        if found["mark"] == b"]":
            return result
        while True:
            self.spend(12)
            result.append(self.value(found, depth))
            found = self.token()
            mark = found["mark"]
            if mark == b"]":
                return result
            if mark != b",":
                raise self.error("a comma or a bracket", self.here(found))
            found = self.token()

    def name(self, found: re.Match[bytes]) -> str:
        plain = found["plain"]
        if plain in self.names:
            return self.names[plain]
        if found.lastgroup not in ("plain", "escaped"):
            raise self.error("a name", self.here(found))
        name = self.string(found)
        if plain is not None:
            self.names[plain] = name
        return name

    def string(self, found: re.Match[bytes], name: str = "") -> Any:
        is_plain = found.lastgroup == "plain"
        start, end = found.span("plain" if is_plain else "escaped")
        if is_plain and name in self.spans:
            self.spend(120)
            return Span(start, end)
        raw = bytes(self.text[start:end])
        self.spend(80 + (1 if is_plain and raw.isascii() else 4) * len(raw))
        try:
            text = str(raw, "utf-8") if is_plain else json.loads(raw)
            text.encode()  # half a pair of surrogates is no text
        except ValueError:
            raise self.error("text in UTF-8", f"something else at byte {start}") from None
        return text

    def number(self, found: re.Match[bytes]) -> int | float:
        digits = found["number"]
        self.spend(32)
        if len(digits) > 100:
            raise self.error("numbers of at most 100 digits", f"{len(digits)} at byte {found.start()}")
        value = float(digits) if found["fraction"] or digits == b"-0" else int(digits)
        if isinstance(value, float) and not isfinite(value):
            raise self.error("finite numbers", digits.decode())
        return value

    def end(self) -> None:
        found = _SPACE.match(self.text, self.at)
        if found is not None and found.end() != len(self.text):
            raise self.error("nothing after the value", f"{len(self.text) - found.end()} more bytes")

    def spend(self, cost: int) -> None:
        self.left -= cost
        if self.left < 0:
            raise self.error("a text whose values fit in memory", "many more values than such a file has")

    def here(self, found: re.Match[bytes] | None = None) -> str:
        space = _SPACE.match(self.text, self.at if found is None else found.start())
        at = space.end() if space else 0
        rest = bytes(self.text[at : at + 12])
        return f"{rest!r} at byte {at}" if rest else "the end of the text"

    def error(self, expected: str, got: str) -> FormatError:
        return FormatError(self.where, expected, got)
