"""Models of sequences: what they generate, what they are made of, and what they refuse."""

import json
from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import models, nn
from kinone.errors import KinoneError
from kinone.kernels import dispatch
from kinone.random import Stream, stream

IS_NATIVE = dispatch.implementation()[0] == "native"
TEXT = "the roots of a tree are read, checked and replayed"
ALPHABET = "".join(sorted(set(TEXT)))


def gpt(**attrs: Any) -> models.GPT:
    kn.random.seed(0)
    return models.GPT(11, **{"embed_dim": 16, "num_layers": 2, "num_heads": 2, "context_length": 32, **attrs})


def character(**attrs: Any) -> models.CharacterRNN:
    kn.random.seed(0)
    return models.CharacterRNN(ALPHABET, **{"hidden_size": 12, **attrs})


# ------------------------------------------------------------------------------ drawing tokens
def test_samples_follow_the_probabilities():
    logits = np.log([[0.1, 0.2, 0.7]]).repeat(20000, axis=0)
    for temperature, wanted in ((1.0, [0.1, 0.2, 0.7]), (0.5, np.array([1, 4, 49]) / 54), (2.0, None)):
        wanted = np.sqrt([0.1, 0.2, 0.7]) / np.sqrt([0.1, 0.2, 0.7]).sum() if wanted is None else wanted
        drawn = nn.sample(kn.Tensor(logits), temperature, source=Stream("test", seed=1))
        np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 20000, wanted, atol=0.015)
    kept = nn.sample(logits, top_k=2, source=Stream("test", seed=1))
    np.testing.assert_allclose(np.bincount(kept, minlength=3) / 20000, [0, 2 / 9, 7 / 9], atol=0.015)


def test_samples_at_the_edges():
    row = np.array([[1.0, 3.0, 3.0, 0.0]])
    assert nn.sample(row, temperature=0).tolist() == [1]  # the first of two
    assert nn.sample(row, top_k=1).tolist() == [1] and row.tolist() == [[1.0, 3.0, 3.0, 0.0]]
    assert set(nn.sample(row.repeat(99, axis=0), top_k=9).tolist()) == {0, 1, 2, 3}
    forbidden = np.array([[-np.inf, 0.0, -np.inf, 0.0, -np.inf]]).repeat(999, axis=0)
    assert set(nn.sample(forbidden).tolist()) == {1, 3}
    assert nn.sample(np.array([1e4, -1e4, 0.0])).tolist() == 0
    assert nn.sample(np.zeros((2, 3, 4))).shape == (2, 3)


def test_samples_replay_and_take_one_step_of_their_stream():
    kn.random.seed(5)
    first = [nn.sample(np.zeros((4, 9))).tolist() for _ in range(3)]
    assert stream("sample").step == 3 and first[0] != first[1]
    kn.random.seed(5)
    assert [nn.sample(np.zeros((4, 9))).tolist() for _ in range(3)] == first


# ------------------------------------------------------------------------------ GPT
@pytest.mark.parametrize("positions", ["rotary", "learned", "sinusoidal"])
@pytest.mark.parametrize("is_training", [True, False])
def test_generating_is_the_whole_model_again_and_again(positions, is_training):
    model = gpt(positions=positions, dropout=0.1).double().train(is_training)
    tokens = model.generate(np.array([[1, 2, 3], [4, 5, 6]]), 9, top_k=5, source=Stream("test"))
    source, slow = Stream("test"), np.array([[1, 2, 3], [4, 5, 6]])
    model.eval()
    with kn.no_grad():
        for _ in range(9):
            slow = np.concatenate([slow, nn.sample(model(slow)[:, -1], top_k=5, source=source)[:, None]], axis=1)
    assert tokens.tolist() == slow.tolist() and tokens.dtype == np.int64
    assert (
        model.generate([1, 2, 3], 9, temperature=0).tolist()
        == model.generate([[1, 2, 3]], 9, temperature=0)[0].tolist()
    )


def test_generating_leaves_the_model_as_it_was():
    model = gpt(dropout=0.5)
    model.layers[1].eval()
    model.generate([1], 3)
    assert model.training and model.layers[0].training and not model.layers[1].training
    assert model(np.array([1])).requires_grad


