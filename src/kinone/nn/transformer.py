"""Transformers: layers of attention and of small networks, stacked to encoders and decoders."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

from kinone.errors import ArgumentError
from kinone.nn.attention import KVCache, MultiheadAttention, xavier
from kinone.nn.container import ModuleList
from kinone.nn.dropout import Dropout
from kinone.nn.layer import Layer, count
from kinone.nn.linear import Linear
from kinone.nn.module import Module
from kinone.nn.normalization import LayerNorm
from kinone.ops import gelu, relu, silu

_ACTIVATIONS: dict[str, Callable[..., Any]] = {"relu": relu, "gelu": gelu, "silu": silu}


class TransformerLayer(Layer):
    """What encoder and decoder layers share: a network of two linear layers, dropout, and where the norms stand."""

    self_attn: MultiheadAttention
    linear1: Linear
    linear2: Linear
    dropout: Dropout

    def _begin(self, where: str, activation: Any, norm_first: bool, batch_first: bool) -> None:
        if not callable(activation) and activation not in _ACTIVATIONS:
            known = ", ".join(map(repr, _ACTIVATIONS))
            raise ArgumentError(where, f"activation {known} or a function", repr(activation))
        self.activation, self.norm_first, self.batch_first = activation, norm_first, batch_first

    def _make_network(self, where: str, d_model: int, dim_feedforward: int, dropout: float, bias: bool) -> None:
        self.linear1 = Linear(d_model, count(where, "dim_feedforward", dim_feedforward), bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias)

    def _feed_forward(self, x: Any) -> Any:
        f = self.activation if callable(self.activation) else _ACTIVATIONS[self.activation]
        return self.linear2(self.dropout(f(self.linear1(x))))

    def _with(self, x: Any, norm: Module, dropout: Module, f: Callable[[Any], Any]) -> Any:
        """x and what f makes of it, and the norm before or after."""
        return x + dropout(f(norm(x))) if self.norm_first else norm(x + dropout(f(x)))


class TransformerEncoderLayer(TransformerLayer):
    """x ← norm1(x + attention(x)),  y = norm2(x + W₂·φ(W₁·x + b₁) + b₂): x and y (T, N, d_model).

    With `norm_first` the norms stand before attention and network: x + attention(norm1(x)). `batch_first` makes it
    (N, T, d_model). φ, `activation`, is "relu", "gelu", "silu" or a function. Masks and caches are those of
    `MultiheadAttention`, and so is `rotary`.

    >>> TransformerEncoderLayer(4, 2, dim_feedforward=8)(np.ones((3, 1, 4), np.float32)).shape
    (3, 1, 4)
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: Any = "relu",
        layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
        rotary: Module | None = None,
    ) -> None:  # fmt: skip
        self._begin("TransformerEncoderLayer", activation, norm_first, batch_first)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, rotary=rotary)
        self._make_network("TransformerEncoderLayer", d_model, dim_feedforward, dropout, bias)
        self.norm1, self.norm2 = (LayerNorm(d_model, layer_norm_eps, bias=bias) for _ in range(2))
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Any:  # fmt: skip
        def attend(x: Any) -> Any:
            return self.self_attn(x, key_padding_mask=src_key_padding_mask, need_weights=False, attn_mask=src_mask,
                                  is_causal=is_causal, cache=cache)[0]  # fmt: skip

        x = self._with(src, self.norm1, self.dropout1, attend)
        return self._with(x, self.norm2, self.dropout2, self._feed_forward)


