"""The operator: a forward function, a rule, and the data that tests, docs and ONNX need about it."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Generic, ParamSpec, TypeAlias

import numpy as np

from kinone.core.arguments import KINDS, bound, checked
from kinone.core.graph import Node, Part, propagate, unbroadcast
from kinone.core.modes import enable_grad, modes
from kinone.core.tensor import Tensor, wrap
from kinone.core.tree import is_a
from kinone.errors import ArgumentError, GraphError, accepted, explained, fitting

P = ParamSpec("P")
Function = Callable[..., Any]

Array: TypeAlias = Annotated[Any, "array"]
"""An input of an operator: an array inside forwards and rules, a Tensor where a rule is being differentiated."""


class Op(Generic[P]):
    """A differentiable function of arrays, called with arrays or Tensors; `@op(…)` makes one.

    With arrays alone a call runs the forward function and nothing else. With a Tensor among the inputs the result is
    wrapped, and a node recorded if recording is on and an input requires gradients.
    """

    def __init__(self, forward: Callable[P, Any], d: dict[str, Any]) -> None:
        self.forward = self.__wrapped__ = forward
        self.name = self.__name__ = forward.__name__
        self.__doc__, self.__module__ = forward.__doc__, forward.__module__
        self.onnx, self.samples, self.errors, self.no_gradient = d["onnx"], d["samples"], d["errors"], d["no_gradient"]
        self.methods, self.reflected, self.numpy = d["methods"], d["reflected"], d["numpy"]
        self.definition: Function | None = d["definition"]
        parameters = inspect.signature(forward).parameters.values()
        self.inputs = [p.name for p in parameters if _is_input(p)]
        self.attributes = {p.name: p.default for p in parameters if not _is_input(p)}
        self.defaults = {name: value for name, value in self.attributes.items() if value is not inspect.Parameter.empty}
        self.takes = {p.name: accepted(p.annotation) for p in parameters if not _is_input(p)}
        self.required = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
        self.optional = {p.name for p in parameters if p.default is None}
        self.leading = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        self.is_variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.arity = len(self.inputs) if self.leading == self.inputs and not self.is_variadic else -1
        self.dtypes: list[str] = [d["dtypes"] if isinstance(d["dtypes"], str) else d["dtypes"][n] for n in self.inputs]
        self.kinds = [KINDS[dtype] for dtype in self.dtypes]
        self.kinds_of_all = {kind for kind in "fiub" if all(kind in kinds for kinds in self.kinds)}
        self.stretches: bool = (len(self.inputs) > 1 or self.is_variadic) if d["stretches"] is None else d["stretches"]
        self.rule: Function | None = None
        self._serve(None, [])

    def _serve(self, rule: Function | None, names: list[str], serves_tensors: bool = False) -> None:
        """Derive from a rule's parameter names what a node must keep for it."""
        facts = {f"{name}_{fact}": (i, fact) for i, name in enumerate(self.inputs) for fact in ("shape", "dtype")}
        unknown = set(names) - {"g", "y"} - {*self.inputs} - self.attributes.keys() - facts.keys()
        if unknown or self.rule is not None:
            may = f"one rule that names g, y, {', '.join(self.inputs)}, <input>_shape, <input>_dtype or an attribute"
            raise ArgumentError(self.name, may, ", ".join(sorted(unknown)) or "a second rule")
        self.rule, self._names = rule, names
        self.is_fused = self.definition is not None and not serves_tensors
        self._facts = [(name, *facts[name]) for name in names if name in facts]
        self._keeps = [rule is None or self.is_fused or name in names for name in self.inputs]
        self._keeps_all, self._keeps_y = all(self._keeps), "y" in names
        self._nothing = [None] * (0 if any(self._keeps) or self.is_variadic else len(self.inputs))

    def backward(self, rule: Function | None = None, *, serves_tensors: bool = False) -> Any:
        """Set the rule: a pure function whose parameter names say what it needs, and so what is kept.

        It may name `g` (the cotangent of the output), `y` (the output), an input, `<input>_shape`, `<input>_dtype` and
        any attribute, and returns a gradient for each input: an array, None, or a function that makes it when needed.
        The engine un-broadcasts and accumulates. The rule of a fused operator (one with a `definition`) works on arrays
        only, and higher orders differentiate the definition, unless it `serves_tensors` as every other rule does.
        """
        if rule is None:
            return partial(self.backward, serves_tensors=serves_tensors)
        self._serve(rule, list(inspect.signature(rule).parameters), serves_tensors)
        return rule

    def __call__(self, *args: P.args, **attrs: P.kwargs) -> Tensor:
        try:
            given: Any = args
            named: Any = attrs
            if len(args) != self.arity:
                given, named = bound(self, args, attrs)
            if named:
                fitting(self, named)
            arrays: list[Any] = []
            parents: list[Node | None] = []
            has_tensor, needs_node, dtype, is_plain = False, False, None, True
            for a in given:
                node = None
                if isinstance(a, Tensor):
                    has_tensor, node, a = True, a.node, a.data
                    needs_node = needs_node or node is not None
                arrays.append(a)
                parents.append(node)
                if type(a) is np.ndarray and (dtype is None or a.dtype is dtype):
                    dtype: Any = a.dtype
                else:
                    is_plain = False
            if not is_plain or dtype.kind not in self.kinds_of_all:
                checked(self, arrays, has_tensor)
            if not has_tensor:
                return self.forward(*arrays, **named)  # pyright: ignore[reportCallIssue]
            for watcher in (watchers := modes.observers):
                watcher.before_forward(self, arrays, named)
            y = self.forward(*arrays, **named)  # pyright: ignore[reportCallIssue]
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, ZeroDivisionError) as error:
            raise (told := explained(self, error, args, attrs)) from (error.__cause__ if told is error else error)
        if needs_node and not self.no_gradient and modes.recording:
            result = self._record(arrays, parents, named, y)
        else:
            result: Any = tuple(map(wrap, y)) if is_a(tuple, y) else wrap(y)
        for watcher in watchers:
            watcher.after_forward(self, given, named, result)
        return result

    def _record(self, arrays: list[Any], parents: list[Node | None], attrs: dict[str, Any], y: Any) -> Any:
        attrs = {**self.defaults, **attrs} if attrs else self.defaults
        for name, i, fact in self._facts:
            named = arrays if self.is_variadic else [arrays[i]]
            facts = [np.shape(a) if fact == "shape" else np.asarray(a).dtype for a in named]
            attrs = {**attrs, name: tuple(facts) if self.is_variadic else facts[0]}
        shapes = [a.shape if type(a) is np.ndarray else np.shape(a) for a in arrays] if self.stretches else None
        if not self._keeps_all:
            arrays = self._nothing or [a if k else None for a, k in zip(arrays, self._keeps, strict=False)]
        node = Node(self, tuple(parents), arrays, y if self._keeps_y else None, attrs, shapes)
        if not is_a(tuple, y):
            return wrap(y, node if y.dtype.kind == "f" else None)
        node.attrs = {**attrs, "outputs": [(part.shape, part.dtype) for part in y]}
        return tuple(wrap(part, Part(node, i) if part.dtype.kind == "f" else None) for i, part in enumerate(y))

    def pull(self, node: Node, g: Any, create_graph: bool, useful: set[Node] | None) -> list[Any]:
        """The cotangents of the node's inputs: the rule's, with broadcasting undone."""
        if "outputs" in node.attrs:  # g is a list of (number of the output, cotangent) for those that somebody used
            used = dict(g)
            zeros = [np.broadcast_to(np.zeros((), dtype), shape) for shape, dtype in node.attrs["outputs"]]
            g = tuple(used[i] if i in used else wrap(z) if create_graph else z for i, z in enumerate(zeros))
        if self.rule is None or (create_graph and self.is_fused):
            gradients = self._replay(node, g, create_graph)
        else:
            kept: Any = node.arrays
            if create_graph and any(self._keeps):
                kept = [_attached(a, p) for a, p in zip(node.arrays, node.parents, strict=True)]
            arguments: list[Any] = []
            for name in self._names:
                if name == "g":
                    arguments.append(g)
                elif name == "y":
                    arguments.append(_attached(node.y, node) if create_graph else node.y)
                elif name not in self.inputs:
                    arguments.append(node.attrs[name])
                else:
                    arguments.append(tuple(kept) if self.is_variadic else kept[self.inputs.index(name)])
            gradients = self.rule(*arguments)
        if type(gradients) not in (tuple, list):
            gradients = (gradients,)
        out: list[Any] = []
        for i, (gradient, parent) in enumerate(zip(gradients, node.parents, strict=True)):
            if parent is None or gradient is None or (useful is not None and parent not in useful):
                out.append(None)
                continue
            if callable(gradient):  # the rule put off costly work until somebody needs it
                gradient = gradient()
            out.append(gradient if node.shapes is None else unbroadcast(gradient, node.shapes[i]))
        return out

    def _replay(self, node: Node, g: Any, create_graph: bool) -> list[Any]:
        """Differentiate the definition. Each argument gets a node of its own: f(x, x) must not count twice."""
        if self.definition is None:
            raise GraphError(self.name, "a rule or a definition to differentiate by", "neither")
        with enable_grad():
            inputs = [a if p is None else retraced(wrap(a, p)) for a, p in zip(node.arrays, node.parents, strict=True)]
            y = self.definition(*inputs, **{name: node.attrs[name] for name in self.attributes})
        ends = [t.node if isinstance(t, Tensor) else None for t in inputs]
        wanted = {end for end in ends if end is not None}
        total: dict[Node | None, Any] = {}
        for part, cotangent in zip(y, g, strict=True) if is_a(tuple, y) else [(y, g)]:
            if part.node is not None:
                found = propagate(part.node, cotangent, create_graph=create_graph, retain_graph=True, wanted=wanted)
                total.update({end: total[end] + value if end in total else value for end, value in found.items()})
        return [total.get(end) for end in ends]

    def __repr__(self) -> str:
        return f"<op {self.name}({', '.join([*self.inputs, *self.attributes])})>"


