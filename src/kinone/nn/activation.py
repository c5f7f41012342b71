"""Activations as modules; arguments are PyTorch's. The operators of the same names are functions."""

from typing import Any

import numpy as np

from kinone.errors import ArgumentError
from kinone.nn.layer import Layer, count
from kinone.nn.parameter import Parameter
from kinone.ops import (
    celu,
    elu,
    gelu,
    glu,
    hard_sigmoid,
    hard_swish,
    hard_tanh,
    hardshrink,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    mish,
    negative,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)


class ReLU(Layer):
    """y = x if x > 0, else 0.

    >>> ReLU()([-1.0, 2.0])
    array([0., 2.])
    """

    def forward(self, x: Any) -> Any:
        return relu(x)


class ReLU6(Layer):
    """y = x if 0 < x < 6, else the nearer of the two.

    >>> ReLU6()([-1.0, 9.0])
    array([0., 6.])
    """

    def forward(self, x: Any) -> Any:
        return relu6(x)


class LeakyReLU(Layer):
    """y = x if x > 0, else negative_slope·x.

    >>> LeakyReLU(0.5)([-1.0, 2.0])
    array([-0.5,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return leaky_relu(x, negative_slope=self.negative_slope)


class ELU(Layer):
    """y = x if x > 0, else α·(eˣ − 1).

    >>> ELU(2.0)([-1e4, 2.0])
    array([-2.,  2.])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return elu(x, alpha=self.alpha)


class SELU(Layer):
    """y = λ·x if x > 0, else λα·(eˣ − 1): keeps mean 0 and variance 1.

    >>> SELU()([0.0, 1.0]).round(4)
    array([0.    , 1.0507])
    """

    def forward(self, x: Any) -> Any:
        return selu(x)


class CELU(Layer):
    """y = x if x > 0, else α·(e^(x/α) − 1).

    >>> CELU(2.0)([-1e4, 2.0])
    array([-2.,  2.])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        if not alpha:
            raise ArgumentError("CELU", "alpha ≠ 0", f"alpha={alpha}")
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return celu(x, alpha=self.alpha)


class GELU(Layer):
    """y = x·Φ(x), Φ the normal distribution's; approximate="tanh" replaces it by a tanh.

    >>> GELU()([0.0, 1.0]).round(4)
    array([0.    , 0.8413])
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ArgumentError("GELU", "approximate 'none' or 'tanh'", repr(approximate))
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return gelu(x, approximate=self.approximate)


class SiLU(Layer):
    """y = x·σ(x), also called swish.

    >>> SiLU()([0.0, 1e4])
    array([    0., 10000.])
    """

    def forward(self, x: Any) -> Any:
        return silu(x)


class Mish(Layer):
    """y = x·tanh(ln(1 + eˣ)).

    >>> Mish()([0.0, 1e4])
    array([    0., 10000.])
    """

    def forward(self, x: Any) -> Any:
        return mish(x)


class Sigmoid(Layer):
    """y = σ(x) = 1/(1 + e⁻ˣ).

    >>> Sigmoid()([0.0, 1e4])
    array([0.5, 1. ])
    """

    def forward(self, x: Any) -> Any:
        return sigmoid(x)


class LogSigmoid(Layer):
    """y = ln σ(x), finite for every x.

    >>> LogSigmoid()([1e4, -1e4]).tolist()
    [0.0, -10000.0]
    """

    def forward(self, x: Any) -> Any:
        return log_sigmoid(x)


class Tanh(Layer):
    """y = tanh x.

    >>> Tanh()([0.0, 1e4])
    array([0., 1.])
    """

    def forward(self, x: Any) -> Any:
        return tanh(x)


class Softplus(Layer):
    """y = ln(1 + e^βx)/β, exact for every x: PyTorch's `threshold` is not needed.

    >>> Softplus()([-1e4, 1e4])
    array([    0., 10000.])
    """

    def __init__(self, beta: float = 1.0) -> None:
        if not beta > 0:
            raise ArgumentError("Softplus", "beta > 0", f"beta={beta}")
        self.beta = beta

    def forward(self, x: Any) -> Any:
        return softplus(x, beta=self.beta)


