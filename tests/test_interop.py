"""Tensors among Python, NumPy, DLPack and notebooks; and that what `kinone.ops` puts together fits."""

import copy
import pickle
import warnings
from types import ModuleType

import numpy as np
import pytest

import kinone as kn
from kinone.core.methods import Methods
from kinone.errors import ArgumentError, GraphError
from kinone.ops import ALL_OPS, EXPORTS, FAMILIES, METHODS, stubs

X = np.array([[0.5, 1.5], [2.5, 3.5]])


def leaf(x=X):
    return kn.Tensor(x.copy(), requires_grad=True)


# ------------------------------------------------------------------------------------ NumPy
@pytest.mark.parametrize(
    ("with_numpy", "with_kinone"),
    [
        (np.exp, kn.exp),
        (lambda x: X + x, lambda x: kn.add(X, x)),
        (lambda x: X @ x, lambda x: kn.matmul(X, x)),
        (lambda x: 2.0 - x, lambda x: kn.subtract(2.0, x)),
        (lambda x: np.float64(3.0) * x, lambda x: kn.multiply(3.0, x)),
        (lambda x: X / x, lambda x: kn.divide(X, x)),
        (lambda x: np.maximum(X[::-1], x), lambda x: kn.maximum(X[::-1], x)),
        (lambda x: np.sum(x, axis=0), lambda x: kn.sum(x, axis=0)),
        (lambda x: np.mean(x, axis=1, keepdims=True), lambda x: kn.mean(x, axis=1, keepdims=True)),
        (lambda x: np.where(X > 1, x, 0.0), lambda x: kn.where(X > 1, x, 0.0)),
        (lambda x: np.concatenate([x, x], axis=1), lambda x: kn.concat([x, x], axis=1)),
        (lambda x: np.stack([x, x]), lambda x: kn.stack([x, x])),
        (lambda x: [1.0, 2.0] * x, lambda x: kn.multiply(np.array([1.0, 2.0]), x)),
    ],
    ids=["exp", "add", "matmul", "sub", "mul", "div", "maximum", "sum", "mean", "where", "concat", "stack", "list"],
)
def test_numpy_functions_give_the_operator_and_its_graph(with_numpy, with_kinone):
    results = []
    for f in (with_numpy, with_kinone):
        x = leaf()
        y = f(x)
        assert isinstance(y, kn.Tensor)
        y.sum().backward()
        results.append((y.numpy(), x.grad.numpy()))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(results[0][1] != 0)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (np.spacing, r"\[np\.spacing\].*a Tensor\. Hint: x\.numpy\(\)"),
        (np.linalg.svd, r"\[np\.svd\]"),
        (np.add.reduce, r"\[np\.add\.reduce\].*plain call"),
        (lambda x: np.add(x, x, out=np.empty((2, 2))), r"\[np\.add\].*with out"),
        (lambda x: np.exp(x, where=X > 1), r"with where"),
    ],
)
def test_numpy_functions_without_an_operator_are_refused(what, message):
    with pytest.raises(ArgumentError, match=message):
        what(leaf())


def test_inplace_numpy_never_makes_object_arrays():
    x = X.copy()
    with pytest.raises((ArgumentError, GraphError)):
        x += leaf()
    np.testing.assert_array_equal(x, X)


def test_arrays_leave_only_without_a_graph():
    constant = kn.Tensor(X)
    assert np.asarray(constant) is not None
    np.testing.assert_array_equal(np.asarray(constant), X)
    assert np.asarray(constant, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.from_dlpack(constant), X)
    np.testing.assert_array_equal(np.from_dlpack(leaf().detach()), X)
    for refused in (np.asarray, np.from_dlpack):
        with pytest.raises(GraphError, match="graph would be lost"):
            refused(leaf())
    assert kn.Tensor(constant).data is constant.data
    assert kn.Tensor(X).data is X


def test_comparisons_and_hashing():
    a, b = kn.Tensor([1.0, 2.0]), kn.Tensor([1.0, 3.0])
    assert (a == b).tolist() == [True, False]
    assert (a != b).tolist() == [False, True]
    assert (1.5 < a).tolist() == [False, True]  # noqa: SIM300
    assert len({a, b, a}) == 2
    with pytest.raises(ValueError, match="one element"):
        bool(a == b)