@pytest.mark.parametrize("positions", ["rotary", "learned", "sinusoidal"])
def test_logits_with_a_cache_are_those_without(positions):
    model, tokens = gpt(positions=positions).eval(), np.random.default_rng(0).integers(0, 11, (2, 12))
    cache = nn.KVCache()
    with kn.no_grad():
        whole = model(tokens).numpy()
        parts = [model(tokens[:, a:b], cache).numpy() for a, b in ((0, 5), (5, 6), (6, 7), (7, 12))]
    assert len(cache) == 12
    if IS_NATIVE:
        assert np.array_equal(np.concatenate(parts, axis=1), whole)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-6)


def test_a_sequence_ends_with_its_stop():
    model = gpt()
    kn.random.seed(3)
    free = model.generate([[1], [2], [3]], 20)
    kn.random.seed(3)
    ended = model.generate([[1], [2], [3]], 20, stop=4)
    assert (free == 4).any()
    for row, other in zip(ended, free, strict=True):
        at = int(np.argmax(other == 4)) if (other == 4).any() else len(other)
        assert row[: at + 1].tolist() == other[: at + 1].tolist() and set(row[at:].tolist()) <= {4}
    alone = model.generate([1], 20, temperature=0, stop=int(model.generate([1], 1, temperature=0)[1]))
    assert len(alone) == 2


def test_the_tied_head_learns_as_one():
    tied, untied = gpt(), gpt(is_tied=False)
    names = [name for name, _ in tied.named_parameters()]
    assert "head.weight" not in names and "head.weight" in untied.state_dict()
    untied.load_state_dict({**tied.state_dict(), "head.weight": tied.embedding.weight})
    tokens = np.array([[1, 2, 3]])
    for model in (tied, untied):
        kn.sum(model(tokens) ** 2).backward()
    both = untied.embedding.weight.grad.numpy() + untied.head.weight.grad.numpy()
    np.testing.assert_allclose(tied.embedding.weight.grad.numpy(), both, rtol=1e-4, atol=1e-6)


def test_first_values_of_gpt():
    model = models.GPT(50, embed_dim=64, num_layers=8, num_heads=4)
    for name, p in model.named_parameters():
        std = 0.02 / sqrt(16) if name.endswith(("out_proj.weight", "linear2.weight")) else 0.02
        if p.ndim > 1:
            assert abs(p.numpy().std() / std - 1) < 0.1, name
        else:
            assert set(p.numpy().tolist()) == ({0.0} if name.endswith("bias") else {1.0})
    first, second = model.layers[0], model.layers[1]
    assert not np.array_equal(first.linear1.weight.data, second.linear1.weight.data)


# ------------------------------------------------------------------------------ the character model
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_a_text_in_pieces_is_the_text(kind):
    model = character(kind=kind, num_layers=2)
    tokens = model.encode(TEXT)[None]
    assert model.decode(tokens) == TEXT
    whole, _ = model(tokens)
    pieces = [logits for _, logits, _ in nn.truncated(model, tokens, 7)]
    assert np.array_equal(kn.concat(*pieces, axis=1).data, whole.data)


def test_generated_text_replays_and_begins_with_the_prompt():
    model = character(dropout=0.3)
    kn.random.seed(1)
    text = model.generate("the ", 30, temperature=0.8, top_k=5)
    assert len(text) == 34 and text.startswith("the ") and model.training
    assert text != model.generate("the ", 30, temperature=0.8, top_k=5)
    kn.random.seed(1)
    assert text == model.generate("the ", 30, temperature=0.8, top_k=5)
    assert model.generate("t", 5, temperature=0) == model.generate("t", 5, top_k=1)


def test_it_learns_a_sentence_by_heart():
    model = character(hidden_size=32)
    tokens = model.encode(TEXT)[None]
    for _ in range(150):
        loss = kn.cross_entropy(kn.reshape(model(tokens[:, :-1])[0], (-1, len(ALPHABET))), tokens[0, 1:])
        loss.backward()
        with kn.no_grad():
            for p in model.parameters():
                p.copy_from(p.data - 0.1 * np.sign(p.grad.data) * np.minimum(np.abs(p.grad.data), 0.1) * 10)
        model.zero_grad()
    assert model.generate(TEXT[:4], len(TEXT) - 4, temperature=0) == TEXT


