"""A Wasserstein critic with gradient penalty: a loss that has the critic's own gradient in it (Gulrajani et al. 2017).

The critic f learns to tell points on a ring from points in its middle. The difference of its means over both is the
distance between them only if f is nowhere steeper than 1, so the loss has the term (‖∂f/∂x‖ − 1)² at points between
the two. Its gradient by the weights is one of second order: `create_graph=True` records how the first was computed.

python examples/gradient_penalty.py
"""

import numpy as np

import kinone as kn
from kinone import nn, optim
from kinone.core.transforms import gradients

RADIUS, WEIGHT = 2.0, 10.0


def samples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on a ring, and points around its centre; 1.75 apart on the average."""
    draw = kn.random.stream("data")
    angle = draw.uniform(n, high=2 * np.pi)
    ring = RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return ring.astype(np.float32), draw.normal((n, 2), std=0.2)


def steepness(critic: nn.Module, real: np.ndarray, fake: np.ndarray) -> kn.Tensor:
    """‖∂f/∂x‖ at points somewhere between the real and the fake ones, with the graph of how it came about."""
    part = kn.random.stream("between").uniform((len(real), 1))
    x = kn.Tensor(part * real + (1 - part) * fake, requires_grad=True)
    (slope,) = gradients(critic(x).sum(), [x], create_graph=True)
    return kn.sqrt((slope * slope).sum(axis=1) + 1e-12)


def main(short: bool = False) -> dict[str, float]:
    """Train the critic; the distance that it measures, the true one, and how steep the critic is."""
    kn.random.seed(1)
    critic = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    optimizer = optim.Adam(critic, lr=2e-3, betas=(0.5, 0.9))
    steps = 150 if short else 1500
    for step in range(steps):
        real, fake = samples(128)
        gap = critic(real).mean() - critic(fake).mean()
        penalty = ((steepness(critic, real, fake) - 1.0) ** 2).mean()
        optimizer.zero_grad()
        (WEIGHT * penalty - gap).backward()
        optimizer.step()
        if (step + 1) % (steps // 5) == 0:
            print(f"step {step + 1:>4}: difference {gap.item():.3f}, penalty {penalty.item():.4f}")
    real, fake = samples(4000)
    steep = steepness(critic, real, fake).mean().item()  # a little above 1: the penalty weighs only so much
    gap = float(critic.predict(real).mean() - critic.predict(fake).mean())
    true = RADIUS - float(np.linalg.norm(fake, axis=1).mean())  # the way from each point straight to the ring
    return {"distance": gap / steep, "true distance": true, "steepness": steep}


if __name__ == "__main__":
    print(", ".join(f"{name} {value:.3f}" for name, value in main().items()))
