"""The picture of a recording by modules: what is a box, what is a frame, and what flows between them."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import models, nn
from kinone.errors import ArgumentError
from kinone.inspection.drawing import Box, Edge, Group, draw

SVG = "{http://www.w3.org/2000/svg}"
X = np.ones((2, 3, 32, 32), np.float32)


def boxes(svg: str) -> list[tuple[str, str, str]]:
    """(kind, title, detail) of each box, in order."""
    root: Any = ET.fromstring(svg)
    groups = [g for g in root.iter(f"{SVG}g") if g.find(f"{SVG}text") is not None]
    found = []
    for g in groups:
        title, *rest = [text.text or "" for text in g.findall(f"{SVG}text")]
        found.append((g.get("class"), title, rest[0] if rest else ""))
    return found


def frames(svg: str) -> list[str]:
    root: Any = ET.fromstring(svg)
    return [text.text for text in root.findall(f"{SVG}text") if "name" in (text.get("class") or "")]


def small() -> models.ResNet:
    return models.ResNet(models.BasicBlock, (1, 1, 1, 1), num_classes=5)


def test_one_box_a_part_at_depth_1():
    r = kn.record(small(), X)
    svg = r.draw(by="modules", depth=1)
    names = [title for kind, title, _ in boxes(svg) if kind == "module"]
    assert names == ["conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]
    assert [title for kind, title, _ in boxes(svg) if kind == "operator"] == ["flatten"]
    assert ("module", "fc", "Linear · 2,565 parameters") in boxes(svg) and frames(svg) == []
    assert "2×512×1×1 float32" in svg and "2×5 float32" in svg


def test_the_whole_is_one_box_at_depth_0():
    assert [kind for kind, *_ in boxes(kn.record(small(), X).draw(by="modules", depth=0))] == [
        "input",
        "module",
        "output",
    ]


def test_opened_modules_are_frames():
    svg = kn.record(small(), X).draw(by="modules")
    names = [title for kind, title, _ in boxes(svg) if kind == "module"]
    assert names.count("conv1") == 5 and names.count("conv2") == 4
    assert "layer2 · Sequential › 0 · BasicBlock" in frames(svg) and "downsample · Sequential" in frames(svg)
    assert not [box for box in boxes(svg) if box[0] == "parameter"]
    two = kn.record(small(), X).draw(by="modules", depth=2)
    assert "layer2 · Sequential" in frames(two) and "downsample · Sequential" not in frames(two)


def test_a_shared_module_has_a_box_for_each_call():
    class Twice(nn.Module):
        def __init__(self) -> None:
            self.layer, self.w = nn.Linear(3, 3), nn.Parameter(np.ones(3, np.float32))

        def forward(self, x: Any) -> Any:
            return self.layer(kn.relu(self.layer(x) + self.w))

    svg = kn.record(Twice(), np.ones((2, 3), np.float32)).draw(by="modules")
    assert [title for _, title, _ in boxes(svg)] == ["x", "layer", "add", "w", "relu", "layer", "value"]


def test_it_still_draws_what_is_no_module():
    svg = kn.record(lambda x: kn.relu(x) * 2.0, [1.0, -1.0]).draw(by="modules")
    assert [title for _, title, _ in boxes(svg)] == ["x", "relu", "multiply", "value"]
    assert [t for _, t, _ in boxes(kn.record(nn.Identity(), [1.0]).draw(by="modules"))] == ["x", "value"]


def test_several_results_of_a_module_leave_it_side_by_side():
    class Pair(nn.Module):
        def __init__(self) -> None:
            self.lstm, self.out = nn.LSTM(3, 4), nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            y, (h, _) = self.lstm(x)
            return self.out(y), h

    svg = kn.record(Pair(), np.ones((5, 2, 3), np.float32)).draw(by="modules", depth=1)
    assert {"lstm", "out"} <= {title for _, title, _ in boxes(svg)}
    assert "5×2×4 float32" in svg and "1×2×4 float32" in svg


def test_bad_arguments_are_refused():
    r = kn.record(small(), X)
    with pytest.raises(ArgumentError, match=r'by="operators", or by="modules"'):
        r.draw(by="layers")
    with pytest.raises(ArgumentError, match="depth=1"):
        r.draw(depth=1)
    with pytest.raises(ArgumentError, match="depth=-1"):
        r.draw(by="modules", depth=-1)


def test_a_module_that_fails_and_is_caught_confuses_nobody():
    class Careful(nn.Module):
        def __init__(self) -> None:
            self.narrow, self.right = nn.Linear(2, 2), nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            try:
                return self.narrow(x)
            except kn.errors.ShapeError:
                return kn.relu(self.right(x))

    svg = kn.record(Careful(), np.ones((1, 3), np.float32)).draw(by="modules")
    assert [title for kind, title, _ in boxes(svg) if kind in ("module", "operator")] == ["right", "relu"]


def test_calls_without_a_default_for_an_attribute_are_told():
    r = kn.record(lambda x: kn.split(kn.reshape(x, (4,)), sections=2, axis=0)[0], [[1.0, 2.0], [3.0, 4.0]])
    assert "reshape(x, shape=(4,))" in r.table() and "sections=2" in repr(r.nodes()[1])


# ------------------------------------------------------------------------------ frames
def test_a_frame_holds_its_own_boxes_and_no_others():
    chain = [Box("module", name) for name in "abcde"]
    edges = [Edge(i, i + 1, "3×3 float32") for i in range(4)]
    groups = [
        Group("outer", frozenset({1, 2, 3})),
        Group("inner", frozenset({2, 3})),
        Group("wrong", frozenset({0, 4})),
    ]
    svg = draw(chain, edges, groups=groups)
    root: Any = ET.fromstring(svg)
    assert frames(svg) == ["outer", "inner"]
    rect = [{k: float(r.get(k)) for k in ("x", "y", "width", "height")}
            for g in root.findall(f"{SVG}g[@class='group']") for r in g.findall(f"{SVG}rect")]  # fmt: skip
    outer, inner = rect
    assert outer["x"] < inner["x"] and outer["y"] < inner["y"]
    assert outer["y"] + outer["height"] > inner["y"] + inner["height"]
    middles = [float(y) for y in re.findall(r'<g class="module"><rect x="[\d.]+" y="([\d.]+)"', svg)][:5]
    assert [outer["y"] < y < outer["y"] + outer["height"] for y in middles] == [False, True, True, True, False]
    assert [inner["y"] < y < inner["y"] + inner["height"] for y in middles] == [False, False, True, True, False]
