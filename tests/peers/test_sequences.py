"""Layers for sequences beside PyTorch's with the same weights: outputs, states, gradients."""

from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

STEPS, N, FEATURES, H = 6, 4, 3, 5
LENGTHS = [4, 6, 1, 3]
NAMES = ("RNN", "GRU", "LSTM")


def twins(ours: nn.Module, theirs: Any) -> tuple[Any, Any]:
    """Both in float64, ours with the weights of theirs: key by key, none left over."""
    theirs = theirs.double()
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    report = ours.double().load_state_dict(state)
    assert report.is_complete and list(ours.state_dict()) == list(state)
    return ours, theirs


def check(ours: nn.Module, theirs: Any, ys: Any, ts: Any, inputs: Any = ()) -> None:
    """Outputs to 1e-10, gradients of parameters and of pairs of inputs to 1e-8."""
    assert len(ys) == len(ts)
    total: Any = 0.0
    whole: Any = 0.0
    for i, (y, t) in enumerate(zip(ys, ts, strict=True)):
        near(y.numpy(), t.detach().numpy(), 1e-10, f"output {i}")
        weights = np.linspace(0.5, 1.5, y.size).reshape(y.shape)
        total, whole = total + kn.sum(y * weights), whole + (t * torch.tensor(weights)).sum()
    total.backward()
    whole.backward()
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        wanted = gradients.pop(name).grad
        assert (parameter.grad is None) == (wanted is None), name
        if wanted is not None:
            near(parameter.grad.numpy(), wanted.numpy(), 1e-8, name)
    assert not gradients
    for x, t in inputs:
        near(x.grad.numpy(), t.grad.numpy(), 1e-8, "an input")


def near(a: Any, b: Any, limit: float, what: str) -> None:
    assert a.shape == b.shape, f"{what}: {a.shape}, PyTorch's {b.shape}"
    distance = np.linalg.norm(a - b)
    assert distance <= limit * max(np.linalg.norm(b), 0.1), f"{what}: {distance:.3g} apart"


def pair(*shape: int, seed: int = 0) -> tuple[Any, Any]:
    data = np.random.default_rng(seed).standard_normal(shape)
    return kn.Tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)


def flat(answer: Any) -> list[Any]:
    return [part for each in answer for part in (flat(each) if isinstance(each, tuple) else [each])]


RECURRENT: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep": {"num_layers": 3},
    "both": {"bidirectional": True},
    "deep, both": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "no bias": {"num_layers": 2, "bias": False},
}


