"""Charts of a report: inline SVG, coloured by the page, with the numbers in words for those who cannot see them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinone.inspection.chart import label
from kinone.inspection.drawing import escaped
from kinone.inspection.plot import ticks

Floats = NDArray[np.float64]
_MOST = 700  # points of a line; more cannot be seen


@dataclass(frozen=True)
class Line:
    """Points of a line, its colour's class (c0 …, soft), its name, whether each is a dot too; or dots of `radii`."""

    x: Floats
    y: Floats
    style: str = "c0"
    name: str = ""
    has_dots: bool = False
    radii: Floats | None = None


def plot(
    lines: Sequence[Line], title: str, variable: str, *, is_log: bool = False, mark: tuple[float, str] | None = None,
) -> str:  # fmt: skip
    """Lines over one variable, with axes; `mark` is a place on the variable's axis and what is there."""
    wide, high, left, top = 430.0, 190.0, 52.0, 40.0
    x, y = (np.concatenate([getattr(one, axis) for one in lines]) for axis in "xy")
    x, y = x[np.isfinite(x)], y[np.isfinite(y) & ((y > 0) | (not is_log))]
    x0, x1 = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
    x0, x1 = (x0 - 0.5, x1 + 0.5) if x0 == x1 else (x0, x1)
    y0, y1 = _span(y, is_log)

    def at(px: float, py: float) -> tuple[float, float]:
        py = math.log10(py) if is_log else py
        return left + (px - x0) / (x1 - x0) * wide, top + (y1 - py) / (y1 - y0) * high

    body = [f'<text class="name" x="{left:.0f}" y="18">{escaped(title)}</text>']
    for value in ticks(x0, x1, 4):
        px, _ = at(value, 1.0)
        body.append(f'<path class="grid" d="M{px:.1f} {top:.0f}v{high:.0f}"/>')
        body.append(f'<text class="mid" x="{px:.1f}" y="{top + high + 16:.0f}">{label(value)}</text>')
    for value in _marks(y0, y1, is_log):
        _, py = at(x0, value)
        body.append(f'<path class="grid" d="M{left:.0f} {py:.1f}h{wide:.0f}"/>')
        body.append(f'<text class="end" x="{left - 7:.0f}" y="{py + 4:.1f}">{label(value)}</text>')
    body.append(f'<text class="mid" x="{left + wide / 2:.0f}" y="{top + high + 34:.0f}">{escaped(variable)}</text>')
    body += [_drawn(one, at, is_log) for one in lines]
    if mark is not None:
        px, _ = at(mark[0], 1.0)
        side = ("end", -6) if px > left + wide / 2 else ("", 6)
        body.append(f'<path class="mark" d="M{px:.1f} {top:.0f}v{high:.0f}"/>')
        body.append(
            f'<text class="{side[0]}" x="{px + side[1]:.1f}" y="{top + high - 7:.0f}">{escaped(mark[1])}</text>'
        )
    body += _legend([one for one in lines if one.name], left + wide)
    last = "; ".join(f"{one.name or title} ends at {label(float(one.y[-1]))}" for one in lines if one.y.size)
    return svg(left + wide + 14, top + high + 42, body, f"{title} over {variable}: {last}")


def _span(y: Floats, is_log: bool) -> tuple[float, float]:
    """From where to where: what most points show, so that one that shot off does not press the rest flat."""
    if not y.size:
        return 0.0, 1.0
    y = np.log10(y) if is_log else y
    low, high = float(y.min()), float(y.max())
    q_low, q_high = (float(q) for q in np.percentile(y, [2, 98]))
    if high - low > 8 * (q_high - q_low) > 0:
        low, high = max(low, q_low - (q_high - q_low) / 2), min(high, q_high + (q_high - q_low) / 2)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    return low - margin if is_log or low > margin or low < 0 else 0.0, high + margin


