"""One call of an operator as an ONNX model of one node, made of nothing but the operator's own `onnx` data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.defs import OpSchema

from kinone.core.arguments import bound
from kinone.core.tensor import Tensor, wrap
from kinone.inspection.observer import Observer, observing
from kinone.ops import ALL_OPS
from kinone.ops.declare import Literal, NoOnnx, OnnxNode, in_onnx
from matrix import close, is_float, raw

NEWEST = onnx.defs.onnx_opset_version()
OLDEST = 13
SAMPLES: list[Any] = [
    pytest.param(op, i, dtype, id=f"{op.name}-{i}-{np.dtype(dtype)}")
    for op in ALL_OPS.values()
    if not isinstance(op.onnx, NoOnnx)
    for i, sample in enumerate(op.samples)
    for dtype in (np.float32, np.float64)
    if dtype is np.float64 or any(map(is_float, sample.make(op.name, i)))
]
# Computed in float32, or with constants in it, whatever the dtype of x.
IN_FLOAT32 = {"Erf", "Gelu", "HardSwish", "Resize"}


@dataclass
class Call:
    """A call, what it gives, and its form in an opset: a node, why there is none, or else its definition."""

    op: Any
    inputs: list[Any]
    attrs: dict[str, Any]
    want: list[np.ndarray]
    opset: int
    node: OnnxNode | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        form = in_onnx(self.op, self.inputs, self.attrs)
        if isinstance(form, OnnxNode):
            why = missing(form, self.inputs, self.opset)
            self.node, self.reason = None if why else form, "" if self.op.definition else why
            self.want = [y for i, y in enumerate(self.want) if i not in self.op.onnx.differ]
        elif isinstance(form, NoOnnx):
            self.reason = form.reason


def sampled(op: Any, i: int, dtype: Any, opset: int) -> Call:
    """Sample i of an operator."""
    inputs, attrs = bound(op, tuple(op.samples[i].make(op.name, i, dtype)), op.samples[i].attrs)
    given = [list(inputs)] if op.is_variadic else inputs
    return Call(op, list(inputs), attrs, raw(op(*given, **attrs)), opset)


class _Calls(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def after_forward(self, op: Any, args: Any, attrs: Any, result: Any) -> None:
        self.seen.append((op, [a.data if isinstance(a, Tensor) else a for a in args], dict(attrs), raw(result)))


def defined(call: Call) -> list[Call]:
    """The calls that the definition makes."""
    inputs = [wrap(x) if isinstance(x, np.ndarray) else x for x in call.inputs]
    with observing(_Calls()) as calls:
        call.op.definition(*inputs, **{**call.op.defaults, **call.attrs})
    parts = [Call(op, args, attrs, want, call.opset) for op, args, attrs, want in calls.seen]
    same = [c for c in parts if c.op is call.op and c.attrs == call.attrs and not (c.node or c.reason)]
    assert not same, f"the definition of {call.op.name} calls itself"
    return parts


def check_written(call: Call, run: Callable[[Call, Any, Any], Any]) -> str:
    """Check the nodes that an export writes for a call; the reason if it writes none."""
    if call.node is not None:
        proto, fed = model(call)
        onnx.checker.check_model(proto, full_check=True)
        if (got := run(call, proto, fed)) is not None:
            check_value(call, got)
        return ""
    reasons = [call.reason] if call.reason else [check_written(part, run) for part in defined(call)]
    return next((f"{call.op.name}: {reason}" for reason in reasons if reason), "")


def check_value(call: Call, got: Any) -> None:
    """ONNX keeps floating attributes in float32."""
    assert call.node is not None
    is_rough = call.node.op_type in IN_FLOAT32 or any(isinstance(v, float) for v in call.node.attributes.values())
    for y, want in zip(map(np.asarray, got), call.want, strict=True):
        assert (y.dtype, y.shape) == (want.dtype, want.shape), f"{y.dtype}{y.shape}, not {want.dtype}{want.shape}"
        close([y], [want], 1e-5 if is_rough or want.dtype != np.float64 else 1e-12, call.node.op_type)


# ---------------------------------------------------------------------------- the model
def missing(node: OnnxNode, inputs: Any, opset: int) -> str:
    """Why ONNX of that opset does not have a node, or ""."""
    name = node.op_type
    try:
        schema = onnx.defs.get_schema(name, opset)
    except onnx.defs.SchemaError:
        assert opset < NEWEST, f"ONNX has no {name}"
        return f"opset {opset} has no {name}"
    newest = onnx.defs.get_schema(name)
    known = {*schema.attributes, *(p.name for p in schema.inputs)}
    wanted = {*node.attributes, *(formal(newest, i).name for i, x in enumerate(node.inputs) if isinstance(x, Literal))}
    if wanted - known:
        assert opset < NEWEST, f"{name} has no {', '.join(sorted(wanted - known))}"
        return f"{name} of opset {opset} has no {', '.join(sorted(wanted - known))}"
    for i, x in enumerate(arrays(node, inputs, schema)):
        taken = formal(schema, i).types if i < schema.max_input else []
        if x is not None and taken and (kind := f"tensor({word(x.dtype)})") not in taken:
            return f"{name} of opset {opset} takes no {kind}"
    return ""


def model(call: Call) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model, and what to feed it: our arrays are its inputs, all else is constant."""
    node = call.node
    assert node is not None
    schema, newest = onnx.defs.get_schema(node.op_type, call.opset), onnx.defs.get_schema(node.op_type)
    attributes, names, fed, fixed = dict(node.attributes), [], {}, []
    for i, (slot, x) in enumerate(zip(node.inputs, arrays(node, call.inputs, schema), strict=True)):
        parameter = formal(newest, i).name
        if x is None:
            names.append("")
        elif parameter in schema.attributes:  # became an input later
            attributes[parameter] = x.tolist()
        elif isinstance(slot, int) and isinstance(call.inputs[slot], np.ndarray):
            names.append(f"x{slot}")
            fed[f"x{slot}"] = x
        else:
            names.append(f"c{i}")
            fixed.append(numpy_helper.from_array(x, f"c{i}"))
    results = [f"y{i}" for i in range(len(call.want))]
    made = helper.make_node(node.op_type, names, results, **{n: attribute(v) for n, v in attributes.items()})
    graph = helper.make_graph([made], "call", [declared(n, x) for n, x in fed.items()],
                              [declared(n, y) for n, y in zip(results, call.want, strict=True)], fixed)  # fmt: skip
    imports = [helper.make_opsetid("", call.opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports)), fed