class TransformerDecoderLayer(TransformerLayer):
    """x ← norm1(x + attention(x)), x ← norm2(x + attention(x, memory)), y = norm3(x + network(x)).

    x, `tgt` (T, N, d_model), looks at itself and at `memory` (S, N, d_model), what an encoder made; the arguments are
    those of `TransformerEncoderLayer`. In a cache, keys and values of the first call's memory stay.

    >>> x, memory = np.ones((3, 1, 4), np.float32), np.ones((5, 1, 4), np.float32)
    >>> TransformerDecoderLayer(4, 2, dim_feedforward=8)(x, memory, tgt_is_causal=True).shape
    (3, 1, 4)
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: Any = "relu",
        layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
        rotary: Module | None = None,
    ) -> None:  # fmt: skip
        self._begin("TransformerDecoderLayer", activation, norm_first, batch_first)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, rotary=rotary)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        self._make_network("TransformerDecoderLayer", d_model, dim_feedforward, dropout, bias)
        self.norm1, self.norm2, self.norm3 = (LayerNorm(d_model, layer_norm_eps, bias=bias) for _ in range(3))
        self.dropout1, self.dropout2, self.dropout3 = (Dropout(dropout) for _ in range(3))

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None, tgt_is_causal: bool = False, memory_is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Any:  # fmt: skip
        def attend(x: Any) -> Any:
            return self.self_attn(x, key_padding_mask=tgt_key_padding_mask, need_weights=False, attn_mask=tgt_mask,
                                  is_causal=tgt_is_causal, cache=cache)[0]  # fmt: skip

        def look(x: Any) -> Any:
            return self.multihead_attn(x, memory, key_padding_mask=memory_key_padding_mask, need_weights=False,
                                       attn_mask=memory_mask, is_causal=memory_is_causal, cache=cache)[0]  # fmt: skip

        x = self._with(tgt, self.norm1, self.dropout1, attend)
        x = self._with(x, self.norm2, self.dropout2, look)
        return self._with(x, self.norm3, self.dropout3, self._feed_forward)


# ------------------------------------------------------------------------------ stacks
class TransformerEncoder(Module):
    """`num_layers` copies of a layer, one after the other, and a norm behind them if one is given.

    All begin with the same weights, as PyTorch's do; models that learn from nothing draw them anew, as `Transformer`
    does.

    >>> encoder = TransformerEncoder(TransformerEncoderLayer(4, 2, 8), num_layers=2)
    >>> encoder(np.ones((3, 1, 4), np.float32)).shape
    (3, 1, 4)
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self.num_layers = count("TransformerEncoder", "num_layers", num_layers, 0)
        self.layers, self.norm = ModuleList(deepcopy(encoder_layer) for _ in range(num_layers)), norm

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Any:  # fmt: skip
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal, **({} if cache is None else {"cache": cache}))
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """`num_layers` copies of a decoder layer, and a norm behind them if one is given; see `TransformerEncoder`.

    >>> decoder, x = TransformerDecoder(TransformerDecoderLayer(4, 2, 8), 2), np.ones((3, 1, 4), np.float32)
    >>> decoder(x, x).shape
    (3, 1, 4)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self.num_layers = count("TransformerDecoder", "num_layers", num_layers, 0)
        self.layers, self.norm = ModuleList(deepcopy(decoder_layer) for _ in range(num_layers)), norm

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None, tgt_is_causal: bool = False, memory_is_causal: bool = False,
        cache: KVCache | None = None,
    ) -> Any:  # fmt: skip
        more = {} if cache is None else {"cache": cache}
        for layer in self.layers:
            tgt = layer(tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
                        tgt_is_causal, memory_is_causal, **more)  # fmt: skip
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """decoder(tgt, encoder(src)): src (S, N, d_model) and tgt (T, N, d_model) → (T, N, d_model).

    Positions and embeddings are the caller's. Matrices are drawn by Glorot and Bengio's rule, each layer's its own, but
    for those of a custom encoder or decoder.

    >>> model = Transformer(4, 2, num_encoder_layers=1, num_decoder_layers=1, dim_feedforward=8)
    >>> model(np.ones((5, 1, 4), np.float32), np.ones((3, 1, 4), np.float32), tgt_is_causal=True).shape
    (3, 1, 4)
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
        dim_feedforward: int = 2048, dropout: float = 0.1, activation: Any = "relu",
        custom_encoder: Module | None = None, custom_decoder: Module | None = None, layer_norm_eps: float = 1e-5,
        batch_first: bool = False, norm_first: bool = False, bias: bool = True,
    ) -> None:  # fmt: skip
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        given = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias)

        self.encoder = custom_encoder or _drawn(
            TransformerEncoder(TransformerEncoderLayer(*given), num_encoder_layers, norm())
        )
        self.decoder = custom_decoder or _drawn(
            TransformerDecoder(TransformerDecoderLayer(*given), num_decoder_layers, norm())
        )

    def forward(
        self, src: Any, tgt: Any, src_mask: Any = None, tgt_mask: Any = None, memory_mask: Any = None,
        src_key_padding_mask: Any = None, tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
        src_is_causal: bool = False, tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
                            tgt_is_causal, memory_is_causal)  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(size: int) -> Any:
        """The mask (size, size) that PyTorch's users add: 0 up to the diagonal, −∞ beyond. is_causal=True needs none.

        >>> Transformer.generate_square_subsequent_mask(2)
        array([[  0., -inf],
               [  0.,   0.]], dtype=float32)
        """
        return np.where(np.tri(size, dtype=bool), np.float32(0), np.float32(-np.inf))


def _drawn(stack: Module) -> Module:
    for parameter in stack.parameters():
        if parameter.ndim > 1:
            parameter.data = xavier(parameter.shape).data
    return stack
