"""Handwritten digits, 8 × 8, as 64 numbers: a plain network, its summary, its training, its mistakes.

The data come with scikit-learn.

    python examples/digits_mlp.py
"""

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import kinone as kn
from kinone import models, nn, optim
from kinone.random import Stream


def main(short: bool = False) -> dict[str, float]:
    """Train, and answer the accuracy on the test digits."""
    kn.random.seed(0)
    digits: Any = load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target
    order = Stream("split", seed=0).permutation(len(x))
    train, test = order[:1437], order[1437:]

    model = models.MLP(64, (128, 64), 10, dropout=0.2)
    if not short:
        print(model.summary((32, 64)))
    history = model.fit(
        (x[train], y[train]), (x[test], y[test]), loss=nn.CrossEntropyLoss(), optimizer=optim.Adam(model, lr=2e-3),
        epochs=4 if short else 40, metrics=["accuracy"], verbose=not short,
    )  # fmt: skip
    scores = model.predict(x[test])
    answers = np.argmax(scores, axis=1)
    accuracy = float((answers == y[test]).mean())
    print(f"{accuracy:.2%} of {len(test)} test digits")
    for i in np.flatnonzero(answers != y[test])[:3]:
        print(f"  a {y[test][i]} taken for a {answers[i]}")
    return {"accuracy": accuracy, "loss": history["loss"][-1]}


if __name__ == "__main__":
    main()
