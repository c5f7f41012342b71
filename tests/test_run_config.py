"""The configuration of a run: where values come from, what is refused, and that TOML gives back what it was made of."""

import re
import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from kinone.errors import ArgumentError, DataError
from kinone.training.config import RunConfig, as_toml, assignment, read_config


def test_later_layers_win_and_the_data_set_has_defaults_of_its_own():
    config = RunConfig.of([{"data": {"dataset": "nih"}, "loop": {"epochs": 5}}, {"loop": {"epochs": 7}}])
    assert (config.data.image_size, config.loop.epochs) == (224, 7)
    assert RunConfig.of([{"data": {"dataset": "nih", "image_size": 96}}]).data.image_size == 96


def test_toml_gives_back_what_it_was_made_of(tmp_path: Path):
    odd = 'a "quoted" \\ back\nslash\t'
    config = RunConfig.of([{"machine": {"folder": odd}, "optimizer": {"lr": 0.1}, "data": {"flip": True}}])
    (tmp_path / "c.toml").write_text(as_toml(config), encoding="utf-8")
    assert RunConfig.of([read_config(tmp_path / "c.toml")]) == config
    shown = tomllib.loads(as_toml(RunConfig()))
    for section in fields(RunConfig):
        assert shown[section.name] == asdict(RunConfig())[section.name], "every default is visible"
    assert all(len(line) <= 150 and "#" in line for line in as_toml(config).splitlines() if " = " in line[:25] and
               not line.startswith("format"))  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"loop": {"epoch": 3}}, r"a key of loop, got 'loop.epoch'. Hint: did you mean loop.epochs\?"),
        ({"loop": {"batch-size": 3}}, "did you mean loop.batch_size"),
        ({"optimzer": {"lr": 1}}, "did you mean optimizer"),
        ({"loop": {"xyzzy": 3}}, "there are epochs, batch_size"),
        ({"loop": 3}, r"expected a section \[loop\], got 3"),
        ({"loop": {"epochs": 0}}, "expected loop.epochs, at least 1, got 0"),
        ({"loop": {"epochs": 2.5}}, "expected loop.epochs, a whole number, got 2.5"),
        ({"loop": {"epochs": True}}, "a whole number, got True"),
        ({"data": {"flip": 1}}, "true or false, got 1"),
        ({"data": {"validation_share": 0.95}}, "from 0.01 to 0.9, got 0.95"),
        ({"optimizer": {"lr": float("nan")}}, "a number, got nan"),
        ({"optimizer": {"name": "Adm"}}, r"one of SGD, .*got 'Adm'. Hint: did you mean Adam"),
        ({"model": {"name": "resnet19"}}, "did you mean resnet1"),
        ({"data": {"dataset": "mnist"}}, "expected data.dataset, one of demo, nih, got 'mnist'"),
        ({"loop": {"shards": 33}}, "at most one for each film of a batch, got 33 of batches of 32"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(layer, message):
    with pytest.raises(ArgumentError, match=message):
        RunConfig.of([layer])


@pytest.mark.parametrize(
    ("text", "value"),
    [("loop.epochs=3", 3), ("optimizer.lr = 1e-4", 1e-4), ("data.flip=true", True), ('machine.folder="a b"', "a b"),
     ("machine.folder=/some/place", "/some/place"), ("machine.folder=", "")],
)  # fmt: skip
def test_an_assignment_reads_toml_and_plain_text(text, value):
    ((_, found),) = assignment(text).items()
    assert list(found.values()) == [value]


@pytest.mark.parametrize("text", ["epochs=3", "loop.epochs", "a.b.c=1", "=3"])
def test_an_assignment_of_another_form_is_refused(text):
    with pytest.raises(ArgumentError, match=r"expected section.key=value, got"):
        assignment(text)


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(DataError, match="No such file"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[loop\n")
    with pytest.raises(ArgumentError, match="expected TOML"):
        read_config(tmp_path / "bad.toml")
    (tmp_path / "new.toml").write_text('format = "kinone.run.v9"\n')
    with pytest.raises(ArgumentError, match="another version"):
        read_config(tmp_path / "new.toml")


def test_the_ledger_holds_what_decides_bits_and_nothing_else():
    config = RunConfig()
    assert set(config.recorded()) == {"data", "model", "optimizer", "schedule", "loop"}
    elsewhere = replace(config, machine=replace(config.machine, threads=3, folder="elsewhere"))
    assert elsewhere.recorded() == config.recorded() and not config.differences(elsewhere)
    other = config.changed({"loop": {"seed": 1}, "optimizer": {"lr": 0.1}})
    assert config.differences(other) == ["optimizer.lr", "loop.seed"]
    assert not [key for section in config.recorded().values() for key in section if re.search("file|dir|path", key)]
