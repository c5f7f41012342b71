"""Operators drawn as curves: where the picture looks, what it joins, and that braille fills its frame."""

import numpy as np
import pytest

from kinone.inspection.curve import curve
from kinone.inspection.plot import braille, limits, ticks
from kinone.ops import ALL_OPS


def test_an_elementwise_operator_is_drawn_with_its_derivative():
    drawn = curve(ALL_OPS["tanh"])
    y, slope = drawn.series
    assert (drawn.title, drawn.variable) == ("y = tanh(x)", "x")
    np.testing.assert_allclose(y.y, np.tanh(y.x))
    np.testing.assert_allclose(slope.y, 1 - np.tanh(y.x) ** 2)


def test_attributes_of_the_sample_are_in_the_title():
    assert curve(ALL_OPS["clip"]).title == "y = clip(x, min=-0.5, max=0.7)"
    assert curve(ALL_OPS["conv2d"]).title.startswith("f(t) = Σ c·conv2d(x + t·d, w")


@pytest.mark.parametrize("name", ["softmax", "sum", "cumulative_sum", "sort", "flip", "matmul", "batch_norm"])
def test_others_are_drawn_along_a_line(name):
    drawn = curve(ALL_OPS[name])
    f, slope = drawn.series
    assert drawn.variable == "t"
    is_smooth = np.isfinite(f.y)
    numeric = np.gradient(f.y, f.x)[is_smooth]
    if name != "sort":
        np.testing.assert_allclose(numeric[1:-1], slope.y[is_smooth][1:-1], atol=0.05 * np.abs(slope.y).max() + 1e-9)


def test_jumps_are_not_joined_and_slopes_are():
    floor = curve(ALL_OPS["floor"]).series[0]
    jumps = floor.x[np.isnan(floor.y)]
    np.testing.assert_allclose(np.sort(np.rint(jumps)), np.arange(-3, 5))
    assert not np.isnan(curve(ALL_OPS["exp"]).series[0].y).any()
    relu, slope = curve(ALL_OPS["relu"]).series
    assert not np.isnan(relu.y).any() and np.isnan(slope.y).sum() == 1


def test_the_picture_looks_where_the_function_is_defined():
    x = curve(ALL_OPS["acosh"]).series[0].x
    assert 0.9 < x.min() <= 1 and x.max() == 4
    assert np.isnan(curve(ALL_OPS["log"]).series[0].y).sum() <= 1


def test_poles_do_not_flatten_the_rest():
    _, _, low, high = limits(curve(ALL_OPS["reciprocal"]))
    assert -30 < low < 0 < high < 30


@pytest.mark.parametrize("name", ["tanh", "tan", "sign", "stop_gradient", "softmax"])
@pytest.mark.parametrize(("width", "height"), [(96, 14), (40, 6)])
def test_braille_fills_its_frame(name, width, height):
    rows = braille(curve(ALL_OPS[name]), width, height)
    assert len(rows) == height + 2
    texts = ["".join(text for text, _ in row) for row in rows]
    assert max(map(len, texts)) <= width
    assert {role for row in rows for _, role in row} >= {"0", "axis", "label"}
    assert sum(c in "┤" for text in texts for c in text) >= 3, "ticks"


def test_braille_of_the_identity_is_a_diagonal():
    rows = braille(curve(ALL_OPS["identity"]), 60, 12)
    firsts = ["".join(t if role == "0" else " " * len(t) for t, role in row) for row in rows[:-2]]
    columns = [len(text) - len(text.lstrip()) for text in firsts if text.strip()]
    assert columns == sorted(columns, reverse=True) and len(columns) >= 10


def test_ticks_are_round():
    assert ticks(-1.08, 1.08, 3) == [-1, 0, 1]
    assert ticks(0.1, 0.35, 3) == pytest.approx([0.1, 0.2, 0.3])
    assert ticks(-4.3, 4.3, 3) == [-4, -2, 0, 2, 4]
