"""Models of sequences beside twins written in PyTorch, with the same weights."""

from typing import Any

import numpy as np
import pytest

from kinone import models, nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")
from torch import nn as tn  # noqa: E402

from peers.test_sequences import check, near, pair, twins  # noqa: E402

TOKENS = np.random.default_rng(0).integers(0, 7, (3, 6))


class CharacterTwin(tn.Module):
    """An embedding, PyTorch's recurrent layer and a linear head."""

    def __init__(self, kind: str, layers: int) -> None:
        super().__init__()
        self.embedding = tn.Embedding(7, 5)
        self.rnn = {"lstm": tn.LSTM, "gru": tn.GRU, "rnn": tn.RNN}[kind](5, 8, layers, batch_first=True)
        self.head = tn.Linear(8, 7)

    def forward(self, tokens: Any) -> Any:
        y, state = self.rnn(self.embedding(tokens))
        return self.head(y), state


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_character_model(kind):
    model = models.CharacterRNN("abcdefg", 8, 2, kind, embedding_dim=5)
    ours, theirs = twins(model, CharacterTwin(kind, 2))
    (y, state), (there, last) = ours(TOKENS), theirs(torch.tensor(TOKENS))
    states, lasts = (state, last) if kind == "lstm" else ((state,), (last,))
    check(ours, theirs, [y, *states], [there, *lasts])


def turned(x: Any, base: float = 10000.0) -> Any:
    """Rotary positions of x (N, h, T, d), as Llama's code turns halves."""
    d = x.shape[-1]
    angles = torch.outer(torch.arange(x.shape[-2]), base ** (-torch.arange(0, d, 2, dtype=torch.float64) / d))
    angles = torch.cat([angles, angles], dim=-1)
    halves = torch.cat([-x[..., d // 2 :], x[..., : d // 2]], dim=-1)
    return x * angles.cos() + halves * angles.sin()


class BlockTwin(tn.TransformerEncoderLayer):
    """PyTorch's layer, with attention that turns queries and keys."""

    def _sa_block(self, x: Any, attn_mask: Any, key_padding_mask: Any, is_causal: bool = False) -> Any:
        n, steps, width = x.shape
        q, k, v = tn.functional.linear(x, self.self_attn.in_proj_weight, self.self_attn.in_proj_bias).chunk(3, -1)
        q, k, v = (part.view(n, steps, self.self_attn.num_heads, -1).transpose(1, 2) for part in (q, k, v))
        y = tn.functional.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True)
        return self.self_attn.out_proj(y.transpose(1, 2).reshape(n, steps, width))


class GPTTwin(tn.Module):
    """Blocks with norms first, whose tokens look back only."""

    def __init__(self, positions: str, is_tied: bool, bias: bool) -> None:
        super().__init__()
        self.embedding = tn.Embedding(7, 8)
        if positions == "learned":
            self.positions = tn.Embedding(6, 8)
        block = BlockTwin if positions == "rotary" else tn.TransformerEncoderLayer
        self.layers = tn.ModuleList(
            block(8, 2, 12, 0.0, "gelu", batch_first=True, norm_first=True, bias=bias) for _ in range(2)
        )
        self.norm = tn.LayerNorm(8, bias=bias)
        if not is_tied:
            self.head = tn.Linear(8, 7, bias=False)

    def forward(self, tokens: Any) -> Any:
        x = self.embedding(tokens)
        if hasattr(self, "positions"):
            x = x + self.positions.weight[: tokens.shape[1]]
        mask = torch.triu(torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool), 1)
        for layer in self.layers:
            x = layer(x, src_mask=mask)
        head = self.head.weight if hasattr(self, "head") else self.embedding.weight
        return self.norm(x) @ head.T


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_gpt(positions, is_tied, bias):
    model = models.GPT(7, 6, 8, 2, 2, 12, positions=positions, is_tied=is_tied, bias=bias)
    ours, theirs = twins(model, GPTTwin(positions, is_tied, bias))
    check(ours, theirs, [ours(TOKENS)], [theirs(torch.tensor(TOKENS))])
    near(ours(TOKENS[0]).numpy(), theirs(torch.tensor(TOKENS[:1])).detach().numpy()[0], 1e-10, "one sequence")


class VisionBlockTwin(tn.Module):
    """As torchvision lays it out."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = tn.LayerNorm(8, eps=1e-6)
        self.self_attention = tn.MultiheadAttention(8, 2, batch_first=True)
        self.ln_2 = tn.LayerNorm(8, eps=1e-6)
        self.mlp = tn.Sequential(tn.Linear(8, 12), tn.GELU(), tn.Dropout(0.0), tn.Linear(12, 8), tn.Dropout(0.0))

    def forward(self, x: Any) -> Any:
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class VisionTwin(tn.Module):
    """As torchvision lays it out."""

    def __init__(self) -> None:
        super().__init__()
        self.class_token = tn.Parameter(torch.randn(1, 1, 8))
        self.conv_proj = tn.Conv2d(2, 8, 3, 3)
        self.encoder = tn.Module()
        self.encoder.pos_embedding = tn.Parameter(torch.randn(1, 5, 8))
        blocks: Any = {f"encoder_layer_{i}": VisionBlockTwin() for i in range(2)}
        self.encoder.layers = tn.Sequential()
        for name, block in blocks.items():
            self.encoder.layers.add_module(name, block)
        self.encoder.ln = tn.LayerNorm(8, eps=1e-6)
        self.heads = tn.Sequential()
        self.heads.add_module("head", tn.Linear(8, 4))

    def forward(self, x: Any) -> Any:
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1) + self.encoder.pos_embedding
        encoder: Any = self.encoder
        return self.heads(encoder.ln(encoder.layers(x))[:, 0])


def test_vision_transformer():
    model = models.VisionTransformer(6, 3, 2, 2, 8, 12, num_classes=4, in_channels=2)
    ours, theirs = twins(model, VisionTwin())
    x, t = pair(3, 2, 6, 6)
    check(ours, theirs, [ours(x)], [theirs(t)], [(x, t)])
    assert isinstance(ours, nn.Module)
