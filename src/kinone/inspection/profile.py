"""The profile of a block: how long each operator ran forward and backward, and the memory that it took."""

import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.graph import Leaf, Node
from kinone.core.tensor import Tensor
from kinone.inspection.drawing import bars, escaped, shortened
from kinone.inspection.observer import Observer, arrays_in, observing


@dataclass
class Row:
    """What all calls of one operator took: seconds, and bytes.

    `result_bytes`: the results, views of inputs left out. `kept_bytes`: what stays in memory for backward, parameters
    left out; an array that several calls keep counts for the first of them.
    """

    op: str
    calls: int = 0
    backward_calls: int = 0
    forward: float = 0.0
    backward: float = 0.0
    result_bytes: int = 0
    kept_bytes: int = 0

    @property
    def total(self) -> float:
        """Forward and backward together."""
        return self.forward + self.backward


class Profile(Observer):
    """Rows by operator, the slowest first; `print` it, `draw` it, or look an operator up: `p["matmul"].backward`.

    A time is an operator's own: operators that ran inside its rule have theirs. Calls on plain arrays are not seen.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._running: list[list[Any]] = []  # who, since when, and the time of those within
        self._kept: dict[int, weakref.ref[NDArray[Any]]] = {}
        self._began = time.perf_counter()
        self.elapsed = 0.0

    @property
    def rows(self) -> list[Row]:
        """One row an operator, the slowest first."""
        return sorted(self._rows.values(), key=lambda row: -row.total)

    def __getitem__(self, op: str) -> Row:
        return self._rows[op]

    # ------------------------------------------------------------------------------ watching
    def before_forward(self, op: Any, arrays: Any, attrs: Mapping[str, Any]) -> None:
        """Start the clock."""
        self._running.append([op, time.perf_counter(), 0.0])

    def after_forward(self, op: Any, args: Any, attrs: Mapping[str, Any], result: Any) -> None:
        """Stop the clock, and weigh the results."""
        seconds = self._stop(op)
        row = self._row(op.name)
        row.calls += 1
        row.forward += seconds
        given = arrays_in(list(args))
        row.result_bytes += sum(
            y.nbytes for y in arrays_in(result) if not any(np.may_share_memory(y, x) for x in given)
        )
        parameters = {id(x.data) for x in args if isinstance(x, Tensor) and type(x.node) is Leaf}
        row.kept_bytes += sum(map(self._newly_kept, (x for x in _kept_by(result) if id(x) not in parameters)))

    def before_backward(self, node: Node, g: Any) -> None:
        """Start the clock."""
        self._running.append([node, time.perf_counter(), 0.0])

    def after_backward(self, node: Node, g: Any, gradients: Sequence[Any]) -> None:
        """Stop the clock."""
        seconds = self._stop(node)
        row = self._row(node.op.name)
        row.backward_calls += 1
        row.backward += seconds

    def finish(self) -> None:
        """Note how long the block took."""
        self.elapsed += time.perf_counter() - self._began

    def _row(self, name: str) -> Row:
        return self._rows.setdefault(name, Row(name))

    def _stop(self, who: Any) -> float:
        now = time.perf_counter()
        while (frame := self._running.pop())[0] is not who:
            pass  # a call that raised never stopped its clock
        took = now - frame[1]
        if self._running:
            self._running[-1][2] += took
        return took - frame[2]

    def _newly_kept(self, array: NDArray[Any]) -> int:
        while isinstance(array.base, np.ndarray):
            array = array.base
        known = self._kept.get(id(array))
        if known is not None and known() is array:
            return 0
        self._kept[id(array)] = weakref.ref(array)
        return array.nbytes

    # ------------------------------------------------------------------------------ looking
    def table(self) -> str:
        """The rows as text, and their sums."""
        total = self._total()
        lines = [("operator", "calls", "forward", "backward", "share", "results", "kept")]
        for row in (*self.rows, total):
            share = f"{row.total / total.total:.1%}" if total.total else "–"
            times = (milliseconds(row.forward), milliseconds(row.backward) if row.backward_calls else "–")
            lines.append((row.op, str(row.calls), *times, share, size(row.result_bytes), size(row.kept_bytes)))
        wide = [max(len(line[i]) for line in lines) for i in range(7)]
        text = [
            "  ".join([line[0].ljust(wide[0]), *(cell.rjust(w) for cell, w in zip(line[1:], wide[1:], strict=True))])
            for line in lines
        ]
        rule = "─" * len(text[0])
        return "\n".join([text[0], rule, *text[1:-1], rule, text[-1]])

    def draw(self, path: Any = None) -> str:
        """The times as a bar chart in SVG: its text, which also goes into the file `path` if one is given."""
        rows = [(shortened(r.op), (r.forward, r.backward), f"{milliseconds(r.total)}") for r in self.rows]
        svg = bars(rows, ("forward", "backward"), title="Time by operator")
        if path is not None:
            Path(path).write_text(svg, encoding="utf-8")
        return svg

    def _total(self) -> Row:
        rows = self._rows.values()
        fields = ("calls", "backward_calls", "forward", "backward", "result_bytes", "kept_bytes")
        return Row("all", **{name: sum(getattr(row, name) for row in rows) for name in fields})

    def __repr__(self) -> str:
        total = self._total()
        return f"<profile of {total.calls} calls: {milliseconds(total.total)} of {milliseconds(self.elapsed)}>"

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return f"{self.draw()}<pre>{escaped(self.table())}</pre>"


@contextmanager
def profile() -> Iterator[Profile]:
    """Take the time of every operator and every rule that runs in the block.

    >>> import kinone as kn
    >>> x = kn.Tensor([1.0, 2.0], requires_grad=True)
    >>> with kn.profile() as p:
    ...     kn.tanh(x * x).sum().backward()
    >>> p["tanh"].calls, p["tanh"].backward_calls, p["tanh"].result_bytes
    (1, 1, 8)
    """
    p = Profile()
    try:
        with observing(p):
            yield p
    finally:
        p.finish()


def _kept_by(result: Any) -> list[NDArray[Any]]:
    """The arrays that the node of a result holds for its rule."""
    first = result[0] if isinstance(result, tuple) and result else result
    node = getattr(first, "node", None)
    if node is not None and node.op is None and node.parents:  # one of several outputs: the call is above it
        node = node.parents[0]
    return [] if node is None else [*arrays_in(list(node.arrays or ())), *arrays_in(node.y)]


def milliseconds(seconds: float) -> str:
    """Three digits and a unit.

    >>> milliseconds(0.0123456), milliseconds(1.5e-5), milliseconds(2.5)
    ('12.3 ms', '15.0 µs', '2.50 s')
    """
    value, unit = next(
        (seconds * k, u) for k, u in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if seconds * k >= 1 or u == "µs"
    )
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"


def size(count: int) -> str:
    """Bytes for people.

    >>> size(512), size(1536), size(3 * 2**30)
    ('512 B', '1.5 KiB', '3.0 GiB')
    """
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, 4)
    return f"{count / 1024**power:.1f} {'KMGT'[power - 1]}iB"
