"""Recordings: one call of a model or a function, with its graph, its values and its gradients."""

import inspect
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.graph import Leaf, Node, propagate
from kinone.core.modes import enable_grad
from kinone.core.tensor import Tensor, as_array, wrap
from kinone.core.tree import flatten
from kinone.errors import ArgumentError, GraphError, ShapeError
from kinone.inspection.digest import Digest, digest_of
from kinone.inspection.drawing import Box, Edge, draw, escaped, shortened
from kinone.inspection.modules import draw_modules
from kinone.inspection.observer import observing
from kinone.inspection.trace import Call, Origin, Source, Trace, array_of, flow, is_number

_next_id = itertools.count(1).__next__
Gradients = dict[Node, NDArray[Any]]


class Recording:
    """What one call of a model or a function did; made by `record`.

    It compares by identity: each call has a graph and an `id` of its own, and they grow. Gradients collect in the
    recording and nowhere else. It keeps every intermediate value for as long as it lives.
    """

    def __init__(self, f: Any, trace: Trace, output: Any, ends: list[tuple[str, Origin]]) -> None:
        self.id: int = _next_id()
        self.name: str = _name_of(f)
        self.output = output
        self.inputs: dict[str, Tensor] = {s.name: s.tensor for s in trace.sources if s.kind == "input"}
        self.parameters: dict[str, Tensor] = {s.name: s.tensor for s in trace.sources if s.kind == "parameter"}
        self._f, self._sources, self._calls, self._ends = f, tuple(trace.sources), tuple(trace.calls), ends
        self._gradients: Gradients | None = None
        self._shape: tuple[int, ...] = ()  # of the value where those are Jacobians

    @property
    def value(self) -> Any:
        """What the call returned, in arrays and (for scalars) Python numbers."""
        leaves, build = flatten(self.output)
        return build(map(_plain, leaves))

    def nodes(self) -> list[Call]:
        """The calls in the order in which they ran."""
        return list(self._calls)

    # ------------------------------------------------------------------------------ gradients
    def back(self, g: Any = None) -> "Recording":
        """Add the gradients of the value to this recording, for `grad` to read; parameters keep theirs untouched.

        A scalar has gradients. Any other single value has Jacobians, of shape y.shape + x.shape, at the price of one
        walk back for each of its elements; with a cotangent `g`, structured as the value, it has gᵀ·J of shape x.shape.
        """
        outputs = [y for y in flatten(self.output)[0] if isinstance(y, Tensor)]
        recorded = [y for y in outputs if y.node is not None]
        if not recorded:
            hint = "use an input or a parameter that requires gradients, and operators that have a rule."
            raise GraphError("back", "a value that depends on something differentiable", repr(self), hint=hint)
        if g is None and len(recorded) > 1:
            hint = "pass g with the structure of the value, or ask for r.jacobian(key)."
            raise GraphError(
                "back", "one differentiable result, or a cotangent for each", str(len(recorded)), hint=hint
            )
        is_jacobian = g is None and recorded[0].size != 1
        shape = recorded[0].shape if is_jacobian else ()
        if self._gradients is not None and shape != self._shape:
            ours, theirs = ("Jacobians", "gradients") if is_jacobian else ("gradients", "Jacobians")
            hint = "forget those with r.zero_grad()."
            raise GraphError("back", f"{ours} to add to", f"{theirs} from an earlier back()", hint=hint)
        found = self._jacobians(recorded[0]) if is_jacobian else self._pulled(outputs, g)
        self._shape, self._gradients = shape, _sum([self._gradients or {}, found])
        return self

    def grad(self, key: Any) -> Any:
        """What `back` collected for an input or a parameter: an array, or a number for a scalar.

        `key` is the tensor (or array) itself, a handle (`model.input("x")`), or a name (`"x"`, `"layer1.0.weight"`).
        A tensor that was handed in twice, or is a parameter besides, gets the sum.
        """
        if self._gradients is None:
            raise GraphError("grad", "a recording that went back", "one that did not", hint="call r.back() first.")
        tensors = self._find("grad", key)
        zeros = np.zeros(self._shape + tensors[0].shape, tensors[0].dtype)
        return _plain(sum((self._gradients.get(t.node, zeros) for t in tensors if t.node is not None), start=zeros))

    def jacobian(self, key: Any) -> Any:
        """∂value/∂key of shape y.shape + x.shape, for each y in the value; nothing is collected.

        >>> import kinone as kn
        >>> kn.record(lambda x: x * x, [1.0, 2.0]).jacobian("x").tolist()
        [[2.0, 0.0], [0.0, 4.0]]
        """
        tensors = self._find("jacobian", key)

        def of(y: Any) -> Any:
            if not isinstance(y, Tensor):
                return None
            zeros = np.zeros(y.shape + tensors[0].shape, tensors[0].dtype)
            found = {} if y.node is None else self._jacobians(y)
            return _plain(sum((found.get(t.node, zeros) for t in tensors if t.node is not None), start=zeros))

        leaves, build = flatten(self.output)
        return build(map(of, leaves))

    def zero_grad(self) -> None:
        """Forget what `back` collected."""
        self._gradients = None

    def _wanted(self) -> list[Tensor]:
        return [t for t in (*self.inputs.values(), *self.parameters.values()) if t.node is not None]

    def _walk(self, y: Tensor, g: NDArray[Any]) -> Gradients:
        assert y.node is not None
        return propagate(y.node, g, retain_graph=True, wanted={t.node for t in self._wanted()})

    def _pulled(self, outputs: list[Tensor], g: Any) -> Gradients:
        cotangents = [np.ones_like(y.data) for y in outputs] if g is None else flatten(g)[0]
        if len(cotangents) != len(outputs):
            raise ArgumentError("back", f"{len(outputs)} cotangents, as there are results", str(len(cotangents)))
        pairs = [
            (y, as_array(part, y.dtype)) for y, part in zip(outputs, cotangents, strict=True) if y.node is not None
        ]
        for y, part in pairs:
            if part.shape != y.shape:
                raise ShapeError("back", f"a cotangent of shape {y.shape}", str(part.shape))
        return _sum([self._walk(y, part) for y, part in pairs])

    def _jacobians(self, y: Tensor) -> Gradients:
        found = {t.node: np.zeros((y.size, *t.shape), t.dtype) for t in self._wanted() if t.node is not None}
        for i, e in enumerate(np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)):
            for node, row in self._walk(y, e).items():
                found[node][i] = row
        return {node: rows.reshape(y.shape + rows.shape[1:]) for node, rows in found.items()}

    def _find(self, where: str, key: Any) -> list[Tensor]:
        """The tensors that `key` means; several if one was handed in more than once."""
        owner = getattr(key, "module", None)
        if isinstance(key, str):
            found = [names[key] for names in (self.inputs, self.parameters) if key in names]
            if len(found) > 1:
                hint = "pass the tensor itself."
                raise ArgumentError(where, "a name", f"{key!r}, which both an input and a parameter bear", hint=hint)
        elif owner is not None and isinstance(getattr(key, "name", None), str):
            if owner is not self._f:
                raise ArgumentError(where, f"a handle of the recorded {self.name}", f"{key!r} of another one")
            found = [self.inputs[key.name]] if key.name in self.inputs else []
        else:
            inputs = [s.tensor for s in self._sources if s.kind == "input" and (s.given is key or s.tensor is key)]
            found = inputs + [t for t in self.parameters.values() if t is key]
        if not found or any(t.node is None for t in found):
            known = [
                name for names in (self.inputs, self.parameters) for name, t in names.items() if t.node is not None
            ]
            got = (
                "one of an integer dtype, or frozen"
                if found
                else repr(key)
                if isinstance(key, str)
                else "something else"
            )
            raise ArgumentError(where, f"something with a gradient: {', '.join(known) or 'there is nothing'}", got)
        return found

    # ------------------------------------------------------------------------------ looking
    def digests(self) -> list[Digest]:
        """The digest of each call's results, for `first_difference`; `digesting` takes those of a whole step."""
        return [Digest(call.index, call.name, digest_of(call.outputs)) for call in self._calls]

    def draw(self, path: Any = None, *, by: str = "operators", depth: int | None = None) -> str:
        """The graph as an SVG picture: its text, which also goes into the file `path` if one is given.

        With by="modules" a box is a call of a module that calls no other, framed by those that do; `depth` is how many
        levels of modules are opened, so that depth=1 shows the parts of the model as one box each.
        """
        if by not in ("operators", "modules") or (depth is not None and (by == "operators" or depth < 0)):
            got = f"by={by!r}, depth={depth}"
            raise ArgumentError("draw", 'by="operators", or by="modules" and a depth ≥ 0', got)
        if by == "modules":
            svg = draw_modules(self._f, self._calls, self._sources, self._ends, depth, repr(self))
        else:
            svg = draw(*self._graph(), title=repr(self))
        if path is not None:
            Path(path).write_text(svg, encoding="utf-8")
        return svg

    def _graph(self) -> tuple[list[Box], list[Edge]]:
        used = {origin for call in self._calls for origin, _ in call.inputs if not is_number(origin)}
        places: dict[Any, int] = {}
        boxes: list[Box] = []
        edges: list[Edge] = []

        def connect(origin: Origin) -> None:
            if origin[0] in places:
                edges.append(Edge(places[origin[0]], len(boxes), flow(array_of(origin)), origin[1]))

        for source in self._sources:
            if source in used or source.kind == "input" or any(source is x for _, (x, _) in self._ends):
                places[source] = len(boxes)
                tip = f"{source.kind} {source.name}: {flow(source.tensor)}"
                boxes.append(Box(source.kind, shortened(source.name), "", tip))
        for call in self._calls:
            for origin in call.inputs:
                if not is_number(origin[0]):
                    connect(origin)
            places[call] = len(boxes)
            boxes.append(Box("operator", call.name, shortened(call.summary, 44), f"{call.id} = {call.formula}"))
        for name, origin in self._ends:
            connect(origin)
            boxes.append(Box("output", shortened(name), "", f"{name}: {flow(array_of(origin))}"))
        return boxes, edges

    def table(self) -> str:
        """The calls as text: number, call, result."""
        rows = [(call.id, call.formula, " and ".join(map(flow, call.outputs))) for call in self._calls]
        wide = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
        return "\n".join(f"{number:>{wide[0]}} = {formula:<{wide[1]}}  {flow}" for number, formula, flow in rows)

    def __repr__(self) -> str:
        count = f"{len(self._calls)} call{'' if len(self._calls) == 1 else 's'}"
        named = [f"{kind} {', '.join(names)}" for kind, names in
                 (("inputs", self.inputs), ("parameters", self.parameters)) if 0 < len(names) <= 8]  # fmt: skip
        return f"<recording {self.id} of {self.name}: {'; '.join([count, *named])}>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align: left'>{word}</th>" for word in ("", "call", "result"))
        rows = "".join(
            f"<tr><td>{call.id}</td><td style='text-align: left'><code>{escaped(call.formula)}</code></td>"
            f"<td style='text-align: left'>{' and '.join(map(flow, call.outputs))}</td></tr>"
            for call in self._calls
        )
        table = f"<details><summary>{escaped(repr(self))}</summary><table><tr>{head}</tr>{rows}</table></details>"
        return f"<div style='overflow: auto'>{self.draw()}</div>{table}"


