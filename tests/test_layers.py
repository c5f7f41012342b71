"""What layers promise beyond their values: order, state, modes, what they refuse and what they draw."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn
from kinone.errors import ArgumentError, AxisError, DtypeError, KinoneError, ShapeError, StateError


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def reloaded(module: nn.Module, **kinds: type[nn.Module]) -> Any:
    """Out as JSON whose keys a stranger has sorted, and in again."""
    text = json.dumps(nn.described(module), sort_keys=True)
    made = nn.build(json.loads(text), {**nn.MODULES, **kinds})
    made.load_state_dict(dict(sorted(module.state_dict().items())))
    return made


# ------------------------------------------------------------------------------ containers
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


# ------------------------------------------------------------------------------ norms
def test_the_statistics_of_a_batch_norm_are_state():
    bn = nn.BatchNorm2d(2)
    for seed in range(3):
        bn(draw(4, 2, 3, 3, seed=seed) * 3 + 1)
    state = bn.state_dict()
    assert {"running_mean", "running_var", "num_batches_tracked"} < state.keys()
    assert state["num_batches_tracked"].dtype == np.int64 and state["num_batches_tracked"].item() == 3
    kept = {name: value.data.copy() for name, value in state.items()}
    twin = reloaded(bn).eval()
    x = draw(4, 2, 3, 3, seed=9)
    np.testing.assert_array_equal(twin(x).data, bn.eval()(x).data)
    bn.train()(x)
    for name, value in state.items():
        np.testing.assert_array_equal(value.data, kept[name])  # what was taken out does not move on
    assert not np.array_equal(bn.running_mean.data, kept["running_mean"])
    bn.reset_running_stats()
    assert not bn.running_mean.data.any() and bn.running_var.data.all() and bn.num_batches_tracked.item() == 0


def test_running_statistics_follow_their_formula():
    x = draw(5, 2, 4)
    mean, var = x.astype(np.float64).mean(axis=(0, 2)), x.astype(np.float64).var(axis=(0, 2), ddof=1)
    bn = nn.BatchNorm1d(2, momentum=0.25)
    bn(x)
    np.testing.assert_allclose(bn.running_mean.data, 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(bn.running_var.data, 0.75 + 0.25 * var, rtol=1e-5)
    average = nn.BatchNorm1d(2, momentum=None)
    for batch in (x, 3 * x):
        average(batch)
    np.testing.assert_allclose(average.running_mean.data, 2 * mean, rtol=1e-5)
    np.testing.assert_allclose(average.running_var.data, 5 * var, rtol=1e-5)
    with kn.no_grad():
        average(x)
    assert average.num_batches_tracked.item() == 3
    before = average.running_mean.data
    average.eval()(x)
    assert average.running_mean.data is before


def test_the_gradient_in_evaluation_is_that_of_a_fixed_map():
    bn = nn.BatchNorm1d(2).double()
    bn.weight.data, bn.running_var.data = np.array([2.0, -3.0]), np.array([4.0, 0.25])
    bn.eval()
    x = kn.Tensor(draw(3, 2).astype(np.float64), requires_grad=True)
    g = draw(3, 2, seed=1).astype(np.float64)
    bn(x).backward(g)
    np.testing.assert_allclose(x.grad.data, g * np.array([2.0, -3.0]) / np.sqrt(np.array([4.0, 0.25]) + 1e-5))
    alone = bn(x.detach()[:1])  # one sample is enough
    np.testing.assert_array_equal(alone.data, bn(x.detach()).data[:1])


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("has_residual", [True, False])
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_batch_norm_with_what_follows_it_is_the_same_in_one_pass(activation: str, has_residual: bool, mode: bool):
    one, two = nn.BatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    x, beside, g = (draw(4, 3, 2, 2, seed=seed).astype(np.float64) for seed in range(3))
    found: list[list[Any]] = []
    for bn, fused in ((one, True), (two, False)):
        bn.train(mode)
        a, r = kn.Tensor(x, requires_grad=True), kn.Tensor(beside, requires_grad=True)
        rest = r if has_residual else None
        act = getattr(kn, activation)
        y = bn(a, rest, activation=activation) if fused else act(bn(a) + r if has_residual else bn(a))
        y.backward(g)
        grads = [a.grad, bn.weight.grad, bn.bias.grad, *([r.grad] if has_residual else [])]
        found.append([y.data, bn.running_var.data, *(part.data for part in grads)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    with pytest.raises(ArgumentError, match="activation 'none', 'relu' or 'silu', got 'gelu'"):
        one(x, activation="gelu")


def test_a_checkpoint_moves_running_statistics_once():
    def state(f: Callable[[Any, Any], Any]) -> dict[str, Any]:
        block = nn.Sequential(nn.BatchNorm1d(3), nn.InstanceNorm1d(3, track_running_stats=True), nn.BatchNorm1d(3))
        f(block, kn.Tensor(draw(4, 3, 5), requires_grad=True)).sum().backward()
        return block.state_dict()

    plain, nested = state(lambda block, x: block(x)), lambda block, x: kn.checkpoint(block[0], x)
    once = state(kn.checkpoint)
    twice = state(lambda block, x: kn.checkpoint(lambda x: block[1:](nested(block, x)), x))
    for name, value in plain.items():
        np.testing.assert_array_equal(once[name].data, value.data, err_msg=name)
        np.testing.assert_array_equal(twice[name].data, value.data, err_msg=name)
    assert once["0.num_batches_tracked"].item() == 1


def test_norms_refuse():
    with pytest.raises(ShapeError, match=r"two values for each channel, got 1 \(x has shape \(1, 3\)\)"):
        nn.BatchNorm1d(3)(draw(1, 3))
    with pytest.raises(ShapeError, match="two values for each channel of a sample, got 1"):
        nn.InstanceNorm2d(3)(draw(2, 3, 1, 1))
    with pytest.raises(ShapeError, match=r"\[BatchNorm2d\] expected x of shape \(N, 3, H, W\), got shape \(2, 3, 4\)"):
        nn.BatchNorm2d(3)(draw(2, 3, 4))


# ------------------------------------------------------------------------------ dropout
def test_dropout_drops_a_share_and_keeps_the_mean():
    x, n = np.ones((400, 500), np.float32), 200_000
    y = nn.Dropout(0.3)(x)
    assert abs((y == 0).mean() - 0.3) < 5 * np.sqrt(0.21 / n)
    np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-6)
    layer = nn.Dropout(0.3).eval()
    assert layer(x) is x and nn.Dropout(0.0)(x) is x and not nn.Dropout(1.0)(x).any()


@pytest.mark.parametrize(("kind", "size"), [(nn.Dropout1d, (7,)), (nn.Dropout2d, (3, 4)), (nn.Dropout3d, (2, 3, 2))])
def test_channels_drop_whole(kind: Any, size: tuple[int, ...]):
    y = kind(0.5)(np.ones((20, 30, *size), np.float32)).reshape(600, -1)
    assert set(np.unique(y)) == {0, 2} and (y == y[:, :1]).all()
    assert abs((y[:, 0] == 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(600)


def test_stochastic_depth_drops_samples_or_all():
    x = np.ones((500, 2, 2), np.float32)
    rows = nn.StochasticDepth(0.2, "row")(x).reshape(500, -1)
    assert (rows == rows[:, :1]).all() and set(np.unique(rows)) == {0, np.float32(1 / 0.8)}
    assert abs((rows[:, 0] == 0).mean() - 0.2) < 5 * np.sqrt(0.16 / 500)
    whole = nn.StochasticDepth(0.5, "batch")
    kept = [float(whole(x).mean()) for _ in range(64)]
    assert set(kept) == {0.0, 2.0} and 10 < kept.count(0.0) < 54


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.random.default_rng(0).standard_normal((500, 400)).astype(np.float32)
    y = nn.AlphaDropout(0.3)(x)
    assert abs(y.mean()) < 0.02 and abs(y.std() - 1) < 0.02 and not np.array_equal(x, y)


def test_what_is_dropped_replays_by_seed():
    layers = [nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout(), nn.StochasticDepth(0.5)]
    x = draw(4, 6, 3, 3)
    kn.random.seed(3)
    first = [layer(x) for layer in layers]
    kn.random.seed(3)
    again = [layer(x) for layer in layers]
    kn.random.seed(4)
    other = [layer(x) for layer in layers]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_unpooling_gives_back_what_overlapping_windows_chose():
    x = np.array([[[0.0, 5.0, 1.0, 2.0, 9.0]]])
    y, places = nn.MaxPool1d(3, 1, return_indices=True)(x)
    assert y.tolist() == [[[5, 5, 9]]] and places.tolist() == [[[1, 1, 4]]]
    z = kn.Tensor(y, requires_grad=True)
    back = nn.MaxUnpool1d(3, 1)(z, places)
    back.backward(np.array([[[1.0, 2.0, 3.0, 4.0, 5.0]]]))
    assert back.tolist() == [[[0, 5, 0, 0, 9]]] and z.grad.tolist() == [[[1, 1, 5]]]


# ------------------------------------------------------------------------------ tables
def test_the_padding_row_begins_as_zeros_and_stays_so():
    table = nn.Embedding(5, 3, padding_idx=-2)
    assert table.padding_idx == 3 and not table.weight.data[3].any() and table.weight.data[[0, 1, 2, 4]].all()
    table(np.array([3, 1, 3])).sum().backward()
    assert not table.weight.grad.data[3].any() and (table.weight.grad.data[1] == 1).all()
    assert reloaded(table).padding_idx == 3


def test_indices_out_of_range_are_named_with_their_place():
    with pytest.raises(AxisError, match=r"indices from 0 to 4, got 7 at \[1, 0\] of shape \(2, 2\)"):
        nn.Embedding(5, 3)(np.array([[0, 4], [7, 1]]))
    with pytest.raises(AxisError, match=r"got -1 at \[0\]"):
        nn.Embedding(5, 3)(np.array([-1]))
    with pytest.raises(DtypeError, match="indices of an integer dtype, got float32"):
        nn.Embedding(5, 3)(np.ones(2, np.float32))


# ------------------------------------------------------------------------------ losses
IGNORED = np.full((3,), -100)
LOGITS = draw(3, 4)


@pytest.mark.parametrize("make", [nn.CrossEntropyLoss, nn.NLLLoss])
@pytest.mark.parametrize("attrs", [{}, {"weight": [1.0, 2.0, 3.0, 4.0]}])
def test_where_everything_is_ignored_there_is_an_answer_and_no_nan(make: Any, attrs: dict[str, Any]):
    with pytest.raises(ArgumentError, match=r"at least one loss to take the mean of, got none. Hint: reduction='sum'"):
        make(**attrs)(LOGITS, IGNORED)
    x = kn.Tensor(LOGITS, requires_grad=True)
    total = make(**attrs, reduction="sum")(x, IGNORED)
    total.backward()
    assert total.item() == 0 and not x.grad.data.any()
    assert make(**attrs, reduction="none")(LOGITS, IGNORED).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("loss", "target"),
    [(nn.BCEWithLogits(), np.array([0.0, 1.0, 1.0, 0.0])), (nn.FocalLoss(), np.array([0, 1, 1, 0])),
     (nn.CrossEntropyLoss(), np.array(1)), (nn.HuberLoss(), np.zeros(4)), (nn.HingeLoss(), np.array([-1, -1, 1, -1]))],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_far_values_cost_much_but_stay_finite(loss: nn.Module, target: Any):
    x = kn.Tensor(np.array([1e4, -1e4, 3e4, -3e4]), requires_grad=True)
    y = loss(x, target)
    y.backward()
    assert 0 < y.item() < 1e9 and np.isfinite(x.grad.data).all()


def test_probabilities_of_0_and_1():
    x = kn.Tensor(np.array([0.0, 1.0, 0.0, 1.0]), requires_grad=True)
    y = nn.BCELoss(reduction="none")(x, np.array([0.0, 1.0, 1.0, 0.0]))
    y.sum().backward()
    assert y.tolist() == [0, 0, 100, 100] and np.isfinite(x.grad.data).all()
    nothing = np.array([[-np.inf, 0.0]])
    assert nn.NLLLoss()(nothing, np.array([0])) == np.inf and nn.NLLLoss()(nothing, np.array([1])) == 0
    assert nn.KLDivLoss("sum")(np.log([[0.5, 0.5]]), np.array([[0.0, 1.0]])) == pytest.approx(np.log(2))
    short = np.log(np.full((1, 1, 2), 0.5)), np.array([[1, 1]]), np.array([1]), np.array([2])
    assert nn.CTCLoss()(*short) == np.inf and nn.CTCLoss(zero_infinity=True)(*short) == 0


def test_weights_are_state_and_follow_the_dtype():
    loss = nn.CrossEntropyLoss(weight=np.array([0.1, 0.2, 0.3, 0.4], np.float32), ignore_index=2)
    assert list(loss.state_dict()) == ["weight"] and not list(loss.parameters())
    twin = reloaded(loss)
    np.testing.assert_array_equal(twin.weight.data, loss.weight.data)
    assert twin.ignore_index == 2 and twin.weight.dtype == np.float32
    for dtype in (np.float32, np.float64):
        assert loss(LOGITS.astype(dtype), np.array([0, 1, 3])).dtype == dtype
    other = nn.CrossEntropyLoss(weight=kn.Tensor(np.ones(4, np.float64)))
    assert other(LOGITS, np.array([0, 1, 3])).dtype == np.float32
    assert list(nn.MSELoss().state_dict()) == []


@pytest.mark.parametrize("name", [n for n in nn.MODULES if n.endswith(("Loss", "Logits")) and n != "SSELoss"])
def test_reductions_are_told_apart_in_the_constructor(name: str):
    with pytest.raises(ArgumentError, match=rf"\[{name}\] expected reduction 'mean', .*'sum' or 'none', got 'avg'"):
        nn.MODULES[name](reduction="avg")
    assert nn.MODULES[name](reduction="sum").get_config()["reduction"] == "sum"


def test_names_that_others_use():
    assert nn.MAELoss is nn.L1Loss and nn.BCEWithLogitsLoss is nn.BCEWithLogits and nn.Swish is nn.SiLU


# ------------------------------------------------------------------------------ constructors
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: nn.Linear(-1, 2), "in_features"),
    (lambda: nn.Conv2d(0, 4, 3), r"\[Conv2d\] expected in_channels to be an integer of at least 1, got in_channels=0"),
    (lambda: nn.Conv2d(3, 4, 0), "kernel_size to be an integer of at least 1, or 2 of them, got kernel_size=0"),
    (lambda: nn.Conv2d(3, 4, (3, 3, 3)), r"or 2 of them, got kernel_size=\(3, 3, 3\)"),
    (lambda: nn.Conv2d(3, 4, 3, stride=0), "stride"),
    (lambda: nn.Conv2d(3, 4, 3, padding=-1), "padding to be an integer of at least 0"),
    (lambda: nn.Conv2d(3, 4, 3, padding="full"), 'padding to be numbers, "same" or "valid"'),
    (lambda: nn.Conv2d(3, 4, 3, 2, "same"), 'stride=1 with padding="same"'),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels that groups=2 divides, got in_channels=3"),
    (lambda: nn.Conv2d(4, 3, 3, groups=2), "out_channels that groups=2 divides, got out_channels=3"),
    (lambda: nn.Conv2d(4, 4, 3, padding_mode="mirror"), "zeros, reflect, replicate, circular, got 'mirror'"),
    (lambda: nn.Conv2d(4, 4, True), r"kernel_size to be int | Sequence\[int\], got kernel_size=True"),
    (lambda: nn.Conv2d(4, 4, 3, bias="no"), "bias to be bool, got bias='no'"),
    (lambda: nn.LeakyReLU("steep"), "negative_slope to be float, got negative_slope='steep'"),
    (lambda: nn.Dropout(True), "p to be float, got p=True"),
    (lambda: nn.Softmax(1.0), "dim to be int, got dim=1.0"),
    (lambda: nn.BatchNorm2d(4, None), "eps to be float, got eps=None"),
    (lambda: nn.MSELoss(None), "reduction to be str, got reduction=None"),
    (lambda: nn.Linear(3)(1.0), r"x of shape \(…, in_features\), got shape \(\)"),
    (lambda: nn.ConvTranspose2d(4, 4, 3, output_padding=1), r"output_padding below the stride \(1, 1\)"),
    (lambda: nn.ConvTranspose2d(4, 4, 3, padding_mode="reflect"), "padding_mode zeros"),
    (lambda: nn.BatchNorm2d(3, eps=0.0), "eps > 0"),
    (lambda: nn.BatchNorm2d(3, momentum=2.0), "0 ≤ momentum ≤ 1, or None"),
    (lambda: nn.GroupNorm(3, 4), "num_channels that num_groups=3 divides, got 4"),
    (lambda: nn.LayerNorm(()), "at least one axis"),
    (lambda: nn.Dropout(1.5), "0 ≤ p ≤ 1, got p=1.5"),
    (lambda: nn.AlphaDropout(1.0), "0 ≤ p < 1"),
    (lambda: nn.StochasticDepth(0.5, "column"), "mode 'row' or 'batch'"),
    (lambda: nn.Embedding(4, 3, padding_idx=4), "padding_idx from -4 to 3, got padding_idx=4"),
    (lambda: nn.MaxPool2d((2, 2, 2)), "kernel_size"),
    (lambda: nn.AvgPool2d(2, divisor_override=0), "divisor_override to be an integer of at least 1"),
    (lambda: nn.Linear(3, 4, bias=None), "bias to be bool, got bias=None"),
    (lambda: nn.Linear(3.0, 4), "in_features to be int | None, got in_features=3.0"),
    (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), "output_size"),
    (lambda: nn.AdaptiveAvgPool2d(0), "output_size"),
    (lambda: nn.GELU("sigmoid"), "approximate 'none' or 'tanh'"),
    (lambda: nn.Hardtanh(1.0, 0.0), "min_val < max_val"),
    (lambda: nn.Softplus(0.0), "beta > 0"),
    (nn.Upsample, "either size or scale_factor, got neither"),
    (lambda: nn.Upsample(2, mode="cubic"), "mode to be one of nearest"),
    (lambda: nn.PixelShuffle(0), "upscale_factor"),
    (lambda: nn.ZeroPad2d((1, 2, 3)), r"one width, or \(left, right, top, bottom\)"),
    (lambda: nn.ZeroPad2d(-1), "padding"),
    (lambda: nn.ReflectionPad1d(3)(draw(1, 2, 3)), "padding of at most the length less 1"),
    (lambda: nn.CircularPad1d(4)(draw(1, 2, 3)), "padding of at most the length of each axis"),
    (lambda: nn.Unflatten(1, (-1, -1)), "at most one −1"),
    (lambda: nn.HuberLoss(delta=0.0), "delta > 0"),
    (lambda: nn.CrossEntropyLoss(label_smoothing=1.5), "0 ≤ label_smoothing ≤ 1"),
    (lambda: nn.CrossEntropyLoss(weight=[1.0, -1.0]), "numbers ≥ 0 as weight"),
    (lambda: nn.ConvTranspose2d(1, 1, 3, 2)(draw(1, 1, 2, 2), (9, 9)), r"output_size from \(5, 5\) to \(6, 6\)"),
    (lambda: nn.CTCLoss()(np.zeros((2, 2, 3)), [1, 2, 1], [2, 2], [1, 1]), "3 targets as target_lengths say"),
]


@pytest.mark.parametrize(("call", "match"), REFUSED, ids=[f"{i}-{match[:24]}" for i, (_, match) in enumerate(REFUSED)])
def test_bad_arguments_are_refused(call: Callable[[], Any], match: str):
    with pytest.raises(KinoneError, match=match):
        call()


def test_numbers_may_be_numpys_and_a_wrong_call_is_pythons_to_explain():
    assert nn.Dropout(np.float32(0.25)).p == 0.25 and nn.Conv2d(np.int64(3), 4, np.int32(3)).kernel_size == (3, 3)
    assert nn.Linear(np.int64(3), np.int32(2)).weight.shape == (2, 3)
    json.dumps(nn.described(nn.Conv2d(np.int64(3), 4, 3)))
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'kernel_size'"):
        nn.Conv2d(3, 4)
    with pytest.raises(TypeError, match="unexpected keyword argument 'inplace'"):
        nn.Dropout(inplace=True)


def test_layers_are_copied_and_pickled():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Lambda(kn.relu), nn.Residual(nn.Tanh()))
    x = draw(2, 3, 5, 5)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(twin.eval()(x).data, net.eval()(x).data)
        assert nn.described(twin) == nn.described(net) and repr(twin) == repr(net)
        nn.initialize.zeros_(twin[0].weight)
        assert net[0].weight.data.all()


class Wide(nn.Conv2d):
    """A layer of somebody else, whose annotations are his own."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        super().__init__(sizes[0], sizes[1], sizes[2])


