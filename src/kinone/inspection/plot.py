"""Curves as pictures: dots of Braille for a terminal, lines of SVG for a page."""

import math
from collections.abc import Callable
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from kinone.inspection.curve import Curve, Floats, Series
from kinone.inspection.drawing import document, escaped

Cells = NDArray[np.int64]
Run = tuple[str, str]
"""A piece of text and what it shows: "0" and "1" (the curves), "axis", "zero", "label", "" (nothing)."""

_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # of a Braille cell: [row, column]
_LIGHT, _DARK = ("#2563c9", "#cf6a15"), ("#6ea8fe", "#f0a35e")


def limits(curve: Curve) -> tuple[float, float, float, float]:
    """The window (x from, x to, y from, y to): where poles shoot off, y shows what most of the curves do."""
    x = np.concatenate([s.x for s in curve.series])
    y = np.concatenate([s.y for s in curve.series])
    y = y[np.isfinite(y)]
    low, high = float(y.min()), float(y.max())
    q_low, q_high = (float(q) for q in np.percentile(y, [5, 95]))
    if high - low > 4 * (q_high - q_low) > 0:
        low, high = max(low, q_low - 0.25 * (q_high - q_low)), min(high, q_high + 0.25 * (q_high - q_low))
    margin = 0.04 * (high - low) or 1.0
    return float(x.min()), float(x.max()), low - margin, high + margin


