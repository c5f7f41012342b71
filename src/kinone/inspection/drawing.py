"""Pictures in SVG, drawn with nothing but strings: graphs of boxes, for light and dark pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from kinone.inspection.layout import Layout, Port, arrange, spread

_FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_LIGHT = {"page": "#ffffff", "text": "#3d444d", "line": "#8a929c"}
_DARK = {"page": "#14171b", "text": "#c9d1d9", "line": "#7d8590"}
_COLOURS = {  # (fill, outline, text) on a light page, and on a dark one
    "input": (("#e3eefc", "#5b8fd6", "#173a6a"), ("#17283f", "#6c9fe0", "#d5e5fb")),
    "parameter": (("#e4f3e2", "#6aa565", "#1f4a1c"), ("#1a2e1b", "#74b06f", "#d6efd3")),
    "constant": (("#eff1f3", "#9aa3ad", "#3d444d"), ("#24292f", "#7d8590", "#d0d7de")),
    "module": (("#efe9fb", "#8d74c9", "#3a2470"), ("#241c38", "#9a83d6", "#e2d9f8")),
    "operator": (("#fbf2e2", "#c29a5b", "#4a3413"), ("#322716", "#b98f50", "#f5e6cb")),
    "output": (("#ffffff", "#5b8fd6", "#173a6a"), ("#14171b", "#6c9fe0", "#d5e5fb")),
}
_WIDTHS = {  # of DejaVu Sans, wider than the other fonts of the list, in hundredths of the size
    **dict.fromkeys("ijl'|", 28), **dict.fromkeys("frtI !.,:;-·()[]{}\"", 40), **dict.fromkeys("mwMW@%—", 96),
    **dict.fromkeys("cksvxyz_", 59), **dict.fromkeys("CDGHNOQRUVAKX&", 77), **dict.fromkeys("×=+−<>→≤≥~…", 90),
}  # fmt: skip

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A box of a graph; `kind` (input, parameter, constant, module, operator, output) gives the colours."""

    kind: str
    title: str
    detail: str = ""
    tooltip: str = ""


@dataclass(frozen=True)
class Edge:
    """A line from output `port` of one box to another, with what flows along it."""

    source: int
    target: int
    label: str = ""
    port: int = 0


@dataclass(frozen=True)
class Group:
    """A frame around some boxes, by their numbers; those of a group inside another come after it."""

    title: str
    members: frozenset[int]
    tooltip: str = ""


def text_width(text: str, size: float, *, is_bold: bool = False) -> float:
    """How wide `text` can become in any of the fonts that a reader may have."""
    units = sum(_WIDTHS.get(c, 64 if c < "\u2e80" else 100) for c in text)
    return units / 100 * size * (1.1 if is_bold else 1.0)


def shortened(text: str, length: int = 36) -> str:
    """`text` with its middle left out if it is longer than that.

    >>> shortened("layer4.1.downsample.0.weight", 15)
    'layer4.….weight'
    """
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return f"{text[: length - 1 - end]}…{text[-end:]}"


def escaped(text: str) -> str:
    """`text` for XML, which has no way at all to write most control characters."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))


def document(width: float, height: float, body: Sequence[str], title: str) -> str:
    """An SVG file in the house's colours, for pages of either brightness."""
    size = f'width="{width:.0f}" height="{height:.0f}"'
    view = f'viewBox="0 0 {width:.0f} {height:.0f}" role="img"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" class="kinone" {size} {view}>',
        f"<title>{escaped(title)}</title>",
        f"<style>\n{_LAYOUT}\n{_colours(0)}\n@media (prefers-color-scheme: dark) {{\n{_colours(1)}\n}}\n</style>",
        f'<rect class="page" {size} rx="8"/>',
        *body,
        "</svg>\n",
    ])  # fmt: skip


_LAYOUT = f""".kinone text {{ font-family: {_FONT}; font-size: 11px; }}
.kinone .title {{ font-size: 13px; font-weight: 600; }}
.kinone .middle {{ text-anchor: middle; }}
.kinone .end {{ text-anchor: end; }}
.kinone .edge {{ fill: none; stroke-width: 1.3; }}
.kinone .group rect {{ stroke-width: 1; stroke-opacity: 0.35; fill-opacity: 0.045; }}
.kinone .halo {{ stroke-width: 4px; stroke-linejoin: round; paint-order: stroke; }}"""


