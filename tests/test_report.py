"""A run's figures, its report and what it says of films: with a model of a minute, on films where truth is known."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from html_page import Page
from kinone.cli import main
from kinone.data.demo import DemoSpec, make_demo
from kinone.data.module import ChestModule
from kinone.errors import ArgumentError, DataError, FormatError, StateError
from kinone.nn import Linear
from kinone.training import ranking
from kinone.training.assessment import OperatingPoint
from kinone.training.config import RunConfig
from kinone.training.gradcam import grad_cam, relative
from kinone.training.heatmaps import heat_of
from kinone.training.judging import judged, kept, thresholds
from kinone.training.report import write_report
from kinone.training.report.record import state
from kinone.training.run_directory import RunDirectory
from kinone.training.session import begin
from kinone.training.trained import Trained, images_at, logistic
from kinone.training.verify import verify

pytest.importorskip("cv2", reason="needs kinone[data]")
pytest.importorskip("cyclopts", reason="needs kinone[cli]")

SMALL: dict[str, dict[str, Any]] = {
    "data": {"patients": 60, "image_size": 32, "validation_share": 0.3},
    "model": {"name": "lenet"},
    "loop": {"epochs": 2, "batch_size": 8},
    "machine": {"threads": 1},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("data") / "demo", DemoSpec(patients=60, size=64))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    config = RunConfig.of([SMALL])
    config = replace(config, machine=replace(config.machine, folder=str(data)))
    return begin(config, tmp_path_factory.mktemp("runs") / "small <run> & co").run


@pytest.fixture
def kinone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def call(*arguments: object) -> SimpleNamespace:
        monkeypatch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as end:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return SimpleNamespace(status=end.value.code, out=out, err=err)

    return call


def refused(result: SimpleNamespace) -> str:
    """The one line that a mistake gets."""
    assert result.status == 2 and result.out == ""
    assert result.err.count("\n") == 1 and result.err.endswith("\n")
    return result.err


# ------------------------------------------------------------------------------ the model of a run
def test_scores_are_those_of_the_model_on_each_film(run: RunDirectory):
    trained = Trained.open(run.path)
    films = trained.films()
    scores = trained.scores(films, "test")
    assert len(scores) == len(films.indices["test"]) and scores.classes == films.classes
    assert not trained.model.training
    for row in (0, len(scores) - 1):
        at = int(films.indices["test"][row])
        film = films.films.films[at]
        assert (scores.names[row], scores.patients[row]) == (film.name, str(film.patient))
        assert scores.truth[row].tolist() == [name in film.findings for name in films.classes]
        (said,) = [said for _, _, said in trained.read([films.films.paths[at]])]
        np.testing.assert_allclose(said, scores.probabilities[row], rtol=1e-4)


def test_the_test_auc_is_the_ledgers(run: RunDirectory):
    line = next(json.loads(x) for x in run.ledger.read_text().splitlines() if '"kind":"test"' in x)
    told = {k: None if v is None else float.fromhex(v) for k, v in line["metrics"]["aucs"].items()}
    found = judged(run.path, draws=0).evaluation
    # There, areas are of logits in float32; equal probabilities in float64 keep their order.
    assert {f.name: f.figures["roc_auc"].value for f in found.findings} == pytest.approx(told, abs=1e-12)


def test_averaged_weights_are_the_ones_judged(data: Path, tmp_path: Path):
    config = RunConfig.of([SMALL, {"optimizer": {"ema": 0.5}, "loop": {"epochs": 1, "max_steps": 3}}])
    outcome = begin(replace(config, machine=replace(config.machine, folder=str(data))), tmp_path / "run")
    average: Any = outcome.loop.task.average
    trained = Trained.open(tmp_path / "run")
    parameters = dict(trained.model.named_parameters())
    assert average.averages and all(np.array_equal(parameters[k].data, v) for k, v in average.averages.items())
    assert any((p.data != parameters[k].data).any() for k, p in outcome.loop.task.model.named_parameters())


def test_logistic():
    x = np.linspace(-30, 30, 101)
    np.testing.assert_allclose(logistic(x), 1 / (1 + np.exp(-x)), rtol=1e-14)


# ------------------------------------------------------------------------------ evaluate
def test_evaluate_writes_what_it_found(run: RunDirectory, kinone: Any):
    result = kinone("evaluate", run.path, "--json", "--draws", 50)
    assert result.status == 0
    told = json.loads(result.out)
    assert told == json.loads((run.path / "evaluation.json").read_text())
    trained = Trained.open(run.path)
    assert told["checkpoint"]["digest"] == trained.digest and told["checkpoint"]["epoch"] in (1, 2)
    test, validation = kept(trained, "test"), kept(trained, "validation")
    assert test is not None and validation is not None
    for c, finding in enumerate(told["findings"]):
        y, p = test.truth[:, c], test.probabilities[:, c]
        assert finding["roc_auc"]["value"] == ranking.roc_auc(y, p)
        assert finding["threshold"] == ranking.operating_point(validation.truth[:, c], validation.probabilities[:, c])
        if finding["threshold"] is not None:
            assert finding["confusion"] == vars(ranking.confusion(y, p, finding["threshold"]))
    assert thresholds(trained) == {f["finding"]: f["threshold"] for f in told["findings"] if f["threshold"] is not None}
    shown = kinone("evaluate", run.path, "--draws", 50)
    assert (
        shown.status == 0
        and "Pleural Thickening" in shown.out
        and f"{told['mean']['roc_auc']['value']:.3f}" in shown.out
    )
    missing = [f["finding"] for f in told["findings"] if f["roc_auc"]["value"] is None]
    assert shown.out.count("undefined") >= len(missing) and all(name in told["undefined"] for name in missing)


def test_kept_scores_serve_again_and_only_for_their_weights(run: RunDirectory, monkeypatch: pytest.MonkeyPatch):
    first = judged(run.path, draws=0)
    with monkeypatch.context() as patch:
        patch.setattr(Trained, "scores", lambda *_: pytest.fail("the model was asked again"))
        again = judged(run.path, draws=0, operating_point=OperatingPoint("sensitivity", 0.9))
    assert np.array_equal(first.scores.probabilities, again.scores.probabilities)
    assert again.to_dict()["operating_point"] == {"rule": "sensitivity=0.9", "chosen_on": "validation"}
    assert judged(run.path, draws=0).evaluation.operating_point == again.evaluation.operating_point, "it stays"
    judged(run.path, draws=0, operating_point=OperatingPoint())
    file = run.path / "scores-test.csv"
    text = file.read_text()
    file.write_text(text.replace(first.trained.digest, "0" * 64))
    assert kept(first.trained, "test") is None
    judged(run.path, draws=0)
    assert file.read_text() == text


def test_other_splits_have_files_of_their_own(run: RunDirectory, kinone: Any):
    kinone("evaluate", run.path, "--draws", 0)
    before = (run.path / "evaluation.json").read_bytes()
    assert kinone("evaluate", run.path, "--split", "validation", "--draws", 0).status == 0
    assert json.loads((run.path / "evaluation-validation.json").read_text())["split"] == "validation"
    assert (run.path / "evaluation.json").read_bytes() == before


def test_other_films_are_not_judged(run: RunDirectory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ChestModule, "digest", lambda _: "f" * 64)
    with pytest.raises(DataError, match=r"the films that the run was made with .*, got others \(ffffffffffff…\)"):
        judged(run.path, draws=0, is_fresh=True)


# ------------------------------------------------------------------------------ predict
def test_predict_one_film(run: RunDirectory, data: Path, kinone: Any, tmp_path: Path):
    kinone("evaluate", run.path, "--draws", 0)
    film = images_at(data / "images")[0]
    told = json.loads(kinone("predict", run.path, film, "--json").out)
    (said,) = [said for _, _, said in Trained.open(run.path).read([film])]
    assert [f["probability"] for f in told["findings"]] == sorted(said.tolist(), reverse=True)
    points = thresholds(Trained.open(run.path))
    for f in told["findings"]:
        assert f["threshold"] == points.get(f["finding"])
        assert f["is_called"] == (None if f["threshold"] is None else f["probability"] >= f["threshold"])
    shown = kinone("predict", run.path, film, "--top", 2)
    assert (
        shown.status == 0 and sum(name in shown.out for name in ("called", "not called")) and shown.out.count("0.") >= 2
    )
    assert len(json.loads(kinone("predict", run.path, film, "--top", 2, "--json").out)["findings"]) == 2


def test_predict_a_folder(run: RunDirectory, data: Path, kinone: Any, tmp_path: Path):
    films = images_at(data / "images")[:3]
    for film in films:
        (tmp_path / film.name).write_bytes(film.read_bytes())
    (tmp_path / "broken.png").write_bytes(films[0].read_bytes()[:100])
    result = kinone("predict", run.path, tmp_path, "--csv")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert result.status == 1 and [row["image"] for row in rows][-1].endswith("broken.png")
    assert [bool(row["error"]) for row in rows] == [False, False, False, True]
    said = [said for _, _, said in Trained.open(run.path).read(films)]
    assert [float(row["Mass"]) for row in rows[:3]] == [float(p[4]) for p in said]
    table = kinone("predict", run.path, tmp_path)
    assert table.status == 1 and all(film.name in table.out for film in films) and "cut off" in table.out


def test_heat_maps_are_written(run: RunDirectory, data: Path, kinone: Any, tmp_path: Path):
    import cv2

    film = images_at(data / "images")[0]
    result = kinone("predict", run.path, film, "--top", 1, "--gradcam", tmp_path / "heat.png", "--json")
    assert json.loads(result.out)["heat"] == [str(tmp_path / "heat.png")]
    picture: Any = cv2.imread(str(tmp_path / "heat.png"))
    assert picture.shape == (256, 256, 3)
    result = kinone("predict", run.path, data / "images", "--gradcam", tmp_path / "heat.png")
    assert "a folder as --gradcam" in refused(result)
    trained = Trained.open(run.path)
    levels = np.full((70, 50), 90, np.uint8)
    heat = heat_of(trained, [levels, levels.T], "Mass")
    wanted = grad_cam(trained.model, np.stack([trained.picture(levels), trained.picture(levels.T)]), 4, is_local=True)
    assert np.array_equal(heat, wanted) and heat.shape == (2, 32, 32) and relative(heat).max() <= 1


# ------------------------------------------------------------------------------ report
@pytest.fixture(scope="module")
def page(run: RunDirectory) -> str:
    return write_report(run.path, draws=30).read_text(encoding="utf-8")


def test_the_report_is_one_whole_file(page: str):
    found = Page(page)
    assert not found.wrong and not found.open
    assert found.loads and all(value.startswith("data:image/png;base64,") for value in found.loads)
    assert "http" not in re.sub(r"data:image/png;base64,\S+", "", page.replace("http-equiv", ""))
    assert found.links and set(found.links) <= set(found.ids) and len(set(found.ids)) == len(found.ids)
    assert "default-src 'none'" in page and "prefers-color-scheme: dark" in page
    assert "<run>" not in page and "small &lt;run&gt; &amp; co" in page
    assert len(page) < 4_000_000


def test_the_report_says_what_was_found(run: RunDirectory, page: str):
    told = json.loads((run.path / "evaluation.json").read_text())
    found = Page(page)
    for finding in told["findings"]:
        assert finding["finding"].replace("_", " ").capitalize() in found.text
        if finding["roc_auc"]["value"] is not None:
            assert f"{finding['roc_auc']['value']:.3f}" in found.text
    assert "Synthetic films" in found.text and "no medical device" in found.text
    assert "verified" in found.text and "kinone replay" in found.text
    assert verify(run.path).fingerprint in found.text
    assert not re.search(r">(nan|inf|None)\b|[MLv ]nan|%\)?nan", page)


def test_a_ledger_that_was_changed_is_called_broken(run: RunDirectory, tmp_path: Path):
    text = run.ledger.read_text()
    try:
        run.ledger.write_text(text.replace('"epoch":1', '"epoch":2', 1))
        found = Page(write_report(run.path, tmp_path / "broken.html", draws=0).read_text(encoding="utf-8"))
    finally:
        run.ledger.write_text(text)
    assert "broken" in found.text and "verified" not in found.text


def test_a_run_that_has_not_ended_is_open_and_one_that_was_cut_is_broken(run: RunDirectory):
    found = judged(run.path, draws=0)
    text = run.ledger.read_bytes()
    assert state(found)[0] == "verified"
    try:
        run.ledger.write_bytes(b"".join(text.splitlines(keepends=True)[:-1]))
        assert state(found)[0] == "open"
        run.ledger.write_bytes(text[:-1])
        assert state(found)[0] == "broken"
        run.ledger.unlink()
        assert state(found)[0] == "no ledger"
    finally:
        run.ledger.write_bytes(text)
    assert state(replace(found, trained=replace(found.trained, digest="0" * 64)))[0] == "broken"


def test_a_run_by_heart_is_called_so(data: Path, tmp_path: Path):
    config = RunConfig.of([SMALL, {"loop": {"epochs": 1, "overfit_batches": 1}}])
    begin(replace(config, machine=replace(config.machine, folder=str(data))), tmp_path / "run")
    found = Page(write_report(tmp_path / "run", draws=0).read_text(encoding="utf-8"))
    assert "Learned by heart" in found.text and "none of them in training" not in found.text
    assert "by patient" not in found.text and "undefined" in found.text


def test_without_the_films_the_report_has_the_figures(run: RunDirectory, data: Path, tmp_path: Path):
    judged(run.path, draws=0)
    away = data.rename(data.with_name("away"))
    config = run.config_file.read_text()
    try:
        run.config_file.write_text(config.replace('dataset = "demo"', 'dataset = "nih" '))
        found = Page(write_report(run.path, tmp_path / "r.html", draws=0).read_text(encoding="utf-8"))
    finally:
        run.config_file.write_text(config)
        away.rename(data)
    assert "img" not in found.tags and "not on this machine" in found.text and "Hernia" in found.text


def test_report_on_the_command_line(run: RunDirectory, kinone: Any, tmp_path: Path):
    result = kinone("report", run.path, "--out", tmp_path / "r.html", "--draws", 0)
    assert result.status == 0 and "r.html" in result.out and (tmp_path / "r.html").is_file()
    assert "a place for" in refused(kinone("report", run.path, "--out", tmp_path / "no" / "r.html", "--draws", 0))


# ------------------------------------------------------------------------------ what cannot be
@pytest.mark.parametrize("command", ["evaluate", "predict", "report"])
def test_help_shows_an_example(command: str, kinone: Any):
    result = kinone(command, "--help")
    assert result.status == 0 and f"kinone {command} runs/demo-1" in result.out and "For example" in result.out


def test_bad_input(run: RunDirectory, data: Path, kinone: Any, tmp_path: Path):
    film = images_at(data / "images")[0]
    for command in (("evaluate", tmp_path), ("report", tmp_path), ("predict", tmp_path, film)):
        assert "a run in" in refused(kinone(*command))
    assert "train, validation, test, got 'tset'" in refused(kinone("evaluate", run.path, "--split", "tset"))
    assert "youden, sensitivity=S" in refused(kinone("evaluate", run.path, "--operating-point", "best"))
    assert "draws ≥ 0" in refused(kinone("evaluate", run.path, "--draws", -1))
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    assert "PNG or JPEG" in refused(kinone("predict", run.path, tmp_path / "text.png"))
    assert "got none" in refused(kinone("predict", run.path, tmp_path / "empty"))
    assert "got nothing" in refused(kinone("predict", run.path, tmp_path / "nowhere.png"))
    assert "--json or --csv" in refused(kinone("predict", run.path, film, "--json", "--csv"))
    assert "--top" in refused(kinone("predict", run.path, film, "--top", 0))
    layer = refused(kinone("predict", run.path, film, "--gradcam", tmp_path, "--layer", "conv9"))
    assert "path of a module of LeNet, got 'conv9'" in layer


def test_a_run_without_a_checkpoint(tmp_path: Path, kinone: Any):
    RunDirectory.create(tmp_path / "run", RunConfig.of([SMALL]), {})
    assert "a checkpoint of" in refused(kinone("evaluate", tmp_path / "run"))
    with pytest.raises(StateError, match="a checkpoint"):
        Trained.open(tmp_path / "run")


def test_a_run_in_which_nothing_can_be_written(run: RunDirectory, kinone: Any):
    kinone("evaluate", run.path, "--draws", 0)
    file, away = run.path / "evaluation-train.json", run.path / "scores-train.csv"
    file.mkdir()
    try:
        assert "a place for" in refused(kinone("evaluate", run.path, "--split", "train", "--draws", 0))
    finally:
        file.rmdir()
        away.unlink()


def test_an_evaluation_that_was_damaged(run: RunDirectory):
    judged(run.path, draws=0)
    file = run.path / "evaluation.json"
    text = file.read_text()
    try:
        file.write_text(text[: len(text) // 2])
        with pytest.raises(FormatError, match="what kinone evaluate wrote"):
            thresholds(Trained.open(run.path))
    finally:
        file.write_text(text)


def test_a_model_without_a_convolution_has_no_heat(run: RunDirectory):
    from kinone import nn

    trained = Trained.open(run.path)
    dense = replace(trained, model=nn.Sequential(nn.Flatten(), Linear(32 * 32, 14)).eval())
    with pytest.raises(ArgumentError, match="Conv2d"):
        heat_of(dense, [np.zeros((32, 32), np.uint8)], "Mass")