def record(model: Callable[..., Any], *args: Any, **kwargs: Any) -> Recording:
    """Call `model(*args, **kwargs)` and keep all of it: values, graph, gradients on demand.

    The model is any callable; if it has `named_parameters()`, their gradients can be asked for by name. Inputs become
    fresh leaves: floating tensors and arrays, lists of numbers and, given by position, plain numbers, which count as
    floats here. Integer arrays are indices or labels and stay as they are; so does everything else, and so do numbers
    given by keyword, which are settings. If the call raises, nothing is left behind.

    >>> import kinone as kn
    >>> w = kn.Tensor(1.0, requires_grad=True)
    >>> r = kn.record(lambda x: (x + w) * x * x, 3)
    >>> r.value, r.back().grad("x"), r.grad(w)
    (36.0, 33.0, 9.0)
    >>> print(r.table())
    #0 = add(x, w)         scalar float32
    #1 = multiply(#0, x)   scalar float32
    #2 = multiply(#1, x)   scalar float32
    """
    trace = Trace()
    dtype = _floating_dtype(model, (args, kwargs))

    def entered(name: str, tree: Any, *, takes_numbers: bool) -> Any:
        paths, (leaves, build) = _paths(tree, name), flatten(tree)
        pairs = zip(paths, leaves, strict=True)
        return build(_entered(trace, n, x, dtype) if takes_numbers or not is_number(x) else x for n, x in pairs)

    inputs = [entered(n, x, takes_numbers=True) for n, x in zip(_input_names(model, len(args)), args, strict=True)]
    settings = {name: entered(name, x, takes_numbers=False) for name, x in kwargs.items()}
    with enable_grad(), observing(trace):
        output = model(*inputs, **settings)
    values = zip(_paths(output, "value"), flatten(output)[0], strict=True)
    ends = [(name, trace.origin(y)) for name, y in values if isinstance(y, Tensor)]
    _christen(model, trace)
    return Recording(model, trace, output, ends)


