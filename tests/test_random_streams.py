"""Streams of random numbers: independent, replayed and kept, and what they refuse."""

import json
import math
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from kinone import random
from kinone.errors import ArgumentError, DtypeError, KinoneError
from kinone.random import Stream


@pytest.fixture(autouse=True)
def _fresh_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "_streams", {})
    monkeypatch.setattr(random, "_process", {"seed": 0})


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_streams_steps_and_seeds_are_independent() -> None:
    n = 100_000
    draws = [Stream("a", seed=1).normal(n, step=step, dtype=np.float64) for step in (0, 1, 2, 2**32)] + [
        Stream(name, seed=seed).normal(n, dtype=np.float64) for name, seed in (("b", 1), ("a", 2), ("a ", 1), ("", 11))
    ]
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 4.2 / math.sqrt(n)


def test_a_draw_takes_one_step_whatever_its_size() -> None:
    s, t = Stream("x", seed=3), Stream("x", seed=3)
    s.normal((100, 7))
    t.uniform(0)
    assert s.step == t.step == 1
    assert np.array_equal(s.integers((2, 3), low=0, high=99), t.integers(6, low=0, high=99).reshape(2, 3))


def test_shapes() -> None:
    s = Stream("x")
    assert [s.uniform(shape).shape for shape in ((), 4, (4,), (2, 0, 3), (2, 3))] == [(), (4,), (4,), (2, 0, 3), (2, 3)]
    assert s.normal(4, dtype="float64").dtype == np.float64
    assert s.uniform(3).flags.writeable
    assert s.uniform(3).flags.c_contiguous


def test_a_draw_at_a_step_replays_it_and_moves_nothing() -> None:
    s = Stream("x", seed=3)
    drawn = [s.normal(5), s.uniform(5), s.integers(5, low=0, high=9), s.bernoulli(5, 0.5), s.permutation(5)]
    again = [
        s.normal(5, step=0), s.uniform(5, step=1), s.integers(5, low=0, high=9, step=2),
        s.bernoulli(5, 0.5, step=3), s.permutation(5, step=4),
    ]  # fmt: skip
    assert s.step == 5
    assert [a.tolist() for a in again] == [d.tolist() for d in drawn]
    there = s.at(1)
    assert (there.uniform(5).tolist(), there.step, s.step) == (drawn[1].tolist(), 2, 5)


def test_a_state_survives_json_and_continues() -> None:
    s = Stream("x", seed=3)
    s.normal(5)
    state = json.loads(json.dumps(s.state()))
    assert state == {"name": "x", "seed": 3, "step": 1}
    expected = [s.normal(5).tolist(), s.normal(5).tolist()]
    t = Stream("x")
    t.restore(state)
    assert [t.normal(5).tolist(), t.normal(5).tolist()] == expected
    copied = pickle.loads(pickle.dumps(s))
    assert copied.normal(5).tolist() == s.normal(5).tolist()


def test_named_streams_follow_the_process_wide_seed() -> None:
    random.seed(7)
    held = random.stream("dropout")
    first = held.normal(5).tolist()
    assert first == Stream("dropout", seed=7).normal(5).tolist()
    assert random.stream("dropout") is held
    random.seed(8)
    assert (held.seed, held.step) == (8, 0)
    assert held.normal(5).tolist() != first
    random.seed(7)
    assert held.normal(5).tolist() == first
    assert random.stream("dropout", seed=7).normal(5).tolist() == first
    assert held.step == 1


def test_a_new_stream_shifts_no_other() -> None:
    def numbers(*others: str) -> list[list[float]]:
        random.seed(1)
        result: list[list[float]] = []
        for _ in range(3):
            for name in others:
                random.stream(name).normal(11)
            result.append(random.stream("shuffle").uniform(4).tolist())
        return result

    assert numbers() == numbers("dropout", "noise")


def test_threads_asking_for_one_name_get_one_stream() -> None:
    with ThreadPoolExecutor(8) as pool:
        given_out = list(pool.map(lambda _: random.stream("shared"), range(200)))
    assert all(each is given_out[0] for each in given_out)


def test_a_snapshot_brings_back_all_streams_and_those_made_since() -> None:
    random.seed(4)
    random.stream("a").normal(3)
    then = json.loads(json.dumps(random.snapshot()))
    expected = [random.stream(name).normal(3).tolist() for name in ("a", "made later")]
    random.seed(5)
    random.restore(then)
    assert [random.stream(name).normal(3).tolist() for name in ("a", "made later")] == expected
    assert random.stream("b").seed == 4


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────

