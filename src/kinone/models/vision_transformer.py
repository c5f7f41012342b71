"""VisionTransformer: a picture as a sequence of patches, looked at by an encoder.

Dosovitskiy and others 2020. Keys, shapes and first values are torchvision's, so its weights load as they are.
"""

from math import sqrt
from typing import Any

import numpy as np

from kinone.errors import ArgumentError, ShapeError
from kinone.nn import GELU, Conv2d, Dropout, LayerNorm, Linear, Module, MultiheadAttention, Parameter, Sequential
from kinone.nn.layer import count
from kinone.nn.transfer import load_pretrained
from kinone.ops import concat, expand, reshape, swapaxes
from kinone.random import stream


class VisionEncoderBlock(Module):
    """x ← x + attention(ln_1(x)),  y = x + W₂·gelu(W₁·ln_2(x) + b₁) + b₂: x and y (N, T, hidden_dim)."""

    def __init__(
        self, num_heads: int, hidden_dim: int, mlp_dim: int, dropout: float = 0.0, attention_dropout: float = 0.0
    ) -> None:
        self.ln_1 = LayerNorm(hidden_dim, eps=1e-6)
        self.self_attention = MultiheadAttention(hidden_dim, num_heads, attention_dropout, batch_first=True)
        self.dropout = Dropout(dropout)
        self.ln_2 = LayerNorm(hidden_dim, eps=1e-6)
        self.mlp = Sequential(
            _dense(hidden_dim, mlp_dim), GELU(), Dropout(dropout), _dense(mlp_dim, hidden_dim), Dropout(dropout)
        )

    def forward(self, x: Any) -> Any:
        x = x + self.dropout(self.self_attention(self.ln_1(x), need_weights=False)[0])
        return x + self.mlp(self.ln_2(x))


class VisionEncoder(Module):
    """y = ln(blocks(x + pos_embedding)): x and y (N, seq_length, hidden_dim)."""

    def __init__(
        self, seq_length: int, num_layers: int, num_heads: int, hidden_dim: int, mlp_dim: int, dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:  # fmt: skip
        self.pos_embedding = Parameter(stream("init").normal((1, seq_length, hidden_dim), std=0.02))
        self.dropout = Dropout(dropout)
        self.layers = Sequential({
            f"encoder_layer_{i}": VisionEncoderBlock(num_heads, hidden_dim, mlp_dim, dropout, attention_dropout)
            for i in range(num_layers)
        })  # fmt: skip
        self.ln = LayerNorm(hidden_dim, eps=1e-6)

    def forward(self, x: Any) -> Any:
        return self.ln(self.layers(self.dropout(x + self.pos_embedding)))


class VisionTransformer(Module):
    """y = W·encoder(class_token, patches(x))[0] + b: x (N, in_channels, image_size, image_size) → y (N, num_classes).

    Each patch, patch_size × patch_size pixels, is one element of a sequence; the class token, a learned one before
    them, gathers what the head reads.

    >>> import kinone as kn
    >>> net = VisionTransformer(8, 2, 2, 2, 16, 32, num_classes=10, in_channels=1)
    >>> net(kn.zeros((3, 1, 8, 8))).shape, net.encoder.pos_embedding.shape
    ((3, 10), (1, 17, 16))
    """

    head = "heads.head"

    def __init__(
        self, image_size: int, patch_size: int, num_layers: int, num_heads: int, hidden_dim: int, mlp_dim: int,
        dropout: float = 0.0, attention_dropout: float = 0.0, num_classes: int = 1000, in_channels: int = 3,
    ) -> None:  # fmt: skip
        if count("VisionTransformer", "image_size", image_size) % count("VisionTransformer", "patch_size", patch_size):
            got = f"patch_size={patch_size}"
            raise ArgumentError("VisionTransformer", f"a patch_size that divides image_size={image_size}", got)
        self.image_size, self.patch_size, self.hidden_dim = image_size, patch_size, hidden_dim
        self.num_classes, self.in_channels = num_classes, in_channels
        self.class_token = Parameter(np.zeros((1, 1, hidden_dim), np.float32))
        self.conv_proj = Conv2d(in_channels, hidden_dim, patch_size, patch_size)
        shape = (hidden_dim, in_channels, patch_size, patch_size)
        std = 1 / sqrt(in_channels * patch_size**2)
        self.conv_proj.weight = Parameter(stream("init").normal(shape, std=std))
        self.conv_proj.bias = Parameter(np.zeros(hidden_dim, np.float32))
        length = (image_size // patch_size) ** 2 + 1
        self.encoder = VisionEncoder(length, num_layers, num_heads, hidden_dim, mlp_dim, dropout, attention_dropout)
        head = Linear(hidden_dim, num_classes)
        head.weight, head.bias = (Parameter(np.zeros(p.shape, np.float32)) for p in (head.weight, head.bias))
        self.heads = Sequential({"head": head})

    def forward(self, x: Any) -> Any:
        if x.ndim != 4 or x.shape[1:] != (self.in_channels, self.image_size, self.image_size):
            size = self.image_size
            raise ShapeError("VisionTransformer", f"x (N, {self.in_channels}, {size}, {size})", f"shape {x.shape}")
        patches = self.conv_proj(x)
        patches = swapaxes(reshape(patches, (len(x), self.hidden_dim, -1)), 1, 2)
        token = expand(self.class_token, (len(x), 1, self.hidden_dim))
        return self.heads(self.encoder(concat(token, patches, axis=1))[:, 0])


def _dense(inputs: int, outputs: int) -> Linear:
    """Glorot and Bengio's uniform weights, and biases that are all but 0."""
    layer, bound = Linear(inputs, outputs), sqrt(6 / (inputs + outputs))
    layer.weight = Parameter(stream("init").uniform((outputs, inputs), low=-bound, high=bound))
    layer.bias = Parameter(stream("init").normal(outputs, std=1e-6))
    return layer


def _made(name: str, sizes: tuple[int, ...], weights: Any, options: dict[str, Any]) -> VisionTransformer:
    model = VisionTransformer(options.pop("image_size", 224), *sizes, **options)
    model.title = name
    return model if weights is None else load_pretrained(model, weights, "conv_proj")


def vit_b_16(*, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any) -> Any:
    """ViT-B/16, 86.6 million parameters; `weights` is a file of them, `options` are arguments of VisionTransformer."""
    return _made("vit_b_16", (16, 12, 12, 768, 3072), weights,
                 {"num_classes": num_classes, "in_channels": in_channels, **options})  # fmt: skip


def vit_b_32(*, num_classes: int = 1000, in_channels: int = 3, weights: Any = None, **options: Any) -> Any:
    """ViT-B/32, 88.2 million parameters; see `vit_b_16`."""
    return _made("vit_b_32", (32, 12, 12, 768, 3072), weights,
                 {"num_classes": num_classes, "in_channels": in_channels, **options})  # fmt: skip
