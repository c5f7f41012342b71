"""The operators' ONNX data, proven by value: each sample as a model of one node, run by ONNX's own evaluator.

What is exported by its definition is followed down to such nodes. A call without a form is skipped, for the reason
that the operator's data or ONNX's schema gives; what the evaluator cannot do, tests/peers/test_onnx_runtime.py can.
"""

import warnings

import numpy as np
import pytest

import kinone as kn
from kinone.core.op import op
from kinone.ops import ALL_OPS
from kinone.ops.declare import ByDefinition, Literal, NoOnnx, Onnx, Sample, normal

pytest.importorskip("onnx")

from onnx.checker import ValidationError
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import InferenceError

from onnx_node import NEWEST, OLDEST, SAMPLES, check_written, sampled


def fault(call):
    """What the evaluator does wrong or not at all."""
    x, want = np.asarray(call.inputs[0]), call.want[0]
    return {
        "BatchNormalization": "mixes the momentum in" if call.opset < 15 else "",
        "Col2Im": "" if x.size else "wants a batch",
        "ConvTranspose": "ignores groups" if call.attrs.get("groups", 1) > 1 else "" if x.size else "wants a batch",
        "LogSoftmax": "takes ln 0" if np.abs(x).max(initial=0) > 700 else "",
        "OneHot": "subtracts booleans" if want.dtype == bool else "",
        "ReduceLogSumExp": "takes −∞ from −∞" if np.isinf(x).any() else "" if x.ndim else "wants an axis",
        "Resize": "" if x.size else "wants a batch",
        "Softsign": "" if x.ndim else "wants an axis",
    }.get(call.node.op_type, "")


def evaluated(call, proto, fed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by 0 on the way
        return None if fault(call) else ReferenceEvaluator(proto).run(None, fed)


@pytest.mark.parametrize("opset", [OLDEST, NEWEST])
@pytest.mark.parametrize(("op", "i", "dtype"), SAMPLES)
def test_value(op, i, dtype, opset):
    if reason := check_written(sampled(op, i, dtype, opset), evaluated):
        pytest.skip(reason)


# ---------------------------------------------------------------------------- what has no form, all of it
WITHOUT = {
    "erfinv", "signbit", "isclose", "nonzero", "inv", "solve", "slogdet", "cholesky", "convolution_weight_gradient",
    "avg_unpool", "interpolate_transpose", "ctc_nll", "sigmoid_nll", "softmax_nll", "keyed_dropout",
}  # fmt: skip


def test_what_has_no_form():
    assert {op.name for op in ALL_OPS.values() if isinstance(op.onnx, NoOnnx)} == WITHOUT


@pytest.mark.parametrize("name", sorted({*ALL_OPS} - WITHOUT))
def test_every_other_operator_has_one(name):
    reasons = [
        check_written(sampled(ALL_OPS[name], i, np.float32, NEWEST), lambda *_: None)
        for i in range(len(ALL_OPS[name].samples))
    ]
    assert not all(reasons), reasons


# ---------------------------------------------------------------------------- the tests find what is false
def checked(onnx, definition=None):
    def made(x, *, axis=0):
        return np.tanh(x)

    made_op = op(onnx=onnx, samples=[Sample(normal(2, 3))], definition=definition)(made)
    return check_written(sampled(made_op, 0, np.float64, NEWEST), evaluated)


def test_a_true_mapping_passes():
    assert not checked(Onnx("Tanh"))
    assert not checked(ByDefinition(), lambda x, axis: kn.tanh(x))


@pytest.mark.parametrize(
    "mapping",
    [
        Onnx("Sin"),
        Onnx("Tanhh"),
        Onnx("Tanh", attributes={"axis": "axis"}),
        Onnx("Tanh", inputs=("x", "x")),
        Onnx("Cast", attributes={"to": Literal(np.dtype(np.float32))}),
        Onnx("ReduceSum", inputs=("x", "axis")),
    ],
    ids=["value", "operator", "attribute", "number of inputs", "dtype", "shape"],
)
def test_a_false_mapping_is_found(mapping):
    with pytest.raises((AssertionError, ValidationError, InferenceError)):
        checked(mapping)


def test_a_definition_without_a_form_is_found():
    reason = "made: erfinv: ONNX has no inverse of the error function"
    assert checked(ByDefinition(), lambda x, axis: kn.erfinv(x)) == reason
