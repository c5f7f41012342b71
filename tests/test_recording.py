"""Recordings: zkynet's walk-through, gradients and Jacobians by every kind of key, and what must not be left behind."""

from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.core.modes import modes
from kinone.errors import ArgumentError, DtypeError, GraphError, ShapeError
from kinone.inspection import Digests, digesting, first_difference, observing, record
from kinone.nn import Module, Parameter


class SimpleModel(Module):
    """zkynet's model: f(x, w) = (x + w)·x²."""

    def __init__(self, w0=1):
        self.w = Parameter(w0)

    def forward(self, x):
        a = kn.add(x, self.param("w"))
        b = kn.square(x)
        return kn.multiply(a, b)


def test_zkynets_walk_through():
    m = SimpleModel()
    result = record(m, 3)
    assert result.value == 36
    assert type(result.value) is float
    result.back()
    assert result.grad(m.param("w")) == 9
    assert result.grad(m.input("x")) == 33  # 3x² + 2wx
    np.testing.assert_array_equal(record(m, [3, 4, 5]).value, [36, 80, 150])
    np.testing.assert_array_equal(record(m, np.array([3.0, 4.0, 5.0], np.float32)).value, [36, 80, 150])


def test_each_call_is_a_recording_of_its_own():
    m = SimpleModel()
    first, second = record(m, 3), record(m, 3)
    assert first != second and len({first, second}) == 2
    assert second.id == first.id + 1
    assert first.nodes()[-1] is not second.nodes()[-1] and first.output is not second.output
    first.back()
    with pytest.raises(GraphError, match=r"call r\.back\(\) first"):
        second.grad("x")


def test_a_module_built_from_a_function():
    m: Any = Module.build(lambda x, w: (x + w) * x**2, w=1.0)
    r = record(m, 3).back()
    assert (r.value, r.grad("w"), r.grad("x"), r.grad(m.input("x")), r.grad(m.w)) == (36, 9, 33, 33, 9)


def test_gradients_collect_in_the_recording_alone():
    m: Any = SimpleModel()
    m(kn.Tensor(2.0)).backward()
    kept = m.w.grad.item()
    x = kn.Tensor(3.0, requires_grad=True)
    r = record(m, x)
    assert r.back().back().grad("w") == 18, "back adds to what is there"
    r.zero_grad()
    assert r.back().grad(x) == 33
    assert m.w.grad.item() == kept == 4 and x.grad is None


def test_a_vector_has_jacobians_of_shape_y_then_x():
    w = kn.Tensor([1.0, 2.0, 3.0], requires_grad=True, dtype=np.float64)
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    r = record(lambda x: (x * w).sum(axis=1), x).back()
    assert r.value.shape == (2,)
    np.testing.assert_array_equal(r.grad(w), x)
    want = np.zeros((2, 2, 3))
    want[0, 0] = want[1, 1] = [1, 2, 3]
    np.testing.assert_array_equal(r.grad("x"), want)
    np.testing.assert_array_equal(r.jacobian(w), x)
    np.testing.assert_array_equal(r.back().grad(w), 2 * x)
    with pytest.raises(GraphError, match=r"gradients to add to, got Jacobians.*zero_grad"):
        r.back(np.ones(2))
    r.zero_grad()
    np.testing.assert_array_equal(r.back([1.0, 10.0]).grad(w), [41, 52, 63])
    with pytest.raises(ShapeError, match=r"cotangent of shape \(2,\), got \(3,\)"):
        r.back(np.ones(3))


def test_a_structure_of_results():
    r = record(lambda x, y: {"sum": (x + y).sum(), "parts": (x * 2, None, "text")}, [1.0, 2.0], y=[3.0, 4.0])
    assert r.value["sum"] == 10 and r.value["parts"][1:] == (None, "text")
    with pytest.raises(GraphError, match=r"one differentiable result.*got 2.*structure of the value"):
        r.back()
    r.back({"sum": 5.0, "parts": ([1.0, 0.0], None, None)})
    np.testing.assert_array_equal(r.grad("x"), [7, 5])
    np.testing.assert_array_equal(r.grad("y"), [5, 5])
    jacobians = r.jacobian("x")
    np.testing.assert_array_equal(jacobians["sum"], [1, 1])
    np.testing.assert_array_equal(jacobians["parts"][0], 2 * np.eye(2))


