"""Charts: panels of lines over steps, epochs or learning rates, as SVG for light and dark pages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinone.inspection.curve import Floats, Series
from kinone.inspection.drawing import document, escaped, text_width
from kinone.inspection.plot import ticks

_LIGHT = ("#2563c9", "#cf6a15", "#2e8b57", "#a03fb0", "#c43d4b", "#5f7285")
_DARK = ("#6ea8fe", "#f0a35e", "#62c48f", "#d58be2", "#f28b96", "#9fb1c2")
_LEFT, _TOP, _RIGHT, _BELOW = 62.0, 54.0, 22.0, 50.0
_WIDE, _HIGH = 400.0, 220.0  # of a window, in which the lines are drawn
_BRIM = 4.0  # around it, so that dots on its edge are whole
_COLUMNS = 2
_MOST = 1200  # points of a line; more cannot be seen


@dataclass(frozen=True)
class Panel:
    """Lines over one variable. Each of `marks` is a place on the variable's axis, and what is there.

    What lies above `top` is not shown.
    """

    title: str
    variable: str
    series: tuple[Series, ...]
    is_log_x: bool = False
    is_log_y: bool = False
    marks: tuple[tuple[float, str], ...] = ()
    top: float = math.inf


def chart(panels: Sequence[Panel], title: str) -> str:
    """The panels side by side, two in a row, as the text of an SVG file."""
    wide, high = _LEFT + _WIDE + _RIGHT, _TOP + _HIGH + _BELOW
    body = [_style()]
    for i, panel in enumerate(panels):
        body.append(f'<g transform="translate({i % _COLUMNS * wide:.0f} {i // _COLUMNS * high:.0f})">')
        body += [*_drawn(panel), "</g>"]
    rows = max(math.ceil(len(panels) / _COLUMNS), 1)
    return document(wide * max(min(len(panels), _COLUMNS), 1), high * rows, body, title)


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    is_log: bool

    def part(self, values: Floats) -> Floats:
        """How far along the axis they are, 0 to 1."""
        a, b = (math.log10(v) if self.is_log else v for v in (self.low, self.high))
        with np.errstate(all="ignore"):
            return ((np.log10(values) if self.is_log else values) - a) / (b - a)

    def ticks(self, least: int) -> list[float]:
        if not self.is_log:
            return ticks(self.low, self.high, least)
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        tens = [10.0**e for e in range(first, last + 1)]
        shown = [v for v in tens if self.low * 0.999 <= v <= self.high * 1.001]
        if len(shown) < 2:
            shown = [m * v for v in tens for m in (1, 2, 5) if self.low * 0.999 <= m * v <= self.high * 1.001]
        step = math.ceil(len(shown) / (2 * least))
        return shown[::step] if len(shown) > 1 else [self.low, self.high]


def _drawn(panel: Panel) -> list[str]:
    series = [Series(s.label, *_thinned(s.x, s.y)) for s in panel.series]
    body = [f'<text class="title" x="{_LEFT:.0f}" y="26">{escaped(panel.title)}</text>']
    x_axis, y_axis = _x_axis(series, panel), _y_axis(series, panel)
    for value in x_axis.ticks(5):
        px = _LEFT + float(x_axis.part(np.array([value]))[0]) * _WIDE
        body.append(f'<path class="grid" d="M{px:.1f} {_TOP:.0f}v{_HIGH:.0f}"/>')
        body.append(f'<text class="middle" x="{px:.1f}" y="{_TOP + _HIGH + 18:.1f}">{label(value)}</text>')
    for value in y_axis.ticks(4):
        py = _TOP + (1 - float(y_axis.part(np.array([value]))[0])) * _HIGH
        body.append(f'<path class="grid{" zero" * (value == 0)}" d="M{_LEFT:.0f} {py:.1f}h{_WIDE:.0f}"/>')
        body.append(f'<text class="end" x="{_LEFT - 8:.0f}" y="{py + 4:.1f}">{label(value)}</text>')
    middle, bottom = _LEFT + _WIDE / 2, _TOP + _HIGH
    body.append(f'<text class="middle" x="{middle:.0f}" y="{bottom + 38:.0f}">{escaped(panel.variable)}</text>')
    # A nested viewport clips; unlike a clipPath it needs no name that another picture on the page could bear too.
    wide, high = _WIDE + 2 * _BRIM, _HIGH + 2 * _BRIM
    place = f'x="{_LEFT - _BRIM:.0f}" y="{_TOP - _BRIM:.0f}" width="{wide:.0f}" height="{high:.0f}"'
    body.append(f'<svg {place} viewBox="{-_BRIM:.0f} {-_BRIM:.0f} {wide:.0f} {high:.0f}">')
    body += [_line(s, i, x_axis, y_axis) for i, s in reversed([*enumerate(series)])]
    body.append("</svg>")
    for value, words in panel.marks:
        px = _LEFT + float(x_axis.part(np.array([value]))[0]) * _WIDE
        is_left = px > middle
        at = f'class="halo end" x="{px - 7:.1f}"' if is_left else f'class="halo" x="{px + 7:.1f}"'
        body.append(f'<path class="mark" d="M{px:.1f} {_TOP:.0f}v{_HIGH:.0f}"/>')
        body.append(f'<text {at} y="{_TOP + 16:.0f}">{escaped(words)}</text>')
    return [*body, *_legend([s.label for s in series])]


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Where there are more points than can be seen: the lowest and the highest of each stretch, in their order."""
    if x.size <= _MOST:
        return x, y
    kept: list[int] = []
    for part in np.array_split(np.arange(x.size), _MOST // 2):
        known = part[np.isfinite(y[part])]
        kept += sorted({int(known[np.argmin(y[known])]), int(known[np.argmax(y[known])])}) if known.size else [part[0]]
    return x[kept], y[kept]


def _x_axis(series: Sequence[Series], panel: Panel) -> _Axis:
    x = np.concatenate([s.x for s in series]) if series else np.zeros(0)
    x = x[np.isfinite(x) & ((x > 0) | (not panel.is_log_x))]
    low, high = (float(x.min()), float(x.max())) if x.size else (1.0, 2.0)
    if low == high:
        low, high = (low / 2, high * 2) if panel.is_log_x else (low - 0.5, high + 0.5)
    return _Axis(low, high, panel.is_log_x)


def _y_axis(series: Sequence[Series], panel: Panel) -> _Axis:
    """What most of the points show: a loss that exploded does not press the rest flat."""
    y = np.concatenate([s.y for s in series]) if series else np.zeros(0)
    y = y[np.isfinite(y) & (y <= panel.top) & ((y > 0) | (not panel.is_log_y))]
    if not y.size:
        return _Axis(1.0, 10.0, True) if panel.is_log_y else _Axis(0.0, 1.0, False)
    low, high = float(y.min()), float(y.max())
    if panel.is_log_y:
        return _Axis(low / 1.3, high * 1.3, True)
    q_low, q_high = (float(q) for q in np.percentile(y, [2, 95]))
    if high - low > 20 * (q_high - q_low) > 0:
        low, high = max(low, q_low - (q_high - q_low) / 2), min(high, q_high + (q_high - q_low) / 2)
    margin = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return _Axis(low - margin if low < 0 or low > margin else min(low, 0.0), high + margin, False)


def _line(series: Series, i: int, x_axis: _Axis, y_axis: _Axis) -> str:
    px, py = x_axis.part(series.x) * _WIDE, (1 - y_axis.part(series.y)) * _HIGH
    py = np.clip(py, -_HIGH, 2 * _HIGH)  # far outside, where nobody sees it
    path, is_down = "", False
    for x, y in zip(px, py, strict=True):
        if not (math.isfinite(x) and math.isfinite(y)):
            is_down = False
            continue
        path += f"{'L' if is_down else 'M'}{x:.1f} {y:.1f}" + ("" if is_down else "h0")
        is_down = True
    dots = "".join(
        f'<circle class="dot c{i % len(_LIGHT)}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
        for x, y in zip(px, py, strict=True)
        if px.size <= 25 and math.isfinite(x) and math.isfinite(y)
    )
    return f'<path class="curve c{i % len(_LIGHT)}" d="{path}"/>{dots}'


def _legend(labels: Sequence[str]) -> list[str]:
    if len(labels) < 2:
        return []
    lines: list[str] = []
    x = _LEFT + _WIDE
    for i, words in reversed([*enumerate(labels)]):
        x -= text_width(words, 11) + 34
        lines.append(f'<path class="curve c{i % len(_LIGHT)}" d="M{x:.0f} 22h16"/>')
        lines.append(f'<text x="{x + 22:.0f}" y="26">{escaped(words)}</text>')
    return lines


def label(value: float) -> str:
    """A number for an axis or a table: short, and with a real minus.

    >>> label(-0.00012), label(1500.0), label(2e6)
    ('−0.00012', '1500', '2e6')
    """
    text = f"{value:.4g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")


def _style() -> str:
    def colours(curves: Sequence[str], grid: str, zero: str, mark: str) -> str:
        lines = [f".kinone .c{i} {{ stroke: {c}; }} .kinone .dot.c{i} {{ fill: {c}; }}" for i, c in enumerate(curves)]
        lines += [f".kinone .{name} {{ stroke: {c}; }}" for name, c in (("grid", grid), ("zero", zero), ("mark", mark))]
        return "\n".join(lines)

    return "\n".join([
        "<style>",
        ".kinone .curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }",
        ".kinone .mark { fill: none; stroke-width: 1.3; stroke-dasharray: 4 3; }",
        colours(_LIGHT, "#e4e8ec", "#9aa3ad", "#6b747e"),
        f"@media (prefers-color-scheme: dark) {{\n{colours(_DARK, '#2a3036', '#6b747e', '#9aa3ad')}\n}}",
        "</style>",
    ])  # fmt: skip
