"""CharacterRNN: which character comes next, as a recurrent network knows it from all before."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.errors import ArgumentError
from kinone.nn import GRU, LSTM, RNN, Dropout, Embedding, Linear, Module
from kinone.nn.layer import count
from kinone.nn.sampling import generating, sample
from kinone.random import Stream

_KINDS = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


class CharacterRNN(Module):
    """logits = W·rnn(embedding(tokens), state) + b: tokens (N, T) → logits (N, T, characters) and the state after them.

    `alphabet` is a text of the characters that it knows, each once; tokens are their numbers. `kind` is "lstm", "gru"
    or "rnn". The state goes into the next call, so a long text may come in pieces: `nn.truncated`.

    >>> model = CharacterRNN("abc", hidden_size=8)
    >>> logits, state = model(model.encode("abacab")[None])
    >>> logits.shape, len(model.generate("ab", 10))
    ((1, 6, 3), 12)
    """

    batch_first = True

    def __init__(
        self, alphabet: str, hidden_size: int = 128, num_layers: int = 1, kind: str = "lstm",
        embedding_dim: int | None = None, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        if not isinstance(alphabet, str) or not alphabet or len(set(alphabet)) < len(alphabet):
            hint = 'of a text: "".join(sorted(set(text))).'
            raise ArgumentError("CharacterRNN", "an alphabet, each character once", repr(alphabet), hint=hint)
        if kind not in _KINDS:
            raise ArgumentError("CharacterRNN", f"kind {', '.join(map(repr, _KINDS))}", repr(kind))
        self.alphabet, self.kind = alphabet, kind
        self.hidden_size, self.num_layers = count("CharacterRNN", "hidden_size", hidden_size), num_layers
        self.embedding = Embedding(len(alphabet), hidden_size if embedding_dim is None else embedding_dim)
        inputs, between = self.embedding.embedding_dim, dropout if num_layers > 1 else 0.0
        self.rnn = _KINDS[kind](inputs, hidden_size, num_layers, batch_first=True, dropout=between)
        self.dropout = Dropout(dropout)
        self.head = Linear(hidden_size, len(alphabet))

    def time_axis(self, tokens: Any) -> int:
        """Which axis of the tokens is time."""
        return tokens.ndim - 1

    def forward(self, tokens: Any, state: Any = None) -> tuple[Any, Any]:
        y, state = self.rnn(self.embedding(tokens), state)
        return self.head(self.dropout(y)), state

    def encode(self, text: str) -> NDArray[np.int64]:
        """The numbers of the characters."""
        numbers = {character: i for i, character in enumerate(self.alphabet)}
        unknown = sorted({character for character in text if character not in numbers})
        if unknown:
            got = ", ".join(map(repr, unknown[:5]))
            raise ArgumentError("CharacterRNN.encode", "characters of the alphabet", got)
        return np.array([numbers[character] for character in text], np.int64)

    def decode(self, tokens: Any) -> str:
        """The characters of the numbers."""
        return "".join(self.alphabet[i] for i in np.asarray(tokens).reshape(-1))

    def generate(
        self, prompt: str, length: int, temperature: float = 1.0, top_k: int | None = None,
        source: Stream | None = None,
    ) -> str:  # fmt: skip
        """The prompt and `length` more characters, drawn one after the other as `nn.sample` does."""
        if not prompt:
            raise ArgumentError("CharacterRNN.generate", "a prompt of at least one character", "''")
        text, state, tokens = prompt, None, self.encode(prompt)[None]
        with generating(self):
            for _ in range(count("CharacterRNN.generate", "length", length, 0)):
                logits, state = self(tokens, state)
                tokens = sample(logits[:, -1], temperature, top_k, source)[:, None]
                text += self.decode(tokens)
        return text
