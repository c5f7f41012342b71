"""verify and replay: whatever is changed in a run is noticed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinone.errors import ArgumentError, FormatError, StateError
from kinone.formats.files import read as read_file
from kinone.formats.files import write as write_file
from kinone.training import ledger
from kinone.training.replay import replay
from kinone.training.run_directory import RunDirectory, digest_in
from kinone.training.session import begin, resume
from kinone.training.verify import verify
from runs import small

pytest.importorskip("cv2", reason="needs kinone[data]")


@pytest.fixture(scope="module")
def whole(run_films: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return begin(small(run_films, machine={"keep": 0}), tmp_path_factory.mktemp("runs") / "whole").run


@pytest.fixture(scope="module")
def short(run_films: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Two steps: a ledger of eight lines."""
    config = small(run_films, loop={"max_steps": 2, "digest_every": 1}, machine={"keep": 0})
    return begin(config, tmp_path_factory.mktemp("runs") / "short").run


def copied(run: RunDirectory, place: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(run.path, place, dirs_exist_ok=True))


def test_a_run_that_is_sound(whole: RunDirectory):
    found = verify(whole.path)
    assert not found.faults and not found.gone and found.steps > 10
    assert len(found.checked) == len(list(whole.checkpoints.iterdir())) > 3
    assert found.profile == ledger.read(whole.ledger).entries[0].fields["profile"]


# ------------------------------------------------------------------------------ changes that nobody covered up
def changes(data: bytes) -> Iterator[bytes]:
    """Bytes that are others, lines that are dropped, doubled or swapped, and ends that are cut off.

    All flips of all bits of a smaller ledger, more than 10⁴, are in `test_ledger.py`.
    """
    for at, byte in enumerate(data):
        if at % 3:
            yield data[:at] + bytes([byte ^ (1 << at % 8)]) + data[at + 1 :]
        if at % 8 == 0:
            yield data[:at] + data[at + 1 :]
            yield data[:at]
    lines = data.splitlines(keepends=True)
    for i in range(len(lines)):
        yield b"".join(lines[:i] + lines[i + 1 :])
        yield b"".join(lines[: i + 1] + lines[i:])
        for j in range(i + 1, len(lines)):
            swapped = list(lines)
            swapped[i], swapped[j] = swapped[j], swapped[i]
            yield b"".join(swapped)


def test_every_change_of_a_ledger_is_noticed(short: RunDirectory, tmp_path: Path):
    place, count = tmp_path / "ledger.jsonl", 0
    assert not ledger.read(short.ledger).faults
    for changed in changes(short.ledger.read_bytes()):
        place.write_bytes(changed)
        found = ledger.read(place)
        assert found.faults or found.is_torn or not found.is_closed, changed
        count += 1
    assert count > 3000


# ------------------------------------------------------------------------------ changes with a chain made anew
def lines_of(run: RunDirectory) -> list[dict[str, Any]]:
    return [{"kind": e.kind, **e.fields} for e in ledger.read(run.ledger).entries]


def rechained(run: RunDirectory, lines: list[dict[str, Any]]) -> None:
    run.ledger.unlink()
    with ledger.Ledger(run.ledger) as out:
        for line in lines:
            out.add(line["kind"], **{name: value for name, value in line.items() if name != "kind"})