def test_names_of_inputs_in_structures():
    Pair = namedtuple("Pair", ["a", "b"])

    def f(batch, *rest, scale):
        return batch["p"].a * batch["p"].b * rest[0] + rest[1][0] * scale

    r = record(f, {"p": Pair(2.0, 3.0)}, 5.0, [kn.Tensor(7.0)], scale=11.0)
    assert list(r.inputs) == ["batch['p'].a", "batch['p'].b", "rest[0]", "rest[1][0]"]
    assert r.value == 107
    assert [r.back().grad(name) for name in r.inputs] == [15, 20, 18, 44]


def test_the_same_input_twice_counts_twice():
    x = np.array([2.0, 3.0])
    r = record(lambda a, b: (a * b).sum(), x, x).back()
    np.testing.assert_array_equal(r.grad(x), 2 * x)
    np.testing.assert_array_equal(r.grad("a"), x)
    (call, _) = r.nodes()
    assert call.inputs[0] != call.inputs[1]


def test_the_same_submodule_twice_counts_twice():
    class Twice(Module):
        def __init__(self):
            self.f = SimpleModel()

        def forward(self, x):
            return self.f(x) + self.f(x)

    r = record(Twice(), 3.0).back()
    assert [call.name for call in r.nodes()] == ["add", "square", "multiply"] * 2 + ["add"]
    assert r.grad("f.w") == 18 and r.grad("x") == 66


def test_a_parameter_handed_in_gets_both_gradients():
    w = Parameter(3.0)
    r = record(lambda x: x * x * w, w).back()
    assert r.grad(w) == 27 and r.grad("x") == 18


def test_what_becomes_an_input():
    seen = {}

    def f(*args, **kwargs):
        seen.update(args=args, kwargs=kwargs)
        return args[0] * 1.0

    labels, flag = np.array([1, 2]), object()
    r = record(f, 3, labels, True, "s", None, flag, [True, False], axis=2, w=[1, 2], p=0.5)
    x, *rest = seen["args"]
    assert x.requires_grad and x.dtype == np.float32
    assert isinstance(rest[0], kn.Tensor) and not rest[0].requires_grad and rest[0].data is labels
    assert rest[1:5] == [True, "s", None, flag] and rest[5].dtype == bool
    assert (seen["kwargs"]["axis"], seen["kwargs"]["p"]) == (2, 0.5)
    assert seen["kwargs"]["w"].dtype == np.float32 and seen["kwargs"]["w"].requires_grad
    assert "axis" not in r.inputs
    with pytest.raises(ArgumentError, match=r"something with a gradient: args\[0\], w, got one of an integer dtype"):
        r.back().grad(labels)


def test_plain_numbers_take_the_dtype_of_the_parameters():
    m: Any = Module.build(lambda x, w: x * w, w=np.array([0.1, 0.2]))
    assert record(m, 3).value.dtype == np.float64
    assert record(lambda x, y: x * y, 3, np.ones(2)).value.dtype == np.float64
    with pytest.raises(DtypeError, match=r"inputs of one dtype, got int64 and float64"):
        record(m, np.array([3, 4]))


def test_an_unknown_key_lists_the_known_ones():
    m, other = SimpleModel(), SimpleModel()
    r = record(m, 3).back()
    with pytest.raises(ArgumentError, match=r"\[grad\] expected something with a gradient: x, w, got 'v'"):
        r.grad("v")
    with pytest.raises(ArgumentError, match="a handle of the recorded SimpleModel"):
        r.grad(other.input("x"))
    with pytest.raises(ArgumentError, match="got something else"):
        r.grad(other.w)
    m.requires_grad_(False)
    with pytest.raises(ArgumentError, match="frozen"):
        record(m, 3).back().grad("w")
    both = Module.build(lambda x, w: x * w, w=1.0)
    both.x = Parameter(1.0)
    with pytest.raises(ArgumentError, match="both an input and a parameter"):
        record(both, 3).back().grad("x")


