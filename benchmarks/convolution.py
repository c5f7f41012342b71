"""Convolutions: those of ResNet-18 and EfficientNet-B0, and small ones."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from harness import Call, Work


@dataclass(frozen=True)
class Layer:
    """A convolution of square images by a square kernel, padded by half of it."""

    batch: int
    channels: int
    size: int
    out_channels: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.batch, self.size, self.size, self.channels), np.float32)
        w = rng.standard_normal((self.out_channels, self.channels // self.groups, self.kernel, self.kernel), np.float32)
        return np.moveaxis(x, -1, 1), w * 0.1

    @property
    def attrs(self) -> dict[str, int]:
        return {"stride": self.stride, "padding": self.kernel // 2, "groups": self.groups}

    @property
    def operations(self) -> float:
        out = (self.size - 1) // self.stride + 1
        return 2.0 * self.batch * out**2 * self.out_channels * self.channels / self.groups * self.kernel**2

    @property
    def bytes(self) -> float:
        out = (self.size - 1) // self.stride + 1
        return 4.0 * self.batch * (self.channels * self.size**2 + self.out_channels * out**2)

    def __str__(self) -> str:
        kind = "depthwise " if self.groups > 1 else ""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return (f"{kind}conv {self.kernel}×{self.kernel}{stride} {self.batch}×{self.channels}×{self.size}²"
                f"→{self.out_channels}")  # fmt: skip


def _kinone(layer: Layer, is_trained: bool) -> Call:
    import kinone as kn

    x, w = (kn.Tensor(a, requires_grad=is_trained) for a in layer.arrays())
    return _step(lambda: kn.conv2d(x, w, **layer.attrs), (x, w), is_trained, lambda y: np.ones_like(y.data))


def _torch(layer: Layer, is_trained: bool, is_last: bool) -> Call:
    import torch

    a, b = layer.arrays()
    x = torch.from_numpy(a if is_last else np.ascontiguousarray(a)).requires_grad_(is_trained)
    w = torch.from_numpy(b)
    w = (w.to(memory_format=torch.channels_last) if is_last else w).requires_grad_(is_trained)
    f = partial(torch.nn.functional.conv2d, x, w, **layer.attrs)
    return _step(f, (x, w), is_trained, torch.ones_like)


def _step(f: Callable[[], Any], leaves: tuple[Any, ...], is_trained: bool, ones: Callable[[Any], Any]) -> Call:
    g = ones(f())

    def step() -> Any:
        y = f()
        if is_trained:
            y.backward(g)
            for leaf in leaves:
                leaf.grad = None
        return y

    return step


def work(layer: Layer, is_trained: bool, target: float, moonshot: float) -> Work:
    passes = 3 if is_trained else 1
    return Work(
        f"{layer}, forward{' + backward' * is_trained}",
        {"kinone": lambda: _kinone(layer, is_trained),
         "torch": lambda: _torch(layer, is_trained, False),
         "torch channels-last": lambda: _torch(layer, is_trained, True)},
        passes * layer.operations, passes * layer.bytes, target, moonshot,
    )  # fmt: skip


_SQUARE = [Layer(8, 64, 56, 64), Layer(8, 128, 28, 128), Layer(8, 256, 14, 256), Layer(8, 512, 7, 512)]
_OTHERS = [
    Layer(8, 3, 224, 64, 7, 2), Layer(8, 64, 56, 128, 3, 2), Layer(8, 128, 28, 256, 3, 2), Layer(8, 64, 56, 128, 1, 2),
    Layer(8, 64, 56, 256, 1), Layer(8, 32, 112, 32, 3, 1, 32), Layer(8, 144, 56, 144, 5, 2, 144),
    Layer(8, 480, 14, 480, 5, 1, 480), Layer(8, 480, 14, 112, 1),
]  # fmt: skip
_SMALL = [Layer(1, 8, 28, 8), Layer(1, 8, 16, 8), Layer(1, 16, 32, 16), Layer(1, 8, 28, 8, 3, 2)]

WORKS = [
    *(work(layer, False, 1.6, 2.3) for layer in _SQUARE),
    *(work(layer, True, 1.3, 2.0) for layer in _SQUARE),
    *(work(layer, True, 1.0, 1.5) for layer in _OTHERS),
    *(work(layer, False, 1.0, 2.0) for layer in _SMALL),
]