@pytest.mark.parametrize("has_state", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("attrs", RECURRENT.values(), ids=RECURRENT)
@pytest.mark.parametrize("kind", [*NAMES, "relu"])
def test_recurrent(kind, attrs, lengths, has_state):
    if kind == "relu":
        kind, attrs = "RNN", {**attrs, "nonlinearity": "relu"}
    ours, theirs = twins(getattr(nn, kind)(FEATURES, H, **attrs), getattr(torch.nn, kind)(FEATURES, H, **attrs))
    is_first = attrs.get("batch_first", False)
    x, t = pair(*((N, STEPS) if is_first else (STEPS, N)), FEATURES)
    count = attrs.get("num_layers", 1) * (1 + attrs.get("bidirectional", False))
    states = [pair(count, N, H, seed=i) for i in range(1, 2 + (kind == "LSTM"))] if has_state else []
    hx, ht = (
        (tuple(part) if kind == "LSTM" else part[0] for part in zip(*states, strict=True)) if states else [None] * 2
    )
    packed = t if lengths is None else pack_padded_sequence(t, torch.tensor(lengths), is_first, enforce_sorted=False)
    there, last = theirs(packed, ht)
    if lengths is not None:
        there, _ = pad_packed_sequence(there, is_first, total_length=STEPS)
    check(ours, theirs, flat(ours(x, hx, lengths=lengths)), flat((there, last)), [(x, t), *states])


@pytest.mark.parametrize("kind", NAMES)
def test_one_sequence_without_a_batch(kind):
    ours, theirs = twins(getattr(nn, kind)(FEATURES, H, 2), getattr(torch.nn, kind)(FEATURES, H, 2))
    (x, t), states = pair(STEPS, FEATURES), [pair(2, H, seed=i) for i in range(1, 2 + (kind == "LSTM"))]
    hx, ht = (tuple(part) if kind == "LSTM" else part[0] for part in zip(*states, strict=True))
    check(ours, theirs, flat(ours(x, hx)), flat(theirs(t, ht)), [(x, t), *states])


@pytest.mark.parametrize("attrs", [{}, {"bias": False}, {"nonlinearity": "relu"}])
@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("batch", [(N,), ()])
def test_cells(kind, attrs, batch):
    if kind != "RNN" and "nonlinearity" in attrs:
        attrs = {}
    ours, theirs = twins(
        getattr(nn, f"{kind}Cell")(FEATURES, H, **attrs), getattr(torch.nn, f"{kind}Cell")(FEATURES, H, **attrs)
    )
    (x, t), hx, ht = pair(*batch, FEATURES), None, None
    for _ in range(3):
        hx, ht = ours(x, hx), theirs(t, ht)
    two = kind == "LSTM"
    check(ours, theirs, hx if two else [hx], ht if two else [ht], [(x, t)])


@pytest.mark.parametrize("kind", NAMES)
def test_first_values(kind):
    """Uniform between ±1/√H, biases included: the spread of PyTorch's."""
    kn.random.seed(0)
    torch.manual_seed(0)
    ours, theirs = getattr(nn, kind)(40, 60, 2), getattr(torch.nn, kind)(40, 60, 2)
    for name, t in theirs.named_parameters():
        p = ours.param(name).numpy()
        assert p.dtype == np.float32 and np.abs(p).max() <= 60**-0.5
        if p.ndim == 2:
            assert abs(p.std() / t.std().item() - 1) < 0.05, name


@pytest.mark.parametrize("kind", NAMES)
def test_truncated_gradients_are_those_of_a_loop_that_detaches(kind):
    ours, theirs = twins(getattr(nn, kind)(FEATURES, H, 2), getattr(torch.nn, kind)(FEATURES, H, 2))
    x, t = (part.detach() for part in pair(17, N, FEATURES))
    ends, hx = [], None
    for at, y, _ in nn.truncated(ours, x, 5):
        there, hx = theirs(t[at], hx)
        hx = tuple(h.detach() for h in hx) if kind == "LSTM" else hx.detach()
        check(ours, theirs, [y], [there])
        with torch.no_grad():  # the steps of training between pieces; importing torch.optim takes 20 s
            for parameter in theirs.parameters():
                parameter -= 0.1 * parameter.grad
        theirs.zero_grad()
        ends.append(at.stop)
        with kn.no_grad():
            for parameter in ours.parameters():
                parameter.copy_from(parameter.data - 0.1 * parameter.grad.data)
        ours.zero_grad()
    assert ends == [5, 10, 15, 17]


# ------------------------------------------------------------------------------ attention
L, S, E = 5, 7, 6
HIDDEN = np.random.default_rng(7).random((L, S)) < 0.3
PADDING = np.arange(S) >= np.array([7, 5, 6, 4])[:, None]
SCORES = np.random.default_rng(8).standard_normal((N * 2, L, S))
ATTENTION: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "no bias": ({"bias": False}, {"attn_mask": HIDDEN}),
    "batch first": ({"batch_first": True}, {"key_padding_mask": PADDING}),
    "own widths": ({"kdim": 4, "vdim": 3}, {"attn_mask": HIDDEN, "key_padding_mask": PADDING}),
    "one own width": ({"kdim": 4, "bias": False}, {"average_attn_weights": False}),
    "added": ({}, {"attn_mask": SCORES, "average_attn_weights": False}),
    "added and hidden": ({"batch_first": True}, {"attn_mask": SCORES, "key_padding_mask": PADDING}),
    "more": ({"add_bias_kv": True, "add_zero_attn": True}, {"attn_mask": HIDDEN, "key_padding_mask": PADDING}),
    "more, added": ({"add_zero_attn": True}, {"attn_mask": SCORES}),
}


