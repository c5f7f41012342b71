"""Networks beside the same networks in PyTorch, with the same weights: outputs, gradients, running statistics."""

from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import models, nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")

from peers.compare import near  # noqa: E402

T: Any = torch.nn
F: Any = torch.nn.functional


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """PyTorch's threads wait for one another by spinning, which on a busy machine takes a hundred times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TorchBlock(T.Module):
    def __init__(self, before: int, planes: int, stride: int, is_deep: bool, dilation: int = 1) -> None:
        super().__init__()
        plan = [(1, 1, 1), (3, stride, dilation), (1, 1, 1)] if is_deep else [(3, stride, 1), (3, 1, 1)]
        widths = [before, planes, planes, 4 * planes] if is_deep else [before, planes, planes]
        self.count = len(plan)
        for i, (k, s, d) in enumerate(plan):
            conv = T.Conv2d(widths[i], widths[i + 1], k, s, k // 2 * d, d, bias=False)
            setattr(self, f"conv{i + 1}", conv)
            setattr(self, f"bn{i + 1}", T.BatchNorm2d(widths[i + 1]))
        self.downsample = None
        if stride > 1 or before != widths[-1]:
            self.downsample = T.Sequential(
                T.Conv2d(before, widths[-1], 1, stride, bias=False), T.BatchNorm2d(widths[-1])
            )

    def forward(self, x: Any) -> Any:
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.count:
                y = F.relu(y)
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class TorchResNet(T.Module):
    def __init__(self, counts: Any, is_deep: bool, classes: int, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = T.Conv2d(channels, 64, 7, 2, 3, bias=False), T.BatchNorm2d(64)
        before = 64
        for i, count in enumerate(counts):
            blocks = []
            for j in range(count):
                blocks.append(TorchBlock(before, 64 << i, 2 if i and not j else 1, is_deep))
                before = (64 << i) * (4 if is_deep else 1)
            setattr(self, f"layer{i + 1}", T.Sequential(*blocks))
        self.fc = T.Linear(before, classes)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(x.mean((2, 3)))


class TorchGate(T.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = T.Conv2d(channels, squeezed, 1), T.Conv2d(squeezed, channels, 1)

    def forward(self, x: Any) -> Any:
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(x.mean((2, 3), keepdim=True)))))


def torch_unit(before: int, after: int, k: int, stride: int, groups: int, is_active: bool, eps: float) -> Any:
    conv = T.Conv2d(before, after, k, stride, k // 2, groups=groups, bias=False)
    return T.Sequential(conv, T.BatchNorm2d(after, eps=eps), *([T.SiLU()] if is_active else []))


class TorchMBConv(T.Module):
    def __init__(self, ratio: int, k: int, stride: int, before: int, after: int, eps: float) -> None:
        super().__init__()
        middle = before * ratio
        self.block = T.Sequential(
            *([torch_unit(before, middle, 1, 1, 1, True, eps)] if ratio > 1 else []),
            torch_unit(middle, middle, k, stride, middle, True, eps),
            TorchGate(middle, before // 4),
            torch_unit(middle, after, 1, 1, 1, False, eps),
        )
        self.is_residual = stride == 1 and before == after

    def forward(self, x: Any) -> Any:
        return self.block(x) + x if self.is_residual else self.block(x)


class TorchEfficientNetB0(T.Module):
    def __init__(self, classes: int, channels: int, eps: float) -> None:
        super().__init__()
        parts = [torch_unit(channels, 32, 3, 2, 1, True, eps)]
        for ratio, k, stride, before, after, count in (
            (1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3),
            (6, 5, 1, 80, 112, 3), (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1),
        ):  # fmt: skip
            rest = [TorchMBConv(ratio, k, 1, after, after, eps) for _ in range(count - 1)]
            parts.append(T.Sequential(TorchMBConv(ratio, k, stride, before, after, eps), *rest))
        self.features = T.Sequential(*parts, torch_unit(320, 1280, 1, 1, 1, True, eps))
        self.classifier = T.Sequential(T.Identity(), T.Linear(1280, classes))

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).mean((2, 3)))


class TorchLeNet(T.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = T.Sequential(T.Conv2d(1, 6, 5, padding=2), T.Tanh(), T.AvgPool2d(2),
                                     T.Conv2d(6, 16, 5), T.Tanh(), T.AvgPool2d(2))  # fmt: skip
        self.fc1, self.fc2, self.fc3 = T.Linear(400, 120), T.Linear(120, 84), T.Linear(84, 10)

    def forward(self, x: Any) -> Any:
        return self.fc3(torch.tanh(self.fc2(torch.tanh(self.fc1(self.features(x).flatten(1))))))


def torch_mlp() -> Any:
    return T.Sequential(T.Linear(12, 9), T.ReLU(), T.Linear(9, 7), T.ReLU(), T.Linear(7, 4))


TWINS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "resnet18": (lambda: models.resnet18(num_classes=5, in_channels=1),
                 lambda: TorchResNet((2, 2, 2, 2), False, 5, 1), (2, 1, 33, 36)),
    "bottlenecks": (lambda: models.ResNet(models.Bottleneck, (1, 2, 1, 1), num_classes=5),
                    lambda: TorchResNet((1, 2, 1, 1), True, 5, 3), (2, 3, 40, 40)),
    "efficientnet_b0": (lambda: models.efficientnet_b0(num_classes=5, stochastic_depth_prob=0.0, dropout=0.0, eps=1e-3),
                        lambda: TorchEfficientNetB0(5, 3, 1e-3), (2, 3, 45, 40)),
    "lenet": (models.LeNet, TorchLeNet, (4, 1, 28, 28)),
    "mlp": (lambda: models.MLP(12, (9, 7), 4), torch_mlp, (6, 12)),
}  # fmt: skip


def same(ours: nn.Module, theirs: Any, what: str) -> None:
    """Parameters' gradients and buffers agree."""
    gradients = {name: p.grad for name, p in ours.named_parameters()}
    for name, p in theirs.named_parameters():
        g = gradients.pop(name)
        assert g is not None
        near(g.numpy(), p.grad.numpy(), 1e-8, f"{what}: gradient of {name}")
    assert not gradients
    theirs = dict(theirs.named_buffers())
    for name, b in ours.named_buffers():
        near(b.numpy(), theirs[name].numpy(), 1e-10, f"{what}: {name}")


@pytest.mark.parametrize("name", TWINS)
def test_the_same_weights_give_the_same(name: str):
    make, make_twin, shape = TWINS[name]
    model, twin = make().double(), make_twin().double()
    rng = np.random.default_rng(3)
    for p in twin.parameters():  # norms' weights are not 1, biases not 0
        if p.ndim == 1:
            p.data += torch.tensor(0.3 * rng.standard_normal(p.shape))
    model.load_state_dict({key: value.numpy() for key, value in twin.state_dict().items()})
    for step, mode in enumerate(("train", "eval")):
        for one in (model, twin):
            one.train(mode == "train")
            one.zero_grad()
        x = rng.standard_normal(shape)
        y, t = model(kn.Tensor(x)), twin(torch.tensor(x))
        near(y.numpy(), t.detach().numpy(), 1e-10, f"{name}, {mode}")
        g = rng.standard_normal(y.shape)
        y.backward(g)
        t.backward(torch.tensor(g))
        same(model, twin, f"{name}, step {step}, {mode}")
