"""Normalizations: of each channel over the batch, of each sample over its features, groups or channels.

Arguments, names in the state and running statistics are PyTorch's: running_var is the unbiased variance, and
`momentum=None` averages over all batches seen.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from kinone.core.tensor import Tensor, as_array
from kinone.errors import ArgumentError, ShapeError
from kinone.nn.layer import Layer, count
from kinone.nn.parameter import Parameter
from kinone.nn.state import Shape
from kinone.ops import (
    batch_norm,
    batch_norm_inference,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from kinone.ops.arguments import shape_of
from kinone.ops.function import repeating


def _positive(where: str, name: str, value: float) -> float:
    if not value > 0:
        raise ArgumentError(where, f"{name} > 0", f"{name}={value!r}")
    return value


class RunningNorm(Layer):
    """What norms with running statistics share."""

    ranks: ClassVar[tuple[int, ...]]  # how many axes x may have
    counts: ClassVar[bool] = True  # whether batches are counted even where nothing needs it
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def _set(
        self, num_features: int | None, eps: float, momentum: float | None, affine: bool, track_running_stats: bool
    ) -> None:
        where = type(self).__name__
        if momentum is not None and not 0 <= momentum <= 1:
            raise ArgumentError(where, "0 ≤ momentum ≤ 1, or None", f"momentum={momentum!r}")
        self.num_features, self.eps, self.momentum = None, _positive(where, "eps", eps), momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = self.bias = None
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, None)
        if track_running_stats:
            self.num_batches_tracked = Tensor(np.zeros((), np.int64))
        self.is_waiting = num_features is None and (affine or track_running_stats)
        if num_features is not None:
            self.make(num_features)

    def make(self, num_features: int) -> None:
        """Weights 1, biases 0; running means 0, variances 1."""
        self.num_features: int | None = count(type(self).__name__, "num_features", num_features)
        self.is_waiting = False
        if self.affine:
            self.weight, self.bias = Parameter(np.ones(num_features, np.float32)), Parameter(_zeros(num_features))
        if self.track_running_stats:
            self.running_mean = Tensor(_zeros(num_features))
            self.running_var = Tensor(np.ones(num_features, np.float32))

    def settle(self, x: Any, *args: Any, **kwargs: Any) -> None:
        self._check(x)
        self.make(shape_of(x)[1])

    def settle_like(self, shapes: dict[str, Shape]) -> None:
        shape = shapes.get("weight", shapes.get("running_mean", ()))
        if len(shape) == 1:
            self.make(shape[0])

    def reset_running_stats(self) -> None:
        """Forget all batches seen."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.data = np.zeros_like(self.running_mean.data)
            self.running_var.data = np.ones_like(self.running_var.data)
            self.num_batches_tracked.data = np.zeros((), np.int64)

    def _check(self, x: Any) -> None:
        shape, n = shape_of(x), self.num_features
        if len(shape) not in self.ranks or (n is not None and shape[1] != n):
            channels = "C" if n is None else str(n)
            axes = (f"(N, {channels}{', L, H, W, D, H, W'[slice(*_AXES[rank])]})" for rank in self.ranks)
            raise ShapeError(type(self).__name__, f"x of shape {' or '.join(axes)}", f"shape {shape}")

    def _track(self, mean: Any, biased: Any, n: int) -> None:
        """Let the running statistics follow a batch whose variance is taken over n values."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        if repeating.depth:  # the checkpoint's first run has counted this batch
            return
        if self.counts or self.momentum is None:
            self.num_batches_tracked.data = np.asarray(self.num_batches_tracked.data + 1)
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, biased * (n / (n - 1)))):
            old = running.data
            running.data = (old * (1 - share) + new * share).astype(old.dtype, copy=False)


_AXES = {2: (0, 0), 3: (0, 3), 4: (3, 9), 5: (9, 18)}


def _zeros(n: int) -> Any:
    return np.zeros(n, np.float32)


class BatchNorm(RunningNorm):
    """y = w·(x − μ)/√(σ² + ε) + b, μ and σ² of each channel: of the batch in training, the running ones in use."""

    def __init__(
        self, num_features: int | None = None, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:  # fmt: skip
        self._set(num_features, eps, momentum, affine, track_running_stats)

    def forward(self, x: Any, residual: Any = None, *, activation: str = "none") -> Any:
        """act(norm(x) + residual) in one pass over memory; `activation` is "none", "relu" or "silu".

        That is what commonly follows a batch norm: `bn(x, residual, activation="relu")` computes what
        `relu(bn(x) + residual)` does, with the same gradients.
        """
        self._check(x)
        w, b, own = self.weight, self.bias, {"eps": self.eps, "activation": activation}
        if not self.training and self.running_mean is not None and self.running_var is not None:
            return batch_norm_inference(x, self.running_mean, self.running_var, w, b, residual, **own)
        y, mean, var = batch_norm(x, w, b, residual, **own)
        if self.training:
            self._track(as_array(mean), as_array(var), x.size // x.shape[1])
        return y


class BatchNorm1d(BatchNorm):
    """y = w·(x − μ)/√(σ² + ε) + b of each channel of x (N, C) or (N, C, L), over the batch and L.

    In training μ and σ² are the batch's, and the running ones follow: r ← (1 − momentum)·r + momentum·new, the new
    variance unbiased (momentum=None: the average of all batches). In evaluation they are the running ones, and the
    gradient is that of a fixed affine map; with track_running_stats=False they are always the batch's.
    `bn(x, residual, activation="relu")`, or "silu", adds and activates in the same pass.

    >>> bn = BatchNorm1d(1)
    >>> bn(np.array([[1.0], [3.0]], np.float32)).data.round(3).ravel(), bn.running_mean.data, bn.running_var.data
    (array([-1.,  1.], dtype=float32), array([0.2], dtype=float32), array([1.1], dtype=float32))
    """

    ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    """y = w·(x − μ)/√(σ² + ε) + b of each channel of x (N, C, H, W), over the batch, H and W; see BatchNorm1d.

    >>> [name for name in BatchNorm2d(3).state_dict()]
    ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    """

    ranks = (4,)


class BatchNorm3d(BatchNorm):
    """y = w·(x − μ)/√(σ² + ε) + b of each channel of x (N, C, D, H, W), over all other axes; see BatchNorm1d.

    >>> BatchNorm3d(2)(np.ones((1, 2, 1, 1, 2), np.float32)).shape
    (1, 2, 1, 1, 2)
    """

    ranks = (5,)


class InstanceNorm(RunningNorm):
    """y = w·(x − μ)/√(σ² + ε) + b, μ and σ² of each channel of each sample."""

    counts = False  # in PyTorch num_batches_tracked stays 0 here

    def __init__(
        self, num_features: int | None = None, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = False,
        track_running_stats: bool = False,
    ) -> None:  # fmt: skip
        self._set(num_features, eps, momentum, affine, track_running_stats)

    def forward(self, x: Any) -> Any:
        self._check(x)
        if not self.training and self.running_mean is not None and self.running_var is not None:
            return batch_norm_inference(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        n = int(np.prod(x.shape[2:]))
        if n < 2:
            raise ShapeError(type(self).__name__, "two values for each channel of a sample", f"{n} (shape {x.shape})")
        if self.training and self.running_mean is not None and x.shape[0]:
            array, axes = as_array(x), tuple(range(2, x.ndim))
            self._track(array.mean(axis=axes).mean(axis=0), array.var(axis=axes).mean(axis=0), n)
        return instance_norm(x, self.weight, self.bias, eps=self.eps)


class InstanceNorm1d(InstanceNorm):
    """y = w·(x − μ)/√(σ² + ε) + b, μ and σ² of each channel of each sample of x (N, C, L).

    With track_running_stats the averages over the batch are followed, and used in evaluation.

    >>> InstanceNorm1d(1, eps=1e-12)(np.array([[[1.0, 3.0]]]))
    array([[[-1.,  1.]]])
    """

    ranks = (3,)


class InstanceNorm2d(InstanceNorm):
    """y = w·(x − μ)/√(σ² + ε) + b, μ and σ² of each channel of each sample of x (N, C, H, W).

    >>> InstanceNorm2d(1, eps=1e-12)(np.array([[[[1.0, 3.0]]]]))
    array([[[[-1.,  1.]]]])
    """

    ranks = (4,)


class InstanceNorm3d(InstanceNorm):
    """y = w·(x − μ)/√(σ² + ε) + b, μ and σ² of each channel of each sample of x (N, C, D, H, W).

    >>> InstanceNorm3d(1, eps=1e-12)(np.array([[[[[1.0, 3.0]]]]]))
    array([[[[[-1.,  1.]]]]])
    """

    ranks = (5,)


# ------------------------------------------------------------------------------ without a batch
class FeatureNorm(Layer):
    """What norms over a sample's last axes share."""

    weight: Parameter | None
    bias: Parameter | None

    def _set(self, normalized_shape: int | Sequence[int], elementwise_affine: bool, has_bias: bool) -> None:
        where = type(self).__name__
        shape = (normalized_shape,) if isinstance(normalized_shape, int | np.integer) else tuple(normalized_shape)
        if not shape:
            raise ArgumentError(where, "at least one axis as normalized_shape", "()")
        self.normalized_shape = tuple(count(where, "normalized_shape", n) for n in shape)
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(np.ones(self.normalized_shape, np.float32)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape, np.float32)) if has_bias else None

    def _check(self, x: Any) -> None:
        shape, own = shape_of(x), self.normalized_shape
        if shape[-len(own) :] != own:
            expected = f"x of shape (…, {', '.join(map(str, own))})"
            raise ShapeError(type(self).__name__, expected, f"shape {shape}")


