"""Pictures: valid XML, nothing on top of anything else, the same text each time, and soon enough for large graphs."""

import re
import time
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from kinone.inspection import Box, Edge, draw
from kinone.inspection.drawing import bars, escaped, shortened, text_width
from kinone.inspection.layout import arrange, spread
from kinone.random import Stream

SVG = "{http://www.w3.org/2000/svg}"


def residual(blocks):
    """A stem, then blocks with a skip each: trunk, parameters beside it, long edges."""
    boxes, edges = [Box("input", "x")], []

    def add(kind, title, *sources, detail="", label="8×64×56×56 float32"):
        boxes.append(Box(kind, title, detail, f"{title} of {len(sources)}"))
        edges.extend(Edge(source, len(boxes) - 1, label if source else "8×3×224×224 float32") for source in sources)
        return len(boxes) - 1

    h = 0
    for i in range(blocks):
        w = add("parameter", f"layer1.{i}.conv1.weight")
        c = add("operator", "conv2d", h, w, detail="stride=2, padding=1")
        n = add("operator", "batch_norm", c, *(add("parameter", f"layer1.{i}.bn1.{k}") for k in ("weight", "bias")))
        h = add("operator", "add", n, h)
    add("output", "value", h)
    return boxes, edges


def random_graph(seed):
    stream = Stream("drawing", seed=seed)
    boxes = [Box("input", f"x{i}") for i in range(3)]
    edges = []
    for _ in range(25):
        detail = "axis=(0, 1), keepdims=True" if stream.bernoulli((), 0.3) else ""
        boxes.append(Box("operator", "sum" if stream.bernoulli((), 0.5) else "scaled_dot_product_attention", detail))
        for source in set(stream.integers(2, low=0, high=len(boxes) - 1).tolist()):
            edges.append(Edge(source, len(boxes) - 1, "32×128 float32", port=int(stream.bernoulli((), 0.2))))
    return boxes, edges


def rectangles(svg):
    """(x0, y0, x1, y1) of boxes, and of the labels that stand on the page, as wide as they can become."""
    root: Any = ET.fromstring(svg)
    boxes = []
    for group in root.iter(f"{SVG}g"):
        texts = group.findall(f"{SVG}text")
        if texts:
            r = group.find(f"{SVG}rect")
            x, y, w, h = (float(r.get(name)) for name in ("x", "y", "width", "height"))
            boxes.append((x, y, x + w, y + h))
            for text, size in zip(texts, (13, 11), strict=False):
                assert text_width(text.text or "", size, is_bold=size == 13) <= w - 8, "text leaves its box"
                assert y + 8 < float(text.get("y")) < y + h - 4
    labels = []
    for text in root.findall(f"{SVG}text"):
        if "halo" in (text.get("class") or ""):
            x, y, w = float(text.get("x")), float(text.get("y")), text_width(text.text or "", 11)
            labels.append((x - w, y - 9, x, y + 2) if "end" in text.get("class") else (x, y - 9, x + w, y + 2))
    return boxes, labels, (float(root.get("width")), float(root.get("height")))


def overlap(a, b):
    return a[0] < b[2] - 0.2 and b[0] < a[2] - 0.2 and a[1] < b[3] - 0.2 and b[1] < a[3] - 0.2


@pytest.mark.parametrize("graph", [residual(1), residual(6), *map(random_graph, range(12))])
def test_nothing_covers_anything(graph):
    boxes, labels, (width, height) = rectangles(draw(*graph))
    assert len(boxes) == len(graph[0]) and len(labels) == len({(e.source, e.port) for e in graph[1]})
    everything = boxes + labels
    for i, a in enumerate(everything):
        assert a[0] >= 0 and a[1] >= 0 and a[2] <= width and a[3] <= height, "outside the page"
        assert not [b for b in everything[:i] if overlap(a, b)]


def test_edges_run_downwards_from_box_to_box():
    boxes, edges = residual(3)
    root: Any = ET.fromstring(draw(boxes, edges))
    assert len(root.findall(f"{SVG}path[@class='head']")) == len(edges)
    for path in root.findall(f"{SVG}path[@class='edge']"):
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", path.get("d"))]
        assert numbers[1] < numbers[-1]


def test_a_trunk_is_straight():
    boxes, edges = residual(6)
    layout = arrange(
        [(60.0, 60.0)] * len(boxes), [((e.source, 0), e.target) for e in edges], [b.kind == "parameter" for b in boxes]
    )
    trunk = [i for i, box in enumerate(boxes) if box.kind == "operator"]
    assert max(layout.x[i] for i in trunk) - min(layout.x[i] for i in trunk) < 3
    assert all(layout.layer[e.source] < layout.layer[e.target] for e in edges)


def test_equal_graphs_give_equal_pictures():
    assert draw(*random_graph(3)) == draw(*random_graph(3))


def test_whatever_the_text_it_is_xml():
    nasty = "<&>\"' \x00\x1b ]]> é 木 \ud800"
    svg = draw([Box("input", nasty, nasty, nasty), Box("operator", nasty)], [Edge(0, 1, nasty)], nasty)
    root: Any = ET.fromstring(svg)
    shown = "<&>\"' \ufffd\ufffd ]]> é 木 \ufffd"
    assert root.find(f"{SVG}title").text == shown and escaped("<") == "&lt;"
    assert svg.encode("utf-8")


def test_light_and_dark():
    svg = draw(*residual(1))
    assert "prefers-color-scheme: dark" in svg
    for kind in ("input", "parameter", "constant", "operator", "output"):
        assert svg.count(f".kinone .{kind} rect") == 2
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", ""), "a picture needs no network"


def test_empty_and_single():
    ET.fromstring(draw([], []))
    boxes, _, _ = rectangles(draw([Box("output", "value")], []))
    assert len(boxes) == 1


def test_five_hundred_boxes_are_soon_drawn():
    boxes, edges = residual(100)
    assert len(boxes) > 500
    start = time.process_time()
    draw(boxes, edges)
    assert time.process_time() - start < 10


def test_long_names_lose_their_middle():
    name = "encoder.layers.11.self_attention.out_projection.weight"
    assert (
        len(shortened(name)) == 36
        and shortened(name).startswith("encoder.layers")
        and shortened(name).endswith("weight")
    )
    assert shortened("short") == "short"


def test_spread_keeps_the_gaps_at_the_least_cost():
    assert spread([], [], []) == []
    assert spread([5.0, 0.0], [1.0, 1.0], [2.0]) == [1.5, 3.5]
    assert spread([5.0, 0.0], [1e9, 1.0], [2.0]) == pytest.approx([5.0, 7.0])
    assert spread([0.0, 10.0, 10.0], [1.0, 1.0, 1.0], [1.0, 4.0]) == [0.0, 8.0, 12.0]


def test_bars():
    svg = bars([("matmul", (1.0, 3.0), "4 s"), ("add", (1.0, 0.0), "1 s")], ("forward", "backward"), title="Time")
    root: Any = ET.fromstring(svg)
    widths = [
        float(r.get("width"))
        for g in root.findall(f"{SVG}g")
        if g.find(f"{SVG}title") is not None
        for r in g.findall(f"{SVG}rect")
    ]
    assert widths == [105, 315, 105, 0]
