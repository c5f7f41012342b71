"""Where two runs part: the first line of their ledgers, and in that step the first operator."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinone.data.module import Progress
from kinone.errors import FormatError, StateError
from kinone.inspection.digest import Difference, Digest, first_difference
from kinone.training import ledger
from kinone.training.replay import read_digests, told
from kinone.training.replay import replay as replayed
from kinone.training.run_directory import RunDirectory
from kinone.training.verify import unequal


@dataclass(frozen=True)
class Parting:
    """The first place where two runs differ.

    `setup`: what is different in their first lines. `line` is the number of the first line after it that differs, 0 if
    none does; `words` say how, `step` is its step. `op` is the first operator whose results differ in the step before
    it or in that one, `op_step` the step in which it was called. `agrees` says for each run whether this machine
    computes these steps as its ledger has them; None where that was noted by `kinone replay --digests`.
    """

    setup: tuple[str, ...]
    line: int = 0
    step: int = 0
    words: tuple[str, ...] = ()
    op: Difference | None = None
    op_step: int = 0
    agrees: tuple[bool | None, bool | None] = (None, None)


def difference(
    a: str | Path, b: str | Path, *, progress: Progress | None = None, is_deep: bool = True
) -> Parting | None:  # fmt: skip
    """None if the two ledgers are one; else where they part. `is_deep`: down to the operator, by computing the step."""
    runs = RunDirectory.open(a), RunDirectory.open(b)
    first, second = (_entries(run) for run in runs)
    one, other = first[0].fields, second[0].fields
    if one["profile"] != other["profile"]:
        got = f"{one['profile']!r} and {other['profile']!r}"
        raise StateError("diff", "two runs of one profile", got, hint="bits of different profiles are not comparable.")
    found = _first_line(first, second, tuple(_setup(one, other)))
    if found is None or not is_deep or not found.step:
        return found
    return _deep(runs, found, progress)


def _entries(run: RunDirectory) -> list[ledger.Entry]:
    chain = ledger.read(run.ledger) if run.ledger.is_file() else ledger.Chain([])
    if chain.faults or not chain.entries:
        got = chain.faults[0] if chain.faults else "none"
        raise FormatError(str(run.ledger), "a ledger whose lines fit", got, hint="kinone verify tells more.")
    return chain.entries


def _setup(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    words = [
        f"{name}: {a[name][:12]}… in A, {b[name][:12]}… in B" for name in ("data", "sources") if a[name] != b[name]
    ]
    return words + [f"{key}: {_number(x)} in A, {_number(y)} in B" for key, x, y in unequal(a["config"], b["config"])]


def _first_line(a: list[ledger.Entry], b: list[ledger.Entry], setup: tuple[str, ...]) -> Parting | None:
    step = 0
    for one, other in zip(a[1:], b[1:], strict=False):
        step = one.fields["step"] if one.kind == "step" else step
        is_carried = setup and one.kind == other.kind == "checkpoint"  # its file carries the chain, which parts earlier
        if not is_carried and (one.kind, repr(one.fields)) != (other.kind, repr(other.fields)):
            words = tuple(w.replace("computed", "in A").replace("the ledger", "B") for w in told(one, other))
            return Parting(setup, one.number, step, words)
    if len(a) != len(b):
        name, longer = ("A", a) if len(a) > len(b) else ("B", b)
        words = (f"{name} goes on to line {len(longer)}, the other has ended",)
        return Parting(setup, min(len(a), len(b)) + 1, 0, words)
    return Parting(setup) if setup else None


def _number(value: Any) -> str:
    found = ledger.real(value) if isinstance(value, str) else None
    return str(value) if found is None else f"{found:g}"


def _deep(runs: tuple[RunDirectory, RunDirectory], found: Parting, progress: Progress | None) -> Parting:
    """Look into the step, and the one before it, whose optimizer may have been the one to err."""
    steps = [step for step in (found.step - 1, found.step) if step]
    (a, agrees_a), (b, agrees_b) = (_digests(run, steps, progress) for run in runs)
    found = replace(found, agrees=(agrees_a, agrees_b))
    for step in steps:
        parts = first_difference(a.get(step, []), b.get(step, []))
        if parts is not None:
            return replace(found, op=parts, op_step=step)
    return found


def _digests(
    run: RunDirectory, steps: list[int], progress: Progress | None
) -> tuple[dict[int, list[Digest]], bool | None]:  # fmt: skip
    written = {step: found for step in steps if (found := read_digests(run, step)) is not None}
    if len(written) == len(steps):
        return written, None
    digests: dict[int, list[Digest]] = {}
    result = replayed(run.path, steps[0], steps[-1], progress=progress, digests=digests)
    return digests, result.is_equal
