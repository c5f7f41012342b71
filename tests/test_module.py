"""The small beginning of Module: what registers, how it is named, and what an error says about where it arose."""

import ast
import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.errors import ArgumentError, DtypeError, ShapeError
from kinone.nn import Input, Module, Parameter
from kinone.nn.methods import Methods


class Affine(Module):
    def __init__(self, n, m):
        self.weight = Parameter(np.full((n, m), 0.5, np.float32))
        self.bias = Parameter(np.zeros(m, np.float32))

    def forward(self, x):
        return x @ self.weight + self.bias


class Block(Module):
    def __init__(self):
        self.conv1 = Affine(3, 4)
        self.conv2 = Affine(4, 3)

    def forward(self, x):
        return self.conv2(kn.relu(self.conv1(x)))


class Net(Module):
    def __init__(self):
        self.layer1 = Block()
        self.head = Affine(3, 2)
        self.register_buffer("seen", kn.Tensor(0.0))

    def forward(self, x):
        return self.head(self.layer1(x))


def test_a_parameter_is_a_floating_leaf():
    w = Parameter(2)
    assert (w.dtype, w.requires_grad, w.is_leaf, isinstance(w, kn.Tensor)) == (np.float32, True, True, True)
    assert Parameter([[1, 2]]).dtype == np.float32 and Parameter(np.ones(2)).dtype == np.float64
    assert not Parameter(1.0, requires_grad=False).requires_grad
    with pytest.raises(DtypeError, match=r"\[Parameter\] expected a floating dtype, got int64"):
        Parameter(np.array([1, 2]))
    assert type(w + 1.0) is kn.Tensor


def test_copies_have_gradients_of_their_own():
    net: Any = Net()
    twin, third = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in net.named_parameters()]
    for other in (twin, third):
        assert all(
            a is not b and a.data is not b.data for a, b in zip(net.parameters(), other.parameters(), strict=True)
        )
        (net(np.ones((1, 3), np.float32)) + other(np.ones((1, 3), np.float32))).sum().backward()
        np.testing.assert_array_equal(other.head.weight.grad.data, net.head.weight.grad.data)
        net.zero_grad()


def test_names_are_dotted_paths_in_order():
    net: Any = Net()
    layers = ("layer1.conv1", "layer1.conv2", "head")
    assert [name for name, _ in net.named_parameters()] == [f"{x}.{w}" for x in layers for w in ("weight", "bias")]
    assert [name for name, _ in net.named_modules()] == ["", "layer1", "layer1.conv1", "layer1.conv2", "head"]
    assert [name for name, _ in net.named_children()] == ["layer1", "head"]
    assert list(net.children()) == [net.layer1, net.head]
    assert [name for name, _ in net.named_buffers()] == ["seen"] and list(net.buffers()) == [net.seen]
    assert [name for name, _ in net.named_parameters(prefix="net")][-1] == "net.head.bias"
    assert net.param("layer1.conv2.bias") is net.layer1.conv2.bias
    with pytest.raises(
        ArgumentError, match=r"a parameter of Net, got 'layer1.conv2.bais'.*did you mean layer1.conv2.bias"
    ):
        net.param("layer1.conv2.bais")


def test_order_is_that_of_definition_not_of_the_alphabet():
    m: Any = Module()
    for name in ("z", "a", "10", "9"):
        setattr(m, name, Parameter(1.0))
    assert [name for name, _ in m.named_parameters()] == ["z", "a", "10", "9"]


def test_shared_ones_count_once():
    m: Any = Module()
    m.a, m.b = Affine(2, 2), Affine(2, 2)
    m.b.weight = m.a.weight
    m.again = m.a
    assert [name for name, _ in m.named_parameters()] == ["a.weight", "a.bias", "b.bias"]
    every = [name for name, _ in m.named_parameters(remove_duplicate=False)]
    assert every == ["a.weight", "a.bias", "b.weight", "b.bias", "again.weight", "again.bias"]
    assert m.param("b.weight") is m.a.weight
    assert [name for name, _ in m.named_modules()] == ["", "a", "b"] and len(list(m.children())) == 2


def test_handles_of_inputs():
    net: Any = Net()
    assert net.input("x") == Input(net, "x")
    with pytest.raises(ArgumentError, match=r"an input of Net, got 'y'. Hint: there are x"):
        net.input("y")


def test_what_would_be_lost_in_silence_is_refused():
    net: Any = Net()
    with pytest.raises(ArgumentError, match=r"a Parameter for bias, which is one, got a Tensor.*copy_from"):
        net.head.bias = net.head.bias - 0.1
    with pytest.raises(ArgumentError, match=r"got a list of them, whose parameters nobody would find"):
        net.layers = [Affine(1, 1)]
    with pytest.raises(ArgumentError, match=r"got a dict of them"):
        net.layers = {"a": Parameter(1.0)}
    with pytest.raises(ArgumentError, match=r"a Tensor for the buffer seen, got a float"):
        net.seen = 1.0
    with pytest.raises(ArgumentError, match=r"does not use itself, got 'forward'"):
        net.forward = Affine(1, 1)
    with pytest.raises(ArgumentError, match=r"a module below this one for up, got a Net that contains it"):
        net.layer1.conv1.up = net
    with pytest.raises(ArgumentError, match=r"without dots"):
        setattr(net, "a.b", Parameter(1.0))
    with pytest.raises(ArgumentError, match=r"register_buffer.*got 'head' and a Tensor"):
        net.register_buffer("head", kn.Tensor(1.0))
    net.head.bias = None
    net.head.bias = Parameter(np.ones(2, np.float32))
    net.seen = net.seen + 1.0
    assert [(name, buffer.item()) for name, buffer in net.named_buffers()] == [("seen", 1)]


