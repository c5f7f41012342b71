"""The generated matrix: every operator × sample × property. A new operator is tested by being in the list."""

import numpy as np
import pytest

from kinone.ops import ALL_OPS
from matrix import (
    check_declaration,
    check_dtype,
    check_error,
    check_gradient,
    check_layouts,
    check_onnx_names,
    check_paths,
    check_second_order,
    check_twice,
    check_value,
    has_gradient,
)
from oracles import ORACLES

CASES = [pytest.param(op, i, s, id=f"{op.name}-{i}") for op in ALL_OPS.values() for i, s in enumerate(op.samples)]
SMOOTH = [
    pytest.param(op, i, s, id=f"{op.name}-{i}")
    for op in ALL_OPS.values()
    for i, s in enumerate(op.samples)
    if s.smooth and has_gradient(op, s.make(op.name, i))
]
BAD = [pytest.param(op, i, b, id=f"{op.name}-bad{i}") for op in ALL_OPS.values() for i, b in enumerate(op.errors)]
OPS = [pytest.param(op, id=op.name) for op in ALL_OPS.values()]


@pytest.mark.parametrize("op", OPS)
def test_declaration(op):
    check_declaration(op)


@pytest.mark.parametrize("op", OPS)
def test_onnx_names(op):
    pytest.importorskip("onnx")
    check_onnx_names(op)


@pytest.mark.parametrize("op", OPS)
def test_has_an_oracle(op):
    assert op.definition or op.numpy or op.name in ORACLES, f"nothing to hold {op.name}'s values against"


@pytest.mark.parametrize("op", OPS)
def test_every_differentiable_operator_is_checked_to_second_order(op):
    if not op.no_gradient:
        assert any(case.values[0] is op for case in SMOOTH), f"{op.name} has no sample for the finite differences"


@pytest.mark.parametrize(("op", "i", "sample"), CASES)
def test_value(op, i, sample):
    check_value(op, sample, sample.make(op.name, i), ORACLES.get(op.name))


@pytest.mark.parametrize(("op", "i", "sample"), CASES)
def test_paths(op, i, sample):
    check_paths(op, sample, sample.make(op.name, i))


@pytest.mark.parametrize(("op", "i", "sample"), CASES)
def test_layouts(op, i, sample):
    check_layouts(op, sample, sample.make(op.name, i))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("op", "i", "sample"), CASES)
def test_dtype(op, i, sample, dtype):
    check_dtype(op, sample, i, dtype)


@pytest.mark.parametrize(("op", "i", "sample"), SMOOTH)
def test_gradient(op, i, sample):
    check_gradient(op, sample, sample.make(op.name, i))


@pytest.mark.parametrize(("op", "i", "sample"), SMOOTH)
def test_second_order(op, i, sample):
    check_second_order(op, sample, sample.make(op.name, i))


@pytest.mark.parametrize(("op", "i", "sample"), SMOOTH)
def test_same_tensor_twice(op, i, sample):
    check_twice(op, sample, sample.make(op.name, i))


@pytest.mark.parametrize(("op", "i", "bad"), BAD)
def test_error(op, i, bad):
    check_error(op, bad, i)
