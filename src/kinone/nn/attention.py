"""Multi-head attention, and the cache that keeps its keys and values from step to step."""

from functools import reduce
from math import sqrt
from typing import Any

import numpy as np

from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, DtypeError, GraphError, ShapeError
from kinone.nn.layer import Layer, count, probability
from kinone.nn.linear import Linear
from kinone.nn.module import Module
from kinone.nn.parameter import Parameter
from kinone.nn.state import Shape
from kinone.ops import (
    add,
    attention,
    concat,
    exp,
    expand,
    expand_dims,
    keyed_dropout,
    linear,
    logical_not,
    logical_or,
    matmul,
    mean,
    next_key,
    permute,
    reshape,
    split,
    swapaxes,
    where,
)  # fmt: skip
from kinone.random import stream


class KVCache:
    """The keys and values of the steps so far, for every attention layer that is called with this cache.

    Generation needs them again at each step; kept, a step costs one position's work. The same cache goes to the whole
    model: each layer keeps its own in it. `len(cache)` is the number of positions that it holds.

    >>> from kinone import no_grad
    >>> layer, cache, x = MultiheadAttention(4, 2), KVCache(), np.ones((3, 1, 4), np.float32)
    >>> with no_grad():
    ...     steps = [layer(x[t : t + 1], is_causal=True, cache=cache, need_weights=False)[0] for t in range(3)]
    >>> len(cache)
    3
    """

    def __init__(self) -> None:
        self._growing: dict[Module, tuple[Any, Any, int]] = {}  # room for keys and values, and how much is taken
        self._fixed: dict[Module, tuple[Any, Any]] = {}

    def __len__(self) -> int:
        return next((taken for _, _, taken in self._growing.values()), 0)

    def __bool__(self) -> bool:
        return True  # also while it is empty

    def taken(self, layer: Module) -> int:
        """How many positions of that layer are kept."""
        return self._growing[layer][2] if layer in self._growing else 0

    def extend(self, layer: Module, k: Any, v: Any) -> tuple[Any, Any]:
        """Keep more of that layer's keys and values (N, h, S, d), and answer all of them so far."""
        new = [_array(k), _array(v)]
        *room, taken = self._growing.get(layer, (*(_room(a, a.shape[2]) for a in new), 0))
        end = taken + new[0].shape[2]
        if room[0].shape[0] != new[0].shape[0]:
            raise ShapeError("KVCache", f"the batch it has seen before, of {room[0].shape[0]}", f"{new[0].shape[0]}")
        if end > room[0].shape[2]:
            larger = [_room(a, 2 * end) for a in room]
            for a, b in zip(larger, room, strict=True):
                a[:, :, :taken] = b[:, :, :taken]
            room = larger
        for a, b in zip(room, new, strict=True):
            a[:, :, taken:end] = b
        self._growing[layer] = (room[0], room[1], end)
        return room[0][:, :, :end], room[1][:, :, :end]

    def fixed(self, layer: Module) -> tuple[Any, Any] | None:
        """That layer's keys and values if they never change, those of an encoder's output."""
        return self._fixed.get(layer)

    def fix(self, layer: Module, k: Any, v: Any) -> tuple[Any, Any]:
        """Keep these for good."""
        return self._fixed.setdefault(layer, (_array(k), _array(v)))


def _array(x: Any) -> Any:
    if isinstance(x, Tensor) and x.requires_grad:
        hint = "call the model inside `with kn.no_grad():`."
        raise GraphError("KVCache", "keys and values without gradients", "recorded ones", hint=hint)
    return x.data if isinstance(x, Tensor) else x


def _room(like: Any, positions: int) -> Any:
    """An array (N, h, positions, d) that lies as (N, positions, h, d)."""
    n, heads, _, d = like.shape
    return np.empty((n, positions, heads, d), like.dtype).swapaxes(1, 2)


