"""A run's model judged on its films, and the files that hold the judgement.

`evaluation.json` (of other splits than the test split `evaluation-SPLIT.json`) names the checkpoint that it is of;
`scores-SPLIT.csv` holds what the model said of each film. What is there and of the same checkpoint is not computed
again.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinone.data.module import PARTS, ChestModule, Progress
from kinone.errors import ArgumentError, DataError, FormatError, KinoneError
from kinone.formats.atomic import write_bytes
from kinone.training import ledger
from kinone.training.assessment import Evaluation, OperatingPoint, Scores, evaluated
from kinone.training.run_directory import RunDirectory
from kinone.training.trained import Trained

VALIDATION = "validation"


@dataclass(frozen=True)
class Judgement:
    """The scores and figures of a split. `films` are None where the data set is not here and the scores were."""

    trained: Trained
    scores: Scores
    chosen_on: Scores
    evaluation: Evaluation
    films: ChestModule | None
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What evaluation.json holds."""
        t = self.trained
        checkpoint = {"file": t.file.name, "digest": t.digest, "step": t.step, "epoch": t.epoch}
        return {"format": "kinone.evaluation.v1", "checkpoint": checkpoint, "left_out": list(self.left_out),
                **self.evaluation.to_dict()}  # fmt: skip


def judged(
    folder: str | os.PathLike[str], split: str = "test", *, operating_point: OperatingPoint | None = None,
    draws: int = 1000, data: str | os.PathLike[str] | None = None, progress: Progress | None = None,
    is_fresh: bool = False,
) -> Judgement:  # fmt: skip
    """Judge the best weights of the run in `folder` on a split, and write evaluation.json and the scores there.

    Thresholds are chosen on the validation split. `data`: where the films lie now, if they moved; `is_fresh`: ask the
    model again, though its scores lie there. Without an `operating_point` it is that of the last evaluation, or youden.
    """
    if split not in PARTS:
        raise ArgumentError("evaluate", f"a split among {', '.join(PARTS)}", repr(split))
    trained = Trained.open(folder)
    tell = progress or (lambda *_: None)
    known = {part: None if is_fresh else kept(trained, part) for part in (VALIDATION, split)}
    films: ChestModule | None = None
    try:
        films = trained.films(progress, data)
        if None in known.values() or data is not None:  # those of kept scores were looked at when these were made
            _check_films(trained, films)
    except KinoneError:
        if None in known.values() or data is not None:
            raise
        films = None
    scores: dict[str, Scores] = {}
    for part, there in known.items():
        if there is not None:
            scores[part] = there
        elif films is not None:
            scores[part] = trained.scores(films, part, lambda done, of, part=part: tell(f"{part} films", done, of))
    rule = operating_point or chosen(trained, split)
    evaluation = evaluated(scores[split], scores[VALIDATION], operating_point=rule, draws=draws,
                           tick=lambda done, of: tell("drawing patients", done, of))  # fmt: skip
    names = {part: set(s.names) for part, s in scores.items()}
    left_out = () if films is None else tuple(
        sorted(name for name in films.names(split) if name not in names[split])
    )  # fmt: skip
    result = Judgement(trained, scores[split], scores[VALIDATION], evaluation, films, left_out)
    for part, own in scores.items():
        _write(_scores_file(trained.run, part), f"# {trained.digest}\n{own.to_csv()}")
    text = json.dumps(result.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    _write(evaluation_file(trained.run, split), text)
    return result


def _write(file: Path, text: str) -> None:
    try:
        write_bytes(file, text.encode())
    except OSError as error:
        raise ArgumentError("evaluate", f"a place for {file}", error.strerror or str(error)) from None


def _check_films(trained: Trained, films: ChestModule) -> None:
    """Refuse other films than those of the ledger's first line: figures of theirs would not be this run's."""
    try:
        first = ledger.read(trained.run.ledger).entries[0].fields
    except (OSError, IndexError):
        return
    if first.get("data") != (digest := films.digest()):
        hint = "kinone evaluate RUN --data DIR names the folder in which they lie."
        expected = f"the films that the run was made with (digest {str(first.get('data'))[:12]}…)"
        raise DataError("evaluate", expected, f"others ({digest[:12]}…)", hint=hint)


def _scores_file(run: RunDirectory, split: str) -> Path:
    return run.path / f"scores-{split}.csv"


def evaluation_file(run: RunDirectory, split: str = "test") -> Path:
    """Where the figures of a split lie."""
    return run.path / ("evaluation.json" if split == "test" else f"evaluation-{split}.json")


def kept(trained: Trained, split: str) -> Scores | None:
    """The scores that lie in the run directory, if they are of these weights."""
    try:
        text = _scores_file(trained.run, split).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    stamp, _, table = text.partition("\n")
    if stamp != f"# {trained.digest}":
        return None
    found = Scores.from_csv(table, split)
    return found if found.classes == trained.classes else None


def _last_evaluation(trained: Trained, split: str) -> dict[str, Any] | None:
    """What the last evaluation of these weights found."""
    file = evaluation_file(trained.run, split)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if found["checkpoint"]["digest"] == trained.digest else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(str(file), "what kinone evaluate wrote", str(error)) from None


def chosen(trained: Trained, split: str = "test") -> OperatingPoint:
    """The rule by which the last evaluation of these weights chose thresholds; youden without one."""
    found = _last_evaluation(trained, split)
    try:
        return OperatingPoint() if found is None else OperatingPoint.parsed(found["operating_point"]["rule"])
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(str(evaluation_file(trained.run, split)), "an operating point", str(error)) from None


def thresholds(trained: Trained) -> dict[str, float]:
    """Where each finding is called, as the last evaluation of these weights chose; empty without one."""
    found = _last_evaluation(trained, "test")
    try:
        rows = [] if found is None else found["findings"]
        return {f["finding"]: float(f["threshold"]) for f in rows if f["threshold"] is not None}
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(str(evaluation_file(trained.run)), "thresholds of findings", str(error)) from None
