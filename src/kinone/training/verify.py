"""Whether a run is what its ledger says: the chain, its closing line, its configuration, and every checkpoint."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinone.errors import KinoneError
from kinone.formats.files import read as read_checkpoint
from kinone.training import ledger
from kinone.training.loop import digest_of_optimizer, progress_in
from kinone.training.run_directory import RunDirectory, digest_in


@dataclass(frozen=True)
class Verdict:
    """What was found. A run is sound if `faults` is empty; `checked` and `gone` are checkpoints.

    `fingerprint` is the SHA-256 of ledger.jsonl; `numbers` is that of what the steps gave, without the first line:
    the same for other sources that compute the same.
    """

    run: RunDirectory
    steps: int
    fingerprint: str
    numbers: str
    profile: str
    checked: list[str]
    gone: list[str]
    faults: list[str] = field(default_factory=list)


def verify(folder: str | Path) -> Verdict:
    """Check everything that can be checked without computing a step."""
    run = RunDirectory.open(folder)
    if not run.ledger.is_file():
        return Verdict(run, 0, "", "", "", [], [], ["there is no ledger.jsonl"])
    chain = ledger.read(run.ledger)
    faults = list(chain.faults)
    if chain.is_torn:
        faults.append(f"line {len(chain.entries) + 1} has no end: the run was killed while it wrote, or it was cut off")
    elif not chain.is_closed and not chain.faults:
        faults.append("there is no closing line: the run has not come to its end, or its end was cut off")
    first = chain.entries[0] if chain.entries else None
    profile = first.fields["profile"] if first and first.kind == "run" else ""
    faults += _configuration(run, first)
    checked, gone, more = _checkpoints(run, chain.entries)
    faults += more
    steps = sum(entry.kind == "step" for entry in chain.entries)
    fingerprint = hashlib.sha256(run.ledger.read_bytes()).hexdigest()
    return Verdict(run, steps, fingerprint, digest_of_numbers(chain.entries), profile, checked, gone, faults)


def digest_of_numbers(entries: list[ledger.Entry]) -> str:
    """SHA-256 of what the lines after the first say, files' digests aside."""
    total = hashlib.sha256()
    for entry in entries:
        if entry.kind not in ("run", "checkpoint"):
            total.update(ledger.written(entry.kind, entry.fields, ledger.ZEROS) + b"\n")
    return total.hexdigest()


def _configuration(run: RunDirectory, first: Any) -> list[str]:
    if first is None or first.kind != "run":
        return []
    try:
        config = run.config().recorded()
    except KinoneError as error:
        return [f"config.toml: {error}"]
    recorded = ledger.plain(config)
    if recorded == first.fields["config"]:
        return []
    keys = [name for name, _, _ in unequal(recorded, first.fields["config"])]
    return [f"config.toml says otherwise than the first line: {', '.join(keys)}"]


def unequal(a: Any, b: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two nested values differ: the dotted name, and both.

    >>> list(unequal({"x": {"y": 1, "z": 2}}, {"x": {"y": 1}}))
    [('x.z', 2, None)]
    """
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            yield from unequal(a.get(key), b.get(key), f"{name}.{key}" if name else key)
    elif a != b:
        yield name, a, b


def _checkpoints(run: RunDirectory, entries: list[ledger.Entry]) -> tuple[list[str], list[str], list[str]]:
    """The checkpoints that are there and agree, those that the ledger names and nobody kept, and what is wrong."""
    noted = {e.fields["file"]: e for e in entries if e.kind == "checkpoint"}
    steps = {e.fields["step"]: e for e in entries if e.kind == "step"}
    here = {file.name: file for file in run.steps().values()} if run.checkpoints.is_dir() else {}
    faults: list[str] = []
    checked: list[str] = []
    for name, file in here.items():
        try:
            faults += [f"{name}: {fault}" for fault in _faults(file, noted.get(name), steps, entries)]
            checked.append(name)
        except (KinoneError, OSError) as error:
            faults.append(f"{name}: {error}")
    try:
        named = run.named()
    except KinoneError as error:
        return checked, [], [*faults, str(error)]
    lost = [f"the {which} checkpoint, {name}, is not there" for which, name in named.items() if name not in here]
    return checked, [name for name in noted if name not in here], faults + lost


def _faults(file: Path, line: Any, steps: dict[int, Any], entries: list[ledger.Entry]) -> list[str]:
    contents = read_checkpoint(file)  # refuses a file whose own checksum is wrong
    progress = progress_in(file)
    faults: list[str] = []
    heads = {entry.hash: entry for entry in entries}
    if progress["head"] not in heads:
        faults.append("its place in the ledger is none of this ledger's")
    if progress["is_noted"] and line is None:
        faults.append("no line of the ledger names it")
    if line is not None:
        if line.fields["digest"] != digest_in(file):
            faults.append(f"its digest is another than line {line.number} says")
        if progress["head"] != line.prev:
            faults.append(f"it was written after another line than the one before line {line.number}")
        if progress["step"] != line.fields["step"]:
            faults.append(f"it was written at step {progress['step']}, not {line.fields['step']}")
    at = steps.get(progress["step"])
    if at is not None and "weights" in at.fields:
        training = contents.training or {}
        own = {"weights": ledger.digest_of_state(contents.state),
               "optimizer": digest_of_optimizer(training["optimizer"], progress["average"])}  # fmt: skip
        faults += [f"its {name} are others than step {progress['step']} had" for name in own
                   if own[name] != at.fields.get(name)]  # fmt: skip
    return faults
