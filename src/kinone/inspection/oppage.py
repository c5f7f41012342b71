"""What there is to say about an operator, as plain data: a line of the list, and a page with a live gradient check."""

import dis
import inspect
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from kinone.core.check import gradcheck
from kinone.core.op import Op
from kinone.core.tensor import wrap
from kinone.errors import ArgumentError
from kinone.inspection.curve import plain
from kinone.ops import ALL_OPS, FAMILIES
from kinone.ops.declare import Bad, Literal, Onnx, Sample

STEPS = ((1, 1e-6, 1e-6), (1, 1e-3, 1e-4), (2, 1e-5, 1e-6))
"""The checks of a gradient, as the tests make them: (order, step h, largest relative error)."""


@dataclass(frozen=True)
class Entry:
    """An operator in the list; `orders` are those that its samples let finite differences check."""

    name: str
    family: str
    signature: str
    formula: str
    gradient: str
    no_gradient: str
    orders: tuple[int, ...]
    onnx: str
    kernels: tuple[str, ...]
    samples: int


@dataclass(frozen=True)
class Source:
    """Where a function of an operator stands, and its text."""

    role: str
    place: str
    text: str


@dataclass(frozen=True)
class SampleCheck:
    """The relative errors of one sample's gradients, one for each of STEPS; none where `reason` says why not."""

    errors: tuple[float, ...]
    is_passed: bool
    seconds: float
    reason: str


def families() -> dict[str, str]:
    """The families that have operators, and what each is about."""
    used = {op.__module__ for op in ALL_OPS.values()}
    return {_last(f.__name__): (f.__doc__ or "").split("\n")[0] for f in FAMILIES if f.__name__ in used}


def find(name: str) -> Op[...]:
    """The operator of that name, or an error that names the nearest."""
    if name not in ALL_OPS:
        raise ArgumentError("ops", "the name of an operator", repr(name), hint=_nearest(name, [*ALL_OPS]))
    return ALL_OPS[name]


def entries(family: str = "", text: str = "") -> list[Entry]:
    """The operators of a family (of all if empty) whose line contains a text, upper and lower case alike."""
    if family and family not in families():
        raise ArgumentError("ops", "the name of a family", repr(family), hint=_nearest(family, [*families()]))
    found = (entry(op) for op in ALL_OPS.values() if not family or _last(op.__module__) == family)
    return [e for e in found if text.lower() in " ".join([*map(str, vars(e).values())]).lower()]


def _nearest(name: str, names: list[str]) -> str:
    near = get_close_matches(name.lower(), names, n=4, cutoff=0.5) or sorted(n for n in names if name.lower() in n)[:4]
    return f"the nearest: {', '.join(near)}." if near else f"there are {', '.join(sorted(names)[:12])}, …"


def _last(module: str) -> str:
    return module.rpartition(".")[2]


# ------------------------------------------------------------------------------ a line of the list
def entry(op: Op[...]) -> Entry:
    """The line of an operator.

    >>> entry(ALL_OPS["softmax"]).signature
    '(x, *, axis=-1)'
    """
    formula, gradient = formulas(op)
    is_checked = not op.no_gradient and any(_is_checked(op, i) for i in range(len(op.samples)))
    return Entry(
        op.name, _last(op.__module__), signature(op), formula, gradient, op.no_gradient, (1, 2) if is_checked else (),
        onnx(op), kernels(op), len(op.samples),
    )  # fmt: skip


def formulas(op: Op[...]) -> tuple[str, str]:
    """What an operator computes, and its gradients, from the docstring."""
    paragraphs = inspect.cleandoc(op.__doc__ or "").split("\n\n")
    formula, _, gradient = paragraphs[0].partition("∂L/∂")
    for paragraph in paragraphs[1:]:
        gradient = gradient or paragraph.partition("∂L/∂")[2]
    return " ".join(formula.split()), " ".join(f"∂L/∂{gradient}".split()) if gradient else ""


def signature(op: Op[...]) -> str:
    """The parameters as one writes them, without annotations."""
    whole = inspect.signature(op.forward)
    bare = [p.replace(annotation=p.empty) for p in whole.parameters.values()]
    return plain(str(whole.replace(parameters=bare, return_annotation=whole.empty)))


def onnx(op: Op[...]) -> str:
    """The operator of ONNX and how ours maps to it, or why it does not."""
    if not isinstance(op.onnx, Onnx):
        return repr(op.onnx)
    attributes = (f"{name}={_onnx_part(part)}" for name, part in op.onnx.attributes.items())
    inputs = (_onnx_part(part) for part in (op.inputs if op.onnx.inputs is None else op.onnx.inputs))
    return f"{op.onnx.op_type}({', '.join([*inputs, *attributes])})"


def _onnx_part(part: Any) -> str:
    """Where a value in ONNX comes from: a name, a constant, or what it is computed from."""
    if callable(part):
        return f"{part.__name__.strip('_')}({', '.join(inspect.signature(part).parameters)})"
    return str(part.value if isinstance(part, Literal) else getattr(part, "name", part) or "∅")


def kernels(op: Op[...]) -> tuple[str, ...]:
    """The kernels that the forward and the rule call themselves; none if all they need is exact in NumPy."""
    names: dict[str, None] = {}
    seen: set[Any] = set()
    for function in (op.forward, op.rule):
        _collect_kernels(function, names, seen)
    return tuple(names)


