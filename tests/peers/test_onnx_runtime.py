"""The operators' ONNX data again, run by ONNX Runtime."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the models are made with onnx")
onnxruntime: Any = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from onnx import helper  # noqa: E402
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, NotImplemented  # noqa: E402

from onnx_node import NEWEST, OLDEST, SAMPLES, check_value, declared, model, sampled  # noqa: E402

QUIET = onnxruntime.SessionOptions()
QUIET.log_severity_level = 4


def session(proto):
    return onnxruntime.InferenceSession(proto.SerializeToString(), QUIET, providers=["CPUExecutionProvider"])


def is_read(opset):
    x, imports = declared("x", np.zeros(1)), [helper.make_opsetid("", opset)]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [declared("y", np.zeros(1))])
    try:
        session(helper.make_model(graph, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports)))
    except Fail:
        return False
    return True


OPSETS = (OLDEST, next(n for n in range(NEWEST, OLDEST, -1) if is_read(n)))
NODES = [
    pytest.param(call, id=f"{sample.id}-{opset}")
    for sample in SAMPLES
    for op, i, dtype in [sample.values]
    for opset in OPSETS
    if (call := sampled(op, i, dtype, opset)).node is not None
]


@pytest.mark.parametrize("call", NODES)
def test_value(call):
    proto, fed = model(call)
    try:
        runtime = session(proto)
    except NotImplemented:
        pytest.skip(f"ONNX Runtime has no {call.node.op_type} of {call.want[0].dtype}")
    check_value(call, runtime.run(None, fed))
