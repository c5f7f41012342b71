"""The samples themselves: what they leave out, no generated test can see."""

from collections import defaultdict

import numpy as np
import pytest

import kinone as kn
from kinone.ops import ALL_OPS
from matrix import call, is_float, leaves, parts

DIFFERENTIABLE = [pytest.param(op, id=op.name) for op in ALL_OPS.values() if not op.no_gradient]
STEPS = "constant between its jumps"
ZERO = {
    **{(name, "x"): STEPS for name in ("sign", "floor", "ceil", "round", "trunc")},
    ("floor_divide", "a"): STEPS,
    ("floor_divide", "b"): STEPS,
    ("copysign", "b"): "only its sign is used",
}


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_every_input_has_a_gradient_to_be_wrong(op):
    """A gradient of zero is right by accident: each differentiable input has a smooth sample where it is not."""
    norms = defaultdict(float)
    for i, sample in enumerate(op.samples):
        xs = leaves(sample.make(op.name, i))
        y = [p for p in parts(call(op, xs, sample)) if isinstance(p, kn.Tensor) and p.requires_grad]
        if sample.smooth and y:
            weights = [np.linspace(0.5, 1.5, p.size).reshape(p.shape) for p in y]
            total = kn.stack(*(((p + p * p) * w).sum() for p, w in zip(y, weights, strict=True))).sum()
            ends = {k: x for k, x in enumerate(xs) if isinstance(x, kn.Tensor)}
            for k, g in kn.gradients(total, ends).items():
                name = op.inputs[0 if op.is_variadic else k]
                norms[name] = max(norms[name], float(np.linalg.norm(g.data)))
    for name, dtype in zip(op.inputs, op.dtypes, strict=True):
        if dtype in ("float", "number", "any"):
            assert (norms[name] > 1e-3) != ((op.name, name) in ZERO), f"{name}: ‖∂L/∂{name}‖ = {norms[name]:g}"


@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in ALL_OPS.values()])
def test_every_attribute_is_varied(op):
    """Some sample gives each attribute a value that is not its default."""
    for name, default in op.defaults.items():
        given = [{**dict(zip(op.leading, s.inputs, strict=False)), **s.attrs}.get(name, default) for s in op.samples]
        assert any(value is not default and value != default for value in given), f"{name} is {default!r} everywhere"


def test_floating_inputs_are_floating():
    """A mask, an index or a mapping of dtypes that no sample obeys would pass unseen."""
    for op in ALL_OPS.values():
        for i, sample in enumerate(op.samples):
            for k, x in enumerate(sample.make(op.name, i)):
                slot = 0 if op.is_variadic else k
                if isinstance(x, np.ndarray):
                    assert x.dtype.kind in op.kinds[slot], f"{op.name}, sample {i}: input {k} is {x.dtype}"
                    assert op.dtypes[slot] != "float" or is_float(x)
