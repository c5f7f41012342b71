"""Data sets that are texts: the windows that cover them, and texts that are refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinone.data.text import TextWindows, read_text, split_text
from kinone.errors import ArgumentError, DataError
from kinone.models import CharacterRNN


def test_windows_of_a_text():
    text = "the quick brown fox"
    windows = TextWindows(text, 5)
    assert len(windows) == 3
    for i in range(3):
        x, y = windows[i]
        assert "".join(windows.alphabet[n] for n in x) == text[5 * i : 5 * i + 5]
        assert "".join(windows.alphabet[n] for n in y) == text[5 * i + 1 : 5 * i + 6]
    with pytest.raises(IndexError):
        windows[3]
    model = CharacterRNN(windows.alphabet, hidden_size=4)
    assert np.array_equal(model.encode(text), windows.tokens)
    assert TextWindows("abba", 2, alphabet="xba").tokens.tolist() == [2, 1, 1, 2]


@given(st.integers(2, 60), st.integers(1, 20), st.integers(1, 20))
def test_windows_cover_what_fits(n, length, stride):
    if n <= length:
        with pytest.raises(DataError, match=f"a text of at least {length + 1} characters, got {n}"):
            TextWindows("a" * n, length)
        return
    windows: Any = TextWindows("ab" * n, length, stride=stride)
    assert len(windows) == len(list(windows)) and (len(windows) - 1) * stride + length + 1 <= 2 * n
    assert len(windows) * stride + length + 1 > 2 * n and all(len(x) == len(y) == length for x, y in windows)


def test_texts_that_are_wrong_are_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntwo\rthree\n".encode())
    assert read_text(tmp_path / "a.txt") == "one\ntwo\nthree\n"
    (tmp_path / "a.txt").write_bytes(b"one\ntw\xff")
    with pytest.raises(DataError, match=r"UTF-8 in a\.txt, got the byte 0xff in line 2"):
        read_text(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"the file b\.txt, got No such file"):
        read_text(tmp_path / "b.txt")
    with pytest.raises(DataError, match="characters of the alphabet, got 'c' in line 2"):
        TextWindows("ab\nc", 2, alphabet="ab\n")
    with pytest.raises(ArgumentError, match="each character once"):
        TextWindows("ab", 1, alphabet="aab")
    options: Any
    for options in ({"length": 0}, {"stride": 0}, {"length": 2.0}):
        with pytest.raises(ArgumentError, match="≥ 1"):
            TextWindows("abc", **options)
    with pytest.raises(ArgumentError, match="shares that add up to 1"):
        split_text("abc", (0.5, 0.4))
    assert "".join(split_text("abcdefg", (0.34, 0.33, 0.33))) == "abcdefg"
