"""Layers for sequences: lengths, masks, directions, states, positions, caches, and what they refuse."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn
from kinone.errors import ArgumentError, DtypeError, GraphError, KinoneError, ShapeError, StateError
from kinone.kernels import dispatch

T, N, F, H = 6, 3, 2, 4
IS_NATIVE = dispatch.implementation()[0] == "native"
KINDS = (nn.RNN, nn.GRU, nn.LSTM)
LENGTHS = np.array([4, 6, 1])


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def made(kind: Any, *args: Any, **attrs: Any) -> Any:
    kn.random.seed(3)
    return kind(*args, **attrs).double()


def h_of(state: Any) -> Any:
    return state[0] if isinstance(state, tuple) else state


def same(a: Any, b: Any) -> bool:
    return np.array_equal(a.numpy() if isinstance(a, kn.Tensor) else a, b.numpy() if isinstance(b, kn.Tensor) else b)


# ------------------------------------------------------------------------------ recurrent layers
@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind):
    """A batch of padded sequences gives what each gives alone, whatever the padding holds."""
    model, x = made(kind, F, H, 2, bidirectional=True), normal(T, N, F)
    x[4:, 0] = x[1:, 2] = 1e6
    y, state = model(x, lengths=LENGTHS)
    for n, length in enumerate(LENGTHS):
        alone, ends = model(x[:length, n])
        np.testing.assert_allclose(y.numpy()[:length, n], alone.numpy(), rtol=1e-12, atol=1e-13)
        assert not y.numpy()[length:, n].any()
        np.testing.assert_allclose(h_of(state).numpy()[:, n], h_of(ends).numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_leaves_steps_out_wherever_they_are(kind, batch_first):
    model, x = made(kind, F, H, 2, bidirectional=True, batch_first=batch_first), normal(T, N, F)
    mask = np.array([[1, 1, 0, 1, 0, 1], [0, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]], bool)
    given = kn.Tensor(x.swapaxes(0, 1) if batch_first else x, requires_grad=True)
    y, state = model(given, mask=mask if batch_first else mask.T)
    outputs = y.numpy() if batch_first else y.numpy().swapaxes(0, 1)
    for n, kept in enumerate(mask):
        alone, ends = model(x[kept, n])
        np.testing.assert_allclose(outputs[n, kept], alone.numpy(), rtol=1e-12, atol=1e-13)
        assert not outputs[n, ~kept].any()
        np.testing.assert_allclose(h_of(state).numpy()[:, n], h_of(ends).numpy(), rtol=1e-12, atol=1e-13)
    kn.sum(y * y).backward()
    g: Any = given.grad
    g = g.numpy() if batch_first else g.numpy().swapaxes(0, 1)
    assert not g[~mask].any() and g[mask].all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_of_padding_is_lengths(kind):
    model, x = made(kind, F, H), normal(T, N, F)
    by_mask, by_lengths = (
        model(x, mask=kn.Tensor(np.arange(T)[:, None] < LENGTHS)),
        model(x, lengths=kn.Tensor(LENGTHS)),
    )
    assert same(by_mask[0], by_lengths[0]) and same(h_of(by_mask[1]), h_of(by_lengths[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_backward_state_is_at_the_beginning(kind):
    """The reader from the end has seen everything at step 0; at the last step it has seen one step."""
    model, x = made(kind, F, H, bidirectional=True), normal(T, N, F)
    y, state = model(x)
    assert same(h_of(state)[0], y[-1, :, :H]) and same(h_of(state)[1], y[0, :, H:])
    model.return_sequences = model.return_state = False
    last = model(x)
    assert last.shape == (N, 2 * H)
    assert same(last, kn.concat(y[-1, :, :H], y[0, :, H:], axis=-1))
    by_length = model(x, lengths=LENGTHS)
    model.return_sequences = True
    y = model(x, lengths=LENGTHS).numpy()
    ends = np.stack([y[length - 1, n, :H] for n, length in enumerate(LENGTHS)])
    assert same(by_length, np.concatenate([ends, y[0, :, H:]], axis=-1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_backward_direction_is_the_forward_one_on_the_flipped_sequence(kind):
    model, x = made(kind, F, H, bidirectional=True), normal(T, N, F)
    one = made(kind, F, H)
    one.load_state_dict({name: model.param(f"{name}_reverse") for name in one.state_dict()})
    assert same(model(x)[0][..., H:], one(x[::-1].copy())[0][::-1])


@pytest.mark.parametrize("kind", KINDS)
def test_each_parameter_is_there_once(kind):
    model = kind(F, H, num_layers=2, bidirectional=True)
    names = [name for name, _ in model.named_parameters()]
    wanted = [
        f"{part}_l{layer}{end}"
        for layer in (0, 1)
        for end in ("", "_reverse")
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    assert names == wanted and list(model.state_dict()) == wanted
    assert len({id(p) for p in model.parameters()}) == 16
    assert len({id(p.data) for p in model.parameters()}) == 16
    gates = model.gates
    sizes = sum(2 * (gates * H * (width + H) + 2 * gates * H) for width in (F, 2 * H))
    assert sum(p.size for p in model.parameters()) == sizes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sequences", "state"), [(True, True), (True, False), (False, True), (False, False)])
def test_what_is_returned(kind, sequences, state):
    model, x = made(kind, F, H, 2, return_sequences=sequences, return_state=state, batch_first=True), normal(N, T, F)
    answer = model(x)
    y = answer[0] if state else answer
    assert y.shape == ((N, T, H) if sequences else (N, H))
    if state:
        assert h_of(answer[1]).shape == (2, N, H)
    single = model(x[0])
    assert (single[0] if state else single).shape == ((T, H) if sequences else (H,))


@pytest.mark.parametrize("kind", KINDS)
def test_one_call_of_the_kernel_per_layer_and_direction(kind):
    model = kind(F, H, num_layers=2, bidirectional=True)
    with kn.profile() as p:
        model(normal(T, N, F).astype(np.float32), lengths=LENGTHS)
    assert p[{nn.RNN: "rnn", nn.GRU: "gru_gates", nn.LSTM: "lstm_gates"}[kind]].calls == 4


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_lies_between_layers_in_training_alone(kind):
    model, x = made(kind, F, H, 2, dropout=0.5), normal(T, N, F)
    plain = made(kind, F, H, 2)
    plain.load_state_dict(model.state_dict())
    assert same(model.eval()(x)[0], plain(x)[0])
    kn.random.seed(0)
    y, state = model.train()(x)
    dropped, full = made(kind, F, H), made(kind, H, H)
    dropped.load_state_dict({k: v for k, v in plain.state_dict().items() if k.endswith("_l0")})
    full.load_state_dict({k.replace("_l1", "_l0"): v for k, v in plain.state_dict().items() if k.endswith("_l1")})
    kn.random.seed(0)
    first, ends = dropped(x)
    below = kn.dropout(first, p=0.5)
    assert same(y, full(below)[0]) and same(h_of(state)[0], h_of(ends)[0])


@pytest.mark.parametrize("kind", [*KINDS, nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_the_number_of_inputs_is_taken_from_the_first_one(kind):
    lazy = kind(H)
    with pytest.raises(StateError, match="waits for its first input"):
        list(lazy.parameters())
    x = np.ones((1, 2, F) if kind in KINDS else (2, F), np.float32)
    lazy(x)
    assert lazy.input_size == F and lazy.get_config()["input_size"] == F
    other = kind(None, H)
    other.load_state_dict(lazy.state_dict())
    assert same(h_of(other(x)), h_of(lazy(x)))


@pytest.mark.parametrize("kind", KINDS)
def test_made_again_from_its_description(kind):
    model = kind(F, H, 2, bias=False, dropout=0.25, bidirectional=True, return_state=False)
    model.return_sequences = False
    again: Any = nn.build(json.loads(json.dumps(nn.described(model))), nn.MODULES)
    again.load_state_dict(model.state_dict())
    x = np.ones((T, N, F), np.float32)
    assert again.get_config() == model.get_config() and same(again.eval()(x), model.eval()(x))


X = np.ones((T, N, F), np.float32)
ROWS: dict[str, tuple[Callable[[], Any], type[KinoneError], str]] = {
    "features": (lambda: nn.LSTM(F, H)(X[..., :1]), ShapeError, r"\[LSTM\] expected x \(T, N, 2\), or \(T, 2\) of one"),
    "features, batch first": (lambda: nn.RNN(5, H, batch_first=True)(X), ShapeError, r"x \(N, T, 5\).*\(6, 3, 2\)"),
    "rank": (lambda: nn.GRU(F, H)(X[0, 0]), ShapeError, r"got shape \(2,\)"),
    "no step": (lambda: nn.GRU(F, H)(X[:0]), ShapeError, r"a sequence of at least one step"),
    "state": (lambda: nn.GRU(F, H)(X, np.ones((2, N, H), np.float32)), ShapeError, r"h0 of shape \(1, 3, 4\)"),
    "states": (lambda: nn.LSTM(F, H)(X, np.ones((1, N, H))), ArgumentError, r"hx = \(h0, c0\), got 1"),
    "cell state": (
        lambda: nn.LSTM(F, H, bidirectional=True)(X, (np.ones((2, N, H)), np.ones((2, N, 1)))),
        ShapeError,
        r"c0 of shape \(2, 3, 4\): layers × directions, batch, hidden_size, got \(2, 3, 1\)",
    ),
    "a length beyond": (
        lambda: nn.RNN(F, H)(X, lengths=[1, 7, 2]),
        ArgumentError,
        r"from 1 to 6, got 7 \(sequence 1\)",
    ),
    "no length": (lambda: nn.RNN(F, H)(X, lengths=[1, 2, 0]), ArgumentError, r"got 0 \(sequence 2\).*leave it out"),
    "lengths": (lambda: nn.RNN(F, H)(X, lengths=[1, 2]), ShapeError, r"3 lengths, whole numbers, got shape \(2,\)"),
    "broken lengths": (lambda: nn.RNN(F, H)(X, lengths=[1.0, 2.0, 3.0]), ShapeError, r"dtype float64"),
    "mask": (lambda: nn.RNN(F, H)(X, mask=np.ones((N, T), bool)), ShapeError, r"mask of shape \(6, 3\)"),
    "mask of numbers": (lambda: nn.RNN(F, H)(X, mask=np.ones((T, N))), ShapeError, r"dtype bool.*float64"),
    "an empty mask": (lambda: nn.RNN(F, H)(X, mask=np.zeros((T, N), bool)), ArgumentError, r"got 0 \(sequence 0\)"),
    "both": (lambda: nn.RNN(F, H)(X, lengths=[1] * N, mask=np.ones((T, N), bool)), ArgumentError, r"got both"),
    "hidden size": (lambda: nn.LSTM(F, 0), ArgumentError, r"hidden_size to be an integer of at least 1"),
    "input size": (
        lambda: nn.LSTM(2.5, H),
        ArgumentError,
        r"input_size to be int \| None, got input_size=2.5",
    ),
    "layers": (lambda: nn.LSTM(F, H, 0), ArgumentError, r"num_layers"),
    "dropout": (lambda: nn.LSTM(F, H, 2, dropout=1.5), ArgumentError, r"0 ≤ dropout ≤ 1, got dropout=1.5"),
    "dropout of one layer": (
        lambda: nn.LSTM(F, H, dropout=0.5),
        ArgumentError,
        r"two layers or more.*Hint: an nn.Drop",
    ),
    "nonlinearity": (lambda: nn.RNN(F, H, nonlinearity="sin"), ArgumentError, r"'tanh' or 'relu', got 'sin'"),
    "cell": (lambda: nn.GRUCell(F, H)(X[0, :, :1]), ShapeError, r"\[GRUCell\] expected x \(N, 2\)"),
    "cell's state": (
        lambda: nn.LSTMCell(F, H)(X[0], np.ones((N, H))),
        ShapeError,
        r"hx = h, c, each of shape \(3, 4\)",
    ),
    "truncated, both": (lambda: nn.truncated(nn.RNN(F, H, bidirectional=True), X, 2), ArgumentError, r"one direction"),
    "truncated, ends": (
        lambda: nn.truncated(nn.RNN(F, H, return_state=False), X, 2),
        ArgumentError,
        r"a model with return_state=True",
    ),
    "truncated, length": (lambda: nn.truncated(nn.RNN(F, H), X, 0), ArgumentError, r"length, a whole number"),
    "truncated, nothing": (lambda: nn.truncated(nn.RNN(F, H), X[:0], 2), ShapeError, r"at least one step"),
}


@pytest.mark.parametrize(("call", "kind", "match"), ROWS.values(), ids=ROWS)
def test_bad_input_is_refused(call, kind, match):
    with pytest.raises(kind, match=match):
        call()


def test_an_empty_batch_is_an_empty_answer():
    for kind in KINDS:
        y, state = kind(F, H, 2, bidirectional=True)(X[:, :0])
        assert y.shape == (T, 0, 2 * H) and h_of(state).shape == (4, 0, H)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_pieces_give_the_outputs_of_the_whole_sequence(kind, batch_first):
    model, x = made(kind, F, H, 2, batch_first=batch_first), normal(*((N, 7) if batch_first else (7, N)), F)
    whole, end = model(x)
    pieces = list(nn.truncated(model, x, 3))
    assert [at for at, _, _ in pieces] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert same(kn.concat(*(y for _, y, _ in pieces), axis=int(batch_first)), whole)
    state = pieces[-1][2]
    assert same(h_of(state), h_of(end)) and not h_of(state).requires_grad
    further = next(iter(nn.truncated(model, x, 3, hx=state)))[1]
    assert same(further, model(x[:, :3] if batch_first else x[:3], end)[0])


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
