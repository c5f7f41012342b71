"""The adding problem: a recurrent network learns what to remember for a hundred steps.

Each sequence holds 100 numbers between 0 and 1, two of which are marked; the answer is their sum. Always to answer 1
has a mean squared error of 1/6 = 0.167; to come below it, a network must carry both numbers to the end.

    python examples/adding_problem.py
"""

import numpy as np

import kinone as kn
from kinone import nn, optim, training
from kinone.random import Stream


def batch(source: Stream, n: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (length, n, 2) of numbers and marks, one mark in each half, and the sums (n, 1) of what is marked."""
    numbers = source.uniform((length, n))
    first, second = source.integers(n, low=0, high=length // 2), source.integers(n, low=length // 2, high=length)
    marks, each = np.zeros((length, n), np.float32), np.arange(n)
    marks[first, each] = marks[second, each] = 1
    return np.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=0)[:, None]


def main(short: bool = False) -> dict[str, float]:
    """Train, and answer the mean squared error on 2000 new sequences."""
    kn.random.seed(1)
    steps, length = (30, 20) if short else (1000, 100)
    model = nn.Sequential(nn.GRU(2, 64, return_sequences=False, return_state=False), nn.Linear(64, 1))
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    source, losses = Stream("adding problem", seed=1), []
    for step in range(steps):
        x, y = batch(source, 64, length)
        loss = kn.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 100 == 99:
            print(f"step {step + 1}: {np.mean(losses[-100:]):.4f}")
    x, y = batch(Stream("adding problem", seed=2), 2000, length)
    with kn.no_grad():
        error = kn.mse_loss(model(x), y).item()
    print(f"mean squared error on new sequences: {error:.5f}")
    if not short:
        history = training.History()
        history.losses = losses
        history.plot("adding_problem.svg")
    return {"error": error, "first": losses[0]}


if __name__ == "__main__":
    main()
