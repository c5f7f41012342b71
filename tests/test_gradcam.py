"""Grad-CAM: beside a computation by hand, over kinds of networks, and on films where it is known what is to be seen."""

from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import models, nn
from kinone.errors import ArgumentError, ShapeError
from kinone.training.gradcam import grad_cam, relative


def pictures(n=3, channels=1, size=16, seed=0) -> Any:
    return np.random.default_rng(seed).normal(size=(n, channels, size, size)).astype(np.float32)


def small() -> Any:
    kn.random.seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.Tanh(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip


def test_by_hand():
    """Behind the maps are a mean over places and a linear layer: ∂s/∂A is its weight over the number of places."""
    net, x = small(), pictures()
    maps = net[0:5](kn.Tensor(x)).data
    for target in range(3):
        weights = net[7].weight.data[target] / maps[0, 0].size
        heat = np.maximum(np.einsum("k,nkhw->nhw", weights, maps), 0)
        wanted = kn.interpolate(heat[:, None], size=(16, 16), mode="bilinear")[:, 0]
        np.testing.assert_allclose(grad_cam(net, x, target), wanted, rtol=1e-5, atol=1e-7)
    assert grad_cam(net, x, 0).dtype == np.float32


def test_by_differences():
    """α of a layer in the middle, from the scores of maps that are changed a little."""
    net, x = small().double(), pictures(n=1)
    front, back = net[0:2], net[2:]
    maps = front(kn.Tensor(x.astype(np.float64))).data

    def score(a):
        return float(back(kn.Tensor(a)).data[0, 1])

    slopes = [(score(maps + h) - score(maps - h)) / 2e-6
              for h in (np.eye(4)[k][None, :, None, None] * 1e-6 * np.ones_like(maps) for k in range(4))]  # fmt: skip
    heat = np.maximum(np.einsum("k,nkhw->nhw", np.array(slopes) / maps[0, 0].size, maps), 0)
    np.testing.assert_allclose(grad_cam(net.float(), x, 1, layer="1"), heat, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_the_last_maps_are_found(name):
    kn.random.seed(0)
    net = getattr(models, name)(num_classes=4, in_channels=1)
    net.train()
    x = pictures(n=2, size=64)
    layer = {"resnet18": "layer4", "efficientnet_b0": "features"}[name]
    heat = grad_cam(net, x, 2)
    assert heat.shape == (2, 64, 64) and np.array_equal(heat, grad_cam(net, x, 2, layer=layer))
    assert np.isfinite(heat).all() and (heat >= 0).all() and (heat > 0).any()
    assert net.training and all(p.grad is None for p in net.parameters())
    one = grad_cam(net, x[:1], 2)
    np.testing.assert_allclose(one, heat[:1], rtol=1e-4, atol=1e-6)


def test_maps_of_one_place_say_nothing_so_those_before_are_taken():
    kn.random.seed(0)
    net = models.resnet18(num_classes=2, in_channels=1)
    x = pictures(n=1, size=32)
    assert np.array_equal(grad_cam(net, x, 0), grad_cam(net, x, 0, layer="layer3"))


def test_frozen_weights_and_no_grad_do_not_matter():
    net, x = small(), pictures()
    wanted = grad_cam(net, x, 1)
    net.requires_grad_(False)
    with kn.no_grad():
        assert np.array_equal(grad_cam(net, x, 1), wanted)


def test_what_cannot_be_shown():
    dense = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    with pytest.raises(ArgumentError, match=r"feature maps .* Hint: Grad-CAM is for networks with Conv2d"):
        grad_cam(dense, pictures(), 0)
    with pytest.raises(ArgumentError, match="path of a module of Sequential, got 'layer9'"):
        grad_cam(small(), pictures(), 0, layer="layer9")
    with pytest.raises(ArgumentError, match="none in what 7 gives"):
        grad_cam(small(), pictures(), 0, layer="7")
    with pytest.raises(ArgumentError, match=r"output 3 of \(3, 3\)"):
        grad_cam(small(), pictures(), 3)
    with pytest.raises(ShapeError, match="pictures"):
        grad_cam(small(), pictures()[0], 0)


def test_relative():
    heat = np.stack([np.full((2, 2), 3.0), np.zeros((2, 2))]).astype(np.float32)
    assert relative(heat).tolist() == [[[1, 1], [1, 1]], [[0, 0], [0, 0]]]
