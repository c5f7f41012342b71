"""The summary of a module: a table of what stands in it, what that costs, and what a training step will take."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html import escape
from time import perf_counter
from typing import Any

import numpy as np

from kinone import random
from kinone.core.graph import propagate
from kinone.core.modes import enable_grad, modes, setting
from kinone.core.tensor import Tensor, as_array
from kinone.core.tree import flatten
from kinone.errors import ArgumentError, ShapeError
from kinone.nn.forecast import Forecast, Ledger
from kinone.nn.module import Module
from kinone.nn.parameter import Parameter
from kinone.ops import sum as add_up

COLUMNS = ("type", "output", "parameters", "multiply_adds", "activations")
_LEFT = ("path", "type", "output")


@dataclass
class Row:
    """A module: how often it ran, the shapes of its (first) result, and what it has and does itself.

    `multiply_adds` and `activation_bytes`, what stays in memory for the walk back, are those of all its calls. Where
    a table stops at this module, they and the parameters are those of all that stands below it, too.
    """

    path: str
    type: str
    calls: int = 0
    output_shapes: tuple[tuple[int, ...], ...] = ()
    trainable: int = 0
    frozen: int = 0
    buffers: int = 0
    multiply_adds: int = 0
    activation_bytes: int = 0

    @property
    def parameters(self) -> int:
        """Trainable and frozen ones together."""
        return self.trainable + self.frozen

    def cell(self, column: str) -> str:
        """What the table says in that column."""
        match column:
            case "path":
                return self.path or "(whole)"
            case "type":
                return self.type if self.calls < 2 else f"{self.type} ×{self.calls}"
            case "output":
                return ", ".join(map(_shape, self.output_shapes)) if self.calls else "not called"
            case "parameters":
                return (f"{self.parameters:,}" if self.parameters else "") + (" frozen" if self.frozen else "")
            case "multiply_adds":
                return amount(self.multiply_adds) if self.multiply_adds else ""
            case _:
                return amount(self.activation_bytes, "B") if self.activation_bytes else ""


@dataclass
class Summary:
    """What `model.summary(…)` gives: print it, leave it on the last line of a notebook's cell, or read its fields."""

    name: str
    rows: list[Row]
    forecast: Forecast
    columns: tuple[str, ...] = COLUMNS
    total: Row = field(init=False)

    def __post_init__(self) -> None:
        self.total = Row("total", self.name)
        _add(self.total, self.rows)

    @property
    def parameters(self) -> int:
        """How many numbers are in the parameters, shared ones counted once."""
        return self.total.parameters

    @property
    def multiply_adds(self) -> int:
        """How many multiply-adds a forward call takes."""
        return self.total.multiply_adds

    def __getitem__(self, path: str) -> Row:
        for row in self.rows:
            if row.path == path:
                return row
        raise KeyError(path)

    def notes(self) -> list[str]:
        """The sums below the table, and the forecast."""
        t, f = self.total, self.forecast
        counts = [f"{t.trainable:,} trainable", *([f"{t.frozen:,} frozen"] if t.frozen else [])]
        batch = "" if f.batch_size is None else f" at batch size {f.batch_size}"
        parts = (("parameters", f.parameter_bytes), ("gradients", f.gradient_bytes), ("optimizer", f.optimizer_bytes),
                 ("activations", f.activation_bytes))  # fmt: skip
        memory = ", ".join(f"{word} {amount(count, 'B')}" for word, count in parts if count)
        buffers = f", and {t.buffers:,} in buffers" if t.buffers else ""
        return [
            f"parameters: {t.parameters:,} ({', '.join(counts)}){buffers}",
            f"multiply-adds: {amount(t.multiply_adds)} forward",
            f"a training step{batch}: {amount(f.peak_bytes, 'B')} at its peak, about {amount(f.seconds, 's')}",
            f"of these: {memory}",
        ]

    def _cells(self) -> list[list[str]]:
        names = ("path", *self.columns)
        return [[name.replace("_", "-") for name in names], *([row.cell(name) for name in names] for row in self.rows)]

    def __str__(self) -> str:
        cells = self._cells()
        wide = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
        is_left = [name in _LEFT for name in ("path", *self.columns)]
        lines = [
            "  ".join(c.ljust(w) if left else c.rjust(w) for c, w, left in zip(line, wide, is_left, strict=True))
            for line in cells
        ]
        rule = "─" * len(lines[0])
        return "\n".join([self.name, rule, *(line.rstrip() for line in lines[:1]), rule,
                          *(line.rstrip() for line in lines[1:]), rule, *self.notes()])  # fmt: skip

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *body = self._cells()
        sides = ["left" if name in _LEFT else "right" for name in ("path", *self.columns)]

        def line(kind: str, cells: Sequence[str]) -> str:
            pairs = zip(cells, sides, strict=True)
            return "".join(f"<{kind} style='text-align: {side}'>{escape(cell)}</{kind}>" for cell, side in pairs)

        rows = "".join(f"<tr>{line('td', cells)}</tr>" for cells in body)
        notes = "<br>".join(map(escape, self.notes()))
        table = f"<table><caption style='text-align: left'><b>{escape(self.name)}</b></caption>"
        return f"{table}<thead><tr>{line('th', head)}</tr></thead><tbody>{rows}</tbody></table><p>{notes}</p>"