def _entered(trace: Trace, name: str, x: Any, dtype: Any) -> Any:
    """x as a fresh leaf (numbers and lists of them in `dtype`), or as it is."""
    is_typed = isinstance(x, list) or type(x) in (int, float)
    if not is_typed and not (isinstance(x, Tensor | np.ndarray | np.generic) and x.dtype.kind in "fiub"):
        return x
    array = as_array(x)
    array = array.astype(dtype) if is_typed and array.dtype.kind in "fiu" else array
    return trace.add(Source("input", name, wrap(array, Leaf() if array.dtype.kind == "f" else None), x)).tensor


def _floating_dtype(model: Any, arguments: Any) -> Any:
    """The dtype that plain numbers take: that of the parameters, else of the arrays handed in, else float32."""
    tensors = [*_named_by(model, "named_parameters").values(), *flatten(arguments)[0]]
    return next((x.dtype for x in tensors if isinstance(x, Tensor | np.ndarray) and x.dtype.kind == "f"), np.float32)


def _named_by(model: Any, method: str) -> dict[str, Any]:
    return dict(getattr(model, method)()) if hasattr(model, method) else {}


def _christen(model: Any, trace: Trace) -> None:
    """Give the sources that the model reached for by itself the names that it has for them."""
    reached = [source for source in trace.sources if source.kind != "input"]
    for kind, method in (("constant", "named_buffers"), ("parameter", "named_parameters")):
        for name, tensor in _named_by(model, method).items():
            is_known = False
            for source in reached:
                if source.tensor.node is tensor.node and source.tensor.data is tensor.data:
                    source.kind, source.name, is_known = kind, name, True
            if not is_known and kind == "parameter":
                trace.sources.append(Source(kind, name, tensor))
    variables = inspect.getclosurevars(model) if inspect.isfunction(model) else None
    seen = {id(x): name for name, x in {**variables.globals, **variables.nonlocals}.items()} if variables else {}
    for number, source in enumerate(source for source in reached if not source.name):
        source.name = seen.get(id(source.tensor), f"{source.kind[0]}{number}")


