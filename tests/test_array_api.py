"""The Array API namespace: each covered name against NumPy, the standard's signatures, its page."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import kinone as kn
from kinone.core.tensor import Tensor
from kinone.ops.standard import COVERED, SKIPPED, STANDARD, page

xp: Any = kn.Tensor(0.0).__array_namespace__()
ROOT = Path(__file__).resolve().parent.parent

F = np.array([[0.3, -1.5, 2.0], [0.25, 4.0, -0.75]])
G = np.array([[1.5, 0.5, -2.0], [2.5, 0.25, 1.0]])
V = np.array([3.0, -1.0, 2.0, 2.0])
I = np.array([[3, -1, 2], [0, 5, 7]])  # noqa: E741
J = np.array([[2, 3, 1], [4, 1, 2]])
B = np.array([[True, False, True], [False, False, True]])
S = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]])
SMALL = np.array([100, 100, 27], np.int8)


def find(space: Any, name: str) -> Any:
    for part in name.split("."):
        space = getattr(space, part)
    return space


def tensors(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return kn.Tensor(value)
    return [tensors(v) for v in value] if isinstance(value, list) else value


def compare(name: str, args: Any, attrs: dict[str, Any]) -> None:
    """Call `name` in both namespaces: equal values, equal dtypes."""
    attrs_ours = {key: tensors(value) for key, value in attrs.items()}
    got = find(xp, name)(*map(tensors, args), **attrs_ours)
    want = find(np, name)(*args, **attrs)
    if not isinstance(want, tuple | list):
        got, want = [got], [want]
    assert len(got) == len(want), name
    for a, b in zip(got, want, strict=True):
        assert isinstance(a, Tensor), name
        b = np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape, f"{name}: {a.dtype}{a.shape}, not {b.dtype}{b.shape}"
        np.testing.assert_allclose(a.data, b, rtol=1e-13, atol=1e-13, err_msg=name)


# ------------------------------------------------------------------------------ elementwise, on any array
ANYWHERE = (
    "abs atan asinh ceil cos floor negative positive round sign signbit sin square tanh trunc isfinite isinf isnan"
)
SHIFTED = {
    "acos": (-1, 1), "asin": (-1, 1), "atanh": (-0.9, 0.9), "acosh": (1, 50), "cosh": (-20, 20), "sinh": (-20, 20),
    "exp": (-20, 20), "expm1": (-20, 20), "tan": (-1.5, 1.5), "log": (0.01, 90), "log10": (0.01, 90),
    "log1p": (-0.9, 90), "log2": (0.01, 90), "sqrt": (0, 90), "reciprocal": (0.1, 90),
}  # fmt: skip
PAIRS = (
    "add atan2 copysign equal greater greater_equal hypot less less_equal logaddexp maximum minimum multiply not_equal "
    "subtract"
)
QUOTIENTS = "divide floor_divide remainder"
WHOLE = "abs ceil floor isfinite isinf isnan negative positive round sign square trunc"
WHOLE_PAIRS = (
    "add bitwise_and bitwise_or bitwise_xor equal greater greater_equal less less_equal maximum minimum multiply "
    "not_equal subtract"
)
LOGICAL = "logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor equal not_equal"

UNARY = {**dict.fromkeys(ANYWHERE.split(), (-90, 90)), **SHIFTED}
BINARY = {**dict.fromkeys(PAIRS.split(), (-90, 90)), **dict.fromkeys(QUOTIENTS.split(), (0.1, 90)), "pow": (0.1, 9)}
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
few = settings(max_examples=20)


def drawn(data: st.DataObject, shape: Any, low: float, high: float) -> np.ndarray:
    return np.asarray(data.draw(hnp.arrays(np.float64, shape, elements=st.floats(low, high))))


@pytest.mark.parametrize("name", UNARY)
@few
@given(st.data())
def test_functions_of_one_array(name: str, data: st.DataObject) -> None:
    compare(name, [drawn(data, data.draw(shapes), *UNARY[name])], {})


@pytest.mark.parametrize("name", BINARY)
@few
@given(st.data())
def test_functions_of_two_arrays_broadcast(name: str, data: st.DataObject) -> None:
    both = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3))
    compare(name, [drawn(data, shape, *BINARY[name]) for shape in both.input_shapes], {})


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8])
def test_functions_of_integers(dtype: Any) -> None:
    a, b = np.arange(12).reshape(3, 4).astype(dtype), np.arange(1, 5).astype(dtype)
    for name in [n for n in WHOLE.split() if np.issubdtype(dtype, np.signedinteger) or n != "negative"]:
        compare(name, [a], {})
    for name in [*WHOLE_PAIRS.split(), "floor_divide", "remainder", "bitwise_left_shift", "bitwise_right_shift"]:
        compare(name, [a, b], {})
    compare("pow", [a % 4, b % 3], {})
    compare("bitwise_invert", [a], {})


def test_functions_of_booleans() -> None:
    for name in LOGICAL.split():
        compare(name, [B, B[::-1].copy()], {})
    for name in ("logical_not", "bitwise_invert"):
        compare(name, [B], {})


# ------------------------------------------------------------------------------ everything else, call by call
CALLS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("all", [B], {}), ("all", [B], {"axis": 1, "keepdims": True}), ("any", [I], {"axis": 0}), ("arange", [5], {}),
    ("arange", [1, 9, 2], {"dtype": np.float64}), ("arange", [1.0, 2.0], {"step": 0.25, "dtype": np.float64}),
    ("argmax", [F], {}), ("argmax", [F], {"axis": 1}), ("argmin", [F], {"axis": 0, "keepdims": True}),
    ("argsort", [V], {"stable": True}), ("argsort", [F], {"axis": 0}), ("asarray", [[1, 2, 3]], {}),
    ("asarray", [F], {"copy": True}), ("asarray", [I], {"dtype": np.float64}), ("astype", [I, np.float32], {}),
    ("astype", [F, np.int32], {}), ("astype", [F, np.float64], {"copy": False}),
    ("broadcast_arrays", [F, V[:3], np.array(2.0)], {}), ("broadcast_to", [V[:3], (2, 3)], {}),
    ("clip", [F, -0.5, 1.0], {}), ("clip", [F], {"max": 0.5}), ("clip", [I, 0, 4], {}),
    ("clip", [F, -0.1 * np.ones(3), 1.0], {}), ("clip", [F], {"min": F - 1, "max": F + 1}), ("concat", [[F, G]], {}),
    ("concat", [[F, G]], {"axis": -1}), ("concat", [[F, V]], {"axis": None}), ("concat", [[I]], {}),
    ("count_nonzero", [I], {}), ("count_nonzero", [B], {"axis": 1}), ("cumulative_prod", [V], {}),
    ("cumulative_prod", [F], {"axis": 1, "include_initial": True}), ("cumulative_sum", [V], {}),
    ("cumulative_sum", [F], {"axis": 0}), ("cumulative_sum", [F], {"axis": -1, "include_initial": True}),
    ("cumulative_sum", [SMALL], {}), ("cumulative_sum", [SMALL], {"dtype": np.int16, "include_initial": True}),
    ("diff", [V], {}), ("diff", [F], {"axis": 0}), ("diff", [V], {"n": 2}),
    ("diff", [F], {"prepend": G, "append": F}), ("diff", [B], {}),
    ("empty", [(0, 2)], {"dtype": np.int64}), ("empty_like", [np.zeros((0, 3))], {}),
    ("expand_dims", [F], {"axis": 1}), ("expand_dims", [F], {"axis": -1}), ("expand_dims", [V], {"axis": 0}),
    ("eye", [3], {"dtype": np.float64}), ("eye", [2, 4], {"k": 1, "dtype": np.int64}),
    ("eye", [3, 2], {"k": -1, "dtype": np.float64}),
    ("flip", [F], {}), ("flip", [F], {"axis": 1}), ("flip", [F], {"axis": (0, 1)}), ("from_dlpack", [F], {}),
    ("full", [(2, 3), 7], {}), ("full", [4, 1.5], {"dtype": np.float64}), ("full", [(), True], {}),
    ("full_like", [F, 3], {}), ("full_like", [F, 3], {"dtype": np.int32}),
    ("linspace", [0.0, 1.0, 5], {"dtype": np.float64}),
    ("linspace", [0, 1], {"num": 4, "endpoint": False, "dtype": np.float64}),
    ("matmul", [F, G.T.copy()], {}), ("matmul", [V, V], {}), ("matmul", [I, J.T.copy()], {}),
    ("matmul", [np.stack([F, G]), V[:3]], {}), ("matrix_transpose", [F], {}),
    ("matrix_transpose", [np.stack([F, G])], {}), ("max", [F], {}), ("max", [I], {"axis": 0, "keepdims": True}),
    ("min", [F], {"axis": (0, 1)}), ("min", [I], {"axis": -1}), ("mean", [F], {}), ("mean", [F], {"axis": 1}),
    ("mean", [F], {"axis": 0, "keepdims": True}), ("meshgrid", [V, V[:2]], {}),
    ("meshgrid", [V, V[:2], V[:3]], {"indexing": "ij"}), ("moveaxis", [np.stack([F, G]), 0, 2], {}),
    ("moveaxis", [np.stack([F, G]), (0, 1), (1, 0)], {}),
    ("nonzero", [I], {}), ("nonzero", [B], {}),
    ("ones", [(2, 3)], {"dtype": np.float64}), ("ones", [2], {"dtype": np.uint8}), ("ones_like", [I], {}),
    ("ones_like", [I], {"dtype": np.float32}),
    ("permute_dims", [np.stack([F, G]), (2, 0, 1)], {}), ("permute_dims", [F], {"axes": (1, 0)}), ("prod", [F], {}),
    ("prod", [F], {"axis": 1, "keepdims": True}), ("prod", [SMALL], {}), ("prod", [I], {"dtype": np.float64}),
    ("repeat", [F, 2], {"axis": 1}), ("repeat", [V, np.array([1, 0, 2, 1])], {}), ("repeat", [F, 3], {}),
    ("reshape", [F, (3, 2)], {}), ("reshape", [F], {"shape": (-1,)}), ("reshape", [F, (6,)], {"copy": True}),
    ("roll", [F, 1], {}), ("roll", [F, -1], {"axis": 1}), ("roll", [F, (1, 2)], {"axis": (0, 1)}),
    ("searchsorted", [np.sort(V), np.array([2.0, 0.0])], {}),
    ("searchsorted", [np.sort(V), np.array([2.0])], {"side": "right"}),
    ("searchsorted", [V, np.array([2.0, 9.0])], {"sorter": np.argsort(V)}), ("sort", [V], {}),
    ("sort", [F], {"axis": 0}), ("sort", [I], {"stable": False}), ("squeeze", [F[None]], {"axis": 0}),
    ("squeeze", [F[:, None, :, None]], {"axis": (1, 3)}), ("stack", [[F, G]], {}), ("stack", [[F, G]], {"axis": -1}),
    ("std", [F], {}), ("std", [F], {"axis": 1, "correction": 1.0}),
    ("var", [F], {"axis": 0, "keepdims": True}), ("var", [F], {"correction": 1}),
    ("sum", [F], {}), ("sum", [F], {"axis": (0, 1), "keepdims": True}), ("sum", [SMALL], {}),
    ("sum", [I], {"dtype": np.float64, "axis": 0}), ("sum", [B], {}),
    ("take", [F, np.array([2, 0])], {"axis": 1}), ("take", [V, np.array([1, 1])], {}),
    ("take_along_axis", [F, np.argsort(F)], {"axis": 1}), ("take_along_axis", [F, np.argsort(F)], {}),
    ("tensordot", [F, G], {}), ("tensordot", [F, G], {"axes": ((1,), (1,))}), ("tensordot", [V, V[:2]], {"axes": 0}),
    ("tile", [F, (2, 1)], {}), ("tile", [V, (2, 2)], {}), ("tril", [F], {}), ("tril", [F], {"k": -1}),
    ("triu", [F], {"k": 1}), ("triu", [np.stack([F, G])], {}),
    ("unstack", [F], {}), ("unstack", [F], {"axis": 1}),
    ("vecdot", [F, G], {}), ("vecdot", [F, G], {"axis": 0}),
    ("where", [B, F, G], {}), ("where", [B, F, 0.0], {}), ("where", [B, I, J[0]], {}),
    ("zeros", [(2, 0)], {"dtype": np.float64}), ("zeros_like", [F], {}), ("zeros_like", [B], {}),
    ("linalg.cholesky", [S], {}), ("linalg.cholesky", [S], {"upper": True}), ("linalg.det", [S], {}),
    ("linalg.det", [np.stack([S, 2 * S])], {}), ("linalg.diagonal", [F], {}),
    ("linalg.diagonal", [np.stack([S, 2 * S])], {"offset": 1}), ("linalg.diagonal", [S], {"offset": -1}),
    ("linalg.inv", [S], {}), ("linalg.matmul", [S, F.T.copy()], {}), ("linalg.matrix_transpose", [F], {}),
    ("linalg.outer", [V, V[:2]], {}), ("linalg.slogdet", [S], {}), ("linalg.slogdet", [np.stack([S, 2 * S])], {}),
    ("linalg.solve", [S, V[:3]], {}), ("linalg.solve", [S, F.T.copy()], {}),
    ("linalg.tensordot", [S, S], {"axes": 1}), ("linalg.trace", [S], {}),
    ("linalg.trace", [np.stack([S, 2 * S])], {"offset": 1}), ("linalg.trace", [I], {"dtype": np.float64}),
    ("linalg.vecdot", [F, G], {}), ("linalg.vector_norm", [F], {}),
    ("linalg.vector_norm", [F], {"axis": 1, "ord": 1}),
    ("linalg.vector_norm", [F], {"ord": np.inf, "keepdims": True}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "attrs"), [pytest.param(*c, id=f"{c[0]}-{i}") for i, c in enumerate(CALLS)])
def test_calls(name: str, args: list[Any], attrs: dict[str, Any]) -> None:
    compare(name, args, attrs)


def test_unique_values() -> None:
    """In ascending order; the standard leaves the order open, and NumPy's is another."""
    assert xp.unique_values(kn.Tensor(V)).tolist() == [-1.0, 2.0, 3.0]
    assert xp.unique_values(kn.Tensor(I)).tolist() == [-1, 0, 2, 3, 5, 7]