def _collect_kernels(function: Any, names: dict[str, None], seen: set[Any]) -> None:
    if not isinstance(function, FunctionType) or function in seen or not function.__module__.startswith("kinone.ops"):
        return
    seen.add(function)
    _collect_kernels(getattr(function, "__wrapped__", None), names, seen)
    for code in _codes(function.__code__):
        module: Any = None
        for instruction in dis.get_instructions(code):
            if module is not None and instruction.opname != "EXTENDED_ARG":
                is_named = instruction.opname in (
                    "LOAD_ATTR",
                    "LOAD_METHOD",
                )  # else `by_kernel` looks up the rule's name
                names[str(instruction.argval) if is_named else function.__name__] = None
                module = None
            if instruction.opname == "LOAD_GLOBAL":
                value = function.__globals__.get(instruction.argval)
                module = value if isinstance(value, ModuleType) and value.__name__ == "kinone.kernels" else None
                _collect_kernels(value, names, seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function and of those within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


# ------------------------------------------------------------------------------ the page
def facts(op: Op[...]) -> dict[str, str]:
    """What an operator declares, in words."""
    names = list(inspect.signature(op.rule).parameters) if op.rule else []
    kept = [n for n in op.inputs if op.is_fused or op.rule is None or n in names] + ["y"] * ("y" in names)
    if op.no_gradient:
        gradient = f"none: {op.no_gradient}"
    elif op.rule is None:
        gradient = "the definition is differentiated"
    elif op.is_fused:
        gradient = "the rule computes on arrays; for higher orders the definition is differentiated"
    else:
        gradient = "the rule serves arrays and Tensors, so higher orders differentiate the rule"
    modules = ((getattr(f, "__module__", None) or "numpy").replace("numpy", "np") for f in op.numpy)
    listed = {
        "inputs": ", ".join(f"{n}: {dtype}" for n, dtype in zip(op.inputs, op.dtypes, strict=True)),
        "broadcasts": "yes" if op.stretches else "",
        "gradient": gradient,
        "kept for it": "" if op.no_gradient else ", ".join(kept) or "nothing but shapes",
        "on Tensor": ", ".join(f".{name}" for name in (*op.methods, *op.reflected)),
        "in NumPy": ", ".join(f"{m}.{f.__name__}" for m, f in zip(modules, op.numpy, strict=True)),
        "in ONNX": onnx(op),
    }
    return {name: text for name, text in listed.items() if text}


def description(op: Op[...]) -> str:
    """The docstring below its formula."""
    return inspect.cleandoc(op.__doc__ or "").partition("\n\n")[2]


def sources(op: Op[...]) -> list[Source]:
    """Definition, forward and rule, without what the rest of the page shows: docstring and declaration."""
    functions = {"definition": op.definition, "forward": op.forward, "rule": op.rule}
    return [_source(role, f) for role, f in functions.items() if f is not None]


def _source(role: str, function: Callable[..., Any]) -> Source:
    try:
        lines, first = inspect.getsourcelines(inspect.unwrap(function))
    except (OSError, TypeError):
        return Source(role, function.__module__, "# no source here")
    place = f"{function.__module__.replace('.', '/')}.py:{first}"
    text = "".join(lines)
    doc = function.__doc__
    if role == "forward" and doc:
        quoted = text.find('"""')
        end = text.find('"""', quoted + 3) + 3
        text = text[: text.rfind("\n", 0, quoted)] + text[end:]
        text = text[text.find("\ndef ") + 1 :]
    return Source(role, place, textwrap.dedent(text).rstrip())


def _is_checked(op: Op[...], index: int) -> bool:
    sample = op.samples[index]
    return sample.smooth and any(isinstance(x, np.ndarray) and x.dtype.kind == "f" for x in sample.make(op.name, index))


def check(op: Op[...], index: int) -> SampleCheck:
    """Hold the gradients of sample number `index` against finite differences, now."""
    sample: Sample = op.samples[index]
    reason = op.no_gradient or sample.reason
    if reason or not _is_checked(op, index):
        return SampleCheck((), True, 0.0, reason or "no floating input")
    inputs = sample.make(op.name, index)
    start = time.perf_counter()
    errors: list[float] = []
    for order, h, tolerance in STEPS:
        try:
            found = gradcheck(lambda *xs: op(*xs, **sample.attrs), *inputs, order=order, h=h, tolerance=tolerance,
                              raises=False).errors  # fmt: skip
        except Exception as error:  # noqa: BLE001 # a broken rule may raise anything, and the page is there to show it
            return SampleCheck(tuple(errors), False, time.perf_counter() - start, f"{type(error).__name__}: {error}")
        errors.append(max(found, default=0.0))
    is_passed = all(e <= tolerance for e, (_, _, tolerance) in zip(errors, STEPS, strict=True))
    return SampleCheck(tuple(errors), is_passed, time.perf_counter() - start, "")


def refusal(op: Op[...], index: int) -> str:
    """What the operator says to its error sample number `index`; empty if it accepts it."""
    bad: Bad = op.errors[index]
    inputs = [wrap(x) if isinstance(x, np.ndarray) else x for x in bad.make(op.name, 1000 + index)]
    try:
        op(*inputs, **bad.attrs)
    except Exception as error:  # noqa: BLE001 # whatever it is, it is what a user would see
        return str(error)
    return ""