def other(value: Any) -> Any:
    """A value of the same kind, as near as can be."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return float(np.nextafter(value, np.inf))
    if isinstance(value, int):
        return value + 1
    if isinstance(value, dict):
        name = next((n for n, v in value.items() if ledger.real(v) is not None), next(iter(value)))
        number = ledger.real(value[name])
        return {**value, name: other(value[name]) if number is None else other(number)}
    if isinstance(value, str):
        number = ledger.real(value)
        if number is not None:
            return other(number)
        return ("0" if value[0] != "0" else "1") + value[1:] if value else "x"
    return value


def test_every_field_that_is_changed_with_its_chain_is_noticed(short: RunDirectory, tmp_path: Path):
    by_verify = by_replay = 0
    for number, line in enumerate(lines_of(short)):
        for name in line:
            if name == "kind":
                continue
            run = copied(short, tmp_path / "run")
            lines = lines_of(run)
            lines[number][name] = other(lines[number][name])
            rechained(run, lines)
            if verify(run.path).faults:
                by_verify += 1
            else:
                assert not replay(run.path).is_equal, (line["kind"], name)
                by_replay += 1
    assert by_verify > 20 and by_replay >= 2, "what stands after the last checkpoint is for a replay to notice"


def test_one_weight_off_by_one_ulp_with_everything_made_to_fit(short: RunDirectory, tmp_path: Path):
    """Checkpoint, its digests and its place in the chain all forged: only computing the step again tells."""
    run = copied(short, tmp_path / "run")
    file = run.checkpoint("last")
    contents = read_file(file)
    name = "fc1.weight"
    contents.state[name] = contents.state[name].copy()
    contents.state[name].flat[7] = np.nextafter(contents.state[name].flat[7], np.float32(9))
    weights = ledger.digest_of_state(contents.state)
    lines = lines_of(run)
    last = max(i for i, line in enumerate(lines) if line["kind"] == "step")
    lines[last]["weights"] = lines[-1]["weights"] = weights
    at = max(i for i, line in enumerate(lines) if line["kind"] == "checkpoint")
    rechained(run, lines[:at])
    assert contents.training is not None
    contents.training["progress"]["head"] = ledger.read(run.ledger).head
    write_file(file, contents)
    lines[at]["digest"] = digest_in(file)
    rechained(run, lines)
    assert not verify(run.path).faults
    found = replay(run.path)
    assert found.line is not None and found.line.kind == "step" and found.line.fields["step"] == lines[last]["step"]
    assert [words.split(":")[0] for words in found.differences] == ["weights"]


@pytest.mark.parametrize("step", ["first", "last"])
def test_one_weight_off_by_one_ulp_in_a_checkpoint(whole: RunDirectory, tmp_path: Path, step: str):
    run = copied(whole, tmp_path / "run")
    file = list(run.steps().values())[0 if step == "first" else -1]
    contents = read_file(file)
    contents.state["fc3.bias"] = np.nextafter(contents.state["fc3.bias"], np.float32(9))
    write_file(file, contents)  # with a checksum of its own
    faults = verify(run.path).faults
    assert any(fault.startswith(file.name) and "digest is another" in fault for fault in faults)
    assert step == "first" or any("weights are others" in fault for fault in faults)


def test_bytes_of_checkpoints(short: RunDirectory, tmp_path: Path):
    run = copied(short, tmp_path / "run")
    file = run.checkpoint("last")
    data = file.read_bytes()
    for at in np.linspace(0, len(data) - 1, 60).astype(int).tolist():
        file.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        assert verify(run.path).faults, at
    file.write_bytes(data[: len(data) // 2])
    assert verify(run.path).faults
    file.unlink()
    assert (
        verify(run.path).faults
        == [f"the last checkpoint, {file.name}, is not there", f"the best checkpoint, {file.name}, is not there"][
            : len(verify(run.path).faults)
        ]
    )


def test_a_configuration_that_is_another(short: RunDirectory, tmp_path: Path):
    run = copied(short, tmp_path / "run")
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace("seed = 0", "seed = 1").replace("lr = 0.001", "lr = 0.002"))
    assert verify(run.path).faults == ["config.toml says otherwise than the first line: loop.seed, optimizer.lr"]
    with pytest.raises(ArgumentError, match="the configuration of the ledger's first line"):
        replay(run.path)
    run.config_file.write_text(text.replace("threads = 1", "threads = 2"))
    assert not verify(run.path).faults, "[machine] may differ"


# ------------------------------------------------------------------------------ replay
@pytest.mark.parametrize(("first", "last", "start"), [(1, 3, "step-0"), (6, 6, "step-5"), (8, None, "step-5")])
def test_a_replay_agrees_with_no_tolerance(whole: RunDirectory, first: int, last: int | None, start: str):
    before = {path: path.read_bytes() for path in whole.path.rglob("*") if path.is_file()}
    found = replay(whole.path, first, last, layers=({"machine": {"threads": 2, "workers": 1}},))
    assert found.is_equal and int(found.start.split("-")[1].split(".")[0]) < first
    assert {path: path.read_bytes() for path in whole.path.rglob("*") if path.is_file()} == before


def test_a_replay_without_checkpoints_begins_at_the_beginning(whole: RunDirectory, tmp_path: Path):
    run = copied(whole, tmp_path / "run")
    shutil.rmtree(run.checkpoints)
    found = replay(run.path)
    assert found.is_equal and found.start == "the beginning"


def test_a_replay_of_a_run_that_was_interrupted(run_films: Path, whole: RunDirectory, tmp_path: Path):
    run = copied(whole, tmp_path / "run")
    lines = run.ledger.read_bytes().splitlines(keepends=True)
    run.ledger.write_bytes(b"".join(lines[:12]))
    steps = sum(b'"kind":"step"' in line for line in lines[:12])
    assert replay(run.path, 1, steps).is_equal


def test_a_loss_off_by_one_ulp_is_named(whole: RunDirectory, tmp_path: Path):
    run = copied(whole, tmp_path / "run")
    lines = lines_of(run)
    at = next(i for i, line in enumerate(lines) if line.get("step") == 2 and line["kind"] == "step")
    lines[at]["loss"] = other(lines[at]["loss"])
    rechained(run, lines)
    shutil.rmtree(run.checkpoints)
    found = replay(run.path)
    assert found.line is not None and found.line.number == at + 1
    assert len(found.differences) == 1 and found.differences[0].startswith("loss: 0x1.")


def test_data_that_is_other(whole: RunDirectory, run_films: Path, tmp_path: Path):
    run = copied(whole, tmp_path / "run")
    shutil.rmtree(run.checkpoints)
    place = Path(shutil.copytree(run_films, tmp_path / "films"))
    films_in = sorted((place / "images").iterdir())
    films_in[0].write_bytes(films_in[1].read_bytes())
    shutil.rmtree(place / "cache", ignore_errors=True)
    found = replay(run.path, layers=({"machine": {"folder": str(place)}},))
    assert found.line is not None and found.line.number == 1 and found.differences[0].startswith("data: ")


@pytest.mark.parametrize(("first", "last"), [(0, 3), (5, 4), (1, 999)])
def test_steps_that_are_not_there(whole: RunDirectory, first: int, last: int):
    with pytest.raises(ArgumentError, match=r"\[replay\] expected steps from 1 to \d+, got"):
        replay(whole.path, first, last)


# ------------------------------------------------------------------------------ other versions
def test_runs_of_another_profile_or_version_are_refused(short: RunDirectory, whole: RunDirectory, tmp_path: Path):
    run = copied(short, tmp_path / "run")
    lines = lines_of(run)
    lines[0]["profile"] = "kn9"
    rechained(run, lines)
    with pytest.raises(StateError, match=r"expected a run of the profile '.*', which this machine has, got 'kn9'"):
        replay(run.path)
    rechained(run, lines[:-2])
    with pytest.raises(StateError, match=r"\[resume\] .* got 'kn9'"):
        resume(run.path)
    lines[0]["profile"] = lines_of(short)[0]["profile"]
    lines[0]["sources"] = "0" * 64
    rechained(run, lines[:-2])
    with pytest.raises(StateError, match="a run of these sources"):
        resume(run.path)
    run.config_file.write_text(run.config_file.read_text().replace("kinone.run.v1", "kinone.run.v2"))
    with pytest.raises(ArgumentError, match=r"got 'kinone.run.v2'. Hint: another version"):
        resume(run.path)


def test_a_run_of_other_sources_can_be_replayed(
    run_films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("kinone.training.session.digest_of_sources", lambda: "0" * 64)
        run = begin(small(run_films, loop={"max_steps": 2}), tmp_path / "run").run
    found = replay(run.path)
    assert found.is_equal and found.has_other_sources
    assert (
        begin(small(run_films, loop={"max_steps": 2}), tmp_path / "own").run.ledger.read_bytes()
        != run.ledger.read_bytes()
    )
    assert verify(run.path).numbers == verify(tmp_path / "own").numbers, "which says that they compute the same"


def test_resuming_with_a_changed_configuration_is_refused(run_films: Path, short: RunDirectory, tmp_path: Path):
    run = copied(short, tmp_path / "run")
    rechained(run, lines_of(run)[:-2])
    before = run.ledger.read_bytes()
    with pytest.raises(ArgumentError, match=r"the run was begun with, got another optimizer.lr, loop.seed"):
        resume(run.path, layers=({"optimizer": {"lr": 0.5}}, {"loop": {"seed": 4}}))
    run.config_file.write_text(run.config_file.read_text().replace("seed = 0", "seed = 1"))
    with pytest.raises(StateError, match="the configuration of the ledger's first line"):
        resume(run.path)
    assert run.ledger.read_bytes() == before


def test_folders_that_are_no_runs(tmp_path: Path):
    for what in (verify, replay, resume):
        with pytest.raises(ArgumentError, match="no such folder"):
            what(tmp_path / "none")
        with pytest.raises(ArgumentError, match=r"no config\.toml"):
            what(tmp_path)


def test_an_index_that_leads_elsewhere(short: RunDirectory, tmp_path: Path):
    run = copied(short, tmp_path / "run")
    for text in ('{"last": "../../etc/passwd"}', "[]", "{", json.dumps({"last": "step-99.safetensors"})):
        run.index.write_text(text)
        rechained(run, lines_of(short)[:-2])
        with pytest.raises(FormatError):
            resume(run.path)
