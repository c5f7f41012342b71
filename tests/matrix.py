"""What every operator must satisfy, as functions that return nothing or fail; `test_operators.py` runs them on all
operators, `test_the_tests.py` on broken ones that they must refuse."""

import inspect
from typing import Any

import numpy as np

import kinone as kn
from kinone.core.graph import Leaf
from kinone.core.modes import modes
from kinone.core.op import Op
from kinone.core.tensor import Tensor, wrap
from kinone.errors import KinoneError
from kinone.ops.declare import ByDefinition, Literal, NoOnnx, Onnx, Sample


def is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def parts(y: Any) -> tuple[Any, ...]:
    return y if isinstance(y, tuple) else (y,)


def raw(y: Any) -> list[np.ndarray]:
    return [np.asarray(p.data if isinstance(p, Tensor) else p) for p in parts(y)]


def leaves(inputs: list[Any]) -> list[Any]:
    """The inputs with every floating array as a leaf tensor."""
    return [wrap(x, Leaf()) if is_float(x) else x for x in inputs]


def call(op: Op[...], inputs: list[Any], sample: Sample) -> Any:
    return op(*inputs, **sample.attrs)


def gradients(op: Op[...], inputs: list[Any], sample: Sample, *, create_graph: bool) -> list[np.ndarray]:
    xs = leaves(inputs)
    y = next(p for p in parts(call(op, xs, sample)) if p.dtype.kind == "f")
    g = np.linspace(0.5, 1.5, max(y.size, 1), dtype=y.dtype)[: y.size].reshape(y.shape)
    return [t.data for t in kn.gradients(y, [x for x in xs if isinstance(x, Tensor)], g, create_graph=create_graph)]


def has_gradient(op: Op[...], inputs: list[Any]) -> bool:
    return not op.no_gradient and any(map(is_float, inputs))


def same_bits(a: list[np.ndarray], b: list[np.ndarray], what: str) -> None:
    assert len(a) == len(b), what
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape, f"{what}: {x.dtype}{x.shape} and {y.dtype}{y.shape}"
        assert x.tobytes() == y.tobytes(), f"{what}: bits differ"


def close(a: list[np.ndarray], b: list[np.ndarray], rtol: float, what: str) -> None:
    assert len(a) == len(b), what
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol, err_msg=what)


# ---------------------------------------------------------------------------- the declaration
def check_declaration(op: Op[...]) -> None:
    doc = op.__doc__ or ""
    assert op.samples, f"{op.name} has no sample"
    assert "=" in doc.split("\n\n")[0], f"{op.name}: the docstring begins with its formula"
    if op.no_gradient:
        assert op.rule is None
        assert len(op.no_gradient) > 10, f"{op.name}: no_gradient says why"
    else:
        assert op.rule is not None or op.definition is not None, f"{op.name} has no rule"
        assert "∂L/∂" in doc, f"{op.name}: the docstring states the gradient"
    assert isinstance(op.onnx, Onnx | NoOnnx | ByDefinition), f"{op.name}: an ONNX mapping, or a reason why not"
    if isinstance(op.onnx, ByDefinition):
        assert op.definition is not None, f"{op.name} has no definition to export"


def check_onnx_names(op: Op[...]) -> None:
    """The mapping names an operator of ONNX, attributes that it has and inputs of ours."""
    import onnx

    if not isinstance(op.onnx, Onnx):
        return
    schema = onnx.defs.get_schema(op.onnx.op_type)
    unknown = set(op.onnx.attributes) - set(schema.attributes)
    assert not unknown, f"{op.name}: ONNX {op.onnx.op_type} has no attribute {unknown}"
    ours = {*op.inputs, *op.attributes, ""}
    facts = {f"{name}_{fact}" for name in op.inputs for fact in ("shape", "dtype")}
    for part in (*op.onnx.attributes.values(), *(op.onnx.inputs or ()), op.onnx.unless):
        needs = inspect.signature(part).parameters.values() if callable(part) else ()
        named = {p.name for p in needs if p.default is p.empty} if callable(part) else {getattr(part, "name", part)}
        unknown = set() if part is None or isinstance(part, Literal) else named - ours - facts
        assert not unknown, f"{op.name}: {unknown} is neither input nor attribute"
    assert len(op.onnx.inputs or op.inputs) <= schema.max_input


# ---------------------------------------------------------------------------- values
def check_value(op: Op[...], sample: Sample, inputs: list[Any], oracle: Any) -> None:
    """The forward against the definition, the NumPy function or an oracle written for the tests."""
    got = raw(call(op, inputs, sample))
    for reference in [*filter(None, [op.definition, oracle]), *op.numpy]:
        packs = reference in op.numpy and op.is_variadic and not op.required  # np.stack([a, b])
        want = raw(reference(inputs, **sample.attrs) if packs else reference(*inputs, **sample.attrs))
        close(got, want, 1e-12, f"{op.name} against {getattr(reference, '__name__', reference)}")