def test_descending_order() -> None:
    """NumPy has no such option."""
    assert xp.sort(kn.Tensor(V), descending=True).tolist() == [3.0, 2.0, 2.0, -1.0]
    assert xp.argsort(kn.Tensor(V), descending=True, stable=True).tolist() == [0, 2, 3, 1]


# ------------------------------------------------------------------------------ the standard's own text
SIGNATURES = """
all(x, /, *, axis, keepdims)
any(x, /, *, axis, keepdims)
arange(start, /, stop, step, *, dtype, device)
argmax(x, /, *, axis, keepdims)
argmin(x, /, *, axis, keepdims)
argsort(x, /, *, axis, descending, stable)
asarray(obj, /, *, dtype, device, copy)
astype(x, dtype, /, *, copy, device)
broadcast_to(x, /, shape)
can_cast(from_, to, /)
clip(x, /, min, max)
concat(arrays, /, *, axis)
count_nonzero(x, /, *, axis, keepdims)
cumulative_prod(x, /, *, axis, dtype, include_initial)
cumulative_sum(x, /, *, axis, dtype, include_initial)
diff(x, /, *, axis, n, prepend, append)
empty(shape, *, dtype, device)
empty_like(x, /, *, dtype, device)
expand_dims(x, /, *, axis)
eye(n_rows, n_cols, /, *, k, dtype, device)
finfo(type, /)
flip(x, /, *, axis)
from_dlpack(x, /, *, device, copy)
full(shape, fill_value, *, dtype, device)
full_like(x, /, fill_value, *, dtype, device)
iinfo(type, /)
isdtype(dtype, kind)
linalg.cholesky(x, /, *, upper)
linalg.diagonal(x, /, *, offset)
linalg.tensordot(x1, x2, /, *, axes)
linalg.trace(x, /, *, offset, dtype)
linalg.vecdot(x1, x2, /, *, axis)
linalg.vector_norm(x, /, *, axis, keepdims, ord)
linspace(start, stop, /, num, *, dtype, device, endpoint)
max(x, /, *, axis, keepdims)
mean(x, /, *, axis, keepdims)
meshgrid(x1, x2, x3, /, *, indexing)
min(x, /, *, axis, keepdims)
moveaxis(x, source, destination, /)
ones(shape, *, dtype, device)
ones_like(x, /, *, dtype, device)
permute_dims(x, /, axes)
prod(x, /, *, axis, dtype, keepdims)
repeat(x, repeats, /, *, axis)
reshape(x, /, shape, *, copy)
roll(x, /, shift, *, axis)
searchsorted(x1, x2, /, *, side, sorter)
sort(x, /, *, axis, descending, stable)
squeeze(x, /, axis)
stack(arrays, /, *, axis)
std(x, /, *, axis, correction, keepdims)
sum(x, /, *, axis, dtype, keepdims)
take(x, indices, /, *, axis)
take_along_axis(x, indices, /, *, axis)
tensordot(x1, x2, /, *, axes)
tile(x, repetitions, /)
tril(x, /, *, k)
triu(x, /, *, k)
unstack(x, /, *, axis)
var(x, /, *, axis, correction, keepdims)
vecdot(x1, x2, /, *, axis)
where(condition, x1, x2, /)
zeros(shape, *, dtype, device)
zeros_like(x, /, *, dtype, device)
""".strip().splitlines()


