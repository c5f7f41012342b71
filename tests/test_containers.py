"""Containers of layers: the order in which they stand, how they are changed, and what they refuse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn
from kinone.errors import ArgumentError, ShapeError
from layer_reloading import draw, reloaded


def test_named_layers_are_reloaded_in_the_order_in_which_they_stand():
    net = nn.Sequential({"zeta": nn.Linear(3, 5), "mid": nn.Tanh(), "alpha": nn.Linear(5, 2)})
    twin = reloaded(net)
    assert list(twin.parts()) == ["zeta", "mid", "alpha"]
    np.testing.assert_array_equal(twin(draw(4, 3)).data, net(draw(4, 3)).data)
    heads = reloaded(nn.ModuleDict({"z": nn.Linear(1, 2), "a": nn.Linear(1, 3)}))
    assert list(heads) == ["z", "a"] and heads["z"].out_features == 2


class Tower(nn.Sequential):
    """Made from a number, not from modules."""

    def __init__(self, n: int) -> None:
        super().__init__(*(nn.Linear(3, 3) for _ in range(n)))


def test_layers_that_were_added_later_keep_their_place_beyond_the_tenth():
    tower = Tower(2)
    for i in range(12):
        tower.append(nn.Linear(3, 3) if i % 2 else nn.Tanh())
    tower[1] = nn.Sigmoid()
    twin = reloaded(tower, Tower=Tower)
    assert type(twin) is Tower and len(twin) == 14
    assert [type(part) for part in twin] == [type(part) for part in tower]
    np.testing.assert_array_equal(twin(draw(4, 3)).data, tower(draw(4, 3)).data)
    assert tower.get_config() == {"n": 2}


class Named(nn.Sequential):
    """Layers by name, put there by its constructor."""

    def __init__(self) -> None:
        super().__init__({"z": nn.Linear(3, 3), "m": nn.Tanh(), "a": nn.Linear(3, 3)})


CHANGES: list[Callable[[Any], Any]] = [
    lambda net: net.insert(1, nn.Linear(3, 3), "q"),
    lambda net: net.insert(0, nn.ReLU(), "q").insert(2, nn.Sigmoid(), "b"),
    lambda net: net.add(nn.Sigmoid(), "y").add(nn.Linear(3, 3), "b"),
    lambda net: setattr(net, "z", nn.Tanh()),
    lambda net: [net.pop("m"), net.add(nn.ReLU(), "m")],
    lambda net: net.insert(0, net.pop("a"), "a"),
]


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
@pytest.mark.parametrize("is_inner", [False, True])
def test_named_layers_that_were_moved_are_reloaded_where_they_stand(change: Callable[[Any], Any], is_inner: bool):
    """Also where a module of somebody's own made the container."""
    top = Holder() if is_inner else Named()
    net: Any = top.net if isinstance(top, Holder) else top
    change(net)
    twin = reloaded(top, Named=Named, Holder=Holder)
    inner = twin.net if is_inner else twin
    assert [*inner.parts()] == [*net.parts()] and repr(inner) == repr(net)
    np.testing.assert_array_equal(inner(draw(4, 3)).data, net(draw(4, 3)).data)
    assert nn.described(reloaded(twin, Named=Named, Holder=Holder)) == nn.described(twin)


class Holder(nn.Module):
    """A module that makes a container for itself."""

    def __init__(self) -> None:
        self.net = nn.Sequential({"z": nn.Linear(3, 3), "m": nn.Tanh(), "a": nn.Linear(3, 3)})


def test_a_sequential_can_be_changed():
    a, b, c, d = nn.Tanh(), nn.ReLU(), nn.Linear(2, 2), nn.Sigmoid()
    net = nn.Sequential(a, b)
    assert net.append(c) is net and list(net.parts()) == ["0", "1", "2"]
    net.insert(1, d)
    assert list(net) == [a, d, b, c] and list(net.parts()) == ["0", "1", "2", "3"]
    assert [name for name, _ in net.named_parameters()] == ["3.weight", "3.bias"]
    del net[0]
    assert list(net) == [d, b, c] and net.pop() is c and len(net) == 2
    net[0] = a
    assert list(net.extend([c, d])) == [a, b, c, d] and b in net and nn.ReLU() not in net
    assert list(net[1:3]) == [b, c] and isinstance(net[1:3], nn.Sequential) and list(net[::-1]) == [d, c, b, a]
    assert list(net[:1] + net[3:]) == [a, d] and net[-1] is d and net["2"] is c
    del net[1:3]
    assert list(net) == [a, d] and list(net.parts()) == ["0", "1"]


def test_a_named_sequential_can_be_changed():
    net = nn.Sequential({"z": nn.Tanh(), "a": nn.ReLU()}).add(nn.Sigmoid(), "m").add(nn.Tanh())
    assert list(net.parts()) == ["z", "a", "m", "3"] and net["m"] is net[2]
    net.insert(1, nn.ReLU(), "b")
    assert list(net.parts()) == ["z", "b", "a", "m", "3"] and list(net[1:3].parts()) == ["b", "a"]
    del net["b"], net[0]
    assert list(net.parts()) == ["a", "m", "3"]
    with pytest.raises(ArgumentError, match="a name that is not taken, got 'a'"):
        net.add(nn.Tanh(), "a")


