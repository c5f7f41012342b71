"""Twenty and more kinds of image: those that can be read read right, all others are named, and replaced in a run."""

import base64
import os
import re
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinone.cli import main
from kinone.data import ChestFilms, ChestModule
from kinone.data.demo import DemoSpec, make_demo
from kinone.data.image import read_colours, read_gray
from kinone.data.png import gray_png
from kinone.errors import DataError
from kinone.training import ledger
from kinone.training.replay import replay
from kinone.training.session import begin
from runs import small

cv2: Any = pytest.importorskip("cv2", reason="needs kinone[data]")

LEVELS = np.add.outer(np.arange(24) * 5, np.arange(32) * 4).astype(np.uint8)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encoded(kind: str, pixels: Any) -> bytes:
    return cv2.imencode(kind, pixels)[1].tobytes()


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(size: tuple[int, int], data: bytes, bits: int = 8, colour: int = 0, is_interlaced: bool = False,
        before: bytes = b"") -> bytes:  # fmt: skip
    """A file with that content of its pixels, (rows, columns), before compression."""
    header = struct.pack(">IIBBBBB", size[1], size[0], bits, colour, 0, 0, is_interlaced)
    return SIGNATURE + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND")


def lines(pixels: Any) -> bytes:
    """Rows as PNG has them, each after the number of its filter, none."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def interlaced(pixels: Any) -> bytes:
    passes = (pixels[row::down, column::across] for row, column, down, across in PASSES)
    return png(pixels.shape, b"".join(lines(part) for part in passes), is_interlaced=True)


def palette(pixels: Any, *more: bytes) -> bytes:
    """Each level by way of a table in which they stand the other way round."""
    table = np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes()
    return png(pixels.shape, lines(255 - pixels), colour=3, before=chunk(b"PLTE", table) + b"".join(more))


def exif(orientation: int, order: str = ">") -> bytes:
    head = b"MM\0*" if order == ">" else b"II*\0"
    return head + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def turned(orientation: int, order: str = ">") -> bytes:
    body = exif(orientation, order)
    return png(LEVELS.shape, lines(LEVELS), before=chunk(b"eXIf", body))


def upright(orientation: int) -> Any:
    """By the specification: at which sides row 0 and column 0 of what is stored are to be seen."""
    sides = ("top left", "top right", "bottom right", "bottom left", "left top", "right top", "right bottom",
             "left bottom")[orientation - 1]  # fmt: skip
    seen = LEVELS if sides.startswith(("top", "bottom")) else LEVELS.T
    return seen[:: -1 if "bottom" in sides else 1, :: -1 if "right" in sides else 1]


WHOLE = gray_png(LEVELS)
COLOURS = np.dstack([LEVELS, LEVELS, LEVELS, np.full_like(LEVELS, 7)])
ONES = (LEVELS > 99).astype(np.uint8)
JPEG = encoded(".jpg", LEVELS)


def with_exif(body: bytes) -> bytes:
    return JPEG[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(body)) + b"Exif\0\0" + body + JPEG[2:]


THUMBNAIL = with_exif(JPEG)
# Two halves, 100 and 200, in cyan, magenta, yellow and black.
CMYK = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcGBggLCAkKCgoKCgYICwwLCgwJ"
    "CgoK/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAcJ/8QAGBAAAgMAAAAAAAAAAAAAAAAAAAlHhcT/2gAOBEMATQBZ"
    "AEsAAD8AWFKSBVbBYUpIFVsFhSkgVWwv4f/Z"
)

READ: dict[str, tuple[bytes, Any, int]] = {  # and by how much a level may be off, where it was stored with a loss
    "RGBA": (encoded(".png", COLOURS), LEVELS, 0),
    "RGB": (encoded(".png", COLOURS[..., :3]), LEVELS, 0),
    "gray with alpha": (png(LEVELS.shape, lines(np.dstack([LEVELS, 255 - LEVELS])), colour=4), LEVELS, 0),
    "16 bits": (encoded(".png", LEVELS.astype(np.uint16) * 257), LEVELS, 0),
    "16 bits RGBA": (encoded(".png", COLOURS.astype(np.uint16) * 257), LEVELS, 0),
    "1 bit": (png(ONES.shape, lines(np.packbits(ONES, axis=1)), bits=1), ONES * 255, 0),
    "4 bits": (png(LEVELS.shape, lines((LEVELS[:, ::2] & 0xF0) | (LEVELS[:, 1::2] >> 4)), bits=4),
               (LEVELS >> 4) * 17, 0),
    "palette": (palette(LEVELS), LEVELS, 0),
    "palette with transparency": (palette(LEVELS, chunk(b"tRNS", bytes(256))), LEVELS, 0),
    "interlaced": (interlaced(LEVELS), LEVELS, 0),
    "garbage behind the end of a PNG": (WHOLE + b"<html>" * 99, LEVELS, 0),
    "garbage behind the end of a JPEG": (JPEG + b"<html>" * 99, LEVELS, 6),
    "a JPEG in a JPEG": (THUMBNAIL, LEVELS, 6),
    "progressive JPEG": (cv2.imencode(".jpg", LEVELS, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(), LEVELS, 6),
    "restarts in a JPEG": (cv2.imencode(".jpg", LEVELS, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes(), LEVELS, 6),
    "CMYK JPEG": (CMYK, np.repeat([[100] * 4 + [200] * 4], 8, 0), 2),
    "all black": (gray_png(LEVELS * 0), LEVELS * 0, 0),
    "one pixel": (gray_png(LEVELS[:1, :1]), LEVELS[:1, :1], 0),
    **{f"EXIF {k}": (turned(k), upright(k), 0) for k in range(1, 9)},
    "EXIF, least byte first": (turned(6, "<"), upright(6), 0),
    "EXIF that is none": (png(LEVELS.shape, lines(LEVELS), before=chunk(b"eXIf", b"MM\0*\0\0\0\xff")), LEVELS, 0),
    "EXIF in a JPEG": (with_exif(exif(8)), upright(8), 6),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_what_can_be_read_reads_right_whatever_its_name_says(kind: str, tmp_path: Path):
    data, expected, most = READ[kind]
    for suffix in ("png", "jpg"):
        file = tmp_path / f"film.{suffix}"
        file.write_bytes(data)
        found = read_gray(file)
        assert found.shape == expected.shape and found.dtype == np.uint8 and found.flags.c_contiguous
        assert np.abs(found.astype(int) - expected).max() <= most
        colours = read_colours(file)
        assert colours.shape == (3, *expected.shape) and np.abs(colours.astype(int) - expected).max() <= most


def written(data: bytes) -> Callable[[Path], Any]:
    return lambda file: file.write_bytes(data)


def forbidden(file: Path) -> None:
    file.write_bytes(WHOLE)
    file.chmod(0)


MANY = 60_000  # rows and columns that a header claims
HUGE_JPEG = re.sub(rb"(\xff\xc0..\x08)....", lambda m: m[1] + b"\xea\x60" * 2, JPEG, flags=re.DOTALL)
BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "zero bytes": (written(b""), "an empty file"),
    "a truncated PNG": (written(WHOLE[: len(WHOLE) // 2]), "a PNG file that is cut off"),
    "a PNG without its last byte": (written(WHOLE[:-1]), "a PNG file that is cut off"),
    "a truncated JPEG": (written(JPEG[: len(JPEG) // 2]), "a JPEG file that is cut off"),
    "a truncated JPEG with a thumbnail": (written(THUMBNAIL[:-40]), "a JPEG file that is cut off"),
    "a JPEG without its last byte": (written(JPEG[:-1]), "a JPEG file that is cut off"),
    "a damaged PNG": (written(WHOLE[:60] + bytes([WHOLE[60] ^ 1]) + WHOLE[61:]), "part IDAT is damaged"),
    "a PNG of no pixels": (written(png((0, 32), b"")), "a PNG file whose header cannot be"),
    "a PNG without pixels": (written(SIGNATURE + WHOLE[8:33] + chunk(b"IEND")), "a PNG file without pixels"),
    "pixels that are too few": (written(png((24, 32), b"")), "damaged or no image"),
    "a PNG of no known colours": (written(png((24, 32), bytes(99), colour=5)), "a PNG file whose header cannot be"),
    "a huge header": (written(png((MANY, MANY), b"\0" * 99)), "60000 × 60000 pixels, more than 64,000,000"),
    "a huge header of a JPEG": (written(HUGE_JPEG), "60000 × 60000 pixels, more than"),
    "a decompression bomb": (written(png((MANY, MANY), bytes(10**7))), "60000 × 60000 pixels, more than 64,000,000"),
    "a bomb of text": (
        written(SIGNATURE + WHOLE[8:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7))) + WHOLE[33:90]),
        "cut off"),
    "not an image": (written(b"<html>not found</html>"), "begins with b'<htm'"),
    "an animated GIF": (
        written(b"GIF89a\1\0\1\0\x80" + bytes(5) + b"\xff" * 3 + b"!\xf9\4\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\1D\0" * 2),
        "begins with b'GIF8'"),
    "a TIFF of floats": (written(encoded(".tiff", LEVELS.astype(np.float32))), "begins with b'II"),
    "a BMP": (written(encoded(".bmp", LEVELS)), "begins with b'BM"),
    "a WebP": (written(encoded(".webp", LEVELS)), "begins with b'RIFF'"),
    "a pickle": (written(b"\x80\x04cos\nsystem\n"), r"begins with b'\\x80\\x04co'"),
    "a missing file": (lambda file: None, "No such file"),
    "a directory": (lambda file: file.mkdir(), "Is a directory"),
    "a dangling link": (lambda file: file.symlink_to("nowhere.png"), "No such file"),
    "a link to itself": (lambda file: file.symlink_to(file), "symbolic links"),
    "no permission": (forbidden, "Permission denied"),
}  # fmt: skip
ABSENT = ("a missing file", "a directory", "a dangling link", "a link to itself")
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def spoil(kind: str, file: Path) -> None:
    if kind == "no permission" and IS_ROOT:
        pytest.skip("root may read everything")
    file.unlink(missing_ok=True)
    BROKEN[kind][0](file)


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_read_is_named(kind: str, tmp_path: Path):
    spoil(kind, tmp_path / "film.png")
    for read in (read_gray, read_colours):
        with pytest.raises(DataError, match=BROKEN[kind][1]) as caught:
            read(tmp_path / "film.png")
        assert "film.png" in str(caught.value)


# ------------------------------------------------------------------------------ in a run
SPOILT = [kind for kind in BROKEN if kind not in ABSENT and not (kind == "no permission" and IS_ROOT)]


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """Demo films of which one of each kind is broken, with the names of the broken ones in broken.txt."""
    place = make_demo(tmp_path / "demo", DemoSpec(patients=24, size=64))
    files = sorted((place / "images").iterdir())
    for kind, file in zip(SPOILT, files[:: len(files) // len(SPOILT)], strict=False):
        spoil(kind, file)
    return place


def test_a_run_names_all_of_them_in_its_ledger_and_replaces_them(spoilt: Path, tmp_path: Path):
    config = small(spoilt, data={"most_broken": len(SPOILT)}, loop={"max_steps": 4})
    run = begin(config, tmp_path / "run").run
    noted = [entry.fields for entry in ledger.read(run.ledger).entries if entry.kind == "replaced"]
    assert len(noted) == len(SPOILT) >= 20
    for fields, kind in zip(sorted(noted, key=lambda f: f["sample"]), SPOILT, strict=True):
        assert re.search(BROKEN[kind][1], fields["why"])
    data = ChestModule(spoilt, size=16, most_broken=99, validation_share=0.3)
    part_of = {name: part for part in ("train", "validation", "test") for name in (data.setup(), data.names(part))[1]}
    broken = {fields["sample"] for fields in noted}
    for fields in noted:
        assert part_of[fields["by"]] == part_of[fields["sample"]] and fields["by"] not in broken
        assert str(tmp_path) not in fields["why"], "what stands in a ledger depends on no machine"
    elsewhere = config.changed({"machine": {"threads": 2, "workers": 1, "cache": str(tmp_path / "cache")}})
    again = begin(elsewhere, tmp_path / "again")
    assert again.run.ledger.read_bytes() == run.ledger.read_bytes()
    assert replay(run.path).is_equal


def test_beyond_the_limit_the_run_stops_with_the_list(spoilt: Path, tmp_path: Path, capsys: Any):
    pytest.importorskip("cyclopts", reason="needs kinone[cli]")
    words = ["train", f"--dir={spoilt}", "--set=data.patients=24", "--image-size=16", f"--run-dir={tmp_path / 'run'}"]
    words.append(f"--set=data.most_broken={len(SPOILT) - 1}")
    with pytest.raises(SystemExit) as end:
        main(words)
    err = capsys.readouterr().err
    assert end.value.code == 2 and err.count("\n") == 1 and not (tmp_path / "run").exists()
    told = re.findall(r"(\d{8}_\d{3}\.png): (.*?)(?=; \d{8}_|\. Hint)", err)
    assert len(told) == len(SPOILT) and sorted(told) == told
    for (_, why), kind in zip(told, SPOILT, strict=True):
        assert re.search(BROKEN[kind][1], why)
    assert "most_broken" in err and not list((spoilt / "cache").glob("films*"))


@pytest.mark.parametrize("kind", ABSENT)
def test_what_is_not_there_at_all_is_missing_rather_than_broken(kind: str, tmp_path: Path):
    place = make_demo(tmp_path / "demo", DemoSpec(patients=12, size=32))
    file = sorted((place / "images").iterdir())[3]
    spoil(kind, file)
    with pytest.raises(DataError, match=rf"1 without one: {file.name}.*is_partial"):
        ChestFilms(place)
    assert file.name not in [film.name for film in ChestFilms(place, is_partial=True).films]


def test_neighbours_of_broken_films_are_their_own(spoilt: Path):
    """Whatever is broken moves no other film's pixels or labels."""
    films = ChestFilms(spoilt, size=16, most_broken=99)
    films.prepare()
    for at, (film, path) in enumerate(zip(films.films, films.paths, strict=True)):
        if film.name not in films.replaced:
            assert films.name_of(at) == film.name == path.name
            assert films.labels_of([at])[0].tolist() == [float(f in film.findings) for f in films.classes]
    whole = [at for at, film in enumerate(films.films) if film.name not in films.replaced]
    assert len({films.levels(at).tobytes() for at in whole}) == len(whole) and all(a < b for a, b in pairwise(whole))
