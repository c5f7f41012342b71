"""Two hundred training steps of three small networks, written on the operators: a digest of every bit of their weights.

python tests/training.py
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import kinone as kn
from digests import digest

STEPS = 200


class Weights:
    """Parameters, made in order from one stream, and the optimizer's step over all of them."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(3)
        self.all: list[Any] = []

    def __call__(self, *shape: int) -> Any:
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.0
        self.all.append(kn.Tensor((self.rng.standard_normal(shape) * scale).astype(np.float32), requires_grad=True))
        return self.all[-1]

    def ones(self, size: int) -> Any:
        self.all.append(kn.Tensor(np.ones(size, np.float32), requires_grad=True))
        return self.all[-1]


def trained(weights: Weights, losses: Iterator[Any], lr: float) -> list[Any]:
    """SGD with momentum; the losses of all steps, and the weights at the end."""
    momenta = [np.zeros_like(w.data) for w in weights.all]
    seen = []
    for _ in range(STEPS):
        loss = next(losses)
        loss.backward()
        for w, m in zip(weights.all, momenta, strict=True):
            m *= np.float32(0.9)
            m += w.grad.data
            w.data -= np.float32(lr) * m
            w.grad = None
        seen.append(loss.item())
    assert np.isfinite(seen).all() and np.mean(seen[-10:]) < 0.8 * np.mean(seen[:10]), "it does not learn"
    return [np.array(seen), *(w.data for w in weights.all)]


def convolutional() -> list[Any]:
    """Convolutions (3×3, strided, 1×1, depthwise), batch norm with ReLU, pooling."""
    w = Weights()
    c1, c2, c3, c4 = w(16, 2, 3, 3), w(32, 16, 3, 3), w(32, 1, 3, 3), w(24, 32, 1, 1)
    norms = [(w.ones(n), w(n)) for n in (16, 32, 32, 24)]
    head = w(5, 24), w(5)
    x = w.rng.standard_normal((40, 2, 13, 11)).astype(np.float32)
    target = np.argmax(x.mean((2, 3)) @ w.rng.standard_normal((2, 5)), axis=1)

    def losses() -> Iterator[Any]:
        step = 0
        while True:
            rows = np.arange(step * 8, step * 8 + 8) % 40
            y = kn.relu(kn.batch_norm(kn.conv2d(x[rows], c1, padding=1), *norms[0])[0])
            y = kn.max_pool2d(y, kernel_size=2)
            y = kn.relu(kn.batch_norm(kn.conv2d(y, c2, padding=1, stride=2), *norms[1])[0])
            y = kn.silu(kn.batch_norm(kn.conv2d(y, c3, padding=1, groups=32), *norms[2])[0])
            y = kn.gelu(kn.batch_norm(kn.conv2d(y, c4), *norms[3])[0])
            yield kn.cross_entropy(kn.linear(kn.mean(y, axis=(2, 3)), *head), target[rows])
            step += 1

    return trained(w, losses(), 0.05)


def recurrent() -> list[Any]:
    """An LSTM that finds which of its inputs was the largest in sum."""
    w = Weights()
    weights = w(4 * 24, 6), w(4 * 24, 24), w(4 * 24), w(4 * 24)
    head = w(6, 24), w(6)
    x = w.rng.standard_normal((12, 40, 6)).astype(np.float32)
    target = np.argmax(x.sum(0), axis=1)
    zeros = np.zeros((10, 24), np.float32)

    def losses() -> Iterator[Any]:
        step = 0
        while True:
            rows = np.arange(step * 10, step * 10 + 10) % 40
            _, h, _ = kn.lstm(np.ascontiguousarray(x[:, rows]), zeros, zeros, *weights)
            yield kn.cross_entropy(kn.linear(h, *head), target[rows])
            step += 1

    return trained(w, losses(), 0.1)


def transformer() -> list[Any]:
    """A block of a transformer with dropout that learns to copy the token before."""
    w = Weights()
    width, heads, length, tokens = 32, 4, 20, 11
    table, places = w(tokens, width), w(length, width)
    qkv, out, up, down = (w(3 * width, width), w(3 * width)), (w(width, width), w(width)), (w(64, width), w(64)), (
        w(width, 64), w(width))  # fmt: skip
    norms = [(w.ones(width), w(width)) for _ in range(3)]
    head = w(tokens, width), w(tokens)
    text = w.rng.integers(0, tokens, (32, length))

    def split(x: Any) -> Any:
        return kn.permute_dims(kn.reshape(x, (-1, length, heads, width // heads)), (0, 2, 1, 3))

    def losses() -> Iterator[Any]:
        step = 0
        kn.random.seed(5)
        while True:
            rows = text[np.arange(step * 8, step * 8 + 8) % 32]
            x = kn.embedding(rows, table) + places
            z = kn.linear(kn.layer_norm(x, *norms[0]), *qkv)
            y, _ = kn.attention(*(split(z[..., i * width : (i + 1) * width]) for i in range(3)), is_causal=True)
            x = x + kn.linear(kn.reshape(kn.permute_dims(y, (0, 2, 1, 3)), (8, length, width)), *out)
            x = x + kn.dropout(kn.linear(kn.gelu(kn.linear(kn.layer_norm(x, *norms[1]), *up)), *down), p=0.1)
            logits = kn.linear(kn.layer_norm(x, *norms[2]), *head)
            yield kn.cross_entropy(kn.reshape(logits[:, 1:], (-1, tokens)), rows[:, :-1].ravel())
            step += 1

    return trained(w, losses(), 0.1)


NETWORKS: dict[str, Callable[[], list[Any]]] = {
    "convolutional": convolutional,
    "recurrent": recurrent,
    "transformer": transformer,
}

if __name__ == "__main__":
    print(json.dumps({name: digest(network()) for name, network in NETWORKS.items()}, indent=1))
