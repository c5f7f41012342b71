"""Recurrent layers: states that are carried along a sequence, layer upon layer, in one direction or in both."""

from typing import Any

import numpy as np

from kinone.errors import ArgumentError, ShapeError
from kinone.nn import initialize
from kinone.nn.layer import Layer, count, probability
from kinone.nn.module import Module
from kinone.nn.parameter import Parameter
from kinone.nn.sequence import where_steps_are
from kinone.nn.state import Shape
from kinone.ops import concat, dropout, gru, lstm, reshape, rnn, stack, swapaxes, unstack


class Recurrent(Layer):
    """What RNN, GRU and LSTM have in common; what they compute at a step is the operator's to say."""

    gates: int
    states: tuple[str, ...] = ("h0",)

    def __init__(
        self, input_size: int | None, hidden_size: int | None = None, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        return_sequences: bool = True, return_state: bool = True,
    ) -> None:  # fmt: skip
        where = type(self).__name__
        if hidden_size is None:
            input_size, hidden_size = None, input_size
        self.num_layers = count(where, "num_layers", num_layers)
        self.dropout = probability(where, "dropout", dropout)
        if dropout and num_layers == 1:
            hint = "an nn.Dropout behind the layer drops its outputs."
            raise ArgumentError(where, "two layers or more, for dropout lies between them", "num_layers=1", hint=hint)
        self.input_size, self.hidden_size = input_size, count(where, "hidden_size", hidden_size)
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.return_sequences, self.return_state = return_sequences, return_state
        self.is_waiting = input_size is None
        if input_size is not None:
            self.make(count(where, "input_size", input_size, 0))

    # ------------------------------------------------------------------------------ its parameters
    @property
    def directions(self) -> tuple[str, ...]:
        """How the names of each direction's parameters end."""
        return ("", "_reverse") if self.bidirectional else ("",)

    def make(self, input_size: int) -> None:
        """Draw the parameters, as PyTorch does: uniform between ±1/√hidden_size."""
        self.input_size, self.is_waiting = input_size, False
        width = input_size
        for layer in range(self.num_layers):
            for direction in self.directions:
                make_weights(self, f"_l{layer}{direction}", self.gates, width, self.hidden_size, self.bias)
            width = self.hidden_size * len(self.directions)

    def settle(self, x: Any, *args: Any, **kwargs: Any) -> None:
        self.make(x.shape[-1])

    def settle_like(self, shapes: dict[str, Shape]) -> None:
        if len(shapes.get("weight_ih_l0", ())) == 2:
            self.make(shapes["weight_ih_l0"][1])

    # ------------------------------------------------------------------------------ what it computes
    def time_axis(self, x: Any) -> int:
        """Which axis of the input is time."""
        return int(self.batch_first and x.ndim == 3)

    def step(self, x: Any, states: list[Any], weights: list[Any], lengths: Any, is_reversed: bool) -> Any:
        """One layer in one direction over the whole sequence: its outputs, then its last states."""
        raise NotImplementedError

    def forward(self, x: Any, hx: Any = None, lengths: Any = None, mask: Any = None) -> Any:
        is_single = x.ndim == 2
        x, states = self._batched(x, hx, is_single)
        lengths, places = where_steps_are(type(self).__name__, x.shape[:2], lengths, mask, self.batch_first)
        if places is not None:
            x = x[places[0]]
        y, last = self._layers(x, states, lengths)
        if self.return_sequences:
            y = y if places is None else y[places[1]]
            y = swapaxes(y, 0, 1) if self.batch_first and not is_single else y
        else:  # each direction's state after its own last step
            ends = [end[0] for end in last[-len(self.directions) :]]
            y = concat(*ends, axis=-1) if self.bidirectional else ends[0]
        if is_single:
            y = y[:, 0] if self.return_sequences else y[0]
        if not self.return_state:
            return y
        if len(last) == 1:
            ends = [reshape(end, (1, *end.shape)) for end in last[0]]
        else:
            ends = [stack(*parts) for parts in zip(*last, strict=True)]
        ends = [end[:, 0] for end in ends] if is_single else ends
        return y, ends[0] if len(ends) == 1 else tuple(ends)

    def _layers(self, y: Any, states: list[list[Any]], lengths: Any) -> tuple[Any, list[tuple[Any, ...]]]:
        last: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                y = dropout(y, p=self.dropout)
            outputs = []
            for direction in self.directions:
                weights = weights_of(self, f"_l{layer}{direction}")
                output, *ends = self.step(y, states[len(last)], weights, lengths, bool(direction))
                outputs.append(output)
                last.append(tuple(ends))
            y = concat(*outputs, axis=-1) if self.bidirectional else outputs[0]
        return y, last

    def _batched(self, x: Any, hx: Any, is_single: bool) -> tuple[Any, list[list[Any]]]:
        """The input, time first and with sequences side by side, and each layer's and direction's first states."""
        where = type(self).__name__
        form = "(N, T, {0})" if self.batch_first else "(T, N, {0})"
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            expected = f"x {form.format(self.input_size)}, or (T, {self.input_size}) of one sequence"
            raise ShapeError(where, expected, f"shape {x.shape}")
        x = x[:, None] if is_single else swapaxes(x, 0, 1) if self.batch_first else x
        steps, n, _ = x.shape
        if not steps:
            raise ShapeError(where, "a sequence of at least one step", f"none (x {form.format(self.input_size)})")
        each = self.num_layers * len(self.directions)
        if hx is None:
            zeros = np.zeros((n, self.hidden_size), x.dtype)
            return x, [[zeros] * len(self.states)] * each
        given = hx if isinstance(hx, tuple | list) else (hx,)
        if len(given) != len(self.states):
            names = ", ".join(self.states)
            raise ArgumentError(where, f"hx = ({names})" if len(self.states) > 1 else f"hx = {names}", f"{len(given)}")
        shape = (each, self.hidden_size) if is_single else (each, n, self.hidden_size)
        for name, state in zip(self.states, given, strict=True):
            if state.shape != shape:
                text = f"{name} of shape {shape}: layers × directions, {'' if is_single else 'batch, '}hidden_size"
                raise ShapeError(where, text, f"{state.shape}")
        parts = [unstack(state[:, None] if is_single else state) for state in given]
        return x, [list(states) for states in zip(*parts, strict=True)]


