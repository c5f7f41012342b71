"""What this process runs on: everything outside a configuration that may change bits or speed.

Plain data, read when asked: `kinone doctor` shows it, and the environment record of a run keeps it.
"""

import ctypes
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kinone._version import __version__
from kinone.errors import ArgumentError
from kinone.kernels import dispatch, settings
from kinone.kernels.settings import isa, usable_cores

VARIABLES = {
    "KINONE_KERNELS": "which implementation of the kernels: reference or native",
    "KINONE_ISA": "the instruction set of the native kernels: avx2 or avx512 (or neon), the best by itself",
    "KINONE_THREADS": "the threads of the native kernels, by itself OMP_NUM_THREADS or one for each usable core",
}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

Record = dict[str, Any]


class Requirement(NamedTuple):
    """A package that an extra needs; `installed` is empty where it is missing."""

    package: str
    wanted: str
    installed: str
    is_met: bool


def environment() -> dict[str, Record]:
    """The whole record, by sections.

    >>> environment()["numerics"]["denormals"]
    'kept'
    """
    return {
        "versions": {"kinone": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "machine": machine(),
        "blas": blas(),
        "threads": threads(),
        "native": native(),
        "numerics": {"profile": _profile(), "denormals": "kept" if keeps_denormals() else "flushed to zero"},
        "variables": variables(),
    }


def machine() -> Record:
    """Processor, memory and C library."""
    simd = _show_config().get("SIMD Extensions", {})
    total, available = _memory()
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "usable_cores": usable_cores(),
        "simd": [*simd.get("baseline", []), *simd.get("found", [])],
        "memory_bytes": total,
        "available_bytes": available,
        "libc": " ".join(platform.libc_ver()).strip(),
    }


def threads() -> Record:
    """The variables that limit the threads of NumPy's BLAS, as they are set."""
    return {name: os.environ[name] for name in _THREADS if name in os.environ}


def native() -> Record:
    """The instruction set and the threads of the native kernels; empty where they do not run."""
    try:
        which, _ = dispatch.implementation()
        return {"isa": isa(), "threads": module.threads()} if which == "native" and (module := settings.native) else {}
    except ArgumentError:
        return {}


def _profile() -> str:
    try:
        return dispatch.profile()
    except ArgumentError:
        return "none: the kernels refuse to run"


def variables() -> Record:
    """The variables KINONE_… that are set."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith("KINONE_")}


def blas() -> Record:
    """NumPy's BLAS as it was built and, if it is OpenBLAS, the kernels and threads that it chose here."""
    built = _show_config().get("Build Dependencies", {}).get("blas", {})
    record = {"name": built.get("name", "unknown"), "version": built.get("version", "unknown")}
    library = _openblas()
    if library is not None:
        for name, kind in (("corename", ctypes.c_char_p), ("num_threads", ctypes.c_int)):
            value = _called(library, f"openblas_get_{name}", kind)
            if value is not None:
                record[name] = value.decode() if isinstance(value, bytes) else value
    return record


def keeps_denormals() -> bool:
    """True unless some library has told this thread's processor to take numbers near 0 for 0."""
    for dtype in (np.float32, np.float64):
        least = np.full(32, np.finfo(dtype).smallest_normal, dtype)  # long enough for vector instructions
        half = least * dtype(0.5)
        if not (np.all(half > 0) and np.array_equal(half + half, least)):
            return False
    return True


def extras() -> dict[str, list[Requirement]]:
    """What each extra needs and what of it is installed; empty where Kinone itself is not."""
    found: dict[str, list[Requirement]] = {}
    try:
        lines = metadata.requires("kinone") or []
    except metadata.PackageNotFoundError:
        lines = []
    for line in lines:
        match = re.match(r"([\w.-]+)\s*([^;]*?)\s*;.*extra == ['\"]([\w-]+)['\"]", line)
        if match:
            package, wanted, extra = match.groups()
            found.setdefault(extra, []).append(_requirement(package, wanted))
    return found


def _requirement(package: str, wanted: str) -> Requirement:
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError:
        return Requirement(package, wanted, "", False)
    least = wanted.removeprefix(">=")
    return Requirement(package, wanted, installed, _numbers(installed) >= _numbers(least))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _show_config() -> Record:
    return np.show_config(mode="dicts") or {}  # pyright: ignore[reportReturnType]


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or "unknown"


def _memory() -> tuple[int, int | None]:
    """All of it and, where the system says so, how much is free for a new program, in bytes."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        has_pages = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
        return (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if has_pages else 0), None
    found = dict(re.findall(r"^(MemTotal|MemAvailable):\s*(\d+) kB", text, re.MULTILINE))
    return int(found.get("MemTotal", 0)) * 1024, int(found["MemAvailable"]) * 1024 if "MemAvailable" in found else None


def _openblas() -> ctypes.CDLL | None:
    """The OpenBLAS that this process has loaded, if it has."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    paths = sorted(set(re.findall(r"(/\S*openblas\S*\.so\S*)", maps)))
    try:
        return ctypes.CDLL(paths[0]) if paths else None
    except OSError:
        return None


def _called(library: ctypes.CDLL, name: str, kind: Any) -> Any:
    """What the function says, under the names that builds of OpenBLAS give it."""
    for spelled in (f"scipy_{name}64_", f"{name}64_", f"scipy_{name}", name):
        function = getattr(library, spelled, None)
        if function is not None:
            function.restype, function.argtypes = kind, []
            return function()
    return None
