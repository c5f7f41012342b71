"""Sequences of drawn numbers, modules that are the same each time, and what is the same bit by bit."""

from typing import Any

import numpy as np

import kinone as kn

T, N, F, H = 6, 3, 2, 4


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def made(kind: Any, *args: Any, **attrs: Any) -> Any:
    kn.random.seed(3)
    return kind(*args, **attrs).double()


def same(a: Any, b: Any) -> bool:
    return np.array_equal(a.numpy() if isinstance(a, kn.Tensor) else a, b.numpy() if isinstance(b, kn.Tensor) else b)
