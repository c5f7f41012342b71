"""Images: what is in a file, however it is stored; what is none is named; made smaller exactly."""

import struct
import zlib
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinone.data.image import decoded, read_gray, resized
from kinone.data.png import gray_png
from kinone.errors import ArgumentError, DataError

cv2: Any = pytest.importorskip("cv2", reason="OpenCV is not installed")

LEVELS = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)


def encoded(kind: str, pixels: Any) -> bytes:
    return cv2.imencode(kind, pixels)[1].tobytes()


def png(columns: int, rows: int, data: bytes, bits: int = 8) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", columns, rows, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_what_is_gray_stays():
    assert np.array_equal(decoded(gray_png(LEVELS)), LEVELS)
    assert np.array_equal(decoded(encoded(".png", LEVELS)), LEVELS)
    same = np.repeat(LEVELS[..., None], 4, 2)
    same[..., 3] = 77
    assert np.array_equal(decoded(encoded(".png", same)), LEVELS), "RGBA, as about 500 of NIH's films are"
    assert np.array_equal(decoded(encoded(".png", same[..., :3])), LEVELS)
    assert np.array_equal(decoded(encoded(".png", LEVELS.astype(np.uint16) * 257)), LEVELS)


def test_colours_are_weighed():
    pixels = np.zeros((1, 3, 3), np.uint8)
    pixels[0, 0, 2] = pixels[0, 1, 1] = pixels[0, 2, 0] = 255  # red, green, blue, as OpenCV orders them
    assert decoded(encoded(".png", pixels)).tolist() == [[76, 150, 29]]


def test_jpeg():
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    assert np.abs(decoded(encoded(".jpg", smooth)).astype(int) - smooth).max() < 12


WHOLE = gray_png(LEVELS)
BROKEN = {
    "an empty file": b"",
    "begins with b'<htm'": b"<html>not found</html>",
    "begins with b'GIF8'": b"GIF89a" + bytes(50),
    "cut off": WHOLE[:200],
    "without a header": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "a JPEG file that is cut off": encoded(".jpg", LEVELS)[:-200],
    "a JPEG file without a size": b"\xff\xd8\xff\xe0\x00\x06abcd\xff\xd9",
    "60000 × 60000 pixels, more than 64,000,000": png(60000, 60000, zlib.compress(bytes(1000))),
    "part IDAT is damaged": WHOLE[:300] + bytes([WHOLE[300] ^ 1]) + WHOLE[301:],
    "damaged or no image": png(30, 20, b"no stream of zlib's"),
}


@pytest.mark.parametrize(("why", "data"), BROKEN.items(), ids=BROKEN)
def test_what_is_no_image_is_named(why, data, tmp_path):
    (tmp_path / "film.png").write_bytes(data)
    with pytest.raises(DataError, match=why) as caught:
        read_gray(tmp_path / "film.png")
    assert "film.png" in str(caught.value)


def test_every_flipped_byte_of_a_film_is_noticed():
    for i in range(8, len(WHOLE)):
        with pytest.raises(DataError):
            decoded(WHOLE[:i] + bytes([WHOLE[i] ^ 0x20]) + WHOLE[i + 1 :])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"the image none\.png, got No such file"):
        read_gray(tmp_path / "none.png")
    with pytest.raises(DataError, match=r"got Is a directory"):
        read_gray(tmp_path)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))
def test_resizing_is_the_rounded_mean_of_areas(rows, columns, new_rows, new_columns, seed):
    levels = np.random.default_rng(seed).integers(0, 256, (rows, columns)).astype(np.uint8)

    def covered(i: int, count: int, n: int) -> list[Fraction]:
        low, high = Fraction(i * n, count), Fraction((i + 1) * n, count)
        return [max(Fraction(0), min(high, Fraction(j + 1)) - max(low, Fraction(j))) for j in range(n)]

    for i, j in np.ndindex(new_rows, new_columns):
        a, b = covered(i, new_rows, rows), covered(j, new_columns, columns)
        total = sum((a[r] * b[c] * int(levels[r, c]) for r, c in np.ndindex(rows, columns)), Fraction(0))
        mean = total / (sum(a) * sum(b))
        assert resized(levels, (new_rows, new_columns))[i, j] == floor(mean + Fraction(1, 2))


def test_large_films_become_small_and_sizes_are_checked():
    film = np.random.default_rng(1).integers(0, 256, (1024, 1024)).astype(np.uint8)
    assert np.array_equal(resized(film, 256), cv2.resize(film, (256, 256), interpolation=cv2.INTER_AREA)) or (
        np.abs(resized(film, 256).astype(int) - cv2.resize(film, (256, 256), interpolation=cv2.INTER_AREA)).max() <= 1
    )
    with pytest.raises(ArgumentError, match="a size ≥ 1"):
        resized(film, 0)
