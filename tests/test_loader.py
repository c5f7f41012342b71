"""Loaders: the same batches for any number of workers, after any interruption; and what goes wrong is said."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.data.dataset import Arrays, Joined, Mapped, Subset, collate, random_split
from kinone.data.loader import DataLoader
from kinone.errors import ArgumentError, AxisError, DataError, ShapeError, StateError
from loading import noisy

X, Y = np.arange(46, dtype=np.float32).reshape(23, 2), np.arange(23) % 3
ROWS = Arrays(X, Y)


class Faulty:
    """Ten samples, of which one makes trouble."""

    def __init__(self, trouble: str) -> None:
        self.trouble = trouble

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Any:
        if index == 7:
            if self.trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.trouble == "exit":
                os._exit(3)
            if self.trouble == "own":
                raise ShapeError("film", "a square", "a circle")
            raise KeyError("film 7")
        return np.full(3, index)


def bits(batches: Any) -> list[bytes]:
    return [b"".join(np.asarray(part).tobytes() for part in batch) for batch in batches]


def blocks() -> set[str]:
    shared = Path("/dev/shm")
    return {path.name for path in shared.glob("kinone-*")} if shared.is_dir() else set()


# ------------------------------------------------------------------------------ which batches
def test_in_order_without_shuffling():
    batches = list(DataLoader(ROWS, batch_size=5))
    assert [len(y) for _, y in batches] == [5, 5, 5, 5, 3]
    assert np.array_equal(np.concatenate([x for x, _ in batches]), X)
    assert [len(y) for _, y in DataLoader(ROWS, batch_size=5, drop_last=True)] == [5, 5, 5, 5]
    assert len(DataLoader(ROWS, batch_size=5)) == 5 and len(DataLoader(ROWS, batch_size=5, drop_last=True)) == 4


def test_an_epoch_has_every_sample_once_in_an_order_of_seed_and_epoch():
    loader = DataLoader(np.arange(100), batch_size=7, shuffle=True, seed=3)
    epochs = [np.concatenate(list(loader)) for _ in range(3)]
    assert all(sorted(epoch) == list(range(100)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1]) and loader.epoch == 3
    again = DataLoader(np.arange(100), batch_size=50, shuffle=True, seed=3)
    assert np.array_equal(np.concatenate(list(again)), epochs[0]), "the size of batches changes no order"
    assert not np.array_equal(DataLoader(np.arange(100), shuffle=True, seed=4).indices(0), epochs[0])


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_workers_change_nothing(workers):
    def epochs(**more: Any) -> list[bytes]:
        loader = DataLoader(ROWS, batch_size=4, shuffle=True, seed=5, transform=noisy, **more)
        return bits(loader) + bits(loader)

    assert epochs(workers=workers) == epochs() and not blocks()


def test_processes_that_are_not_forked_change_nothing():
    given = {"batch_size": 6, "shuffle": True, "transform": noisy}
    expected = bits(DataLoader(ROWS, **given))
    assert bits(DataLoader(ROWS, **given, workers=2, start_method="spawn")) == expected and not blocks()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_says_what_comes_next(workers):
    def loader() -> DataLoader:
        return DataLoader(ROWS, batch_size=4, shuffle=True, transform=noisy, workers=workers)

    whole = loader()
    expected = [*bits(whole), *bits(whole), *bits(whole)]
    for stop in (1, 5, 6, 8, 12):
        first, seen = loader(), []
        while len(seen) < stop:
            for batch in first:
                seen += bits([batch])
                if len(seen) == stop:
                    break
        state = first.state_dict()
        second = loader()
        second.load_state_dict(state)
        while len(seen) < len(expected):
            seen += bits(second)
        assert seen[: len(expected)] == expected, state
    assert not blocks()


def test_a_pass_that_was_left_begins_again():
    loader = DataLoader(np.arange(6), batch_size=2, shuffle=True)
    first = next(iter(loader))
    assert np.array_equal(next(iter(loader)), first) and loader.epoch == 0


def test_an_order_of_ones_own():
    loader = DataLoader(np.arange(6), batch_size=2, order=lambda epoch: [5, epoch, 0])
    assert [batch.tolist() for batch in loader] == [[5, 0], [0]]
    assert [batch.tolist() for batch in loader] == [[5, 1], [0]]


def test_an_empty_data_set_has_no_batches():
    loader = DataLoader([], workers=2)
    assert list(loader) == [] and len(loader) == 0 and loader.epoch == 1


# ------------------------------------------------------------------------------ what goes wrong
@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_that_fails_is_named(workers):
    with pytest.raises(DataError, match="sample 7, got KeyError: 'film 7'"):
        list(DataLoader(Faulty("key"), batch_size=2, workers=workers))
    with pytest.raises(ShapeError, match=r"\[film\] expected a square") as caught:
        list(DataLoader(Faulty("own"), batch_size=2, workers=workers))
    assert "in sample 7" in caught.value.__notes__
    assert not blocks()


@pytest.mark.parametrize(("trouble", "why"), [("kill", "signal 9"), ("exit", "exit code 3")])
def test_a_worker_that_dies_is_named(trouble, why):
    seen = []
    with pytest.raises(DataError, match=rf"worker 1 to make batch 3, got its end by {why}"):
        seen += list(DataLoader(Faulty(trouble), batch_size=2, workers=2))
    assert not blocks()


def test_what_cannot_be_sent_to_a_process_is_said():
    with pytest.raises(DataError, match="sent to a process started by 'spawn'"):
        list(DataLoader(Mapped(ROWS, lambda x: x), workers=1, start_method="spawn"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_workers_end_with_their_parent():
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        batches: Any = iter(DataLoader(ROWS, batch_size=2, workers=2))
        next(batches)
        workers = batches.gi_frame.f_locals["batches"].gi_frame.f_locals["self"].processes
        os.write(writing, " ".join(str(process.pid) for process in workers).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    children = [int(n) for n in os.read(reading, 100).split()]
    end = time.monotonic() + 10
    while any(Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes()
              for child in children):  # fmt: skip
        assert time.monotonic() < end, "workers live on"
        time.sleep(0.01)
    assert len(children) == 2 and not blocks()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"dataset": (i for i in range(3))}, "a data set with __len__ and __getitem__, got a generator. Hint: a gen"),
        ({"batch_size": 0}, "batch_size, at least 1, got 0"),
        ({"workers": -1}, "workers, at least 0"),
        ({"prefetch": 0}, "prefetch, at least 1"),
        ({"shuffle": True, "order": list}, "an order of your own, got both"),
    ],
)
def test_wrong_arguments_are_refused(arguments, match):
    with pytest.raises(ArgumentError, match=match):
        DataLoader(**{"dataset": ROWS, **arguments})


def test_states_of_other_loaders_are_refused():
    loader = DataLoader(ROWS, batch_size=4)
    with pytest.raises(StateError, match="batch_size=5"):
        loader.load_state_dict(DataLoader(ROWS, batch_size=5).state_dict())
    with pytest.raises(StateError, match="seed=2"):
        loader.load_state_dict(DataLoader(ROWS, batch_size=4, seed=2).state_dict())


# ------------------------------------------------------------------------------ data sets and batches
def test_data_sets_of_data_sets():
    both = Joined(ROWS, Subset(ROWS, [3, 1]))
    assert len(both) == 25 and np.array_equal(both[24][0], X[1]) and both[22][1] == Y[22]
    with pytest.raises(IndexError):
        both[25]
    with pytest.raises(AxisError, match="indices below 23, got 23"):
        Subset(ROWS, [0, 23])
    with pytest.raises(ShapeError, match="arrays of one length, got lengths 23, 22"):
        Arrays(X, Y[:-1])
    with pytest.raises(ShapeError, match="arrays of one length"):
        Arrays(np.float32(3))


def test_random_splits_are_disjoint_and_whole():
    parts = random_split(ROWS, [0.5, 0.3, 0.2], seed=1)
    assert [len(part) for part in parts] == [12, 6, 5]
    assert sorted(i for part in parts for i in part.indices) == list(range(23))
    assert [part.indices for part in random_split(ROWS, [12, 6, 5], seed=1)] == [part.indices for part in parts]
    for wrong in ([0.5, 0.4], [20, 4], [1.5, -0.5], []):
        with pytest.raises(ArgumentError, match="shares that add up to 1"):
            random_split(ROWS, wrong)


def test_batches_keep_structure_and_dtypes():
    sample = {"x": kn.Tensor([1.0, 2.0]), "y": (3, 0.5, True), "name": "a", "z": np.uint8(4), "box": [1.0, 2.0]}
    batch = collate([sample, sample])
    assert batch["x"].dtype == np.float32 and batch["x"].shape == (2, 2)
    integers, floats, flags = batch["y"]
    assert (integers.dtype, floats.dtype, flags.dtype) == (np.int64, np.float32, np.bool_)
    assert batch["name"] == ["a", "a"] and batch["z"].dtype == np.uint8 and batch["box"].shape == (2, 2)


def test_samples_that_do_not_stack_are_refused():
    with pytest.raises(ShapeError, match=r"samples of one shape, got shapes \(2,\) and \(3,\). Hint: .*pads"):
        collate([np.ones(2), np.ones(3)])
    with pytest.raises(ShapeError, match="samples of 2 parts, as the first has, got one of 1"):
        collate([(1, 2), (1,)])