class RNN(Recurrent):
    """h ← φ(W·x[t] + b + U·h + d), φ = tanh or relu: x (T, N, in), h (layers·directions, N, H) → y (T, N, H), h.

    With `bidirectional`, half of each layer reads from the end to the beginning, and y is (T, N, 2·H). `batch_first`
    makes x and y (N, T, …); x (T, in) is one sequence. `dropout` lies between layers. `RNN(hidden_size)` takes the
    number of inputs from the first one.

    Sequence n has the first `lengths[n]` steps, or those where `mask`, of x's two leading axes, is True. At the others
    the state stands still and y is 0; backward readers begin at the sequence's own end.

    With return_sequences=False, y is the state after each direction's last step, (N, H); with return_state=False it is
    all there is.

    >>> y, h = RNN(3, 4, bidirectional=True)(np.ones((5, 2, 3), np.float32), lengths=[5, 2])
    >>> y.shape, h.shape
    ((5, 2, 8), (2, 2, 4))
    """

    gates = 1

    def __init__(
        self, input_size: int | None, hidden_size: int | None = None, num_layers: int = 1, nonlinearity: str = "tanh",
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        return_sequences: bool = True, return_state: bool = True,
    ) -> None:  # fmt: skip
        self.nonlinearity = checked_nonlinearity(type(self).__name__, nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         return_sequences, return_state)  # fmt: skip

    def step(self, x: Any, states: list[Any], weights: list[Any], lengths: Any, is_reversed: bool) -> Any:
        return rnn(x, *states, *weights, lengths=lengths, nonlinearity=self.nonlinearity, is_reversed=is_reversed)


class GRU(Recurrent):
    """r, z = σ(…),  n = tanh(W·x[t] + b + r·(U·h + d)),  h ← (1 − z)·n + z·h; arguments and shapes as of `RNN`.

    >>> y, h = GRU(3, 4, num_layers=2)(np.ones((5, 2, 3), np.float32))
    >>> y.shape, h.shape
    ((5, 2, 4), (2, 2, 4))
    """

    gates = 3

    def step(self, x: Any, states: list[Any], weights: list[Any], lengths: Any, is_reversed: bool) -> Any:
        return gru(x, *states, *weights, lengths=lengths, is_reversed=is_reversed)


class LSTM(Recurrent):
    """i, f, g, o = σ, σ, tanh, σ of W·x[t] + b + U·h + d,  c ← f·c + i·g,  h ← o·tanh c; arguments as of `RNN`.

    Its state is the pair (h, c), each (layers·directions, N, H).

    >>> y, (h, c) = LSTM(3, 4, batch_first=True)(np.ones((2, 5, 3), np.float32))
    >>> y.shape, h.shape, c.shape
    ((2, 5, 4), (1, 2, 4), (1, 2, 4))
    """

    gates = 4
    states = ("h0", "c0")

    def step(self, x: Any, states: list[Any], weights: list[Any], lengths: Any, is_reversed: bool) -> Any:
        return lstm(x, *states, *weights, lengths=lengths, is_reversed=is_reversed)