def check_paths(op: Op[...], sample: Sample, inputs: list[Any]) -> None:
    """Arrays and Tensors go the same way; a second call gives the same bits; nothing is written into."""
    frozen = [x.copy() if isinstance(x, np.ndarray) else x for x in inputs]
    for x in frozen:
        if isinstance(x, np.ndarray):
            x.flags.writeable = False
    first = raw(call(op, frozen, sample))
    same_bits(first, raw(call(op, leaves(frozen), sample)), f"{op.name}: arrays and Tensors")
    same_bits(first, raw(call(op, frozen, sample)), f"{op.name}: a second call")
    same_bits([x for x in frozen if isinstance(x, np.ndarray)], [x for x in inputs if isinstance(x, np.ndarray)],
              f"{op.name} changed its input")  # fmt: skip
    if has_gradient(op, inputs):
        g1 = gradients(op, frozen, sample, create_graph=False)
        same_bits(g1, gradients(op, frozen, sample, create_graph=False), f"{op.name}: gradient, a second time")
        g2 = gradients(op, frozen, sample, create_graph=True)
        close(g1, g2, 1e-10, f"{op.name}: rule on arrays and on Tensors")
        for x, g in zip(filter(is_float, inputs), g1, strict=True):
            assert g.shape == x.shape and g.dtype == x.dtype, (
                f"{op.name}: gradient {g.dtype}{g.shape} of {x.dtype}{x.shape}"
            )


def check_layouts(op: Op[...], sample: Sample, inputs: list[Any]) -> None:
    """Strides are nobody's business: reversed, transposed and padded views give the value of the plain array."""
    plain = raw(call(op, inputs, sample))

    def views(x: np.ndarray) -> list[np.ndarray]:
        padded = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        padded[..., ::2] = x
        return [np.flip(np.flip(x).copy()), np.asfortranarray(x), padded[..., ::2]]

    for kind in range(3):
        strided = [views(x)[kind] if isinstance(x, np.ndarray) and x.ndim else x for x in inputs]
        close(raw(call(op, strided, sample)), plain, 1e-12, f"{op.name}: layout {kind}")
        if has_gradient(op, inputs):
            close(gradients(op, strided, sample, create_graph=False), gradients(op, inputs, sample, create_graph=False),
                  1e-10, f"{op.name}: gradient, layout {kind}")  # fmt: skip


def check_dtype(op: Op[...], sample: Sample, index: int, dtype: Any) -> None:
    """float16, float32 and float64 come out as they went in, with the value that float64 has up to rounding."""
    inputs = sample.make(op.name, index, dtype)
    got = raw(call(op, inputs, sample))
    want = raw(call(op, [x.astype(np.float64) if is_float(x) else x for x in inputs], sample))
    rough = {np.float16: 2e-2, np.float32: 2e-5, np.float64: 1e-13}[dtype]
    for y, exact in zip(got, want, strict=True):
        if exact.dtype == np.float64 and any(map(is_float, inputs)) and "dtype" not in sample.attrs:
            assert y.dtype == dtype, f"{op.name}: {np.dtype(dtype)} in, {y.dtype} out"
            scale = np.max(np.abs(exact[np.isfinite(exact)]), initial=1.0)
            np.testing.assert_allclose(y.astype(np.float64), exact, rtol=rough, atol=rough * scale)


# ---------------------------------------------------------------------------- gradients
def check_gradient(op: Op[...], sample: Sample, inputs: list[Any]) -> None:
    """First order, at the house's step and at the seeds' own criterion."""
    kn.gradcheck(op, *inputs, **sample.attrs)
    kn.gradcheck(op, *inputs, h=1e-3, tolerance=1e-4, **sample.attrs)


def check_second_order(op: Op[...], sample: Sample, inputs: list[Any]) -> None:
    kn.gradgradcheck(op, *inputs, **sample.attrs)


def check_twice(op: Op[...], sample: Sample, inputs: list[Any]) -> None:
    """One tensor in two places gets both gradients."""
    spots = [i for i, x in enumerate(inputs) if is_float(x)]
    pairs = [(i, j) for i in spots for j in spots if i < j and inputs[i].shape == inputs[j].shape]
    for i, j in pairs[:1]:
        equal = list(inputs)
        equal[j] = equal[i].copy()
        apart = leaves(equal)
        together = list(apart)
        together[j] = together[i]
        totals = []
        for xs in (apart, together):
            y = next(p for p in parts(call(op, xs, sample)) if p.dtype.kind == "f")
            (gi, gj) = kn.gradients(y, [xs[i], xs[j]], np.ones(y.shape))
            totals.append(gi.data if xs is together else gi.data + gj.data)
        np.testing.assert_allclose(totals[1], totals[0], rtol=1e-10, atol=1e-12, err_msg=f"{op.name}(x, x)")


# ---------------------------------------------------------------------------- refusals
def check_error(op: Op[...], bad: Any, index: int) -> None:
    """One error in the house's form, from Tensors and from the graph's side, and nothing left behind."""
    import re

    inputs = bad.make(op.name, 1000 + index)
    xs = leaves(inputs)
    before = [x.data.tobytes() for x in xs if isinstance(x, Tensor)]
    if not any(isinstance(x, Tensor) for x in xs):
        xs = [wrap(x) if isinstance(x, np.ndarray) else x for x in xs]
    try:
        op(*xs, **bad.attrs)
    except KinoneError as error:
        message = str(error)
        assert isinstance(error, bad.error), f"{op.name}: {type(error).__name__}"
        assert re.match(rf"\[{op.name}\] expected .+, got .+", message, re.DOTALL), f"not the house's form: {message}"
        assert re.search(bad.match, message), f"{message!r} does not match {bad.match!r}"
    else:
        raise AssertionError(f"{op.name} accepted {bad}")
    assert before == [x.data.tobytes() for x in xs if isinstance(x, Tensor) and x.dtype.kind == "f"][: len(before)]
    assert modes.recording and not modes.observers
