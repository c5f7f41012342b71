"""docs/add-an-op.md, followed to the letter: its module passes what every operator of Kinone must pass."""

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import matrix
from kinone.core.op import Op
from kinone.errors import NumericsError
from kinone.ops import ALL_OPS

PAGE = (Path(__file__).resolve().parent.parent / "docs/add-an-op.md").read_text(encoding="utf-8")


def _block() -> str:
    """The page's one block of Python that is not a dialogue."""
    (block,) = re.findall(r'^```python\n(""".*?)```', PAGE, re.DOTALL | re.MULTILINE)
    return block


def _family(folder: Path, source: str) -> ModuleType:
    file = folder / "family.py"
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("family", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return _family(tmp_path_factory.mktemp("family"), _block())


@pytest.fixture(scope="module")
def op(family: ModuleType) -> Op:
    (found,) = [v for v in vars(family).values() if isinstance(v, Op) and v.__module__ == family.__name__]
    return found


def test_the_declaration_is_complete(op: Op) -> None:
    matrix.check_declaration(op)
    matrix.check_onnx_names(op)
    assert op.errors
    assert op.name not in ALL_OPS, "the page needs another example"


def test_it_passes_the_matrix(op: Op) -> None:
    for i, sample in enumerate(op.samples):
        inputs = sample.make(op.name, i)
        matrix.check_value(op, sample, inputs, None)
        matrix.check_paths(op, sample, inputs)
        matrix.check_layouts(op, sample, inputs)
        for dtype in (np.float16, np.float32, np.float64):
            matrix.check_dtype(op, sample, i, dtype)
        if sample.smooth:
            matrix.check_gradient(op, sample, inputs)
            matrix.check_second_order(op, sample, inputs)
            matrix.check_twice(op, sample, inputs)
    for i, bad in enumerate(op.errors):
        matrix.check_error(op, bad, i)


def test_it_is_as_accurate_as_the_page_says(op: Op, family: ModuleType) -> None:
    x = np.array([-1e-18])
    assert abs(op(x)[0] - np.log(1e-18)) < 1e-12
    with np.errstate(divide="ignore"):
        assert family.log1mexp_definition(x)[0] == -np.inf, "the composition would do, and the page's reason is none"


def test_its_example_runs(family: ModuleType, op: Op) -> None:
    (example,) = doctest.DocTestFinder().find(op.forward, op.name, module=family, globs=vars(family).copy())
    assert doctest.DocTestRunner(verbose=False).run(example) == (0, 1)


def test_it_is_laid_out_as_the_house_wants(family: ModuleType) -> None:
    command = [sys.executable, "-m", "ruff", "--config", str(Path(__file__).resolve().parent.parent / "pyproject.toml")]
    file = family.__file__ or ""
    if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("ruff is not installed here")
    for what in (["check", "--no-cache", "--ignore=A"], ["format", "--no-cache", "--check"]):
        done = subprocess.run([*command[:3], *what, *command[3:], file], capture_output=True, text=True, check=False)
        assert not done.returncode, done.stdout + done.stderr


RULE = "return g * (exp(x) / expm1(x))"


def _with_rule(folder: Path, rule: str) -> Op:
    assert RULE in _block()
    return _family(folder, _block().replace(RULE, rule)).log1mexp


def test_the_fault_that_the_page_describes_is_refused_as_it_says(tmp_path: Path) -> None:
    op = _with_rule(tmp_path, "return g / expm1(x)")
    (message,) = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)
    with pytest.raises(NumericsError, match=re.escape(message)):
        matrix.check_gradient(op, op.samples[0], op.samples[0].make(op.name, 0))


def test_the_rule_that_overflows_is_refused_at_the_last_sample(tmp_path: Path) -> None:
    op = _with_rule(tmp_path, "return -g / expm1(-x)")
    last = len(op.samples) - 1
    inputs = op.samples[last].make(op.name, last)
    matrix.check_gradient(op, op.samples[last], inputs)
    with pytest.raises(NumericsError):
        matrix.check_second_order(op, op.samples[last], inputs)


def test_the_commands_are_those_of_the_house() -> None:
    for module in re.findall(r"python -m ([\w.]+)", PAGE):
        assert importlib.util.find_spec(module) is not None
    assert "uv run pytest -k log1mexp" in PAGE
