"""Inputs for layers, and layers that go out as JSON and come in again."""

import json
from typing import Any

import numpy as np

from kinone import nn


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def reloaded(module: nn.Module, **kinds: type[nn.Module]) -> Any:
    """Out as JSON whose keys a stranger has sorted, and in again."""
    text = json.dumps(nn.described(module), sort_keys=True)
    made = nn.build(json.loads(text), {**nn.MODULES, **kinds})
    made.load_state_dict(dict(sorted(module.state_dict().items())))
    return made
