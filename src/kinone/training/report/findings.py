"""Each finding by itself: curves, calibration, what was called; and films with heat on them."""

import base64
from typing import Any

import numpy as np

from kinone.errors import KinoneError
from kinone.training.assessment import Finding
from kinone.training.heatmaps import drawn, heat_of
from kinone.training.judging import Judgement
from kinone.training.pictures import enlarged, png
from kinone.training.ranking import calibration, precision_recall_curve, roc_curve
from kinone.training.report.charts import Line, square, staircase
from kinone.training.report.page import escape, finding_name

_SHOWN = 6  # findings with examples
_SIDE = 160  # pixels of an example


def cards(found: Judgement) -> str:
    """A card for each finding."""
    made = "".join(_card(found, c, finding) for c, finding in enumerate(found.evaluation.findings))
    text = (
        "The dot is the operating point. ROC: the dashed line is chance; precision and recall: the share of films "
        "with the finding. Calibration: of films to which a probability of 0.7 was given, 70 % should have the "
        "finding, and the dots then lie on the dashed line; the larger a dot, the more films."
    )
    return f"<p>{text}</p>{made}"


def _card(found: Judgement, c: int, finding: Finding) -> str:
    y, p = found.scores.truth[:, c], found.scores.probabilities[:, c]
    name, auc = finding_name(finding.name), finding.figures["roc_auc"].value
    words = "ROC-AUC undefined" if auc is None else f"ROC-AUC {auc:.3f}"
    head = f"<h3>{name} <small>{finding.positives:,} of {len(y):,} films, {words}</small></h3>"
    charts = [_roc(finding, y, p), _precision(finding, y, p), _calibration(finding, y, p), _counts(finding)]
    return f'<div class="card finding">{head}{"".join(charts)}</div>'


def _roc(finding: Finding, y: Any, p: Any) -> str:
    curve, called = roc_curve(y, p), finding.confusion
    lines = [] if curve is None else [Line(*staircase(curve.x, curve.y))]
    dot = None
    if called is not None and called.sensitivity is not None and called.specificity is not None:
        dot = (1 - called.specificity, called.sensitivity)
    words = f"ROC curve of {finding.name}" + ("" if lines else ": undefined")
    return square(lines, "ROC", ("1 − specificity", "sensitivity"), words, dot=dot, has_diagonal=True)


def _precision(finding: Finding, y: Any, p: Any) -> str:
    curve, called = precision_recall_curve(y, p), finding.confusion
    lines = [] if curve is None else [Line(*staircase(curve.x, curve.y))]
    dot = None
    if called is not None and called.sensitivity is not None and called.precision is not None:
        dot = (called.sensitivity, called.precision)
    words = f"Precision over recall of {finding.name}" + ("" if lines else ": undefined")
    level = finding.positives / len(y) if len(y) else None
    return square(lines, "precision, recall", ("recall", "precision"), words, dot=dot, level=level)


def _calibration(finding: Finding, y: Any, p: Any) -> str:
    bins = calibration(y, p, 10)
    dots = Line(bins.predicted, bins.observed, "c2", radii=np.clip(1.5 + np.log2(bins.counts) * 0.7, 1.5, 7))
    error = "undefined" if bins.error is None else f"{bins.error:.3f}"
    words = f"Calibration of {finding.name}, expected error {error}"
    return square([dots], "calibration", ("predicted", "observed"), words, has_diagonal=True)


def _counts(finding: Finding) -> str:
    n = finding.confusion
    if n is None:
        return '<div class="verdicts"><p class="soft">No threshold, so nothing is called.</p></div>'
    right, wrong = (f'<td class="{style}">{{:,}}</td>' for style in ("right", "wrong"))
    rows = "".join([
        f"<tr><th>called</th>{right.format(n.true_positives)}{wrong.format(n.false_positives)}</tr>",
        f"<tr><th>not called</th>{wrong.format(n.false_negatives)}{right.format(n.true_negatives)}</tr>",
    ])  # fmt: skip
    head = f"<thead><tr><th>at {finding.threshold:.2g}</th><th>present</th><th>absent</th></tr></thead>"
    found, absent = n.true_positives, n.false_positives + n.true_negatives
    words = f"Found on {found:,} of {finding.positives:,} films that show it"
    words += f", and called on {n.false_positives:,} of {absent:,} others."
    table = f'<table class="counts">{head}<tbody>{rows}</tbody></table>'
    return f'<div class="verdicts">{table}<p class="soft">{words}</p></div>'


