"""Values to hold operators against that have neither a definition nor a NumPy twin: each written independently."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np

import window_oracles
from kinone.kernels.random.reference import stream_key, uniform


def _dropped_one_at_a_time(x: Any, p: float, key: Any, shared_axes: Any = ()) -> Any:
    y, shared = np.zeros_like(x), [axis % x.ndim for axis in shared_axes]
    shape = [1 if i in shared else n for i, n in enumerate(x.shape)]
    for at in np.ndindex(x.shape):
        index = sum(0 if i in shared else n * math.prod(shape[i + 1 :]) for i, n in enumerate(at))
        if uniform(stream_key(key[0], key[1]), key[2], index, 1, np.float64)[0] < 1 - p:
            y[at] = x[at] / (1 - p)
    return y


def _places(shape: Any, index: Any) -> Any:
    """Where each element of x[index] comes from, by counting."""
    return np.arange(math.prod(shape)).reshape(shape)[index]


def _array_index(index: Any) -> Any:
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(np.array(part) if isinstance(part, list) else part for part in parts)


def _indexed_one_at_a_time(x: Any, index: Any) -> Any:
    places = _places(x.shape, _array_index(index))
    return np.array([x.ravel()[at] for at in places.ravel()]).reshape(places.shape)


def _scattered_one_at_a_time(x: Any, index: Any, shape: Any) -> Any:
    y = [0] * math.prod(shape)
    for at, value in zip(_places(shape, _array_index(index)).ravel(), x.ravel(), strict=True):
        y[at] += value
    return np.array(y, x.dtype).reshape(shape)


def _chosen_one_at_a_time(x: Any, k: int, axis: int = -1, largest: bool = True, **_: Any) -> Any:
    rows = np.moveaxis(x, axis, -1)
    order = np.zeros((*rows.shape[:-1], k), int)
    for at in np.ndindex(rows.shape[:-1]):
        order[at] = sorted(range(rows.shape[-1]), key=lambda i: -rows[at][i] if largest else rows[at][i])[:k]
    order = np.moveaxis(order, -1, axis)
    return np.take_along_axis(x, order, axis), order


def _added_one_at_a_time(x: Any, indices: Any, src: Any, axis: int) -> Any:
    y, indices = x.copy(), np.broadcast_to(indices, src.shape)
    for at in np.ndindex(src.shape):
        y[(*at[:axis], indices[at], *at[axis + 1 :])] += src[at]
    return y


ORACLES: dict[str, Any] = {
    "split": lambda x, sections, axis=0: tuple(
        np.split(x, sections if isinstance(sections, int) else np.cumsum(sections)[:-1], axis)
    ),
    "scatter_add": _added_one_at_a_time,
    "identity": lambda x: x,
    "reshape": lambda x, shape: np.array(x.ravel().tolist()).reshape(shape),
    "expand": lambda x, shape: x + np.zeros(shape),
    "sum": lambda x, axis=None, keepdims=False: np.sum(x, axis=axis, keepdims=keepdims),
    # elementwise
    "erf": np.vectorize(math.erf, [float]),
    "erfc": np.vectorize(math.erfc, [float]),
    "erfinv": np.vectorize(
        lambda p: NormalDist(0, 0.5**0.5).inv_cdf((1 + p) / 2) if abs(p) < 1 else p * np.inf, [float]
    ),
    "sigmoid": lambda x: 0.5 + 0.5 * np.tanh(x / 2),
    "softsign": lambda x: np.sign(x) * (1 - 1 / (1 + np.abs(x))),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "relu": lambda x: (x + np.abs(x)) / 2,
    "leaky_relu": lambda x, negative_slope=0.01: np.maximum(x, 0) + negative_slope * np.minimum(x, 0),
    "elu": lambda x, alpha=1.0: np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0)),
    "selu": lambda x: np.maximum(x, 0) * 1.0507009873554805 + np.expm1(np.minimum(x, 0)) * 1.7580993408473766,
    "celu": lambda x, alpha=1.0: np.maximum(x, 0) + alpha * (np.exp(np.minimum(x, 0) / alpha) - 1),
    "hard_tanh": lambda x, **ends: np.minimum(np.maximum(x, ends.get("min", -1)), ends.get("max", 1)),
    "hard_sigmoid": lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6,
    "hard_swish": lambda x: x * np.minimum(np.maximum(x + 3, 0), 6) / 6,
    "softshrink": lambda x, lambd=0.5: np.maximum(x - lambd, 0) + np.minimum(x + lambd, 0),
    "hardshrink": lambda x, lambd=0.5: x * (np.abs(x) > lambd),
    # convolution, pool, resize
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), window_oracles.conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), window_oracles.conv_transpose),
    "convolution_weight_gradient": window_oracles.conv_weight_gradient,
    "unfold": window_oracles.unfold,
    "fold": window_oracles.fold,
    "max_pool": window_oracles.max_pool,
    "max_unpool": window_oracles.max_unpool,
    "avg_pool": window_oracles.avg_pool,
    "avg_unpool": window_oracles.avg_unpool,
    "interpolate": window_oracles.interpolate,
    "interpolate_transpose": window_oracles.interpolate_transpose,
    # shape, index, sort
    "stop_gradient": lambda x: x,
    "astype": lambda x, dtype: np.array(x.tolist(), dtype),
    "getitem": _indexed_one_at_a_time,
    "scatter_index": _scattered_one_at_a_time,
    "embedding": lambda indices, w, padding_idx=None: np.array([w[i] for i in indices.ravel()]).reshape(
        *indices.shape, w.shape[1]
    ),
    "topk": _chosen_one_at_a_time,
    # dropout
    "keyed_dropout": _dropped_one_at_a_time,
}