def _marks(low: float, high: float, is_log: bool) -> list[float]:
    if not is_log:
        return ticks(low, high, 3)
    exponents = range(math.floor(low), math.ceil(high) + 1)
    fine = [m * 10.0**e for e in exponents for m in (1, 2, 5)]
    shown = [v for v in fine if low <= math.log10(v) <= high]
    tens = [v for v in shown if math.log10(v) % 1 < 1e-9]
    return tens if len(tens) >= 3 else shown[:: max(len(shown) // 5, 1)]


def _drawn(line: Line, at: Callable[[float, float], tuple[float, float]], is_log: bool) -> str:
    if line.radii is not None:
        places = [(*at(px, py), r) for px, py, r in zip(line.x, line.y, line.radii, strict=True)]
        return "".join(
            f'<circle class="dot {line.style}" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>' for x, y, r in places
        )
    x, y = _thinned(line.x, line.y)
    path, dots, is_down = "", "", False
    for px, py in zip(x.tolist(), y.tolist(), strict=True):
        if not math.isfinite(py) or (is_log and py <= 0):
            is_down = False
            continue
        sx, sy = at(px, py)
        path += f"{'L' if is_down else 'M'}{sx:.1f} {sy:.1f}" + ("" if is_down else "h0")
        dots += f'<circle class="dot {line.style}" cx="{sx:.1f}" cy="{sy:.1f}" r="2.6"/>' if line.has_dots else ""
        is_down = True
    return f'<path class="line {line.style}" d="{path}"/>{dots}'


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Of each stretch of a long line its lowest and highest point."""
    if x.size <= _MOST:
        return x, y
    kept: list[int] = []
    for part in np.array_split(np.arange(x.size), _MOST // 2):
        known = np.where(np.isfinite(y[part]), y[part], 0.0)
        kept += sorted({int(part[known.argmin()]), int(part[known.argmax()])})
    return x[kept], y[kept]


def _legend(lines: Sequence[Line], right: float) -> list[str]:
    body: list[str] = []
    for line in reversed(lines):
        right -= 7.0 * len(line.name) + 30
        body.append(f'<path class="line {line.style}" d="M{right:.0f} 14h16"/>')
        body.append(f'<text x="{right + 21:.0f}" y="18">{escaped(line.name)}</text>')
    return body


def square(
    lines: Sequence[Line], title: str, axes: tuple[str, str], words: str, *, dot: tuple[float, float] | None = None,
    has_diagonal: bool = False, level: float | None = None,
) -> str:  # fmt: skip
    """A small chart of values from 0 to 1 on both axes.

    Chance (or being calibrated) lies on the diagonal, or on the horizontal `level`; `dot` is the operating point.
    """
    side, left, top = 168.0, 42.0, 24.0

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x * side, top + (1 - y) * side

    body = [f'<text class="name" x="{left:.0f}" y="14">{escaped(title)}</text>']
    for value in (0.0, 0.5, 1.0):
        (px, py), text = at(value, value), f"{value:g}"
        body.append(f'<path class="grid" d="M{px:.1f} {top:.0f}v{side:.0f}M{left:.0f} {py:.1f}h{side:.0f}"/>')
        body.append(f'<text class="mid" x="{px:.1f}" y="{top + side + 13:.0f}">{text}</text>')
        body.append(f'<text class="end" x="{left - 4:.0f}" y="{py + 3.5:.1f}">{text}</text>')
    body.append(f'<text class="mid" x="{left + side / 2:.0f}" y="{top + side + 27:.0f}">{escaped(axes[0])}</text>')
    body.append(
        f'<text class="mid" transform="translate(11 {top + side / 2:.0f}) rotate(-90)">{escaped(axes[1])}</text>'
    )
    if has_diagonal:
        (ax, ay), (bx, by) = at(0, 0), at(1, 1)
        body.append(f'<path class="chance" d="M{ax:.1f} {ay:.1f}L{bx:.1f} {by:.1f}"/>')
    if level is not None:
        body.append(f'<path class="chance" d="M{left:.0f} {at(0, level)[1]:.1f}h{side:.0f}"/>')
    body += [_drawn(one, at, False) for one in lines]
    if dot is not None:
        px, py = at(*dot)
        body.append(f'<circle class="point" cx="{px:.1f}" cy="{py:.1f}" r="4"/>')
    return svg(left + side + 10, top + side + 32, body, words)


def staircase(x: Floats, y: Floats, start: tuple[float, float] | None = None) -> tuple[Floats, Floats]:
    """Points of a curve without those on a straight line between their neighbours."""
    if start is not None:
        x, y = np.append(start[0], x), np.append(start[1], y)
    if x.size < 3:
        return x, y
    a, b = np.diff(x), np.diff(y)
    turns = np.abs(a[:-1] * b[1:] - a[1:] * b[:-1]) > 1e-12
    kept = np.concatenate([[True], turns, [True]])
    return x[kept], y[kept]


def interval(value: float | None, low: float | None, high: float | None, floor: float) -> str:
    """A value with its interval on a line from `floor` to 1: for a cell of a table."""
    wide = 130.0

    def at(v: float) -> float:
        return 4 + (min(max(v, floor), 1) - floor) / (1 - floor) * (wide - 8)

    body = [f'<path class="grid" d="M4 9h{wide - 8:.0f}M4 5v8M{wide / 2:.0f} 5v8M{wide - 4:.0f} 5v8"/>']
    if low is not None and high is not None:
        body.append(f'<path class="range" d="M{at(low):.1f} 9H{at(high):.1f}"/>')
    if value is not None:
        body.append(f'<circle class="point" cx="{at(value):.1f}" cy="9" r="3.6"/>')
    return svg(wide, 18, body, "undefined" if value is None else f"{value:.3f}")


def bar(part: float, words: str) -> str:
    """A share from 0 to 1 as a bar: for a cell of a table."""
    wide = 90.0
    body = [f'<rect class="empty" width="{wide:.0f}" height="8" y="4" rx="2"/>']
    if part > 0:
        body.append(f'<rect class="full" width="{max(part * wide, 1):.1f}" height="8" y="4" rx="2"/>')
    return svg(wide, 16, body, words)


def svg(width: float, height: float, body: Sequence[str], words: str) -> str:
    """The picture, as wide as its place allows."""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<svg {size} role="img" aria-label="{escaped(words).replace(chr(34), "&quot;")}">{"".join(body)}</svg>'
