"""The picture that `kinone bench --plot` draws: a bar for the ratio of each work, on a logarithmic scale."""

import math
from collections.abc import Sequence
from typing import Any

from kinone.inspection.drawing import document, escaped

_LEFT, _TOP, _WIDE, _ROW = 380.0, 64.0, 520.0, 22.0
_STYLE = """<style>
.kinone .met { fill: #2e8b57; } .kinone .ahead { fill: #c9932b; } .kinone .behind { fill: #c0473b; }
.kinone .grid { stroke: #e4e8ec; } .kinone .one { stroke: #6b747e; stroke-width: 1.5; }
.kinone .target { stroke: #173a6a; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
.kinone .met { fill: #4fb37c; } .kinone .ahead { fill: #e0b050; } .kinone .behind { fill: #e0695d; }
.kinone .grid { stroke: #2a3036; } .kinone .one { stroke: #9aa3ad; } .kinone .target { stroke: #d5e5fb; }
}
</style>"""


def picture(works: Sequence[dict[str, Any]]) -> str:
    """The text of an SVG file."""
    rows = [work for work in works if work.get("ratio")]
    values = [value for work in rows for value in (work["ratio"], work["target"])] or [1.0]
    low, high = min(0.5, *values) * 0.9, max(4.0, *values) * 1.15

    def at(ratio: float) -> float:
        return _LEFT + _WIDE * math.log(ratio / low) / math.log(high / low)

    bottom = _TOP + _ROW * len(rows)
    title = "Time of the best peer by Kinone's"
    body = [_STYLE, f'<text class="title" x="16" y="26">{title}</text>',
            '<text x="16" y="46">above 1, Kinone is faster; the stroke is the target</text>']  # fmt: skip
    for mark in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        if low <= mark <= high:
            body.append(f'<path class="{"one" if mark == 1 else "grid"}" d="M{at(mark):.1f} {_TOP - 6}V{bottom:.1f}"/>')
            body.append(f'<text class="middle" x="{at(mark):.1f}" y="{bottom + 18:.1f}">{mark:g}×</text>')
    for i, work in enumerate(rows):
        y, ratio = _TOP + i * _ROW, work["ratio"]
        kind = "met" if ratio >= work["target"] else "ahead" if ratio >= 1 else "behind"
        x0, x1 = sorted((at(1.0), at(ratio)))
        body += [
            f'<text class="end" x="{_LEFT - 10}" y="{y + 14:.1f}">{escaped(work["name"])}</text>',
            f'<rect class="{kind}" x="{x0:.1f}" y="{y + 3:.1f}" width="{max(x1 - x0, 1):.1f}" height="{_ROW - 8}"/>',
            f'<path class="target" d="M{at(work["target"]):.1f} {y + 1:.1f}v{_ROW - 4}"/>',
            f'<text x="{max(x1, at(work["target"])) + 6:.1f}" y="{y + 14:.1f}">{ratio:.2f}×</text>',
        ]
    return document(_LEFT + _WIDE + 60, bottom + 34, body, title)
