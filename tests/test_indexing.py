"""Indexing against NumPy on drawn shapes and indices, and what the functions without a node of their own promise."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import kinone as kn
from kinone.errors import AxisError, KinoneError, ShapeError
from kinone.ops.index import getitem_definition
from matrix import raw


@st.composite
def indexed(draw: Any) -> tuple[np.ndarray, Any]:
    """An array without two equal elements, and an index into it: basic, integer, boolean or mixed."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    basic = hnp.basic_indices(shape, allow_newaxis=True)
    integer = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(min_dims=0, max_dims=2, max_side=4))
    boolean = hnp.arrays(bool, shape)
    index = draw(st.one_of(basic, integer, boolean, mixed(shape)))
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape) + 0.5, index


@st.composite
def mixed(draw: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Arrays of one shape and booleans along some axes, slices, integers and new axes elsewhere."""
    length = draw(st.integers(0, 4))
    parts: list[Any] = []
    for n in shape:
        places = hnp.arrays(np.intp, length, elements=st.integers(-n, n - 1))
        flags = st.permutations([True] * min(length, n) + [False] * max(n - length, 0)).map(np.array)
        choices = [places, st.integers(-n, n - 1), st.slices(n), st.just(slice(None))]
        parts.append(draw(st.one_of(*choices, *([flags] if length <= n else []))))
        if draw(st.booleans()):
            parts.append(None)
    cut = draw(st.integers(0, len(parts)))
    return (*parts[:cut], ...) if draw(st.booleans()) else tuple(parts)


def scattered(g: np.ndarray, shape: tuple[int, ...], index: Any) -> np.ndarray:
    """The gradient by its meaning: one element of g after the other goes to where it came from."""
    places = np.arange(np.prod(shape)).reshape(shape)[index]
    y = np.zeros(int(np.prod(shape)))
    for at, value in zip(np.ravel(places), np.ravel(g), strict=True):
        y[at] += value
    return y.reshape(shape)


@given(indexed())
def test_indexing_is_numpys(case):
    x, index = case
    t = kn.Tensor(x, requires_grad=True)
    y = t[index]
    np.testing.assert_array_equal(y.numpy(), x[index])
    assert y.shape == x[index].shape
    np.testing.assert_array_equal(raw(getitem_definition(x, index))[0], x[index], strict=True)
    g = np.linspace(1, 2, y.size).reshape(y.shape)
    (gradient,) = kn.gradients(y, [t], g)
    np.testing.assert_allclose(gradient.numpy(), scattered(g, x.shape, index), rtol=1e-14)


@given(indexed())
def test_scattering_is_the_adjoint_of_indexing(case):
    x, index = case
    g = np.cos(np.arange(x[index].size)).reshape(x[index].shape)
    y = kn.scatter_index(kn.Tensor(g), index=index, shape=x.shape)
    np.testing.assert_allclose((y.numpy() * x).sum(), (g * x[index]).sum(), atol=1e-10)


@given(indexed())
def test_indexing_is_differentiable_twice(case):
    x, index = case
    f = lambda t: (t[index] ** 3).sum()  # noqa: E731
    v = np.sin(np.arange(x.size)).reshape(x.shape)
    counts = scattered(np.ones(x[index].shape), x.shape, index)
    np.testing.assert_allclose(kn.hvp(f, kn.Tensor(x), kn.Tensor(v)).numpy(), counts * 6 * x * v, rtol=1e-12)


def test_repeated_indices_add():
    x = kn.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert kn.gradients(x[[0, 2, 0, 0]].sum(), [x])[0].tolist() == [3, 0, 1]


def test_indices_may_be_lists_and_tensors():
    x = kn.Tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    rows, flags = kn.Tensor([2, 0, 2]), kn.Tensor([True, False, True])
    np.testing.assert_array_equal(x[rows].numpy(), x.numpy()[[2, 0, 2]])
    np.testing.assert_array_equal(x[flags, 1].numpy(), x.numpy()[[0, 2], 1])
    np.testing.assert_array_equal(x[x > 5].numpy(), x.numpy()[x.numpy() > 5])
    assert kn.gradients((x[rows, [1, 1, 1]] * 2).sum(), [x])[0][:, 1].tolist() == [2, 0, 4]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_indices_of_any_integer_dtype(dtype):
    w = np.arange(600.0).reshape(300, 2)
    few = np.array([0, 100, 7], dtype)
    np.testing.assert_array_equal(kn.take(w, few, axis=0), w[[0, 100, 7]])
    np.testing.assert_array_equal(kn.embedding(few, w), w[[0, 100, 7]])
    np.testing.assert_array_equal(kn.take_along_axis(w[:, 0], few, axis=0), w[[0, 100, 7], 0])
    with pytest.raises(KinoneError, match="integer dtype, got float64"):
        kn.take(w, few.astype(float), axis=0)


def test_float16_adds_up_in_single_precision():
    x = kn.Tensor(np.zeros(1, np.float16), requires_grad=True)
    (gradient,) = kn.gradients(x[np.zeros(4000, int)].sum(), [x])
    assert gradient.dtype == np.float16
    assert gradient.tolist() == [4000]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ((0, 7), "axis 1 from -4 to 3 for an axis of length 4, got 7"),
        (([0, 5, -9],), "axis 0 from -3 to 2 for an axis of length 3, got -9"),
        ((..., [1, 12, 4]), "axis 1 from -4 to 3 for an axis of length 4, got 12"),
        ((None, slice(1), [4]), "axis 1 .* got 4"),
        ((0, 0, 0), r"fits shape \(3, 4\).*too many indices"),
        (([True, False],), "boolean"),
        (0.5, "fits shape"),
    ],
)
def test_an_index_outside_is_named(index, message):
    with pytest.raises(AxisError, match=message):
        kn.Tensor(np.zeros((3, 4)))[index]


def test_no_change_of_shape_drops_the_graph():
    changes = [
        *(kn.flatten, kn.transpose, kn.squeeze, kn.unstack, kn.flip, kn.sort, kn.identity),
        *(lambda x: x.T, lambda x: x[:, 0], lambda x: x.reshape(-1), lambda x: kn.split(x, 2)),
        *(lambda x: kn.swapaxes(x, 0, 1), lambda x: kn.expand(x, (3, 2, 2)), lambda x: kn.expand_dims(x, 1)),
    ]
    for change in changes:
        x = kn.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        y = change(x * x)
        sum((part.sum() for part in (y if isinstance(y, tuple) else (y,))), kn.zeros(())).backward()
        assert x.grad is not None, change
        assert x.grad[0, 0].item() in {2, 6}, change


def test_rounding_to_integers_ends_the_gradient():
    x = kn.Tensor([1.5, 2.5], requires_grad=True)
    assert kn.gradients((x.astype(int).astype(np.float32) * x).sum(), [x])[0].tolist() == [1, 2]


def test_products_around_zeros_to_second_order():
    for zeros in ([], [1], [0, 2]):
        x = np.array([2.0, 3.0, 5.0, 7.0])
        x[zeros] = 0
        pairs = np.array([[np.prod(np.delete(x, [i, j])) * (i != j) for j in range(4)] for i in range(4)])
        np.testing.assert_allclose(kn.hessian(kn.prod)(kn.Tensor(x)).numpy(), pairs, atol=1e-12)
        last = kn.hessian(lambda x: kn.cumprod(x)[-1])(kn.Tensor(x))
        np.testing.assert_allclose(last.numpy(), pairs, atol=1e-12)


def test_corners_have_the_documented_gradient():
    flat = kn.Tensor([2.0, 2.0, 2.0])
    assert kn.grad(kn.std)(flat).tolist() == [0, 0, 0]
    assert kn.grad(kn.norm)(kn.zeros(3)).tolist() == [0, 0, 0]
    assert kn.grad(kn.max)(flat).tolist() == pytest.approx([1 / 3] * 3)
    assert kn.grad(kn.logsumexp)(kn.Tensor([-np.inf, -np.inf])).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_no_overflow_on_the_way(dtype):
    x = kn.full((1000,), 1e4, dtype=dtype)
    assert x.mean().item() == pytest.approx(1e4, rel=1e-3)
    assert kn.concat(x, -x).std().item() == pytest.approx(1e4, rel=1e-3)
    assert kn.norm(x[:4]).item() == pytest.approx(2e4, rel=1e-3)
    assert kn.logsumexp(x).item() == pytest.approx(1e4, rel=1e-3)
    assert kn.norm(kn.Tensor([1e30, 1e30], dtype=np.float32)).item() == pytest.approx(2**0.5 * 1e30)


# ---------------------------------------------------------------------------- functions without a node of their own
def test_diagonals():
    x = np.arange(24.0).reshape(2, 3, 4)
    for k in range(-4, 5):
        np.testing.assert_array_equal(kn.diagonal(x, offset=k), np.linalg.diagonal(x, offset=k))
        np.testing.assert_array_equal(kn.diag(x[0, 0], offset=k), np.diag(x[0, 0], k))
        np.testing.assert_array_equal(kn.diag(x[0], offset=k), np.diag(x[0], k))


@given(hnp.array_shapes(min_dims=1, max_dims=4), st.data())
def test_moved_axes(shape, data):
    x = np.arange(np.prod(shape)).reshape(shape)
    a, b = (data.draw(st.permutations(range(len(shape)))) for _ in range(2))
    n = data.draw(st.integers(1, len(shape)))
    source, destination = tuple(a[:n]), tuple(i - len(shape) for i in b[:n])
    np.testing.assert_array_equal(kn.moveaxis(x, source, destination), np.moveaxis(x, source, destination))
    np.testing.assert_array_equal(kn.swapaxes(x, a[0], b[0]), np.swapaxes(x, a[0], b[0]))


def test_meshgrid_and_median():
    xs = [np.arange(2.0), np.arange(3.0), np.arange(4.0)]
    for indexing in ("xy", "ij"):
        for y, z in zip(kn.meshgrid(*xs, indexing=indexing), np.meshgrid(*xs, indexing=indexing), strict=True):
            np.testing.assert_array_equal(y, z)
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    for axis in (None, 0, 1, -1):
        for keepdims in (False, True):
            y = kn.median(x, axis=axis, keepdims=keepdims)
            np.testing.assert_allclose(y, np.median(x, axis=axis, keepdims=keepdims), rtol=1e-15)


def test_index_add_repeats():
    y = kn.index_add(kn.zeros(3, 2), [0, 0, -1], kn.ones(3, 2), axis=0)
    assert y.tolist() == [[2, 2], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: kn.moveaxis(kn.zeros(2, 3), (0, 1), 0), AxisError),
        (lambda: kn.swapaxes(kn.zeros(2, 3), 0, 2), AxisError),
        (lambda: kn.matrix_transpose(kn.zeros(3)), ShapeError),
        (lambda: kn.diagonal(kn.zeros(3)), ShapeError),
        (lambda: kn.diag(kn.zeros(1, 1, 1)), ShapeError),
        (lambda: kn.meshgrid(kn.zeros(2, 2)), ShapeError),
        (lambda: kn.meshgrid(kn.zeros(2), indexing="yx"), KinoneError),
        (lambda: kn.index_add(kn.zeros(3), [3], kn.ones(1), axis=0), AxisError),
        (lambda: kn.median(kn.zeros(0)), ShapeError),
    ],
    ids=range(9),
)
def test_refusals(call, error):
    with pytest.raises(error, match=r"\[\w+\] expected .+, got "):
        call()
