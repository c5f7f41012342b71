"""What a run was computed with: for the record, and what must be the same for its bits to be."""

import hashlib
import os
import platform
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from kinone.errors import StateError
from kinone.kernels import dispatch
from kinone.kernels.environment import environment

_CODE = (".py", ".cpp", ".hpp")
_PACKAGES = ("opencv-python-headless", "opencv-python", "rich", "cyclopts")


@cache
def digest_of_sources() -> str:
    """SHA-256 over the names and contents of Kinone's own source files."""
    root = Path(__file__).resolve().parent.parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix()):
        if path.suffix in _CODE and path.is_file():
            text = path.read_bytes().replace(b"\r\n", b"\n")  # as a checkout on Windows has them
            total.update(f"{path.relative_to(root).as_posix()} {len(text)}\n".encode() + text)
    return total.hexdigest()


def record() -> dict[str, Any]:
    """What environment.json holds: versions, machine, threads, when and how the run was started."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {**environment(), "packages": packages, "sources": digest_of_sources(), "host": platform.node(),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]], "folder": os.getcwd(), "started": started}  # fmt: skip


def check_profile(where: str, profile: str) -> None:
    """Refuse bits of another numerics profile: they are not comparable with this machine's."""
    if profile != dispatch.profile():
        hint = "kinone doctor says which kernels run here, and why."
        raise StateError(where, f"a run of the profile {dispatch.profile()!r}, which this machine has", repr(profile),
                         hint=hint)  # fmt: skip


def check_sources(where: str, sources: str) -> None:
    """Refuse to go on with a run that other sources began: its first line would not be true any more."""
    if sources != digest_of_sources():
        hint = "go on with the version that began it, or start a new run with --load-checkpoint."
        expected = f"a run of these sources ({digest_of_sources()[:12]}…)"
        raise StateError(where, expected, f"one of others ({sources[:12]}…)", hint=hint)
