"""Texts for models of characters: windows of a text, and the characters that follow."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinone.errors import ArgumentError, DataError


def read_text(path: str | os.PathLike[str]) -> str:
    """A file of UTF-8, with line ends of one kind; what is not UTF-8 is refused, with its place."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        got = f"the byte {error.object[error.start]:#04x} in line {line}"
        raise DataError("text", f"UTF-8 in {path.name}", got) from None
    except OSError as error:
        raise DataError("text", f"the file {path.name}", error.strerror or str(error)) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def split_text(text: str, shares: tuple[float, ...] = (0.9, 0.1)) -> list[str]:
    """Pieces of the text, one after the other: what is tested comes after what was learned.

    >>> split_text("abcdefghij", (0.5, 0.3, 0.2))
    ['abcde', 'fgh', 'ij']
    """
    if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ArgumentError("split_text", "shares that add up to 1", repr(shares))
    ends = [0, *(int(end * len(text) + 0.5) for end in np.cumsum(shares).tolist())]
    return [text[a:b] for a, b in pairwise(ends)]


class TextWindows:
    """`windows[i]` is (x, y): `length` characters as numbers, and for each the one that follows.

    Windows begin every `stride` characters (by default, each where the last ended). `alphabet` has each character once;
    by default those of the text, sorted, as `models.CharacterRNN` takes them.

    >>> windows = TextWindows("abcabd", length=3, stride=2)
    >>> len(windows), windows[1], windows.alphabet
    (2, (array([2, 0, 1]), array([0, 1, 3])), 'abcd')
    """

    def __init__(self, text: str, length: int = 128, *, stride: int | None = None, alphabet: str | None = None) -> None:
        for name, value in (("length", length), ("stride", stride)):
            if (value is not None or name == "length") and (type(value) is not int or value < 1):
                raise ArgumentError("TextWindows", f"{name} ≥ 1", repr(value))
        self.alphabet = "".join(sorted(set(text))) if alphabet is None else alphabet
        if len(set(self.alphabet)) < len(self.alphabet):
            raise ArgumentError("TextWindows", "an alphabet with each character once", repr(self.alphabet))
        number = {character: n for n, character in enumerate(self.alphabet)}
        at = next((at for at, character in enumerate(text) if character not in number), None)
        if at is not None:
            where = f"line {text[:at].count(chr(10)) + 1}"
            raise DataError("TextWindows", "characters of the alphabet", f"{text[at]!r} in {where}")
        if len(text) < length + 1:
            raise DataError("TextWindows", f"a text of at least {length + 1} characters", str(len(text)))
        self.tokens: NDArray[np.int64] = np.array([number[character] for character in text], np.int64)
        self.length, self.stride = length, length if stride is None else stride

    def __len__(self) -> int:
        return (len(self.tokens) - 1 - self.length) // self.stride + 1

    def __getitem__(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self.stride
        return self.tokens[start : start + self.length], self.tokens[start + 1 : start + self.length + 1]
