"""Recurrent networks beside PyTorch's: values and gradients, packed sequences and both directions included."""

from typing import Any

import numpy as np
import pytest

import kinone as kn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

from peers.compare import compare  # noqa: E402

STEPS, N, FEATURES, H = 7, 5, 3, 4
LENGTHS = [4, 7, 1, 6, 4]
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tanh": (torch.nn.RNN, {}),
    "relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
    "gru": (torch.nn.GRU, {}),
    "lstm": (torch.nn.LSTM, {}),
}
GATES = {"gru": 3, "lstm": 4}


def ours(kind: str, arrays: Any, lengths: Any, is_reversed: bool) -> Any:
    given = (*arrays, *((None, None) if len(arrays) < 6 + (kind == "lstm") else ()), lengths)
    if kind == "lstm":
        return kn.lstm(*given, is_reversed=is_reversed)
    if kind == "gru":
        return kn.gru(*given, is_reversed=is_reversed)
    return kn.rnn(*given, nonlinearity=kind, is_reversed=is_reversed)


def theirs(kind: str, arrays: Any, lengths: Any, is_reversed: bool) -> Any:
    """The direction in question of a module in both, whose other half is left idle."""
    make, attrs = KINDS[kind]
    x, *states = arrays[: 2 + (kind == "lstm")]
    weights = arrays[len(states) + 1 :]
    module = make(FEATURES, H, bias=len(weights) == 4, bidirectional=True, dtype=x.dtype, **attrs)
    names = [name for name, _ in module.named_parameters() if name.endswith("_reverse") == is_reversed]
    parameters = dict(zip(names, weights, strict=True))
    both = [torch.stack([torch.zeros_like(s), s] if is_reversed else [s, torch.zeros_like(s)]) for s in states]
    packed = x if lengths is None else pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    hx = tuple(both) if kind == "lstm" else both[0]
    y, last = torch.func.functional_call(module, parameters, (packed, hx))
    if lengths is not None:
        y, _ = pad_packed_sequence(y, total_length=STEPS)
    last = last if kind == "lstm" else (last,)
    half = int(is_reversed)
    return (y[..., half * H : (half + 1) * H], *(part[half] for part in last))


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_recurrent(kind, has_bias, lengths, is_reversed):
    rng = np.random.default_rng(31)
    rows = GATES.get(kind, 1) * H
    shapes = [(STEPS, N, FEATURES), *[(N, H)] * (1 + (kind == "lstm")), (rows, FEATURES), (rows, H)]
    arrays = [rng.standard_normal(shape) for shape in [*shapes, *[(rows,)] * 2 * has_bias]]
    whole = None if lengths is None else np.array(lengths)
    compare(
        lambda *xs: ours(kind, xs, whole, is_reversed),
        lambda *xs: theirs(kind, xs, lengths, is_reversed),
        *arrays,
    )
