"""Wrong calls of every operator, made from its own samples: each is refused in the house's form or answered rightly.

No other exception, no warning, no array of objects comes out; inputs and modes stay as they were.
"""

import contextlib
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.core.graph import Leaf
from kinone.core.modes import modes
from kinone.core.op import Op
from kinone.core.tensor import Tensor, wrap
from kinone.errors import DtypeError, KinoneError
from kinone.ops import ALL_OPS, EXPORTS
from matrix import is_float, parts, raw

HUGE = 2**70
STRANGERS = [None, "word", b"x", object(), {}, [[1, 2], [3]], [None], 1j, slice(None), len]
SCALARS = [3, 2.5, True, np.float64(2), np.int64(1)]
NONSENSE = [
    99, -99, 0, -1, 1.5, -1.0, np.nan, np.inf, HUGE, -HUGE, 1j, True, None, "word", object, {}, [1, 2], (), (0, 0),
    (99,), (0.5,), ("a",), (None,), slice(None), np.array([1, 2]), np.array(1.5), np.float32(0.5), np.int64(1),
]  # fmt: skip
Call = tuple[str, list[Any], dict[str, Any]]
OPS = [pytest.param(op, id=op.name) for op in ALL_OPS.values()]


def _reshaped(x: np.ndarray) -> Iterator[tuple[str, Any]]:
    yield "an axis in front", x[None]
    yield "an axis behind", x[..., None]
    if x.ndim and len(x):
        yield "an axis less", x[0]
    for axis in range(x.ndim):
        yield f"no element along {axis}", np.take(x, np.zeros(0, int), axis)
        if x.shape[axis]:
            yield f"longer along {axis}", np.concatenate([x, np.take(x, [0], axis)], axis)


def _retyped(x: np.ndarray) -> Iterator[tuple[str, Any]]:
    for dtype in ("f8", "f4", "f2", "i8", "i1", "u1", "?", "c16", "O", "U8", "S3", "M8[s]"):
        if (x.dtype.kind, dtype) != ("f", "M8[s]") and x.dtype != dtype:
            with np.errstate(invalid="ignore"):  # NaN as an integer
                yield dtype, x.astype(dtype)


def wrong_calls(op: Op[...], inputs: list[Any], attrs: dict[str, Any]) -> Iterator[Call]:
    for i, x in enumerate(inputs):
        is_input = op.is_variadic or i < len(op.inputs)
        changes: list[tuple[str, Any]] = [(repr(v), v) for v in (STRANGERS + SCALARS if is_input else NONSENSE)]
        if is_input and isinstance(x, np.ndarray):
            changes += [*_reshaped(x), *_retyped(x)]
        yield from ((f"input {i}: {what}", [*inputs[:i], v, *inputs[i + 1 :]], attrs) for what, v in changes)
        yield f"without input {i} and the rest", inputs[:i], attrs
    for name in set(op.attributes) - set(op.leading[: len(inputs)]) - ({"subscripts"} if op.is_variadic else set()):
        yield from ((f"{name}={v!r}", inputs, {**attrs, name: v}) for v in NONSENSE)
    yield from ((f"without {name}", inputs, {k: v for k, v in attrs.items() if k != name}) for name in attrs)
    yield "an unknown name", inputs, {**attrs, "bogus": 1}
    if not op.is_variadic:
        yield "too many", [*inputs, *[np.ones(2)] * 9], attrs
        yield "given twice", inputs, {**attrs, op.inputs[0]: inputs[0]}


def tensors(inputs: list[Any]) -> list[Any]:
    """Leaves of the floating arrays, plain Tensors of the others; what cannot be one as it is."""
    kinds = {"f": lambda x: wrap(x, Leaf()), "i": wrap, "u": wrap, "b": wrap}
    return [kinds.get(x.dtype.kind, lambda x: x)(x) if isinstance(x, np.ndarray) else x for x in inputs]


def attempt(op: Op[...], xs: list[Any], attrs: dict[str, Any]) -> Any:
    """The result, or None if the call was refused as calls are to be refused."""
    try:
        y = op(*xs, **attrs)
    except KinoneError as error:
        assert re.match(rf"\[{op.name}\] expected .+, got .+", str(error), re.DOTALL), str(error)
        return None
    except MemoryError:
        return None
    assert all(array.dtype.kind in "fiub" for array in raw(y)), "not an array of numbers"
    return y


def contents(inputs: list[Any]) -> list[bytes]:
    return [x.tobytes() for x in inputs if isinstance(x, np.ndarray)]


