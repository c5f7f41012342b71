"""What a report says of how a run can be checked: ledger, environment, configuration, limits."""

import json
from typing import Any

from kinone.training import ledger
from kinone.training.judging import Judgement
from kinone.training.report.page import escape, pairs, tile
from kinone.training.verify import Verdict, verify


def state(found: Judgement) -> tuple[str, str, Verdict]:
    """In a word and in a sentence how the run stands, checked for this report."""
    t = found.trained
    verdict = verify(t.run.path)
    chain = ledger.read(t.run.ledger) if t.run.ledger.is_file() else ledger.Chain([])
    if not chain.entries:
        return "no ledger", "There is no ledger, so nothing about this run can be checked.", verdict
    named = {e.fields["file"]: e.fields["digest"] for e in chain.entries if e.kind == "checkpoint"}
    if named.get(t.file.name, t.digest) != t.digest:
        return "broken", f"The weights in {t.file.name} are not those that the ledger names.", verdict
    if not chain.is_closed and not chain.faults and not chain.is_torn:
        return "open", "The chain holds as far as it goes; the run has not come to its end.", verdict
    if verdict.faults:
        return "broken", f"It does not hold: {verdict.faults[0]}.", verdict
    where = "" if t.file.name in named else f" {t.file.name}, which is judged here, has no line in it."
    return "verified", f"The chain, its closing line, the configuration and the checkpoints agree.{where}", verdict


def ledger_tile(word: str, verdict: Verdict) -> str:
    """The ledger in short."""
    style = {"verified": "good", "broken": "bad", "no ledger": "bad"}.get(word, "")
    text = f"ledger, fingerprint <code>{verdict.fingerprint[:12]}…</code>" if verdict.fingerprint else ""
    return tile(word, text, style)


def checking(found: Judgement, sentence: str, verdict: Verdict) -> str:
    """The fingerprint, and what to type to check it."""
    run = escape(found.trained.run.path.resolve().name)
    facts = ""
    if verdict.fingerprint:
        entries = ledger.read(found.trained.run.ledger).entries
        first = entries[0].fields if entries else {}
        facts = pairs([
            ("fingerprint (SHA-256 of ledger.jsonl)", verdict.fingerprint), ("steps", f"{verdict.steps:,}"),
            ("checkpoints that agree", ", ".join(verdict.checked)), ("numerics profile", verdict.profile),
            ("digest of the films", first.get("data")), ("digest of Kinone’s sources", first.get("sources")),
            ("judged here", f"{found.trained.file.name}, digest {found.trained.digest}"),
        ])  # fmt: skip
    commands = "\n".join([
        f"kinone verify {run}                 # the chain, its end, every checkpoint",
        f"kinone replay {run} --steps 1:5     # computes those steps again: every bit must agree",
        f"sha256sum {run}/ledger.jsonl        # of two honest runs of one configuration: the same",
    ])  # fmt: skip
    text = (
        "Each line of <code>ledger.jsonl</code> carries the hash of the line before it, so nobody can change one "
        "without changing all that follow. Until someone else replays it, a ledger is its author’s word; it cannot "
        "prove that the data were honest."
    )
    read = '<p class="soft">This was read when the page was made; no step was computed again. To check it yourself:</p>'
    return f'<p>{escape(sentence)} {text}</p><div class="card scroll">{facts}</div>{read}<pre>{commands}</pre>'


def environment(found: Judgement) -> str:
    """What the run was computed with."""
    try:
        read: Any = json.loads(found.trained.run.environment.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        read = None
    if not isinstance(read, dict):
        return '<p class="soft">environment.json is not there, or not what a run writes.</p>'
    told: dict[str, Any] = {name: part for name, part in read.items() if isinstance(part, dict | list | str)}
    rows: list[tuple[str, Any]] = [("started", told.get("started")), ("command", " ".join(told.get("command") or []))]
    for part in ("versions", "packages", "machine", "native", "numerics", "threads", "variables"):
        for name, value in dict(told.get(part) or {}).items():
            if name.endswith("_bytes") and isinstance(value, int):
                name, value = name.removesuffix("_bytes"), f"{value / 2**30:.1f} GiB"
            rows.append(
                (f"{part}: {name.replace('_', ' ')}", ", ".join(map(str, value)) if isinstance(value, list) else value)
            )
    return f'<div class="card scroll">{pairs(rows)}</div>'


def configuration(found: Judgement) -> str:
    """config.toml as it is."""
    try:
        text = found.trained.run.config_file.read_text(encoding="utf-8")
    except OSError as error:
        text = str(error)
    return f"<details><summary>config.toml</summary><pre>{escape(text)}</pre></details>"


def limits(found: Judgement) -> str:
    """What this page does not show."""
    own = found.trained.config
    side = own.data.image_size
    if own.data.dataset == "demo":
        films = "The films are synthetic: they teach no medicine, and figures on them predict nothing about real films."
    else:
        films = (
            "The labels of ChestX-ray14 were drawn from radiologists’ reports by software. Its makers expect more than "
            "90 % of them to be right; what a report does not mention counts as absent."
        )
    points = [
        films,
        "This is no medical device. No decision about a patient may rest on it.",
        "The test films come from the same source as those of training; elsewhere figures are usually worse.",
        f"Films are shrunk to {side} × {side} pixels, and what is smaller than one of these is lost.",
        "Intervals say how figures vary with the patients drawn, not with another training, hospital or labeller.",
    ]
    return f"<ul>{''.join(f'<li>{escape(point)}</li>' for point in points)}</ul>"
