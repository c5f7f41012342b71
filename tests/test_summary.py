"""The summary: what it counts, by hand; what it foretells, against what happens; and that it leaves no trace."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import kernels, nn, ops, random
from kinone.core.modes import modes
from kinone.errors import ArgumentError, ShapeError
from kinone.nn.summary import amount
from kinone.nn.workload import multiply_adds


def ones(*shape: int) -> Any:
    return nn.Parameter(np.ones(shape, np.float32))


class Two(nn.Module):
    """Two layers, the first of which runs twice."""

    def __init__(self) -> None:
        self.shared, self.last = nn.Linear(4, 4), nn.Linear(4, 3, bias=False)

    def forward(self, x: Any) -> Any:
        return self.last(kn.relu(self.shared(kn.relu(self.shared(x)))))


class Outer(nn.Module):
    def __init__(self) -> None:
        self.inner, self.head = Two(), nn.Linear(3, 2)
        self.again = self.inner.shared

    def forward(self, x: Any) -> Any:
        return {"y": self.head(self.inner(x)), "n": x.shape[0], "more": [x * 2]}


class Counting(nn.Module):
    """Everything that a forward call may change."""

    seen: Any

    def __init__(self) -> None:
        self.late = nn.Linear(5)
        self.register_buffer("seen", kn.Tensor(np.zeros(2, np.float32)))
        self.cache: Any = None

    def forward(self, x: Any) -> Any:
        self.seen.copy_from(self.seen + 1)
        self.seen.data[0] = 7  # as no layer should
        self.cache = x
        random.stream("noise").normal(3)
        return kn.dropout(self.late(x), p=0.5)


# ------------------------------------------------------------------------------ what it counts
@pytest.mark.parametrize(
    ("f", "shapes", "expected"),
    [
        (lambda x, w: kn.conv2d(x, w, padding=1), [(2, 3, 8, 8), (5, 3, 3, 3)], 2 * 5 * 64 * 27),
        (lambda x, w: kn.conv2d(x, w, stride=2, groups=3), [(1, 6, 9, 9), (6, 2, 3, 3)], 6 * 16 * 18),
        (kn.conv1d, [(2, 3, 8), (5, 3, 3)], 2 * 5 * 6 * 9),
        (kn.conv3d, [(1, 2, 4, 4, 4), (3, 2, 1, 2, 3)], 3 * 4 * 3 * 2 * 12),
        (lambda x, w: kn.conv_transpose2d(x, w, stride=2), [(1, 2, 4, 4), (2, 5, 3, 3)], 2 * 16 * 45),
        (kn.linear, [(2, 7, 3), (5, 3)], 2 * 7 * 5 * 3),
        (kn.matmul, [(4, 2, 3), (4, 3, 5)], 4 * 2 * 3 * 5),
        (lambda a, b: kn.einsum("bij,kj->bki", a, b), [(2, 3, 4), (5, 4)], 2 * 3 * 4 * 5),
        (lambda a, b: kn.einsum("...ij,...jk", a, b), [(2, 3, 4), (2, 4, 6)], 2 * 3 * 4 * 6),
        (lambda a, b: kn.einsum("i,j->ij", a, b), [(3,), (4,)], 12),
        (kn.scaled_dot_product_attention, [(2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)], 6 * 5 * 7 * (4 + 6)),
        (lambda x, h, w, u: kn.rnn(x, h, w, u)[0], [(5, 2, 3), (2, 4), (4, 3), (4, 4)], 10 * (12 + 16)),
        (lambda x, h, w, u: kn.gru(x, h, w, u)[0], [(5, 2, 3), (2, 4), (12, 3), (12, 4)], 10 * 12 * 7),
        (lambda x, h, w, u: kn.lstm(x, h, h, w, u)[0], [(5, 2, 3), (2, 4), (16, 3), (16, 4)], 10 * 16 * 7),
        (lambda x, w: kn.relu(x + w).sum(), [(5, 2), (5, 2)], 0),
    ],
)
def test_multiply_adds_by_hand(f: Any, shapes: list[tuple[int, ...]], expected: int):
    x, *others = [np.ones(shape, np.float32) for shape in shapes]
    model = Applied(f, others)
    assert model.summary(x).multiply_adds == expected


class Applied(nn.Module):
    def __init__(self, f: Any, others: list[Any]) -> None:
        self.f = f
        for i, other in enumerate(others):
            setattr(self, f"w{i}", nn.Parameter(other))

    def forward(self, x: Any) -> Any:
        return self.f(x, *self.parameters())


def test_what_the_operators_of_no_product_count():
    counted = {"conv1d", "conv2d", "conv3d", "conv2d_activated", "conv_transpose1d", "conv_transpose2d", "linear",
               "conv_transpose3d", "matmul", "einsum", "attention", "rnn", "gru_gates", "lstm_gates",
               "squeeze_excitation"}  # fmt: skip
    others = [op for name, op in ops.ALL_OPS.items() if name not in counted]
    assert len(others) > 100
    assert not any(multiply_adds(op, [(2, 3)] * 4, op.defaults, (2, 3)) for op in others)


def test_rows_are_the_modules_in_their_order_and_shared_ones_come_once():
    s = Outer().summary((8, 4))
    assert [row.path for row in s.rows] == ["", "inner", "inner.shared", "inner.last", "head"]
    assert [row.calls for row in s.rows] == [1, 1, 2, 1, 1]
    assert [row.parameters for row in s.rows] == [0, 0, 20, 12, 8]
    assert [row.multiply_adds for row in s.rows] == [0, 0, 2 * 8 * 16, 8 * 12, 8 * 6]
    assert (s.parameters, s.multiply_adds) == (40, 8 * (32 + 12 + 6))
    assert s[""].output_shapes == ((8, 2), (8, 4)) and s["inner"].output_shapes == ((8, 3),)
    with pytest.raises(KeyError):
        s.__getitem__("inner.lost")


def test_a_shallow_table_adds_up_to_the_same():
    deep, flat, one = (Outer().summary((8, 4), depth=depth) for depth in (None, 0, 1))
    assert [row.path for row in flat.rows] == [""] and [row.path for row in one.rows] == ["", "inner", "head"]
    assert one["inner"].parameters == 32 and one["inner"].multiply_adds == 8 * 44
    for s in (flat, one):
        assert (s.total.parameters, s.total.multiply_adds, s.total.activation_bytes) == (
            deep.total.parameters, deep.total.multiply_adds, deep.total.activation_bytes
        )  # fmt: skip


def test_activations_are_what_the_walk_back_needs():
    s = Two().summary((8, 4))
    # relu keeps its result, which is also what the next layer keeps; the input was there before.
    assert s["shared"].activation_bytes == s["last"].activation_bytes == 0
    assert s[""].activation_bytes == s.forecast.activation_bytes == 2 * 8 * 4 * 4


def test_frozen_parameters_and_buffers_are_told_apart():
    model = Two()
    model.last.requires_grad_(False)
    model.register_buffer("mask", kn.Tensor(np.zeros((3, 3), np.float32)))
    s = model.summary((2, 4))
    assert (s.total.trainable, s.total.frozen, s.total.buffers) == (20, 12, 9)
    assert s["last"].frozen == 12 and "12 frozen" in str(s)
    assert s.forecast.gradient_bytes == 80 and s.forecast.parameter_bytes == 128


def test_several_inputs_settings_and_dtypes():
    class Model(nn.Module):
        def __init__(self) -> None:
            self.table = ones(10, 4)

        def forward(self, tokens: Any, x: Any, *, scale: float = 1.0, extra: Any = None) -> Any:
            assert tokens.dtype == np.int64 and scale == 2.0 and extra.shape == (4,)
            return kn.embedding(tokens, self.table) * scale + x + extra

    s = Model().summary(((2, 3), np.int64), np.zeros((2, 3, 4), np.float32), scale=2.0, extra=(4,))
    assert s[""].output_shapes == ((2, 3, 4),) and s.parameters == 40
    with pytest.raises(ArgumentError, match="one common first length to scale"):
        Model().summary(((2, 3), np.int64), (2, 3, 4), scale=2.0, extra=(4,), batch_size=8)


# ------------------------------------------------------------------------------ what it leaves behind: nothing
def test_nothing_changes():
    model = Counting().eval()
    random.stream("noise").normal(3)
    kn.dropout(np.ones(1), p=0.5)
    before, own = random.snapshot(), dict(vars(model))
    for shape in ((4, 6), (4, 3)):  # what waits still waits
        assert model.summary(shape)["late"].parameters == shape[1] * 5 + 5
    assert random.snapshot() == before
    assert vars(model) == own and not model.training and not model.late.training
    assert model.seen.data.tolist() == [0, 0] and model.cache is None and model.late.is_waiting


def test_nothing_changes_when_it_fails_either():
    model = Counting()
    model.late = nn.Linear(6, 5)
    before = random.snapshot()
    with pytest.raises(ShapeError) as caught:
        model.summary((4, 3))
    assert caught.value.__notes__ == ["in Counting.late (Linear)"]
    assert random.snapshot() == before and model.seen.data.tolist() == [0, 0] and model.training
    assert modes.observers == ()


def test_where_training_is_impossible_it_tells_of_use():
    class Norm(nn.Module):
        def __init__(self) -> None:
            self.w, self.b = ones(3), ones(3)

        def forward(self, x: Any) -> Any:
            if self.training:
                return kn.batch_norm(x, self.w, self.b)[0]
            return kn.batch_norm_inference(x, self.b, self.w, self.w, self.b)

    assert Norm().summary((1, 3))[""].output_shapes == ((1, 3),)


# ------------------------------------------------------------------------------ how it looks
def test_the_table():
    text = str(Outer().summary((8, 4)))
    lines = text.splitlines()
    assert lines[0] == "Outer" and set(lines[1]) == {"─"} and repr(Outer().summary((8, 4), depth=0)).startswith("Outer")
    assert lines[2].split() == ["path", "type", "output", "parameters", "multiply-adds", "activations"]
    assert lines[4].split()[:4] == ["(whole)", "Outer", "8×2,", "8×4"]
    assert lines[6].split() == ["inner.shared", "Linear", "×2", "8×4", "20", "256"]
    ends = {line.index(word) + len(word) for line, word in ((lines[2], "multiply-adds"), (lines[6], "256"))}
    assert len(ends) == 1, "numbers do not stand below one another"
    assert "parameters: 40 (40 trainable)" in text and "at batch size 8" in text
    assert not [line for line in lines if line != line.rstrip()]


def test_columns():
    lines = str(Outer().summary((8, 4), columns=["parameters"])).splitlines()
    assert lines[2].split() == ["path", "parameters"] and lines[6].split() == ["inner.shared", "20"]
    with pytest.raises(ArgumentError, match="column 'params'"):
        Outer().summary((8, 4), columns=["params"])
    with pytest.raises(ArgumentError, match="depth=-1"):
        Outer().summary((8, 4), depth=-1)
    with pytest.raises(ArgumentError, match="no input"):
        Outer().summary()


def test_in_a_notebook():
    model = Outer()
    model.title = "<net>"
    html = model.summary((8, 4))._repr_html_()
    assert "&lt;net&gt;" in html and "<net>" not in html
    assert html.count("<tr>") == 6 and "inner.shared" in html and "a training step" in html


def test_amounts():
    assert [amount(n) for n in (0, 1, 999, 1000, 1_814_073_344)] == ["0", "1", "999", "1.000 k", "1.814 G"]
    assert [amount(n, "B") for n in (0, 12, 2048, 3e9)] == ["0 B", "12 B", "2.0 kB", "3.0 GB"]
    assert [amount(n, "s") for n in (2.5, 0.0123, 1.5e-5)] == ["2.5 s", "12.3 ms", "15.0 µs"]


# ------------------------------------------------------------------------------ the forecast
class Deep(nn.Module):
    """Convolutions, norms and a head: activations outweigh parameters."""

    def __init__(self) -> None:
        for i in range(4):
            setattr(self, f"w{i}", nn.Parameter(random.Stream("w").normal((16, 16 if i else 3, 3, 3), std=0.1)))
        self.scale, self.shift, self.head = ones(16), ones(16), nn.Linear(16, 10)

    def forward(self, x: Any) -> Any:
        for i in range(4):
            y = kn.batch_norm(kn.conv2d(x, vars(self)[f"w{i}"], padding=1), self.scale, self.shift)[0]
            x = kn.relu(y if i == 0 else y + x)
        return self.head(kn.mean(x, axis=(2, 3)))


class Wide(nn.Module):
    """Matrices alone: parameters outweigh activations."""

    def __init__(self) -> None:
        self.a, self.b, self.c = nn.Linear(64, 900), nn.Linear(900, 900), nn.Linear(900, 10)

    def forward(self, x: Any) -> Any:
        return self.c(kn.tanh(self.b(kn.relu(self.a(x)))))


def measured_peak(model: nn.Module, x: Any) -> int:
    """What the allocator saw in the third of three steps, and what was there before it."""
    if kernels.memory().most_used == 0:
        pytest.skip("the kernels' allocator is not in use: nobody counts the bytes of arrays")
    states = [[np.zeros_like(p.data) for p in model.parameters()] for _ in range(2)]
    most = before = 0
    for _ in range(3):
        model.zero_grad()
        used = kernels.memory(forget_most_used=True).used
        before = sum(p.data.nbytes for p in model.parameters())
        kn.cross_entropy(model(x), np.zeros(len(x), np.int64)).backward()
        most = kernels.memory().most_used - used
    return most + before + sum(s.nbytes for part in states for s in part) + x.nbytes


@pytest.mark.parametrize(("make", "shape"), [(Deep, (8, 3, 48, 48)), (Wide, (32, 64)), (Two, (4096, 4))])
def test_the_memory_forecast_holds(make: Any, shape: tuple[int, ...]):
    model, x = make(), np.ones(shape, np.float32)
    foretold = model.summary(x).forecast.peak_bytes
    assert measured_peak(model, x) == pytest.approx(foretold, rel=0.3)


def test_a_forecast_for_another_batch_size_is_that_of_a_run_at_it():
    small, large = Deep().summary((2, 3, 16, 16), batch_size=32), Deep().summary((32, 3, 16, 16))
    assert small.forecast.batch_size == large.forecast.batch_size == 32
    assert small.forecast.peak_bytes == pytest.approx(large.forecast.peak_bytes, rel=0.01)
    assert small.forecast.activation_bytes == pytest.approx(large.forecast.activation_bytes, rel=0.01)


def test_states_of_the_optimizer_count():
    adam, plain = (Wide().summary((2, 64), optimizer_states=n).forecast for n in (2, 0))
    assert adam.peak_bytes - plain.peak_bytes == adam.optimizer_bytes == 2 * adam.gradient_bytes
    assert plain.optimizer_bytes == 0


def test_the_time_is_sane():
    """Not how long: that it counts what it should. A timed test would fail on a busy machine."""
    one = Deep().summary((2, 3, 16, 16)).forecast
    many = replace(one, scale=1000.0)
    assert 0 < one.measured < one.seconds < many.seconds < 1000 * one.seconds
    assert replace(one, measured=3.0).seconds - one.seconds == pytest.approx(3.0 - one.measured)
    assert sum(c.back_multiply_adds for c in one.costs) == pytest.approx(
        2 * sum(c.multiply_adds for c in one.costs), rel=0.3
    )
    frozen = Deep().requires_grad_(False).summary((2, 3, 16, 16)).forecast
    assert all(c.back_moved == 0 == c.back_multiply_adds for c in frozen.costs) and frozen.measured > 0


# ------------------------------------------------------------------------------ sequences
def test_recurrent_layers_and_attention():
    class Model(nn.Module):
        def __init__(self) -> None:
            self.lstm = nn.LSTM(3, 8, num_layers=2, bidirectional=True)
            self.attend = nn.MultiheadAttention(16, 4)

        def forward(self, x: Any) -> Any:
            y, _ = self.lstm(x)
            return self.attend(y, y, y, need_weights=False)[0]

    steps, n = 5, 2
    s = Model().summary((steps, n, 3))
    assert s["lstm"].multiply_adds == steps * n * 2 * (32 * (3 + 8) + 32 * (16 + 8))
    attention = n * 4 * steps * steps * (4 + 4)
    inside = [row for row in s.rows if row.path.startswith("attend")]
    assert sum(row.multiply_adds for row in inside) == steps * n * 16 * 64 + attention
    assert s["lstm"].output_shapes[0] == (steps, n, 16) and s["attend"].output_shapes[0] == (steps, n, 16)
    assert s.parameters == sum(p.size for p in Model().parameters())