def _colours(brightness: int) -> str:
    page = (_LIGHT, _DARK)[brightness]
    rules = [
        f".kinone .page {{ fill: {page['page']}; }}",
        f".kinone text {{ fill: {page['text']}; }}",
        f".kinone .edge {{ stroke: {page['line']}; }}",
        f".kinone .head {{ fill: {page['line']}; }}",
        f".kinone .halo {{ stroke: {page['page']}; }}",
        f".kinone .group rect {{ fill: {page['text']}; stroke: {page['text']}; }}",
    ]
    for kind, modes in _COLOURS.items():
        fill, outline, ink = modes[brightness]
        rules.append(f".kinone .{kind} rect {{ fill: {fill}; stroke: {outline}; }}")
        rules.append(f".kinone .{kind} text {{ fill: {ink}; }}")
    return "\n".join(rules)


# ------------------------------------------------------------------------------ graphs
_MARGIN, _GAP, _STUB, _HEAD = 20.0, 56.0, 19.0, 6.0
_ABOVE, _BELOW, _BESIDE = 19.0, 10.0, 9.0  # what a group's frame takes


def draw(boxes: Sequence[Box], edges: Sequence[Edge], title: str = "graph", groups: Sequence[Group] = ()) -> str:
    """The picture of a directed acyclic graph, from the top down, as the text of an SVG file.

    A group whose frame would also hold what does not belong to it has none.
    """
    return _Picture(boxes, edges, groups).svg(title)