# ------------------------------------------------------------------------------ single steps
class Cell(Layer):
    """What RNNCell, GRUCell and LSTMCell have in common."""

    gates: int
    states: tuple[str, ...] = ("h",)

    def __init__(self, input_size: int | None, hidden_size: int | None = None, bias: bool = True) -> None:
        if hidden_size is None:
            input_size, hidden_size = None, input_size
        where = type(self).__name__
        self.input_size, self.hidden_size = input_size, count(where, "hidden_size", hidden_size)
        self.bias = bias
        self.is_waiting = input_size is None
        if input_size is not None:
            self.make(count(where, "input_size", input_size, 0))

    def make(self, input_size: int) -> None:
        """Draw the parameters, as PyTorch does: uniform between ±1/√hidden_size."""
        self.input_size, self.is_waiting = input_size, False
        make_weights(self, "", self.gates, input_size, self.hidden_size, self.bias)

    def settle(self, x: Any, *args: Any, **kwargs: Any) -> None:
        self.make(x.shape[-1])

    def settle_like(self, shapes: dict[str, Shape]) -> None:
        if len(shapes.get("weight_ih", ())) == 2:
            self.make(shapes["weight_ih"][1])

    def step(self, x: Any, states: list[Any], weights: list[Any]) -> Any:
        """One step of a sequence of that one: its output, then its states."""
        raise NotImplementedError

    def forward(self, x: Any, hx: Any = None) -> Any:
        where, is_single = type(self).__name__, x.ndim == 1
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            expected = f"x (N, {self.input_size}), or ({self.input_size},) of one sequence"
            raise ShapeError(where, expected, f"shape {x.shape}")
        x = x[None] if is_single else x
        shape = (self.hidden_size,) if is_single else (len(x), self.hidden_size)
        given = [np.zeros(shape, x.dtype)] * len(self.states) if hx is None else hx
        given = list(given) if isinstance(given, tuple | list) else [given]
        if [state.shape for state in given] != [shape] * len(self.states):
            expected = f"hx = {', '.join(self.states)}, each of shape {shape}"
            raise ShapeError(where, expected, ", ".join(str(state.shape) for state in given))
        given = [state[None] for state in given] if is_single else given
        ends = self.step(x[None], given, weights_of(self, ""))[1:]
        ends = tuple(end[0] for end in ends) if is_single else tuple(ends)
        return ends[0] if len(ends) == 1 else ends


class RNNCell(Cell):
    """h ← φ(W·x + b + U·h + d), one step of `RNN`: x (N, in), h (N, H) → h (N, H).

    >>> RNNCell(3, 4)(np.ones((2, 3), np.float32)).shape
    (2, 4)
    """

    gates = 1

    def __init__(
        self, input_size: int | None, hidden_size: int | None = None, bias: bool = True, nonlinearity: str = "tanh"
    ) -> None:
        self.nonlinearity = checked_nonlinearity(type(self).__name__, nonlinearity)
        super().__init__(input_size, hidden_size, bias)

    def step(self, x: Any, states: list[Any], weights: list[Any]) -> Any:
        return rnn(x, *states, *weights, nonlinearity=self.nonlinearity)


class GRUCell(Cell):
    """h ← (1 − z)·n + z·h, one step of `GRU`: x (N, in), h (N, H) → h (N, H).

    >>> GRUCell(3, 4)(np.ones((2, 3), np.float32)).shape
    (2, 4)
    """

    gates = 3

    def step(self, x: Any, states: list[Any], weights: list[Any]) -> Any:
        return gru(x, *states, *weights)


class LSTMCell(Cell):
    """c ← f·c + i·g,  h ← o·tanh c, one step of `LSTM`: x (N, in), (h, c) → (h, c), each (N, H).

    >>> h, c = LSTMCell(3, 4)(np.ones((2, 3), np.float32))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    gates = 4
    states = ("h", "c")

    def step(self, x: Any, states: list[Any], weights: list[Any]) -> Any:
        return lstm(x, *states, *weights)


# ------------------------------------------------------------------------------ what they share
def make_weights(module: Module, suffix: str, gates: int, width: int, size: int, has_bias: bool) -> None:
    """The parameters of one layer in one direction, as PyTorch names and orders them."""
    shapes: dict[str, Shape] = {"weight_ih": (gates * size, width), "weight_hh": (gates * size, size)}
    if has_bias:
        shapes.update(bias_ih=(gates * size,), bias_hh=(gates * size,))
    for name, shape in shapes.items():
        setattr(module, f"{name}{suffix}", Parameter(initialize.fan_in_uniform(shape, size)))


def weights_of(module: Module, suffix: str) -> list[Any]:
    """The same, in the order in which the operators take them."""
    return [getattr(module, f"{name}{suffix}", None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def checked_nonlinearity(where: str, name: str) -> str:
    """`name`, if the operator knows it."""
    if name not in ("tanh", "relu"):
        raise ArgumentError(where, "nonlinearity 'tanh' or 'relu'", repr(name))
    return name
