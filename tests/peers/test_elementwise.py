"""Elementwise operators beside PyTorch's: many random cases each, values and gradients, float64 and float32."""

from typing import Any

import numpy as np
import pytest

import kinone as kn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")
from peers.compare import compare  # noqa: E402

F = torch.nn.functional
SHAPES: list[tuple[int, ...]] = [(), (7,), (3, 4), (2, 3, 5), (0, 3), (300,)]
PAIRS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3, 4), (3, 4)), ((3, 1), (4,)), ((), (2, 3)), ((2, 1, 5), (1, 3, 1)), ((5,), (1,)), ((0, 3), (3,)),
]  # fmt: skip

# (low, high) of the inputs, one for each.
ANY, POSITIVE, INSIDE, ABOVE, FAR = (-4.0, 4.0), (0.1, 4.0), (-0.95, 0.95), (1.05, 6.0), (-60.0, 60.0)

UNARY: dict[str, tuple[Any, tuple[float, float]]] = {
    "negative": (torch.neg, ANY), "positive": (torch.positive, ANY), "abs": (torch.abs, ANY),
    "sign": (torch.sign, ANY), "square": (torch.square, ANY), "sqrt": (torch.sqrt, POSITIVE),
    "rsqrt": (torch.rsqrt, POSITIVE), "reciprocal": (torch.reciprocal, POSITIVE),
    "nan_to_num": (torch.nan_to_num, ANY), "floor": (torch.floor, ANY), "ceil": (torch.ceil, ANY),
    "round": (torch.round, ANY), "trunc": (torch.trunc, ANY), "exp": (torch.exp, ANY), "exp2": (torch.exp2, ANY),
    "expm1": (torch.expm1, ANY), "log": (torch.log, POSITIVE), "log1p": (torch.log1p, POSITIVE),
    "log2": (torch.log2, POSITIVE), "log10": (torch.log10, POSITIVE), "erf": (torch.erf, ANY),
    "erfc": (torch.erfc, ANY), "erfinv": (torch.erfinv, INSIDE), "logit": (torch.logit, (0.05, 0.95)),
    "sin": (torch.sin, ANY), "cos": (torch.cos, ANY), "tan": (torch.tan, (-1.2, 1.2)), "asin": (torch.asin, INSIDE),
    "acos": (torch.acos, INSIDE), "atan": (torch.atan, ANY), "sinh": (torch.sinh, ANY), "cosh": (torch.cosh, ANY),
    "tanh": (torch.tanh, ANY), "asinh": (torch.asinh, ANY), "acosh": (torch.acosh, ABOVE),
    "atanh": (torch.atanh, INSIDE), "sigmoid": (torch.sigmoid, FAR), "log_sigmoid": (F.logsigmoid, FAR),
    "softsign": (F.softsign, FAR), "tanhshrink": (F.tanhshrink, FAR), "silu": (F.silu, FAR), "mish": (F.mish, FAR),
    "relu": (F.relu, FAR), "selu": (F.selu, FAR), "relu6": (F.relu6, FAR), "hard_swish": (F.hardswish, FAR),
}  # fmt: skip

