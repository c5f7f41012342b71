"""The engine by itself: graphs, backward, modes, assignment. Values first, then what must be refused."""

import gc
import threading
import time
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.core.graph import Node
from kinone.core.modes import modes
from kinone.errors import ArgumentError, DeviceError, DtypeError, GraphError, ShapeError

ANY: Any = kn  # for calls that a type checker would refuse before Kinone can


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


# ------------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        (lambda: leaf(1.0, 2.0).backward(), GraphError, r"a scalar, got shape \(2,\).*Hint: reduce"),
        (lambda: kn.Tensor(1.0).backward(), GraphError, r"not recorded.*requires_grad=True"),
        (lambda: kn.Tensor([1, 2], requires_grad=True), DtypeError, r"floating dtype, got int64.*1\.0 instead"),
        (lambda: leaf(1.0).fill(2.0), GraphError, r"\[fill\].*no_grad"),
        (lambda: (leaf(1.0) * 2).copy_from([1.0]), GraphError, r"recorded result of multiply"),
        (lambda: kn.Tensor([1.0]).copy_from([1.0, 2.0]), ShapeError, r"expected shape \(1,\), got \(2,\)"),
        (lambda: leaf(1.0).backward(np.ones(3)), ShapeError, r"cotangent of shape \(1,\), got \(3,\)"),
        (lambda: kn.Tensor([1.0, 2.0]).item(), ShapeError, r"one element, got shape \(2,\)"),
        (lambda: kn.Tensor([[1.0], [1.0, 2.0]]), ShapeError, r"equal lengths"),
        (lambda: kn.Tensor(["a"]), DtypeError, r"real numbers"),
        (lambda: kn.Tensor([1.0], dtype="flot32"), ShapeError, r"NumPy dtype"),
        (lambda: kn.Tensor([1.0], device="cuda:0"), DeviceError, r"device='cpu', got 'cuda:0'"),
        (lambda: kn.Tensor([1.0]).to("cuda:1"), DeviceError, r"got 'cuda:1'"),
        (lambda: kn.add(kn.Tensor([1.0]), np.array([1.0])), DtypeError, r"one dtype, got float32 and float64.*astype"),
        (lambda: kn.add(kn.Tensor([1]), 0.5), DtypeError, r"int64 and a Python float"),
        (lambda: kn.add(kn.Tensor([1.0]), "x"), DtypeError, r"real numbers, .*got a str"),
        (lambda: kn.tanh(kn.Tensor([1])), DtypeError, r"\[tanh\] expected x of a float.* dtype, got int64"),
        (lambda: ANY.tanh(kn.Tensor([1.0]), axis=1), Exception, r"\[tanh\] expected .*'?axis"),
        (kn.tanh, Exception, r"\[tanh\] expected the arguments \(x\), got no x"),
        (lambda: ANY.tanh(leaf(1.0), 2), Exception, r"\[tanh\] expected 1 arguments by position, got 2"),
        (lambda: ANY.sum(leaf(1.0), 0), Exception, r"give by name: axis"),
        (lambda: np.asarray(leaf(1.0)), GraphError, r"graph would be lost.*detach"),
        (lambda: kn.gradients(leaf(1.0).sum(), [kn.Tensor(1.0)]), GraphError, r"tensors that require gradients"),
        (lambda: len(kn.Tensor(1.0)), ShapeError, r"0-d"),
    ],
)  # fmt: skip
def test_refusals_say_what_was_expected(what, error, message):
    with pytest.raises(error, match=message):
        what()
    assert modes.recording
    assert not modes.observers


def test_a_second_backward_is_refused_and_changes_nothing():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GraphError, match=r"freed\. Hint: pass retain_graph=True"):
        y.backward()
    assert x.grad.item() == 4.0
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12.0


def test_a_failing_rule_leaves_no_gradient_and_no_mode():
    @kn.op(samples=())
    def broken(x):
        return x * 1.0

    @broken.backward
    def broken_backward(g):
        raise RuntimeError("the rule's own fault")

    x, w = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match="own fault"):
        (w * broken(x)).sum().backward()
    assert w.grad is None
    assert x.grad is None
    assert modes.recording


def test_a_failing_operator_leaves_its_inputs_alone():
    x = leaf(1.0, 2.0)
    node, count = x.node, sum(type(o) is Node for o in gc.get_objects())
    with pytest.raises(ShapeError):
        kn.add(x, kn.Tensor(np.ones(3)))
    gc.collect()
    assert x.node is node
    assert sum(type(o) is Node for o in gc.get_objects()) <= count


def test_leaves_keep_their_flags():
    x = leaf(1.0)
    x.requires_grad = False
    assert not x.requires_grad
    with pytest.raises(GraphError, match="detach"):
        (leaf(1.0) * 2).requires_grad = False
    with pytest.raises(GraphError, match=r"shape \(1,\)"):
        leaf(1.0).grad = kn.Tensor([1.0, 2.0])


def test_errors_survive_pickling():
    import pickle

    error = ShapeError("matmul", "a", "b", hint="c")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ShapeError
    assert str(again) == str(error)
    assert again.hint == "c"


def test_a_translated_error_keeps_what_it_was():
    @kn.op(samples=())
    def faulty(x):
        return x.no_such_attribute

    with pytest.raises(ArgumentError, match=r"\[faulty\] expected arguments that fit together") as told:
        faulty(leaf(1.0))
    assert isinstance(told.value.__cause__, AttributeError)
    with pytest.raises(ShapeError) as told:
        kn.add(leaf(1.0, 2.0), leaf(1.0, 2.0, 3.0))
    assert isinstance(told.value.__cause__, ValueError), "NumPy's own words"
