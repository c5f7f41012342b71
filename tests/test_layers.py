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
from layer_reloading import draw, reloaded


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