def _name_of(f: Any) -> str:
    name = getattr(f, "__name__", type(f).__name__)
    return "f" if name == "<lambda>" else name


def _input_names(f: Any, count: int) -> list[str]:
    """The names under which f takes its positional arguments."""
    try:
        signature = f.signature() if hasattr(f, "signature") else inspect.signature(f)
    except (TypeError, ValueError):  # a built-in function that does not say
        return [f"x{i}" for i in range(count)]
    names: list[str] = []
    for p in signature.parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}[{i}]" for i in range(count - len(names))]
        elif p.kind is not p.KEYWORD_ONLY and p.kind is not p.VAR_KEYWORD:
            names.append(p.name)
    return [*names, *(f"x{i}" for i in range(len(names), count))][:count]


def _paths(tree: Any, name: str) -> list[str]:
    """What one would type for each leaf of `tree`, if the tree were called `name`."""
    leaves, _ = flatten(tree)
    if len(leaves) == 1 and leaves[0] is tree:
        return [name]
    if isinstance(tree, dict):
        return [path for key, branch in tree.items() for path in _paths(branch, f"{name}[{key!r}]")]
    fields = getattr(tree, "_fields", None)
    labels = [f"{name}.{key}" for key in fields] if fields else [f"{name}[{i}]" for i in range(len(tree or ()))]
    return [path for label, branch in zip(labels, tree or (), strict=True) for path in _paths(branch, label)]


def _plain(x: Any) -> Any:
    """The array of a tensor, or the number if it is a scalar."""
    array = x.data if isinstance(x, Tensor) else x
    return array.item() if isinstance(array, np.ndarray | np.generic) and not array.ndim else array


def _sum(parts: Iterable[Gradients]) -> Gradients:
    total: Gradients = {}
    for part in parts:
        for node, g in part.items():
            total[node] = total[node] + g if node in total else g
    return total
