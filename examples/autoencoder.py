"""Digits in eight numbers: a dense and a convolutional autoencoder, and a variational one that makes up new ones.

The figure is the mean squared error of pixels between 0 and 1 on digits that were not learned. To answer each pixel's
mean has 0.073; the best eight linear numbers (principal components) have 0.024. The data come with scikit-learn.

    python examples/autoencoder.py
"""

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import kinone as kn
from kinone import models, nn, optim
from kinone.random import Stream

SHADES = " ·░▒▓█"


def picture(images: np.ndarray) -> str:
    """8 × 8 pictures side by side, in characters."""
    levels = np.clip(images.reshape(-1, 8, 8) * len(SHADES), 0, len(SHADES) - 1).astype(int)
    return "\n".join("  ".join("".join(SHADES[v] * 2 for v in image[row]) for image in levels) for row in range(8))


def principal(train: np.ndarray, test: np.ndarray) -> float:
    """The error of the best eight linear numbers."""
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:8]
    return float(np.mean((test - mean - (test - mean) @ axes.T @ axes) ** 2))


def main(short: bool = False) -> dict[str, float]:
    """Train the three, and answer their errors on the test digits."""
    digits: Any = load_digits()
    x = (digits.data / 16).astype(np.float32)
    order = Stream("split", seed=0).permutation(len(x))
    train, test = x[order[:1437]], x[order[1437:]]
    found = {"principal": principal(train, test)}
    images = (train.reshape(-1, 1, 8, 8), test.reshape(-1, 1, 8, 8))
    for name, make, (a, b), loss in (
        ("dense", lambda: models.Autoencoder(64, 8, (256, 128)), (train, test), nn.MSELoss()),
        ("convolutional", lambda: models.ConvAutoencoder(1, 8, 8, (32, 64)), images, nn.MSELoss()),
        ("variational", lambda: models.VariationalAutoencoder(64, 8, (256, 128)), (train, test), models.ELBO()),
    ):
        kn.random.seed(0)
        model, epochs = make(), 3 if short else 100
        optimizer = optim.Adam(model, lr=2e-3)
        schedule = optim.CosineAnnealingLR(optimizer, T_max=epochs)
        model.fit((a, a), loss=loss, optimizer=optimizer, schedule=schedule, epochs=epochs, verbose=False)
        y = model.predict(b)
        y = 1 / (1 + np.exp(-y[0])) if name == "variational" else y
        found[name] = float(np.mean((y.reshape(b.shape) - b) ** 2))
        print(f"{name}: {found[name]:.4f}")
        if name == "variational" and not short:
            print(picture(kn.sigmoid(model.eval().sample(5)).numpy()))
    print(f"principal components: {found['principal']:.4f}")
    return found


if __name__ == "__main__":
    main()