def test_what_does_not_depend_on_anything_cannot_go_back():
    with pytest.raises(GraphError, match="depends on something differentiable"):
        record(lambda x: x > 1, 3.0).back()
    m = SimpleModel()
    m.unused = Parameter([1.0, 2.0])
    np.testing.assert_array_equal(record(m, 3).back().grad("unused"), [0, 0])


def test_an_exception_leaves_nothing_behind():
    calls = []

    def f(x):
        calls.append(x)
        kn.add(x, x)
        raise ValueError("in the middle")

    before = record(SimpleModel(), 1).id
    with kn.no_grad(), pytest.raises(ValueError, match="in the middle"):
        record(f, 1.0)
    assert modes.recording and modes.observers == ()
    assert calls[0].grad is None and record(SimpleModel(), 1).id == before + 1


def test_a_recording_records_inside_no_grad():
    with kn.no_grad():
        assert record(SimpleModel(), 3).back().grad("x") == 33
        assert not modes.recording


def test_nodes_tell_what_ran():
    r = record(lambda x: kn.sum(x * 2.0, axis=1, keepdims=False), np.ones((2, 3), np.float32))
    multiply, total = r.nodes()
    assert (multiply.index, multiply.id, multiply.name, total.id, total.name) == (0, "#0", "multiply", "#1", "sum")
    assert multiply.input_shapes == [(2, 3), ()] and multiply.input_dtypes == [np.float32, None]
    assert (multiply.shape, multiply.dtype, total.shape) == ((2, 3), np.float32, (2,))
    np.testing.assert_array_equal(multiply.value, np.full((2, 3), 2.0))
    assert total.attributes["axis"] == 1 and total.attributes["keepdims"] is False
    assert repr(multiply) == "<#0 = multiply(x, 2.0): 2×3 float32>"
    assert total.formula == "sum(#0, axis=1)", "what is the default goes without saying"


def test_several_outputs_optional_and_variadic_inputs():
    def f(x):
        a, b = kn.topk(x, 2)
        return kn.concat(a, x) * 1.0, b

    r = record(f, [1.0, 3.0, 2.0])
    top, concat, _ = r.nodes()
    assert top.shape == ((2,), (2,)) and len(top.value) == 2
    assert concat.formula == "concat(#0[0], x)" and concat.input_names == ("xs[0]", "xs[1]")
    np.testing.assert_array_equal(r.value[1], [1, 2])
    np.testing.assert_array_equal(r.jacobian("x")[0], [[0, 1, 0], [0, 0, 1], *np.eye(3)])


def test_values_without_gradient_are_recorded_too():
    r = record(lambda i: (i + 1) * 2, np.array([1, 2]))
    assert [call.name for call in r.nodes()] == ["add", "multiply"]
    np.testing.assert_array_equal(r.value, [4, 6])


def test_functions_checkpoints_and_detached_values_keep_their_place_in_the_graph():
    def f(x):
        y = kn.checkpoint(lambda t: t * t, x)
        return y * y.detach()

    r = record(f, 3.0)
    assert [call.formula for call in r.nodes()] == ["multiply(x, x)", "multiply(#0, #0)"]
    assert r.value == 81 and r.back().grad("x") == 54


def test_what_a_function_reached_for_has_its_name():
    weight, offset = kn.Tensor([2.0], requires_grad=True), kn.Tensor([1.0])
    r = record(lambda x: x * weight + offset + kn.Tensor([5.0]), [3.0])
    assert list(r.parameters) == ["weight"]
    assert [call.formula for call in r.nodes()] == ["multiply(x, weight)", "add(#0, offset)", "add(#1, c2)"]
    assert r.back().grad(weight) == 3 and r.grad("weight") == 3