def test_a_class_may_be_derived_from_a_layer():
    wide = Wide([3, 8, 3])
    assert wide.get_config() == {"sizes": [3, 8, 3]} and repr(wide) == "Wide(sizes=[3, 8, 3])"
    assert reloaded(wide, Wide=Wide)(draw(1, 3, 4, 4)).shape == (1, 8, 2, 2)


def test_a_recording_sees_indices_go_into_a_table():
    r = kn.record(nn.Embedding(5, 3), kn.Tensor(np.array([1, 2])))
    assert [type(node).__name__ for node in r.nodes()] and r.value.shape == (2, 3)


def test_sizes_may_be_lists_and_come_back_as_tuples():
    layer = nn.Conv2d(3, 4, [3, 1], stride=[1, 2], padding=[1, 0])
    assert layer.get_config()["kernel_size"] == (3, 1) and layer.padding == (1, 0)
    assert reloaded(layer).stride == (1, 2)
    uneven = nn.Conv2d(3, 4, 2, padding=((0, 1), (1, 0)))
    assert reloaded(uneven)(draw(1, 3, 4, 4)).shape == (1, 4, 4, 4)


def test_a_layer_that_waits_says_so_and_takes_a_state_of_its_own_shape():
    net = nn.Sequential(nn.Conv2d(None, 4, 3, groups=2), nn.BatchNorm2d())
    with pytest.raises(StateError, match="the parameters of 0, got a layer that waits for its first input"):
        list(net.parameters())
    with pytest.raises(ArgumentError, match="in_channels that groups=2 divides, got in_channels=3") as caught:
        net(draw(1, 3, 5, 5))
    assert caught.value.__notes__ == ["in Sequential.0 (Conv2d)"]
    assert nn.ConvTranspose2d(None, 2, 3, 2)(draw(1, 3, 4, 4), output_size=10).shape == (1, 2, 10, 10)
    assert nn.Linear(2)([[1.0, 2.0, 3.0]]).shape == (1, 2)
    assert nn.BatchNorm1d()(draw(4, 3), activation="relu").shape == (4, 3)
    whole = nn.Sequential(nn.Conv2d(6, 4, 3, groups=2), nn.BatchNorm2d(4))
    net.load_state_dict(whole.state_dict())
    np.testing.assert_array_equal(net(draw(2, 6, 5, 5)).data, whole(draw(2, 6, 5, 5)).data)


def test_layers_print_as_the_call_that_makes_them():
    assert repr(nn.Conv2d(3, 8, (3, 1), padding="same", bias=False)) == (
        "Conv2d(in_channels=3, out_channels=8, kernel_size=(3, 1), padding='same', bias=False)"
    )
    assert repr(nn.BatchNorm2d(4, momentum=None)) == "BatchNorm2d(num_features=4, momentum=None)"
    assert repr(nn.GELU("tanh")) == "GELU(approximate='tanh')" and repr(nn.MaxPool2d(3, 2)) == (
        "MaxPool2d(kernel_size=3, stride=2)"
    )
