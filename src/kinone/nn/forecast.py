"""What a training step will take, told from one forward call: the peak of its memory, and its time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinone.core.graph import Leaf, Node, Part
from kinone.core.tensor import Tensor
from kinone.nn.workload import backward_share, machine, multiply_adds


@dataclass(frozen=True)
class Cost:
    """What one recorded call takes at the batch size that was run: multiply-adds and bytes, forward and back."""

    multiply_adds: int
    moved: int
    back_multiply_adds: float
    back_moved: int


@dataclass(frozen=True)
class Forecast:
    """A training step foretold; `batch_size` is None where the inputs have no common first axis.

    `peak_bytes`: parameters, their gradients and `optimizer_states` arrays as large, buffers and inputs, and on top
    of them the most that activations and cotangents take at once on the walk back, array by array.
    """

    batch_size: int | None
    parameter_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int
    peak_bytes: int
    costs: tuple[Cost, ...]
    measured: float
    """Seconds that forward and backward took at the batch size that was run."""
    scale: float
    dtype: Any

    @property
    def seconds(self) -> float:
        """What was measured, and the optimizer, which moves its arrays twice.

        For another batch size it is stretched as the sum over all calls and rules of call + max(multiply-adds / rate,
        bytes / bandwidth) is, with the rates of `machine`, measured when this is first asked.
        """
        stretched = 1 if self.scale == 1 else self._estimated(self.scale) / self._estimated(1)
        moved = self.gradient_bytes * 2 + self.optimizer_bytes
        return self.measured * stretched + 2 * moved / machine(self.dtype).bandwidth

    def _estimated(self, k: float) -> float:
        here = machine(self.dtype)
        calls = sum(here.seconds(c.multiply_adds * k, c.moved * k) for c in self.costs)
        return calls + sum(here.seconds(c.back_multiply_adds * k, c.back_moved * k) for c in self.costs if c.back_moved)


class Ledger:
    """Notes, call by call, what stays in memory for the walk back, and what the walk itself will need."""

    def __init__(self, parameters: Sequence[Tensor], inputs: Sequence[Any]) -> None:
        self.costs: list[Cost] = []
        self.sizes: dict[Node, int] = {p.node: p.data.nbytes for p in parameters if p.node is not None}
        self.is_handed_on: set[Node] = set()  # results that share memory with an input, as their cotangents do
        lasting = [*(p.data for p in parameters), *inputs]
        self.lasting = {id(_whole(array)) for array in lasting}  # there before, and after
        self.kept: dict[int, np.ndarray[Any, Any]] = {}
        self.now = self.highest = 0  # bytes kept so far; with what a call just made, at the worst moment of all

    def note(self, op: Any, args: Sequence[Any], attrs: Mapping[str, Any], result: Any) -> tuple[int, int]:
        """Take in a call; gives its multiply-adds and the bytes that it newly keeps."""
        results = result if isinstance(result, tuple) else (result,)
        arrays = [x.data if isinstance(x, Tensor) else np.asarray(x) for x in args if x is not None]
        shapes = [() if x is None else np.shape(x) for x in args]
        needs = [isinstance(x, Tensor) and x.node is not None for x in args]
        count = multiply_adds(op, shapes, {**op.defaults, **attrs}, results[0].shape)
        made = [y.data for y in results if not any(np.may_share_memory(y.data, x) for x in arrays)]
        node = _call(results[0].node)
        read, written = sum(x.nbytes for x in arrays), sum(y.nbytes for y in made)
        is_back = node is not None
        back = sum(x.data.nbytes for x, is_needed in zip(args, needs, strict=True) if is_needed)
        moved = read + written if made else 0
        shared = backward_share(op.name, needs) * count if is_back else 0.0
        self.costs.append(Cost(count, moved, shared, moved + back if is_back else 0))
        for x in (*args, *results):
            if isinstance(x, Tensor) and x.node is not None:
                self.sizes[x.node] = x.data.nbytes
        if node is not None:
            self.sizes[node] = sum(y.data.nbytes for y in results)
            if not made or op.name == "add":
                self.is_handed_on.add(node)
        new = [a for a in map(_whole, _arrays(node)) if id(a) not in self.kept and id(a) not in self.lasting]
        fresh = {id(a): a for a in new}
        self.kept.update(fresh)
        newly = sum(a.nbytes for a in fresh.values())
        self.now += newly
        self.highest = max(self.highest, self.now + written)
        return count, newly

    def peak(self, outputs: Sequence[Any], scale: float = 1.0) -> int:
        """The most bytes of activations, cotangents and gradients at once, activations being `scale` times as large."""
        roots = [(y.node, y.data) for y in outputs if isinstance(y, Tensor) and y.node is not None]
        order = _newest_first({node for node, _ in roots})
        users = _uses(order, self.lasting)
        sizes = {node: size if type(node) is Leaf else size * scale for node, size in self.sizes.items()}
        buffers: dict[Node, list[float]] = {}  # bytes of each cotangent, and how many nodes it belongs to
        now = scale * sum(self.kept[key].nbytes for key in users if key in self.kept)
        for root, y in roots:  # each is there twice: as value, kept or not, and as cotangent
            now += scale * y.nbytes * (2 - (id(_whole(y)) in users))
            buffers[root] = [y.nbytes * scale, 1]
        most = max(self.highest * scale, now)
        for node in order:
            g = buffers.pop(node, None)
            if g is None or type(node) is Leaf:
                continue
            for parent in node.parents:
                if parent is None or parent in buffers:
                    continue
                if type(parent) is not Leaf and (type(node) is Part or node in self.is_handed_on):
                    g[1] += 1
                    buffers[parent] = g
                else:
                    buffers[parent] = [sizes.get(parent, 0), 1]
                    now += sizes.get(parent, 0)
            most = max(most, now)
            g[1] -= 1
            now -= 0 if g[1] else g[0]
            for key in {id(_whole(a)) for a in _arrays(node)} & users.keys():
                users[key] -= 1
                now -= 0 if users[key] else self.kept[key].nbytes * scale
        return round(most)


def _call(node: Any) -> Node | None:
    """The node of the call that made a result, also of one among several results."""
    return node.parents[0] if type(node) is Part else node


def _arrays(node: Any) -> list[Any]:
    """The arrays that a node keeps for its rule."""
    if node is None or type(node) in (Leaf, Part):
        return []
    outputs = node.y if isinstance(node.y, tuple) else (node.y,)
    return [x for x in (*(node.arrays or ()), *outputs) if isinstance(x, np.ndarray)]


def _whole(array: Any) -> Any:
    """The array that owns the memory of this one."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _newest_first(roots: set[Node]) -> list[Node]:
    seen, stack = set(roots), list(roots)
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=lambda node: node.id)


def _uses(nodes: Sequence[Node], lasting: set[int]) -> dict[int, int]:
    """How many of the nodes keep each array that is not there for good."""
    uses: dict[int, int] = {}
    for node in nodes:
        for key in {id(_whole(a)) for a in _arrays(node)} - lasting:
            uses[key] = uses.get(key, 0) + 1
    return uses
