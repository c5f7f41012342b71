"""The profile: what is counted, what is kept, whose time is whose."""

import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import kinone as kn
from kinone.core.modes import modes
from kinone.core.op import op
from kinone.inspection import profile
from kinone.inspection.profile import milliseconds, size


@op(samples=[], definition=lambda x: kn.tanh(x) * 1.0)
def slow(x):
    """Y = tanh x, with a nap."""
    time.sleep(0.02)
    return np.tanh(x)


def test_calls_and_times_by_operator():
    x = kn.Tensor(np.ones((4, 4), np.float32), requires_grad=True)
    with profile() as p:
        y = slow(slow(x)) + x
        y.sum().backward()
    counts = {row.op: (row.calls, row.backward_calls) for row in p.rows}
    assert (counts["slow"], counts["add"], counts["sum"]) == ((2, 2), (1, 1), (1, 1))
    assert (counts["tanh"], counts["multiply"]) == ((2, 2), (2, 2)), "the definition ran inside the rule"
    assert p.rows[0].op == "slow" and 0.04 <= p["slow"].forward < p.elapsed
    assert sum(row.total for row in p.rows) < p.elapsed
    assert modes.observers == ()


def test_a_rule_does_not_pay_for_what_runs_inside_it():
    """The definition of `slow` runs inside its rule; its operators have rows of their own."""
    x = kn.Tensor(np.zeros((300, 300)), requires_grad=True)
    with profile() as p:
        slow(x).sum().backward()
    inside = p["tanh"].total + p["multiply"].total
    assert p["slow"].backward + inside < p.elapsed - p["slow"].forward


def test_bytes_of_results_and_what_is_kept():
    x = kn.Tensor(np.ones((8, 8), np.float32), requires_grad=True)
    with profile() as p:
        a = kn.tanh(x)  # keeps its result
        b = a * a  # keeps a, which is kept already
        c = b.reshape((64,))  # a view
        d = c * x.reshape((64,))  # keeps c, whose memory is b's, and a view of the parameter
    assert d.shape == (64,)
    assert (p["tanh"].result_bytes, p["tanh"].kept_bytes) == (256, 256)
    assert p["reshape"].result_bytes == 0 and p["reshape"].kept_bytes == 0
    assert p["multiply"].result_bytes == 512
    with kn.no_grad(), profile() as q:
        kn.tanh(x)
    assert (q["tanh"].result_bytes, q["tanh"].kept_bytes) == (256, 0)


def test_weights_are_not_what_backward_keeps():
    w = kn.Tensor(np.ones((8, 8), np.float32), requires_grad=True)
    x = kn.Tensor(np.ones((2, 8), np.float32))
    with profile() as p:
        kn.matmul(x, w)
    assert p["matmul"].kept_bytes == x.data.nbytes


def test_several_outputs():
    x = kn.Tensor(np.arange(6.0), requires_grad=True)
    with profile() as p:
        values, _ = kn.topk(x, 2)
        values.sum().backward()
    assert p["topk"].backward_calls == 1 and p["topk"].result_bytes == 2 * 8 + 2 * 8


def test_a_call_that_raises_does_not_upset_the_clock():
    x = kn.Tensor([1.0, 2.0])
    with profile() as p:
        with pytest.raises(kn.errors.ShapeError):
            kn.add(x, kn.Tensor([1.0, 2.0, 3.0]))
        kn.add(x, x)
    assert p["add"].calls == 1
    assert modes.observers == ()


def test_the_table_is_aligned_and_adds_up():
    x = kn.Tensor(np.ones((64, 64)), requires_grad=True)
    with profile() as p:
        kn.tanh(x @ x).sum().backward()
    lines = str(p).splitlines()
    assert lines[0].split() == ["operator", "calls", "forward", "backward", "share", "results", "kept"]
    assert len(set(map(len, lines))) == 1
    assert lines[-1].split()[:2] == ["all", "3"] and "100.0%" in lines[-1]
    assert {line.split()[0] for line in lines[2:-2]} == {"tanh", "matmul", "sum"}
    assert repr(p).startswith("<profile of 3 calls: ")


def test_an_empty_profile():
    with profile() as p:
        pass
    assert p.rows == [] and "all" in p.table()
    ET.fromstring(p.draw())
    with pytest.raises(KeyError):
        p["tanh"]


def test_the_picture(tmp_path):
    x = kn.Tensor([1.0], requires_grad=True)
    with profile() as p:
        kn.tanh(x).backward()
    svg = p.draw(tmp_path / "profile.svg")
    assert (tmp_path / "profile.svg").read_text(encoding="utf-8") == svg
    ET.fromstring(svg)
    for text in (">tanh<", ">forward<", ">backward<", "tanh, backward:"):
        assert text in svg
    assert svg in p._repr_html_() and "<pre>" in p._repr_html_()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 µs"),
        (9.999e-7, "1.00 µs"),
        (0.000999, "999 µs"),
        (0.001, "1.00 ms"),
        (59.94, "59.9 s"),
        (1234.5, "1234 s"),
    ],
)
def test_times_for_people(seconds, text):
    assert milliseconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**40, "1.0 TiB"), (2**52, "4096.0 TiB")]
)
def test_sizes_for_people(count, text):
    assert size(count) == text