def test_frozen_parameters_and_buffers_have_their_names():
    class Scaled(Module):
        scale: kn.Tensor

        def __init__(self):
            self.w = Parameter(2.0, requires_grad=False)
            self.register_buffer("scale", kn.Tensor(3.0))

        def forward(self, x):
            return x * self.w * self.scale

    r = record(Scaled(), 1.0)
    assert [call.formula for call in r.nodes()] == ["multiply(x, w)", "multiply(#0, scale)"]
    assert list(r.parameters) == ["w"]


def test_a_recording_inside_a_recording():
    inner = []

    def f(x):
        inner.append(record(lambda t: t * t, x))
        return x + inner[0].value

    r = record(f, 3.0)
    assert r.value == 12 and inner[0].back().grad("t") == 6
    assert inner[0].id < r.id and r.back().grad("x") == 1


def test_the_picture_holds_every_call(tmp_path):
    r = record(SimpleModel(), [3, 4])
    svg = r.draw(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == svg
    for text in (">x<", ">w<", ">add<", ">square<", ">multiply<", ">value<", "2 float32", "#2 = multiply(#0, #1)"):
        assert text in svg
    html = r._repr_html_()
    assert svg in html and "<code>multiply(#0, #1)</code>" in html
    assert repr(r) == f"<recording {r.id} of SimpleModel: 3 calls; inputs x; parameters w>"
    assert r.table().splitlines()[2] == "#2 = multiply(#0, #1)  2 float32"


def test_names_are_escaped_in_pictures_and_tables():
    r = record(lambda batch: batch["<a & b>"] * 2.0, {"<a & b>": 1.0})
    assert "<a & b>" not in r._repr_html_()
    assert "batch[&#x27;&lt;a &amp; b&gt;&#x27;]" in r.draw()


# ---------------------------------------------------------------------------- digests
def test_digests_of_scalars_differ_too():
    def of(value):
        with digesting() as d:
            kn.tanh(kn.Tensor(value, requires_grad=True)).backward()
        return [x.hex for x in d.digests()]

    assert of(1.0) == of(1.0) and not set(of(1.0)) & set(of(2.0))


def test_the_first_difference_names_the_operator():
    def f(x, w):
        return kn.tanh(x * w) + 1.0

    x = np.linspace(-1, 1, 5)
    a, b = record(f, x, x), record(f, x, x)
    assert first_difference(a, b) is None
    assert [d.op for d in a.digests()] == ["multiply", "tanh", "add"]
    difference: Any = first_difference(a, record(f, x, np.nextafter(x, 2)))
    assert difference is not None and (difference.first.number, difference.first.op) == (0, "multiply")
    longer = record(lambda x, w: f(x, w) * 2.0, x, x)
    difference = first_difference(a, longer)
    assert difference is not None and difference.first is None and difference.second.op == "multiply"


def test_digests_see_signs_of_zero_shapes_and_dtypes():
    def of(x):
        with observing(Digests()) as d:
            kn.identity(kn.Tensor(x))
        return d.digests()[0].hex

    arrays = [np.zeros(4), -np.zeros(4), np.zeros((2, 2)), np.zeros(8, np.float32), np.zeros((0, 3)), np.zeros((3, 0))]
    assert len({of(x) for x in arrays}) == len(arrays)
    assert of(np.arange(6.0).reshape(2, 3).T) == of(np.arange(6.0).reshape(2, 3).T.copy()), (
        "layout is nobody's business"
    )


def test_digests_of_a_whole_step():
    def step(lr):
        w = kn.Tensor([1.0, 2.0], requires_grad=True)
        with digesting() as d:
            ((w * w).sum() * lr).backward()
        return d

    a = step(0.1)
    assert [x.op for x in a.digests()] == [
        "multiply",
        "sum",
        "multiply",
        "multiply_backward",
        "sum_backward",
        "multiply_backward",
    ]
    assert first_difference(a, step(0.1)) is None
    difference: Any = first_difference(a, step(0.2))
    assert difference is not None and difference.first.number == 2
