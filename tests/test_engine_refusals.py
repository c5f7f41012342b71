"""What the engine refuses, what it says then, and that nothing has changed."""

import gc
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