def summary(
    module: Module, *inputs: Any, depth: int | None = None, columns: Sequence[str] = COLUMNS,
    batch_size: int | None = None, optimizer_states: int = 2, **named_inputs: Any,
) -> Summary:  # fmt: skip
    """Run the module and tell what is in it: for each module below it a row, the sums, and a forecast.

    An input is a shape, a pair of a shape and a dtype, or an array; settings are given by name. `depth` is how many
    levels of modules the table shows, `columns` which of type, output, parameters, multiply_adds and activations.
    The forecast is that of a training step with `batch_size` in place of the inputs' first length, and an optimizer
    that keeps `optimizer_states` arrays for each parameter (Adam 2, momentum 1, plain SGD 0); see `Forecast`. For its
    time, forward and backward run once more, or twice if that is quick.

    The module computes as in training, or as in use if a shape does not allow that (batch norm of one value). Nothing
    of it changes: neither statistics nor streams of random numbers nor layers that wait for their first input.

    >>> from kinone import nn
    >>> s = nn.Linear(3, 2).summary((8, 3))
    >>> s.parameters, s.multiply_adds, s[""].output_shapes
    (8, 48, ((8, 2),))
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown or (depth is not None and depth < 0) or not inputs:
        got = f"column {unknown[0]!r}" if unknown else f"depth={depth}" if inputs else "no input"
        raise ArgumentError("summary", f"inputs or their shapes, depth ≥ 0, columns among {', '.join(COLUMNS)}", got)
    with _untouched(module):
        dtype = next((p.dtype for p in _parameters(module)), np.dtype(np.float32))
        args = [_input(x, dtype) for x in inputs]
        named = {name: x if np.isscalar(x) or x is None else _input(x, dtype) for name, x in named_inputs.items()}
        try:
            rows, forecast = _seen(module.train(), args, named, batch_size, optimizer_states)
        except ShapeError:
            rows, forecast = _seen(module.eval(), args, named, batch_size, optimizer_states)
        forecast = replace(forecast, measured=_measured(module, args, named))
    rows = list(_folded(rows, depth))
    return Summary(module.title or type(module).__name__, rows, forecast, tuple(columns))


class _Watcher:
    """Sees modules and operators run, and enters them in the rows."""

    def __init__(self, root: Module, inputs: Sequence[Any]) -> None:
        self.root = root
        self.rows: dict[int, Row] = {}
        self.stack: list[Module] = []
        self.ledger = Ledger(_parameters(root), inputs)

    def all_rows(self) -> list[Row]:
        """A row for each module, in the order in which they stand; parameters count where they come first."""
        seen: set[int] = set()
        rows: list[Row] = []
        for path, module in self.root.named_modules():
            row = self.row(module)
            row.path = path
            rows.append(row)
            buffers = vars(module).get("_buffers", {})
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and id(value) not in seen:
                    seen.add(id(value))
                    is_buffer = name in buffers
                    row.buffers += value.size * is_buffer
                    if isinstance(value, Parameter) and not is_buffer:
                        row.trainable += value.size * value.requires_grad
                        row.frozen += value.size * (not value.requires_grad)
        return rows

    def row(self, module: Module) -> Row:
        return self.rows.setdefault(id(module), Row("", type(module).__name__))

    def before_module(self, module: Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.stack.append(module)

    def after_module(self, module: Module, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        self.stack.pop()
        row = self.row(module)
        row.calls += 1
        if row.calls == 1:
            row.output_shapes = tuple(np.shape(y) for y in flatten(result)[0] if hasattr(y, "shape"))

    def before_forward(self, op: Any, arrays: Sequence[Any], attrs: Mapping[str, Any]) -> None:
        pass

    def after_forward(self, op: Any, args: Sequence[Any], attrs: Mapping[str, Any], result: Any) -> None:
        count, kept = self.ledger.note(op, args, attrs, result)
        if self.stack:
            row = self.row(self.stack[-1])
            row.multiply_adds += count
            row.activation_bytes += kept


def _seen(
    module: Module, args: Sequence[Any], named: Mapping[str, Any], batch_size: int | None, states: int
) -> tuple[list[Row], Forecast]:
    """The rows of all modules and the forecast, yet without a measurement."""
    with enable_grad():
        if any(part.is_waiting for part in module.modules()):
            module(*args, **named)  # makes what waits
        watcher = _Watcher(module, _arrays(args, named))
        with setting("observers", (*modes.observers, watcher)):
            output = module(*args, **named)
    given = [array for array in _arrays(args, named) if array.ndim]
    return watcher.all_rows(), _forecast(module, watcher.ledger, given, output, batch_size, states)


def _measured(module: Module, args: Sequence[Any], named: Mapping[str, Any]) -> float:
    """Seconds of forward and backward, the better of two if the first was quick: then memory comes from the cache."""
    nodes = {p.node for p in _parameters(module) if p.node is not None}
    taken: list[float] = []
    while not taken or (len(taken) < 2 and taken[0] < 0.2):
        start = perf_counter()
        with enable_grad():
            roots = [y for y in flatten(module(*args, **named))[0] if isinstance(y, Tensor) and y.node is not None]
            total = sum(add_up(y) for y in roots)
        if isinstance(total, Tensor) and total.node is not None:
            propagate(total.node, np.ones_like(total.data), wanted=nodes)
        taken.append(perf_counter() - start)
    return min(taken)


def _arrays(args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    return [x.data for x in (*args, *named.values()) if isinstance(x, Tensor)]


def _forecast(
    module: Module, ledger: Ledger, given: Sequence[Any], output: Any, batch_size: int | None, states: int
) -> Forecast:
    lengths = {x.shape[0] for x in given}
    length = lengths.pop() if len(lengths) == 1 else None
    if batch_size is not None and (not length or batch_size < 1):
        got = f"batch_size={batch_size} for inputs of shapes {', '.join(str(x.shape) for x in given)}"
        raise ArgumentError("summary", "inputs with one common first length to scale", got)
    scale = 1.0 if batch_size is None or not length else batch_size / length
    parameters = _parameters(module)
    trained = sum(p.data.nbytes for p in parameters if p.requires_grad)
    held = sum(p.data.nbytes for p in parameters)
    buffers = sum(b.data.nbytes for b in module.buffers())
    return Forecast(
        batch_size=length if batch_size is None else batch_size,
        parameter_bytes=held,
        gradient_bytes=trained,
        optimizer_bytes=trained * states,
        activation_bytes=round(ledger.now * scale),
        peak_bytes=held + trained * states + buffers + round(sum(x.nbytes for x in given) * scale)
        + ledger.peak(flatten(output)[0], scale),
        costs=tuple(ledger.costs),
        measured=0.0,
        scale=scale,
        dtype=next((p.dtype for p in parameters), np.dtype(np.float32)),
    )  # fmt: skip


def _parameters(module: Module) -> list[Parameter]:
    """Those that exist, also of a module in which something waits for its first input."""
    found = {id(v): v for part in module.modules() for v in vars(part).values() if isinstance(v, Parameter)}
    return list(found.values())


def _input(x: Any, dtype: Any) -> Any:
    """An input as given, or for a shape numbers of that shape: normal ones, or for integers zeros."""
    if isinstance(x, tuple | list) and len(x) == 2 and isinstance(x[0], tuple | list):
        (*shape,), dtype = x
    elif isinstance(x, tuple | list) and all(isinstance(n, int) for n in x):
        shape = x
    else:
        return x if isinstance(x, Tensor) else Tensor(as_array(x))
    wanted = np.dtype(dtype)
    if wanted.kind != "f":
        return Tensor(np.zeros(tuple(shape), wanted))
    drawn = random.Stream("summary").normal(tuple(shape), dtype=np.float64 if wanted == np.float64 else np.float32)
    return Tensor(drawn.astype(wanted, copy=False))


def _folded(rows: list[Row], depth: int | None) -> Iterator[Row]:
    """The rows down to that depth, each with what stands deeper."""
    shown: list[Row] = []
    for row in rows:
        level = row.path.count(".") + 1 if row.path else 0
        if depth is None or level <= depth:
            shown.append(row)
        else:
            _add(shown[-1], [row])
    yield from shown


def _add(row: Row, others: Sequence[Row]) -> None:
    for name in ("trainable", "frozen", "buffers", "multiply_adds", "activation_bytes"):
        setattr(row, name, getattr(row, name) + sum(getattr(other, name) for other in others))


@contextmanager
def _untouched(module: Module) -> Iterator[None]:
    """Put back whatever the block changes: attributes, buffers, training flags, streams of random numbers."""
    attributes = [(part, dict(vars(part))) for part in module.modules()]
    buffers = [(b, b.data) for part in module.modules() for b in vars(part).values() if type(b) is Tensor]
    streams = random.snapshot()
    for tensor, array in buffers:
        tensor.data = array.copy()  # should a layer write into it
    try:
        yield
    finally:
        random.restore(streams)
        for part, own in attributes:
            vars(part).clear()
            vars(part).update(own)
        for tensor, array in buffers:
            tensor.data = array


def amount(n: float, unit: str = "") -> str:
    """A number in four digits, or three with a fraction, and its unit with a prefix.

    >>> amount(1814073344), amount(45_123, "B"), amount(0.0123, "s"), amount(96)
    ('1.814 G', '45.1 kB', '12.3 ms', '96')
    """
    power = next((p for p in (12, 9, 6, 3, 0, -3, -6) if abs(n) >= 10.0**p), -6 if n else 0)
    prefix = {12: "T", 9: "G", 6: "M", 3: "k", 0: "", -3: "m", -6: "µ"}[power]
    value = n / 10.0**power
    digits = 3 if not unit else 1
    text = f"{value:.0f}" if power == 0 and float(n).is_integer() else f"{value:.{digits}f}"
    return f"{text} {prefix}{unit}".rstrip()


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