# Ours, PyTorch's, the attributes of both, and the inputs' range.
WITH_ATTRIBUTES: list[tuple[Any, Any, dict[str, Any], tuple[float, float]]] = [
    *[(kn.clip, torch.clip, {"min": a, "max": b}, ANY) for a, b in [(-1.0, 2.0), (None, 0.5), (0.3, None)]],
    *[(kn.leaky_relu, F.leaky_relu, {"negative_slope": s}, FAR) for s in (0.01, 0.3, -0.5)],
    *[(kn.elu, F.elu, {"alpha": a}, ANY) for a in (1.0, 0.3, 2.0)],
    # PyTorch's gradient rounds 1/alpha to float32, and its gelu loses all digits by cancellation far below 0.
    *[(kn.celu, F.celu, {"alpha": a}, ANY) for a in (1.0, 0.5, 2.0)],
    *[(kn.gelu, F.gelu, {"approximate": a}, (-2.0, 40.0)) for a in ("none", "tanh")],
    # PyTorch's softplus turns into x at its threshold; ours never does.
    *[(kn.softplus, lambda x, beta: F.softplus(x, beta, threshold=100), {"beta": b}, ANY) for b in (1.0, 0.5, 3.0)],
    *[(kn.threshold, F.threshold, {"threshold": t, "value": v}, ANY)
      for t, v in [(0.0, 0.0), (0.7, -2.0), (-0.5, 3.0)]],
    *[(kn.softshrink, F.softshrink, {"lambd": v}, ANY) for v in (0.5, 0.0, 1.7)],
    *[(kn.hardshrink, F.hardshrink, {"lambd": v}, ANY) for v in (0.5, 0.1, 1.7)],
    *[(kn.hard_tanh, lambda x, **ends: F.hardtanh(x, ends["min"], ends["max"]), {"min": a, "max": b}, ANY)
      for a, b in [(-1.0, 1.0), (-0.5, 2.5)]],
]  # fmt: skip

BINARY: dict[str, tuple[Any, tuple[float, float], tuple[float, float]]] = {
    "add": (torch.add, ANY, ANY), "subtract": (torch.subtract, ANY, ANY), "multiply": (torch.multiply, ANY, ANY),
    "divide": (torch.divide, ANY, POSITIVE), "pow": (torch.pow, POSITIVE, ANY), "maximum": (torch.maximum, ANY, ANY),
    "minimum": (torch.minimum, ANY, ANY), "hypot": (torch.hypot, ANY, ANY), "atan2": (torch.atan2, ANY, ANY),
    "logaddexp": (torch.logaddexp, FAR, FAR), "copysign": (torch.copysign, ANY, ANY),
    "remainder": (torch.remainder, ANY, POSITIVE),
    "fmod": (torch.fmod, ANY, POSITIVE), "equal": (torch.eq, ANY, ANY), "not_equal": (torch.ne, ANY, ANY),
    "less": (torch.lt, ANY, ANY), "less_equal": (torch.le, ANY, ANY), "greater": (torch.gt, ANY, ANY),
    "greater_equal": (torch.ge, ANY, ANY), "isclose": (torch.isclose, ANY, ANY),
}  # fmt: skip

OF_WHOLE_NUMBERS = {
    "bitwise_and": torch.bitwise_and, "bitwise_or": torch.bitwise_or, "bitwise_xor": torch.bitwise_xor,
    "bitwise_left_shift": torch.bitwise_left_shift, "bitwise_right_shift": torch.bitwise_right_shift,
    "add": torch.add, "multiply": torch.multiply, "maximum": torch.maximum, "minimum": torch.minimum,
    "pow": torch.pow, "floor_divide": torch.floor_divide, "remainder": torch.remainder, "fmod": torch.fmod,
    "equal": torch.eq, "less": torch.lt,
}  # fmt: skip


def random(seed: str, i: int, shape: tuple[int, ...], ends: tuple[float, float]) -> Any:
    """Numbers that float32 holds, so that both dtypes are asked the same."""
    stream = kn.random.Stream(f"peers/{seed}/{i}")
    return stream.uniform(shape, low=ends[0], high=ends[1], dtype=np.float32).astype(np.float64)


@pytest.mark.parametrize("name", UNARY)
def test_of_one_array(name):
    theirs, ends = UNARY[name]
    for i, shape in enumerate(SHAPES):
        compare(getattr(kn, name), theirs, random(name, i, shape, ends))


@pytest.mark.parametrize("case", WITH_ATTRIBUTES, ids=lambda case: f"{case[0].__name__}-{case[2]}")
def test_with_attributes(case):
    ours, theirs, attrs, ends = case
    for i, shape in enumerate(SHAPES):
        compare(ours, theirs, random(ours.__name__, i, shape, ends), **attrs)


