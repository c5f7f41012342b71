"""LeNet-5: two convolutions, two pools, three layers; the first network that read handwriting for a living."""

from typing import Any

from kinone.errors import ArgumentError
from kinone.nn import AvgPool2d, Conv2d, Linear, Module, Sequential, Tanh
from kinone.ops import flatten


class LeNet(Module):
    """LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998): x (N, in_channels, S, S) → y (N, num_classes): logits.

    S is `image_size`: 32 with padding=0 as in the paper, or 28 with padding=2, which sees the same. `activation` and
    `pool` are classes of modules: `nn.ReLU` and `nn.MaxPool2d` make it of today.

    >>> import kinone as kn
    >>> net = LeNet()
    >>> net(kn.zeros((1, 1, 28, 28))).shape, sum(p.size for p in net.parameters())
    ((1, 10), 61706)
    """

    head = "fc3"

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28, padding: int = 2,
        activation: type[Module] = Tanh, pool: type[Module] = AvgPool2d,
    ) -> None:  # fmt: skip
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2
        if side < 1:
            got = f"image_size={image_size}, padding={padding}"
            raise ArgumentError("LeNet", "pictures of 16 × 16 or more, padding included", got)
        self.num_classes = num_classes
        kind: Any = pool
        self.features = Sequential(
            Conv2d(in_channels, 6, 5, padding=padding), activation(), kind(2),
            Conv2d(6, 16, 5), activation(), kind(2),
        )  # fmt: skip
        self.fc1, self.fc2, self.fc3 = Linear(16 * side * side, 120), Linear(120, 84), Linear(84, num_classes)
        self.act = activation()

    def forward(self, x: Any) -> Any:
        x = flatten(self.features(x), start_axis=1)
        return self.fc3(self.act(self.fc2(self.act(self.fc1(x)))))
