"""`kinone train`, verify, replay and diff at the command line: what they print, and what they say to mistakes."""

import os
import re
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kinone.cli import main
from kinone.data.films import LISTS
from kinone.training import ledger
from kinone.training.config import RunConfig, read_config
from kinone.training.run_directory import RunDirectory, read_metrics
from runs import arguments, command, finished, small

pytest.importorskip("cyclopts", reason="needs kinone[cli]")
pytest.importorskip("cv2", reason="needs kinone[data]")


@pytest.fixture
def kinone(capsys, monkeypatch):
    def run(*words, columns=120):
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return SimpleNamespace(status=end.value.code, out=out, err=err)

    return run


def test_the_commands_as_they_are_printed(kinone, run_films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = kinone("train", *arguments(small(run_films)))
    assert told.status == 0 and not told.err
    assert re.search(r"demo: films of 16×16, \d+ for train, \d+ for validation, \d+ for test; 14 findings", told.out)
    assert re.search(r"forecast: about .* and .*B", told.out)
    assert re.search(r"epoch +step +loss +val loss +val AUC", told.out) and "3/3" in told.out
    assert re.search(r"test: mean ROC-AUC 0\.\d+", told.out)
    steps = [line for line in read_metrics(Path("runs/demo-1/metrics.jsonl")) if line["kind"] == "step"]
    share = sum(s["waited"] for s in steps) / sum(s["waited"] + s["seconds"] for s in steps)
    assert f"{len(steps)} steps in " in told.out and f"{share:.1%} of it waiting for films" in told.out
    assert share < 0.02 or "--workers 1 prepares them ahead" in told.out
    commands = re.findall(r"^  kinone (\S.*?)  +\S", told.out, re.MULTILINE)
    assert len(commands) >= 3
    for words in commands:
        if "OTHER" not in words:
            assert kinone(*words.split()).status == 0, words
    shutil.copytree("runs/demo-1", "runs/demo-2")
    same = kinone("diff", "runs/demo-1", "runs/demo-2")
    assert same.status == 0 and "byte for byte" in same.out
    assert kinone("train", *arguments(small(run_films)), "--max-steps", 1).status == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["demo-1", "demo-2", "demo-3"]
    other = kinone("diff", "runs/demo-1", "runs/demo-3")
    assert other.status == 1 and "loop.max_steps: 0 in A, 1 in B" in other.out


def test_verify_and_replay_say_what_is_wrong(kinone, run_films, tmp_path):
    run = tmp_path / "run"
    assert kinone("train", *arguments(small(run_films)), "--run-dir", run).status == 0
    ledger = run / "ledger.jsonl"
    data = ledger.read_bytes()
    ledger.write_bytes(data.replace(b'"epoch":2', b'"epoch":3', 1))
    told = kinone("verify", run)
    assert told.status == 1 and "the hash of the line before is another" in told.out
    assert kinone("replay", run).status == 2
    ledger.write_bytes(data)
    good = kinone("verify", run)
    assert good.status == 0 and re.search(r"fingerprint  [0-9a-f]{64}  of ledger.jsonl", good.out)
    told = kinone("replay", run, "--steps", "2:3", "--digests", "--threads", 2)
    assert told.status == 0 and "steps 2 to 3 came out the same, bit for bit" in told.out
    assert sorted(path.name for path in (run / "digests").iterdir()) == ["step-2.jsonl", "step-3.jsonl"]


def test_the_configuration_is_printed_and_read_again(kinone, tmp_path):
    told = kinone("train", "--print-config", "--lr", 0.01, "--set", "loop.seed=7", "--dataset", "nih")
    assert told.status == 0
    (tmp_path / "c.toml").write_text(told.out, encoding="utf-8")
    config = RunConfig.of([read_config(tmp_path / "c.toml")])
    assert (config.optimizer.lr, config.loop.seed, config.data.image_size) == (0.01, 7, 224)
    again = kinone("train", "--print-config", "--config", tmp_path / "c.toml", "--epochs", 2)
    assert again.out == told.out.replace("epochs = 30 ", "epochs = 2  ")


def test_every_flag_is_a_setting(kinone):
    from kinone.cli.train import FLAGS

    plain = RunConfig()
    for name, place in FLAGS.items():
        section, key = place.split(".")
        default = getattr(getattr(plain, section), key)
        word = "--" + name.replace("_", "-")
        value = {"dataset": "nih", "model": "lenet", "optimizer": "SGD", "schedule": "cosine", "pos_weight": "balanced",
                 "anomaly": None, "ema": 0.5}.get(name, 17)  # fmt: skip
        told = kinone("train", "--print-config", word, *([] if value is None else [value]))
        assert told.status == 0, told.err
        shown = re.search(rf"\[{section}\].*?^{key} = (.*?)  ", told.out, re.DOTALL | re.MULTILINE)
        assert shown is not None and shown[1].strip() != repr(default), name


def test_a_dry_run_writes_no_run(kinone, run_films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = kinone("train", *arguments(small(run_films)), "--dry-run")
    assert told.status == 0 and "forecast" in told.out and "epoch " not in told.out
    assert not list(tmp_path.iterdir())


MISTAKES = [
    ("train --dataset mnist", r"\[configuration\] expected data.dataset, one of demo, nih, got 'mnist'"),
    (
        "train --dataset nih --dir nowhere",
        r"\[data\] expected the folder nowhere .* no such folder. Hint: kinone download nih",
    ),
    (
        "train --dataset nih --image-dir nowhere --csv-file none.csv",
        "expected a file as --csv-file, got none at none.csv",
    ),
    ("train --dataset nih --image-dir nowhere --csv-file good.csv", "the folder nowhere of images, got none"),
    ("train --dataset nih --dir . --csv-file table.csv", "expected the column 'Finding Labels' in table.csv, got"),
    ("train --epochs 0", "expected loop.epochs, at least 1, got 0"),
    ("train --epochs two", r"\[kinone train\] .*two"),
    ("train --set loop.epoch=3", "did you mean loop.epochs"),
    ("train --set loop", "expected section.key=value"),
    ("train --config bad.toml", "did you mean optimizer.lr"),
    ("train --config none.toml", "No such file"),
    ("train --resume nowhere", r"\[run\] expected a run in nowhere, got no such folder"),
    ("train --resume .", "no config.toml in it"),
    ("train --resume . --run-dir x", "--resume alone"),
    ("train --run-dir .", "an empty folder, or a new one"),
    ("verify nowhere", "no such folder"),
    ("replay nowhere", "no such folder"),
    ("replay . --steps a:b", "expected --steps FIRST:LAST, got 'a:b'"),
    ("diff nowhere .", "no such folder"),
    ("train --model resnet19", "did you mean resnet1"),
    ("train --load-checkpoint none.pth", "No such file"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_a_mistake_gets_one_line_and_exit_code_2(kinone, run_films, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("Image Index,Finding,Follow-up #,Patient ID\n")
    (tmp_path / "bad.toml").write_text("[optimizer]\nlrr = 1\n")
    shutil.copy(run_films / "Data_Entry_2017_v2020.csv", "good.csv")
    before = sorted(tmp_path.rglob("*"))
    command, *rest = words.split()
    if command == "train" and "--dataset" not in rest:
        rest += ["--dir", str(run_films), "--set", "data.patients=24", "--image-size", "16"]
    told = kinone(command, *rest)
    assert told.status == 2
    assert re.search(message, told.err), told.err
    assert told.err.count("\n") == 1 and "Traceback" not in told.err
    assert sorted(tmp_path.rglob("*")) == before


def spoilt(run: RunDirectory, kind: str) -> list[str]:
    """Make the run one with which nobody can go on; the flags with which somebody tries."""
    lines = run.ledger.read_text().splitlines(keepends=True)
    run.ledger.write_text("".join(lines[:-2]))  # as if it had been interrupted
    if kind == "another profile":
        entries = [{"kind": e.kind, **e.fields} for e in ledger.read(run.ledger).entries]
        entries[0]["profile"] = "kn9"
        run.ledger.unlink()
        with ledger.Ledger(run.ledger) as out:
            for entry in entries:
                out.add(**entry)
    elif kind == "another version":
        run.config_file.write_text(run.config_file.read_text().replace("kinone.run.v1", "kinone.run.v2"))
    elif kind == "no checkpoint":
        run.checkpoint().unlink()
    elif kind == "a damaged checkpoint":
        run.checkpoint().write_bytes(run.checkpoint().read_bytes()[:-5])
    return ["--lr=3", "--set=loop.seed=4"] if kind == "a changed configuration" else []


RUNS = {
    "another profile": "got 'kn9'",
    "another version": r"expected format 'kinone\.run\.v1' .* another version of Kinone wrote it",
    "a changed configuration": "got another optimizer.lr, loop.seed",
    "no checkpoint": r"the checkpoint step-\d+\.safetensors, got none",
    "a damaged checkpoint": r"step-\d+\.safetensors",
}


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_with_which_nobody_can_go_on(kinone, whole_run, tmp_path, kind):
    run = RunDirectory(shutil.copytree(whole_run.path, tmp_path / "run"))
    words = spoilt(run, kind)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    told = kinone("train", "--resume", run.path, *words)
    assert told.status == 2 and told.err.count("\n") == 1 and re.search(RUNS[kind], told.err), told.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_lists_that_share_a_patient_are_refused(kinone, run_films, tmp_path):
    place = Path(shutil.copytree(run_films, tmp_path / "films", ignore=shutil.ignore_patterns("cache")))
    lists = place / LISTS["test"]
    lists.write_text("\n".join([*lists.read_text().split(), (place / LISTS["train"]).read_text().split()[0]]))
    told = kinone("train", "--dataset", "nih", "--dir", place, "--run-dir", tmp_path / "run", "--dry-run")
    assert told.status == 2 and told.err.count("\n") == 1
    assert "no patient both in train and in test, got 1: " in told.err
    assert not (tmp_path / "run").exists() and not (place / "cache").exists()


def test_too_little_memory_is_said(kinone, run_films, monkeypatch):
    words = ["train", "--dir", run_films, "--set", "data.patients=24", "--image-size", "16", "--model", "lenet"]
    assert kinone(*words, "--batch-size", 10**8, "--dry-run").status == 0, "no step has more films than there are"

    def fails(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr("kinone.cli.train.forecast", fails)
    told = kinone(*words, "--dry-run")
    assert told.status == 2 and told.err.count("\n") == 1 and "Unable to allocate 9 GiB" in told.err


def test_a_run_in_which_somebody_wrote(kinone, whole_run, tmp_path):
    """A report says what it cannot use, or does without."""
    run = RunDirectory(shutil.copytree(whole_run.path, tmp_path / "run"))
    run.environment.write_text("[]")
    assert kinone("report", run.path, "--draws", 0).status == 0
    run.metrics.write_text("[]\n")
    told = kinone("report", run.path, "--draws", 0)
    assert told.status == 2 and "a JSON object with its kind in each line, got another in line 1" in told.err


def test_a_table_and_a_folder_of_images_of_ones_own(kinone, run_films, tmp_path):
    words = ["train", "--dataset", "nih", "--csv-file", run_films / "Data_Entry_2017_v2020.csv", "--image-dir",
             run_films / "images", "--dir", tmp_path / "none", "--model", "lenet", "--image-size", 16, "--limit", 12,
             "--batch-size", 4, "--epochs", 1, "--set", f"machine.cache={tmp_path / 'cache'}"]  # fmt: skip
    told = kinone(*words, "--run-dir", tmp_path / "run")
    assert told.status == 0, told.err
    assert "nih: films of 16×16, 12 for train" in told.out


def test_films_of_the_table_that_are_missing(kinone, run_films, tmp_path):
    place = Path(shutil.copytree(run_films, tmp_path / "films"))
    next((place / "images").iterdir()).unlink()
    words = ["train", "--dataset", "nih", "--dir", place, "--model", "lenet", "--image-size", 16, "--batch-size", 8,
             "--max-steps", 1, "--run-dir", tmp_path / "run"]  # fmt: skip
    told = kinone(*words)
    assert told.status == 2 and "1 without one: 0" in told.err and "is_partial=" in told.err
    assert kinone(*words, "--set", "data.is_partial=true").status == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_run_with_a_checkpoint(run_films, tmp_path, number, status):
    config = small(run_films, loop={"epochs": 4000})
    process = command("train", *arguments(config), "--run-dir", str(tmp_path / "run"), "--schedule", "constant")
    ledger = tmp_path / "run" / "ledger.jsonl"
    for _ in range(600):
        if ledger.is_file() and ledger.read_bytes().count(b'"kind":"step"') > 3:
            break
        time.sleep(0.05)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert f"kinone train --resume {tmp_path / 'run'}" in " ".join(out.split())
    done = finished("verify", str(tmp_path / "run"))
    assert done.returncode == 1 and "has not come to its end" in done.stdout and "step-" not in done.stdout
