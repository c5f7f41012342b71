"""Runs: the same ledger whatever computes it and however often it is interrupted."""

import gc
import json
import re
import shutil
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone import kernels, nn
from kinone.errors import ArgumentError, DataError, NumericsError, StateError
from kinone.inspection import rerun
from kinone.kernels import dispatch, settings
from kinone.ops import ALL_OPS
from kinone.training import ledger
from kinone.training.config import RunConfig
from kinone.training.loop import Loop, Watcher
from kinone.training.run_directory import RunDirectory, read_metrics
from kinone.training.session import begin, resume
from kinone.training.shards import Shards, Tree
from kinone.training.verify import verify
from runs import ROOT, arguments, finished, small

pytest.importorskip("cv2", reason="needs kinone[data]")


def fingerprint(run: RunDirectory) -> bytes:
    return run.ledger.read_bytes()


class Stops(Watcher):
    """Ends a run after some step, as a file STOP or an exception does."""

    def __init__(self, step: int, error: type[BaseException] | None = None) -> None:
        self.step, self.error = step, error

    def on_step(self, loop: Loop, values: dict[str, Any]) -> None:
        if loop.step == self.step:
            if self.error is not None:
                raise self.error
            loop.run.stop.touch()


# ------------------------------------------------------------------------------ what a run leaves
def test_what_lies_in_the_folder(whole_run: RunDirectory):
    names = {path.name for path in whole_run.path.iterdir()}
    assert names == {"config.toml", "environment.json", "ledger.jsonl", "metrics.jsonl", "checkpoints.json",
                     "checkpoints"}  # fmt: skip
    entries = ledger.read(whole_run.ledger).entries
    kinds = [entry.kind for entry in entries]
    assert kinds[:2] == ["run", "checkpoint"] and kinds[-2:] == ["test", "end"] and kinds.count("epoch") == 3
    steps = [entry.fields for entry in entries if entry.kind == "step"]
    saved = {entry.fields["step"] for entry in entries if entry.kind == "checkpoint"} - {0}
    assert {f["step"] for f in steps if "weights" in f} == saved | set(range(3, len(steps) + 1, 3))
    assert all({"weights", "optimizer"} <= f.keys() or not {"weights", "optimizer"} & f.keys() for f in steps)
    assert max(map(len, whole_run.ledger.read_bytes().split(b"\n")[2:-3])) <= 1024, "a line is at most 1 KB"
    named = whole_run.named()
    assert set(named) == {"last", "best"}
    kept = {f"step-{step}.safetensors" for step in sorted(saved)[-2:]}
    assert {path.name for path in whole_run.checkpoints.iterdir()} == {*named.values(), *kept}
    assert json.loads(whole_run.environment.read_text())["numerics"]["profile"] == entries[0].fields["profile"]


def test_metrics_follow_the_run(whole_run: RunDirectory):
    lines = read_metrics(whole_run.metrics)
    kinds = [line["kind"] for line in lines]
    assert kinds[0] == "started" and kinds[-1] == "test"
    steps = [line for line in lines if line["kind"] == "step"]
    recorded = [e.fields for e in ledger.read(whole_run.ledger).entries if e.kind == "step"]
    assert [line["loss"] for line in steps] == [fields["loss"] for fields in recorded]
    assert all(line["seconds"] > 0 and line["waited"] >= 0 and line["memory"] > 0 for line in steps)
    assert [line["is_best"] for line in lines if line["kind"] == "epoch"].count(True) >= 1


def test_only_deterministic_values_are_in_the_ledger(run_films: Path, whole_run: RunDirectory, tmp_path: Path):
    again = begin(small(run_films, machine={"threads": 2, "workers": 1, "keep": 0, "prefetch": 1}), tmp_path / "a")
    assert fingerprint(again.run) == fingerprint(whole_run)
    for text in (str(run_films), str(whole_run.path), "workers", "threads"):
        assert text.encode() not in fingerprint(whole_run)
    noted = [e.fields["step"] for e in ledger.read(whole_run.ledger).entries if e.kind == "checkpoint"]
    assert list(again.run.steps()) == noted, "keep = 0 keeps all"


@pytest.mark.parametrize(("threads", "workers"), [(1, 0), (2, 3)])
@pytest.mark.parametrize("isa", [n for n, runs in (settings.native.isas() if settings.native else {}).items() if runs])
def test_the_bits_are_the_same_in_other_processes(
    run_films: Path, whole_run: RunDirectory, tmp_path: Path, threads: int, workers: int, isa: str
):
    words = arguments(small(run_films, machine={"workers": workers, "threads": threads}))
    done = finished("train", *words, "--run-dir", str(tmp_path / "a"), KINONE_ISA=isa)
    assert done.returncode == 0, done.stderr
    assert fingerprint(RunDirectory(tmp_path / "a")) == fingerprint(whole_run)
    assert done.stderr == ""