def test_python_numbers_and_iteration():
    x = kn.Tensor(X)
    assert [row.tolist() for row in x] == X.tolist()
    assert len(x) == 2
    assert float(x[0, 0]) == 0.5
    assert int(kn.Tensor(3)) == 3
    assert [10, 20, 30][kn.Tensor(1)] == 20
    assert bool(kn.Tensor(True))
    np.testing.assert_array_equal(x.T.numpy(), X.T)
    np.testing.assert_array_equal(kn.Tensor(np.ones((2, 3, 4))).mT.numpy(), np.ones((2, 4, 3)))
    assert x.to("cpu", kn.float32).dtype == np.float32


def test_default_dtypes():
    assert kn.Tensor(1.0).dtype == np.float32
    assert kn.Tensor([[1.0, 2.0]]).dtype == np.float32
    assert kn.Tensor([1, 2]).dtype == np.int64
    assert kn.Tensor([True]).dtype == np.bool_
    assert kn.Tensor(np.array([1.0])).dtype == np.float64
    assert kn.Tensor([1], dtype=kn.float64).dtype == np.float64
    assert (kn.Tensor([1.0]) * 2.0).dtype == np.float32
    assert (kn.Tensor([1.0]) * np.float64(2.0)).dtype == np.float32
    assert (kn.Tensor(np.array([1], np.float16)) + 1).dtype == np.float16


def test_pickle_and_copy():
    x = leaf()
    for again in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert again.requires_grad
        assert again.dtype == x.dtype
        np.testing.assert_array_equal(again.numpy(), X)
    with pytest.raises(GraphError, match="detach"):
        pickle.dumps(x * 2)
    for function in (kn.relu, kn.einsum, kn.mse_loss):
        assert pickle.loads(pickle.dumps(function)) is function
        assert copy.deepcopy(function) is function


def test_what_people_see():
    x = leaf(np.array([1.0, 2.0]))
    assert repr(x) == "Tensor([1., 2.], dtype=float64, requires_grad=True)"
    assert repr(x * 2) == "Tensor([2., 4.], dtype=float64, from=multiply)"
    assert repr(kn.topk(x, 1)[0]) == "Tensor([2.], dtype=float64, from=topk[0])"
    html = (x * 2)._repr_html_()
    assert "from multiply" in html
    assert "mean 3" in html
    assert "no finite value" in kn.Tensor(np.array([np.nan]))._repr_html_()


# ------------------------------------------------------------------------------------ the assembly
def test_stubs_are_current():
    for path, text in stubs.STUBS.items():
        assert path.read_text(encoding="utf-8") == text(), f"{path.name} is stale: python -m kinone.ops.stubs"


def test_every_operator_is_exported_once():
    for name, op in ALL_OPS.items():
        assert getattr(kn, name) is op
        assert EXPORTS[name] is op
    modules = {family.__name__.rpartition(".")[2] for family in FAMILIES}
    assert not modules & set(EXPORTS), "an export hides the module that defines it"
    assert all(isinstance(family, ModuleType) for family in FAMILIES)


def test_methods_are_those_that_are_declared():
    for name, method in METHODS.items():
        assert getattr(Methods, name) is method
    declared = [name for op in ALL_OPS.values() for name in (*op.methods, *op.reflected)]
    assert len(declared) == len(set(declared)), "two operators declare one method"


def test_there_are_at_least_150_operators():
    assert len(ALL_OPS) >= 150


def test_infinity_and_nan_are_values_and_no_warnings():
    x = kn.Tensor([-1.0, 0.0, 1e30, 500.0], requires_grad=True)
    with warnings.catch_warnings(record=True) as seen:
        for y in (kn.log(x), kn.exp(x), x / 0.0, x * 1e30, kn.sqrt(x)):
            y.sum().backward()
    assert not seen
    assert np.isnan(kn.log(x).numpy()[0])
    assert kn.exp(x).numpy()[3] == np.inf
