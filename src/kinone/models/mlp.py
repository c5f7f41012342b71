"""MLP: y = Wₙ·φ(… φ(W₁·x + b₁) …) + bₙ, the plain network."""

from collections.abc import Sequence
from typing import Any

from kinone.errors import ArgumentError
from kinone.nn import Dropout, Linear, Module, ReLU, Sequential


class MLP(Sequential):
    """y = Wₙ·φ(… φ(W₁·x + b₁) …) + bₙ, x (…, in_features) → y (…, out_features).

    `hidden_features` are the widths between, `activation` the class of φ, `dropout` what is dropped behind each φ in
    training. `in_features=None` takes the number from the first input.

    >>> import kinone as kn
    >>> net = MLP(64, (32, 16), 10)
    >>> net(kn.zeros((5, 64))).shape, [part.out_features for part in net if isinstance(part, Linear)]
    ((5, 10), [32, 16, 10])
    """

    def __init__(
        self, in_features: int | None, hidden_features: Sequence[int], out_features: int,
        activation: type[Module] = ReLU, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        if isinstance(hidden_features, int):
            got = repr(hidden_features)
            raise ArgumentError("MLP", "hidden_features, a sequence of widths", got, hint=f"({got},).")
        parts: list[Module] = []
        before = in_features
        for width in hidden_features:
            parts += [Linear(before, width), activation(), *([Dropout(dropout)] if dropout else [])]
            before = width
        super().__init__(*parts, Linear(before, out_features))

    def get_config(self) -> dict[str, Any]:
        first: Any = next(part for part in self if isinstance(part, Linear))
        return {**super().get_config(), "in_features": first.in_features}