def ticks(low: float, high: float, least: int) -> list[float]:
    """Round numbers from low to high, at least so many of them, as far apart as that allows.

    >>> ticks(-0.3, 1.1, 3)
    [0.0, 0.5, 1.0]
    """
    top = math.floor(math.log10(high - low))
    for step in (m * 10.0**e for e in range(top, top - 4, -1) for m in (5, 2, 1)):
        marks = [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
        if len(marks) >= least:
            return marks
    return [low, high]


# ------------------------------------------------------------------------------ in a terminal
def braille(curve: Curve, width: int, height: int) -> list[list[Run]]:
    """Rows of runs, `width` characters wide with the labels of the axes and `height` rows high without them."""
    x0, x1, y0, y1 = limits(curve)
    marks = {round((y1 - y) / (y1 - y0) * (4 * height - 1)) // 4: _number(y) for y in ticks(y0, y1, 3)}
    gutter = max(map(len, marks.values()), default=0) + 1
    columns = max(width - gutter - 2, 16)
    layers: Cells = np.zeros(
        (len(curve.series) + 1, height, columns), np.int64
    )  # the curves, and the lines x = 0 and y = 0
    scale = ((2 * columns - 1) / (x1 - x0), (4 * height - 1) / (y1 - y0))
    for layer, series in zip(layers, curve.series, strict=False):
        _draw(layer, (series.x - x0) * scale[0], (y1 - series.y) * scale[1])
    across, down = np.arange(0.0, 2 * columns, 2), np.arange(0.0, 4 * height, 2)
    _draw(layers[-1], across, np.full(across.shape, y1 * scale[1]), is_dotted=True)
    _draw(layers[-1], np.full(down.shape, -x0 * scale[0]), down, is_dotted=True)
    rows = [
        [(marks.get(i, "").rjust(gutter), "label"), ("┤" if i in marks else "│", "axis"), *_runs(layers[:, i])]
        for i in range(height)
    ]
    return [*rows, *_below(x0, x1, columns, gutter)]


def _draw(layer: Cells, x: Floats, y: Floats, *, is_dotted: bool = False) -> None:
    """Set the dots (x to the right, y downwards) and, unless it is dotted, those on the lines between neighbours."""
    height, columns = layer.shape
    y = np.where(np.isfinite(y), np.clip(y, -4.0 * height, 8.0 * height), np.nan)
    points = [np.stack([x, y])]
    for i in range(0 if is_dotted else x.size - 1):
        if np.isfinite(y[i : i + 2]).all():
            n = math.ceil(max(abs(x[i + 1] - x[i]), abs(y[i + 1] - y[i]))) + 1
            points.append(np.stack([np.linspace(x[i], x[i + 1], n), np.linspace(y[i], y[i + 1], n)]))
    dots = np.concatenate(points, axis=1)
    column, row = np.rint(dots[:, np.isfinite(dots[1])]).astype(int)
    is_in = (row >= 0) & (row < 4 * height) & (column >= 0) & (column < 2 * columns)
    column, row = column[is_in], row[is_in]
    np.bitwise_or.at(layer, (row // 4, column // 2), _DOTS[row % 4, column % 2])


def _runs(layers: Cells) -> list[Run]:
    """One row of cells: a cell takes the colour of the first curve in it, and shows the dots of all."""
    cells: list[Run] = []
    for dots in layers.T:
        curves, zero = dots[:-1], int(dots[-1])
        bits = int(np.bitwise_or.reduce(curves)) or zero
        role = str(np.flatnonzero(curves)[0]) if curves.any() else "zero" if zero else ""
        cells.append((chr(0x2800 + bits) if bits else " ", role))
    return [("".join(c for c, _ in run), role) for role, run in groupby(cells, key=lambda cell: cell[1])]


def _below(x0: float, x1: float, columns: int, gutter: int) -> list[list[Run]]:
    rule, labels = ["─"] * columns, [" "] * (columns + 4)
    for x in ticks(x0, x1, max(columns // 14, 2)):
        at = round((x - x0) / (x1 - x0) * (2 * columns - 1)) // 2
        rule[at] = "┬"
        text = _number(x)
        begin = min(max(at - (len(text.lstrip("−")) - 1) // 2 - text.startswith("−"), 0), len(labels) - len(text))
        labels[begin : begin + len(text)] = text
    return [
        [(" " * gutter, ""), ("└" + "".join(rule), "axis")],
        [(" " * (gutter + 1) + "".join(labels).rstrip(), "label")],
    ]


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


# ------------------------------------------------------------------------------ on a page
_LEFT, _TOP, _WIDE, _HIGH = 64.0, 44.0, 560.0, 280.0


def svg(curve: Curve) -> str:
    """The picture as the text of an SVG file, for light and dark pages."""
    x0, x1, y0, y1 = limits(curve)

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (x - x0) / (x1 - x0) * _WIDE, _TOP + (y1 - y) / (y1 - y0) * _HIGH

    body = [
        _style(),
        f'<clipPath id="window"><rect x="{_LEFT}" y="{_TOP}" width="{_WIDE}" height="{_HIGH}"/></clipPath>',
        f'<text class="title" x="{_LEFT}" y="24">{escaped(curve.title)}</text>',
    ]
    for x in ticks(x0, x1, 5):
        px, bottom = at(x, y0)
        body.append(f'<path class="grid{" zero" * (x == 0)}" d="M{px:.1f} {_TOP}V{bottom:.1f}"/>')
        body.append(f'<text class="middle" x="{px:.1f}" y="{bottom + 18:.1f}">{_number(x)}</text>')
    for y in ticks(y0, y1, 4):
        _, py = at(x0, y)
        body.append(f'<path class="grid{" zero" * (y == 0)}" d="M{_LEFT} {py:.1f}h{_WIDE}"/>')
        body.append(f'<text class="end" x="{_LEFT - 8}" y="{py + 4:.1f}">{_number(y)}</text>')
    body.append(f'<text class="middle" x="{_LEFT + _WIDE / 2}" y="{_TOP + _HIGH + 36}">{curve.variable}</text>')
    right = _LEFT + _WIDE
    for i, series in reversed([*enumerate(curve.series)]):
        body.append(f'<path class="curve c{i}" clip-path="url(#window)" d="{_path(series, at, (y0, y1))}"/>')
        right -= 64
        body.append(f'<path class="curve c{i}" d="M{right:.0f} 20h18"/>')
        body.append(f'<text x="{right + 24:.0f}" y="24">{escaped(series.label)}</text>')
    return document(_LEFT + _WIDE + 24, _TOP + _HIGH + 52, body, curve.title)


def _path(series: Series, at: Callable[[float, float], tuple[float, float]], window: tuple[float, float]) -> str:
    """The series as a path; points far outside the window are drawn at twice its distance, where nobody sees them."""
    low, high = window
    parts, is_down = "", False
    for x, y in zip(series.x, np.clip(series.y, 2 * low - high, 2 * high - low), strict=True):
        if np.isnan(y):
            is_down = False
            continue
        px, py = at(float(x), float(y))
        parts += f"{'L' if is_down else 'M'}{px:.1f} {py:.1f}" + ("" if is_down else "h0")
        is_down = True
    return parts


def _style() -> str:
    def colours(curves: tuple[str, str], grid: str, zero: str) -> str:
        lines = [f".kinone .c{i} {{ stroke: {c}; }}" for i, c in enumerate(curves)]
        return "\n".join([*lines, f".kinone .grid {{ stroke: {grid}; }}", f".kinone .zero {{ stroke: {zero}; }}"])

    return "\n".join([
        "<style>",
        ".kinone .curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }",
        colours(_LIGHT, "#e4e8ec", "#9aa3ad"),
        f"@media (prefers-color-scheme: dark) {{\n{colours(_DARK, '#2a3036', '#6b747e')}\n}}",
        "</style>",
    ])  # fmt: skip