def checked(op: Op[...], inputs: list[Any], attrs: dict[str, Any]) -> None:
    before = contents(inputs)
    plain = attempt(op, inputs, attrs)
    xs = tensors(inputs)
    y = attempt(op, xs, attrs) if any(isinstance(x, Tensor) for x in xs) else None
    if y is not None:
        if not any(isinstance(x, list | float | np.generic) for x in inputs):  # which keep NumPy's dtypes among arrays
            assert plain is not None, "arrays are refused where Tensors are not"
            for a, b in zip(raw(plain), raw(y), strict=True):
                np.testing.assert_array_equal(a, b, strict=True)
        ends = [x for x in xs if isinstance(x, Tensor) and x.requires_grad]
        for part in (p for p in parts(y) if p.requires_grad):
            for x, g in zip(ends, kn.gradients(part, ends, np.ones(part.shape), retain_graph=True), strict=True):
                assert (g.shape, g.dtype) == (x.shape, x.dtype)
    assert all(x.grad is None for x in xs if isinstance(x, Tensor))
    assert contents(inputs) == before, "an input was changed"
    assert modes.recording and not modes.observers


@pytest.mark.parametrize("op", OPS)
def test_wrong_calls(op):
    for i, sample in enumerate(op.samples):
        for what, inputs, attrs in wrong_calls(op, sample.make(op.name, i), sample.attrs):
            try:
                with np.errstate(all="ignore"):  # log 0 is no wrong call
                    checked(op, inputs, attrs)
            except Exception as error:
                error.add_note(f"{op!r}, sample {i} ({sample}), {what}")
                raise


@pytest.mark.parametrize("dtype", ["i8", "i1", "?"])
@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in ALL_OPS.values() if "float" in op.dtypes])
def test_whole_numbers_mean_what_they_mean_as_floats(op, dtype):
    """Plain arrays of integers, where an operator of real numbers takes them."""
    for i, sample in enumerate(op.samples):
        inputs = sample.make(op.name, i)
        reals = [is_float(x) and op.dtypes[i] == "float" for i, x in enumerate(inputs)]
        with np.errstate(all="ignore"):
            whole = [np.clip(x, -9, 9).astype(dtype) if real else x for x, real in zip(inputs, reals, strict=True)]
            y = attempt(op, whole, sample.attrs)
            if y is not None:
                same = [x.astype(np.float64) if real else x for x, real in zip(whole, reals, strict=True)]
                for a, b in zip(raw(y), raw(op(*same, **sample.attrs)), strict=True):
                    np.testing.assert_allclose(a.astype(np.float64), b, rtol=1e-12, err_msg=f"{sample}")


@pytest.mark.parametrize("op", OPS)
def test_tensors_of_a_dtype_that_is_not_declared_are_refused(op):
    sample, inputs = op.samples[0], op.samples[0].make(op.name, 0)
    for i, x in enumerate(inputs):
        slot = 0 if op.is_variadic else i
        for dtype in ("f8", "i8", "?"):
            if isinstance(x, np.ndarray) and np.dtype(dtype).kind not in op.kinds[slot]:
                with pytest.raises(DtypeError, match=rf"\[{op.name}\] expected {op.inputs[slot]} of an? "):
                    op(*tensors([*inputs[:i], x.astype(dtype), *inputs[i + 1 :]]), **sample.attrs)


# ------------------------------------------------------------------------------------ functions made of operators
COMPOSED = {
    name: f
    for name, f in EXPORTS.items()
    if isinstance(f, FunctionType) and f.__module__.rpartition(".")[2] not in ("jacobians", "function")
}  # those two run the caller's own functions, whose errors are the caller's
NONSENSE = {
    "text": "word",
    "nothing": None,
    "object": object(),
    "a dict": {"a": 1},
    "objects": np.array([object(), object()]),
    "complex": np.array([1j, 2j]),
    "texts": ["a", "b"],
    "ragged": [[1.0], [1.0, 2.0]],
}


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
def test_compositions_refuse_nonsense_in_one_form(name, nonsense):
    f: Any = COMPOSED[name]
    x = kn.Tensor(np.ones((2, 3, 4, 4)), requires_grad=True)
    for args in ((nonsense,), (nonsense, nonsense), (x, nonsense), (nonsense, x), (x, x, nonsense), (x, x, x, x, x, x)):
        try:
            f(*args)
        except KinoneError as error:
            assert re.match(r"\[\w+\] expected .+, got ", str(error), re.DOTALL), str(error)
        assert modes.recording
    for wrong in ({"no_such_thing": 1}, {"axis": nonsense}):
        with contextlib.suppress(KinoneError):
            f(x, **wrong)
