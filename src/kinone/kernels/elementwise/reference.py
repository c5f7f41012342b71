"""Functions of one element at a time, in plain NumPy."""

from collections.abc import Callable
from functools import wraps
from math import pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.kernels.random.reference import inverse_cdf

__all__ = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "erf", "erfc", "erfinv", "exp", "exp2",
    "expm1", "gelu_backward", "gelu_forward", "log", "log1p", "log2", "log10", "log_sigmoid", "logaddexp", "mish",
    "mish_backward", "power", "relu", "relu_backward", "rsqrt", "sigmoid", "sigmoid_backward", "silu_backward",
    "silu_forward", "sin", "sinh", "softplus", "softplus_backward", "tan", "tanh", "tanh_backward",
]  # fmt: skip

Array = NDArray[Any]

exp, exp2, expm1 = np.exp, np.exp2, np.expm1
log, log1p, log2, log10, logaddexp = np.log, np.log1p, np.log2, np.log10, np.logaddexp
sin, cos, tan, asin, acos, atan, atan2 = np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan, np.arctan2
sinh, cosh, tanh, asinh, acosh, atanh = np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh, np.arctanh


def _rounded_once(least: type[np.floating[Any]]) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Compute in the dtype `least` where the inputs are narrower, and round the result to theirs at the end."""

    def decorate(kernel: Callable[..., Array]) -> Callable[..., Array]:
        @wraps(kernel)
        def rounded(*arrays: Any, **attrs: Any) -> Array:
            dtype = np.asarray(arrays[0]).dtype
            if dtype.itemsize >= np.dtype(least).itemsize:
                return kernel(*arrays, **attrs)
            return kernel(*(np.asarray(a, least) for a in arrays), **attrs).astype(dtype)

        return rounded

    return decorate


def power(a: Any, b: Any) -> Array:
    """y = aᵇ."""
    # The square is what most powers are, and pow would take twenty times as long for it.
    return np.square(a) if type(b) in (int, float) and b == 2 else np.power(a, b)


@_rounded_once(np.float32)
def rsqrt(x: Array) -> Array:
    """y = 1/√x."""
    return 1 / np.sqrt(x)


def relu(x: Array) -> Array:
    """y = x if x > 0, else 0."""
    return np.maximum(x, 0)


def relu_backward(g: Array, y: Array) -> Array:
    """∂L/∂x = g if y > 0, else 0."""
    return np.where(y > 0, g, np.zeros((), g.dtype))


def tanh_backward(g: Array, y: Array) -> Array:
    """∂L/∂x = g · (1 − y²)."""
    return g * (1 - y * y)


# ------------------------------------------------------------------------------ sigmoid and its relatives
@_rounded_once(np.float32)
def sigmoid(x: Array) -> Array:
    """y = 1/(1 + e⁻ˣ)."""
    with np.errstate(over="ignore"):  # e⁻ˣ = ∞ gives the right 0
        return 1 / (1 + np.exp(-x))


def sigmoid_backward(g: Array, y: Array) -> Array:
    """∂L/∂x = g · y · (1 − y)."""
    return g * (y * (1 - y))


@_rounded_once(np.float32)
def softplus(x: Array, beta: float = 1.0) -> Array:
    """y = ln(1 + e^βx)/β = max(x, 0) + ln(1 + e^−β|x|)/β."""
    return np.maximum(x, 0) + np.log1p(np.exp(-beta * np.abs(x))) / beta


@_rounded_once(np.float32)
def softplus_backward(g: Array, x: Array, beta: float = 1.0) -> Array:
    """∂L/∂x = g · σ(βx)."""
    return g * sigmoid(beta * x)


@_rounded_once(np.float32)
def log_sigmoid(x: Array) -> Array:
    """y = ln σ(x) = min(x, 0) − ln(1 + e⁻ˡˣˡ)."""
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


@_rounded_once(np.float32)
def silu_forward(x: Array) -> Array:
    """y = x · σ(x)."""
    return x * sigmoid(x)


@_rounded_once(np.float32)
def silu_backward(g: Array, x: Array) -> Array:
    """∂L/∂x = g · σ(x) · (1 + x · (1 − σ(x)))."""
    y = sigmoid(x)
    return g * (y * (1 + x * (1 - y)))


@_rounded_once(np.float32)
def mish(x: Array) -> Array:
    """y = x · tanh(ln(1 + eˣ))."""
    return x * np.tanh(softplus(x))


@_rounded_once(np.float32)
def mish_backward(g: Array, x: Array) -> Array:
    """∂L/∂x = g · (t + x · σ(x) · (1 − t²)), t = tanh(ln(1 + eˣ))."""
    t = np.tanh(softplus(x))
    return g * (t + x * sigmoid(x) * (1 - t * t))


# ------------------------------------------------------------------------------ the error function
# Cody, "Rational Chebyshev approximations for the error function" (1969): numerators and denominators, highest
# power first, of erf(x)/x in x², of e^(x²)·erfc(x) in x, and of 1/√π − x·e^(x²)·erfc(x) over x⁻² in x⁻².
_CENTRE = (
    [1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3],
    [1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3],
)
_SHOULDER = (
    [2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2,
     8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3],
    [1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3],
)  # fmt: skip
_TAIL = (
    [1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4],
    [1.0, 2.56852019228982242, 1.87295284992346047, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3],
)  # fmt: skip


def _ratio(coefficients: tuple[list[float], list[float]], x: Array) -> Array:
    return np.polyval(coefficients[0], x) / np.polyval(coefficients[1], x)


def _erf_centre(x: Array) -> Array:
    """erf x for |x| ≤ 15/32."""
    return x * _ratio(_CENTRE, x * x)


def _erfc_beyond(x: Array) -> Array:
    """erfc x for x ≥ 15/32."""
    x = np.minimum(x, 28.0)  # where it has long been 0
    high = np.floor(x * 16) / 16  # x² = high² + the rest, high² exact: e^−x² would amplify a rounding of x²
    bell = np.exp(-high * high) * np.exp(-(x - high) * (x + high))

    def tail(x: Array) -> Array:
        return (1 / sqrt(pi) - _ratio(_TAIL, 1 / (x * x)) / (x * x)) / x

    return bell * np.piecewise(x, [x > 4], [tail, lambda x: _ratio(_SHOULDER, x)])


@_rounded_once(np.float64)
def erf(x: Array) -> Array:
    """y = 2/√π ∫₀ˣ e^−t² dt, within 3 ulp in float64."""
    outer = [_erf_centre, lambda x: np.copysign(1 - _erfc_beyond(np.abs(x)), x)]
    return np.piecewise(x, [np.abs(x) <= 0.46875], outer)


@_rounded_once(np.float64)
def erfc(x: Array) -> Array:
    """y = 1 − erf x, without cancellation for large x."""
    pieces = [lambda x: 1 - _erf_centre(x), lambda x: 2 - _erfc_beyond(-x), _erfc_beyond]
    return np.piecewise(x, [np.abs(x) <= 0.46875, x < -0.46875], pieces)


@_rounded_once(np.float64)
def erfinv(x: Array) -> Array:
    """The y whose erf is x: ±∞ at ±1, NaN beyond."""
    size = np.abs(x)
    y = np.where(size < 1, 0.0, np.where(size == 1, np.inf, np.nan))
    inside = size < 1
    y[inside] = -inverse_cdf((1 - size[inside]) / 2) / sqrt(2)
    # Halfway to 1 and below, (1 − |x|)/2 has lost digits of x, which one step of Newton's brings back.
    near = size < 0.5
    y[near] -= (erf(y[near]) - size[near]) * (sqrt(pi) / 2) * np.exp(y[near] ** 2)
    return np.copysign(y, x)


# ------------------------------------------------------------------------------ gelu
_GELU_CUBE = 0.044715


@_rounded_once(np.float32)
def gelu_forward(x: Array, approximate: str) -> Array:
    """y = x · Φ(x), or x · ½(1 + tanh(√(2/π)(x + 0.044715 x³)))."""
    if approximate == "none":
        return x * (0.5 * erfc(x * -sqrt(0.5)))
    return 0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + _GELU_CUBE * x * x * x)))


@_rounded_once(np.float32)
def gelu_backward(g: Array, x: Array, approximate: str) -> Array:
    """∂L/∂x = g · (Φ(x) + x · φ(x)), or the derivative of the approximation."""
    if approximate == "none":
        return g * (0.5 * erfc(x * -sqrt(0.5)) + x * np.exp(-0.5 * x * x) / sqrt(2 * pi))
    x = np.clip(x, -1e4, 1e4)  # beyond, where tanh has long been ±1, its slope would be 0 · ∞
    t = np.tanh(sqrt(2 / pi) * (x + _GELU_CUBE * x * x * x))
    return 0.5 * g * (1 + t + x * (1 - t * t) * (sqrt(2 / pi) * (1 + 3 * _GELU_CUBE * x * x)))
