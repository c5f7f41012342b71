"""Networks: sizes, keys, first values, errors, and starting from what was learned elsewhere."""

import json
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import models, nn
from kinone.errors import ArgumentError, ShapeError, StateError
from kinone.nn.transfer import load_pretrained
from kinone.random import Stream

DATA = Path(__file__).parent / "data"
# Published counts, with 1000 classes and with 14.
COUNTS = {
    "resnet18": (11_689_512, 11_183_694),
    "resnet34": (21_797_672, 21_291_854),
    "resnet50": (25_557_032, 23_536_718),
    "resnet101": (44_549_160, 42_528_846),
    "resnet152": (60_192_808, 58_172_494),
    "efficientnet_b0": (5_288_548, 4_025_482),
    "efficientnet_b1": (7_794_184, 6_531_118),
    "efficientnet_b2": (9_109_994, 7_720_720),
    "efficientnet_b3": (12_233_232, 10_717_750),
    "efficientnet_b4": (19_341_616, 17_573_718),
    "efficientnet_b5": (30_389_784, 28_369_470),
    "efficientnet_b6": (43_040_704, 40_767_974),
    "efficientnet_b7": (66_347_960, 63_822_814),
    "vit_b_16": (86_567_656, 85_809_422),
    "vit_b_32": (88_224_232, 87_465_998),
}


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters without values: what is counted need not be drawn."""
    monkeypatch.setattr(Stream, "_draw", lambda self, kernel, shape, step: np.zeros(shape, np.float32))


@pytest.fixture(scope="module")
def resnet18() -> models.ResNet:
    return models.resnet18(num_classes=10)


def small(**options: Any) -> models.ResNet:
    return models.ResNet(models.BasicBlock, (1, 1, 1, 1), **{"num_classes": 3, **options})


# ------------------------------------------------------------------------------ sizes and keys
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_as_many_as_published(name: str):
    model = models.MODELS[name]()
    assert count(model) == COUNTS[name][0] and model.title == name
    assert count(models.replace_head(model, 14)) == COUNTS[name][1]


@pytest.mark.usefixtures("undrawn")
def test_parameters_with_14_classes_from_the_start_and_one_channel():
    assert count(models.resnet18(num_classes=14)) == COUNTS["resnet18"][1]
    assert count(models.efficientnet_b0(num_classes=14)) == COUNTS["efficientnet_b0"][1]
    assert count(models.resnet50(in_channels=1)) == COUNTS["resnet50"][0] - 6272
    assert models.MODELS.keys() >= COUNTS.keys()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_keys_shapes_and_order_are_torchvisions(name: str):
    expected = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    found = {key: list(value.shape) for key, value in models.MODELS[name]().state_dict().items()}
    assert found == expected and list(found) == list(expected)


# ------------------------------------------------------------------------------ what they compute
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "efficientnet_b0"])
def test_logits_and_gradients_for_every_parameter(name: str):
    model = models.MODELS[name](num_classes=4, in_channels=1)
    y = model(np.ones((2, 1, 40, 33), np.float32) * np.array([[[[1.0]]], [[[-1.0]]]], np.float32))
    assert y.shape == (2, 4) and np.isfinite(y.data).all()
    kn.cross_entropy(y, np.array([0, 3])).backward()
    assert all(p.grad is not None and np.isfinite(p.grad.data).all() for p in model.parameters())


def test_first_values_of_resnet(resnet18: models.ResNet):
    for name, p in resnet18.named_parameters():
        if p.ndim == 4:
            assert p.data.std() == pytest.approx(sqrt(2 / (p.shape[0] * p.shape[2] * p.shape[3])), rel=0.05), name
        elif name.startswith("fc"):
            assert abs(p.data).max() <= 1 / sqrt(512)
        else:
            assert set(p.data.tolist()) == {float(name.endswith("weight"))}, name


def test_first_values_of_efficientnet():
    model = models.efficientnet_b0(num_classes=100)
    for name, p in model.named_parameters():
        if p.ndim == 4:
            fan_out = p.shape[0] * p.shape[2] * p.shape[3]
            assert p.data.std() == pytest.approx(sqrt(2 / fan_out), rel=0.35 if p.size < 500 else 0.1), name
        elif p.ndim == 2:
            assert 0.098 < abs(p.data).max() <= 0.1
        elif "bn" not in name and name.endswith("bias"):
            assert not p.data.any(), name


@pytest.mark.usefixtures("undrawn")
def test_what_the_larger_efficientnets_change():
    def settings(model: Any) -> tuple[float, float, float]:
        norm = model.features[0][1]
        return norm.eps, norm.momentum, model.classifier[0].p

    assert settings(models.efficientnet_b4()) == (1e-5, 0.1, 0.4)
    assert settings(models.efficientnet_b5()) == (1e-3, 0.01, 0.4)
    assert settings(models.efficientnet_b7(dropout=0.1, eps=1e-5)) == (1e-5, 0.01, 0.1)
    b0: Any = models.efficientnet_b0()
    depths = [block.stochastic_depth.p for stage in b0.features[1:-1] for block in stage]
    assert depths == pytest.approx([0.2 * i / 16 for i in range(16)])


def test_stochastic_depth_is_for_training_alone():
    model = models.MBConv(8, 8, 3, stochastic_depth_prob=1.0)
    x = np.linspace(-1, 1, 2 * 8 * 16, dtype=np.float32).reshape(2, 8, 4, 4)
    assert np.array_equal(model(x).data, x)
    assert not np.array_equal(model.eval()(x).data, x)


def test_a_block_begins_as_the_identity_on_request():
    for kind, norm in ((models.BasicBlock, "bn2"), (models.Bottleneck, "bn3")):
        net = models.ResNet(kind, (1, 1, 1, 1), num_classes=2, zero_init_residual=True)
        weights = [net.param(f"layer{i}.0.{norm}.weight").data for i in (1, 2, 3, 4)]
        assert not any(w.any() for w in weights)
    last = small(zero_init_residual=True).layer1[0]
    x = np.linspace(-1, 1, 64 * 16, dtype=np.float32).reshape(1, 64, 4, 4)
    assert np.array_equal(last(x).data, np.maximum(x, 0))


def test_dilation_in_the_place_of_strides():
    x = np.ones((1, 3, 64, 64), np.float32)
    plain = models.ResNet(models.Bottleneck, (1, 1, 2, 1), num_classes=2)
    wide = models.ResNet(
        models.Bottleneck, (1, 1, 2, 1), num_classes=2, replace_stride_with_dilation=(False, True, True)
    )
    assert count(plain) == count(wide)
    s = wide.summary(x)
    assert s["layer2"].output_shapes == ((1, 512, 8, 8),) and s["layer4"].output_shapes == ((1, 2048, 8, 8),)
    assert plain.summary(x)["layer4"].output_shapes == ((1, 2048, 2, 2),)
    dilations = [wide.layer3[0].conv2.dilation, wide.layer3[1].conv2.dilation, wide.layer4[0].conv2.dilation]
    assert dilations == [(1, 1), (2, 2), (2, 2)]


@pytest.mark.usefixtures("undrawn")
def test_groups_and_width_make_the_relatives():
    """ResNeXt-50 32×4d and Wide ResNet-50-2, by their published counts."""
    assert count(models.resnet50(groups=32, width_per_group=4)) == 25_028_904
    assert count(models.resnet50(width_per_group=128)) == 68_883_240


def test_any_norm_can_stand_where_batch_norm_does():
    class Groups(nn.GroupNorm):
        def __init__(self, channels: int) -> None:
            super().__init__(8, channels)

    net = small(norm_layer=Groups)
    x = np.linspace(-1, 1, 3 * 32 * 32, dtype=np.float32).reshape(1, 3, 32, 32)
    block, y = net.layer1[0], np.abs(np.linspace(-1, 1, 64 * 4, dtype=np.float32)).reshape(1, 64, 2, 2)
    by_hand = kn.relu(block.bn2(block.conv2(kn.relu(block.bn1(block.conv1(y))))) + y)
    assert np.array_equal(block(y).data, by_hand.data)
    assert net(x).shape == (1, 3)


# ------------------------------------------------------------------------------ summary
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("name", "expected"), [("resnet18", 1_814_073_344), ("resnet50", 4_089_184_256),
                                                ("efficientnet_b0", 385_814_752)])  # fmt: skip
def test_multiply_adds_are_those_that_are_published(name: str, expected: int):
    s = models.MODELS[name]().eval().summary((1, 3, 224, 224))
    assert s.multiply_adds == expected and s.parameters == COUNTS[name][0]


def test_the_summary_of_a_network(resnet18: models.ResNet):
    before = {name: value.data.copy() for name, value in resnet18.state_dict().items()}
    s = resnet18.summary((4, 3, 64, 64), depth=1)
    assert [row.path for row in s.rows] == ["", "conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4",
                                            "avgpool", "fc"]  # fmt: skip
    assert s["layer4"].parameters == 8_393_728 and s["layer4"].output_shapes == ((4, 512, 2, 2),)
    assert s["conv1"].multiply_adds == 4 * 64 * 32 * 32 * 147
    assert str(s).startswith("resnet18\n") and "layer1.0" not in str(s)
    assert all(np.array_equal(value.data, before[name]) for name, value in resnet18.state_dict().items())


def test_its_memory_forecast_holds(resnet18: models.ResNet):
    from test_summary import measured_peak

    x = np.ones((4, 3, 64, 64), np.float32)
    foretold = resnet18.summary(x).forecast.peak_bytes
    assert measured_peak(resnet18, x) == pytest.approx(foretold, rel=0.3)
    resnet18.zero_grad()


# ------------------------------------------------------------------------------ small networks
def test_mlp():
    net = models.MLP(64, [32, 16], 10, activation=nn.Tanh, dropout=0.1)
    assert [type(part).__name__ for part in net] == ["Linear", "Tanh", "Dropout"] * 2 + ["Linear"]
    assert count(net) == 64 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10
    assert models.MLP(None, (), 3)(np.ones((2, 5), np.float32)).shape == (2, 3)
    with pytest.raises(ArgumentError, match=r"a sequence of widths, got 32"):
        models.MLP(64, 32, 10)  # type: ignore[arg-type]


def test_lenet():
    assert count(models.LeNet()) == count(models.LeNet(image_size=32, padding=0)) == 61_706
    today = models.LeNet(in_channels=3, image_size=48, activation=nn.ReLU, pool=nn.MaxPool2d)
    assert today(np.ones((2, 3, 48, 48), np.float32)).shape == (2, 10)
    with pytest.raises(ArgumentError, match="16 × 16 or more"):
        models.LeNet(image_size=8)


def test_autoencoders_give_back_what_they_took():
    dense = models.Autoencoder(12, 3, hidden=(8, 6))
    assert [p.shape for p in dense.parameters() if p.ndim == 2] == [(8, 12), (6, 8), (3, 6), (6, 3), (8, 6), (12, 8)]
    for size in (8, 9, 11, 28):
        net = models.ConvAutoencoder(2, size, 5, channels=(3, 4, 5))
        x = np.ones((2, 2, size, size), np.float32)
        assert net.encode(x).shape == (2, 5) and net(x).shape == x.shape
    with pytest.raises(ArgumentError, match="widths from 1 on"):
        models.Autoencoder(12, 0)


def test_the_variational_one_draws_in_training_alone():
    net, x = models.VariationalAutoencoder(6, 2, noise="vae"), np.ones((3, 6), np.float32)
    kn.random.seed(3)
    (first, mean, log_var), (second, *_) = net(x), net(x)
    assert not np.array_equal(first.data, second.data)
    by_hand = mean.data + np.exp(0.5 * log_var.data) * Stream("vae", seed=3).normal((3, 2))
    np.testing.assert_allclose(first.data, net.decode(by_hand).data, rtol=1e-4, atol=1e-6)
    net.eval()
    assert np.array_equal(net(x)[0].data, net.decode(mean).data)
    kn.random.seed(3)
    drawn = net.sample(4)
    assert np.array_equal(drawn.data, net.decode(Stream("vae", seed=3).normal((4, 2))).data)


def test_the_evidence_lower_bound_by_hand():
    y, x = np.array([[0.5, -1.0], [2.0, 0.0]]), np.array([[1.0, 0.0], [0.25, 0.5]])
    mean, log_var = np.array([[1.0], [-2.0]]), np.array([[0.0], [1.0]])
    divergence = 0.5 * np.sum(mean**2 + np.exp(log_var) - 1 - log_var)
    bernoulli = np.sum(np.log1p(np.exp(y)) - x * y)
    assert models.ELBO()((y, mean, log_var), x).item() == pytest.approx((bernoulli + divergence) / 2)
    gaussian = models.ELBO(3.0, "gaussian")((y, mean, log_var), x).item()
    assert gaussian == pytest.approx((0.5 * np.sum((x - y) ** 2) + 3 * divergence) / 2)
    with pytest.raises(ArgumentError, match="likelihood='laplace'"):
        models.ELBO(likelihood="laplace")


# ------------------------------------------------------------------------------ bad input
def test_bad_arguments_are_refused_by_the_constructor():
    with pytest.raises(ArgumentError, match="four numbers of blocks"):
        models.ResNet(models.BasicBlock, (2, 2, 2))
    with pytest.raises(ArgumentError, match="Bottleneck takes more"):
        small(groups=2)
    with pytest.raises(ArgumentError, match="width_mult and depth_mult above 0"):
        models.EfficientNet(0.0)
    with pytest.raises(ArgumentError, match="stride 1 or 2"):
        models.MBConv(8, 8, 3, stride=3)
    with pytest.raises(ArgumentError, match=r"p=1\.2"):
        models.efficientnet_b0(dropout=1.2)


def test_an_error_names_the_place(resnet18: models.ResNet):
    with pytest.raises(ShapeError) as caught:
        resnet18(np.ones((1, 1, 64, 64), np.float32))
    assert caught.value.__notes__ == ["in resnet18.conv1 (Conv2d)"]
    resnet18.layer2[0].bn1.num_features = 7
    try:
        with pytest.raises(ShapeError) as caught:
            resnet18(np.ones((1, 3, 64, 64), np.float32))
        assert caught.value.__notes__ == ["in resnet18.layer2.0.bn1 (BatchNorm2d)"]
    finally:
        resnet18.layer2[0].bn1.num_features = 128


# ------------------------------------------------------------------------------ starting from elsewhere
def test_a_new_head_and_nothing_else():
    model = small().double().eval()
    before = {name: value.data for name, value in model.state_dict().items() if not name.startswith("fc.")}
    assert models.replace_head(model, 7) is model
    assert model(np.ones((2, 3, 32, 32))).shape == (2, 7) and model.num_classes == 7 and not model.fc.training
    assert model.fc.weight is not None and model.fc.weight.dtype == np.float64
    assert all(model.state_dict()[name].data is value for name, value in before.items())
    kinds = {**nn.MODULES, **models.MODULES}
    copy: Any = nn.build(json.loads(json.dumps(nn.described(model))), kinds)
    assert copy.fc.out_features == 7
    assert models.replace_head(models.MLP(4, (3,), 2), 5)[-1].out_features == 5
    assert models.replace_head(models.EfficientNet(0.25, 0.3), 5).classifier[1].out_features == 5
    with pytest.raises(ArgumentError, match="a model with a Linear as its head"):
        models.replace_head(nn.ReLU(), 2)


def test_freezing():
    model = models.freeze(small(), until="layer3")
    frozen = {name.partition(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1", "layer2"}
    kn.sum(model(np.ones((2, 3, 32, 32), np.float32))).backward()
    assert {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None} == {
        "layer3", "layer4", "fc"
    }  # fmt: skip
    models.freeze(model)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    assert all(p.requires_grad for p in model.requires_grad_(True).parameters())
    with pytest.raises(ArgumentError, match=r"the path of a module of ResNet, got 'layer5'. Hint: such as conv1"):
        models.freeze(model, until="layer5")


def test_a_shared_layer_is_frozen_only_if_nothing_behind_the_stop_uses_it():
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.first, self.middle, self.last = nn.Linear(3, 3), nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3))
            self.last[0].weight = self.first.weight

    model = models.freeze(Tied(), until="last")
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["first.weight", "last.0.bias"]


# ------------------------------------------------------------------------------ weights from files
@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small network with three colours and four classes."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    small(num_classes=4).save(path)
    return path


def test_weights_of_the_same_network(file: Path):
    model = load_pretrained(small(num_classes=4), file, "conv1")
    again = small(num_classes=4)
    assert again.load(file).is_complete
    for name, value in again.state_dict().items():
        assert np.array_equal(value.data, model.state_dict()[name].data), name


def test_a_head_of_other_classes_stays_new_and_that_is_said(file: Path):
    with pytest.warns(UserWarning, match="ResNet: its head fc is new: the weights know 4 classes, the model 3"):
        model = load_pretrained(small(), file, "conv1")
    whole = small(num_classes=4)
    whole.load(file)
    assert np.array_equal(model.layer4[0].conv2.weight.data, whole.layer4[0].conv2.weight.data)
    assert abs(model.fc.param("weight").data).max() > 0 and model.fc.out_features == 3


def test_grey_pictures_give_what_they_give_in_colour(file: Path):
    with pytest.warns(UserWarning, match="conv1 sees one channel, and sums the weights of the three colours"):
        grey = load_pretrained(small(num_classes=4, in_channels=1), file, "conv1")
    coloured = load_pretrained(small(num_classes=4), file, "conv1")
    x = np.linspace(-1, 1, 40 * 40, dtype=np.float32).reshape(1, 1, 40, 40)
    y, wanted = grey.eval()(x), coloured.eval()(np.repeat(x, 3, axis=1))
    np.testing.assert_allclose(y.data, wanted.data, rtol=1e-4, atol=1e-5)


def test_anything_else_that_does_not_fit_is_an_error_that_lists_it(file: Path):
    with pytest.raises(StateError) as caught:
        load_pretrained(models.ResNet(models.BasicBlock, (1, 2, 1, 1), num_classes=4, in_channels=5), file, "conv1")
    text = str(caught.value)
    assert "missing: layer2.1.conv1.weight" in text
    assert "other shape: conv1.weight is (64, 3, 7, 7) in the state and (64, 5, 7, 7) in the module" in text


@pytest.mark.usefixtures("undrawn")
def test_functions_take_weights(tmp_path: Path):
    for name in ("resnet18", "efficientnet_b0"):
        model = models.MODELS[name](num_classes=2)
        stem = next(p for p in model.parameters())
        stem.data = stem.data + 1
        model.save(tmp_path / "weights.safetensors")
        again = models.MODELS[name](num_classes=2, weights=tmp_path / "weights.safetensors")
        assert next(p for p in again.parameters()).data.min() == 1
        with pytest.warns(
            UserWarning, match=f"{name}: its head .* is new: .* 2 classes, the model 3; .* one channel"
        ) as told:
            again = models.MODELS[name](num_classes=3, in_channels=1, weights=tmp_path / "weights.safetensors")
        assert next(p for p in again.parameters()).data.min() == 3
        assert told[0].filename == __file__, "the warning names the line that asked"