class Softsign(Layer):
    """y = x/(1 + |x|).

    >>> Softsign()([-1.0, 3.0])
    array([-0.5 ,  0.75])
    """

    def forward(self, x: Any) -> Any:
        return softsign(x)


class Tanhshrink(Layer):
    """y = x − tanh x.

    >>> Tanhshrink()([0.0, 1e4])
    array([   0., 9999.])
    """

    def forward(self, x: Any) -> Any:
        return tanhshrink(x)


class Softshrink(Layer):
    """y = x − λ if x > λ, x + λ if x < −λ, else 0.

    >>> Softshrink()([-2.0, 0.4])
    array([-1.5,  0. ])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        if not lambd >= 0:
            raise ArgumentError("Softshrink", "lambd ≥ 0", f"lambd={lambd}")
        self.lambd = lambd

    def forward(self, x: Any) -> Any:
        return softshrink(x, lambd=self.lambd)


class Hardshrink(Layer):
    """y = 0 if |x| ≤ λ, else x.

    >>> Hardshrink()([-2.0, 0.4])
    array([-2.,  0.])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        if not lambd >= 0:
            raise ArgumentError("Hardshrink", "lambd ≥ 0", f"lambd={lambd}")
        self.lambd = lambd

    def forward(self, x: Any) -> Any:
        return hardshrink(x, lambd=self.lambd)


class Hardtanh(Layer):
    """y = x if min_val < x < max_val, else the nearer of the two.

    >>> Hardtanh()([-2.0, 0.5])
    array([-1. ,  0.5])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        if not min_val < max_val:
            raise ArgumentError("Hardtanh", "min_val < max_val", f"{min_val} and {max_val}")
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Any) -> Any:
        return hard_tanh(x, min=self.min_val, max=self.max_val)


class Hardsigmoid(Layer):
    """y = x/6 + ½ if −3 < x < 3, else 0 or 1.

    >>> Hardsigmoid()([-4.0, 0.0])
    array([0. , 0.5])
    """

    def forward(self, x: Any) -> Any:
        return hard_sigmoid(x)


class Hardswish(Layer):
    """y = x·(x/6 + ½) if −3 < x < 3, else 0 or x.

    >>> Hardswish()([1.0, 4.0])
    array([0.66666667, 4.        ])
    """

    def forward(self, x: Any) -> Any:
        return hard_swish(x)


class Threshold(Layer):
    """y = x if x > threshold, else value.

    >>> Threshold(0.5, -1.0)([0.1, 2.0])
    array([-1.,  2.])
    """

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold, self.value = threshold, value

    def forward(self, x: Any) -> Any:
        return threshold(x, threshold=self.threshold, value=self.value)


class PReLU(Layer):
    """y = x if x > 0, else weight·x, a learned slope for all of x or one for each channel of x (N, C, …).

    >>> PReLU(init=0.5)([-1.0, 2.0])
    Tensor([-0.5,  2. ], dtype=float32, from=prelu)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        self.num_parameters, self.init = count("PReLU", "num_parameters", num_parameters), init
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, x: Any) -> Any:
        return prelu(x, self.weight)


# ------------------------------------------------------------------------------ along an axis
class Softmax(Layer):
    """yᵢ = exp xᵢ/Σⱼ exp xⱼ along the axis `dim`.

    >>> Softmax()([0.0, 0.0])
    array([0.5, 0.5])
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return softmax(x, axis=self.dim)


class LogSoftmax(Layer):
    """yᵢ = xᵢ − ln Σⱼ exp xⱼ along the axis `dim`.

    >>> LogSoftmax()([0.0, -1e4])
    array([     0., -10000.])
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return log_softmax(x, axis=self.dim)


class GLU(Layer):
    """y = a·σ(b), a and b the halves of x along the axis `dim`.

    >>> GLU()([2.0, 0.0])
    array([1.])
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return glu(x, axis=self.dim)


class Softmin(Layer):
    """yᵢ = exp(−xᵢ)/Σⱼ exp(−xⱼ) along the axis `dim`.

    >>> Softmin()([0.0, 1e4])
    array([1., 0.])
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return softmax(negative(x), axis=self.dim)


Swish = SiLU
