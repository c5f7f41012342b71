"""Recurrent nets and transformers, forward and backward."""

from typing import Any

import numpy as np
from backends import Backend, Kinone, Torch
from harness import Call, Work


# ------------------------------------------------------------------------------ recurrent nets, one layer
def _inputs(kind: str, batch: int, steps: int, size: int, hidden: int) -> tuple[np.ndarray, ...]:
    rng, gates = np.random.default_rng(0), {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    x = rng.standard_normal((steps, batch, size), np.float32)
    shapes = (gates * hidden, size), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,)
    return x, *(rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(hidden)) for shape in shapes)


def _kinone_recurrent(kind: str, *sizes: int) -> Call:
    import kinone as kn

    x, *weights = (kn.Tensor(a, requires_grad=True) for a in _inputs(kind, *sizes))
    zeros = np.zeros((sizes[0], sizes[3]), np.float32)
    states = (zeros, zeros) if kind == "lstm" else (zeros,)
    g = np.ones((sizes[1], sizes[0], sizes[3]), np.float32)

    def step() -> Any:
        y = getattr(kn, kind)(x, *states, *weights)[0]
        y.backward(g)
        for leaf in (x, *weights):
            leaf.grad = None
        return y

    return step


def _torch_recurrent(kind: str, *sizes: int) -> Call:
    import torch

    x, *weights = map(torch.from_numpy, _inputs(kind, *sizes))
    layer: Any = getattr(torch.nn, kind.upper())(sizes[2], sizes[3])
    with torch.no_grad():
        for own, weight in zip(layer.parameters(), weights, strict=True):
            own.copy_(weight)
    x.requires_grad_()
    g = torch.ones(sizes[1], sizes[0], sizes[3])

    def step() -> Any:
        y = layer(x)[0]
        y.backward(g)
        x.grad = None
        layer.zero_grad(set_to_none=True)
        return y

    return step


def _recurrent(kind: str, *sizes: int) -> Work:
    batch, steps, size, hidden = sizes
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    operations = 3 * 2.0 * batch * steps * gates * hidden * (size + hidden)
    peers = {"kinone": lambda: _kinone_recurrent(kind, *sizes), "torch": lambda: _torch_recurrent(kind, *sizes)}
    name = f"{kind.upper()} {batch}×{steps}×{size}→{hidden}, forward + backward"
    return Work(name, peers, operations, target=1.5, moonshot=2, has_memory=True)


# ------------------------------------------------------------------------------ a transformer
def _transformer(b: Backend, blocks: int, width: int, heads: int, batch: int, length: int) -> Call:
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> tuple[Any, Any]:
        return b.parameter(rng.standard_normal(shape) / np.sqrt(shape[1])), b.parameter(np.zeros(shape[0]))

    layers = [
        {"norm1": (b.parameter(np.ones(width)), b.parameter(np.zeros(width))),
         "norm2": (b.parameter(np.ones(width)), b.parameter(np.zeros(width))),
         "qkv": weights(3 * width, width), "out": weights(width, width),
         "up": weights(4 * width, width), "down": weights(width, 4 * width)}
        for _ in range(blocks)
    ]  # fmt: skip
    x0 = b.parameter(rng.standard_normal((batch, length, width)))

    def step() -> Any:
        x = x0
        for layer in layers:
            q, k, v = b.chunks(b.linear(b.layer_norm(x, *layer["norm1"]), *layer["qkv"]), 3)
            y = b.attention(*(b.split_heads(t, heads) for t in (q, k, v)))
            x = x + b.linear(b.join_heads(y), *layer["out"])
            x = x + b.linear(b.gelu(b.linear(b.layer_norm(x, *layer["norm2"]), *layer["up"])), *layer["down"])
        b.backward(x.sum())
        for p in b.parameters:
            p.grad = None
        return x

    return step


_SHAPE = {"blocks": 4, "width": 256, "heads": 8, "batch": 8, "length": 128}
_TOKENS = _SHAPE["batch"] * _SHAPE["length"]
_PRODUCTS = 4 * (2.0 * _TOKENS * 12 * 256**2 + 4.0 * _TOKENS * 128 * 256)

WORKS = [
    _recurrent("lstm", 32, 64, 128, 256),
    _recurrent("gru", 32, 64, 128, 256),
    _recurrent("rnn", 32, 64, 128, 256),
    Work("4 transformer blocks d 256, 8×128 tokens, forward + backward",
         {"kinone": lambda: _transformer(Kinone(), **_SHAPE), "torch": lambda: _transformer(Torch(), **_SHAPE)},
         3 * _PRODUCTS, target=1.8, moonshot=2.3, has_memory=True),
]  # fmt: skip
