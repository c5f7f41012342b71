"""The engine by itself: graphs, backward, modes, assignment."""

import gc
import threading
import time
import tracemalloc
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest

import kinone as kn
from kinone.core.op import Array, op


def leaf(*values: float) -> kn.Tensor:
    return kn.Tensor(np.array(values), requires_grad=True)


# ------------------------------------------------------------------------------------ values
def test_branches_accumulate():
    x = leaf(1.0, 2.0, 3.0)
    ((x * x) + x * 3.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [5.0, 7.0, 9.0])


def test_a_sum_handed_to_two_places_is_not_written_into():
    # The fault: add's rule hands the same array to both sides, and accumulating in place doubles it for the other.
    a, b = leaf(1.0, 1.0), leaf(2.0, 2.0)
    ((a + b) + a).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), [2.0, 2.0])
    np.testing.assert_array_equal(b.grad.numpy(), [1.0, 1.0])


def test_gradients_of_two_leaves_share_no_memory():
    a, b = leaf(1.0, 1.0), leaf(2.0, 2.0)
    g = np.array([1.0, 5.0])
    (a + b).backward(g)
    a.grad.data *= 100
    np.testing.assert_array_equal(b.grad.numpy(), [1.0, 5.0])
    np.testing.assert_array_equal(g, [1.0, 5.0])


def test_backward_adds_to_what_is_there():
    x = leaf(2.0)
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad.item() == 8.0
    assert first.item() == 4.0, "the first gradient, which somebody may hold, was changed"


def test_only_what_leads_to_the_wanted_is_computed():
    calls = []

    @kn.op(samples=(), dtypes="any")
    def costly(a, b):
        return a * b

    @costly.backward
    def costly_backward(g, a, b):
        return lambda: calls.append("a") or g * b, lambda: calls.append("b") or g * a

    x, w = leaf(2.0), leaf(3.0)
    kn.gradients(costly(x, w).sum(), [w])
    assert calls == ["b"]
    calls.clear()
    costly(x.detach(), w).sum().backward()
    assert calls == ["b"], "the gradient of an input that needs none was computed"


def test_gradients_of_intermediate_and_unused_tensors():
    x, unused = leaf(3.0), leaf(1.0, 1.0)
    y = x * x
    z = y * x
    gy, gx, gu = kn.gradients(z.sum(), [y, x, unused])
    assert (gy.item(), gx.item(), gu.tolist()) == (3.0, 27.0, [0.0, 0.0])
    assert x.grad is None


def test_retain_grad_keeps_an_intermediate_gradient():
    x = leaf(3.0)
    y = (x * x).retain_grad()
    (y * 2.0).sum().backward()
    assert (y.grad.item(), x.grad.item()) == (2.0, 12.0)


class Ends(NamedTuple):
    low: Any
    high: Any


def test_several_outputs_may_have_names():
    @op(stretches=False)
    def ends(x: Array) -> Any:
        return Ends(x - 1, x * 2)

    @ends.backward
    def _(g: Any) -> Any:
        return g[0] + 2 * g[1]

    x = kn.Tensor([1.0, 2.0], requires_grad=True)
    low, high = ends(x)
    (low.sum() + high.sum()).backward()
    assert low.tolist() == [0.0, 1.0] and high.tolist() == [2.0, 4.0] and x.grad.tolist() == [3.0, 3.0]


def test_several_outputs_with_some_unused():
    x = kn.Tensor(np.array([3.0, 1.0, 2.0]), requires_grad=True)
    values, indices = kn.topk(x, 2)
    assert indices.tolist() == [0, 2]
    assert not indices.requires_grad
    (values * np.array([10.0, 1.0])).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [10.0, 0.0, 1.0])


def test_third_derivative_of_tanh():
    d = kn.tanh
    for _ in range(3):
        d = kn.grad(d)
    t = np.tanh(0.3)
    np.testing.assert_allclose(d(np.array(0.3)).item(), -2 * (1 - t * t) * (1 - 3 * t * t), rtol=1e-14)
    h = 1e-4
    second = kn.grad(kn.grad(kn.tanh))
    difference = (second(np.array(0.3 + h)).item() - second(np.array(0.3 - h)).item()) / (2 * h)
    np.testing.assert_allclose(d(np.array(0.3)).item(), difference, rtol=1e-6)


def test_hessian_vector_product_through_conv_norm_and_cross_entropy():
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(4, 2, 5, 5)), np.array([0, 2, 1, 2])
    w, v = rng.normal(size=(3, 2, 3, 3)), rng.normal(size=(3, 2, 3, 3))
    gamma, beta = np.array([1.0, 0.5, 2.0]), np.array([0.1, -0.2, 0.3])

    def loss(w):
        y = kn.batch_norm(kn.conv2d(x, w, padding=1), gamma, beta)[0]
        return kn.cross_entropy((y * y).mean(axis=(2, 3)) + y[:, :, 0, 0], target)

    product = kn.hvp(loss, w, v).numpy()
    h = 1e-5
    gradient = kn.grad(loss)
    difference = (gradient(w + h * v).numpy() - gradient(w - h * v).numpy()) / (2 * h)
    assert np.linalg.norm(difference) > 1e-3
    np.testing.assert_allclose(product, difference, rtol=1e-6, atol=1e-8)