class Memory(Watcher):
    """What is in use after each epoch, and was at most in it: bytes of arrays, and of all that Python has."""

    def __init__(self) -> None:
        self.arrays: list[tuple[int, int]] = []
        self.python: list[int] = []

    def on_epoch(self, loop: Loop, metrics: dict[str, Any], seconds: float) -> None:
        gc.collect()
        now = kernels.memory(forget_most_used=True)
        self.arrays.append((now.used, now.most_used))
        self.python.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()


@pytest.mark.parametrize("workers", [0, 1])
def test_memory_is_flat_over_epochs(run_films: Path, tmp_path: Path, workers: int):
    """To the byte for arrays; Python itself may keep 4 KB an epoch, a third of a batch of these films."""
    found = Memory()
    tracemalloc.start()
    try:
        config = small(run_films, loop={"epochs": 9}, machine={"workers": workers})
        begin(config, tmp_path / "run", watchers=(found,))
    finally:
        tracemalloc.stop()
    assert len(set(found.arrays[1:])) == 1, "the first epoch makes the optimizer's state"
    growth = (found.python[-1] - found.python[2]) / len(found.python[3:])
    assert growth < 4096


# ------------------------------------------------------------------------------ ends
@pytest.mark.parametrize("step", [1, 4, 5, 6, 7, 13])
def test_a_run_that_was_asked_to_end_goes_on_with_the_same_bits(
    run_films: Path, whole_run: RunDirectory, tmp_path: Path, step: int
):
    first = begin(small(run_films), tmp_path / "a", watchers=(Stops(step),))
    assert (first.why, first.loop.step) == ("STOP", step) and not first.run.stop.exists()
    assert fingerprint(whole_run).startswith(fingerprint(first.run))
    assert first.run.checkpoint().name == f"step-{step}.safetensors"
    (fault,) = verify(first.run.path).faults
    assert fault.startswith("there is no closing line")
    second = resume(tmp_path / "a", layers=({"machine": {"workers": 1, "threads": 2}},))
    assert second.why == "" and fingerprint(second.run) == fingerprint(whole_run)
    assert not verify(second.run.path).faults
    kinds = [line["kind"] for line in read_metrics(second.run.metrics)]
    assert kinds.index("stopped") + 1 == kinds.index("resumed")


def test_a_run_that_broke_goes_on_from_its_last_checkpoint(run_films: Path, whole_run: RunDirectory, tmp_path: Path):
    for step in (1, 7, 11):
        run, watchers = tmp_path / "a", (Stops(step, ZeroDivisionError),)
        goes_on = partial(resume, run) if run.exists() else partial(begin, small(run_films), run)
        with pytest.raises(ZeroDivisionError):
            goes_on(watchers=watchers)
    assert fingerprint(resume(tmp_path / "a").run) == fingerprint(whole_run)


def test_a_run_that_has_ended_does_not_go_on(whole_run: RunDirectory):
    before = fingerprint(whole_run)
    with pytest.raises(StateError, match=r"expected a run that has not come to its end, got .*which has"):
        resume(whole_run.path)
    assert fingerprint(whole_run) == before


def test_two_processes_do_not_train_in_one_folder(run_films: Path, tmp_path: Path):
    run = begin(small(run_films), tmp_path / "a", watchers=(Stops(2),)).run
    with run.held(), pytest.raises(StateError, match="another process that trains in it"):
        resume(run.path)


def test_early_stopping(run_films: Path, tmp_path: Path):
    config = small(run_films, loop={"epochs": 30, "patience": 2}, optimizer={"lr": 0.0})
    loop = begin(config, tmp_path / "a").loop
    epochs = [e.fields["epoch"] for e in ledger.read(loop.run.ledger).entries if e.kind == "epoch"]
    assert epochs == [1, 2, 3] and loop.best["epoch"] == 1, "a rate of 0 gets no better"


def test_max_steps_ends_in_the_middle_of_an_epoch(run_films: Path, tmp_path: Path):
    run = begin(small(run_films, loop={"max_steps": 5}), tmp_path / "a").run
    entries = ledger.read(run.ledger).entries
    assert entries[-1].fields["steps"] == 5 and entries[-1].kind == "end" and not verify(run.path).faults


def test_a_batch_is_learned_by_heart(run_films: Path, tmp_path: Path):
    config = small(
        run_films, loop={"overfit_batches": 1, "epochs": 40}, data={"image_size": 32}, optimizer={"lr": 0.02}
    )
    metrics = begin(config, tmp_path / "a").loop.best["metrics"]
    assert metrics["auc"] == 1.0 and metrics["loss"] < 0.05


