"""Saved at any step and gone on with in another process: the bits of the run that was never interrupted."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import nn, optim
from kinone.errors import ArgumentError, FormatError, StateError
from kinone.formats import Checkpoint, load_checkpoint, load_safetensors, save_checkpoint
from processes import in_a_process

OPTIMIZERS: dict[str, Callable[[nn.Module], Any]] = {
    "SGD": lambda m: optim.SGD(m, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "RMSProp": lambda m: optim.RMSProp(m, lr=0.01, centered=True, momentum=0.5),
    "Adam": lambda m: optim.Adam(m, lr=0.01, amsgrad=True),
    "AdamW": lambda m: optim.AdamW(
        [{"params": list(m.parameters())[:2], "lr": 0.1}, {"params": list(m.parameters())[2:]}], lr=0.01
    ),
    "Adagrad": lambda m: optim.Adagrad(m, lr=0.05, lr_decay=0.1),
    "NAdam": lambda m: optim.NAdam(m, lr=0.01),
    "Lion": lambda m: optim.Lion(m.named_parameters(), lr=0.003),
}
SUFFIXES = (".safetensors", ".json", ".json.gz")
STEPS = 6


class Halving:
    """lr ← lr/2 after every second step: a schedule with nothing but the interface."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer, self.count = optimizer, 0

    def step(self) -> None:
        self.count += 1
        if self.count % 2 == 0:
            for group in self.optimizer.param_groups:
                group["lr"] /= 2

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


def parts(name: str) -> tuple[nn.Module, Any, Halving]:
    """A network whose next step depends on weights, running statistics, the optimizer and two random streams."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.4),
        nn.Linear(36, 3),
    )  # fmt: skip
    optimizer = OPTIMIZERS[name](model)
    return model, optimizer, Halving(optimizer)


def train(model: nn.Module, optimizer: Any, schedule: Halving, start: int, stop: int) -> None:
    data = kn.random.stream("data")
    for _ in range(start, stop):
        optimizer.zero_grad()
        kn.cross_entropy(model(data.normal((5, 1, 6, 6))), data.integers(5, low=0, high=3)).backward()
        optimizer.step()
        schedule.step()


def state_of(model: nn.Module, optimizer: Any, schedule: Halving) -> str:
    """One digest of every bit that the next step depends on."""
    total = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        total.update(name.encode() + str(tensor.dtype).encode() + tensor.data.tobytes())
    state = optimizer.state_dict()
    for number, arrays in state.pop("state").items():
        for name, array in arrays.items():
            total.update(f"{number} {name} {array.dtype}".encode() + array.tobytes())
    total.update(json.dumps([state, schedule.state_dict(), kn.random.snapshot()], sort_keys=True).encode())
    return total.hexdigest()


def go_on(path: str, name: str) -> str:
    """In a process that knows nothing yet: load, train to the end."""
    run = parts(name)
    saved = load_checkpoint(path, model=run[0], optimizer=run[1], schedule=run[2])
    train(*run, saved.progress["step"], STEPS)
    return state_of(*run)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """For every optimizer a run that is saved at each of its steps in each format, and the state in which it ends."""
    folder, ends = tmp_path_factory.mktemp("runs"), {}
    for name in OPTIMIZERS:
        kn.random.seed(7)
        run = parts(name)
        for step in range(STEPS):
            for suffix in SUFFIXES if step in (1, 4) else SUFFIXES[:1]:
                path = folder / f"{name}-{step}{suffix}"
                save_checkpoint(path, model=run[0], optimizer=run[1], schedule=run[2], progress={"step": step})
            train(*run, step, step + 1)
        ends[name] = state_of(*run)
    return folder, ends


def test_a_new_process_goes_on_with_the_same_bits_from_every_step(runs: tuple[Path, dict[str, str]]):
    folder, ends = runs
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    assert len(files) == len(OPTIMIZERS) * (STEPS + 2 * 2)
    code = f"""
