"""ResNet: y = relu(f(x) + x), block after block, so that gradients find a way back through many layers.

He, Zhang, Ren, Sun 2015. Keys, shapes and first values are torchvision's, so its weights load as they are; like
there, a block halves the picture in its 3×3 convolution.
"""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

from kinone.errors import ArgumentError
from kinone.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, Parameter, Sequential
from kinone.nn.transfer import load_pretrained
from kinone.ops import flatten, relu
from kinone.random import stream


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, **options: int) -> Conv2d:
    """A convolution without bias, which the norm behind it would take away again; normal, of variance 2/fan_out."""
    padding = (kernel_size // 2) * options.get("dilation", 1)
    conv = Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=False, **options)
    shape = conv.weight.shape if conv.weight is not None else ()
    fan_out = out_channels * prod(shape[2:])
    conv.weight = Parameter(stream("init").normal(shape, std=sqrt(2 / fan_out)))
    return conv


def _activated(norm: Module, x: Any, residual: Any = None) -> Any:
    """relu(norm(x) + residual), in one pass over memory where the norm can do that."""
    if isinstance(norm, BatchNorm2d):
        return norm(x, residual, activation="relu")
    y = norm(x)
    return relu(y if residual is None else y + residual)


class BasicBlock(Module):
    """y = relu(bn₂(conv₂(relu(bn₁(conv₁(x))))) + x), 3×3 both; x goes through `downsample` where its shape changes.

    x (N, inplanes, H, W) → y (N, planes, ⌈H/stride⌉, ⌈W/stride⌉).
    """

    expansion = 1

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: Module | None = None, groups: int = 1,
        base_width: int = 64, dilation: int = 1, norm_layer: type[Module] = BatchNorm2d,
    ) -> None:  # fmt: skip
        if (groups, base_width, dilation) != (1, 64, 1):
            got = f"groups={groups}, base_width={base_width}, dilation={dilation}"
            raise ArgumentError("BasicBlock", "groups=1, base_width=64, dilation=1", got, hint="Bottleneck takes more.")
        self.conv1 = _conv(inplanes, planes, 3, stride)
        self.bn1 = norm_layer(planes)
        self.conv2 = _conv(planes, planes, 3)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = _activated(self.bn1, self.conv1(x))
        return _activated(self.bn2, self.conv2(y), shortcut)