def test_modes_freezing_gradients_apply():
    net: Any = Net()
    assert net.training and net.eval() is net
    assert not any(module.training for module in net.modules())
    net.train()
    assert all(module.training for module in net.modules())
    net(np.ones((1, 3), np.float32)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.layer1.requires_grad_(False)
    net(np.ones((1, 3), np.float32)).sum().backward()
    assert [p.grad is not None for p in net.parameters()] == [False] * 4 + [True] * 2
    seen = []
    net.apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Affine", "Affine", "Block", "Affine", "Net"]


def test_an_error_says_where_it_arose():
    net: Any = Net()
    net.layer1.conv2.weight = Parameter(np.ones((5, 3), np.float32))
    with pytest.raises(ShapeError) as caught:
        net(np.ones((1, 3), np.float32))
    assert caught.value.__notes__ == ["in Net.layer1.conv2 (Affine)"]
    with pytest.raises(ShapeError) as caught:
        net.layer1(np.ones((1, 3), np.float32))
    assert caught.value.__notes__ == ["in Block.conv2 (Affine)"]


def test_an_error_keeps_the_notes_of_others():
    class Loud(Module):
        def forward(self, x):
            error = RuntimeError("x")
            error.add_note("mine")
            raise error

    m: Any = Module.build(lambda x: x)
    m.inner = Loud()
    m.forward = m.inner.__call__
    with pytest.raises(RuntimeError) as caught:
        m(1.0)
    assert caught.value.__notes__ == ["mine", "in Built.inner (Loud)"]


def test_a_module_of_a_function():
    m = Module.build(lambda x, w, b=0.0: x * w + b, w=[2, 3])
    assert m([1.0, 1.0]).tolist() == [2, 3] and m([1.0, 1.0], b=1.0).tolist() == [3, 4]
    assert list(m.signature().parameters) == ["x", "b"]
    inside = Module.build(lambda w, *xs, scale: (w * xs[0] + xs[1]) * scale, w=2.0)
    assert inside(3.0, 4.0, scale=10.0).item() == 100
    with pytest.raises(ArgumentError, match=r"arguments of f \(x\), got v"):
        Module.build(lambda x: x, v=1.0)
    twin = copy.deepcopy(m)
    twin.w = Parameter([0.0, 0.0])
    assert m([1.0, 1.0]).tolist() == [2, 3] and twin([1.0, 1.0]).tolist() == [0, 0]


def test_a_module_as_text():
    assert repr(Net()) == (
        "Net(\n"
        "  (layer1): Block(\n"
        "    (conv1): Affine(weight: 3×4 float32, bias: 4 float32)\n"
        "    (conv2): Affine(weight: 4×3 float32, bias: 3 float32)\n"
        "  )\n"
        "  (head): Affine(weight: 3×2 float32, bias: 2 float32)\n"
        ")"
    )
    assert repr(Module.build(lambda x, w: x, w=1.0)) == "Built(w: scalar float32)"
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        Module()(1.0)


def test_methods_from_above_are_those_that_are_declared():
    """methods.pyi and what is put on Module: the same names, the same arguments in the same places."""
    stub = Path(inspect.getfile(Methods)).with_suffix(".pyi").read_text(encoding="utf-8")
    (declared,) = [node for node in ast.parse(stub).body if isinstance(node, ast.ClassDef)]
    functions = [node for node in declared.body if isinstance(node, ast.FunctionDef)]
    there = [name for name, value in vars(Methods).items() if callable(getattr(value, "__func__", value))]
    assert sorted(node.name for node in functions) == sorted(name for name in there if not name.startswith("__"))
    for node in functions:
        namespace: dict[str, Any] = {}
        args = ast.unparse(ast.fix_missing_locations(_plain(node.args)))
        exec(f"def f({args}): pass", namespace)
        found = inspect.signature(
            inspect.unwrap(getattr(vars(Methods)[node.name], "__func__", vars(Methods)[node.name]))
        )
        pairs = zip(inspect.signature(namespace["f"]).parameters.values(), found.parameters.values(), strict=True)
        for i, (wanted, given) in enumerate(pairs):
            assert wanted.kind == given.kind and (wanted.name == given.name or i == 0), (node.name, wanted, given)
            assert wanted.default in (given.default, ...), (node.name, wanted, given)


def _plain(args: ast.arguments) -> ast.arguments:
    for arg in ast.walk(args):
        if isinstance(arg, ast.arg):
            arg.annotation = None
    return args