def arrays(node: OnnxNode, inputs: Any, schema: OpSchema) -> list[np.ndarray | None]:
    """Every input as an array: our numbers in the dtype of our arrays, constants too where the schema says so."""
    values = [inputs[s] if isinstance(s, int) else s.value if isinstance(s, Literal) else None for s in node.inputs]
    kinds = [formal(schema, i).type_str if i < schema.max_input else "" for i in range(len(values))]
    weak = next((x.dtype for x in inputs if isinstance(x, np.ndarray) and x.dtype.kind != "b"), None)
    ours = {k: x.dtype for k, x in zip(kinds, values, strict=True) if isinstance(x, np.ndarray)}
    return [x if x is None or isinstance(x, np.ndarray) else
            typed(x, weak if isinstance(slot, int) and not isinstance(x, bool) else ours.get(kind), kind)
            for slot, x, kind in zip(node.inputs, values, kinds, strict=True)]  # fmt: skip


def typed(x: Any, dtype: Any, kind: str) -> np.ndarray:
    array = np.asarray(x)
    is_floating = kind == "tensor(float)" or (array.dtype.kind == "f" and array.size)
    return array.astype(dtype or (bool if array.dtype.kind == "b" else np.float32 if is_floating else np.int64))


def formal(schema: OpSchema, i: int) -> Any:
    return schema.inputs[min(i, len(schema.inputs) - 1)]


def attribute(value: Any) -> Any:
    return helper.np_dtype_to_tensor_dtype(value) if isinstance(value, np.dtype) else value


def word(dtype: Any) -> str:
    return onnx.TensorProto.DataType.Name(helper.np_dtype_to_tensor_dtype(dtype)).lower()


def declared(name: str, x: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
