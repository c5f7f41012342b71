"""Training steps and inference of ResNet-18 and EfficientNet-B0."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from backends import Backend, Kinone, Torch
from harness import Call, Work

Forward = Callable[[Any], Any]


class Weights:
    """Weights of a network, made in order, the same for every backend."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.rng = backend, np.random.default_rng(0)

    def __call__(self, *shape: int) -> Any:
        fan = np.prod(shape[1:]) if len(shape) > 1 else 1
        return self.backend.parameter(self.rng.standard_normal(shape) * np.sqrt(2 / fan))

    def norm(self, channels: int) -> tuple[Any, Any]:
        return self.backend.parameter(np.ones(channels)), self.backend.parameter(np.zeros(channels))


def resnet18(b: Any, channels: int, classes: int = 1000) -> Forward:
    """ResNet-18 in training mode."""
    w = Weights(b)
    stem = (w(64, channels, 7, 7), *w.norm(64))
    blocks = []
    for width, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        before = blocks[-1][1] if blocks else 64
        down = (w(width, before, 1, 1), *w.norm(width)) if stride > 1 else None
        convs = ((w(width, before, 3, 3), *w.norm(width)), (w(width, width, 3, 3), *w.norm(width)))
        blocks.append((stride, width, convs, down))
    head = w(classes, 512), b.parameter(np.zeros(classes))

    def forward(x: Any) -> Any:
        x = b.norm(b.conv(x, stem[0], stride=2, padding=3), *stem[1:], "relu")
        x = b.max_pool(x, 3, 2, 1)
        for stride, _, (first, second), down in blocks:
            y = b.norm(b.conv(x, first[0], stride=stride, padding=1), *first[1:], "relu")
            short = x if down is None else b.norm(b.conv(x, down[0], stride=stride), *down[1:])
            x = b.norm(b.conv(y, second[0], padding=1), *second[1:], "relu", short)
        return b.linear(b.mean_pool(x).reshape(len(x), -1), *head)

    return forward


_B0 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
       (6, 320, 1, 1, 3))  # fmt: skip


def efficientnet_b0(b: Any, channels: int, classes: int = 1000) -> Forward:
    """EfficientNet-B0 in training mode, without its dropout and stochastic depth."""
    w = Weights(b)
    stem, before, blocks = (w(32, channels, 3, 3), *w.norm(32)), 32, []
    for ratio, width, count, first, kernel in _B0:
        for i in range(count):
            middle, squeezed = before * ratio, max(1, before // 4)
            expand = (w(middle, before, 1, 1), *w.norm(middle)) if ratio > 1 else None
            depth = (w(middle, 1, kernel, kernel), *w.norm(middle))
            squeeze = (w(squeezed, middle, 1, 1), b.parameter(np.zeros(squeezed)), w(middle, squeezed, 1, 1),
                       b.parameter(np.zeros(middle)))  # fmt: skip
            project = (w(width, middle, 1, 1), *w.norm(width))
            blocks.append((expand, depth, squeeze, project, 1 if i else first, kernel, before == width and i > 0))
            before = width
    last, head = (w(1280, 320, 1, 1), *w.norm(1280)), (w(classes, 1280), b.parameter(np.zeros(classes)))

    def forward(x: Any) -> Any:
        x = b.norm(b.conv(x, stem[0], stride=2, padding=1), *stem[1:], "silu")
        for expand, depth, squeeze, project, stride, kernel, is_residual in blocks:
            y = x if expand is None else b.norm(b.conv(x, expand[0]), *expand[1:], "silu")
            y = b.conv(y, depth[0], stride=stride, padding=kernel // 2, groups=y.shape[1])
            y = b.norm(y, *depth[1:], "silu")
            x = b.norm(b.conv(b.excite(y, *squeeze), project[0]), *project[1:], "none", x if is_residual else None)
        x = b.norm(b.conv(x, last[0]), *last[1:], "silu")
        return b.linear(b.mean_pool(x).reshape(len(x), -1), *head)

    return forward


def _step(backend: Backend, network: Callable[..., Forward], shape: tuple[int, ...], compiled: bool = False) -> Call:
    rng = np.random.default_rng(1)
    forward = network(backend, shape[1])
    x, target = backend.constant(rng.standard_normal(shape)), rng.integers(0, 1000, shape[0])
    if compiled and isinstance(backend, Torch):
        forward = backend.torch.compile(forward)

    def step() -> Any:
        loss = backend.cross_entropy(forward(x), target)
        backend.backward(loss)
        backend.sgd(1e-4, 0.9)
        return loss

    return step


# ------------------------------------------------------------------------------ inference, batch norm folded
def _folded(shape: tuple[int, ...]) -> Callable[[Any, Any], Any]:
    """ResNet-18 for inference: its convolutions with biases, which batch norm became; on kernels or PyTorch."""

    def run(conv: Any, w: Callable[..., Any]) -> Any:
        bias = lambda n: np.full(n, 0.1, np.float32)  # noqa: E731
        stem = w(64, shape[1], 7, 7), bias(64)
        plan = []
        for width, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
            before = plan[-1][0] if plan else 64
            down = (w(width, before, 1, 1), bias(width)) if stride > 1 else None
            plan.append(
                (width, stride, (w(width, before, 3, 3), bias(width)), (w(width, width, 3, 3), bias(width)), down)
            )
        return conv(stem, plan, (w(1000, 512), bias(1000)))

    return run


def _weights() -> Callable[..., np.ndarray]:
    rng = np.random.default_rng(0)
    return lambda *shape: (rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))).astype(np.float32)


