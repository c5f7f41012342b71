"""Functions of one element at a time in kn1: computed in float64, rounded once."""

import numpy as np

from kn1 import functions
from kn1.arithmetic import fma64, laid_out, numbers, one_nan
from kn1.functions import LN2, between, polynomial, scaled_erfc

OF_ONE = ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "sigmoid", "erf", "erfc"]
NEAR_ARTANH = [
    float.fromhex(x)
    for x in ("0x1.5555555555954p-2", "0x1.99999998e8c8dp-3", "0x1.2492497920570p-3", "0x1.c71c4a1f3c688p-4",
              "0x1.7462571189401p-4", "0x1.3aa8c551616abp-4", "0x1.164295e7c8b86p-4", "0x1.95824e8df75fcp-5",
              "0x1.6b69f46d62f7fp-4")
]  # fmt: skip
ROUGH_ARTANH, ABOVE, BELOW = (
    [float.fromhex(x) for x in table.split()]
    for table in (
        """0x1.5555553b4ad03p-2 0x1.9999bccacb12ep-3 0x1.248a65aafe8a0p-3 0x1.c8b9e2c567e80p-4 0x1.5f4236a3b737fp-4
        0x1.be17abd216ebap-4""",
        """0x1.1b8f37cc7c674p+10 0x1.4425a83299571p+10 0x1.6c222d164dc0fp+9 0x1.ec610574d8657p+7 0x1.a24da20308360p+5
        0x1.a855272ffebbdp+2 0x1.988456e4df809p-2""",
        """0x1.1b8f37cc7b081p+11 0x1.133288d81e507p+12 0x1.df70443a052f5p+11 0x1.e89adffab5c99p+10 0x1.3cddf9e58f2e3p+9
        0x1.0821c2463108bp+7 0x1.09e945a74f2adp+4 1""",
    )
)
SQRT_HALF, NORMAL = float.fromhex("0x1.6a09e667f3bcdp-1"), float.fromhex("0x1.9884533d43651p-2")
LINEAR, CUBIC = float.fromhex("0x1.9884533d43651p+0"), float.fromhex("0x1.2444f2a4d8b4bp-4")


def exp(x, dtype):
    return functions.exp_roughly(x) if dtype == np.float32 else functions.exp(x, dtype)


def logistic(x, dtype):
    z = exp(between(x, -np.inf, 40), dtype)
    return z / (1 + z)


def _log1p_exp(a, dtype):
    """ln(1 + e⁻ᵃ), a ≥ 0."""
    u = exp(-a, dtype)
    s = u / (2 + u)
    return 2 * fma64(s, s * s * polynomial(s * s, ROUGH_ARTANH if dtype == np.float32 else NEAR_ARTANH), s)


def softplus(x, beta, dtype):
    return np.where(x < 0, 0, x) + _log1p_exp(np.abs(beta * x), dtype) / beta


def softplus_backward(g, x, beta, dtype):
    return g * logistic(beta * x, dtype)


def log_sigmoid(x, dtype):
    return np.where(x > 0, 0, x) - _log1p_exp(np.abs(x), dtype)


def logaddexp(a, b, dtype):
    y = np.where(a > b, a, b) + _log1p_exp(np.abs(a - b), dtype)
    return np.where(a == b, a + LN2, y)


def relu(x, dtype):
    return np.where(x <= 0, 0, x)


def relu_backward(g, y, dtype):
    return np.where(y > 0, g, 0)


def tanh_backward(g, y, dtype):
    return g * fma64(-y, y, 1.0)


def sigmoid_backward(g, y, dtype):
    return g * (y * (1 - y))


# ------------------------------------------------------------------ gates, which beyond ±10⁴ are 0 or 1
def silu_forward(x, dtype):
    x = between(x, -1e4, np.inf)
    return x * logistic(x, dtype)


def silu_backward(g, x, dtype):
    x = between(x, -1e4, 1e4)
    y = logistic(x, dtype)
    return g * (y * fma64(x, 1 - y, 1.0))


def mish(x, dtype):
    x = between(x, -1e4, np.inf)
    z = exp(between(x, -np.inf, 40), dtype)
    w = z * (z + 2)
    return x * (w / (w + 2))


def mish_backward(g, x, dtype):
    x = between(x, -1e4, 1e4)
    z = exp(between(x, -np.inf, 40), dtype)
    w = z * (z + 2)
    d = 1 / (w + 2)
    return g * fma64(x, 4 * z * (1 + z) * d * d, w * d)


