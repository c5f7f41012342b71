"""Layers that drop something in training and nothing in use. What they draw comes from the stream "dropout"."""

from typing import Any, ClassVar

from kinone.errors import ArgumentError, ShapeError
from kinone.nn.layer import Layer, probability
from kinone.ops import alpha_dropout, channel_dropout, dropout, keyed_dropout, next_key
from kinone.ops.arguments import shape_of
from kinone.ops.window import checked_rank


class Dropping(Layer):
    """What these layers share: p, the probability of being dropped."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(type(self).__name__, "p", p)


class Dropout(Dropping):
    """y = x·m/(1 − p), m ~ Bernoulli(1 − p) for each element, in training; y = x in evaluation.

    >>> Dropout(0.5).eval()([1.0, 2.0])
    [1.0, 2.0]
    """

    def forward(self, x: Any) -> Any:
        return dropout(x, p=self.p) if self.training and self.p else x


class ChannelDropout(Dropping):
    """Dropout of whole channels."""

    rank: ClassVar[int]

    def forward(self, x: Any) -> Any:
        checked_rank(type(self).__name__, "x", x, self.rank)
        return channel_dropout(x, p=self.p) if self.training and self.p else x


class Dropout1d(ChannelDropout):
    """y = x·m/(1 − p), one m for each channel of x (N, C, L), in training.

    >>> import kinone as kn
    >>> Dropout1d(1.0)(kn.ones((1, 1, 2))).tolist()
    [[[0.0, 0.0]]]
    """

    rank = 1


class Dropout2d(ChannelDropout):
    """y = x·m/(1 − p), one m for each channel of x (N, C, H, W), in training.

    >>> import kinone as kn
    >>> Dropout2d(1.0)(kn.ones((1, 1, 1, 2))).tolist()
    [[[[0.0, 0.0]]]]
    """

    rank = 2


class Dropout3d(ChannelDropout):
    """y = x·m/(1 − p), one m for each channel of x (N, C, D, H, W), in training.

    >>> import kinone as kn
    >>> Dropout3d(1.0)(kn.ones((1, 1, 1, 1, 2))).tolist()
    [[[[[0.0, 0.0]]]]]
    """

    rank = 3


class AlphaDropout(Dropping):
    """y = a·(x·m + α′·(1 − m)) + b in training: keeps mean 0 and variance 1 behind SELU.

    >>> AlphaDropout(0.2).eval()([1.0, 2.0])
    [1.0, 2.0]
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)
        if p == 1:
            raise ArgumentError("AlphaDropout", "0 ≤ p < 1", f"p={p}")

    def forward(self, x: Any) -> Any:
        return alpha_dropout(x, p=self.p) if self.training and self.p else x


class StochasticDepth(Dropping):
    """y = x·m/(1 − p) in training, one m for each sample (mode="row") or one for all ("batch").

    What is dropped is a whole branch: `x + depth(block(x))`, or `nn.Residual(nn.Sequential(block, depth))`.

    >>> StochasticDepth(0.2, "row").eval()([1.0, 2.0])
    [1.0, 2.0]
    """

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__(p)
        if mode not in ("row", "batch"):
            raise ArgumentError("StochasticDepth", "mode 'row' or 'batch'", repr(mode))
        self.mode = mode

    def forward(self, x: Any) -> Any:
        if not self.training or not self.p:
            return x
        rank = len(shape_of(x))
        if not rank:
            raise ShapeError("StochasticDepth", "x with a batch axis", "shape ()")
        return keyed_dropout(x, p=self.p, key=next_key(), shared_axes=tuple(range(self.mode == "row", rank)))
