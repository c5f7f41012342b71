"""XOR: what one layer cannot tell apart, two can. Four points, eight hidden units.

python examples/xor.py
"""

import numpy as np

import kinone as kn
from kinone import nn, optim


def main(short: bool = False) -> dict[str, float]:
    """Train, and answer the probabilities of the four points, and what a single layer makes of them."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([[0], [1], [1], [0]], np.float32)
    found: dict[str, float] = {}
    for name, make in (
        ("one layer", lambda: nn.Linear(2, 1)),
        ("two layers", lambda: nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))),
    ):
        kn.random.seed(0)
        model, loss = make(), nn.BCEWithLogitsLoss()
        optimizer = optim.Adam(model, lr=0.1)
        for _ in range(50 if short else 500):
            loss(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
        error = loss(model(x), y).item()
        probabilities = kn.sigmoid(model(x)).numpy()
        found[name] = float(abs(probabilities - y).max())
        print(f"{name}: loss {error:.4f}")
        for point, p in zip(x, probabilities, strict=True):
            print(f"  {point[0]:.0f} xor {point[1]:.0f} = {p.item():.3f}")
    return found


if __name__ == "__main__":
    main()
