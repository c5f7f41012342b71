"""GPT: which token comes next, as a transformer knows it from all before."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, ShapeError
from kinone.nn import (
    Dropout,
    Embedding,
    KVCache,
    LayerNorm,
    LearnedPositions,
    Linear,
    Module,
    ModuleList,
    RotaryEmbedding,
    SinusoidalPositions,
    TransformerEncoderLayer,
)  # fmt: skip
from kinone.nn.layer import count
from kinone.nn.sampling import generating, sample
from kinone.ops import linear
from kinone.random import Stream, stream


class GPT(Module):
    """logits = W·norm(blocks(embedding(tokens))): tokens (N, T), or (T,), → logits (N, T, vocab_size).

    Each block is a `TransformerEncoderLayer`, norms first, whose tokens look back only. `positions` is "rotary",
    "learned" (it then knows `context_length` of them) or "sinusoidal"; W is the embedding's weight, unless `is_tied` is
    False. First values are GPT-2's: N(0, 0.02²), and N(0, 0.02²/2·num_layers) where a block adds to what goes through.

    >>> model = GPT(vocab_size=10, embed_dim=16, num_layers=2, num_heads=2)
    >>> model(np.array([[1, 2, 3]])).shape, model.generate([1, 2, 3], 4).shape
    ((1, 3, 10), (7,))
    """

    def __init__(
        self, vocab_size: int, context_length: int | None = None, embed_dim: int = 128, num_layers: int = 4,
        num_heads: int = 4, dim_feedforward: int | None = None, dropout: float = 0.0, positions: str = "rotary",
        activation: Any = "gelu", bias: bool = True, is_tied: bool = True,
    ) -> None:  # fmt: skip
        if positions not in ("rotary", "learned", "sinusoidal"):
            raise ArgumentError("GPT", "positions 'rotary', 'learned' or 'sinusoidal'", repr(positions))
        if positions == "learned" and context_length is None:
            raise ArgumentError("GPT", "a context_length, how many positions to learn", "None")
        self.vocab_size, self.embed_dim = vocab_size, count("GPT", "embed_dim", embed_dim)
        self.context_length = None if context_length is None else count("GPT", "context_length", context_length)
        count("GPT", "num_layers", num_layers, 0)
        if count("GPT", "num_heads", num_heads) > embed_dim or embed_dim % num_heads:
            raise ArgumentError("GPT", f"num_heads that divides embed_dim={embed_dim}", f"num_heads={num_heads}")
        self.embedding = Embedding(vocab_size, embed_dim)
        self.positions = rotary = None
        if positions == "rotary":
            rotary = RotaryEmbedding(embed_dim // num_heads)
        elif positions == "learned":
            self.positions = LearnedPositions(self.context_length or 0, embed_dim, batch_first=True)
        else:
            self.positions = SinusoidalPositions(embed_dim, batch_first=True)
        self.dropout = Dropout(dropout)
        width = 4 * embed_dim if dim_feedforward is None else dim_feedforward
        self.layers = ModuleList(
            TransformerEncoderLayer(embed_dim, num_heads, width, dropout, activation, batch_first=True,
                                    norm_first=True, bias=bias, rotary=rotary)
            for _ in range(num_layers)
        )  # fmt: skip
        self.norm = LayerNorm(embed_dim, bias=bias)
        self.head = None if is_tied else Linear(embed_dim, vocab_size, bias=False)
        self._draw(num_layers)

    def _draw(self, num_layers: int) -> None:
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                is_added = name.endswith(("out_proj.weight", "linear2.weight"))
                std = 0.02 / sqrt(2 * num_layers) if is_added else 0.02
                parameter.data = stream("init").normal(parameter.shape, std=std)
            elif name.endswith("bias"):
                parameter.data = np.zeros(parameter.shape, np.float32)

    def forward(self, tokens: Any, cache: KVCache | None = None) -> Any:
        """The logits; with a cache, `tokens` are those that follow what it holds, inside `kn.no_grad()`."""
        tokens = tokens if isinstance(tokens, Tensor) else np.asarray(tokens)
        if tokens.ndim not in (1, 2):
            raise ShapeError("GPT", "tokens (N, T), or (T,) of one sequence", f"shape {tokens.shape}")
        before = 0 if cache is None else len(cache)
        self._check_length(before + tokens.shape[-1], f"{before} before and tokens of shape {tokens.shape}")
        x = self.embedding(tokens[None] if tokens.ndim == 1 else tokens)
        x = self.dropout(x if self.positions is None else self.positions(x, offset=before))
        for layer in self.layers:
            x = layer(x, is_causal=True, cache=cache)
        x = self.norm(x)
        x = linear(x, self.embedding.weight) if self.head is None else self.head(x)
        return x[0] if tokens.ndim == 1 else x

    def generate(
        self, tokens: Any, max_new_tokens: int, temperature: float = 1.0, top_k: int | None = None,
        stop: int | None = None, source: Stream | None = None,
    ) -> NDArray[np.int64]:  # fmt: skip
        """The tokens (N, T), or (T,), and up to `max_new_tokens` more, drawn one after the other as `nn.sample` does.

        A sequence ends with the token `stop`, which is repeated until all have ended. A cache keeps what the blocks
        know of the tokens so far.
        """
        given = np.asarray(tokens.data if isinstance(tokens, Tensor) else tokens)
        all_ = np.atleast_2d(given).astype(np.int64) if given.dtype.kind in "iu" else np.atleast_2d(given)
        if not all_.shape[-1]:
            raise ShapeError("GPT.generate", "at least one token to begin with", f"shape {given.shape}")
        count("GPT.generate", "max_new_tokens", max_new_tokens, 0)
        self._check_length(all_.shape[-1] + max_new_tokens, f"{all_.shape[-1]} and {max_new_tokens} new ones")
        cache, new, has_ended = KVCache(), all_, np.zeros(len(all_), bool)
        with generating(self):
            for _ in range(max_new_tokens):
                drawn = sample(self(new, cache)[:, -1], temperature, top_k, source)
                new = np.where(has_ended, stop if stop is not None else 0, drawn)[:, None]
                all_ = np.concatenate([all_, new], axis=1)
                has_ended |= new[:, 0] == stop if stop is not None else False
                if has_ended.all():
                    break
        return all_[0] if given.ndim == 1 else all_

    def _check_length(self, length: int, what: str) -> None:
        if self.context_length is not None and length > self.context_length:
            raise ShapeError("GPT", f"at most context_length={self.context_length} tokens", f"{length} ({what})")