REFUSED: list[tuple[Callable[[Stream], Any], type[KinoneError], str]] = [
    (lambda _: Stream("x", seed=-1), ArgumentError, r"\[Stream\] expected an integer seed, 0 ≤ seed .* got seed=-1"),
    (lambda _: Stream("x", seed=1.0), ArgumentError, r"got seed=1\.0"),  # pyright: ignore[reportArgumentType]
    (lambda _: Stream("x", seed=True), ArgumentError, "got seed=True"),
    (lambda _: Stream("x", seed=2**64), ArgumentError, "seed ≤ 18446744073709551615"),
    (lambda _: Stream(3), ArgumentError, "expected name of type str, got 3"),  # pyright: ignore[reportArgumentType]
    (lambda _: random.seed("1"), ArgumentError, "got seed='1'"),  # pyright: ignore[reportArgumentType]
    (lambda _: random.stream("x", seed=-2), ArgumentError, "got seed=-2"),
    (lambda s: s.at(-1), ArgumentError, "got step=-1"),
    (lambda s: s.uniform(3, step=-1), ArgumentError, "got step=-1"),
    (lambda s: s.uniform(-1), ArgumentError, "got length=-1"),
    (lambda s: s.normal((2, -3)), ArgumentError, "got length=-3"),
    (lambda s: s.normal((2, 1.5)), ArgumentError, r"got length=1\.5"),  # pyright: ignore[reportArgumentType]
    (lambda s: s.permutation(-1), ArgumentError, "got length=-1"),
    (
        lambda s: s.uniform(3, low=1.0, high=1.0),
        ArgumentError,
        r"\[uniform\] expected low < high.* got low=1\.0, high=1\.0",
    ),
    (lambda s: s.uniform(3, low=math.nan), ArgumentError, "expected a finite number low, got low=nan"),
    (lambda s: s.uniform(3, high=math.inf), ArgumentError, "got high=inf"),
    (lambda s: s.uniform(3, low=-1.7e308, high=1.7e308, dtype="float64"), ArgumentError, "within float64"),
    (lambda s: s.uniform(3, high=1e6, dtype="float16"), ArgumentError, "within float16"),
    (lambda s: s.uniform(3, low="0"), ArgumentError, "got low='0'"),  # pyright: ignore[reportArgumentType]
    (lambda s: s.normal(3, std=-1.0), ArgumentError, r"\[normal\] expected std ≥ 0.*std=-1\.0"),
    (lambda s: s.normal(3, std=1e4, dtype="float16"), ArgumentError, r"mean ± 8\.3·std within float16"),
    (lambda s: s.integers(3, low=5, high=5), ArgumentError, r"\[integers\] expected low < high .* got low=5, high=5"),
    (lambda s: s.integers(3, low=0, high=2**32 + 1), ArgumentError, "high ≤ low"),
    (lambda s: s.integers(3, low=0.0, high=3), ArgumentError, r"low=0\.0"),  # pyright: ignore[reportArgumentType]
    (lambda s: s.integers(3, low=-(2**63) - 1, high=0), ArgumentError, "an integer low"),
    (lambda s: s.bernoulli(3, 1.01), ArgumentError, r"\[bernoulli\] expected 0 ≤ p ≤ 1, got p=1\.01"),
    (lambda s: s.bernoulli(3, -0.01), ArgumentError, r"got p=-0\.01"),
    (lambda s: s.uniform(3, dtype=np.int32), DtypeError, r"\[uniform\] expected dtype float16, float32 or float64"),
    (lambda s: s.normal(3, dtype="float23"), DtypeError, "got 'float23'"),
    (lambda s: s.normal(3, dtype=None), DtypeError, "got None"),  # pyright: ignore[reportArgumentType]
    (lambda s: s.normal(3, dtype=np.complex64), DtypeError, "complex64"),
    (lambda s: s.restore({"name": "y", "seed": 0, "step": 0}), ArgumentError, "a state of the stream 'x'"),
    (lambda s: s.restore({"name": "x", "seed": 0}), ArgumentError, "a state of the stream 'x'"),
    (lambda s: s.restore({"name": "x", "seed": 0, "step": -1}), ArgumentError, "got step=-1"),
]


@pytest.mark.parametrize(("call", "error", "match"), REFUSED, ids=range(len(REFUSED)))
def test_bad_input_is_refused_and_shifts_nothing(
    call: Callable[[Stream], Any], error: type[KinoneError], match: str
) -> None:
    s = Stream("x", seed=3)
    s.normal(2)
    with pytest.raises(error, match=match):
        call(s)
    assert s.state() == {"name": "x", "seed": 3, "step": 1}
