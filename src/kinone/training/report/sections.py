"""What a report says of a run: in short, its data, its training, how good it is."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kinone.training.assessment import Figure
from kinone.training.judging import Judgement
from kinone.training.progress import duration
from kinone.training.report.charts import Line, bar, interval, plot
from kinone.training.report.page import escape, finding_name, tile

Rows = Sequence[dict[str, Any]]


def is_demo(found: Judgement) -> bool:
    """Whether the films are synthetic."""
    return found.trained.config.data.dataset == "demo"


def is_by_heart(found: Judgement) -> bool:
    """Whether the model was judged on what it learned."""
    return bool(found.trained.config.loop.overfit_batches)


# ------------------------------------------------------------------------------ in short
def heading(found: Judgement) -> str:
    """The title, and what to know before reading on."""
    own = found.trained.config
    name = escape(found.trained.run.path.resolve().name)
    size, dataset = own.data.image_size, "synthetic chest films" if is_demo(found) else own.data.dataset.upper()
    lead = f"{escape(own.model.name)} on {escape(dataset)} of {size} × {size} pixels"
    head = f'<h1>{name}</h1><p class="lead">{lead}, {len(found.trained.classes)} findings</p>'
    if is_demo(found):
        head += ('<p class="note"><b>Synthetic films.</b> They were drawn by a student’s rules, to try this software '
                 "out. Nothing on this page says anything about patients.</p>")  # fmt: skip
    if is_by_heart(found):
        head += (
            '<p class="note"><b>Learned by heart.</b> This run was to show that the network can learn a few batches: '
            "all three splits are these same films, and the figures say nothing about others.</p>"
        )
    return head


def summary(found: Judgement, ledger_tile: str, metrics: Rows) -> str:
    """The figures that matter most, and a sentence on what they mean."""
    e, t = found.evaluation, found.trained
    auc, at = e.means["roc_auc"], e.means["sensitivity"]
    seconds = sum(row["seconds"] for row in _last(metrics, "epoch").values())
    tiles = [
        tile(shown(auc), f"mean ROC-AUC, {e.split} split{_between(auc)}"),
        tile(f"{e.films:,}", f"{e.split} films of {e.patients:,} patients, {_known(found)} in training"),
        tile(f"{shown(at, 2)} / {shown(e.means['specificity'], 2)}",
             f"mean sensitivity / specificity at thresholds chosen on the {e.chosen_on} split"),
        tile(f"epoch {t.epoch}", f"of {t.config.loop.epochs}: the weights judged here, best on the validation split"),
        tile(duration(seconds) if seconds else "–", "of training and validation"),
        ledger_tile,
    ]  # fmt: skip
    return f'<div class="tiles">{"".join(tiles)}</div>{_in_words(found)}'


def _in_words(found: Judgement) -> str:
    e = found.evaluation
    known = [f for f in e.findings if f.figures["roc_auc"].value is not None]
    if not known:
        return "<p>No finding has both films with and films without it in this split, so no area is defined.</p>"
    order = sorted(known, key=lambda f: -(f.figures["roc_auc"].value or 0))
    best, worst = order[0], order[-1]
    auc = e.means["roc_auc"].value or 0
    chance = f"a film with a finding is ranked above one without it in {100 * auc:.0f} % of pairs"
    if auc >= 0.9995:
        chance = "every film with a finding is ranked above every one without it"
    whose = "the patients that it has" if is_by_heart(found) else "patients that it has not"
    text = (
        f"On films of {whose} seen, {chance}, in the mean over {len(known)} findings. It is best at "
        f"{finding_name(best.name)} ({shown(best.figures['roc_auc'])}) and worst at {finding_name(worst.name)} "
        f"({shown(worst.figures['roc_auc'])}). 50 % would be chance."
    )
    few = [finding_name(f.name) for f in known if f.positives < 20]
    if few:
        text += f" Fewer than 20 {e.split} films show {_listed(few)}: read the intervals, not the values."
    return f"<p>{text}</p>"


def _known(found: Judgement) -> str:
    return "all of them" if is_by_heart(found) else "none of them"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def shown(figure: Figure, digits: int = 3) -> str:
    """A value as text."""
    return "undefined" if figure.value is None else f"{figure.value:.{digits}f}"


def _between(figure: Figure) -> str:
    one = figure.interval
    return "" if one is None else f" (95 % interval {one.low:.3f} to {one.high:.3f})"


# ------------------------------------------------------------------------------ data
def data(found: Judgement) -> str:
    """Films and patients of each split, and how often each finding is in them."""
    films, t = found.films, found.trained
    if films is None:
        text = "The films are not on this machine, so their table is left out; the scores lie in the run’s folder."
        return f'<p class="soft">{text}</p>'
    parts = films.indices
    patients = {name: len(set(films.films.patients[rows].tolist())) for name, rows in parts.items()}
    counts = {name: films.films.labels[rows].sum(0).astype(int) for name, rows in parts.items()}
    head = "".join(f"<th>{name}</th>" for name in parts)
    whole = "".join(f"<td>{len(rows):,}</td>" for rows in parts.values())
    people = "".join(f"<td>{count:,}</td>" for count in patients.values())
    lines = []
    for c, finding in enumerate(t.classes):
        shares = [counts[name][c] / len(rows) for name, rows in parts.items()]
        cells = "".join(f'<td data-v="{counts[name][c]}">{counts[name][c]:,} <small>{100 * share:.1f} %</small></td>'
                        for name, share in zip(parts, shares, strict=True))  # fmt: skip
        most = max(max(counts[name] / len(rows)) for name, rows in parts.items()) or 1
        picture = bar(shares[0] / most, f"{shares[0]:.1%} of the training films")
        lines.append(
            f'<tr><td>{finding_name(finding)}</td>{cells}<td class="left" data-v="{shares[0]}">{picture}</td></tr>'
        )
    replaced = films.replaced()
    broken = ""
    if replaced:
        items = "".join(f"<li>{escape(r['sample'])}: {escape(r['why'])}</li>" for r in replaced)
        broken = f"<p>{len(replaced)} films cannot be read; training took others for them:</p><ul>{items}</ul>"
    split = "The splits are by patient: all films of a patient are in the same one."
    if is_by_heart(found):
        split = "All splits are the same films."
    return (f'<p>{split}</p><div class="card scroll"><table class="sorts"><thead><tr><th>finding</th>{head}'
            f'<th class="left">in training</th></tr></thead><tbody>{"".join(lines)}</tbody>'
            f"<tfoot><tr><td>films</td>{whole}<td></td></tr><tr><td>patients</td>{people}<td></td></tr></tfoot>"
            f"</table></div>{broken}")  # fmt: skip


# ------------------------------------------------------------------------------ training
def _last(metrics: Rows, kind: str) -> dict[int, dict[str, Any]]:
    """Of each step its row; where a resumed run made it again, the later one."""
    return {row["step"]: row for row in metrics if row.get("kind") == kind}


def training(found: Judgement, metrics: Rows) -> str:
    """Curves over the steps."""
    steps, epochs = (dict(sorted(_last(metrics, kind).items())) for kind in ("step", "epoch"))
    if not steps:
        return '<p class="soft">metrics.jsonl has no steps.</p>'
    x, ends = np.array([*steps], np.float64), np.array([*epochs], np.float64)

    def column(rows: dict[int, dict[str, Any]], name: str) -> Any:
        return np.array([_number(row.get(name)) for row in rows.values()], np.float64)

    losses = [Line(x, column(steps, "loss"), "soft", "a step")]
    charts = []
    mark = (float(found.trained.step), f"best: epoch {found.trained.epoch}")
    if epochs:
        losses += [Line(ends, column(epochs, "train_loss"), "c0", "training", True),
                   Line(ends, column(epochs, "loss"), "c1", "validation", True)]  # fmt: skip
    charts.append(plot(losses, "loss", "step"))
    if epochs:
        charts.append(
            plot([Line(ends, column(epochs, "auc"), "c1", "", True)], "mean validation ROC-AUC", "step", mark=mark)
        )
    charts.append(plot([Line(x, column(steps, "lr"), "c2")], "learning rate", "step"))
    charts.append(plot([Line(x, column(steps, "norm"), "c3")], "gradient norm", "step", is_log=True))
    spent = column(steps, "seconds").sum() + column(steps, "waited").sum()
    rate = column(steps, "samples").sum() / spent if spent > 0 else 0
    waited = column(steps, "waited").sum() / spent if spent > 0 else 0
    memory = max((row.get("memory") or 0) for row in steps.values())
    facts = f"{len(steps):,} steps, {rate:,.0f} films a second, {waited:.1%} of the time spent waiting for data"
    facts += f", at most {memory / 2**20:,.0f} MiB of memory." if memory else "."
    cards = "".join(f'<div class="card">{chart}</div>' for chart in charts)
    return f'<p class="soft">{facts}</p><div class="grid2">{cards}</div>'


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


# ------------------------------------------------------------------------------ results
_COLUMNS = (("average_precision", "PR-AUC"), ("sensitivity", "sensitivity"), ("specificity", "specificity"),
            ("precision", "precision"), ("f1", "F1"))  # fmt: skip


def results(found: Judgement) -> str:
    """The table of findings."""
    e = found.evaluation
    areas = [f.figures["roc_auc"] for f in e.findings]
    lowest = min(
        (v for one in areas for v in (one.value, one.interval and one.interval.low) if v is not None), default=1
    )
    floor = 0.5 if lowest >= 0.5 else 0.0
    lines = []
    for f, auc in zip(e.findings, areas, strict=True):
        c = f.calibration
        cells = "".join(_cell(f.figures[name]) for name, _ in _COLUMNS)
        lines.append(f'<tr><td>{finding_name(f.name)}</td><td data-v="{f.positives}">{f.positives:,}</td>'
                     f'{_cell(auc)}<td class="left" data-v="{_value(auc)}">{_picture(auc, floor)}</td>{cells}'
                     f"<td>{_plain(c.error)}</td><td>{_plain(c.brier)}</td></tr>")  # fmt: skip
    m = e.means
    means = "".join(_cell(m[name]) for name, _ in _COLUMNS)
    auc = m["roc_auc"]
    foot = (f'<tr><td>mean</td><td></td>{_cell(auc)}<td class="left">{_picture(auc, floor)}</td>{means}'
            f'<td>{_plain(m["calibration_error"].value)}</td><td>{_plain(m["brier"].value)}</td></tr>')  # fmt: skip
    titles = "".join(f"<th>{title}</th>" for _, title in _COLUMNS)
    drawn = (
        f"Small numbers are 95 % intervals, from {e.draws:,} samples of as many patients, drawn with replacement."
        if e.draws
        else ""
    )
    undefined = "".join(f"<li>{finding_name(name)}: {escape(why)}.</li>" for name, why in e.undefined.items())
    if undefined:
        undefined = f"<p>Undefined, and left out of the means:</p><ul>{undefined}</ul>"
    left = ""
    if found.left_out:
        left = f"<p>Left out, since they cannot be read: {escape(', '.join(found.left_out))}.</p>"
    text = (
        f"{drawn} Sensitivity, specificity, precision and F1 are at the threshold of each finding, which was chosen on "
        f"the {e.chosen_on} split ({escape(e.operating_point)}), never on these films."
    )
    head = f'<tr><th>finding</th><th>films</th><th>ROC-AUC</th><th class="left">{floor:g} … 1</th>{titles}'
    head += '<th title="expected calibration error">ECE</th><th>Brier</th></tr>'
    table = f'<table class="sorts"><thead>{head}</thead><tbody>{"".join(lines)}</tbody><tfoot>{foot}</tfoot></table>'
    return f'<p>{text}</p><div class="card scroll">{table}</div>{undefined}{left}'


def _value(figure: Figure) -> str:
    return "" if figure.value is None else repr(figure.value)


def _cell(figure: Figure) -> str:
    if figure.value is None:
        return '<td class="soft" data-v="">undefined</td>'
    one = figure.interval
    small = "" if one is None else f"<br><small>{one.low:.2f}–{one.high:.2f}</small>"
    return f'<td data-v="{figure.value!r}">{figure.value:.3f}{small}</td>'


def _picture(figure: Figure, floor: float) -> str:
    one = figure.interval
    return interval(figure.value, one and one.low, one and one.high, floor)


def _plain(value: float | None) -> str:
    return '<span class="soft">undefined</span>' if value is None else f"{value:.3f}"
