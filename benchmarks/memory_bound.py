"""What reads once and writes once: its limit is a copy."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from harness import Call, Work

SIZE = 4096


def _square() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((SIZE, SIZE), np.float32)


def _images(*shape: int) -> np.ndarray:
    """Channels-last in memory, as every convolution's result is."""
    n, c, *size = shape
    x = np.random.default_rng(0).standard_normal((n, *size, c), np.float32)
    return np.moveaxis(x, -1, 1)


# ------------------------------------------------------------------------------ functions of an element
def _function(name: str, **attrs: Any) -> dict[str, Callable[[], Call]]:
    def kinone() -> Call:
        import kinone as kn

        x = _square()
        return lambda: getattr(kn, name)(x, **attrs)

    def torch() -> Call:
        import torch

        x = torch.from_numpy(_square())
        f = {"softmax": lambda x: torch.softmax(x, -1), "gelu": torch.nn.functional.gelu}.get(name)
        return partial(f or getattr(torch, name), x)

    def numpy() -> Call:
        x = _square()
        return lambda: getattr(np, name)(x)

    peers = {"kinone": kinone, "torch": torch}
    return {**peers, "numpy": numpy} if hasattr(np, name) else peers


# ------------------------------------------------------------------------------ forward and backward of layers
def _kinone_layer(shape: tuple[int, ...], f: Callable[[Any, Any], Any], is_trained: bool = True) -> Call:
    import kinone as kn

    data = _images(*shape)
    x, w = kn.Tensor(data, requires_grad=True), [kn.Tensor(np.ones(shape[1], np.float32), requires_grad=True)] * 2
    y = f(x, w).data
    g = np.ones_like(y)

    def step() -> Any:
        if not is_trained:
            return f(data, [w[0].data, w[1].data])
        y = f(x, w)
        y.backward(g)
        x.grad = None
        return y

    return step


def _torch_layer(shape: tuple[int, ...], f: Callable[[Any, Any], Any], is_last: bool, is_trained: bool = True) -> Call:
    import torch

    data = _images(*shape)
    x = torch.from_numpy(data if is_last else np.ascontiguousarray(data)).requires_grad_(is_trained)
    w = torch.ones(shape[1], requires_grad=is_trained)
    g = torch.ones_like(f(x, w))

    def step() -> Any:
        y = f(x, w)
        if is_trained:
            y.backward(g)
            x.grad = None
        return y

    return step


def _batch_norm_kinone(x: Any, w: Any) -> Any:
    import kinone as kn

    return kn.batch_norm(x, w[0], w[1], activation="relu")[0]


def _batch_norm_torch(x: Any, w: Any) -> Any:
    from torch.nn import functional as F

    return F.relu(F.batch_norm(x, None, None, w, w, training=True))


def _pool_kinone(kind: str, **attrs: Any) -> Callable[[Any, Any], Any]:
    import kinone as kn

    return lambda x, w: getattr(kn, f"{kind}_pool2d")(x, kernel_size=attrs["kernel_size"], stride=attrs["stride"],
                                                       padding=attrs["padding"])  # fmt: skip


def _pool_torch(kind: str, **attrs: Any) -> Callable[[Any, Any], Any]:
    from torch.nn import functional as F

    return lambda x, w: getattr(F, f"{kind}_pool2d")(x, **attrs)


def _pool(kind: str, shape: tuple[int, ...], is_trained: bool, **attrs: Any) -> dict[str, Callable[[], Call]]:
    return {
        "kinone": lambda: _kinone_layer(shape, _pool_kinone(kind, **attrs), is_trained),
        "torch": lambda: _torch_layer(shape, _pool_torch(kind, **attrs), False, is_trained),
        "torch channels-last": lambda: _torch_layer(shape, _pool_torch(kind, **attrs), True, is_trained),
    }


_PLANES, _TWO = (16, 64, 56, 56), {"kernel_size": 2, "stride": 2, "padding": 0}
_STEM, _THREE = (8, 64, 112, 112), {"kernel_size": 3, "stride": 2, "padding": 1}
_NORM = (32, 64, 56, 56)
_ONCE = 8.0 * SIZE * SIZE


def _bytes(shape: tuple[int, ...], passes: float) -> float:
    return 4.0 * passes * float(np.prod(shape))


WORKS = [
    *(Work(f"{name} 4096²", _function(name), bytes=_ONCE, target=3, moonshot=6)
      for name in ("softmax", "gelu", "exp", "tanh", "sigmoid", "log", "sin")),
    Work("batch norm + ReLU 32×64×56×56, forward + backward",
         {"kinone": lambda: _kinone_layer(_NORM, _batch_norm_kinone),
          "torch": lambda: _torch_layer(_NORM, _batch_norm_torch, False),
          "torch channels-last": lambda: _torch_layer(_NORM, _batch_norm_torch, True)},
         bytes=_bytes(_NORM, 9), target=3, moonshot=6),
    Work("max-pool 2×2 16×64×56×56", _pool("max", _PLANES, False, **_TWO), bytes=_bytes(_PLANES, 1.25), target=3,
         moonshot=6),
    Work("avg-pool 2×2 16×64×56×56", _pool("avg", _PLANES, False, **_TWO), bytes=_bytes(_PLANES, 1.25), target=3,
         moonshot=6),
    Work("max-pool 2×2 16×64×56×56, forward + backward", _pool("max", _PLANES, True, **_TWO), target=3, moonshot=6,
         bytes=_bytes(_PLANES, 2.5)),
    Work("max-pool 3×3/2 8×64×112×112, forward + backward", _pool("max", _STEM, True, **_THREE), target=3, moonshot=6,
         bytes=_bytes(_STEM, 2.5)),
]  # fmt: skip