def test_gradient_of_a_gradient_penalty():
    rng = np.random.default_rng(1)
    x, w1, w2 = rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=(4, 1))

    def penalty(w1, w2):
        def critic(x):
            return kn.matmul(kn.tanh(kn.matmul(x, w1)), w2).sum()

        g = kn.grad(critic)(x)
        return ((kn.sqrt((g * g).sum(axis=1)) - 1.0) ** 2).mean()

    got = kn.grad(penalty, argnums=(0, 1))(w1, w2)
    for i, (g, w) in enumerate(zip(got, (w1, w2), strict=True)):
        for at in [(0, 0), (1, 0), (2, 0)]:
            ends = []
            for h in (1e-6, -1e-6):
                moved = [w1.copy(), w2.copy()]
                moved[i][at] += h
                ends.append(penalty(*map(kn.Tensor, moved)).item())
            np.testing.assert_allclose(g.numpy()[at], (ends[0] - ends[1]) / 2e-6, rtol=1e-6, err_msg=f"{w.shape}{at}")


def test_reshape_keeps_the_graph():
    # The fault: a reshape that dropped the graph, so that only the last layer trained.
    x = leaf(1.0, 2.0, 3.0, 4.0)
    (x.reshape(2, 2).reshape(4) * np.array([1.0, 2.0, 3.0, 4.0])).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1.0, 2.0, 3.0, 4.0])


# ------------------------------------------------------------------------------------ size and memory
def chain(x: kn.Tensor, n: int) -> kn.Tensor:
    for _ in range(n):
        x = kn.tanh(x)
    return x


def test_a_chain_of_100000_operators():
    x = kn.Tensor(np.full((2,), 0.1), requires_grad=True)
    y = chain(x, 100_000)
    y.sum().backward()
    want, value = 1.0, 0.1
    for _ in range(100_000):
        value = np.tanh(value)
        want *= 1 - value * value
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-9)
    start = time.perf_counter()
    del y  # a graph this deep is also taken down without recursion
    assert time.perf_counter() - start < 60


def test_backward_frees_what_it_has_used():
    x = kn.Tensor(np.ones((100, 100)), requires_grad=True)
    tracemalloc.start()
    try:
        y = chain(x, 100).sum()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        y.backward()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    array = x.data.nbytes
    assert before > 95 * array
    assert after < 5 * array, "arrays outlived the rule that needed them"
    assert peak < before + 8 * array


def test_graphs_have_no_cycles():
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = (kn.tanh(x) * x).sum()
        y.backward(retain_graph=True)
        watched = weakref.ref(y)
        del y
        assert watched() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_node_keeps_only_what_the_rule_names():
    x = leaf(0.5)
    assert (x + 1.0).node.arrays == [None, None]
    assert kn.tanh(x).node.arrays == [None]
    assert kn.tanh(x).node.y.item() == np.tanh(0.5)
    assert kn.sum(x).node.arrays == [None], "a rule that needs a shape keeps no array"


# ------------------------------------------------------------------------------------ modes
def test_no_grad_nests_and_survives_exceptions():
    x = leaf(1.0)
    with kn.no_grad():
        assert not (x * 2).requires_grad
        with kn.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    with pytest.raises(ZeroDivisionError), kn.no_grad():
        raise ZeroDivisionError
    assert (x * 2).requires_grad

    @kn.no_grad()
    def inference(x):
        return x * 2

    assert not inference(x).requires_grad
    assert not inference(x).requires_grad, "the decorator works a second time"


def test_no_grad_is_per_thread():
    x, seen = leaf(1.0), []
    with kn.no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_threads_differentiate_at_once():
    results: dict[int, float] = {}

    def work(i: int) -> None:
        x = leaf(float(i))
        for _ in range(50):
            x.grad = None
            (x * x * x).sum().backward()
        results[i] = x.grad.item()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {i: 3.0 * i * i for i in range(4)}


# ------------------------------------------------------------------------------------ assignment
def test_augmented_assignment_never_corrupts_a_graph():
    x = leaf(3.0)
    y = x * x
    y_before = y
    y += 1.0
    assert y is not y_before
    y.sum().backward()
    assert x.grad.item() == 6.0

    c = kn.Tensor(np.array([2.0]))
    y = x * c
    c += 5.0
    c.fill(100.0)
    c[0] = -1.0
    x.grad = None
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.item() == 2.0, "the recorded call saw c = 2"


def test_a_step_by_hand_keeps_the_leaf():
    w = leaf(1.0, 2.0)
    old, alias = w.data, w
    y = (w * w).sum()
    with kn.no_grad():
        w -= 0.1 * np.array([1.0, 1.0])
    assert w is alias
    assert w.is_leaf
    assert w.requires_grad
    np.testing.assert_allclose(w.numpy(), [0.9, 1.9])
    y.backward()
    np.testing.assert_array_equal(w.grad.numpy(), 2 * old)


def test_copy_from_keeps_dtype_and_array_of_the_source():
    x, source = kn.Tensor([1.0, 2.0]), np.array([3.0, 4.0])
    x.copy_from(source)
    source[0] = 99
    assert (x.dtype, x.tolist()) == (np.float32, [3.0, 4.0])
