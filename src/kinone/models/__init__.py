"""Networks: ready to train, with published weights if there are any."""

from kinone.models.autoencoder import ELBO, Autoencoder, ConvAutoencoder, VariationalAutoencoder
from kinone.models.character import CharacterRNN
from kinone.models.efficientnet import (
    ConvNormActivation,
    EfficientNet,
    MBConv,
    SqueezeExcitation,
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    efficientnet_b7,
)
from kinone.models.gpt import GPT
from kinone.models.lenet import LeNet
from kinone.models.mlp import MLP
from kinone.models.resnet import BasicBlock, Bottleneck, ResNet, resnet18, resnet34, resnet50, resnet101, resnet152
from kinone.models.vision_transformer import VisionEncoder, VisionEncoderBlock, VisionTransformer, vit_b_16, vit_b_32
from kinone.nn import Module, kinds_in
from kinone.nn.transfer import freeze, replace_head

__all__ = [
    "ELBO",
    "GPT",
    "MLP",
    "MODELS",
    "MODULES",
    "Autoencoder",
    "BasicBlock",
    "Bottleneck",
    "CharacterRNN",
    "ConvAutoencoder",
    "ConvNormActivation",
    "EfficientNet",
    "LeNet",
    "MBConv",
    "ResNet",
    "SqueezeExcitation",
    "VariationalAutoencoder",
    "VisionEncoder",
    "VisionEncoderBlock",
    "VisionTransformer",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "freeze",
    "replace_head",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "vit_b_16",
    "vit_b_32",
]  # fmt: skip

MODULES = kinds_in(
    value
    for name, value in list(globals().items())
    if name in __all__ and isinstance(value, type) and issubclass(value, Module)
)
"""The classes by name: what a checkpoint may be made of, besides layers."""

MODELS = {f.__name__: f for f in (
    resnet18, resnet34, resnet50, resnet101, resnet152, efficientnet_b0, efficientnet_b1, efficientnet_b2,
    efficientnet_b3, efficientnet_b4, efficientnet_b5, efficientnet_b6, efficientnet_b7, vit_b_16, vit_b_32,
)}  # fmt: skip
"""The functions that make published networks, by name: what `kinone train --model` takes."""