def op(
    *, onnx: Any = None, samples: Sequence[Any] = (), errors: Sequence[Any] = (), definition: Function | None = None,
    methods: Sequence[str] = (), reflected: Sequence[str] = (), numpy: Sequence[Any] = (), no_gradient: str = "",
    dtypes: str | dict[str, str] = "float", stretches: bool | None = None,
) -> Callable[[Callable[P, Any]], Op[P]]:  # fmt: skip
    """Make an operator of a forward function on arrays.

    Positional parameters that are bare or annotated `Array` are its inputs, all others its attributes. `definition`:
    the same in other operators, the tests' oracle and the source of higher derivatives. `methods`, `reflected`: names
    on Tensor. `numpy`: NumPy functions that call this operator when they meet a Tensor. `dtypes`: what the inputs may
    be ("float", "number", "any", "integer", "bool"; "index" and "mask" need not agree with the others).
    `no_gradient`: why there is no rule. `stretches`: whether inputs are broadcast (by default if there are several).
    """
    declared: dict[str, Any] = locals().copy()
    return lambda forward: Op(forward, declared)


def _is_input(p: inspect.Parameter) -> bool:
    return p.kind is not p.KEYWORD_ONLY and (p.annotation is p.empty or "'array'" in str(p.annotation))


def _attached(value: Any, origin: Node | None) -> Any:
    """What was kept for a rule that is to be differentiated: arrays as the Tensors that they were in the graph."""
    if is_a(tuple, value) and origin is not None:  # the outputs of a call that gave several
        return tuple(wrap(part, Part(origin, i)) for i, part in enumerate(value))
    return wrap(value, origin) if isinstance(value, np.ndarray | np.generic) else value


@op(dtypes="any", stretches=False)
def retraced(x: Array) -> Array:
    """y = x, behind a node of its own, at which a walk can end without ending at every other use of x."""
    return x


@retraced.backward
def retraced_backward(g: Array) -> Array:
    return g