# ------------------------------------------------------------------------------ what all have in common
MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "GPT": (lambda: gpt(dropout=0.1, activation=kn.silu, is_tied=False, positions="learned"), np.array([[1, 2, 3]])),
    "CharacterRNN": (lambda: character(kind="gru", dropout=0.1, num_layers=2), np.array([[1, 2, 3]])),
    "VisionTransformer": (
        lambda: models.VisionTransformer(4, 2, 1, 2, 8, 12, 0.1, 0.1, num_classes=3, in_channels=1),
        np.ones((2, 1, 4, 4), np.float32),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_an_architecture_and_a_state_make_the_same_model(name):
    make, x = MODELS[name]
    model = make()
    kinds = {**nn.MODULES, **models.MODULES}
    again: Any = nn.build(json.loads(json.dumps(nn.described(model))), kinds)
    assert again.load_state_dict(model.state_dict()).is_complete and again.get_config() == model.get_config()
    for mode in (True, False):
        answers = []
        for each in (model, again):
            kn.random.seed(0)
            y = each.train(mode)(x)
            answers.append(np.asarray((y[0] if isinstance(y, tuple) else y).data))
        assert np.array_equal(*answers)


def test_keys_of_the_vision_transformer_are_torchvisions():
    keys = list(models.VisionTransformer(8, 2, 12, 2, 8, 8).state_dict())
    assert keys[:4] == ["class_token", "conv_proj.weight", "conv_proj.bias", "encoder.pos_embedding"]
    assert keys[-4:] == ["encoder.ln.weight", "encoder.ln.bias", "heads.head.weight", "heads.head.bias"]
    block = [f"{part}.{name}" for part in ("ln_1",) for name in ("weight", "bias")]
    block += [
        f"self_attention.{name}" for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
    ]
    block += [f"{part}.{name}" for part in ("ln_2", "mlp.0", "mlp.3") for name in ("weight", "bias")]
    assert keys[4:-4] == [f"encoder.layers.encoder_layer_{i}.{name}" for i in range(12) for name in block]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "temperature": (lambda: nn.sample([0.0], temperature=-1), r"temperature ≥ 0, got -1"),
    "top_k": (lambda: nn.sample([0.0], top_k=0), r"top_k, a whole number of at least 1"),
    "no classes": (lambda: nn.sample(np.zeros((2, 0))), r"logits \(…, classes\), got shape \(2, 0\)"),
    "nan": (lambda: nn.sample([np.nan, 0.0]), r"logits with a highest one, got nan"),
    "nothing possible": (lambda: nn.sample([-np.inf, -np.inf]), r"logits with a highest one, got -inf"),
    "positions": (lambda: gpt(positions="none"), r"positions 'rotary', 'learned' or 'sinusoidal', got 'none'"),
    "learned": (lambda: gpt(positions="learned", context_length=None), r"a context_length"),
    "heads": (lambda: gpt(num_heads=3), r"num_heads that divides embed_dim=16, got num_heads=3"),
    "too long": (lambda: gpt()(np.zeros((1, 33), int)), r"at most context_length=32 tokens, got 33"),
    "too long in the end": (lambda: gpt().generate([1, 2], 31), r"got 33 \(2 and 31 new ones\)"),
    "tokens": (lambda: gpt()(np.zeros((1, 2, 3), int)), r"tokens \(N, T\), or \(T,\) of one sequence"),
    "no tokens": (lambda: gpt().generate([], 3), r"at least one token to begin with"),
    "beyond": (lambda: gpt()(np.array([11])), r"indices from 0 to 10, got 11"),
    "fractions": (lambda: gpt().generate([0.5], 3), r"indices of an integer dtype"),
    "alphabet": (lambda: models.CharacterRNN("aab"), r"an alphabet, each character once, got 'aab'"),
    "kind": (lambda: character(kind="elman"), r"kind 'rnn', 'gru', 'lstm', got 'elman'"),
    "unknown": (lambda: character().encode("xyz!"), r"characters of the alphabet, got '!', 'x', 'z'"),
    "no prompt": (lambda: character().generate("", 3), r"a prompt of at least one character"),
    "length": (lambda: character().generate("t", -1), r"length to be an integer of at least 0"),
    "patches": (lambda: models.VisionTransformer(8, 3, 1, 2, 8, 8), r"a patch_size that divides image_size=8"),
    "picture": (
        lambda: models.VisionTransformer(8, 2, 1, 2, 8, 8)(np.ones((1, 3, 8, 9), np.float32)),
        r"x \(N, 3, 8, 8\), got shape \(1, 3, 8, 9\)",
    ),
}


@pytest.mark.parametrize(("call", "match"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused(call, match):
    with pytest.raises(KinoneError, match=match):
        call()
