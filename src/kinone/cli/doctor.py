"""`kinone doctor`: what is installed, what runs, and whether it works."""

import json as json_format
import time
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import kinone as kn
from kinone import kernels
from kinone.cli.terminal import BAD, DIM, GOOD, TITLE, WARN, console
from kinone.errors import ArgumentError, MissingExtraError, NumericsError
from kinone.kernels import dispatch
from kinone.kernels.environment import VARIABLES, Requirement, environment, extras, keeps_denormals
from kinone.kernels.random.reference import philox4x32

_PHILOX = ("6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8")  # of the counter 0 and the key 0, from its authors

Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def doctor(*, json: Flag = False) -> int:
    """Say what is installed, which kernels run and why, and test that they work; exit 1 if something is broken.

    For example:

        kinone doctor
        kinone doctor --json > environment.json

    Parameters
    ----------
    json
        Print JSON instead of tables.
    """
    found, parts = environment(), extras()
    checks = [_checked(name, check) for name, check in _CHECKS.items()]
    if json:
        report = {
            **found, "kernels": _kernels(), "checks": checks,
            "extras": {extra: [r._asdict() for r in wanted] for extra, wanted in parts.items()},
        }  # fmt: skip
        print(json_format.dumps(report, ensure_ascii=False, indent=1))
    else:
        _show(found, parts, checks)
    return 0 if all(check["is_passed"] for check in checks) else 1


# ------------------------------------------------------------------------------ the self test
def _obeyed() -> str:
    return "{}, since {}".format(*dispatch.implementation())


def _unflushed() -> str:
    if not keeps_denormals():
        hint = "a library that was built with -ffast-math sets flush-to-zero when it is loaded."
        raise NumericsError("doctor", "2⁻¹²⁷ > 0 in float32", "0", hint=hint)
    return "numbers near 0 are not taken for 0"


def _philox() -> str:
    got = tuple(f"{word:08x}" for word in philox4x32(np.zeros(4, np.uint32), np.zeros(2, np.uint32)))
    if got != _PHILOX:
        raise NumericsError("doctor", " ".join(_PHILOX), " ".join(got))
    return "Philox 4×32-10 gives its authors' numbers"


def _gradient() -> str:
    def f(x: Any, w: Any) -> Any:
        return kn.softmax(kn.tanh(kn.matmul(x, w)), axis=-1)

    x, w = kn.random.Stream("doctor").normal((2, 3, 4), dtype=np.float64)
    first, second = kn.gradcheck(f, x, w.T), kn.gradgradcheck(f, x, w.T)
    return f"relative errors {max(first.errors):.0e} and, to second order, {max(second.errors):.0e}"


def _ranges() -> str:
    old = [f"{r.package} {r.installed} (needs {r.wanted})" for part in extras().values() for r in part
           if r.installed and not r.is_met]  # fmt: skip
    if old:
        raise MissingExtraError("doctor", "packages that are new enough", ", ".join(old))
    return "what is installed of the extras is new enough"


_CHECKS: dict[str, Callable[[], str]] = {
    "kernels": _obeyed, "denormals": _unflushed, "random numbers": _philox, "gradients": _gradient, "extras": _ranges,
}  # fmt: skip


def _checked(name: str, check: Callable[[], str]) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        is_passed, said = True, check()
    except Exception as error:  # noqa: BLE001 # whatever is wrong, the doctor's task is to say so
        is_passed, said = False, str(error) or type(error).__name__
    return {"name": name, "is_passed": is_passed, "said": said, "seconds": time.perf_counter() - start}


# ------------------------------------------------------------------------------ the tables
def _kernels() -> list[dict[str, str]]:
    try:
        return [vars(choice) for choice in kernels.explain()]
    except ArgumentError:
        return []


def _show(found: dict[str, Any], parts: dict[str, list[Requirement]], checks: list[dict[str, Any]]) -> None:
    out = console()
    m, b = found["machine"], found["blas"]
    free = "" if m["available_bytes"] is None else f", {_size(m['available_bytes'])} available"
    chosen = ", ".join(f"{word} {b[key]}" for key, word in (("corename", "kernels for"), ("num_threads", "threads"))
                       if key in b)  # fmt: skip
    limits = ", ".join(f"{name}={value}" for name, value in found["threads"].items())
    known = [f"{name}={value}" + ("" if name in VARIABLES else "  (unknown, has no effect)")
             for name, value in found["variables"].items()]  # fmt: skip
    unset = [f"{name} not set: {about}" for name, about in VARIABLES.items() if name not in found["variables"]]
    counts = Counter((f"{k['implementation']} ({k['why']})", k["family"]) for k in _kernels())
    in_use = [f"{which}: " + ", ".join(f"{family} {n}" for (same, family), n in counts.items() if same == which)
              for which in dict.fromkeys(which for which, _ in counts)]  # fmt: skip
    rows: dict[str, dict[str, str]] = {
        "versions": {"Kinone": found["versions"]["kinone"], "Python": found["versions"]["python"],
                     "NumPy": found["versions"]["numpy"],
                     "BLAS": f"{b['name']} {b['version']}" + (f" ({chosen})" if chosen else "")},
        "machine": {"CPU": f"{m['cpu']} ({m['architecture']})", "cores": f"{m['usable_cores']} of {m['cores']} usable",
                    "SIMD": " ".join(m["simd"]), "memory": f"{_size(m['memory_bytes'])}{free}",
                    "system": f"{m['system']}, {m['libc']}" if m["libc"] else m["system"]},
        "numbers": {"profile": _profile(found["numerics"]["profile"]),
                    "kernels": "\n".join(in_use) or "none: they refuse to run, see below",
                    "native": ", ".join(f"{name} {value}" for name, value in found["native"].items()) or "not in use",
                    "BLAS threads": limits or f"no limit is set: it takes what it finds ({m['usable_cores']} cores)",
                    "variables": "\n".join([*known, *unset])},
        "extras": {extra: _extra(extra, wanted) for extra, wanted in parts.items()},
    }  # fmt: skip
    for title, facts in rows.items():
        out.print(Text(f"\n{title}", TITLE))
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(width=12)
        for name, text in facts.items():
            style = WARN if text.startswith("missing") or "unknown," in text else ""
            table.add_row(Text(name, DIM), Text(text, style))
        out.print(Padding(table, (0, 0, 0, 2)))
    out.print(Text("\nself test", TITLE))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(width=14)
    for check in checks:
        mark = Text("✓", GOOD) if check["is_passed"] else Text("✗", BAD)
        table.add_row(Text(check["name"], DIM), mark, Text(check["said"], "" if check["is_passed"] else BAD))
    out.print(Padding(table, (0, 0, 0, 2)))
    broken = [check["name"] for check in checks if not check["is_passed"]]
    out.print(Text(f"\nbroken: {', '.join(broken)}", BAD) if broken else Text("\neverything works", GOOD))


def _profile(name: str) -> str:
    """The profile and what it means."""
    if not name.startswith("reference"):
        return name
    whose = "the bits of native kernels are kn1's, those of others" if "native" in name else "the bits are"
    return f"{name}: {whose} NumPy's and its BLAS's, of this machine"


def _extra(extra: str, wanted: list[Requirement]) -> str:
    missing = [f"{r.package} {r.wanted}" for r in wanted if not r.installed]
    installed = [f"{r.package} {r.installed}" for r in wanted if r.installed]
    if missing:
        have = f" (here: {', '.join(installed)})" if installed else ""
        return f"missing {', '.join(missing)}{have}: pip install 'kinone[{extra}]'"
    return ", ".join(installed)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