class LayerNorm(FeatureNorm):
    """y = w·(x − μ)/√(σ² + ε) + b, μ and σ² of each sample over its last axes, which are `normalized_shape`.

    >>> LayerNorm(2, eps=1e-12)(np.array([[1.0, 3.0]], np.float32)).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:  # fmt: skip
        self._set(normalized_shape, elementwise_affine, elementwise_affine and bias)
        self.eps = _positive("LayerNorm", "eps", eps)

    def forward(self, x: Any) -> Any:
        self._check(x)
        return layer_norm(x, self.weight, self.bias, axis=-len(self.normalized_shape), eps=self.eps)


class RMSNorm(FeatureNorm):
    """y = w·x/√(mean x² + ε) over the last axes, which are `normalized_shape`; ε is the dtype's own unless given.

    >>> RMSNorm(2)(np.array([[3.0, -3.0]], np.float32)).tolist()
    [[1.0, -1.0]]
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        self._set(normalized_shape, elementwise_affine, False)
        self.eps = None if eps is None else _positive("RMSNorm", "eps", eps)

    def forward(self, x: Any) -> Any:
        self._check(x)
        eps = float(np.finfo(x.dtype).eps) if self.eps is None else self.eps
        return rms_norm(x, self.weight, axis=-len(self.normalized_shape), eps=eps)


class GroupNorm(Layer):
    """y = w·(x − μ)/√(σ² + ε) + b, μ and σ² of each sample and each of `num_groups` groups of its channels.

    >>> GroupNorm(2, 4, eps=1e-12)(np.array([[1.0, 3.0, 5.0, 9.0]], np.float32)).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        self.num_groups = count("GroupNorm", "num_groups", num_groups)
        self.num_channels = count("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise ArgumentError("GroupNorm", f"num_channels that num_groups={num_groups} divides", f"{num_channels}")
        self.eps, self.affine = _positive("GroupNorm", "eps", eps), affine
        self.weight = Parameter(np.ones(num_channels, np.float32)) if affine else None
        self.bias = Parameter(_zeros(num_channels)) if affine else None

    def forward(self, x: Any) -> Any:
        shape = shape_of(x)
        if len(shape) < 2 or shape[1] != self.num_channels:
            raise ShapeError("GroupNorm", f"x of shape (N, {self.num_channels}, …)", f"shape {shape}")
        return group_norm(x, self.weight, self.bias, num_groups=self.num_groups, eps=self.eps)
