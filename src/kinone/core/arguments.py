"""How a call's arguments reach an operator: sorted, converted, and their dtypes checked."""

from typing import Any

import numpy as np

from kinone.core.tensor import as_array
from kinone.core.tree import is_a
from kinone.errors import ArgumentError, DtypeError

KINDS = {"float": "f", "number": "fiu", "any": "fiub", "integer": "iub", "bool": "b", "index": "iu", "mask": "b"}
_WORDS = {kind: "an integer dtype" if kind in ("integer", "index") else f"a {kind} dtype" for kind in KINDS}


def bound(op: Any, args: tuple[Any, ...], attrs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(inputs, attributes) of a call that does not simply pass every input by position."""
    if len(op.required) <= len(args) < op.arity and attrs.keys().isdisjoint(op.inputs):  # most often
        return (*args, *(None,) * (op.arity - len(args))), attrs
    if op.is_variadic:
        names = [name for name in op.required if name not in attrs]  # come first: einsum("ij,jk->ik", …)
        attrs = {**attrs, **dict(zip(names, args, strict=False))}
        args = args[len(names) :]
        inputs = tuple(args[0]) if len(args) == 1 and is_a(tuple | list, args[0]) else args
        if not inputs:
            raise ArgumentError(op.name, "at least one input", "none")
        return inputs, attrs
    n = len(op.inputs)
    if len(args) > len(op.leading) == n + 1 and all(isinstance(a, int | np.integer) for a in args[n:]):
        args = (*args[:n], args[n:])  # x.reshape(2, 3) means x.reshape((2, 3))
    given = dict(zip(op.leading, args, strict=False))
    if len(args) > len(op.leading):
        hint = f"give by name: {', '.join(op.attributes)}." if op.attributes else ""
        raise ArgumentError(op.name, f"{len(op.leading)} arguments by position", str(len(args)), hint=hint)
    for name in (*given, *op.required):
        if name in attrs if name in given else name not in attrs:
            got = f"{name} given twice" if name in given else f"no {name}"
            raise ArgumentError(op.name, f"the arguments ({', '.join([*op.inputs, *op.attributes])})", got)
    attrs = {**given, **attrs}
    return tuple(attrs.pop(name, None) for name in op.inputs), attrs


def checked(op: Any, arrays: list[Any], has_tensor: bool = True) -> None:
    """Bring every input to an array or a Python number, in place; refuse dtypes that the operator does not take.

    Without a Tensor among them, integers may stand for real numbers, and dtypes mix as NumPy mixes them.
    """
    first: Any = None
    for i, a in enumerate(arrays):
        slot = 0 if op.is_variadic else i
        if is_a(np.generic, a) and has_tensor:
            a = arrays[i] = a.item()
        if (a is None and op.inputs[slot] in op.optional) or (is_a(float | int, a) and (has_tensor or len(arrays) > 1)):
            continue  # nothing, or a number: as weak as NumPy's rules make Python's
        if not is_a(np.ndarray, a):
            a = arrays[i] = _array_like(op, a if has_tensor else np.asarray(a), arrays)
        if not has_tensor and op.kinds[slot] == "f" and arrays[i].dtype.kind in "iub":
            arrays[i] = arrays[i].astype(np.float64)
        dtype: Any = arrays[i].dtype
        if dtype.kind not in op.kinds[slot]:
            hint = "convert it, for example with .astype(kn.float32)." if "f" in op.kinds[slot] else ""
            raise DtypeError(op.name, f"{op.inputs[slot]} of {_WORDS[op.dtypes[slot]]}", str(dtype), hint=hint)
        if has_tensor and dtype is not first and op.dtypes[slot] not in ("index", "mask"):
            if first is not None and not _mix(dtype, first):
                hint = f"convert one of them, for example with .astype(kn.{dtype if dtype.kind == 'f' else first})."
                raise DtypeError(op.name, "inputs of one dtype", f"{first} and {dtype}", hint=hint)
            first = dtype if first is None or first.kind == "b" else first
    if first is not None and first.kind in "iub" and any(type(a) is float for a in arrays):
        raise DtypeError(op.name, "inputs of one kind", f"{first} and a Python float", hint="x.astype(kn.float32).")


def _array_like(op: Any, a: Any, arrays: list[Any]) -> Any:
    array = as_array(a, where=op.name)
    floats = [b.dtype for b in arrays if is_a(np.ndarray, b) and b.dtype.kind == "f" and is_a(tuple | list, a)]
    return array.astype(floats[0]) if floats and array.dtype.kind == "f" else array  # as weak as plain numbers are


def _mix(a: Any, b: Any) -> bool:
    # Booleans act as 0 and 1 beside anything, integers mix where the result is exact; floats never mix silently.
    return a == b or "b" in (a.kind, b.kind) or ("f" not in (a.kind, b.kind) and np.result_type(a, b).kind != "f")
