"""Recurrent layers: lengths, masks, directions, states, and what they refuse."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn
from kinone.errors import ArgumentError, KinoneError, ShapeError, StateError
from sequence_samples import F, H, N, T, made, normal, same

KINDS = (nn.RNN, nn.GRU, nn.LSTM)
LENGTHS = np.array([4, 6, 1])


def h_of(state: Any) -> Any:
    return state[0] if isinstance(state, tuple) else state


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