import pathlib, test_formats_checkpoint as t
for path in sorted(pathlib.Path({str(folder)!r}).iterdir()):
    print(path.name, t.go_on(str(path), path.name.partition("-")[0]))
"""
    result = in_a_process(code)
    assert result.returncode == 0, result.stderr
    found = dict(line.split() for line in result.stdout.splitlines())
    assert found == {path.name: ends[path.name.partition("-")[0]] for path in files}


def test_the_test_would_notice_a_part_that_is_missing(runs: tuple[Path, dict[str, str]], tmp_path: Path):
    """Without the buffers, the optimizer, the schedule or the streams the end is another."""
    folder, ends = runs
    path = str(folder / "Adam-4.json")
    for missing in ("optimizer", "schedule", "buffers", "streams"):
        run = parts("Adam")
        given = {"model": run[0], "optimizer": run[1], "schedule": run[2]}
        given.pop(missing, None)
        load_checkpoint(path, **given)
        if missing == "buffers":
            norm: Any = run[0][1]  # pyright: ignore[reportIndexIssue]
            norm.reset_running_stats()
        if missing == "streams":
            kn.random.stream("dropout").step += 1
        train(*run, 4, STEPS)
        assert state_of(*run) != ends["Adam"]


def test_the_model_is_built_where_none_is_given(runs: tuple[Path, dict[str, str]]):
    folder, _ = runs
    before = kn.random.snapshot()
    saved = load_checkpoint(folder / "SGD-4.json.gz")
    assert isinstance(saved, Checkpoint) and saved.progress == {"step": 4}
    assert saved.has == ("random", "optimizer", "schedule")
    assert kn.random.snapshot() != before and kn.random.stream("data").step == 8
    weights = load_safetensors(folder / "SGD-4.safetensors")
    for name, tensor in saved.model.state_dict().items():
        assert tensor.data.tobytes() == weights[name].tobytes()
    assert nn.Module.load_json(folder / "SGD-4.safetensors").state_dict().keys() == saved.model.state_dict().keys()


def test_weights_alone_can_be_taken_from_a_checkpoint(runs: tuple[Path, dict[str, str]]):
    folder, _ = runs
    for suffix in SUFFIXES:
        model = parts("Lion")[0]
        assert model.load(folder / f"Lion-4{suffix}").is_complete
        assert model.state_dict()["1.num_batches_tracked"].item() == 4


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frozen_parts_modes_ties_titles_and_dtypes_survive(suffix: str, tmp_path: Path):
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3).double())
    model[0].requires_grad_(False)
    model[1].eval()
    model[2].bias = model[0].bias
    model[2].weight.data = model[2].weight.data.astype(np.float16)
    model.title = "small"
    path = tmp_path / f"m{suffix}"
    save_checkpoint(path, model=model)
    loaded: Any = load_checkpoint(path).model
    assert [p.requires_grad for p in loaded[0].parameters()] == [False, False]
    assert (loaded.training, loaded[1].training, loaded.title) == (True, False, "small")
    assert loaded[2].bias is loaded[0].bias and loaded[2].weight.dtype == np.float16
    other: Any = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    other[2].requires_grad_(False)
    load_checkpoint(path, model=other)
    assert not other[0].weight.requires_grad and other[2].weight.requires_grad and not other[1].training
    assert other[2].weight.dtype == np.float16


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_progress_comes_back_as_it_went_in(suffix: str, tmp_path: Path):
    progress = {"epoch": 3, "losses": [0.1, float("inf"), float("-inf"), 1e-320, -0.0], "best": None, "name": "ü\n",
                "deep": {"a": {"b": [{"c": True}, [], {}]}}, "array": np.arange(6.0).reshape(2, 3),
                "arrays": [np.zeros(0), np.array(1, np.int8)], "numpy": np.float32(0.1)}  # fmt: skip
    save_checkpoint(tmp_path / f"m{suffix}", model=nn.Identity(), progress=progress)
    found = load_checkpoint(tmp_path / f"m{suffix}").progress
    assert np.array_equal(found.pop("array"), progress.pop("array"))
    assert [a.dtype for a in found.pop("arrays")] == [np.float64, np.int8] and progress.pop("arrays")
    assert found == {**progress, "numpy": float(np.float32(0.1))}
    assert str(found["losses"][-1]) == "-0.0"


def test_not_a_number_and_what_cannot_be_written(tmp_path: Path):
    save_checkpoint(tmp_path / "m.json", model=nn.Identity(), progress=float("nan"))
    assert load_checkpoint(tmp_path / "m.json").progress != load_checkpoint(tmp_path / "m.json").progress
    for progress, match in [({1: 2}, "names as keys"), ({"x": object()}, r"\[training.progress.x\].*got a object"),
                            ({"b64": 1}, "names as keys"), ([1j], "got a complex")]:  # fmt: skip
        with pytest.raises(ArgumentError, match=match):
            save_checkpoint(tmp_path / "n.json", model=nn.Identity(), progress=progress)
    with pytest.raises(ArgumentError, match=r"ends in \.safetensors, \.json, \.json\.gz, \.json\.zst, got"):
        save_checkpoint(tmp_path / "m.pkl", model=nn.Identity())
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


def test_what_does_not_fit_changes_nothing(tmp_path: Path):
    path = tmp_path / "m.safetensors"
    model = nn.Linear(3, 2)
    save_checkpoint(path, model=model, optimizer=optim.SGD(model, lr=0.1))
    other = nn.Linear(3, 2)
    before = other.weight.data.copy()
    kn.random.seed(11)
    with pytest.raises(StateError, match="the state of Adam, got that of SGD"):
        load_checkpoint(path, model=other, optimizer=optim.Adam(other))
    with pytest.raises(StateError, match=r"state of a schedule in .*, got none"):
        load_checkpoint(path, model=other, schedule=Halving(None))
    with pytest.raises(StateError, match="weight is"):
        load_checkpoint(path, model=nn.Linear(4, 2))
    with pytest.raises(ArgumentError, match="the model that the optimizer was made from"):
        load_checkpoint(path, optimizer=optim.SGD(other))
    assert np.array_equal(other.weight.data, before) and kn.random.stream("data").step == 0
    assert kn.random.snapshot()["seed"] == 11


@pytest.mark.parametrize(
    "training",
    [
        {"random": 1}, {"random": {"seed": 0}}, {"random": {"seed": "0", "streams": []}},
        {"random": {"seed": 0, "streams": [{"name": "a"}]}}, {"random": {"seed": -1, "streams": []}},
        {"random": {"seed": 0, "streams": [{"name": "a", "seed": 0, "step": -1}]}},
        {"optimizer": []}, {"optimizer": {"name": "SGD", "groups": [{}], "state": {}, "steps": [0, 0]}},
        {"optimizer": {"name": "SGD", "groups": [1], "state": {}, "steps": [0, 0]}},
    ],
)  # fmt: skip
def test_a_run_that_is_no_run_is_refused(training: Any, tmp_path: Path):
    arch = nn.described(nn.Linear(3, 2))
    array = {"b64": "AAAAAAAAAAA=", "dtype": "<f4", "shape": [2], "order": "C"}
    weight = {"b64": "A" * 32, "dtype": "<f4", "shape": [2, 3], "order": "C"}
    data = {"format": "kinone.json.v1", "arch": arch, "state": {"weight": weight, "bias": array}, "training": training}
    (tmp_path / "m.json").write_text(json.dumps(data))
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model) if "optimizer" in training else None
    with pytest.raises((FormatError, StateError)):
        load_checkpoint(tmp_path / "m.json", model=model, optimizer=optimizer)