# ------------------------------------------------------------------------------ options
OPTIONS: list[dict[str, Any]] = [
    {"optimizer": {"name": "SGD", "momentum": 0.9, "lr": 0.05, "clip_norm": 0.5},
     "schedule": {"name": "cosine", "warmup": 2}},
    {"optimizer": {"ema": 0.9}, "schedule": {"name": "plateau", "step_size": 1}, "loop": {"pos_weight": "balanced"}},
    {"optimizer": {"name": "Lion", "lr": 1e-4}, "schedule": {"name": "step", "step_size": 1, "gamma": 0.5},
     "data": {"flip": True, "has_no_finding": True}},
    {"optimizer": {"name": "RMSProp"}, "schedule": {"name": "linear"}, "loop": {"shards": 4}, "data": {"limit": 20}},
    {"optimizer": {"name": "Adagrad"}, "schedule": {"name": "constant", "warmup": 3}, "loop": {"shards": 3, "seed": 5}},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
def test_with_any_options_a_broken_run_goes_on_with_the_same_bits(run_films: Path, tmp_path: Path, options: Any):
    config = small(run_films, **{k: v for k, v in options.items() if k != "loop"},
                   loop={**small(run_films).recorded()["loop"], "epochs": 2, **options.get("loop", {})})  # fmt: skip
    whole = begin(config, tmp_path / "whole").run
    with pytest.raises(ZeroDivisionError):
        begin(config, tmp_path / "a", watchers=(Stops(6, ZeroDivisionError),))
    assert fingerprint(resume(tmp_path / "a").run) == fingerprint(whole)
    assert not verify(whole.path).faults
    entries = ledger.read(whole.ledger).entries
    rates = {e.fields["lr"] for e in entries if e.kind == "step"}
    assert len(rates) > 1 or config.schedule.name == "plateau"
    assert entries[-2].kind == "test"


def test_the_weights_to_begin_with_can_come_from_a_file(run_films: Path, whole_run: RunDirectory, tmp_path: Path):
    weights = Path(shutil.copy(whole_run.checkpoint("best"), tmp_path / "weights.safetensors"))
    config = small(run_films, machine={"load_checkpoint": str(weights)}, loop={"max_steps": 2})
    loop = begin(config, tmp_path / "a").loop
    begin(config, tmp_path / "c", watchers=(Stops(1),))
    weights.unlink()
    assert fingerprint(resume(tmp_path / "c").run) == fingerprint(loop.run), "which no longer needs it"
    drawn = begin(small(run_films, loop={"max_steps": 1}), tmp_path / "b").loop
    first, other = (ledger.read(x.run.ledger).entries[1].fields["digest"] for x in (loop, drawn))
    assert first != other, "which weights it began with is in the ledger"


# ------------------------------------------------------------------------------ numbers that are none
@pytest.mark.parametrize("anomaly", [False, True])
def test_a_run_that_leaves_the_finite_numbers_says_where(run_films: Path, tmp_path: Path, anomaly: bool):
    config = small(run_films, optimizer={"name": "SGD", "lr": 3e38}, schedule={"name": "constant"},
                   machine={"anomaly": anomaly})  # fmt: skip
    with pytest.raises(NumericsError) as caught:
        begin(config, tmp_path / "a")
    saved = list((tmp_path / "a").glob("anomaly-*.npz"))
    if anomaly:
        assert caught.value.where in ALL_OPS and len(saved) == 1 and str(saved[0]) in str(caught.value)
        rerun(saved[0])
    else:
        assert re.search(r"\[train\] expected finite numbers in step \d+, got loss .*--anomaly", str(caught.value))
        assert not saved
    assert not ledger.read(tmp_path / "a" / "ledger.jsonl").faults


# ------------------------------------------------------------------------------ the bits of profile kn1
NUMBERS = "966413ebf18c28cc4ae33eec7fda4a6e3a0338ba91a0f0cb8d05b071376afaf1"


@pytest.mark.skipif(dispatch.profile() != "kn1", reason="the bits of another profile")
def test_the_numbers_of_a_small_run_are_pinned(whole_run: RunDirectory):
    """A change of them is a new profile; the sources' digest and the format of files are not in it."""
    assert verify(whole_run.path).numbers == NUMBERS


@pytest.mark.slow
@pytest.mark.skipif(dispatch.profile() != "kn1", reason="the bits of another profile")
def test_the_demo_run_is_the_one_in_the_guide(tmp_path: Path):
    config = RunConfig.of([{"machine": {"folder": str(tmp_path / "demo")}}])
    loop = begin(config, tmp_path / "run").loop
    metrics = [e.fields["metrics"] for e in ledger.read(loop.run.ledger).entries if e.kind == "test"]
    assert float.fromhex(metrics[0]["auc"]) > 0.9
    guide = (ROOT / "docs/guides/replay-a-run.md").read_text(encoding="utf-8")
    assert verify(loop.run.path).numbers in guide


# ------------------------------------------------------------------------------ shards
def test_a_tree_has_one_form():
    def joined(n: int) -> str:
        tree = Tree(lambda a, b: f"({a}{b})")
        for i in range(n):
            tree.add(i)
        return str(tree.sum())

    assert [joined(n) for n in (1, 2, 3, 4, 6)] == ["0", "(01)", "((01)2)", "((01)(23))", "(((01)(23))(45))"]


class Net(nn.Module):
    def __init__(self) -> None:
        self.conv, self.bn, self.drop = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.fc(self.drop(kn.mean(self.bn(self.conv(x), activation="relu"), axis=(2, 3))))


def test_shards_add_up_to_the_batch():
    """Without what looks at the batch as a whole_run, the gradient is that of one shard but for rounding."""
    x = kn.random.Stream("x").normal((7, 1, 6, 6))
    y = kn.random.Stream("y").normal((7, 2))
    found: dict[int, Any] = {}
    for count in (1, 2, 3, 7, 9):
        kn.random.seed(1)
        model = Net()
        model.bn.eval()
        model.drop.eval()
        result = Shards(model, nn.MSELoss(), count, seed=0).gradients(x, y, step=1)
        found[count] = [result.loss, result.norm, *(p.grad.data for p in model.parameters())]
    for parts in found.values():
        for a, b in zip(found[1], parts, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7)


def test_statistics_are_those_of_the_shards_averaged():
    kn.random.seed(1)
    model, x = Net(), kn.random.Stream("x").normal((6, 1, 6, 6))
    y = np.zeros((6, 2), np.float32)
    expected = []
    for part in (x[:3], x[3:]):
        conv = model.conv(part).data
        expected.append(0.1 * conv.mean((0, 2, 3)))
    Shards(model, nn.MSELoss(), 2, seed=0).gradients(x, y, step=1)
    assert model.bn.running_mean is not None and model.bn.num_batches_tracked is not None
    np.testing.assert_allclose(model.bn.running_mean.data, np.mean(expected, 0), rtol=1e-4, atol=1e-7)
    assert model.bn.num_batches_tracked.item() == 1


def test_what_layers_draw_depends_on_the_step_and_the_shard_alone():
    kn.random.seed(1)
    model, x, y = Net(), kn.random.Stream("x").normal((6, 1, 6, 6)), np.ones((6, 2), np.float32)
    shards = Shards(model, nn.MSELoss(), 2, seed=3)
    alone = shards.shard(x[3:], y[3:], 0.5, step=4, number=1)
    kn.random.stream("dropout").normal(17)
    shards.shard(x[:3], y[:3], 0.5, step=4, number=0)
    again = shards.shard(x[3:], y[3:], 0.5, step=4, number=1)
    assert alone.loss == again.loss and all(map(np.array_equal, alone.gradients, again.gradients))
    assert shards.shard(x[3:], y[3:], 0.5, step=5, number=1).loss != alone.loss


# ------------------------------------------------------------------------------ bad input
def test_what_cannot_be_leaves_nothing_behind(run_films: Path, tmp_path: Path):
    for sections, error, message in [
        ({"machine": {"folder": ""}, "data": {"dataset": "nih"}}, DataError, "no such folder"),
        ({"schedule": {"warmup": 3}}, ArgumentError, "warmup=0 with onecycle"),
        ({"machine": {"image_dir": "x"}}, ArgumentError, "the demo data in a folder of their own"),
        ({"data": {"validation_share": 0.01}}, DataError, "films in the part validation"),
        ({"machine": {"load_checkpoint": "none.safetensors"}}, DataError, "No such file"),
    ]:
        config = small(run_films, **sections)
        if "folder" in sections.get("machine", {}):
            config = config.changed({"machine": {"folder": str(tmp_path / "missing")}})
        with pytest.raises(error, match=message):
            begin(config, tmp_path / "run")
        assert not list(tmp_path.iterdir())


def test_a_folder_with_something_else_is_refused(run_films: Path, whole_run: RunDirectory, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(ArgumentError, match=r"expected an empty folder, or a new one, got .*thesis.txt"):
        begin(small(run_films), tmp_path)
    (tmp_path / "a" / "checkpoints").mkdir(parents=True)  # what a process leaves that is killed in its first moments
    (tmp_path / "a" / "environment.json").write_text("{")
    begin(small(run_films, loop={"max_steps": 1}), tmp_path / "a")
    with pytest.raises(ArgumentError, match=r"a folder without a run, got .*--resume"):
        begin(small(run_films), whole_run.path)