def _kinone_inference(shape: tuple[int, ...]) -> Call:
    import kinone

    kn: Any = kinone
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)

    def network(stem: Any, plan: Any, head: Any) -> Call:
        def forward() -> Any:
            y = kn.conv2d_activated(x, *stem, stride=2, padding=3)
            y = kn.max_pool2d(y, kernel_size=3, stride=2, padding=1)
            for _, stride, first, second, down in plan:
                z = kn.conv2d_activated(y, *first, stride=stride, padding=1)
                short = y if down is None else kn.conv2d(y, *down, stride=stride)
                y = kn.conv2d_activated(z, *second, short, padding=1)
            return kn.linear(kn.mean(y, axis=(2, 3)), *head)

        return forward

    return _folded(shape)(network, _weights())


def _torch_network(shape: tuple[int, ...], is_last: bool) -> tuple[Any, Any]:
    import torch

    F: Any = torch.nn.functional

    def as_torch(a: np.ndarray) -> Any:
        t = torch.from_numpy(a)
        return t.to(memory_format=torch.channels_last) if is_last and t.ndim == 4 else t

    class Network(torch.nn.Module):
        def __init__(self, stem: Any, plan: Any, head: Any) -> None:
            super().__init__()
            tensors = lambda pair: pair and tuple(map(as_torch, pair))  # noqa: E731
            self.stem, self.head = tensors(stem), tensors(head)
            self.plan = [(stride, tensors(a), tensors(b), tensors(down)) for _, stride, a, b, down in plan]

        def forward(self, x: Any) -> Any:
            y = F.max_pool2d(F.relu(F.conv2d(x, *self.stem, 2, 3)), 3, 2, 1)
            for stride, first, second, down in self.plan:
                z = F.relu(F.conv2d(y, *first, stride, 1))
                short = y if down is None else F.conv2d(y, *down, stride)
                y = F.relu(F.conv2d(z, *second, 1, 1) + short)
            return F.linear(y.mean((2, 3)), self.head[0], self.head[1])

    x = as_torch(np.random.default_rng(1).standard_normal(shape).astype(np.float32))
    return _folded(shape)(Network, _weights()).eval(), x


def _torch_inference(shape: tuple[int, ...], is_last: bool) -> Call:
    import torch

    network, x = _torch_network(shape, is_last)

    def call() -> Any:
        with torch.inference_mode():
            return network(x)

    return call


def _onnxruntime_inference(shape: tuple[int, ...]) -> Call:
    import onnxruntime
    import torch

    network, x = _torch_network(shape, False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet18.onnx"
        torch.onnx.export(network, (x,), path, dynamo=False, opset_version=17, input_names=["x"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x.numpy()})


def _training(network: Callable[..., Forward], shape: tuple[int, ...], is_compiled: bool = False) -> Any:
    peers = {
        "kinone": lambda: _step(Kinone(), network, shape),
        "torch": lambda: _step(Torch(), network, shape),
        "torch channels-last": lambda: _step(Torch(is_last=True), network, shape),
    }
    compiled = {"torch compiled": lambda: _step(Torch(is_last=True), network, shape, compiled=True)}
    return peers | (compiled if is_compiled else {})


def _inference(shape: tuple[int, ...]) -> Any:
    return {
        "kinone": lambda: _kinone_inference(shape),
        "onnxruntime": lambda: _onnxruntime_inference(shape),
        "torch": lambda: _torch_inference(shape, False),
        "torch channels-last": lambda: _torch_inference(shape, True),
    }


_RESNET, _B0_OPERATIONS = 3.6e9, 0.78e9  # of one image of 224², forward

WORKS = [
    Work("ResNet-18 8×1×224² training step", _training(resnet18, (8, 1, 224, 224), True), 24 * _RESNET, target=1.4,
         moonshot=2, has_memory=True),
    Work("ResNet-18 8×1×64² training step", _training(resnet18, (8, 1, 64, 64)), 24 * _RESNET * (64 / 224) ** 2,
         target=1.4, moonshot=2, has_memory=True),
    Work("EfficientNet-B0 8×3×224² training step", _training(efficientnet_b0, (8, 3, 224, 224)), 24 * _B0_OPERATIONS,
         target=1.2, moonshot=2, has_memory=True),
    Work("ResNet-18 8×3×224² inference, batch norm folded", _inference((8, 3, 224, 224)), 8 * _RESNET, target=1.3,
         moonshot=2),
    Work("ResNet-18 1×3×224² inference, batch norm folded", _inference((1, 3, 224, 224)), _RESNET, target=1.3,
         moonshot=2),
]  # fmt: skip
