"""Huge, tiny and missing numbers: finite input makes no NaN where there is a value, and NaN is not swallowed."""

import numpy as np
import pytest

import kinone as kn
from kinone.ops import ALL_OPS
from matrix import call, is_float, leaves, parts, raw

OPS = [
    pytest.param(op, id=op.name)
    for op in ALL_OPS.values()
    if any(is_float(x) for i, s in enumerate(op.samples) for x in s.make(op.name, i))
]

# Where there is no value: NaN is the answer.
OUTSIDE = {
    "sqrt": "x < 0", "rsqrt": "x < 0", "log": "x < 0", "log2": "x < 0", "log10": "x < 0", "log1p": "x < −1",
    "asin": "|x| > 1", "acos": "|x| > 1", "atanh": "|x| > 1", "acosh": "x < 1", "erfinv": "|x| > 1",
    "pow": "a < 0, and b is no integer",
}  # fmt: skip
# Where the numbers on the way to a finite value are beyond 10³⁸, in float32 at 10³⁰.
BEYOND = {
    "divide": "∂L/∂b = −a/b² is itself beyond", "cumulative_prod": "the products are beyond, and 0 · ∞ among them",
    **dict.fromkeys(("matmul", "linear", "einsum"), "sums of products that are beyond, of either sign"),
    **dict.fromkeys((name for name in ALL_OPS if name.startswith("conv")), "sums of products that are beyond"),
    **dict.fromkeys(("rnn", "gru_gates", "lstm_gates"), "sums of products that are beyond, of either sign"),
    "sigmoid_nll": "the product of label, weight and x is beyond",
    "attention": "the scores are beyond",
    "squeeze_excitation": "what the weights make of the means is beyond",
    "batch_norm_inference": "(x − μ)/σ·w, at 10³⁰ some 10⁴⁵, is beyond, and silu's definition meets ∞ · 0 there",
    "solve": "the inverse of 10⁻³⁰ times itself is beyond",
}  # fmt: skip


def results(op, sample, inputs, create_graph=False) -> list[np.ndarray]:
    """The value, and its gradients if there are any."""
    xs = leaves(inputs)
    y = call(op, xs, sample)
    found = raw(y)
    ends = [x for x in xs if isinstance(x, kn.Tensor)]
    for part in (p for p in parts(y) if isinstance(p, kn.Tensor) and p.requires_grad):
        g = np.ones(part.shape, part.dtype)
        found += [t.data for t in kn.gradients(part, ends, g, retain_graph=True, create_graph=create_graph)]
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", OPS)
def test_finite_numbers_make_no_nan(op, dtype):
    scales = [1e4, -1e4] if op.name in BEYOND and dtype == np.float32 else [1e4, -1e4, 1e30, -1e30, 1e-30]
    for i, sample in enumerate(op.samples):
        base = sample.make(op.name, i)
        spots = [k for k, x in enumerate(base) if is_float(x)]
        if op.name in OUTSIDE or not all(np.isfinite(base[k]).all() for k in spots):
            continue
        for scale in scales:
            for chosen in [*([k] for k in spots), spots]:
                inputs = [np.asarray(x * scale, dtype) if k in chosen else x for k, x in enumerate(base)]
                inputs = [x.astype(dtype) if is_float(x) else x for x in inputs]
                try:
                    with np.errstate(all="ignore"):
                        found = [results(op, sample, inputs, create_graph) for create_graph in (False, True)]
                except kn.errors.ArgumentError:  # a negative variance, no positive definite matrix: refused
                    continue
                assert not any(np.isnan(a).any() for pair in found for a in pair), (
                    f"{sample}: inputs {chosen} · {scale}"
                )


@pytest.mark.parametrize("name", ["std", "vector_norm", "hypot", "mean", "logsumexp", "logaddexp", "gelu", "atan2"])
def test_what_float32_can_hold_is_found_in_float32(name):
    """At 10³⁰ and at 10⁻³⁰ the squares are out of range, but not the result."""
    op = ALL_OPS[name]
    for i, sample in enumerate(op.samples):
        for scale in (1e30, 1e-30):
            inputs = [np.asarray(x * scale, np.float32) if is_float(x) else x for x in sample.make(op.name, i)]
            exact = results(op, sample, [x.astype(np.float64) if is_float(x) else x for x in inputs])
            for a, b in zip(results(op, sample, inputs), exact, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.max(np.abs(b), initial=1e-32))


UNMOVED = {
    "nan_to_num": "that is what it is for",
    "copysign": "NaN has a sign",
    "topk": "NaN counts as the largest value, and the others are asked for",
}


@pytest.mark.parametrize("op", OPS)
def test_nan_comes_out_of_whatever_depends_on_it(op):
    is_asked = op.name not in UNMOVED and not op.no_gradient
    for i, sample in enumerate(op.samples if is_asked else []):
        inputs = sample.make(op.name, i)
        for k, x in [(k, x) for k, x in enumerate(inputs) if is_float(x)]:
            for at in {0, x.size // 2, x.size - 1} if x.size else ():

                def with_element(value, k=k, x=x, at=at, inputs=inputs, sample=sample):
                    changed = x.copy()
                    changed.reshape(-1)[at] = value
                    try:
                        with np.errstate(all="ignore"):
                            return raw(call(op, [*inputs[:k], changed, *inputs[k + 1 :]], sample))
                    except kn.errors.ArgumentError:
                        return None

                plain, moved, lost = raw(call(op, inputs, sample)), with_element(2.0**20), with_element(np.nan)
                if moved is None or lost is None:
                    continue
                pairs = zip(plain, moved, strict=True)
                if any(not np.array_equal(a, b, equal_nan=True) for a, b in pairs if a.dtype.kind == "f"):
                    assert any(np.isnan(a).any() for a in lost if a.dtype.kind == "f"), f"{sample}: input {k}[{at}]"
