"""A GPT learns to add numbers of three digits, and adds pairs that it has never seen.

A sum is written as one learns it at school, from the last digit on: 543+876=9141 is 345 + 678 = 1023 backwards, with
0 in front of what is shorter. So each digit of the answer needs two digits above it and one carry, and no more.

    python examples/gpt_addition.py
"""

import numpy as np

import kinone as kn
from kinone import models, optim, training
from kinone.random import Stream

PLUS, EQUALS = 10, 11


def digits(numbers: np.ndarray, count: int) -> np.ndarray:
    """The last `count` digits of each, the last one first."""
    return numbers[:, None] // 10 ** np.arange(count) % 10


def written(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Tokens (n, 12): a backwards, +, b backwards, =, a + b backwards."""
    signs = np.full((len(a), 1), PLUS), np.full((len(a), 1), EQUALS)
    return np.concatenate([digits(a, 3), signs[0], digits(b, 3), signs[1], digits(a + b, 4)], axis=1)


def main(short: bool = False) -> dict[str, float]:
    """Train on 990,000 of the million pairs; answer the share of the others whose sum is right in every digit."""
    kn.random.seed(0)
    steps, size = (20, 32) if short else (1500, 256)
    pairs = Stream("pairs").permutation(1_000_000)
    held_out, known = pairs[:10_000], pairs[10_000:]
    model = models.GPT(12, 12, embed_dim=64, num_layers=2, num_heads=4, positions="learned")
    optimizer = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    source, losses = Stream("batches"), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1, (step + 1) / 100, 1.02 - step / steps)
        chosen = known[source.integers(size, low=0, high=len(known))]
        tokens = written(chosen // 1000, chosen % 1000)
        logits = model(tokens[:, :-1])[:, 7:]  # what stands behind = is to be learned, the question is not
        loss = kn.cross_entropy(kn.reshape(logits, (-1, 12)), tokens[:, 8:].reshape(-1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 250 == 249:
            print(f"step {step + 1}: loss {np.mean(losses[-250:]):.4f}")
    asked = held_out[:500] if short else held_out
    tokens = written(asked // 1000, asked % 1000)
    answers = model.generate(tokens[:, :8], 4, temperature=0)
    exact = float((answers == tokens).all(axis=1).mean())
    print(f"exact sums of pairs it has never seen: {exact:.2%}")
    if not short:
        history = training.History()
        history.losses = losses
        history.plot("gpt_addition.svg")
    return {"exact": exact, "first": losses[0], "last": losses[-1]}


if __name__ == "__main__":
    main()