def given_to_torch(call: dict[str, Any]) -> dict[str, Any]:
    call = {name: torch.tensor(value) if isinstance(value, np.ndarray) else value for name, value in call.items()}
    mask, padding = call.get("attn_mask"), call.get("key_padding_mask")
    if mask is not None and padding is not None and mask.dtype != padding.dtype:  # PyTorch wants one kind
        call["key_padding_mask"] = torch.zeros(padding.shape, dtype=mask.dtype).masked_fill(padding, -torch.inf)
    return call


@pytest.mark.parametrize("needs_weights", [True, False])
@pytest.mark.parametrize(
    ("name", "form"),
    [
        (name, form)
        for name in ATTENTION
        for form in ("cross", "of both", "own")
        if form == "cross" or "width" not in name
    ],
)
def test_attention(name, form, needs_weights):
    attrs, call = ATTENTION[name]
    ours, theirs = twins(nn.MultiheadAttention(E, 2, **attrs), torch.nn.MultiheadAttention(E, 2, **attrs))
    is_first = attrs.get("batch_first", False)
    widths = (E, attrs.get("kdim", E), attrs.get("vdim", E))
    lengths = (S, S, S) if form == "own" else (L, S, S)
    inputs = [
        pair(*((N, n) if is_first else (n, N)), w, seed=i) for i, (n, w) in enumerate(zip(lengths, widths, strict=True))
    ]
    inputs = {"cross": inputs, "of both": [inputs[0], inputs[1], inputs[1]], "own": [inputs[0]] * 3}[form]
    if form == "own" and "attn_mask" in call:
        call = {**call, "attn_mask": np.concatenate([call["attn_mask"]] * 2, axis=-2)[..., :S, :]}
    call = {**call, "need_weights": needs_weights}
    y, weights = ours(*(x for x, _ in inputs), **call)
    there, theirs_weights = theirs(*(t for _, t in inputs), **given_to_torch(call))
    assert (weights is None) == (theirs_weights is None) == (not needs_weights)
    check(ours, theirs, [y, weights][: 1 + needs_weights], [there, theirs_weights][: 1 + needs_weights], inputs)


@pytest.mark.parametrize("is_first", [False, True])
def test_causal_attention(is_first):
    attrs = {"batch_first": is_first}
    ours, theirs = twins(nn.MultiheadAttention(E, 3, **attrs), torch.nn.MultiheadAttention(E, 3, **attrs))
    x, t = pair(*((N, L) if is_first else (L, N)), E)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(L, dtype=torch.float64)
    there = theirs(t, t, t, attn_mask=mask, is_causal=True)
    check(ours, theirs, ours(x, is_causal=True), there, [(x, t)])


def test_attention_without_a_batch():
    ours, theirs = twins(nn.MultiheadAttention(E, 3), torch.nn.MultiheadAttention(E, 3))
    (x, t), (m, n) = pair(L, E), pair(S, E, seed=1)
    padding = np.arange(S) > 4
    given = {"attn_mask": HIDDEN, "key_padding_mask": padding}
    check(ours, theirs, ours(x, m, m, **given), theirs(t, n, n, **given_to_torch(given)), [(x, t), (m, n)])


def test_first_values_of_attention():
    kn.random.seed(0)
    for attrs in ({}, {"kdim": 64, "vdim": 32}):
        ours, theirs = nn.MultiheadAttention(96, 4, **attrs), torch.nn.MultiheadAttention(96, 4, **attrs)
        for name, t in theirs.named_parameters():
            p = ours.param(name).numpy()
            assert abs(p.std() - t.std().item()) < 0.05 * max(t.std().item(), 1e-9), name


