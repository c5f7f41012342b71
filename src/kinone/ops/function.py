"""Recorded calls that are not operators: a user's `Function`, and a checkpointed stretch of graph."""

import threading
from collections.abc import Callable
from typing import Any

from kinone import random
from kinone.core.graph import Leaf, Node, propagate
from kinone.core.modes import enable_grad, modes, no_grad
from kinone.core.op import retraced
from kinone.core.tensor import Tensor, wrap
from kinone.errors import ShapeError


class _Call:
    """A recorded call as the walk sees it: a name, and a way to pull a cotangent through."""

    def __init__(self, name: str, pull: Callable[[Node, Any, bool], list[Any]]) -> None:
        self.name, self._pull = name, pull

    def pull(self, node: Node, g: Any, create_graph: bool, useful: set[Node] | None) -> list[Any]:
        return self._pull(node, g, create_graph)


class _Repeating(threading.local):
    """How many checkpoints of this thread are computing their call a second time, one within another."""

    depth = 0


repeating = _Repeating()


class _Context:
    """What `forward` leaves for `backward`: tensors by `save_for_backward`, all else as attributes."""

    saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep inputs, the output or other tensors for the rule."""
        self.saved_tensors = tensors


class Function:
    """An operator in the style of PyTorch, for those who bring one: subclass it, define both methods, call `apply`.

    Both compute with Tensors. `backward` returns one gradient for each input (None for what needs none); written in
    Kinone's operators, it can itself be differentiated.

    >>> import kinone as kn
    >>> class Cube(kn.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return g * 3 * x * x
    >>> kn.grad(kn.grad(Cube.apply))(2.0)
    Tensor(12., dtype=float32)
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]

    @classmethod
    def apply(cls, *inputs: Any) -> Tensor:
        """Call the function and record it, if one of the inputs requires gradients."""
        ctx = _Context()
        with no_grad():
            y = cls.forward(ctx, *inputs)
        parents = [x.node if isinstance(x, Tensor) else None for x in inputs]
        if not modes.recording or not any(parents):
            return y.detach()
        # A node may hold arrays and nodes, not tensors: the output would hold its node, and the node its output.
        kept = [(t.data, t.node, t is y) if isinstance(t, Tensor) else (t, None, None) for t in ctx.saved_tensors]
        ctx.saved_tensors = ()
        shapes = [x.shape if isinstance(x, Tensor) else None for x in inputs]

        def pull(node: Node, g: Any, create_graph: bool) -> list[Any]:
            again = _Context()
            again.__dict__.update(ctx.__dict__)
            again.saved_tensors = tuple(
                a if is_y is None else wrap(a, node if is_y else origin) for a, origin, is_y in node.arrays
            )
            found = cls.backward(again, g if isinstance(g, Tensor) else wrap(g))
            found = list(found) if isinstance(found, tuple | list) else [found]
            given = [None if t is None else t.shape for t in found]
            if len(given) != len(shapes) or any(a != b for a, b in zip(given, shapes, strict=True) if a is not None):
                raise ShapeError(f"{cls.__name__}.backward", f"gradients of shapes {shapes} (or None)", str(given))
            return [t if t is None or create_graph else t.data for t in found]

        return wrap(y.data, Node(_Call(cls.__name__, pull), tuple(parents), kept, None, {}, None))


def checkpoint(f: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """f(*inputs), keeping none of its intermediate results: backward computes them a second time.

    Parameters that f reaches without being handed them get their gradients all the same. Named random streams are set
    back for the second run, so that dropout drops the same elements, and running statistics do not move again.

    >>> import kinone as kn
    >>> x = kn.Tensor([1.0, 2.0], requires_grad=True)
    >>> kn.checkpoint(lambda x: x * x * x, x).sum().backward()
    >>> x.grad
    Tensor([ 3., 12.], dtype=float32)
    """
    streams = random.snapshot()
    y, _, outside = _run(f, list(inputs))
    if y.node is None or not modes.recording:
        return y.detach()
    nodes = [x.node if isinstance(x, Tensor) else None for x in inputs]

    def pull(node: Node, g: Any, create_graph: bool) -> list[Any]:
        attached = [a if p is None else wrap(a, p) for a, p in zip(node.arrays, nodes, strict=True)]
        now = random.snapshot()
        random.restore(streams)
        repeating.depth += 1
        try:
            again, ends, _ = _run(f, attached)
        finally:
            repeating.depth -= 1
            random.restore(now)
        assert again.node is not None
        wanted = {end for end in (*ends, *outside) if end is not None}
        found = propagate(again.node, g, create_graph=create_graph, wanted=wanted)
        return [found.get(end) if end is not None else None for end in (*ends, *outside)]

    arrays = [x.data if isinstance(x, Tensor) and x.node is not None else x for x in inputs]
    return wrap(y.data, Node(_Call("checkpoint", pull), (*nodes, *outside), arrays, None, {}, None))


def _run(f: Callable[..., Tensor], inputs: list[Any]) -> tuple[Tensor, list[Node | None], list[Node]]:
    """f's value recorded on fresh ends, those ends, and every older node that f reached without being handed it."""
    start = Leaf().id
    with enable_grad():
        fresh = [retraced(x) if isinstance(x, Tensor) else x for x in inputs]
        y = f(*fresh)
    ends = [x.node if isinstance(x, Tensor) else None for x in fresh]
    outside: dict[Node, None] = {}
    seen: set[Node | None] = {None, *ends}
    stack = [y.node]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            if node.id > start:
                outside[node] = None
            else:
                stack.extend(node.parents)
    return y, ends, list(outside)
