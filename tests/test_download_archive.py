"""Archives: whatever is in them, they are unpacked whole or nothing is written."""

import gzip
import os
import re
import shutil
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinone.data.archive import Limits, Member, unpack
from kinone.errors import DataError
from packing import GOOD, PNG, films, info, packed, tree

HUGE = packed((info("images/00000001_000.png", 10), b"0123456789"))


def header_with(size: bytes) -> bytes:
    """A header with that field for its size, and the right sum."""
    block = bytearray(HUGE[:512])
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + HUGE[512:]


HOSTILE: dict[str, tuple[bytes, str]] = {
    "up and out": (packed(GOOD, (info("../00000002_000.png"), b"x")), "names such as"),
    "up and out from inside": (packed(GOOD, (info("images/../../00000002_000.png"), b"x")), "names such as"),
    "absolute": (packed(GOOD, (info("/tmp/00000002_000.png"), b"x")), "names such as"),
    "absolute images": (packed(GOOD, (info("/images/00000002_000.png"), b"x")), "names such as"),
    "backslashes": (packed(GOOD, (info("images\\..\\00000002_000.png"), b"x")), "names such as"),
    "another kind of file": (packed(GOOD, (info("images/run.sh"), b"x")), r"names such as .*got 'images/run.sh'"),
    "a hidden name": (packed(GOOD, (info("images/.00000002_000.png"), b"x")), "names such as"),
    "a name that goes on": (packed(GOOD, (info("images/00000002_000.png\n"), b"x")), "names such as"),
    "digits of another script": (packed(GOOD, (info("images/0000000٢_000.png"), b"x")), "names such as"),
    "a symbolic link": (packed(GOOD, (info("images/00000002_000.png", 0, tarfile.SYMTYPE, "/etc"), b"")), "symbolic"),
    "a hard link": (packed(GOOD, (info("images/00000002_000.png", 0, tarfile.LNKTYPE, "/etc"), b"")), "a hard link"),
    "a link for a folder": (packed((info("images", 0, tarfile.SYMTYPE, "/tmp"), b""), GOOD), "link, 'images'"),
    "a device": (packed(GOOD, (info("images/00000002_000.png", 0, tarfile.CHRTYPE), b"")), "a device"),
    "a block device": (packed(GOOD, (info("images/00000002_000.png", 0, tarfile.BLKTYPE), b"")), "a device"),
    "a pipe": (packed(GOOD, (info("images/00000002_000.png", 0, tarfile.FIFOTYPE), b"")), "a pipe"),
    "an unknown kind": (packed(GOOD, (info("images/00000002_000.png", 0, b"Z"), b"")), "a member of kind b'Z'"),
    "another folder": (packed((info("etc", 0, tarfile.DIRTYPE), b""), GOOD), "the folder images"),
    "twice": (packed(GOOD, GOOD), "each file once, got 00000001_000.png twice|each file once in"),
    "twice under two names": (packed(GOOD, (info("./images/00000001_000.png"), b"x")), "each file once"),
    "a long name": (packed(GOOD, (info("images/" + "a" * 200), b"x"), form=tarfile.GNU_FORMAT), "a long name"),
    "a name in an extended header": (
        packed(GOOD, (info("images/" + "b" * 200), b"x"), form=tarfile.PAX_FORMAT), "plain headers",
    ),
    "a size in an extended header": (
        packed((info("x", 0, b"x"), b"20 size=99999999999\n"), GOOD), "plain headers",
    ),
    "a large extended header": (packed((info("x", 0, b"x"), bytes(70_000)), GOOD), "extended headers of at most"),
    "a large file": (packed((info("images/00000001_000.png"), bytes(2001))), "files of at most 2,000 bytes"),
    "many files": (packed(*[(info(f"images/{n:08d}_000.png"), b"") for n in range(6)]), "at most 5 files"),
    "a bomb of padding": (packed(GOOD) + bytes(100_000), "at most 20,000 bytes unpacked"),
    "a claimed size": (header_with(b"77777777777\0"), "files of at most"),
    "a binary size": (header_with(b"\x80" + bytes(10) + b"\x05"), "octal numbers"),
    "a negative size": (header_with(b"-0000000010\0"), "octal numbers"),
    "an empty size": (header_with(b"            "), "octal numbers"),
    "a wrong sum": (HUGE[:100] + b"x" + HUGE[101:], "headers with their sums"),
    "cut off in a header": (HUGE[:300], "cut off"),
    "cut off in a file": (HUGE[:517], "cut off"),
    "cut off before its end": (HUGE[:1024], "cut off"),
    "something after its end": (HUGE[:1024] + bytes(1024) + b"x" * 512, "nothing after its end"),
    "nothing": (bytes(1024), "files in a.tar.gz"),
    "text": (b"not found" * 100, "octal numbers"),
}  # fmt: skip
SMALL = Limits(most_files=5, most_bytes=20_000, most_bytes_each=2_000)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_writes_nothing(tmp_path, case):
    tar, why = HOSTILE[case]
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(tar, 1))
    before = tree(tmp_path)
    with pytest.raises(DataError, match=why):
        unpack(archive, tmp_path / "data" / "images", SMALL)
    assert tree(tmp_path) == before and not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "cut off"), (films(3)[:-9], "damaged"), (films(3)[:-9] + bytes(9), "damaged"), (b"no gzip", "damaged"),
     (films(3) + b"more", "damaged")],
)  # fmt: skip
def test_a_damaged_archive_writes_nothing(tmp_path, data, why):
    (tmp_path / "a.tar.gz").write_bytes(data)
    with pytest.raises(DataError, match=why):
        unpack(tmp_path / "a.tar.gz", tmp_path / "images")
    assert os.listdir(tmp_path) == ["a.tar.gz"]


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    good, archive = films(2), tmp_path / "a.tar.gz"
    archive.write_bytes(good)
    unpack(archive, tmp_path / "good")
    refused = 0
    for i in range(len(good)):
        flipped = good[:i] + bytes([good[i] ^ 0x10]) + good[i + 1 :]
        archive.write_bytes(flipped)
        try:
            unpack(archive, tmp_path / "images")
        except DataError:
            refused += 1
            assert not (tmp_path / "images").exists()
        else:
            assert tree(tmp_path / "images") == tree(tmp_path / "good")
            assert gzip.decompress(flipped) == gzip.decompress(good), "another way to say the same"
            shutil.rmtree(tmp_path / "images")
    assert refused > 0.7 * len(good)