class MultiheadAttention(Layer):
    """y = (P₁·v₁ | P₂·v₂ | …)·Wᵀ + b,  Pᵢ = softmax(qᵢ·kᵢᵀ/√d + mask): a part of the features for each head i.

    q, k and v are linear in query (L, N, embed_dim), key (S, N, kdim) and value (S, N, vdim); `batch_first` puts N
    before L and S, without a batch N is left out. A key left out is the query, a value left out the key. The answer is
    (y, weights), y like query and the weights P (N, L, S), the mean of the heads (with average_attn_weights=False all,
    (N, heads, L, S)). With need_weights=False they are None and never made: attention takes memory like L + S.

    `attn_mask` (L, S), or (N·heads, L, S), is True where a query must not look, or is added to the scores;
    `key_padding_mask` (N, S) is True where a key is none. Both as in PyTorch, and the reverse of
    `scaled_dot_product_attention`. With `is_causal` query i sees keys 0 … i, and those in the cache before. A query
    that sees nothing gives zeros.

    `rotary` turns queries and keys by their positions. With `cache`, a `KVCache`, keys and values of earlier calls come
    first; where query and key differ, those of the first call stay.

    >>> y, weights = MultiheadAttention(4, 2)(np.ones((5, 1, 4), np.float32), is_causal=True)
    >>> y.shape, weights.shape
    ((5, 1, 4), (1, 5, 5))
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        rotary: Module | None = None,
    ) -> None:  # fmt: skip
        kdim, vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        for name, n in (("embed_dim", embed_dim), ("num_heads", num_heads), ("kdim", kdim), ("vdim", vdim)):
            count("MultiheadAttention", name, n)
        if embed_dim % num_heads:
            got = f"num_heads={num_heads}"
            raise ArgumentError("MultiheadAttention", f"num_heads that divides embed_dim={embed_dim}", got)
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim, self.dropout = kdim, vdim, probability("MultiheadAttention", "dropout", dropout)
        self.bias, self.batch_first = bias, batch_first
        self.add_bias_kv, self.add_zero_attn = add_bias_kv, add_zero_attn
        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight = xavier((3 * embed_dim, embed_dim))
        else:
            self.in_proj_weight = None
            self.q_proj_weight = xavier((embed_dim, embed_dim))
            self.k_proj_weight = xavier((embed_dim, self.kdim))
            self.v_proj_weight = xavier((embed_dim, self.vdim))
        self.in_proj_bias = Parameter(np.zeros(3 * embed_dim, np.float32)) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias)
        if bias:
            self.out_proj.bias = Parameter(np.zeros(embed_dim, np.float32))
        self.bias_k = Parameter(stream("init").normal((1, 1, embed_dim), std=embed_dim**-0.5)) if add_bias_kv else None
        self.bias_v = Parameter(stream("init").normal((1, 1, embed_dim), std=embed_dim**-0.5)) if add_bias_kv else None
        self.rotary = rotary

    def forward(
        self, query: Any, key: Any = None, value: Any = None, key_padding_mask: Any = None, need_weights: bool = True,
        attn_mask: Any = None, average_attn_weights: bool = True, is_causal: bool = False, cache: KVCache | None = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        key = query if key is None else key
        value = key if value is None else value
        self._check(query, key, value)
        if cache is not None and self.rotary is not None and key is not query:
            raise ArgumentError("MultiheadAttention", "no cache with rotary where key is not query", "both")
        is_single = query.ndim == 2
        offset = cache.taken(self) if cache is not None and key is query else 0
        kept = cache.fixed(self) if cache is not None and key is not query else None
        q, *made = self._projected(query, key, value, needs_all=kept is None)
        q = q if self.rotary is None else self.rotary(q, offset)
        if kept is not None:
            k, v = kept
        else:
            k, v = made
            k = k if self.rotary is None else self.rotary(k, offset)
            if cache is not None:
                k, v = cache.extend(self, k, v) if key is query else cache.fix(self, k, v)
        k, v, extra = self._with_extra(k, v)
        mask, is_causal = self._mask(q, k.shape[2], extra, attn_mask, key_padding_mask, is_causal, offset)
        p = self.dropout if self.training else 0.0
        place = next_key() if p else None
        y, lse = attention(q, k, v, mask, is_causal=is_causal, dropout_p=p, key=place)
        y = permute(y, (0, 2, 1, 3) if self.batch_first or is_single else (2, 0, 1, 3))
        y = self.out_proj(reshape(y, (*y.shape[:2], self.embed_dim)))
        y = y[0] if is_single else y
        if not need_weights:
            return y, None
        weights = self._weights(q, k, mask, is_causal, lse)
        weights = keyed_dropout(weights, p=p, key=place) if place else weights
        weights = mean(weights, axis=1) if average_attn_weights else weights
        return y, weights[0] if is_single else weights

    # ------------------------------------------------------------------------------ queries, keys and values
    def _projected(self, query: Any, key: Any, value: Any, needs_all: bool) -> list[Any]:
        """q, k and v, (N, heads, positions, head_dim) each, as views of as few products as there can be."""
        n = self.embed_dim
        if self.in_proj_weight is not None and query is key is value and needs_all:
            parts = split(linear(query, self.in_proj_weight, self.in_proj_bias), 3, axis=-1)
            return [self._heads(part) for part in parts]
        biases = [None] * 3 if self.in_proj_bias is None else split(self.in_proj_bias, 3)
        if self.in_proj_weight is None:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        elif key is value and needs_all:
            of_q, of_both = split(self.in_proj_weight, (n, 2 * n))
            b_q, b_both = (None, None) if self.in_proj_bias is None else split(self.in_proj_bias, (n, 2 * n))
            both = split(linear(key, of_both, b_both), 2, axis=-1)
            return [self._heads(part) for part in (linear(query, of_q, b_q), *both)]
        else:
            weights = split(self.in_proj_weight, 3)
        given = (query, key, value) if needs_all else (query,)
        return [self._heads(linear(x, w, b)) for x, w, b in zip(given, weights, biases, strict=False)]

    def _heads(self, x: Any) -> Any:
        """(L, N, heads·d) as (N, heads, L, d), nothing moved."""
        x = reshape(x, (*x.shape[:-1], self.num_heads, self.head_dim))
        if x.ndim == 3:
            x = expand_dims(x, 0)
        elif not self.batch_first:
            return permute(x, (1, 2, 0, 3))
        return swapaxes(x, 1, 2)

    def _with_extra(self, k: Any, v: Any) -> tuple[Any, Any, int]:
        """With the learned key and value, and the zero, that PyTorch can put behind them; and how many that are."""
        n, _, _, d = k.shape
        extra: list[tuple[Any, Any]] = []
        if self.bias_k is not None:
            shape, form = (n, self.num_heads, 1, d), (1, self.num_heads, 1, d)
            extra.append((expand(reshape(self.bias_k, form), shape), expand(reshape(self.bias_v, form), shape)))
        if self.add_zero_attn:
            zero = np.zeros((n, self.num_heads, 1, d), k.dtype)
            extra.append((zero, zero))
        if not extra:
            return k, v, 0
        keys, values = zip(*extra, strict=True)
        return concat(k, *keys, axis=2), concat(v, *values, axis=2), len(extra)

    # ------------------------------------------------------------------------------ masks and weights
    def _mask(
        self, q: Any, keys: int, extra: int, attn_mask: Any, padding: Any, is_causal: bool, offset: int
    ) -> tuple[Any, bool]:
        """The mask as the operator takes it (True: may look), and whether it shall leave out later keys by itself."""
        (n, heads, steps, _), dtype = q.shape, q.dtype
        own = keys - extra
        hidden: list[Any] = []
        if is_causal and (offset or extra) and own > offset + 1:
            hidden.append(~np.tri(steps, own, offset, dtype=bool))
        if attn_mask is not None:
            attn_mask = _checked_mask("attn_mask", attn_mask, ((steps, own), (n * heads, steps, own)), dtype)
            hidden.append(attn_mask if attn_mask.ndim == 2 else reshape(attn_mask, (n, heads, steps, own)))
        if padding is not None:
            shapes = ((n, own), (own,)) if n == 1 else ((n, own),)
            hidden.append(reshape(_checked_mask("key_padding_mask", padding, shapes, dtype), (n, 1, 1, own)))
        is_causal = is_causal and not offset and not extra
        if not hidden:
            return None, is_causal
        if any(m.dtype.kind == "f" for m in hidden):
            low, zero = np.array(-np.inf, dtype), np.array(0, dtype)
            mask: Any = reduce(add, (m if m.dtype.kind == "f" else where(m, low, zero) for m in hidden))
        else:
            mask = logical_not(reduce(logical_or, hidden))
        if extra:
            free = (np.ones if mask.dtype == bool else np.zeros)((*mask.shape[:-1], extra), mask.dtype)
            mask = concat(mask, free, axis=-1)
        return mask, is_causal

    def _weights(self, q: Any, k: Any, mask: Any, is_causal: bool, lse: Any) -> Any:
        """P = exp(s − ℓ), of which `attention` never made the whole."""
        s = matmul(q, swapaxes(k, 2, 3)) * (1 / sqrt(self.head_dim))
        if mask is not None:
            s = where(mask, s, -np.inf) if mask.dtype == bool else s + mask
        if is_causal:
            s = where(np.tri(*s.shape[-2:], dtype=bool), s, -np.inf)
        return exp(s - expand_dims(where(lse == -np.inf, 0.0, lse), -1))

    # ------------------------------------------------------------------------------ what it refuses
    def _check(self, query: Any, key: Any, value: Any) -> None:
        form = "({1}, N, {0})" if not self.batch_first else "(N, {1}, {0})"
        wanted = ((query, "query", self.embed_dim, "L"), (key, "key", self.kdim, "S"), (value, "value", self.vdim, "S"))
        for x, name, features, steps in wanted:
            if x.ndim != query.ndim or x.ndim not in (2, 3) or x.shape[-1] != features:
                expected = f"{name} {form.format(features, steps)}, or ({steps}, {features}) if none has a batch"
                raise ShapeError("MultiheadAttention", expected, f"shape {x.shape} (query has shape {query.shape})")
        batch = 0 if self.batch_first else 1
        if key.shape[:-1] != value.shape[:-1] or (query.ndim == 3 and query.shape[batch] != key.shape[batch]):
            expected = "one batch in all three, and one length of key and value"
            raise ShapeError("MultiheadAttention", expected, f"shapes {query.shape}, {key.shape} and {value.shape}")


def _checked_mask(name: str, mask: Any, shapes: tuple[Shape, ...], dtype: Any) -> Any:
    mask = mask if isinstance(mask, Tensor) else np.asarray(mask)
    if mask.shape not in shapes:
        expected = f"{name} of shape {' or '.join(map(str, shapes))}"
        raise ShapeError("MultiheadAttention", expected, f"{mask.shape}")
    if mask.dtype.kind not in "bf":
        expected = f"{name} of dtype bool (True: not to be looked at), or floating (added)"
        raise DtypeError("MultiheadAttention", expected, str(mask.dtype))
    return mask if mask.dtype.kind == "b" else mask.astype(dtype)


def xavier(shape: tuple[int, int]) -> Parameter:
    """Uniform between ±√(6/(inputs + outputs)), as PyTorch draws these."""
    bound = sqrt(6 / sum(shape))
    return Parameter(stream("init").uniform(shape, low=-bound, high=bound))