class _Picture:
    def __init__(self, boxes: Sequence[Box], edges: Sequence[Edge], groups: Sequence[Group] = ()) -> None:
        self.boxes, self.edges, self.groups = boxes, edges, groups
        self.labels: dict[Port, str] = {}
        for edge in edges:
            self.labels.setdefault((edge.source, edge.port), edge.label)
        self.ports: list[list[int]] = [[] for _ in boxes]
        for source, port in sorted(self.labels):
            self.ports[source].append(port)
        self.width = [self._width(i) for i in range(len(boxes))]
        self.height = [42.0 if box.detail else 28.0 for box in boxes]
        self.halves = [(w / 2, max([w / 2, *self._reaches(i)])) for i, w in enumerate(self.width)]
        loose = [box.kind in ("parameter", "constant") for box in boxes]
        self.layout: Layout = arrange(self.halves, [((e.source, e.port), e.target) for e in edges], loose)
        depth = max((sum(i in group.members for group in groups) for i in range(len(boxes))), default=0)
        self.x = [at + _MARGIN + depth * _BESIDE for at in self.layout.x]
        self.y: list[float] = []  # the middle of each layer
        bottom = _MARGIN
        spans = [sorted(self.layout.layer[i] for i in group.members) for group in groups if group.members]
        for k, row in enumerate(self.layout.layers):
            bottom += _ABOVE * sum(span[0] == k for span in spans)
            tall = max((self.height[v] for v in row if v < len(boxes)), default=28.0)
            self.y.append(bottom + tall / 2)
            bottom += tall + _GAP + _BELOW * sum(span[-1] == k for span in spans)
        self.bottom = bottom - _GAP
        self.frames = self._frames()
        right = (self.x[i] + half[1] for i, half in enumerate(self.halves))
        self.right = max([0.0, *right, *(frame[2] for frame in self.frames.values())])

    def _width(self, i: int) -> float:
        box = self.boxes[i]
        text = max(text_width(box.title, 13, is_bold=True), text_width(box.detail, 11)) + 26
        ports = self.ports[i]
        return text if len(ports) < 2 else max(text, sum(text_width(self.labels[i, p], 11) + 22 for p in ports))

    def _reaches(self, i: int) -> list[float]:
        return [self._port_offset(i, p) + 8 + text_width(self.labels[i, p], 11) for p in self.ports[i]]

    def _port_offset(self, i: int, port: int) -> float:
        step = self.width[i] / len(self.ports[i])
        return (
            (self.ports[i].index(port) + 0.5) * step - self.width[i] / 2 - (0 if len(self.ports[i]) < 2 else step / 4)
        )

    def _port(self, i: int, port: int) -> Point:
        return self.x[i] + self._port_offset(i, port), self._top(i) + self.height[i]

    def svg(self, title: str) -> str:
        tips = self._tips()
        drawn: set[tuple[Point, Point]] = set()
        lines = [self._line(edge, tip, drawn) for edge, tip in zip(self.edges, tips, strict=True)]
        heads = [f'<path class="head" d="M{x:.1f} {y:.1f}l-3.6 -{_HEAD:.0f}h7.2z"/>' for x, y in sorted(set(tips))]
        rects, names = self._groups()
        body = [*rects, *filter(None, lines), *heads, *names, *self._labels(),
                *map(self._box, range(len(self.boxes)))]  # fmt: skip
        kinds = [(kind, kind) for kind in _COLOURS if any(box.kind == kind for box in self.boxes)]
        legend, wide = _legend(kinds, self.bottom + 34)
        return document(max(self.right, wide) + _MARGIN, self.bottom + 34 + _MARGIN, [*body, *legend], title)

    def _before(self, edge: Edge) -> int | None:
        """The last bend above the target; None if the edge comes straight from its source."""
        count = self.layout.layer[edge.target] - self.layout.layer[edge.source] - 1
        return self.layout.bends[edge.source, edge.port][count - 1] if count else None

    def _tips(self) -> list[Point]:
        """Where each edge ends: below the point it comes from, if the top of the box reaches so far."""
        incoming: list[list[tuple[float, int]]] = [[] for _ in self.boxes]
        for k, edge in enumerate(self.edges):
            bend = self._before(edge)
            start = self._port(edge.source, edge.port)[0] if bend is None else self.x[bend]
            incoming[edge.target].append((start, k))
        tips = [(0.0, 0.0)] * len(self.edges)
        for target, arriving in enumerate(incoming):
            arriving.sort()
            x, reach = self.x[target], self.width[target] / 2 - 10
            gap = min(16.0, 2 * reach / max(len(arriving) - 1, 1))
            last = reach - gap * (len(arriving) - 1)
            wanted = [x + min(max(start - x, i * gap - reach), i * gap + last) for i, (start, _) in enumerate(arriving)]
            weights = [100.0 if abs(start - x) < 1 else 1.0 for start, _ in arriving]
            for place, (_, k) in zip(spread(wanted, weights, [gap] * (len(arriving) - 1)), arriving, strict=True):
                tips[k] = (place, self._top(target))
        return tips

    def _top(self, i: int) -> float:
        return self.y[self.layout.layer[i]] - self.height[i] / 2

    def _line(self, edge: Edge, tip: Point, drawn: set[tuple[Point, Point]]) -> str:
        """The curve from port to tip, through the bends; a stretch that another edge has drawn is left out."""
        x, y = self._port(edge.source, edge.port)
        points = [(x, y), (x, y + _STUB)]
        count = self.layout.layer[edge.target] - self.layout.layer[edge.source] - 1
        for bend in self.layout.bends[edge.source, edge.port][:count]:
            middle = self.y[self.layout.layer[bend]]
            points += [(self.x[bend], middle - 14), (self.x[bend], middle + 14)]
        points.append((tip[0], tip[1] - _HEAD + 1))
        path, is_down = "", False
        for stretch in pairwise(points):
            (x1, y1), (x2, y2) = stretch
            if stretch not in drawn:
                path += "" if is_down else f"M{x1:.1f} {y1:.1f}"
                bow = (y2 - y1) / 2
                curve = f"C{x1:.1f} {y1 + bow:.1f} {x2:.1f} {y2 - bow:.1f} {x2:.1f} {y2:.1f}"
                path += f"L{x2:.1f} {y2:.1f}" if abs(x1 - x2) < 0.1 else curve
            is_down = stretch not in drawn
            drawn.add(stretch)
        return f'<path class="edge" d="{path}"/>' if path else ""

    def _labels(self) -> list[str]:
        """What flows out of each port, beside the line where it leaves: to its right, or left if all lines go right."""
        ahead: dict[Port, list[float]] = {}
        for edge in self.edges:
            bends = self.layout.bends[edge.source, edge.port]
            is_direct = self.layout.layer[edge.target] - self.layout.layer[edge.source] == 1
            ahead.setdefault((edge.source, edge.port), []).append(self.x[edge.target if is_direct else bends[0]])
        lines: list[str] = []
        for (source, port), label in self.labels.items():
            x, y = self._port(source, port)
            is_left = (
                len(self.ports[source]) == 1 and min(ahead[source, port]) > x + 20 and self._has_room(source, label)
            )
            at = f'class="halo end" x="{x - 7:.1f}"' if is_left else f'class="halo" x="{x + 7:.1f}"'
            lines.append(f'<text {at} y="{y + 14:.1f}">{escaped(label)}</text>')
        return lines

    def _has_room(self, i: int, label: str) -> bool:
        row = self.layout.layers[self.layout.layer[i]]
        place = row.index(i)
        left = row[place - 1] if place else None
        if left is None:
            return self.x[i] - 8 - text_width(label, 11) > 4
        end = self.x[left] + (self.halves[left][1] if left < len(self.boxes) else 3.0)
        return self.x[i] - 8 - text_width(label, 11) > end

    def _frames(self) -> dict[int, tuple[float, float, float, float]]:
        """The corners of each group's frame: x, y, and x, y of the other end; inner groups first decide."""
        frames: dict[int, tuple[float, float, float, float]] = {}
        for k, group in reversed(list(enumerate(self.groups))):
            inner = [frame for j, frame in frames.items() if self.groups[j].members <= group.members]
            corners = [
                (self.x[i] - self.width[i] / 2, self._top(i), self.x[i] + self.halves[i][1],
                 self._top(i) + self.height[i] + 18) for i in group.members
            ] + inner  # fmt: skip
            if not corners:
                continue
            x1, y1, x2, y2 = (f(c[n] for c in corners) for n, f in enumerate((min, min, max, max)))
            x2 = max(x2, x1 + text_width(group.title, 11) + 6)
            frame = (x1 - _BESIDE, y1 - _ABOVE, x2 + _BESIDE, y2 + _BELOW - 4)
            if not any(i not in group.members and self._is_in(i, frame) for i in range(len(self.boxes))):
                frames[k] = frame
        return frames

    def _is_in(self, i: int, frame: tuple[float, float, float, float]) -> bool:
        half, top = self.width[i] / 2, self._top(i)
        is_beside = self.x[i] + half < frame[0] or self.x[i] - half > frame[2]
        return not (is_beside or top + self.height[i] < frame[1] or top > frame[3])

    def _groups(self) -> tuple[list[str], list[str]]:
        """The frames, which lie below the lines, and their names, which lie above."""
        rects: list[str] = []
        names: list[str] = []
        for k, (x1, y1, x2, y2) in sorted(self.frames.items()):
            group = self.groups[k]
            tip = f"<title>{escaped(group.tooltip)}</title>" if group.tooltip else ""
            rect = f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" rx="8"/>'
            rects.append(f'<g class="group">{tip}{rect}</g>')
            names.append(f'<text class="name halo" x="{x1 + 8:.1f}" y="{y1 + 13:.1f}">{escaped(group.title)}</text>')
        return rects, names

    def _box(self, i: int) -> str:
        box, width, height = self.boxes[i], self.width[i], self.height[i]
        x, top = self.x[i], self._top(i)
        round_ = 7 if box.kind == "operator" else height / 2
        rect = (
            f'<rect x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{round_:.0f}"/>'
        )
        texts = f'<text class="title middle" x="{x:.1f}" y="{top + 18.5:.1f}">{escaped(box.title)}</text>'
        if box.detail:
            texts += f'<text class="middle" x="{x:.1f}" y="{top + 33.5:.1f}">{escaped(box.detail)}</text>'
        tooltip = f"<title>{escaped(box.tooltip)}</title>" if box.tooltip else ""
        return f'<g class="{box.kind}">{tooltip}{rect}{texts}</g>'


