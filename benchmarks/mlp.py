"""A small network's step, and what a call costs beside its arithmetic."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from backends import Backend, Kinone, Torch
from harness import Call, Work

SIZES, BATCH, CHAIN = (784, 256, 128, 10), 64, 1000


def _step(b: Backend) -> Call:
    rng = np.random.default_rng(0)
    layers = [(b.parameter(rng.standard_normal((n, m)) / np.sqrt(m)), b.parameter(np.zeros(n)))
              for m, n in itertools.pairwise(SIZES)]  # fmt: skip
    x, target = b.constant(rng.standard_normal((BATCH, SIZES[0]))), rng.integers(0, 10, BATCH)

    def step() -> Any:
        y = x
        for i, layer in enumerate(layers):
            y = b.linear(y, *layer)
            y = b.relu(y) if i + 1 < len(layers) else y
        loss = b.cross_entropy(y, target)
        b.backward(loss)
        b.adam(1e-3)
        return loss

    return step


# ------------------------------------------------------------------------------ a chain of calls on one number
def _chain(make: Callable[[], Any], tanh: Callable[[Any], Any], back: Callable[[Any, Any], Any] | None) -> Call:
    def run() -> Any:
        leaf = make()
        y = leaf
        for _ in range(CHAIN):
            y = tanh(y)
        return back(y, leaf) if back else y

    return run


def _overhead(is_trained: bool) -> dict[str, Callable[[], Call]]:
    one = np.ones((), np.float32)

    def kinone() -> Call:
        import kinone as kn

        back = (lambda y, leaf: y.backward()) if is_trained else None
        return _chain(lambda: kn.Tensor(one, requires_grad=True), kn.tanh, back)

    def torch() -> Call:
        import torch

        back = (lambda y, leaf: y.backward()) if is_trained else None
        return _chain(lambda: torch.ones((), requires_grad=True), torch.tanh, back)

    def mygrad() -> Call:
        import mygrad

        back = (lambda y, leaf: y.backward()) if is_trained else None
        return _chain(lambda: mygrad.tensor(1.0), mygrad.tanh, back)

    def autograd() -> Call:
        import autograd

        def chain(x: Any) -> Any:
            for _ in range(CHAIN):
                x = autograd.numpy.tanh(x)
            return x

        gradient = autograd.grad(chain)
        return (lambda: gradient(1.0)) if is_trained else (lambda: autograd.core.make_vjp(chain, 1.0))

    return {"kinone": kinone, "torch": torch, "mygrad": mygrad, "autograd": autograd}


WORKS = [
    Work("MLP 784-256-128-10, batch 64, Adam step",
         {"kinone": lambda: _step(Kinone()), "torch": lambda: _step(Torch())},
         6.0 * BATCH * sum(m * n for m, n in itertools.pairwise(SIZES)), target=1.0, moonshot=1.5),
    Work("1,000 recorded calls of tanh on a scalar", _overhead(False), target=1.0, moonshot=1.5),
    Work("1,000 recorded calls of tanh on a scalar, and backward", _overhead(True), target=1.0, moonshot=1.5),
]  # fmt: skip
