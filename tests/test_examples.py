"""Each of examples/, in a short form with what it must show even so, and in full with its true figures (slow)."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples"
Check = Callable[[dict[str, Any]], bool]

# What `main(short=True)` and `main()` of each example return must pass the first and the second check.
EXAMPLES: dict[str, tuple[Check, Check]] = {
    "adding_problem": (lambda f: f["error"] < f["first"] / 4, lambda f: f["error"] <= 0.01),
    "characters": (lambda f: f["bits"] < f["first"] - 0.5, lambda f: f["bits"] < 0.03 and f["verses"] > 0.9),
    "gpt_addition": (lambda f: f["last"] < f["first"] - 0.2, lambda f: f["exact"] >= 0.99),
    "autoencoder": (
        lambda f: f["convolutional"] < 0.06 > f["dense"],
        lambda f: max(f["dense"], f["convolutional"]) < 0.013 and f["variational"] < 0.026 and f["principal"] > 0.024,
    ),
    "digits_cnn": (lambda f: f["accuracy"] > 0.9, lambda f: f["accuracy"] >= 0.985 and f["seconds"] < 60),
    "digits_mlp": (lambda f: f["accuracy"] > 0.8, lambda f: f["accuracy"] > 0.975),
    "gradient_penalty": (
        lambda f: 1.0 < f["distance"] < 1.8 and 0.7 < f["steepness"] < 1.2,
        lambda f: abs(f["distance"] - f["true distance"]) < 0.1 and 0.95 < f["steepness"] < 1.15,
    ),
    "keydnn_checkpoint": (
        lambda f: f["error"] < 1e-6 and f["same"] == 1,
        lambda f: f["error"] < 1e-6 and f["same"] == 1,
    ),
    "xor": (
        lambda f: f["two layers"] < 0.1,
        lambda f: f["two layers"] < 0.001 and abs(f["one layer"] - 0.5) < 0.01,
    ),
    "zkynet_walk_through": (
        lambda f: f == {"value": 36.0, "∂f/∂w": 9.0, "∂f/∂x": 33.0},
        lambda f: f == {"value": 36.0, "∂f/∂w": 9.0, "∂f/∂x": 33.0},
    ),
}


def run(name: str, **options: Any) -> dict[str, Any]:
    if "from sklearn" in (FOLDER / f"{name}.py").read_text(encoding="utf-8"):
        pytest.importorskip("sklearn", reason="scikit-learn, which has the digits, is not installed")
    spec = importlib.util.spec_from_file_location(f"examples_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(**options)


@pytest.mark.parametrize("name", EXAMPLES)
def test_in_short(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    figures = run(name, short=True)
    assert EXAMPLES[name][0](figures), figures


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_in_full(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    figures = run(name)
    assert EXAMPLES[name][1](figures), figures


def test_every_example_is_run_and_short_enough_to_read():
    files = {file.stem: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.py")}
    assert files.keys() == EXAMPLES.keys()
    for name, text in files.items():
        assert text.count("\n") < 80, name
        assert re.search(rf"^ *python examples/{name}\.py", text, re.MULTILINE), f"{name} does not say how it is run"
