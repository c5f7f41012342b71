"""A small net, data that it learns, and how tests fit it."""

from typing import Any

import numpy as np

import kinone as kn
from kinone import nn, optim, training

X = np.random.default_rng(0).standard_normal((37, 3)).astype(np.float32)
Y = (X @ np.array([[1.0], [-2.0], [0.5]], np.float32) + 0.3).astype(np.float32)


class Net(nn.Module):
    def __init__(self) -> None:
        self.a, self.norm, self.drop, self.b = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1)

    def forward(self, x: Any) -> Any:
        return self.b(self.drop(kn.tanh(self.norm(self.a(x)))))


def net(seed: int = 1) -> Net:
    kn.random.seed(seed)
    return Net()


def mse(p: Any, y: Any) -> Any:
    return ((p - y) ** 2).mean()


def fitted(model: Any, data: Any = (X, Y), **options: Any) -> Any:
    options.setdefault("optimizer", optim.Adam(model, lr=0.02))
    return training.fit(model, data, **{"loss": mse, "batch_size": 8, "verbose": False, **options})


def bits(model: Any) -> list[bytes]:
    return [value.numpy().tobytes() for value in model.state_dict().values()]
