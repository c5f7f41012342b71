"""The operations of the networks here, in Kinone and in PyTorch: one definition of a network serves both."""

from typing import Any, Protocol

import numpy as np


class Backend(Protocol):
    """Operations on its own tensors; images are NCHW."""

    parameters: list[Any]

    def parameter(self, array: np.ndarray) -> Any: ...
    def constant(self, array: np.ndarray) -> Any: ...
    def conv(self, x: Any, w: Any, b: Any = None, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Any: ...
    def norm(self, x: Any, w: Any, b: Any, activation: str = "none", residual: Any = None) -> Any: ...
    def max_pool(self, x: Any, kernel: int, stride: int, padding: int) -> Any: ...
    def mean_pool(self, x: Any) -> Any: ...
    def linear(self, x: Any, w: Any, b: Any) -> Any: ...
    def relu(self, x: Any) -> Any: ...
    def excite(self, x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any: ...
    def gelu(self, x: Any) -> Any: ...
    def layer_norm(self, x: Any, w: Any, b: Any) -> Any: ...
    def attention(self, q: Any, k: Any, v: Any) -> Any: ...
    def split_heads(self, x: Any, heads: int) -> Any: ...
    def join_heads(self, x: Any) -> Any: ...
    def chunks(self, x: Any, count: int) -> Any: ...
    def cross_entropy(self, x: Any, target: np.ndarray) -> Any: ...
    def backward(self, loss: Any) -> None: ...
    def sgd(self, lr: float, momentum: float) -> None: ...
    def adam(self, lr: float) -> None: ...


class Kinone:
    """Kinone's."""

    def __init__(self) -> None:
        import kinone as kn

        self.kn: Any = kn
        self.parameters: list[Any] = []
        self._state: list[list[np.ndarray]] = []
        self._steps = 0

    def parameter(self, array: np.ndarray) -> Any:
        self.parameters.append(self.kn.Tensor(array.astype(np.float32), requires_grad=True))
        return self.parameters[-1]

    def constant(self, array: np.ndarray) -> Any:
        return self.kn.Tensor(array.astype(np.float32))

    def conv(self, x: Any, w: Any, b: Any = None, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Any:
        return self.kn.conv2d(x, w, b, stride=stride, padding=padding, groups=groups)

    def norm(self, x: Any, w: Any, b: Any, activation: str = "none", residual: Any = None) -> Any:
        return self.kn.batch_norm(x, w, b, residual, activation=activation)[0]

    def max_pool(self, x: Any, kernel: int, stride: int, padding: int) -> Any:
        return self.kn.max_pool2d(x, kernel_size=kernel, stride=stride, padding=padding)

    def mean_pool(self, x: Any) -> Any:
        return self.kn.mean(x, axis=(2, 3), keepdims=True)

    def linear(self, x: Any, w: Any, b: Any) -> Any:
        return self.kn.linear(x, w, b)

    def relu(self, x: Any) -> Any:
        return self.kn.relu(x)

    def excite(self, x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
        w1, w2 = (w.reshape(w.shape[:2]) for w in (w1, w2))
        return self.kn.squeeze_excitation(x, w1, w2, b1, b2)[0]

    def gelu(self, x: Any) -> Any:
        return self.kn.gelu(x)

    def layer_norm(self, x: Any, w: Any, b: Any) -> Any:
        return self.kn.layer_norm(x, w, b)

    def attention(self, q: Any, k: Any, v: Any) -> Any:
        return self.kn.scaled_dot_product_attention(q, k, v)

    def split_heads(self, x: Any, heads: int) -> Any:
        n, length, width = x.shape
        return self.kn.permute_dims(self.kn.reshape(x, (n, length, heads, width // heads)), (0, 2, 1, 3))

    def join_heads(self, x: Any) -> Any:
        n, heads, length, width = x.shape
        return self.kn.reshape(self.kn.permute_dims(x, (0, 2, 1, 3)), (n, length, heads * width))

    def chunks(self, x: Any, count: int) -> Any:
        size = x.shape[-1] // count
        return [x[..., i * size : (i + 1) * size] for i in range(count)]

    def cross_entropy(self, x: Any, target: np.ndarray) -> Any:
        return self.kn.cross_entropy(x, target)

    def backward(self, loss: Any) -> None:
        loss.backward()

    def _arrays(self, states: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Parameters and gradients; the gradients are let go of."""
        if not self._state:
            self._state = [[np.zeros_like(p.data) for p in self.parameters] for _ in range(states)]
        self._steps += 1
        gradients = [p.grad.data for p in self.parameters]
        for p in self.parameters:
            p.grad = None
        return [p.data for p in self.parameters], gradients

    def sgd(self, lr: float, momentum: float) -> None:
        arrays, gradients = self._arrays(1)
        self.kn.kernels.sgd_update(
            arrays, gradients, self._state[0], lr, momentum, 0.0, 0.0, False, self._steps == 1, 1.0
        )

    def adam(self, lr: float) -> None:
        arrays, gradients = self._arrays(2)
        self.kn.kernels.adam_update(
            arrays, gradients, *self._state, None, self._steps, lr, 0.9, 0.999, 1e-8, 0.0, False, 1.0
        )


class Torch:
    """PyTorch's; with `is_last` images and weights are channels-last."""

    def __init__(self, *, is_last: bool = False) -> None:
        import torch

        self.torch, self.is_last = torch, is_last
        self.F: Any = torch.nn.functional
        self.parameters: list[Any] = []
        self._optimizer: Any = None

    def parameter(self, array: np.ndarray) -> Any:
        self.parameters.append(self.constant(array).requires_grad_())
        return self.parameters[-1]

    def constant(self, array: np.ndarray) -> Any:
        x = self.torch.from_numpy(np.ascontiguousarray(array, np.float32))
        return x.to(memory_format=self.torch.channels_last) if self.is_last and x.ndim == 4 else x

    def conv(self, x: Any, w: Any, b: Any = None, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Any:
        return self.F.conv2d(x, w, b, stride, padding, 1, groups)

    def norm(self, x: Any, w: Any, b: Any, activation: str = "none", residual: Any = None) -> Any:
        y = self.F.batch_norm(x, None, None, w, b, training=True)
        y = y if residual is None else y + residual
        return y if activation == "none" else getattr(self.F, activation)(y, inplace=True)

    def max_pool(self, x: Any, kernel: int, stride: int, padding: int) -> Any:
        return self.F.max_pool2d(x, kernel, stride, padding)

    def mean_pool(self, x: Any) -> Any:
        return self.F.adaptive_avg_pool2d(x, 1)

    def linear(self, x: Any, w: Any, b: Any) -> Any:
        return self.F.linear(x, w, b)

    def relu(self, x: Any) -> Any:
        return self.F.relu(x)

    def excite(self, x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
        gate = self.F.silu(self.conv(self.mean_pool(x), w1, b1), inplace=True)
        return x * self.torch.sigmoid(self.conv(gate, w2, b2))

    def gelu(self, x: Any) -> Any:
        return self.F.gelu(x)

    def layer_norm(self, x: Any, w: Any, b: Any) -> Any:
        return self.F.layer_norm(x, w.shape, w, b)

    def attention(self, q: Any, k: Any, v: Any) -> Any:
        return self.F.scaled_dot_product_attention(q, k, v)

    def split_heads(self, x: Any, heads: int) -> Any:
        n, length, width = x.shape
        return x.view(n, length, heads, width // heads).transpose(1, 2)

    def join_heads(self, x: Any) -> Any:
        return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)

    def chunks(self, x: Any, count: int) -> Any:
        return x.chunk(count, -1)

    def cross_entropy(self, x: Any, target: np.ndarray) -> Any:
        return self.F.cross_entropy(x, self.torch.from_numpy(target))

    def backward(self, loss: Any) -> None:
        loss.backward()

    def _step(self, make: Any) -> None:
        self._optimizer = self._optimizer or make()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def sgd(self, lr: float, momentum: float) -> None:
        self._step(lambda: self.torch.optim.SGD(self.parameters, lr, momentum, fused=True))

    def adam(self, lr: float) -> None:
        self._step(lambda: self.torch.optim.Adam(self.parameters, lr, fused=True))
