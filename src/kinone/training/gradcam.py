"""Grad-CAM: which places of a picture a score rests on (Selvaraju and others, 2017).

A ← feature maps (K, h, w), s ← the score: αₖ is the mean over the places of ∂s/∂Aₖ, and heat = relu(Σₖ αₖ·Aₖ),
enlarged to the size of the picture. Of a small picture the last maps have few places, and those before are better
weighted place by place: heat = Σₖ relu(∂s/∂Aₖ)·Aₖ where that is positive (LayerCAM: Jiang and others, 2021). Either
shows where the network looked, not whether that was right.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.modes import enable_grad
from kinone.core.tensor import Tensor
from kinone.core.transforms import gradients
from kinone.errors import ArgumentError, ShapeError
from kinone.inspection.observer import Observer, observing
from kinone.nn import Conv2d
from kinone.nn.module import Module
from kinone.ops import interpolate
from kinone.training.step import modes_kept

Heat = NDArray[np.float32]
PLACES = 49  # 7×7, what ResNet and its like have at the end for pictures of 224 pixels


class _Maps(Observer):
    """Notes feature maps (N, K, h, w): those of one module, or the last of PLACES places after a 2-d convolution.

    If none has so many places, the last of those that have most.
    """

    def __init__(self, wanted: Module | None) -> None:
        self.wanted = wanted
        self.has_convolution = False
        self.found: Tensor | None = None
        self.places = 2

    def after_module(self, module: Any, args: Any, kwargs: Any, result: Any) -> None:
        self.has_convolution |= isinstance(module, Conv2d)
        if not isinstance(result, Tensor) or result.ndim != 4:
            return
        places = min(result.shape[2] * result.shape[3], PLACES)
        if module is self.wanted and places > 1:
            self.found = result
        if self.wanted is None and self.has_convolution and places >= self.places:
            self.found, self.places = result, places


def grad_cam(model: Module, x: Any, target: int, layer: str | None = None, *, is_local: bool = False) -> Heat:
    """Heat of each picture for output number `target`: x (N, C, H, W) → (N, H, W), 0 where nothing speaks for it.

    `layer` is the path of the module whose feature maps to take (`layer3.1`); by default the last ones of at least 7×7
    places after a convolution. With `is_local` each place has its own weights. `relative` brings heat to 0 … 1.

    >>> from kinone import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))
    >>> for p in net.parameters():
    ...     p.data = np.ones_like(p.data)
    >>> grad_cam(net, np.array([[[[0, 2], [4, 6]]]], np.float32), 0).tolist()
    [[[0.0, 0.5], [1.0, 1.5]]]
    """
    picture = np.asarray(x.data if isinstance(x, Tensor) else x, np.float32)
    if picture.ndim != 4:
        raise ShapeError("grad_cam", "pictures (N, C, H, W)", f"shape {picture.shape}")
    watcher = _Maps(None if layer is None else _module(model, layer))
    with modes_kept(model), enable_grad(), observing(watcher):
        model.train(False)
        y: Any = model(Tensor(picture, requires_grad=True))
    maps = watcher.found
    if maps is None:
        got = "none" if layer is None else f"none in what {layer} gives"
        hint = "Grad-CAM is for networks with Conv2d layers; larger pictures leave larger maps."
        raise ArgumentError("grad_cam", "feature maps (N, K, h, w) of more than one place", got, hint=hint)
    if not isinstance(y, Tensor) or y.ndim != 2 or not 0 <= target < y.shape[1]:
        got = f"output {target} of {getattr(y, 'shape', type(y).__name__)}"
        raise ArgumentError("grad_cam", "the number of an output of scores (N, outputs)", got)
    cotangent = np.zeros(y.shape, y.dtype)
    cotangent[:, target] = 1  # the pictures of a batch do not see one another in evaluation
    slopes = gradients(y, [maps], cotangent)[0].data
    weights = np.maximum(slopes, 0) if is_local else slopes.mean(axis=(2, 3), keepdims=True)
    heat = np.maximum((weights * maps.data).sum(1, keepdims=True), 0)
    size = (picture.shape[2], picture.shape[3])
    return np.ascontiguousarray(interpolate(heat, size=size, mode="bilinear")[:, 0])


def _module(model: Module, path: str) -> Module:
    found = dict(model.named_modules(remove_duplicate=False))
    if path not in found:
        known = ", ".join(name for name in found if name.count(".") == 0 and name)
        raise ArgumentError("grad_cam", f"the path of a module of {type(model).__name__}", repr(path),
                            hint=f"at the top there are {known}.")  # fmt: skip
    return found[path]


def relative(heat: Heat) -> Heat:
    """Each map in parts of its own highest value; what is 0 everywhere stays so.

    >>> relative(np.array([[[1.0, 4.0]], [[0.0, 0.0]]], np.float32)).tolist()
    [[[0.25, 1.0]], [[0.0, 0.0]]]
    """
    highest = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, np.where(highest > 0, highest, 1), dtype=np.float32)