# ------------------------------------------------------------------------------ examples
def examples(found: Judgement) -> str:
    """Of the findings with most films, one film of each kind of verdict, with the heat of the network."""
    if found.films is None:
        return '<p class="soft">The films are not on this machine.</p>'
    order = sorted(range(len(found.trained.classes)), key=lambda c: -found.evaluation.findings[c].positives)
    places = {film.name: i for i, film in enumerate(found.films.films.films)}
    try:
        boxes = found.films.films.boxes()
    except KinoneError:
        boxes = {}
    try:
        parts = [_row(found, c, places, boxes) for c in sorted(order[:_SHOWN])]
    except KinoneError as error:
        return f'<p class="soft">No heat maps: {escape(error)}</p>'
    text = (
        "Left the film, right the same film with the places on which the score rests (Grad-CAM with a weight for each "
        "place, LayerCAM), from dark red to pale yellow, in one unit for the films of a row; a blue frame is where the "
        "data set marks the finding. Heat "
        "shows where the network looked, not whether it was right to. Shown are the surest verdicts of each kind, "
        "right and wrong, not typical ones."
    )
    return f"<p>{text}</p>{''.join(parts)}"


def _row(found: Judgement, c: int, places: dict[str, int], boxes: dict[str, Any]) -> str:
    """One film of each kind of verdict on a finding, their heat in parts of the highest of all of them."""
    finding, films = found.evaluation.findings[c], found.films
    y, p, at = found.scores.truth[:, c], found.scores.probabilities[:, c], finding.threshold
    if at is None or films is None:
        return ""
    kinds = (("right: called", y & (p >= at), -p, "good"), ("right: not called", ~y & (p < at), p, "good"),
             ("wrong: called", ~y & (p >= at), -p, "bad"), ("wrong: not called", y & (p < at), p, "bad"))  # fmt: skip
    chosen = {words: int(rows[np.argmin(order[rows])]) for words, which, order, _ in kinds
              if len(rows := np.flatnonzero(which))}  # fmt: skip
    levels = [films.films.levels(places[found.scores.names[row]]) for row in chosen.values()]
    heat = heat_of(found.trained, levels, finding.name)
    heat = dict(zip(chosen, heat / max(float(heat.max()), 1e-30), strict=True))
    made = [
        f'<figure><figcaption><b class="{style}">{words}</b>: none</figcaption></figure>' if words not in chosen
        else _figure(found, c, chosen[words], heat[words], f'<b class="{style}">{words}</b>', places, boxes)
        for words, _, _, style in kinds
    ]  # fmt: skip
    return f'<h3>{finding_name(finding.name)}</h3><div class="films">{"".join(made)}</div>'


def _figure(
    found: Judgement, c: int, row: int, heat: Any, words: str, places: dict[str, int], boxes: dict[str, Any]
) -> str:
    films, name = found.films, found.scores.names[row]
    assert films is not None
    finding, place = found.trained.classes[c], places[name]
    film = films.films.levels(place)
    frames = _frames(films.films.paths[place], [b for b in boxes.get(name, ()) if b.finding == finding])
    small = _inline(png(enlarged(film, _SIDE)), f"film {name}")
    hot = _inline(png(drawn(film, heat, _SIDE)), f"film {name} with the heat of {finding}")
    pair = "".join(f'<div class="film">{picture}{frames}</div>' for picture in (small, hot))
    present = [finding_name(k) for k, yes in zip(found.trained.classes, found.scores.truth[row], strict=True) if yes]
    said = _probability(found.scores.probabilities[row, c])
    return (f'<figure><div class="pair">{pair}</div><figcaption>{words} at {said} · {escape(name)}<br>'
            f"true: {', '.join(present) or 'no finding'}</figcaption></figure>")  # fmt: skip


def _probability(p: float) -> str:
    return "&lt; 0.001" if p < 0.001 else "&gt; 0.999" if p > 0.999 else f"{p:.3f}"


def _frames(path: Any, marked: list[Any]) -> str:
    if not marked:
        return ""
    from kinone.data.image import read_gray

    rows, columns = read_gray(path).shape
    frames = "".join(f'<rect class="box" x="{b.x:.1f}" y="{b.y:.1f}" width="{b.width:.1f}" height="{b.height:.1f}"/>'
                     for b in marked)  # fmt: skip
    return f'<svg viewBox="0 0 {columns} {rows}" preserveAspectRatio="none" aria-hidden="true">{frames}</svg>'


def _inline(content: bytes, words: str) -> str:
    data = base64.b64encode(content).decode()
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{data}">'