@given(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 255)), min_size=1, max_size=6))
def test_archives_that_were_tampered_with_hold_what_is_expected_or_are_refused(form, changes):
    """Headers with any bytes in them; their sums are put right, or most would end there."""
    tar = bytearray(packed(GOOD, (info("images/00000002_000.png"), b"x" * 300), form=form))
    for at, value in changes:
        tar[at] = value
    for start in (0, 1024):
        tar[start + 148 : start + 156] = b" " * 8
        tar[start + 148 : start + 156] = b"%06o\0 " % sum(tar[start : start + 512])
    with TemporaryDirectory() as folder:
        archive = Path(folder) / "a.tar.gz"
        archive.write_bytes(gzip.compress(bytes(tar), 1))
        try:
            members = unpack(archive, Path(folder) / "data" / "images", SMALL)
        except DataError:
            assert os.listdir(folder) in (["a.tar.gz", "data"], ["data", "a.tar.gz"])
            assert not os.listdir(Path(folder) / "data")
        else:
            found = tree(Path(folder))
            assert set(found) == {"a.tar.gz", *(f"data/images/{member.name}" for member in members)}
            assert all(re.fullmatch("[0-9]{8}_[0-9]{3}[.]png", member.name) for member in members)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_is_unpacked(tmp_path, form):
    folders = [(info(name, 0, tarfile.DIRTYPE), b"") for name in ("images", "./images/")]
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(packed(*folders, GOOD, (info("./images/00000002_013.png"), b"two"), form=form)))
    told = []
    made = unpack(archive, tmp_path / "images", progress=lambda *news: told.append(news))
    assert made == [Member("00000001_000.png", 12), Member("00000002_013.png", 3)]
    assert tree(tmp_path / "images") == {"00000001_000.png": PNG + b"good", "00000002_013.png": b"two"}
    assert told[-1][1] == archive.stat().st_size
    archive.write_bytes(gzip.compress(packed((info("images_003/images/00000003_000.png"), b"three"))))
    unpack(archive, tmp_path / "images")
    assert len(tree(tmp_path / "images")) == 3 and not list(tmp_path.glob(".*"))
