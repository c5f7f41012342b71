"""diff: the first step, then the first operator in which two runs part."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinone.inspection.digest import Digest
from kinone.inspection.observer import Observer, arrays_in, observing
from kinone.random import Stream
from kinone.training.difference import difference
from kinone.training.loop import Loop, Watcher
from kinone.training.replay import replay, write_digests
from kinone.training.run_directory import RunDirectory
from kinone.training.session import begin
from runs import small

pytest.importorskip("cv2", reason="needs kinone[data]")
STEPS, CALLS = 3, 26  # of a step of LeNet: its operators and their rules


def tiny(run_films: Path, **sections: dict[str, Any]) -> Any:
    return small(run_films, **{"loop": {"max_steps": STEPS, "digest_every": 1}, **sections})


@pytest.fixture(scope="module")
def right(run_films: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return begin(tiny(run_films), tmp_path_factory.mktemp("runs") / "right").run


class Fault(Observer, Watcher):
    """A machine that errs: call number `call` of step `step` gives a wrong result, each time that it is made."""

    def __init__(self, step: int, call: int) -> None:
        self.wanted, self.place, self.name = (step, call), [0, 0], ""

    def on_start(self, loop: Loop) -> None:
        self.place = [loop.step + 1, 0]

    def on_step(self, loop: Loop, values: dict[str, Any]) -> None:
        self.place = [loop.step + 1, 0]

    def on_epoch(self, loop: Loop, metrics: dict[str, Any], seconds: float) -> None:
        self.place[1] = 0

    def after_forward(self, op: Any, args: Sequence[Any], attrs: Mapping[str, Any], result: Any) -> None:
        if self._is_due(op.name):
            for array in arrays_in(result):
                array[...] = wrong(array)

    def after_backward(self, node: Any, g: Any, gradients: Sequence[Any]) -> None:
        if self._is_due(f"{node.op.name}_backward"):
            found: Any = gradients  # the engine's own list: what a rule gives may be a view that cannot be written
            found[:] = [g if g is None else wrong(g) for g in gradients]

    def _is_due(self, name: str) -> bool:
        is_due = tuple(self.place) == self.wanted
        self.name = name if is_due else self.name
        self.place[1] += 1
        return is_due


def wrong(array: Any) -> Any:
    return array * array.dtype.type(1.5) + array.dtype.type(0.01)


# Some by default, all of them with -m slow.
SEEDS = [pytest.param(i, marks=() if i < 6 else pytest.mark.slow) for i in range(50)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_result_is_named_by_its_step_and_operator(
    run_films: Path, right: RunDirectory, tmp_path: Path, seed: int
):
    step = int(Stream("step", seed).integers(1, low=1, high=STEPS + 1)[0])
    call = int(Stream("call", seed).integers(1, low=0, high=CALLS)[0])
    fault = Fault(step, call)
    with observing(fault):
        wrong = begin(tiny(run_films), tmp_path / "wrong", watchers=(fault,)).run
    assert fault.name
    digests: dict[int, list[Digest]] = {}
    with observing(fault):  # where it was made, its steps come out as its ledger says
        assert replay(wrong.path, watchers=(fault,), digests=digests).is_equal

    here = difference(right.path, wrong.path)
    assert here is not None and here.step in (step, step + 1) and here.words
    assert here.op is None and here.agrees == (True, False), "this machine computes what the first ledger says"

    write_digests(wrong, digests)
    found = difference(right.path, wrong.path)
    assert found is not None and found.op is not None and found.op.first is not None
    assert (found.op_step, found.op.first.number, found.op.first.op) == (step, call, fault.name)
    assert found.agrees == (True, None)


def test_a_run_does_not_differ_from_itself(right: RunDirectory):
    assert difference(right.path, right.path) is None


def test_what_was_set_up_otherwise_is_said(run_films: Path, right: RunDirectory, tmp_path: Path):
    other = begin(tiny(run_films, optimizer={"lr": 0.002}), tmp_path / "other").run
    found = difference(right.path, other.path)
    assert found is not None and found.setup == ("optimizer.lr: 0.001 in A, 0.002 in B",)
    assert found.step == 1 and [words.split(":")[0] for words in found.words] == ["lr", "optimizer", "weights"]
    assert found.op is not None and found.op.first is not None
    assert found.op.first.op == "AdamW step on features.0.weight" and found.op_step == 1


def test_runs_of_other_seeds_part_at_the_first_samples(run_films: Path, right: RunDirectory, tmp_path: Path):
    other = begin(tiny(run_films, loop={"max_steps": STEPS, "digest_every": 1, "seed": 1}), tmp_path / "other").run
    found = difference(right.path, other.path)
    assert found is not None and found.step in (0, 1) and found.words
    assert np.array_equal(found.line, 3) or found.line == 2
    shallow = difference(right.path, other.path, is_deep=False)
    assert shallow is not None and shallow.op is None and shallow.agrees == (None, None)


def test_a_run_that_is_shorter(run_films: Path, right: RunDirectory, tmp_path: Path):
    other = begin(tiny(run_films), tmp_path / "other").run
    lines = other.ledger.read_bytes().splitlines(keepends=True)
    other.ledger.write_bytes(b"".join(lines[:-2]))
    found = difference(right.path, other.path)
    assert found is not None and found.words == (f"A goes on to line {len(lines)}, the other has ended",)