def _legend(words: Sequence[tuple[str, str]], y: float) -> tuple[list[str], float]:
    """A swatch and a word for each kind of box, and how far to the right they reach."""
    lines: list[str] = []
    x = _MARGIN
    for kind, word in words:
        swatch = f'<rect x="{x:.1f}" y="{y - 9:.1f}" width="14" height="10" rx="{3 if kind == "operator" else 5}"/>'
        lines.append(f'<g class="{kind}">{swatch}</g><text x="{x + 20:.1f}" y="{y:.1f}">{word}</text>')
        x += 20 + text_width(word, 11) + 18
    return lines, x - 18


# ------------------------------------------------------------------------------ bars
def bars(rows: Sequence[tuple[str, Sequence[float], str]], series: Sequence[str], title: str) -> str:
    """Horizontal bars, one a row (name, one value for each of up to two series, text at its end)."""
    name_width = max((text_width(name, 11) for name, _, _ in rows), default=0.0)
    end_width = max((text_width(text, 11) for _, _, text in rows), default=0.0)
    left, length, step = _MARGIN + name_width + 10, 420.0, 24.0
    longest = max((sum(values) for _, values, _ in rows), default=0.0) or 1.0
    kinds = ("input", "operator")
    body: list[str] = []
    for i, (name, values, text) in enumerate(rows):
        y, x = _MARGIN + i * step, left
        body.append(f'<text class="end" x="{left - 10:.1f}" y="{y + 12:.1f}">{escaped(name)}</text>')
        for kind, word, value in zip(kinds, series, values, strict=False):
            width = value / longest * length
            tip = f"<title>{escaped(f'{name}, {word}: {value:.3g} s')}</title>"
            body.append(
                f'<g class="{kind}">{tip}<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="16" rx="2"/></g>'
            )
            x += width
        body.append(f'<text x="{x + 8:.1f}" y="{y + 12:.1f}">{escaped(text)}</text>')
    bottom = _MARGIN + len(rows) * step
    legend, wide = _legend(list(zip(kinds, series, strict=False)), bottom + 20)
    return document(max(left + length + end_width + 8, wide) + _MARGIN, bottom + 20 + _MARGIN, [*body, *legend], title)
