"""Rules that are wrong on purpose: every check of the matrix must refuse what it is there to refuse."""

import numpy as np
import pytest

import kinone as kn
from kinone.core.op import Array, op
from kinone.errors import ArgumentError
from kinone.ops.declare import Bad, Onnx, Sample, normal
from matrix import (
    check_declaration,
    check_dtype,
    check_error,
    check_gradient,
    check_layouts,
    check_paths,
    check_second_order,
    check_twice,
    check_value,
)

ONE, TWO = [Sample(normal(2, 3))], [Sample(normal(2, 3), normal(2, 3))]


def unary(rule, forward=lambda x: x * x, doc="y = x².   ∂L/∂x = 2 g x.", **declared):
    def square(x: Array) -> Array:
        return forward(x)

    square.__doc__ = doc
    made = op(**{"onnx": Onnx("Mul"), "samples": ONE, **declared})(square)
    if rule is not None:
        made.backward(rule)
    return made


def binary(rule, forward=lambda a, b: a * b):
    def product(a: Array, b: Array) -> Array:
        """y = a b.   ∂L/∂a = g b."""
        return forward(a, b)

    made = op(onnx=Onnx("Mul"), samples=TWO)(product)
    made.backward(rule)
    return made


def inputs(made):
    return made.samples[0].make(made.name, 0)


RIGHT = unary(lambda g, x: 2 * g * x)


def test_a_right_rule_passes_everything():
    s = RIGHT.samples[0]
    check_declaration(RIGHT)
    check_value(RIGHT, s, inputs(RIGHT), np.square)
    check_paths(RIGHT, s, inputs(RIGHT))
    check_layouts(RIGHT, s, inputs(RIGHT))
    check_gradient(RIGHT, s, inputs(RIGHT))
    check_second_order(RIGHT, s, inputs(RIGHT))
    for dtype in (np.float16, np.float32, np.float64):
        check_dtype(RIGHT, s, 0, dtype)
    good = binary(lambda g, a, b: (g * b, g * a))
    check_twice(good, good.samples[0], inputs(good))


BROKEN_FIRST_ORDER = {
    "a factor": lambda g, x: g * x,
    "a sign": lambda g, x: -2 * g * x,
    "forgets g": lambda g, x: 2 * x,
    "one in a million": lambda g, x: 2 * g * x * 1.00001,
    "NaN": lambda g, x: g * x * np.nan,
    "zero": lambda g: g * 0,
    "nothing": lambda g: None,
}


@pytest.mark.parametrize("rule", BROKEN_FIRST_ORDER.values(), ids=BROKEN_FIRST_ORDER)
def test_wrong_gradients_are_refused(rule):
    made = unary(rule)
    with pytest.raises((ArithmeticError, AssertionError)):
        check_gradient(made, made.samples[0], inputs(made))


def test_a_gradient_right_in_value_and_wrong_in_its_own_derivative_is_refused():
    def rule(g, x):
        detached = x.detach() if isinstance(x, kn.Tensor) else x
        return 2 * g * detached

    made = unary(rule)
    check_gradient(made, made.samples[0], inputs(made))
    with pytest.raises(ArithmeticError):
        check_second_order(made, made.samples[0], inputs(made))


def test_a_linear_operator_that_drops_the_graph_is_refused():
    def rule(g):
        return kn.Tensor(g.data * 3) if isinstance(g, kn.Tensor) else g * 3

    made = unary(rule, forward=lambda x: x * 3, doc="y = 3x.   ∂L/∂x = 3g.")
    check_gradient(made, made.samples[0], inputs(made))
    with pytest.raises(ArithmeticError):
        check_second_order(made, made.samples[0], inputs(made))


def test_exchanged_gradients_are_refused():
    made = binary(lambda g, a, b: (g * a, g * b))
    with pytest.raises(ArithmeticError):
        check_gradient(made, made.samples[0], inputs(made))


def test_a_rule_that_knows_its_inputs_by_identity_is_refused():
    def rule(g, a, b):
        return (g * b, g * a) if a is not b else (g * b, None)

    made = binary(rule)
    check_gradient(made, made.samples[0], inputs(made))
    with pytest.raises(AssertionError):
        check_twice(made, made.samples[0], inputs(made))


def forward_with(effect):
    return unary(lambda g, x: 2 * g * x, forward=effect)


CALLS = iter(range(10**6))
BROKEN_FORWARDS = {
    "writes into its input": (check_paths, lambda x: np.multiply(x, x, out=x)),
    "other bits each time": (check_paths, lambda x: x * x + next(CALLS) * 1e-12),
    "reads memory in its own order": (check_layouts, lambda x: np.ravel(x, order="K").reshape(x.shape) ** 2),
    "another value": (check_value, lambda x: x * x + 1e-9),
}


@pytest.mark.parametrize(("check", "effect"), BROKEN_FORWARDS.values(), ids=BROKEN_FORWARDS)
def test_broken_forwards_are_refused(check, effect):
    made = forward_with(effect)
    extra = (np.square,) if check is check_value else ()
    with pytest.raises((AssertionError, ValueError)):
        check(made, made.samples[0], inputs(made), *extra)


def test_a_forward_that_changes_the_dtype_is_refused():
    made = forward_with(lambda x: x.astype(np.float64) ** 2)
    with pytest.raises(AssertionError, match=r"float32.* in, float64 out"):
        check_dtype(made, made.samples[0], 0, np.float32)


def test_a_rule_that_changes_the_dtype_or_shape_is_refused():
    wide = unary(lambda g, x: 2 * g * x.astype(np.float64))
    with pytest.raises((AssertionError, TypeError), match=r"gradient float64|float32 and float64"):
        check_paths(wide, wide.samples[0], wide.samples[0].make(wide.name, 0, np.float32))
    flat = unary(lambda g, x: (2 * g * x).reshape(-1))
    with pytest.raises((AssertionError, ValueError)):
        check_paths(flat, flat.samples[0], inputs(flat))


UNDECLARED = {
    "no sample": {"samples": []},
    "no formula": {"doc": "The square."},
    "no gradient in the formula": {"doc": "y = x²."},
    "no ONNX": {"onnx": None},
}


@pytest.mark.parametrize("declared", UNDECLARED.values(), ids=UNDECLARED)
def test_incomplete_declarations_are_refused(declared):
    with pytest.raises(AssertionError):
        check_declaration(unary(lambda g, x: 2 * g * x, **declared))


def test_an_operator_without_a_rule_is_refused():
    with pytest.raises(AssertionError, match="no rule"):
        check_declaration(unary(None))


def test_a_rule_may_name_only_what_there_is():
    with pytest.raises(ArgumentError, match="gradient_of_y"):
        unary(lambda gradient_of_y, x: x)
    with pytest.raises(ArgumentError, match="a second rule"):
        RIGHT.backward(lambda g: g)


def test_errors_outside_the_form_are_refused():
    def picky(x: Array) -> Array:
        """y = x.   ∂L/∂x = g."""
        raise RuntimeError("no")

    made = op(onnx=Onnx("Identity"), samples=ONE)(picky)
    with pytest.raises(RuntimeError):
        check_error(made, Bad(normal(2), match="no"), 0)
    with pytest.raises(AssertionError, match="accepted"):
        check_error(RIGHT, Bad(normal(2), match="anything"), 0)
