"""Grad-CAM: beside a computation by hand, over kinds of networks, and on films where it is known what is to be seen."""

from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import models, nn, optim
from kinone.data import ChestFilms
from kinone.data.demo import DemoSpec, make_demo
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


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [("resnet18", 224, "layer4"), ("resnet18", 64, "layer2"), ("efficientnet_b0", 224, "features")],
)
def test_the_last_maps_of_49_places_are_found(name, size, layer):
    kn.random.seed(0)
    net = getattr(models, name)(num_classes=4, in_channels=1)
    net.train()
    x = pictures(n=2, size=size)
    heat = grad_cam(net, x, 2)
    assert heat.shape == (2, size, size) and np.array_equal(heat, grad_cam(net, x, 2, layer=layer))
    assert np.isfinite(heat).all() and (heat >= 0).all() and (heat > 0).any()
    assert net.training and all(p.grad is None for p in net.parameters())
    one = grad_cam(net, x[:1], 2)
    np.testing.assert_allclose(one, heat[:1], rtol=1e-4, atol=1e-6)


def test_without_as_many_places_the_last_of_the_largest_are_taken():
    net, x = small(), pictures(size=8)
    assert np.array_equal(
        grad_cam(net[1:], net[0](kn.Tensor(x)).data, 0), grad_cam(net[1:], net[0](x).data, 0, layer="3")
    )


def test_local_weights_by_hand():
    net, x = small(), pictures()
    maps = net[0:5](kn.Tensor(x)).data
    weights = np.maximum(net[7].weight.data[1] / maps[0, 0].size, 0)
    heat = np.maximum(np.einsum("k,nkhw->nhw", weights, maps), 0)
    wanted = kn.interpolate(heat[:, None], size=(16, 16), mode="bilinear")[:, 0]
    np.testing.assert_allclose(grad_cam(net, x, 1, is_local=True), wanted, rtol=1e-5, atol=1e-7)


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


def test_a_trained_network_looks_into_the_boxes(tmp_path):
    """Findings of the demo films, whose places a network has learned of labels alone."""
    pytest.importorskip("cv2", reason="needs kinone[data]")
    names = ("Cardiomegaly", "Effusion")
    films = ChestFilms(make_demo(tmp_path / "demo", DemoSpec(patients=200, size=32)), size=32)
    films.prepare()
    samples = [films[i] for i in range(len(films))]
    x = np.stack([image for image, _ in samples]) * 4 - 2
    y = np.stack([labels for _, labels in samples])[:, [films.classes.index(name) for name in names]]
    kn.random.seed(0)
    net: Any = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2),
    )  # fmt: skip
    net.fit((x, y), loss=nn.BCEWithLogits(), optimizer=optim.Adam(net, lr=5e-3), epochs=8, verbose=False)
    place = {film.name: i for i, film in enumerate(films.films)}
    for is_local in (False, True):
        found: dict[str, list[Any]] = {name: [] for name in names}
        for box in (box for boxes in films.boxes().values() for box in boxes if box.finding in names):
            mask = np.zeros((32, 32), bool)
            left, top, right, bottom = map(round, (box.x, box.y, box.x + box.width, box.y + box.height))
            mask[top : bottom + 1, left : right + 1] = True
            heat = grad_cam(net, x[place[box.name]][None], names.index(box.finding), is_local=is_local)[0]
            found[box.finding].append((heat[mask].mean(), heat[~mask].mean()))
        for name, pairs in found.items():
            inside, outside = np.array(pairs).T
            assert len(pairs) >= 3 and inside.mean() > 1.5 * outside.mean(), name
            assert (inside > outside).mean() >= 0.8, name