def _normal(x, dtype):
    """e^(−x²/2) and Φ(x)."""
    if dtype == np.float32:
        x = between(x, -37, 37)
        a = np.abs(x)
        bell = exp(x * (-0.5 * x), dtype)
        beyond = bell * polynomial(a, ABOVE) / polynomial(a, BELOW)
    else:
        square = x * x
        y = exp(-0.5 * square, dtype)
        bell = fma64(y, -0.5 * fma64(x, x, -square), y)
        beyond = 0.5 * bell * scaled_erfc(between(np.abs(x) * SQRT_HALF, 0, 28))
    return bell, np.where(x < 0, beyond, 1 - beyond)


def gelu_forward(x, dtype, approximate):
    x = between(x, -1e4, np.inf)
    if approximate == "none":
        return x * _normal(x, dtype)[1]
    return x * logistic(x * fma64(x * x, CUBIC, LINEAR), dtype)


def gelu_backward(g, x, dtype, approximate):
    x = between(x, -1e4, 1e4)
    if approximate == "none":
        bell, up_to = _normal(x, dtype)
        return g * fma64(x * NORMAL, bell, up_to)
    y = logistic(x * fma64(x * x, CUBIC, LINEAR), dtype)
    return g * (y * fma64(x * (1 - y), fma64(x * x, 3 * CUBIC, LINEAR), 1.0))


# ------------------------------------------------------------------ as kernels
def _kernel(f, parameters=()):
    def kernel(*operands, **attrs):
        dtype = next(x.dtype for x in operands if isinstance(x, np.ndarray | np.generic))
        operands = (*operands, *(attrs.pop(name) for name in parameters if name in attrs))
        with np.errstate(all="ignore"):
            operands = (np.asarray(x, dtype).astype(np.float64) for x in operands)
            y = f(*np.broadcast_arrays(*operands), dtype, **attrs)
            return one_nan(y.astype(dtype))

    return kernel


WITH_BETA = {"softplus": softplus, "softplus_backward": softplus_backward}
OTHERS = [log_sigmoid, logaddexp, relu, relu_backward, tanh_backward, sigmoid_backward, silu_forward, silu_backward,
          mish, mish_backward, gelu_forward, gelu_backward]  # fmt: skip
KERNELS = {name: _kernel(getattr(functions, name)) for name in OF_ONE}
KERNELS |= {f.__name__: _kernel(f) for f in OTHERS}
KERNELS |= {name: _kernel(f, ("beta",)) for name, f in WITH_BETA.items()}
OF_TWO = ["logaddexp", *(name for name in KERNELS if name.endswith("_backward"))]


def _attributes(rng, name):
    if "gelu" in name:
        return {"approximate": str(rng.choice(["none", "tanh"]))}
    return {"beta": float(rng.choice([1, 0.3, 7]))} if "softplus" in name else {}


def case(rng, dtype, most):
    """Of one array, or of two that broadcast, or of an array and a number."""
    name = str(rng.choice(list(KERNELS)))
    shape = tuple(rng.integers(0, most, rng.integers(0, 4)))
    operands = [laid_out(rng, numbers(rng, shape, dtype)) for _ in range(1 + (name in OF_TWO))]
    kind = rng.integers(4)
    if name == "logaddexp" and kind == 0:
        operands[rng.integers(2)] = float(rng.standard_normal())
    elif name in OF_TWO and kind == 1:
        part = tuple(n if rng.random() < 0.5 else 1 for n in shape)
        operands[rng.integers(2)] = laid_out(rng, numbers(rng, part[int(rng.integers(len(part) + 1)) :], dtype))
    return name, tuple(operands), _attributes(rng, name)


def digest_calls():
    """Ordinary numbers, all sizes, and whole numbers; small and shared among threads."""
    rng = np.random.default_rng(13)
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        for name in KERNELS:
            for n in (7, 50_001):
                shape = (1 + (name in OF_TWO), n)
                x = (rng.standard_normal(shape) * 2.0 ** rng.choice([-30, -3, 0, 2, 4, 7], shape)).astype(dtype)
                attrs = _attributes(rng, name)
                yield f"of {n} {kind}", name, tuple(np.abs(x) if name == "log" else x), attrs
