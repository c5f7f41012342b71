"""Autoencoders: say x in few numbers, and get it back: dense, convolutional, variational."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from kinone import ops
from kinone.errors import ArgumentError, ShapeError
from kinone.nn import Conv2d, ConvTranspose2d, Flatten, Linear, Module, ReLU, Sequential, Unflatten
from kinone.ops import binary_cross_entropy_with_logits, exp, square
from kinone.ops.arguments import shape_of
from kinone.random import stream


def _dense(widths: Sequence[int], activation: type[Module]) -> list[Module]:
    """Layers of these widths, an activation between each two."""
    parts: list[Module] = []
    for before, after in pairwise(widths):
        parts += [*([activation()] if parts else []), Linear(before, after)]
    return parts


def _checked(where: str, widths: Sequence[int]) -> None:
    if any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in widths):
        raise ArgumentError(where, "widths from 1 on", str(tuple(widths)))


class Autoencoder(Module):
    """y = decode(encode(x)), layers of the widths in_features → hidden → latent and back.

    x (…, in_features), encode(x) (…, latent), y (…, in_features), unbounded: as logits under
    `nn.BCEWithLogitsLoss()`, or as values under `nn.MSELoss()`.

    >>> import kinone as kn
    >>> net = Autoencoder(64, 2, hidden=(32, 16))
    >>> x = kn.zeros((5, 64))
    >>> net.encode(x).shape, net(x).shape
    ((5, 2), (5, 64))
    """

    def __init__(
        self, in_features: int, latent: int, hidden: Sequence[int] = (128,), activation: type[Module] = ReLU
    ) -> None:
        widths = (in_features, *hidden, latent)
        _checked("Autoencoder", widths)
        self.encoder = Sequential(*_dense(widths, activation))
        self.decoder = Sequential(*_dense(widths[::-1], activation))

    def encode(self, x: Any) -> Any:
        """z, the few numbers."""
        return self.encoder(x)

    def decode(self, z: Any) -> Any:
        """x again, nearly."""
        return self.decoder(z)

    def forward(self, x: Any) -> Any:
        return self.decode(self.encode(x))


class ConvAutoencoder(Autoencoder):
    """y = decode(encode(x)) for pictures: convolutions that halve them, a layer to the latent numbers, and back.

    x (N, in_channels, S, S) → z (N, latent) → y (N, in_channels, S, S); `channels` are those after each halving.

    >>> import kinone as kn
    >>> net = ConvAutoencoder(1, 9, latent=4, channels=(8, 16))
    >>> x = kn.zeros((2, 1, 9, 9))
    >>> net.encode(x).shape, net(x).shape
    ((2, 4), (2, 1, 9, 9))
    """

    def __init__(
        self, in_channels: int, image_size: int, latent: int, channels: Sequence[int] = (16, 32),
        activation: type[Module] = ReLU,
    ) -> None:  # fmt: skip
        _checked("ConvAutoencoder", (in_channels, image_size, latent, *channels))
        sizes = [image_size]
        for _ in channels:
            sizes.append((sizes[-1] + 1) // 2)
        steps = list(zip(pairwise((in_channels, *channels)), pairwise(sizes), strict=True))
        last = (in_channels, *channels)[-1], sizes[-1], sizes[-1]
        count = last[0] * last[1] * last[2]
        down: list[Module] = []
        up: list[Module] = []
        for (before, after), (large, small) in steps:
            down += [Conv2d(before, after, 3, stride=2, padding=1), activation()]
            extra = large - (2 * small - 1)  # an even side has lost the choice of which half it was
            up = [activation(), ConvTranspose2d(after, before, 3, stride=2, padding=1, output_padding=extra), *up]
        self.encoder = Sequential(*down, Flatten(), Linear(count, latent))
        self.decoder = Sequential(Linear(latent, count), Unflatten(1, last), *up)


class VariationalAutoencoder(Module):
    """z ~ N(μ(x), σ(x)²), y = decode(z): an autoencoder whose latent numbers can be drawn (Kingma, Welling 2013).

    x (…, in_features) → (y, μ, log σ²), y (…, in_features), the others (…, latent): what `ELBO` takes. In training
    z = μ + σ·ε, ε ~ N(0, 1) from the stream `noise`, so that gradients reach μ and σ; in use z = μ.

    >>> import kinone as kn
    >>> net = VariationalAutoencoder(64, 2, hidden=(32,))
    >>> [part.shape for part in net(kn.zeros((5, 64)))], net.sample(3).shape
    ([(5, 64), (5, 2), (5, 2)], (3, 64))
    """

    def __init__(
        self, in_features: int, latent: int, hidden: Sequence[int] = (128,), activation: type[Module] = ReLU,
        noise: str = "reparametrization",
    ) -> None:  # fmt: skip
        widths = (in_features, *hidden)
        _checked("VariationalAutoencoder", (*widths, latent))
        self.latent, self.noise = latent, noise
        self.encoder = Sequential(*_dense((*widths, 2 * latent), activation))
        self.decoder = Sequential(*_dense((latent, *widths[::-1]), activation))

    def encode(self, x: Any) -> tuple[Any, Any]:
        """μ and log σ²."""
        h = self.encoder(x)
        return h[..., : self.latent], h[..., self.latent :]

    def decode(self, z: Any) -> Any:
        """What x would have this z."""
        return self.decoder(z)

    def forward(self, x: Any) -> tuple[Any, Any, Any]:
        mean, log_var = self.encode(x)
        z = mean
        if self.training:
            z = mean + exp(log_var * 0.5) * stream(self.noise).normal(mean.shape, dtype=mean.dtype)
        return self.decode(z), mean, log_var

    def sample(self, n: int) -> Any:
        """`n` new ones: decode(z), z ~ N(0, 1) from the stream `noise`."""
        dtype = next(self.parameters()).dtype
        return self.decode(stream(self.noise).normal((n, self.latent), dtype=dtype))


class ELBO(Module):
    """L = mean over samples of −log p(x | z) + β·KL(N(μ, σ²) ‖ N(0, 1)): minus the evidence's lower bound.

    KL = ½ Σ (μ² + σ² − 1 − log σ²). With likelihood="bernoulli" y are logits and x is between 0 and 1:
    −log p = Σ log(1 + exp y) − x·y. With "gaussian" −log p = ½ Σ (x − y)², its constant left out. β = 1 is the bound
    itself; more of it (β-VAE) makes the latent numbers more independent.

    >>> import kinone as kn
    >>> y, mean, log_var = kn.zeros((1, 4)), kn.ones((1, 2)), kn.zeros((1, 2))
    >>> round(ELBO()((y, mean, log_var), kn.ones((1, 4))).item(), 4)  # 4·log 2 + ½·2
    3.7726
    """

    def __init__(self, beta: float = 1.0, likelihood: str = "bernoulli") -> None:
        if likelihood not in ("bernoulli", "gaussian") or not beta >= 0:
            got = f"beta={beta}, likelihood={likelihood!r}"
            raise ArgumentError("ELBO", "beta ≥ 0, likelihood 'bernoulli' or 'gaussian'", got)
        self.beta, self.likelihood = beta, likelihood

    def forward(self, output: tuple[Any, Any, Any], x: Any) -> Any:
        y, mean, log_var = output
        if shape_of(y) != shape_of(x):
            raise ShapeError("ELBO", f"x of shape {shape_of(y)}, as its reconstruction has", f"{shape_of(x)}")
        if self.likelihood == "bernoulli":
            rebuilt = binary_cross_entropy_with_logits(y, x, reduction="sum")
        else:
            rebuilt = ops.sum(square(y - x)) * 0.5
        divergence = ops.sum(square(mean) + exp(log_var) - 1.0 - log_var) * 0.5
        return (rebuilt + divergence * self.beta) * (1 / max(shape_of(x)[0], 1))
