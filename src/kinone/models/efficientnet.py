"""EfficientNet: thin inverted bottlenecks with a gate on the channels, scaled in width, depth and size together.

Tan, Le 2019. Keys, shapes and first values are torchvision's, so its weights load as they are.
"""

from math import ceil, prod, sqrt
from typing import Any

import numpy as np

from kinone.errors import ArgumentError
from kinone.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Linear,
    Module,
    Parameter,
    Sequential,
    SiLU,
    StochasticDepth,
)
from kinone.nn.transfer import load_pretrained
from kinone.ops import flatten, squeeze_excitation
from kinone.random import stream

# Of B0: expansion, kernel, stride, channels before and after, blocks.
_STAGES = ((1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3),
           (6, 5, 1, 80, 112, 3), (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1))  # fmt: skip


def divisible(channels: float, by: int = 8) -> int:
    """The multiple of 8 nearest to `channels`, unless that is less than nine tenths of it; then the next.

    >>> [divisible(n) for n in (32, 35.2, 26.4, 17, 3)]
    [32, 32, 24, 16, 8]
    """
    near = max(by, int(channels + by / 2) // by * by)
    return near + by if near < 0.9 * channels else near


def _conv(in_channels: int, out_channels: int, kernel_size: int, **options: Any) -> Conv2d:
    """A convolution with weights of variance 2/fan_out, and no bias to begin with."""
    conv = Conv2d(in_channels, out_channels, kernel_size, **options)
    shape = conv.weight.shape if conv.weight is not None else ()
    # Groups are counted as PyTorch does: as if each output reached every group's inputs.
    conv.weight = Parameter(stream("init").normal(shape, std=sqrt(2 / (out_channels * prod(shape[2:])))))
    if conv.bias is not None:
        conv.bias = Parameter(np.zeros(out_channels, np.float32))
    return conv


class ConvNormActivation(Sequential):
    """y = silu(bn(conv(x))), padded so that only the stride makes the picture smaller; y = bn(conv(x)) if so told."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, groups: int = 1,
        has_activation: bool = True, eps: float = 1e-5, momentum: float = 0.1,
    ) -> None:  # fmt: skip
        padding = (kernel_size - 1) // 2
        conv = _conv(in_channels, out_channels, kernel_size, stride=stride, padding=padding, groups=groups, bias=False)
        norm = BatchNorm2d(out_channels, eps=eps, momentum=momentum)
        super().__init__(conv, norm, *([SiLU()] if has_activation else []))

    def forward(self, x: Any, residual: Any = None) -> Any:
        """With a residual, if there is one, which is added to what the norm gives; in the norm's pass over memory."""
        conv, norm, *after = self
        if isinstance(norm, BatchNorm2d) and len(after) <= 1 and all(type(part) is SiLU for part in after):
            return norm(conv(x), residual, activation="silu" if after else "none")
        y = norm(conv(x)) if residual is None else norm(conv(x)) + residual
        for part in after:
            y = part(y)
        return y


class SqueezeExcitation(Module):
    """y = x · σ(fc₂(silu(fc₁(mean x)))): a gate for each channel, computed from the means of all.

    The two convolutions hold weights of 1×1; one operator does the work of all.
    """

    def __init__(self, input_channels: int, squeeze_channels: int) -> None:
        self.fc1 = _conv(input_channels, squeeze_channels, 1)
        self.fc2 = _conv(squeeze_channels, input_channels, 1)

    def forward(self, x: Any) -> Any:
        w1, w2 = (flatten(fc.weight, start_axis=1) for fc in (self.fc1, self.fc2))
        return squeeze_excitation(x, w1, w2, self.fc1.bias, self.fc2.bias)[0]


class MBConv(Module):
    """y = project(gate(depthwise(expand(x)))) + x, the sum where both have one shape.

    x (N, in_channels, H, W) → y (N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉). In training the whole branch is dropped
    with probability `stochastic_depth_prob`, sample by sample.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, expand_ratio: int = 6,
        stochastic_depth_prob: float = 0.0, eps: float = 1e-5, momentum: float = 0.1,
    ) -> None:  # fmt: skip
        if stride not in (1, 2):
            raise ArgumentError("MBConv", "stride 1 or 2", f"stride={stride}")
        norm: dict[str, Any] = {"eps": eps, "momentum": momentum}
        middle = divisible(in_channels * expand_ratio)
        self.is_residual = stride == 1 and in_channels == out_channels
        self.block = Sequential(
            *([ConvNormActivation(in_channels, middle, 1, **norm)] if middle != in_channels else []),
            ConvNormActivation(middle, middle, kernel_size, stride, groups=middle, **norm),
            SqueezeExcitation(middle, max(1, in_channels // 4)),
            ConvNormActivation(middle, out_channels, 1, has_activation=False, **norm),
        )
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")

    def forward(self, x: Any) -> Any:
        if not self.is_residual:
            return self.block(x)
        if self.training and self.stochastic_depth.p:
            return self.stochastic_depth(self.block(x)) + x
        *parts, project = self.block
        y = x
        for part in parts:
            y = part(y)
        return project(y, x)


class EfficientNet(Module):
    """A stem, seven stages of MBConv blocks, a last convolution, the mean over places, a head behind dropout.

    x (N, in_channels, H, W) → y (N, num_classes): logits. Channels are those of B0 times `width_mult`, rounded to
    multiples of 8, blocks those of B0 times `depth_mult`, rounded up. The probability that a block is dropped grows
    from 0 to nearly `stochastic_depth_prob` in the last one.

    >>> import kinone as kn
    >>> net = EfficientNet(0.25, 0.3, num_classes=5, in_channels=1)
    >>> net.eval()(kn.zeros((1, 1, 64, 64))).shape
    (1, 5)
    """

    head = "classifier.1"

    def __init__(
        self, width_mult: float = 1.0, depth_mult: float = 1.0, dropout: float = 0.2, num_classes: int = 1000,
        in_channels: int = 3, stochastic_depth_prob: float = 0.2, eps: float = 1e-5, momentum: float = 0.1,
    ) -> None:  # fmt: skip
        if not (width_mult > 0 and depth_mult > 0):
            got = f"width_mult={width_mult}, depth_mult={depth_mult}"
            raise ArgumentError("EfficientNet", "width_mult and depth_mult above 0", got)
        self.num_classes = num_classes
        norm: dict[str, Any] = {"eps": eps, "momentum": momentum}
        plan = [(*stage[:3], divisible(stage[3] * width_mult), divisible(stage[4] * width_mult),
                 ceil(stage[5] * depth_mult)) for stage in _STAGES]  # fmt: skip
        total, done = sum(count for *_, count in plan), 0
        parts: list[Module] = [ConvNormActivation(in_channels, plan[0][3], 3, 2, **norm)]
        for ratio, kernel, first_stride, before, after, count in plan:
            stage: list[Module] = []
            for i in range(count):
                p = stochastic_depth_prob * done / total
                stage.append(MBConv(after if i else before, after, kernel, 1 if i else first_stride, ratio, p, **norm))
                done += 1
            parts.append(Sequential(*stage))
        last = plan[-1][4]
        self.features = Sequential(*parts, ConvNormActivation(last, 4 * last, 1, **norm))
        self.avgpool = AdaptiveAvgPool2d(1)
        head = Linear(4 * last, num_classes)
        bound = 1 / sqrt(num_classes)
        head.weight = Parameter(stream("init").uniform((num_classes, 4 * last), low=-bound, high=bound))
        head.bias = Parameter(np.zeros(num_classes, np.float32))
        self.classifier = Sequential(Dropout(dropout), head)

    def forward(self, x: Any) -> Any:
        return self.classifier(flatten(self.avgpool(self.features(x)), start_axis=1))


_SCALES = ((1.0, 1.0, 0.2), (1.0, 1.1, 0.2), (1.1, 1.2, 0.3), (1.2, 1.4, 0.3), (1.4, 1.8, 0.4), (1.6, 2.2, 0.4),
           (1.8, 2.6, 0.5), (2.0, 3.1, 0.5))  # fmt: skip


def _made(i: int, num_classes: int, in_channels: int, weights: Any, options: dict[str, Any]) -> EfficientNet:
    width_mult, depth_mult, dropout = _SCALES[i]
    large: dict[str, Any] = {"eps": 1e-3, "momentum": 0.01} if i >= 5 else {}
    given: dict[str, Any] = {"dropout": dropout, **large, **options}
    model = EfficientNet(width_mult, depth_mult, num_classes=num_classes, in_channels=in_channels, **given)
    model.title = f"efficientnet_b{i}"
    return model if weights is None else load_pretrained(model, weights, "features.0.0")


def efficientnet_b0(
    *, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any
) -> EfficientNet:
    """EfficientNet-B0, 5.3 million parameters, made for pictures of 224 × 224; `weights` is a file of them,
    `options` are arguments of EfficientNet.
    """
    return _made(0, num_classes, in_channels, weights, options)


def efficientnet_b1(
    *, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any
) -> EfficientNet:
    """EfficientNet-B1, 7.8 million parameters, made for pictures of 240 × 240; see
    `efficientnet_b0`.
    """
    return _made(1, num_classes, in_channels, weights, options)


def efficientnet_b2(
    *, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any
) -> EfficientNet:
    """EfficientNet-B2, 9.1 million parameters, made for pictures of 260 × 260; see
    `efficientnet_b0`.
    """
    return _made(2, num_classes, in_channels, weights, options)


def efficientnet_b3(
    *, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any
) -> EfficientNet:
    """EfficientNet-B3, 12.2 million parameters, made for pictures of 300 × 300; see
    `efficientnet_b0`.
    """
    return _made(3, num_classes, in_channels, weights, options)


def efficientnet_b4(
    *, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any
) -> EfficientNet:
    """EfficientNet-B4, 19.3 million parameters, made for pictures of 380 × 380; see
    `efficientnet_b0`.
    """
    return _made(4, num_classes, in_channels, weights, options)


def efficientnet_b5(
    *, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any
) -> EfficientNet:
    """EfficientNet-B5, 30.4 million parameters, made for pictures of 456 × 456; see
    `efficientnet_b0`.
    """
    return _made(5, num_classes, in_channels, weights, options)


def efficientnet_b6(
    *, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any
) -> EfficientNet:
    """EfficientNet-B6, 43.0 million parameters, made for pictures of 528 × 528; see
    `efficientnet_b0`.
    """
    return _made(6, num_classes, in_channels, weights, options)


def efficientnet_b7(
    *, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any
) -> EfficientNet:
    """EfficientNet-B7, 66.3 million parameters, made for pictures of 600 × 600; see
    `efficientnet_b0`.
    """
    return _made(7, num_classes, in_channels, weights, options)