# ------------------------------------------------------------------------------ transformers
STACK: dict[str, dict[str, Any]] = {
    "plain": {},
    "norm first": {"norm_first": True, "activation": "gelu"},
    "batch first": {"batch_first": True, "bias": False},
}
CAUSAL = np.triu(np.ones((L, L), bool), 1)


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("attrs", STACK.values(), ids=STACK)
def test_encoder(attrs, is_training):
    attrs = {"dropout": 0.0 if is_training else 0.5, "dim_feedforward": 10, **attrs}
    is_first, has_bias = attrs.get("batch_first", False), attrs.get("bias", True)
    layer, other = nn.TransformerEncoderLayer(E, 2, **attrs), torch.nn.TransformerEncoderLayer(E, 2, **attrs)
    norm, norm_there = nn.LayerNorm(E, bias=has_bias), torch.nn.LayerNorm(E, bias=has_bias)
    made = torch.nn.TransformerEncoder(other, 2, norm_there, enable_nested_tensor=False)
    ours, theirs = twins(nn.TransformerEncoder(layer, 2, norm), made)
    ours.train(is_training)
    theirs.train(is_training)
    (x, t), padding = pair(*((N, L) if is_first else (L, N)), E), PADDING[:, 2:]
    there = theirs(t, torch.tensor(CAUSAL), torch.tensor(padding))
    check(ours, theirs, [ours(x, src_key_padding_mask=padding, is_causal=True)], [there], [(x, t)])


@pytest.mark.parametrize("attrs", STACK.values(), ids=STACK)
def test_decoder(attrs):
    attrs = {"dropout": 0.0, "dim_feedforward": 10, **attrs}
    is_first = attrs.get("batch_first", False)
    layer, other = nn.TransformerDecoderLayer(E, 2, **attrs), torch.nn.TransformerDecoderLayer(E, 2, **attrs)
    ours, theirs = twins(nn.TransformerDecoder(layer, 2), torch.nn.TransformerDecoder(other, 2))
    (x, t), (m, n) = (pair(*((N, k) if is_first else (k, N)), E, seed=k) for k in (L, S))
    given = {"memory_mask": HIDDEN, "memory_key_padding_mask": PADDING, "tgt_key_padding_mask": PADDING[:, 2:]}
    there = theirs(t, n, torch.tensor(CAUSAL), **{name: torch.tensor(mask) for name, mask in given.items()})
    check(ours, theirs, [ours(x, m, tgt_is_causal=True, **given)], [there], [(x, t), (m, n)])


@pytest.mark.filterwarnings(
    "ignore:enable_nested_tensor is True:UserWarning", "ignore:Support for mismatched:UserWarning"
)
@pytest.mark.parametrize("attrs", STACK.values(), ids=STACK)
def test_transformer(attrs):
    attrs = {"num_encoder_layers": 2, "num_decoder_layers": 1, "dim_feedforward": 10, "dropout": 0.0, **attrs}
    is_first = attrs.get("batch_first", False)
    ours, theirs = twins(nn.Transformer(E, 2, **attrs), torch.nn.Transformer(E, 2, **attrs))
    (x, t), (m, n) = (pair(*((N, k) if is_first else (k, N)), E, seed=k) for k in (L, S))
    mask = nn.Transformer.generate_square_subsequent_mask(L)
    same = torch.nn.Transformer.generate_square_subsequent_mask(L)
    np.testing.assert_array_equal(mask, same.numpy())
    there = theirs(n, t, tgt_mask=same.double(), src_key_padding_mask=torch.tensor(PADDING))
    check(ours, theirs, [ours(m, x, tgt_mask=mask, src_key_padding_mask=PADDING)], [there], [(x, t), (m, n)])
