"""Attention, positions and transformers: weights, masks, caches, and what they refuse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn
from kinone.errors import ArgumentError, DtypeError, GraphError, KinoneError, ShapeError
from kinone.kernels import dispatch
from sequence_samples import N, T, made, normal, same

IS_NATIVE = dispatch.implementation()[0] == "native"


# ------------------------------------------------------------------------------ attention
E, HEADS = 8, 2


def test_looking_at_the_weights_changes_nothing():
    """Not even what dropout drops."""
    layer, x = made(nn.MultiheadAttention, E, HEADS, dropout=0.3), normal(T, N, E)
    kn.random.seed(0)
    y, weights = layer(x)
    kn.random.seed(0)
    other, none = layer(x, need_weights=False)
    assert same(y, other) and none is None
    dropped = layer(x, average_attn_weights=False)[1].numpy() == 0
    assert 0.1 < dropped.mean() < 0.5
    layer.eval()
    np.testing.assert_allclose(layer(x)[1].numpy().sum(axis=-1), 1, rtol=1e-12)
    assert weights.shape == (N, T, T)


def test_weights_are_those_that_values_are_mixed_with():
    layer, x = made(nn.MultiheadAttention, E, 1), normal(T, N, E)
    layer.train()
    layer.dropout = 0.4
    layer.out_proj.weight = nn.Parameter(np.eye(E))
    y, weights = layer(x, is_causal=True)
    v = kn.linear(x, layer.in_proj_weight[2 * E :], layer.in_proj_bias[2 * E :])
    mixed = np.einsum("nls,sne->lne", weights.numpy(), v.numpy())
    np.testing.assert_allclose(y.numpy(), mixed, rtol=1e-11, atol=1e-13)


def test_a_query_that_sees_nothing_gives_zeros_not_nan():
    layer, x = made(nn.MultiheadAttention, E, HEADS), kn.Tensor(normal(T, N, E), requires_grad=True)
    hidden = np.zeros((N, T), bool)
    hidden[1] = True
    y, weights = layer(x, key_padding_mask=hidden)
    assert same(y[:, 1], np.broadcast_to(layer.out_proj.bias.numpy(), (T, E))) and not weights.numpy()[1].any()
    kn.sum(y * y).backward()
    assert np.isfinite(x.grad.numpy()).all() and not x.grad.numpy()[:, 1].any()


def test_memory_without_weights_grows_with_the_length_not_its_square():
    layer = nn.MultiheadAttention(8, 1)
    x = np.ones((4096, 1, 8), np.float32)
    with kn.profile() as p:
        layer(x, need_weights=False)
    assert max(row.result_bytes for row in p.rows) < 16 * x.nbytes < 4096 * 4096


@pytest.mark.skipif(not IS_NATIVE, reason="the reference kernels set arrays out for NumPy")
@pytest.mark.parametrize("batch_first", [False, True])
def test_heads_are_views(batch_first):
    """Between the projections nothing is moved: what each operator makes is a view, or a product."""
    layer = nn.MultiheadAttention(E, HEADS, batch_first=batch_first)
    with kn.profile() as p:
        layer(np.ones((N, T, E), np.float32), need_weights=False, is_causal=True)
    assert {row.op for row in p.rows if row.result_bytes} == {"linear", "attention"}


@pytest.mark.parametrize("rotary", [None, nn.RotaryEmbedding(E // HEADS)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pieces", [[1] * 9, [4, 1, 1, 3], [2, 7]])
def test_steps_with_a_cache_are_the_whole_sequence(pieces, dtype, rotary):
    kn.random.seed(0)
    layer = nn.MultiheadAttention(E, HEADS, rotary=rotary, batch_first=True).to(dtype)
    x = normal(N, sum(pieces), E).astype(dtype)
    cache, at, ys = nn.KVCache(), 0, []
    with kn.no_grad():
        for n in pieces:
            assert len(cache) == at
            ys.append(layer(x[:, at : at + n], is_causal=True, cache=cache, need_weights=False)[0].numpy())
            at += n
        whole = layer(x, is_causal=True)[0].numpy()
    if IS_NATIVE:  # a row of a product has the bits that it has alone
        assert same(np.concatenate(ys, axis=1), whole)
    limit = 1e-14 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(np.concatenate(ys, axis=1), whole, rtol=0, atol=limit)


def test_a_cache_keeps_what_an_encoder_said():
    layer, x, memory = made(nn.MultiheadAttention, E, HEADS), normal(1, N, E), normal(T, N, E, seed=1)
    cache = nn.KVCache()
    with kn.no_grad():
        first = layer(x, memory, cache=cache)[0]
        with kn.profile() as p:
            again = layer(x, memory, cache=cache)[0]
    assert same(first, again) and len(cache) == 0 and cache.fixed(layer) is not None
    assert p["linear"].calls == 2  # query and result; not key and value


A = np.ones((T, N, E), np.float32)
REFUSED: dict[str, tuple[Callable[[], Any], type[KinoneError], str]] = {
    "heads": (
        lambda: nn.MultiheadAttention(E, 3),
        ArgumentError,
        r"num_heads that divides embed_dim=8, got num_heads=3",
    ),
    "size": (lambda: nn.MultiheadAttention(0, 1), ArgumentError, r"embed_dim to be an integer of at least 1"),
    "dropout": (lambda: nn.MultiheadAttention(E, 2, dropout=-1), ArgumentError, r"0 ≤ dropout ≤ 1"),
    "query": (
        lambda: nn.MultiheadAttention(E, 2)(A[..., :3]),
        ShapeError,
        r"query \(L, N, 8\), .* got shape \(6, 3, 3\)",
    ),
    "key": (lambda: nn.MultiheadAttention(E, 2, kdim=4)(A, A), ShapeError, r"key \(S, N, 4\)"),
    "value": (lambda: nn.MultiheadAttention(E, 2)(A, A, A[:2]), ShapeError, r"one length of key and value, got shapes"),
    "batch": (lambda: nn.MultiheadAttention(E, 2)(A, A[:, :1]), ShapeError, r"one batch in all three"),
    "mask": (
        lambda: nn.MultiheadAttention(E, 2)(A, attn_mask=np.ones((T, T + 1), bool)),
        ShapeError,
        r"attn_mask of shape \(6, 6\) or \(6, 6, 6\), got \(6, 7\)",
    ),
    "mask of integers": (
        lambda: nn.MultiheadAttention(E, 2)(A, attn_mask=np.ones((T, T), int)),
        DtypeError,
        r"dtype bool \(True: not to be looked at\), or floating \(added\), got int64",
    ),
    "padding": (
        lambda: nn.MultiheadAttention(E, 2)(A, key_padding_mask=np.ones((T, N), bool)),
        ShapeError,
        r"key_padding_mask of shape \(3, 6\), got \(6, 3\)",
    ),
    "recorded": (
        lambda: nn.MultiheadAttention(E, 2)(A, cache=nn.KVCache()),
        GraphError,
        r"\[KVCache\] expected keys and values without gradients.*no_grad",
    ),
    "positions": (lambda: nn.LearnedPositions(4, E)(A), ShapeError, r"at most 4 positions, got 6"),
    "positions further on": (lambda: nn.LearnedPositions(9, E)(A, offset=4), ShapeError, r"got 10 .*offset=4"),
    "features": (lambda: nn.SinusoidalPositions(4)(A), ShapeError, r"x \(T, N, 4\), or \(T, 4\)"),
    "odd": (lambda: nn.RotaryEmbedding(3), ArgumentError, r"an even dim"),
    "base": (lambda: nn.RotaryEmbedding(4, base=0), ArgumentError, r"base > 0"),
    "rotary features": (lambda: nn.RotaryEmbedding(4)(A), ShapeError, r"x \(…, T, 4\), got shape \(6, 3, 8\)"),
}


@pytest.mark.parametrize(("call", "kind", "match"), REFUSED.values(), ids=REFUSED)
def test_bad_input_of_attention_is_refused(call, kind, match):
    with pytest.raises(kind, match=match):
        call()


def test_a_cache_is_of_one_batch():
    layer, cache = nn.MultiheadAttention(E, 2), nn.KVCache()
    with kn.no_grad():
        layer(A, cache=cache)
        with pytest.raises(ShapeError, match=r"\[KVCache\] expected the batch it has seen before, of 3, got 2"):
            layer(A[:, :2], cache=cache)


# ------------------------------------------------------------------------------ positions
@pytest.mark.parametrize("dim", [1, 6, 7])
def test_sinusoidal_positions(dim):
    wanted = np.array(
        [
            [(np.sin, np.cos)[i % 2](t / 10000 ** ((i - i % 2) / (dim + dim % 2))) for i in range(dim)]
            for t in range(4, 9)
        ]
    )
    x = normal(5, N, dim)
    np.testing.assert_allclose(nn.SinusoidalPositions(dim)(x, 4), x + wanted[:, None], atol=1e-15)
    first = nn.SinusoidalPositions(dim, batch_first=True)
    np.testing.assert_allclose(first(x.swapaxes(0, 1), 4), x.swapaxes(0, 1) + wanted, atol=1e-15)
    np.testing.assert_allclose(first(x[:, 0], offset=4), x[:, 0] + wanted, atol=1e-15)


def test_learned_positions_learn():
    layer = nn.LearnedPositions(9, 3).double()
    y = layer(np.zeros((5, N, 3)), offset=2)
    assert same(y[:, 1], layer.weight[2:7])
    kn.sum(y).backward()
    assert layer.weight.grad.numpy()[:, 0].tolist() == [0, 0, 3, 3, 3, 3, 3, 0, 0]


@pytest.mark.parametrize("is_interleaved", [False, True])
def test_rotary_positions_turn_pairs(is_interleaved):
    """As complex numbers: each pair times e^(i·t·θ)."""
    dim, base, offset = 6, 100.0, 3
    x, rope = normal(2, 5, dim), nn.RotaryEmbedding(dim, base, is_interleaved)
    y = rope(kn.Tensor(x), offset).numpy()
    first, second = (slice(0, None, 2), slice(1, None, 2)) if is_interleaved else (slice(0, 3), slice(3, 6))
    turns = np.exp(1j * np.outer(np.arange(offset, offset + 5), base ** (-np.arange(0, dim, 2) / dim)))
    wanted = (x[..., first] + 1j * x[..., second]) * turns
    np.testing.assert_allclose(y[..., first] + 1j * y[..., second], wanted, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("is_interleaved", [False, True])
def test_rotary_scores_know_distances_only(is_interleaved):
    rope, q, k = nn.RotaryEmbedding(4, is_interleaved=is_interleaved), normal(3, 4), normal(5, 4, seed=1)
    scores = rope(q, 0) @ rope(k, 0).T
    np.testing.assert_allclose(rope(q, 40) @ rope(k, 40).T, scores, rtol=1e-12, atol=1e-13)
    assert kn.gradcheck(rope, kn.Tensor(normal(2, 3, 4)))


# ------------------------------------------------------------------------------ transformers
def test_layers_of_a_stack_are_copies_that_go_their_own_way():
    layer = nn.TransformerEncoderLayer(E, HEADS, 16)
    encoder: Any = nn.TransformerEncoder(layer, 2)
    first, second = encoder.layers
    assert same(first.linear1.weight, second.linear1.weight)
    shared = {id(p.data) for p in layer.parameters()} & {id(p.data) for p in encoder.parameters()}
    assert not shared and len(list(encoder.parameters())) == 2 * len(list(layer.parameters()))
    model: Any = nn.Transformer(E, HEADS, 2, 2, 16)
    first, second = model.encoder.layers
    assert not same(first.linear1.weight, second.linear1.weight)
    assert np.abs(first.linear1.weight.numpy()).max() <= (6 / (16 + E)) ** 0.5


@pytest.mark.parametrize("norm_first", [False, True])
def test_generation_with_a_cache_is_the_whole_sequence(norm_first):
    kn.random.seed(1)
    model: Any = nn.Transformer(E, HEADS, 1, 2, 16, norm_first=norm_first).double().eval()
    memory, x = model.encoder(normal(T, N, E)), normal(7, N, E, seed=1)
    cache = nn.KVCache()
    with kn.no_grad():
        whole = model.decoder(x, memory, tgt_is_causal=True)
        steps = [model.decoder(x[t : t + 1], memory, tgt_is_causal=True, cache=cache).numpy() for t in range(7)]
    assert len(cache) == 7
    np.testing.assert_allclose(np.concatenate(steps), whole.numpy(), rtol=0, atol=1e-14)


def test_causal_outputs_do_not_know_the_future():
    layer, x = made(nn.TransformerEncoderLayer, E, HEADS, 16, rotary=nn.RotaryEmbedding(4)).eval(), normal(T, N, E)
    y = layer(x, is_causal=True).numpy()
    x[4:] += 1
    assert same(layer(x, is_causal=True)[:4], y[:4]) and not same(layer(x)[:4], y[:4])


def test_dropout_of_a_transformer_layer():
    """Four places in training, none in use; p = 1 leaves the residual path alone."""
    layer, x = made(nn.TransformerEncoderLayer, E, HEADS, 16, dropout=0.5, norm_first=True), normal(T, N, E)
    start = kn.random.stream("dropout").step
    layer(x)
    assert kn.random.stream("dropout").step == start + 4
    assert same(layer.eval()(x), layer(x)) and kn.random.stream("dropout").step == start + 4
    layer.train().dropout1.p = layer.dropout2.p = 1.0
    assert same(layer(x), x)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", kn.tanh, nn.GELU()])
def test_activations(activation):
    layer, x = made(nn.TransformerEncoderLayer, E, HEADS, 16, activation=activation, norm_first=True), normal(T, N, E)
    f: Any = getattr(kn, activation) if isinstance(activation, str) else activation
    layer.eval()
    middle = x + layer.self_attn(layer.norm1(x), need_weights=False)[0]
    assert same(layer(x), middle + layer.linear2(f(layer.linear1(layer.norm2(middle)))))


STACKED: dict[str, tuple[Callable[[], Any], str]] = {
    "activation": (
        lambda: nn.TransformerEncoderLayer(E, 2, activation="swoosh"),
        r"'relu', 'gelu', 'silu' or a function",
    ),
    "width": (lambda: nn.TransformerDecoderLayer(E, 2, 0), r"dim_feedforward to be an integer of at least 1"),
    "dropout": (lambda: nn.TransformerEncoderLayer(E, 2, dropout=2.0), r"0 ≤ dropout ≤ 1"),
    "layers": (lambda: nn.TransformerEncoder(nn.Identity(), -1), r"num_layers to be an integer of at least 0"),
    "input": (lambda: nn.Transformer(E, 2, 1, 1, 8)(A[..., :4], A), r"query \(L, N, 8\)"),
}


@pytest.mark.parametrize(("call", "match"), STACKED.values(), ids=STACKED)
def test_bad_input_of_transformers_is_refused(call, match):
    with pytest.raises(KinoneError, match=match):
        call()


def test_an_error_says_in_which_layer():
    model = nn.Transformer(E, 2, 1, 1, 8)
    with pytest.raises(ShapeError) as caught:
        model(A[..., :4], A)
    assert caught.value.__notes__ == ["in Transformer.encoder.layers.0.self_attn (MultiheadAttention)"]