@pytest.mark.parametrize("text", SIGNATURES)
def test_signatures_are_the_standards(text: str) -> None:
    name, parameters = text[:-1].split("(")
    scope: dict[str, Any] = {}
    exec(f"def f({parameters}): ...", scope)
    function = find(xp, name)
    ours = inspect.signature(getattr(function, "forward", function))
    wanted = inspect.signature(scope["f"]).parameters.values()
    in_place = [p for p in wanted if p.kind is not p.KEYWORD_ONLY]
    ours.bind(*in_place, **{p.name: None for p in wanted if p.kind is p.KEYWORD_ONLY})
    by_name = {p.name: None for p in wanted if p.kind is not p.POSITIONAL_ONLY}
    ours.bind(*[p for p in wanted if p.kind is p.POSITIONAL_ONLY], **by_name)


def test_every_covered_name_is_there_and_tested() -> None:
    assert not set(COVERED) & set(SKIPPED) and set(SKIPPED) <= set(" ".join(STANDARD.values()).split())
    assert set(dir(xp)) >= set(xp.__all__)
    assert {name for name in COVERED if "." not in name} | {"linalg"} == set(xp.__all__)
    linalg = {name.removeprefix("linalg.") for name in COVERED if name.startswith("linalg.")}
    assert linalg == set(vars(xp.linalg))
    calls = {name for name, *_ in CALLS} | {*UNARY, *BINARY, *LOGICAL.split(), *WHOLE.split(), *WHOLE_PAIRS.split()}
    elsewhere = {
        *STANDARD["Constants"].split(), *STANDARD["Data types"].split(), *STANDARD["Inspection"].split(),
        *STANDARD["Functions of data types"].split(), "logical_not", "bitwise_invert", "bitwise_left_shift",
        "bitwise_right_shift", "unique_values",
    }  # fmt: skip
    assert not set(COVERED) - calls - elsewhere


def test_the_page_is_current() -> None:
    assert (ROOT / "docs/array-api.md").read_text(encoding="utf-8") == page()


def test_skipped_names_are_not_there() -> None:
    for name in SKIPPED:
        with pytest.raises(AttributeError):
            find(xp, name)
