"""Functions of functions: derivatives of ordinary Python functions over nested structures of tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kinone.core.graph import Leaf, Node, propagate
from kinone.core.modes import enable_grad, modes
from kinone.core.op import retraced
from kinone.core.tensor import Tensor, as_array, start, wrap
from kinone.core.tree import flatten
from kinone.errors import ArgumentError, DtypeError, GraphError

Function = Callable[..., Any]
Argnums = int | Sequence[int]


def gradients(
    y: Tensor, xs: Any, g: Any = None, *, create_graph: bool = False, retain_graph: bool | None = None
) -> Any:
    """∂y/∂x · g for every tensor in the structure `xs`, zeros where y does not depend on it; no `.grad` changes.

    >>> import kinone as kn
    >>> x = kn.Tensor(3.0, requires_grad=True)
    >>> kn.gradients(x * x, {"x": x})
    {'x': Tensor(6., dtype=float32)}
    """
    leaves, build = flatten(xs)
    if any(not isinstance(x, Tensor) or x.node is None for x in leaves):
        raise GraphError("gradients", "tensors that require gradients", f"{xs!r}")
    node, g = start(y, "gradients", g, create_graph)
    found = propagate(node, g, create_graph=create_graph, retain_graph=retain_graph, wanted={x.node for x in leaves})
    return build(_tensor_like(x, found.get(x.node)) for x in leaves)


def _tensor_like(x: Tensor, found: Any) -> Tensor:
    return found if isinstance(found, Tensor) else wrap(np.zeros_like(x.data) if found is None else found)


class Trace:
    """One run of f with the arguments `argnums` retraced, so that f(x, x) has two gradients."""

    def __init__(self, where: str, f: Function, args: Sequence[Any], kwargs: Any, argnums: Argnums) -> None:
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        if not all(-len(args) <= n < len(args) for n in numbers):
            raise ArgumentError(where, f"argnums within the {len(args)} positional arguments", str(argnums))
        leaves, build = flatten(tuple(args[n] for n in numbers))
        leaves = [x if isinstance(x, Tensor) else wrap(as_array(x)) for x in leaves]
        for x in leaves:
            if x.dtype.kind != "f":
                raise DtypeError(where, "arguments of a floating dtype", str(x.dtype), hint="write 1.0 instead of 1.")
        self.inputs = [retraced(x) if x.node is not None and modes.recording else wrap(x.data, Leaf()) for x in leaves]
        traced = build(self.inputs)
        self.structure = traced[0] if isinstance(argnums, int) else traced
        new = list(args)
        for n, value in zip(numbers, traced, strict=True):
            new[n] = value
        with enable_grad():
            self.y = f(*new, **kwargs)

    def is_open(self, y: Tensor) -> bool:
        """True if y's graph reaches beyond the inputs: then somebody outside may differentiate its gradients again."""
        ends = {x.node for x in self.inputs}
        seen: set[Node | None] = {None}
        stack: list[Node | None] = [y.node, *ends]
        while stack and modes.recording:
            node = stack.pop()
            if node is not None and node not in seen:
                seen.add(node)
                if not node.parents and node not in ends:
                    return True
                stack.extend(node.parents)
        return False

    def pull(self, y: Tensor, g: Any = None, *, once: bool = False) -> Any:
        if y.node is None:
            return flatten(self.structure)[1](_tensor_like(x, None) for x in self.inputs)
        is_open = self.is_open(y) or (isinstance(g, Tensor) and g.requires_grad)
        return gradients(y, self.structure, g, create_graph=is_open, retain_graph=is_open or not once)


def value_and_grad(f: Function, argnums: Argnums = 0, *, has_aux: bool = False) -> Function:
    """The function that returns f's scalar value and its gradient with respect to the arguments `argnums`.

    With `has_aux`, f returns (value, anything), and the result is ((value, anything), gradient).
    """

    def with_gradient(*args: Any, **kwargs: Any) -> Any:
        trace = Trace("grad", f, args, kwargs, argnums)
        y, *aux = trace.y if has_aux else (trace.y,)
        if not isinstance(y, Tensor):
            raise GraphError("grad", "a function that returns a Tensor", f"a {type(y).__name__}")
        found = trace.pull(y, once=True)
        y = y if trace.is_open(y) else y.detach()
        return ((y, *aux) if has_aux else y), found

    return with_gradient


def grad(f: Function, argnums: Argnums = 0) -> Function:
    """The gradient of a scalar function, as a function that can be differentiated again.

    >>> import kinone as kn
    >>> cube = lambda x: x * x * x
    >>> kn.grad(cube)(2.0), kn.grad(kn.grad(cube))(2.0)
    (Tensor(12., dtype=float32), Tensor(12., dtype=float32))
    """
    both = value_and_grad(f, argnums)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def vjp(f: Function, *primals: Any) -> tuple[Any, Function]:
    """f(*primals), and the function g ↦ gᵀ·J that pulls a cotangent of it back to (a tuple like) the primals."""
    trace = Trace("vjp", f, primals, {}, range(len(primals)))

    def pull(g: Any) -> Any:
        return trace.pull(trace.y, g)

    return (trace.y if trace.is_open(trace.y) else trace.y.detach()), pull