def test_a_layer_in_two_places_runs_twice_and_is_one():
    shared = nn.Linear(3, 3)
    net = nn.Sequential(shared, nn.Tanh(), shared)
    assert len(list(net.parameters())) == 2 and len(net) == 3
    np.testing.assert_array_equal(net(draw(2, 3)).data, shared(shared(draw(2, 3)).tanh()).data)
    twin = reloaded(net)
    assert twin[0] is twin[2]


def test_lists_and_dicts_of_modules():
    layers = nn.ModuleList(nn.Linear(2, n) for n in (1, 2, 3))
    assert [layer.out_features for layer in layers] == [1, 2, 3] and [len(layers), len(layers[1:])] == [3, 2]
    layers.insert(0, nn.Linear(2, 9))
    assert [layer.out_features for layer in [*layers, nn.Linear(2, 4)]] == [9, 1, 2, 3, 4]
    with pytest.raises(NotImplementedError, match="ModuleList defines no forward"):
        layers(draw(1, 2))
    parts = nn.ModuleDict({"b": nn.Tanh()})
    parts["a"] = nn.ReLU()
    parts.update({"c": nn.Linear(1, 1), "b": nn.Sigmoid()})
    assert list(parts) == ["b", "a", "c"] and type(parts["b"]) is nn.Sigmoid and "c" in parts and len(parts) == 3
    assert [*parts.keys()] == [name for name, _ in parts.items()] and [*parts.values()][2] is parts["c"]
    assert parts.pop("b") is not None and list(parts) == ["a", "c"]
    assert nn.ModuleDict() and not len(nn.ModuleDict())  # there, although it holds nothing


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: nn.Sequential(nn.Tanh())[1], IndexError, "a position among 1, got 1"),
        (lambda: nn.Sequential(nn.Tanh())["x"], KeyError, "one of 0, or a position among 1, got 'x'"),
        (lambda: nn.ModuleDict({"a": nn.Tanh()})["b"], KeyError, "one of a, got 'b'"),
        (lambda: nn.Sequential(kn.relu), ArgumentError, r"a module as '0', got a .*nn.Lambda\(f\)"),
        (lambda: nn.Sequential([nn.Tanh()]), ArgumentError, "a module as '0', got a list"),
        (lambda: nn.ModuleDict({"keys": nn.Tanh()}), ArgumentError, "names that ModuleDict does not use itself"),
        (lambda: nn.ModuleDict({"_made": nn.Tanh()}), ArgumentError, "without _ in front, got '_made'"),
        (lambda: nn.ModuleDict({"a.b": nn.Tanh()}), ArgumentError, "a name without dots"),
        (lambda: nn.Residual(kn.relu), ArgumentError, "a module as block"),
        (lambda: nn.Residual(nn.Linear(3, 1))(draw(2, 3)), ShapeError, r"one shape, \(2, 1\), got \(2, 3\)"),
        (lambda: nn.Lambda(nn.ReLU()), ArgumentError, "an operator or a function, got a ReLU"),
    ],
)
def test_containers_refuse(call: Callable[[], Any], error: type[Exception], match: str):
    with pytest.raises(error, match=match):
        call()


def test_residuals_and_functions():
    block, shortcut, x = nn.Linear(3, 2), nn.Linear(3, 2, bias=False), draw(4, 3)
    np.testing.assert_array_equal(nn.Residual(block, shortcut)(x).data, (block(x) + shortcut(x)).data)
    own = nn.Lambda(lambda x, y: x - y)
    assert own(5.0, 3.0) == 2.0
    with pytest.raises(ArgumentError, match=r"\[Lambda.function\] expected numbers, text, modules and operators"):
        nn.described(own)
    twin = reloaded(nn.Lambda(kn.softmax, axis=0))
    assert twin.function is kn.softmax and twin.attributes == {"axis": 0}
    assert repr(twin) == "Lambda(softmax, axis=0)"


def test_all_layers_learn_through_every_change_of_shape():
    """A reshape that drops the graph trains the last layer alone, and nobody sees it."""
    kn.random.seed(0)
    net = nn.Sequential(
        nn.Conv2d(None, 4, 3, padding="same"), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.PixelShuffle(2),
        nn.Flatten(), nn.Unflatten(1, (4, 4)), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(1),
    )  # fmt: skip
    x, t = draw(8, 2, 4, 4), draw(8, 1, seed=1)
    loss = nn.MSELoss()
    net(x)
    before = {name: p.data for name, p in net.named_parameters()}
    losses: list[float] = []
    for _ in range(20):
        y = loss(net(x), t)
        losses.append(y.item())
        net.zero_grad()
        y.backward()
        for p in net.parameters():
            p.data = p.data - 0.05 * p.grad.data
    assert losses[-1] < 0.3 * losses[0]
    moved = [name for name, p in net.named_parameters() if abs(p.data - before[name]).max() > 1e-4]
    assert set(moved) == set(before) - {"0.bias"}  # which the batch norm behind it takes away
