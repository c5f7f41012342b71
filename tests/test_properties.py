"""Properties over shapes that nobody chose: broadcasting, axes, strides, sizes zero and one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import kinone as kn
from kinone.core.graph import Leaf
from kinone.core.tensor import wrap

SIDES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
VALUES = st.floats(0.5, 2.0)  # where every one of these functions is smooth and defined


def arrays(shape, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(0.5, 2.0, size=shape)


def leaf(x):
    return wrap(x, Leaf())


BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "pow": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "atan2": np.arctan2,
    "hypot": np.hypot,
    "logaddexp": np.logaddexp,
}


@pytest.mark.parametrize("name", BINARY)
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3))
def test_broadcasting_is_expanding_first(name, shapes):
    """f(a, b) broadcasts as NumPy does, and its gradients are those of f on the expanded inputs, summed back."""
    op = getattr(kn, name)
    a, b = (arrays(shape, i) for i, shape in enumerate(shapes.input_shapes))
    ta, tb = leaf(a), leaf(b)
    y = op(ta, tb)
    np.testing.assert_allclose(y.numpy(), BINARY[name](a, b), rtol=1e-14)
    g = arrays(y.shape, 2)
    short = kn.gradients(y, [ta, tb], g)
    la, lb = leaf(a), leaf(b)
    long = kn.gradients(op(kn.expand(la, y.shape), kn.expand(lb, y.shape)), [la, lb], g)
    for got, want, x in zip(short, long, (a, b), strict=True):
        assert got.shape == x.shape
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-12, atol=1e-14)


REDUCTIONS = ["sum", "mean", "max", "min", "prod", "var", "std", "any", "all"]


@pytest.mark.parametrize("name", REDUCTIONS)
@given(data=st.data())
def test_reductions_over_any_axes(name, data):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=3))
    axes = data.draw(st.none() | st.sets(st.sampled_from(range(-len(shape), len(shape)))).map(tuple)) if shape else None
    if axes is not None and len({a % len(shape) for a in axes}) < len(axes):
        axes = None
    keepdims = data.draw(st.booleans())
    x = arrays(shape)
    if name in ("any", "all"):
        x = x > 1
    want = getattr(np, name)(x, axis=axes, keepdims=keepdims)
    got = getattr(kn, name)(leaf(x) if x.dtype.kind == "f" else kn.Tensor(x), axis=axes, keepdims=keepdims)
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-15)
    if got.requires_grad:
        (got * got).sum().backward()


SMOOTH = ["tanh", "exp", "log", "sqrt", "sin", "relu", "sigmoid", "gelu", "softplus", "negative"]


@pytest.mark.parametrize("name", SMOOTH)
@given(x=hnp.arrays(np.float64, SIDES, elements=VALUES), data=st.data())
def test_elementwise_ignores_layout(name, x, data):
    """A permuted, reversed view gives what its contiguous copy gives (NumPy's loops may differ in the last bit)."""
    order = data.draw(st.permutations(range(x.ndim)))
    view = np.flip(x.transpose(order)) if x.ndim else x
    op, results = getattr(kn, name), []
    for each in (view, view.copy()):
        t = leaf(each)
        y = op(t)
        results.append((y.numpy(), kn.gradients(y, [t], np.ones(y.shape))[0].numpy()))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-15)


@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
    data=st.data(),
)
def test_softmax_sums_to_one_on_any_axis(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = data.draw(hnp.arrays(np.float64, shape, elements=st.floats(-1e4, 1e4)))
    t = leaf(x)
    y = kn.softmax(t, axis=axis)
    np.testing.assert_allclose(y.numpy().sum(axis=axis), 1.0, rtol=1e-12)
    np.testing.assert_allclose(kn.gradients(y, [t], np.ones(shape))[0].numpy(), 0.0, atol=1e-12)
    assert np.isfinite(kn.log_softmax(t, axis=axis).numpy()).all()
    assert np.isfinite(kn.logsumexp(t, axis=axis).numpy()).all()


@given(data=st.data())
def test_matmul_of_any_broadcastable_batches(data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(signature="(n,k),(k,m)->(n,m)", max_dims=2, max_side=3))
    a, b = (arrays(shape, i) for i, shape in enumerate(shapes.input_shapes))
    ta, tb = leaf(a), leaf(b)
    y = kn.matmul(ta, tb)
    np.testing.assert_allclose(y.numpy(), a @ b, rtol=1e-12)
    g = arrays(y.shape, 3)
    ga, gb = kn.gradients(y, [ta, tb], g)
    full = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    want = g @ np.broadcast_to(np.swapaxes(b, -1, -2), (*full, b.shape[-1], b.shape[-2]))
    lead = tuple(range(want.ndim - a.ndim))
    want = want.sum(axis=lead)
    want = want.sum(axis=tuple(i for i, n in enumerate(a.shape[:-2]) if n == 1), keepdims=True)
    np.testing.assert_allclose(ga.numpy(), want.reshape(a.shape), rtol=1e-11, atol=1e-13)
    assert gb.shape == b.shape
