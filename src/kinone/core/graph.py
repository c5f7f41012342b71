"""The graph that calls leave behind, and the walk back through it.

A node holds arrays and parent nodes, never tensors: nothing points forward, so there are no cycles, and a graph
dies with the last tensor that could still ask for its gradients.
"""

import itertools
from collections.abc import Collection
from heapq import heappop, heappush
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.modes import modes, setting
from kinone.core.tree import is_a
from kinone.errors import GraphError

NOT_KEPT = object()  # Node.grad of a tensor that collects no gradient
FREED: Any = ("freed",)  # Node.arrays once the walk has let go of them
_next_id = itertools.count(0, -1).__next__  # falls, so that the smallest id in a heap is the newest node


class Node:
    """One recorded call.

    `op.pull` turns a cotangent of the output into cotangents of the `parents` (None stands where an input needs
    none). `arrays` are the inputs that the rule asked to keep, `y` the output if it did, `shapes` those of the inputs
    where broadcasting may have stretched them. `id` falls with time, so a parent's is always larger.
    """

    __slots__ = ("arrays", "attrs", "grad", "id", "op", "parents", "shapes", "y")

    def __init__(self, op: Any, parents: "tuple[Node | None, ...]", arrays: Any, y: Any, attrs: Any, shapes: Any):
        self.op, self.parents = op, parents
        self.arrays, self.y = arrays, y
        self.attrs, self.shapes = attrs, shapes
        self.grad: Any = NOT_KEPT
        self.id = _next_id()


class Leaf(Node):
    """A tensor that requires gradients and that no operator made: the place where its gradient collects."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(None, (), None, None, {}, None)
        self.grad = None


class Part(Node):
    """Output number `y` of a call that gave several; its one parent is the call."""

    __slots__ = ()

    def __init__(self, call: Node, index: int) -> None:
        super().__init__(None, (call,), None, index, {}, None)


def propagate(
    root: Node, g: Any, *, create_graph: bool = False, retain_graph: bool | None = None, wanted: set[Any] | None = None
) -> dict[Node, Any]:
    """Walk back from `root`, whose cotangent is `g`; return the cotangents of the `wanted` nodes.

    Without `wanted`, of every node that keeps its gradient. `g` and the result are arrays, or Tensors with
    `create_graph`, by which the graph is retained too. Newest first is a topological order, because a call can only
    use what was there before it: a heap of ids yields it without recursion and without a pass of its own.
    """
    useful = None if wanted is None else _leading_to(root, wanted)
    cotangents: dict[Node, Any] = {root: g}
    owned: set[Node] = set()  # nodes whose cotangent nobody else can see: sums may be written into it
    found: dict[Node, Any] = {}
    heap = [(root.id, root)]
    with setting("recording", create_graph), np.errstate(all="ignore"):
        while heap:
            node = heappop(heap)[1]
            g = cotangents.pop(node)
            if node in wanted if wanted is not None else node.grad is not NOT_KEPT:
                found[node] = g if node in owned or create_graph else np.array(g)
            if not node.parents:
                continue
            gradients: list[Any] = [(node.y, g)] if type(node) is Part else _pull(node, g, create_graph, useful)
            for i, (parent, gradient) in enumerate(zip(node.parents, gradients, strict=True)):
                if parent is None or gradient is None or (useful is not None and parent not in useful):
                    continue
                before = cotangents.get(parent)
                if before is None:
                    cotangents[parent] = [gradient] if type(node) is Part else gradient
                    heappush(heap, (parent.id, parent))
                    if parent.grad is not NOT_KEPT and _is_fresh(gradient, i, gradients, g, node):
                        owned.add(parent)
                elif type(node) is Part:
                    before.append(gradient)
                elif parent in owned:
                    before += gradient
                else:
                    cotangents[parent] = total = before + gradient
                    if isinstance(total, np.ndarray):
                        owned.add(parent)
            if not (create_graph if retain_graph is None else retain_graph):
                node.arrays = node.y = FREED
    return found


def _pull(node: Node, g: Any, create_graph: bool, useful: set[Node] | None) -> list[Any]:
    if node.arrays is FREED:
        hint = "pass retain_graph=True to the first backward, or compute the loss again."
        raise GraphError(node.op.name, "a graph that holds its arrays", "one that an earlier backward freed", hint=hint)
    for watcher in (watchers := modes.observers):
        watcher.before_backward(node, g)
    gradients = node.op.pull(node, g, create_graph, useful)
    for watcher in watchers:
        watcher.after_backward(node, g, gradients)
    return gradients


def _is_fresh(gradient: Any, i: int, gradients: list[Any], g: Any, node: Node) -> bool:
    """True if the rule made this array for this one input, so that keeping and changing it harms nobody."""
    others = (g, node.y, *(node.arrays or ()), *gradients[:i], *gradients[i + 1 :])
    is_array = isinstance(gradient, np.ndarray) and gradient.base is None and gradient.flags.writeable
    return is_array and all(gradient is not other for other in others)


def _leading_to(root: Node, wanted: Collection[Node]) -> set[Node]:
    """The nodes at or above `root` from which some wanted node can be reached."""
    oldest = max((node.id for node in wanted), default=root.id)
    seen, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent.id <= oldest and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    useful = set(wanted)
    useful.update(node for node in sorted(seen, key=lambda node: -node.id) if not useful.isdisjoint(node.parents))
    return useful


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum the cotangent `g` back to `shape`, the shape its input had before broadcasting."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    axes = (*range(lead), *(i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1))
    # A Tensor brings its own recorded sum; an array goes to the kernel, whose bits the profile fixes.
    return (kernels.sum(g, axes, True) if is_a(np.ndarray, g) else g.sum(axis=axes, keepdims=True)).reshape(shape)
