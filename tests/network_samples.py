"""One sample of every network in `kinone.models`, as tests/module_samples.py has one of every layer."""

import numpy as np

from kinone import models, nn
from module_samples import Sample, draw, probabilities

X, IMAGE, TOKENS = draw(2, 6), draw(2, 1, 33, 35), np.array([[1, 2, 0], [3, 1, 2]])
CHANNELS = r"x with 1 channels .*got 3"
WRONG_IMAGE = (((draw(2, 3, 33, 35),), CHANNELS),)
BLOCK, WRONG_BLOCK = draw(2, 8, 6, 6), (((draw(2, 3, 6, 6),), "with 8 channels"),)


def _vision_transformer() -> models.VisionTransformer:
    """One whose head is not 0, as it is at first: nothing before it would have a gradient."""
    model = models.VisionTransformer(8, 4, 1, 2, 8, 6, num_classes=3, in_channels=1)
    model.heads["head"].weight.data = draw(3, 8)
    return model


NETWORKS: dict[str, Sample] = {
    "BasicBlock": Sample(lambda: models.BasicBlock(8, 8), (BLOCK,), (2, 8, 6, 6), WRONG_BLOCK),
    "Bottleneck": Sample(
        lambda: models.Bottleneck(8, 4, 2, nn.Sequential(nn.Conv2d(8, 16, 1, 2), nn.BatchNorm2d(16)), 2, 128, 2),
        (BLOCK,), (2, 16, 3, 3), WRONG_BLOCK,
    ),
    "ResNet": Sample(
        lambda: models.ResNet(models.BasicBlock, (1, 1, 1, 1), num_classes=3, in_channels=1), (IMAGE,), (2, 3),
        WRONG_IMAGE,
    ),
    "ConvNormActivation": Sample(
        lambda: models.ConvNormActivation(8, 6, 3, 2, eps=1e-3), (BLOCK,), (2, 6, 3, 3), WRONG_BLOCK
    ),
    "SqueezeExcitation": Sample(lambda: models.SqueezeExcitation(8, 4), (BLOCK,), BLOCK.shape, WRONG_BLOCK),
    "MBConv": Sample(lambda: models.MBConv(8, 8, 3, 1, 2, 0.2), (BLOCK,), BLOCK.shape, WRONG_BLOCK),
    "EfficientNet": Sample(
        lambda: models.EfficientNet(0.25, 0.3, 0.1, 3, in_channels=1), (draw(3, 1, 64, 64),), (3, 3), WRONG_IMAGE
    ),
    "MLP": Sample(
        lambda: models.MLP(6, (5, 4), 3, nn.Tanh, 0.1), (X,), (2, 3), (((draw(2, 5),), r"\(2, 5\)"),), (draw(0, 6),),
        lazy=lambda: models.MLP(None, (5, 4), 3, nn.Tanh, 0.1),
    ),
    "LeNet": Sample(
        lambda: models.LeNet(3, image_size=20, padding=1), (draw(2, 1, 20, 20),), (2, 3), WRONG_IMAGE,
        (draw(0, 1, 20, 20),),
    ),
    "Autoencoder": Sample(
        lambda: models.Autoencoder(6, 2, [4], nn.Tanh), (X,), (2, 6), (((draw(2, 5),), r"\(2, 5\)"),), (draw(0, 6),)
    ),
    "ConvAutoencoder": Sample(
        lambda: models.ConvAutoencoder(1, 9, 4, [3, 4], nn.SiLU), (draw(2, 1, 9, 9),), (2, 1, 9, 9),
        (((draw(2, 2, 9, 9),), "with 1 channels"),), (draw(0, 1, 9, 9),),
    ),
    "VariationalAutoencoder": Sample(
        lambda: models.VariationalAutoencoder(6, 2, [4], nn.Tanh), (X,), (2, 6), (((draw(2, 5),), r"\(2, 5\)"),),
        (draw(0, 6),),
    ),
    "ELBO": Sample(
        lambda: models.ELBO(0.5, "gaussian"), ((X, draw(2, 3), draw(2, 3)), probabilities(2, 6)), (),
        ((((X, draw(2, 3), draw(2, 3)), draw(2, 5)), r"x of shape \(2, 6\), .*got \(2, 5\)"),),
    ),
    "CharacterRNN": Sample(lambda: models.CharacterRNN("abcd", 5), (TOKENS,)),
    "GPT": Sample(lambda: models.GPT(4, 8, embed_dim=8, num_layers=1, num_heads=2), (TOKENS,), (2, 3, 4)),
    "VisionEncoderBlock": Sample(
        lambda: models.VisionEncoderBlock(2, 8, 6), (draw(2, 3, 8),), (2, 3, 8), (((draw(2, 3, 5),), r"\(2, 3, 5\)"),)
    ),
    "VisionEncoder": Sample(lambda: models.VisionEncoder(3, 1, 2, 8, 6), (draw(2, 3, 8),), (2, 3, 8)),
    "VisionTransformer": Sample(
        _vision_transformer, (draw(2, 1, 8, 8),), (2, 3),
        (((draw(2, 3, 8, 8),), r"\(2, 3, 8, 8\)"),),
    ),
}  # fmt: skip