@pytest.mark.parametrize("name", BINARY)
def test_of_two_arrays(name):
    theirs, first, second = BINARY[name]
    for i, (a, b) in enumerate(PAIRS):
        compare(getattr(kn, name), theirs, random(name, i, a, first), random(name, 100 + i, b, second))


@pytest.mark.parametrize("name", OF_WHOLE_NUMBERS)
def test_of_integers(name):
    for i, (a, b) in enumerate(PAIRS):
        x = np.asarray(np.floor(random(name, i, a, (-9.0, 9.0))), np.int64)
        y = np.asarray(np.floor(random(name, 100 + i, b, (1.0, 6.0))), np.int64)
        compare(getattr(kn, name), OF_WHOLE_NUMBERS[name], x, y)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 5, -1, -2, 0.5, 2.5])
def test_powers_with_a_number(exponent):
    ends = ANY if isinstance(exponent, int) else POSITIVE
    for i, shape in enumerate(SHAPES):
        compare(lambda x: x**exponent, lambda x: x**exponent, random("power", i, shape, ends))
        compare(lambda x: 2.5**x, lambda x: 2.5**x, random("exponent", i, shape, ANY))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_glu(axis):
    for i, shape in enumerate([(4, 6), (2, 8), (6, 2, 4)]):
        compare(lambda x: kn.glu(x, axis=axis), lambda x: F.glu(x, axis), random("glu", i, shape, FAR))


@pytest.mark.parametrize(("shape", "weights"), [((5, 3), 3), ((5, 3), 1), ((2, 4, 3, 3), 4), ((7,), 1)])
def test_prelu(shape, weights):
    compare(kn.prelu, F.prelu, random("prelu", 0, shape, ANY), random("prelu", 1, (weights,), INSIDE))


@pytest.mark.parametrize(("condition", "a", "b"), [((3, 4), (3, 4), (3, 4)), ((3, 1), (4,), ()), ((), (2, 3), (3,))])
def test_where(condition, a, b):
    mask = random("where", 0, condition, ANY) > 0
    compare(kn.where, torch.where, np.asarray(mask), random("where", 1, a, ANY), random("where", 2, b, ANY))


def test_lerp():
    compare(kn.lerp, torch.lerp, *[random("lerp", i, (3, 4), INSIDE) for i in range(3)])


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_are_shared_as_in_pytorch(name):
    x = np.array([1.0, 2.0, 3.0])
    compare(getattr(kn, name), getattr(torch, name), x, np.array([1.0, 2.5, 3.0]))


def test_hard_sigmoid():
    for i, shape in enumerate(SHAPES):  # PyTorch rounds its 1/6 to float32, in float64 too
        compare(kn.hard_sigmoid, F.hardsigmoid, random("hard_sigmoid", i, shape, FAR), tolerance=1e-7)


@pytest.mark.parametrize("name", ["relu", "abs", "relu6", "elu", "celu", "softshrink", "sign"])
def test_kinks_as_in_pytorch(name):
    theirs = getattr(F, name, None) or getattr(torch, name)
    compare(getattr(kn, name), theirs, np.array([0.0, -0.0, 0.5, -0.5, 3.0, -3.0, 6.0]))


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "signbit"])
def test_kinds_of_numbers(name):
    compare(getattr(kn, name), getattr(torch, name), np.array([0.0, -0.0, np.nan, np.inf, -np.inf, -2.0]))


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_invert"])
def test_of_booleans(name):
    theirs = torch.bitwise_not if name == "bitwise_invert" else getattr(torch, name)
    arrays = [np.array([[True, False]]), np.array([[True], [False]])]
    compare(getattr(kn, name), theirs, *arrays[: 1 if name in ("logical_not", "bitwise_invert") else 2])