class Bottleneck(Module):
    """y = relu(bn₃(conv₃(…)) + x): 1×1 to `width` channels, 3×3 there, 1×1 to four times `planes`.

    width = ⌊planes · base_width / 64⌋ · groups: wide ResNets have more of it, ResNeXt has groups.
    x (N, inplanes, H, W) → y (N, 4·planes, ⌈H/stride⌉, ⌈W/stride⌉).
    """

    expansion = 4

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: Module | None = None, groups: int = 1,
        base_width: int = 64, dilation: int = 1, norm_layer: type[Module] = BatchNorm2d,
    ) -> None:  # fmt: skip
        width = planes * base_width // 64 * groups
        self.conv1 = _conv(inplanes, width, 1)
        self.bn1 = norm_layer(width)
        self.conv2 = _conv(width, width, 3, stride, groups=groups, dilation=dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = _conv(width, planes * self.expansion, 1)
        self.bn3 = norm_layer(planes * self.expansion)
        self.downsample = downsample

    def forward(self, x: Any) -> Any:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = _activated(self.bn1, self.conv1(x))
        y = _activated(self.bn2, self.conv2(y))
        return _activated(self.bn3, self.conv3(y), shortcut)


class ResNet(Module):
    """A stem, four stages of blocks that halve the picture and double the channels, the mean over places, a head.

    x (N, in_channels, H, W) → y (N, num_classes): logits. `layers` are the numbers of blocks of the stages.
    With `zero_init_residual` each block begins as the identity. `replace_stride_with_dilation` keeps the pictures of
    the last three stages large, as segmentation wants them. `groups` and `width_per_group` make ResNeXt and wide
    ResNets of Bottlenecks.

    >>> import kinone as kn
    >>> net = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=5, in_channels=1)
    >>> net(kn.zeros((2, 1, 64, 64))).shape
    (2, 5)
    """

    head = "fc"

    def __init__(
        self, block: type[Module] = BasicBlock, layers: Sequence[int] = (2, 2, 2, 2), num_classes: int = 1000,
        zero_init_residual: bool = False, groups: int = 1, width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] = (False, False, False),
        norm_layer: type[Module] = BatchNorm2d, in_channels: int = 3,
    ) -> None:  # fmt: skip
        dilates = (False, *(replace_stride_with_dilation or (False, False, False)))
        if len(layers) != 4 or len(dilates) != 4 or any(not isinstance(n, int) or n < 1 for n in layers):
            got = f"layers={layers!r}, replace_stride_with_dilation={replace_stride_with_dilation!r}"
            raise ArgumentError("ResNet", "four numbers of blocks, and three truth values", got)
        kind: Any = block
        self.num_classes = num_classes
        self.conv1 = _conv(in_channels, 64, 7, 2)
        self.bn1 = norm_layer(64)
        self.maxpool = MaxPool2d(3, stride=2, padding=1)
        before, dilation = 64, 1
        for i, (count, dilates_here) in enumerate(zip(layers, dilates, strict=True)):
            planes, stride, first_dilation = 64 << i, 2 if i else 1, dilation
            if dilates_here:
                dilation, stride = dilation * stride, 1
            after, downsample = planes * kind.expansion, None
            if stride != 1 or before != after:
                downsample = Sequential(_conv(before, after, 1, stride), norm_layer(after))
            first = kind(before, planes, stride, downsample, groups, width_per_group, first_dilation, norm_layer)
            rest = [
                kind(after, planes, 1, None, groups, width_per_group, dilation, norm_layer) for _ in range(count - 1)
            ]
            setattr(self, f"layer{i + 1}", Sequential(first, *rest))
            before = after
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(before, num_classes)
        if zero_init_residual:
            for last in (part for part in self.modules() if isinstance(part, BasicBlock | Bottleneck)):
                weight = (last.bn2 if isinstance(last, BasicBlock) else last.bn3).param("weight")
                weight.data = weight.data * 0

    layer1: Sequential
    layer2: Sequential
    layer3: Sequential
    layer4: Sequential

    def forward(self, x: Any) -> Any:
        x = self.maxpool(_activated(self.bn1, self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(flatten(self.avgpool(x), start_axis=1))


def _made(name: str, block: type[Module], layers: Sequence[int], weights: Any, options: dict[str, Any]) -> ResNet:
    model = ResNet(block, layers, **options)
    model.title = name
    return model if weights is None else load_pretrained(model, weights, "conv1")


def resnet18(*, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any) -> ResNet:
    """ResNet-18, 11.7 million parameters; `weights` is a file of them, `options` are arguments of ResNet."""
    return _made("resnet18", BasicBlock, (2, 2, 2, 2), weights,
                 {"num_classes": num_classes, "in_channels": in_channels, **options})  # fmt: skip


def resnet34(*, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any) -> ResNet:
    """ResNet-34, 21.8 million parameters; see `resnet18`."""
    return _made("resnet34", BasicBlock, (3, 4, 6, 3), weights,
                 {"num_classes": num_classes, "in_channels": in_channels, **options})  # fmt: skip


def resnet50(*, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any) -> ResNet:
    """ResNet-50, 25.6 million parameters; see `resnet18`."""
    return _made("resnet50", Bottleneck, (3, 4, 6, 3), weights,
                 {"num_classes": num_classes, "in_channels": in_channels, **options})  # fmt: skip


def resnet101(*, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any) -> ResNet:
    """ResNet-101, 44.5 million parameters; see `resnet18`."""
    return _made("resnet101", Bottleneck, (3, 4, 23, 3), weights,
                 {"num_classes": num_classes, "in_channels": in_channels, **options})  # fmt: skip


def resnet152(*, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any) -> ResNet:
    """ResNet-152, 60.2 million parameters; see `resnet18`."""
    return _made("resnet152", Bottleneck, (3, 8, 36, 3), weights,
                 {"num_classes": num_classes, "in_channels": in_channels, **options})  # fmt: skip
