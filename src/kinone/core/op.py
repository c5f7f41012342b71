"""The operator: a forward function, a rule, and the data that tests, docs and ONNX need about it."""

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, ParamSpec, TypeAlias

import numpy as np

from kinone.core.graph import FREED, Node, Part, propagate, unbroadcast
from kinone.core.modes import enable_grad, modes
from kinone.core.tensor import Tensor, as_array, wrap
from kinone.errors import ArgumentError, DtypeError, KinoneError, ShapeError

P = ParamSpec("P")

Array: TypeAlias = Annotated[Any, "array"]
"""An input of an operator: an array inside forwards and rules, a Tensor where a rule is being differentiated."""

_KINDS = {"float": "f", "number": "fiu", "any": "fiub", "integer": "iu", "bool": "b", "index": "iu", "mask": "b"}
_WORDS = {"float": "a floating dtype", "number": "a numeric dtype", "any": "any dtype", "integer": "an integer dtype",
          "bool": "dtype bool", "index": "an integer dtype", "mask": "dtype bool"}  # fmt: skip


class Op(Generic[P]):
    """A differentiable function of arrays, called with arrays or Tensors; make one with `@op(…)`.

    Calling it with arrays alone runs the forward function and nothing else. With a Tensor among the inputs the result
    is wrapped, and a node recorded if recording is on and an input requires gradients.
    """

    def __init__(self, forward: Callable[P, Any], **declared: Any) -> None:
        self.forward = forward
        self.name = self.__name__ = forward.__name__
        self.__doc__, self.__module__, self.__wrapped__ = forward.__doc__, forward.__module__, forward
        self.onnx: Any = declared["onnx"]
        self.samples: Sequence[Any] = tuple(declared["samples"])
        self.errors: Sequence[Any] = tuple(declared["errors"])
        self.definition: Callable[..., Any] | None = declared["definition"]
        self.methods: tuple[str, ...] = declared["methods"]
        self.reflected: tuple[str, ...] = declared["reflected"]
        self.numpy: tuple[Any, ...] = declared["numpy"]
        self.no_gradient: str = declared["no_gradient"]
        self.rule: Callable[..., Any] | None = None
        self.is_fused = self.definition is not None  # until a rule says that it serves Tensors too
        parameters = inspect.signature(forward).parameters.values()
        inputs = [p for p in parameters if _is_input(p)]
        self.inputs = [p.name for p in inputs]
        self.attributes = {p.name: p.default for p in parameters if not _is_input(p)}
        self.defaults = {name: value for name, value in self.attributes.items() if value is not inspect.Parameter.empty}
        self.is_variadic = any(p.kind is p.VAR_POSITIONAL for p in inputs)
        self._leading = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        is_plain = not self.is_variadic and self._leading == self.inputs
        self.arity = len(inputs) if is_plain else -1
        dtypes = declared["dtypes"]
        self.dtypes: dict[str, str] = dtypes if isinstance(dtypes, dict) else dict.fromkeys(self.inputs, dtypes)
        self._kinds = [_KINDS[self.dtypes[name]] for name in self.inputs]
        self._agree = [self.dtypes[name] not in ("index", "mask") for name in self.inputs]
        self._keeps = [True] * len(inputs)
        self._facts: list[tuple[str, int, str]] = []
        self._has_shapes = declared["stretches"] if declared["stretches"] is not None else len(inputs) > 1 or self.is_variadic

    def backward(self, rule: Callable[..., Any] | None = None, *, serves_tensors: bool = False) -> Any:
        """Set the rule: a pure function whose parameter names say what it needs, hence what is kept.

        It may name `g` (the cotangent of the output), `y` (the output), an input, `<input>_shape`, `<input>_dtype` and
        any attribute, and returns one gradient for each input: an array, None, or a function that makes the array if
        somebody needs it. Broadcasting and accumulation are the engine's business. A fused operator (one with a
        `definition`) has a rule for arrays, and its definition is differentiated for higher orders, unless the rule
        `serves_tensors` as every other rule does.
        """
        if rule is None:
            return lambda rule: self.backward(rule, serves_tensors=serves_tensors)
        names = list(inspect.signature(rule).parameters)
        facts = {f"{name}_{fact}": (i, fact) for i, name in enumerate(self.inputs) for fact in ("shape", "dtype")}
        unknown = [n for n in names if n not in ("g", "y") and n not in self.inputs and n not in self.attributes and n not in facts]
        if unknown or self.rule is not None:
            raise ArgumentError(
                self.name,
                f"one rule that names g, y, {', '.join(self.inputs)}, their _shape or _dtype, or an attribute",
                f"a second rule ({rule.__name__})" if self.rule is not None else ", ".join(unknown),
            )
        self.rule, self._names = rule, names
        self.is_fused = self.definition is not None and not serves_tensors
        self._keeps = [self.is_fused or name in names for name in self.inputs]
        self._facts = [(name, *facts[name]) for name in names if name in facts]
        return rule

    # ------------------------------------------------------------------------------ forward
    def __call__(self, *args: P.args, **attrs: P.kwargs) -> Tensor:
        if len(args) != self.arity:
            args, attrs = self._bind(args, attrs)  # pyright: ignore
        arrays: list[Any] = []
        parents: list[Node | None] = []
        is_traced = has_tensor = False
        for a in args:
            if isinstance(a, Tensor):
                has_tensor = True
                arrays.append(a.data)
                node = a.node
                parents.append(node)
                if node is not None:
                    is_traced = True
            else:
                arrays.append(a)
                parents.append(None)
        try:
            if not has_tensor:
                return self.forward(*args, **attrs)
            self._check(arrays)
            if modes.observers:
                return self._observed(args, arrays, attrs, parents, is_traced)
            y = self.forward(*arrays, **attrs)  # pyright: ignore[reportCallIssue]
        except (ValueError, TypeError, IndexError) as error:
            raise self._explained(error, args, attrs) from (error.__cause__ if isinstance(error, KinoneError) else error)
        if is_traced and modes.recording and not self.no_gradient:
            return self._record(arrays, attrs, parents, y)
        return tuple(wrap(part) for part in y) if type(y) is tuple else wrap(y)  # pyright: ignore[reportReturnType]

    def _record(self, arrays: list[Any], attrs: dict[str, Any], parents: list[Node | None], y: Any) -> Any:
        attrs = {**self.defaults, **attrs} if attrs else self.defaults
        if self._facts:
            attrs = {**attrs, **{name: _fact(arrays, i, fact, self.is_variadic) for name, i, fact in self._facts}}
        shapes = [a.shape if isinstance(a, np.ndarray) else () for a in arrays] if self._has_shapes else None
        if False in self._keeps:
            arrays = [] if self.is_variadic else [a if keep else None for a, keep in zip(arrays, self._keeps, strict=True)]
        kept_y = y if self.rule is not None and "y" in self._names else None
        node = Node(self, tuple(parents), arrays, kept_y, attrs, shapes)
        if type(y) is not tuple:
            return wrap(y, node)
        node.attrs = {**attrs, "outputs": [(np.shape(part), part.dtype) for part in y]}
        return tuple(wrap(part, Part(node, i) if part.dtype.kind == "f" else None) for i, part in enumerate(y))

    def _observed(self, args: Any, arrays: list[Any], attrs: Any, parents: Any, is_traced: bool) -> Any:
        for watcher in modes.observers:
            watcher.before_forward(self, tuple(arrays), attrs)
        y = self.forward(*arrays, **attrs)
        if is_traced and modes.recording and not self.no_gradient:
            result = self._record(list(arrays), attrs, parents, y)
        else:
            result = tuple(wrap(part) for part in y) if type(y) is tuple else wrap(y)
        for watcher in modes.observers:
            watcher.after_forward(self, tuple(args), attrs, result)
        return result

    def _bind(self, args: Any, attrs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Sort a call that does not simply pass every input by position into (inputs, attributes)."""
        attrs = dict(attrs)
        if self.is_variadic:
            n = len(self._leading) - 1
            attrs.update(zip(self._leading, args[:n], strict=False))
            args = args[n:]
            is_packed = len(args) == 1 and isinstance(args[0], list | tuple)
            return tuple(args[0]) if is_packed else args, attrs
        extra = args[len(self._leading) :]
        if extra and len(self._leading) == len(self.inputs) + 1 and all(isinstance(a, int) for a in args[len(self.inputs) :]):
            args = (*args[: len(self.inputs)], args[len(self.inputs) :])  # x.reshape(2, 3) means x.reshape((2, 3))
        elif extra:
            names = ", ".join(self.attributes)
            hint = f"give attributes by name: {names}." if names else ""
            raise ArgumentError(self.name, f"at most {len(self._leading)} positional arguments", str(len(args)), hint=hint)
        given = dict(zip(self._leading, args, strict=False))
        twice = given.keys() & attrs.keys()
        values = {**given, **attrs}
        required = [n for n, p in inspect.signature(self.forward).parameters.items() if p.default is p.empty]
        missing = [name for name in required if name not in values]
        if twice or missing:
            got = f"{', '.join(sorted(twice))} given twice" if twice else f"no {', '.join(missing)}"
            raise ArgumentError(self.name, f"the arguments ({', '.join([*self.inputs, *self.attributes])})", got)
        inputs = tuple(values.pop(name, None) for name in self.inputs)
        return inputs, values

    def _check(self, arrays: list[Any]) -> None:
        """Bring every input to an array or a Python number, and refuse dtypes that the operator does not take."""
        first = None
        for i, a in enumerate(arrays):
            slot = 0 if self.is_variadic else i
            if not isinstance(a, np.ndarray):
                if a is None or type(a) in (float, int, bool):
                    continue
                a = arrays[i] = a.item() if isinstance(a, np.generic) else self._array_like(a, arrays)
                if not isinstance(a, np.ndarray):
                    continue
            dtype = a.dtype
            if dtype.kind not in self._kinds[slot]:
                name = self.inputs[slot]
                hint = "x.astype(kn.float32)." if self._kinds[slot] == "f" else ""
                raise DtypeError(self.name, f"{name} of {_WORDS[self.dtypes[name]]}", str(dtype), hint=hint)
            if self._agree[slot]:
                if first is None:
                    first = dtype
                elif dtype is not first and not _mixes(dtype, first):
                    raise DtypeError(
                        self.name,
                        "inputs of one dtype",
                        f"{first} and {dtype}",
                        hint=f"convert one of them, for example with .astype(kn.{first}).",
                    )
        if first is not None and first.kind in "iu" and len(arrays) > 1 and any(type(a) is float for a in arrays):
            raise DtypeError(self.name, "inputs of one kind", f"{first} and a Python float", hint=".astype(kn.float32).")

    def _array_like(self, a: Any, arrays: list[Any]) -> Any:
        if not isinstance(a, list | tuple) and not hasattr(a, "__array__") and not hasattr(a, "__dlpack__"):
            raise DtypeError(self.name, "Tensors, arrays or numbers", f"a {type(a).__name__}")
        array = as_array(a)
        if array.dtype.kind == "f" and isinstance(a, list | tuple):  # a list is as weak as the numbers in it
            array = array.astype(next((b.dtype for b in arrays if isinstance(b, np.ndarray) and b.dtype.kind == "f"), array.dtype))
        return array

    def _explained(self, error: Exception, args: Any, attrs: Any) -> Exception:
        if isinstance(error, KinoneError):
            return error
        unknown = [name for name in attrs if name not in self.attributes]
        if unknown:
            allowed = ", ".join([*self.inputs, *self.attributes])
            return ArgumentError(self.name, f"the arguments ({allowed})", f"{', '.join(map(repr, unknown))}")
        shapes = " and ".join(str(np.shape(a.data if isinstance(a, Tensor) else a)) for a in args if a is not None)
        if "broadcast" in str(error):
            return ShapeError(self.name, f"shapes of {', '.join(self.inputs)} that broadcast together", shapes)
        return ArgumentError(self.name, "arguments that fit together", f"shapes {shapes} with {attrs}: {error}")

    # ------------------------------------------------------------------------------ backward
    def pull(self, node: Node, g: Any, create_graph: bool, useful: set[Node] | None) -> list[Any]:
        """The cotangents of the node's inputs: the rule's, with broadcasting undone."""
        if type(g) is list and "outputs" in node.attrs:
            zeros = (np.zeros(shape, dtype) for shape, dtype in node.attrs["outputs"])
            g = tuple((wrap(z) if create_graph else z) if part is None else part for part, z in zip(g, zeros, strict=True))
        if self.rule is None or (create_graph and self.is_fused):
            gradients = self._replay(node, g, create_graph)
        else:
            gradients = self.rule(*[self._argument(node, name, g, create_graph) for name in self._names])
            if type(gradients) is not tuple:
                gradients = tuple(gradients) if type(gradients) is list else (gradients,)
        out: list[Any] = []
        for i, (gradient, parent) in enumerate(zip(gradients, node.parents, strict=True)):
            if parent is None or gradient is None or (useful is not None and parent not in useful):
                out.append(None)
                continue
            if callable(gradient):  # the rule put off costly work until somebody needs it
                gradient = gradient()
            out.append(unbroadcast(gradient, node.shapes[i]) if node.shapes is not None else gradient)
        return out

    def _argument(self, node: Node, name: str, g: Any, create_graph: bool) -> Any:
        if name == "g":
            return g
        if name == "y":
            if not create_graph:
                return node.y
            if type(node.y) is tuple:
                return tuple(wrap(part, Part(node, i)) for i, part in enumerate(node.y))
            return wrap(node.y, node)
        if name not in self.inputs:
            return node.attrs[name]
        if self.is_variadic:
            return tuple(_attached(a, p, create_graph) for a, p in zip(node.arrays, node.parents, strict=True))
        i = self.inputs.index(name)
        return _attached(node.arrays[i], node.parents[i], create_graph)

    def _replay(self, node: Node, g: Any, create_graph: bool) -> tuple[Any, ...]:
        """Differentiate the definition. Each argument gets a node of its own: f(x, x) must not count twice."""
        assert self.definition is not None
        attrs = {name: node.attrs[name] for name in self.attributes}
        with enable_grad():
            inputs = [retraced(wrap(a, p)) if p is not None else a for a, p in zip(node.arrays, node.parents, strict=True)]
            ends: list[Any] = [t.node if isinstance(t, Tensor) else None for t in inputs]
            y = self.definition(*inputs, **attrs)
        wanted = {end for end in ends if end is not None}
        total: dict[Node, Any] = {}
        for part, cotangent in zip(y, g, strict=True) if isinstance(y, tuple) else [(y, g)]:
            if part.node is not None:
                found = propagate(part.node, cotangent, create_graph=create_graph, retain_graph=True, wanted=wanted)
                for end, value in found.items():
                    total[end] = total[end] + value if end in total else value
        return tuple(total.get(end) for end in ends)

    def __repr__(self) -> str:
        return f"<op {self.name}({', '.join([*self.inputs, *self.attributes])})>"


def op(
    *,
    onnx: Any = None,
    samples: Sequence[Any] = (),
    errors: Sequence[Any] = (),
    definition: Callable[..., Any] | None = None,
    methods: tuple[str, ...] = (),
    reflected: tuple[str, ...] = (),
    numpy: tuple[Any, ...] = (),
    dtypes: str | dict[str, str] = "float",
    no_gradient: str = "",
    stretches: bool | None = None,
) -> Callable[[Callable[P, Any]], Op[P]]:
    """Make an operator of a forward function on arrays.

    Positional parameters that are bare or annotated `Array` are its inputs, all others its attributes. `definition`:
    the same in other operators, oracle of the tests and source of the higher derivatives. `methods`, `reflected`: names
    on Tensor. `numpy`: NumPy functions that call this operator when they meet a Tensor. `dtypes`: what the inputs
    may be ("float", "number", "any", "integer", "bool"; "index" and "mask" need not agree with the others).
    `no_gradient`: why there is no rule. `stretches`: whether inputs are broadcast (by default if there are several).
    """
    declared: dict[str, Any] = locals().copy()
    return lambda forward: Op(forward, **declared)


def _is_input(p: inspect.Parameter) -> bool:
    is_array = p.annotation is p.empty or "'array'" in str(p.annotation)
    return p.kind is not p.KEYWORD_ONLY and is_array


def _mixes(a: np.dtype[Any], b: np.dtype[Any]) -> bool:
    # Booleans act as 0 and 1 beside anything, integers mix where the result is exact; floats never mix silently.
    return a == b or "b" in (a.kind, b.kind) or (a.kind != "f" and b.kind != "f" and np.result_type(a, b).kind != "f")


def _fact(arrays: list[Any], i: int, fact: str, is_variadic: bool) -> Any:
    values = [np.shape(a) if fact == "shape" else getattr(a, "dtype", None) for a in (arrays if is_variadic else [arrays[i]])]
    return tuple(values) if is_variadic else values[0]


def _attached(array: Any, parent: Node | None, create_graph: bool) -> Any:
    return wrap(array, parent) if create_graph and isinstance(array, np.ndarray) else array


class _Identity:
    """The call that `retraced` records."""

    name = "identity"

    def pull(self, node: Node, g: Any, create_graph: bool, useful: set[Node] | None) -> list[Any]:
        return [g]


def retraced(x: Tensor) -> Tensor:
    """x behind a node of its own, at which a walk can end without ending at every other use of x."""
    return wrap(x.data, None if x.node is None else Node(_Identity(), (x.node,), None, None, {}, None))
