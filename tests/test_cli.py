"""The command `kinone`: what it prints, how it exits, and what it says to mistakes."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pytest

import kinone as kn
from kinone import kernels
from kinone.cli import main
from kinone.core.op import Array, op
from kinone.errors import ArgumentError
from kinone.inspection import oppage
from kinone.inspection.curve import curve
from kinone.inspection.plot import svg
from kinone.kernels import dispatch, environment
from kinone.ops import ALL_OPS
from kinone.ops.declare import NoOnnx, Sample, normal

pytest.importorskip("cyclopts", reason="needs kinone[cli]")
cells = pytest.importorskip("rich.cells", reason="needs kinone[cli]")


@pytest.fixture
def kinone(capsys, monkeypatch):
    def run(*arguments, columns=100):
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as end:
            main(arguments)
        out, err = capsys.readouterr()
        return SimpleNamespace(status=end.value.code, out=out, err=err)

    return run


def in_a_process(*arguments, **variables):
    command = [sys.executable, "-m", "kinone.cli", *arguments]
    environ = {**os.environ, "COLUMNS": "100", **variables}
    return subprocess.run(command, env=environ, capture_output=True, text=True, encoding="utf-8", check=False)


def refused(result):
    """The one line that a mistake gets."""
    assert result.status == 2
    assert result.out == ""
    assert result.err.count("\n") == 1 and result.err.endswith("\n")
    return result.err


# ---------------------------------------------------------------------------- the command itself
def test_version(kinone):
    result = kinone("--version")
    assert (result.status, result.out) == (0, f"kinone {kn.__version__}\n")


@pytest.mark.parametrize("command", [(), ("ops",), ("doctor",), ("train",), ("verify",), ("replay",), ("diff",)])
def test_help_has_an_example(kinone, command):
    result = kinone(*command, "--help")
    assert result.status == 0
    assert re.search(rf"^For example.*kinone {(*command, 'ops')[0]}", result.out, re.DOTALL | re.MULTILINE)
    assert result.out.count("example") == 1


def test_without_a_command_it_helps(kinone):
    result = kinone()
    assert result.status == 0
    assert "ops" in result.out and "doctor" in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sotfmax", "kinone.*sotfmax"),
        ("ops sotfmax", r"\[ops\] expected the name of an operator, got 'sotfmax'. Hint: the nearest: softmax"),
        ("ops xyzzy", r"got 'xyzzy'. Hint: there are abs, acos"),
        (
            "ops --family activations",
            r"expected the name of a family, got 'activations'. Hint: the nearest: activation",
        ),
        ("ops --famly x", r"\[kinone ops\] .*--famly.*Hint: kinone ops --help"),
        ("ops softmax tanh", r"\[kinone ops\] .*tanh"),
        ("ops softmax --grep x", r"expected --family and --grep without the name of an operator"),
        ("ops --no-check", r"expected the name of an operator with --svg and --no-check, got none"),
        ("ops --svg x.svg", r"expected the name of an operator with --svg"),
        ("ops --svg", r"\[kinone ops\] .*--svg"),
        ("ops tanh --no-check --svg no/such/folder/x.svg", r"expected --svg with a file that can be written"),
        ("ops argmin --json=maybe", r"\[kinone ops\] .*maybe"),
        ("ops logical_and --svg x.svg", r"\[curve\] expected an operator of a floating input, got logical_and"),
        ("doctor now", r"\[kinone doctor\] .*now"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(kinone, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(kinone(*arguments.split())))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["cyclopts", "rich"])
def test_without_the_extra_it_names_it(kinone, monkeypatch, package):
    for name in [n for n in sys.modules if n.startswith("kinone.cli.") or n.partition(".")[0] in ("cyclopts", "rich")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert "pip install 'kinone[cli]'" in refused(kinone("ops"))


@pytest.mark.parametrize("arguments", [["ops"], ["ops", "--json"], ["ops", "--help"]])
def test_a_reader_that_leaves_early_is_no_error(arguments):
    command = [sys.executable, "-m", "kinone.cli", *arguments]
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_terminal_without_greek_is_no_error():
    result = in_a_process("ops", "tanh", "--no-check", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert "?L/?x" in result.stdout


# ---------------------------------------------------------------------------- the list
@pytest.mark.parametrize("columns", [80, 100, 160])
def test_the_list_has_every_operator_and_fits(kinone, columns):
    result = kinone("ops", columns=columns)
    assert result.status == 0
    for name in ALL_OPS:
        assert re.search(rf"^{name}\(", result.out, re.MULTILINE), name
    assert f"{len(ALL_OPS)} of {len(ALL_OPS)} operators" in result.out
    assert max(map(cells.cell_len, result.out.splitlines())) <= columns


def test_a_line_of_the_list(kinone):
    lines = kinone("ops", "--family", "norms").out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("softmax("))
    assert re.fullmatch(r"softmax\(x, \*, axis=-1\) +∂ ∂² +Softmax +softmax_forward.*", lines[at])
    assert lines[at + 1].strip() == "yᵢ = exp xᵢ / Σⱼ exp xⱼ along `axis`.   ∂L/∂x = y·(g − Σ g·y)."


def test_what_has_no_gradient_says_why(kinone):
    result = kinone("ops", "--grep", "argmax")
    assert "no gradient: " in result.out
    assert re.search(r"^argmax.* –  ", result.out, re.MULTILINE)


def test_the_list_can_be_narrowed(kinone):
    result = kinone("ops", "--family", "activation", "--grep", "SIGMOID")
    assert re.search(r"^log_sigmoid\(", result.out, re.MULTILINE)
    assert not re.search(r"^(tanh|relu|gelu)\(", result.out, re.MULTILINE)
    assert f"0 of {len(ALL_OPS)} operators" in kinone("ops", "--grep", "xyzzy").out


def test_the_list_as_json(kinone):
    found = json.loads(kinone("ops", "--json").out)
    assert [e["name"] for e in found] == list(ALL_OPS)
    softmax = next(e for e in found if e["name"] == "softmax")
    assert softmax["kernels"]["softmax_forward"] == dispatch.implementation()[0]
    assert softmax["orders"] == [1, 2]
    assert softmax["onnx"] == "Softmax(x, axis=axis)"
    assert softmax["gradient"].startswith("∂L/∂x = ")


@pytest.mark.parametrize("name", ALL_OPS)
def test_every_line_is_complete(name):
    entry = oppage.entry(ALL_OPS[name])
    assert entry.formula
    assert entry.no_gradient or (entry.gradient.startswith("∂L/∂") and entry.orders == (1, 2))
    assert entry.family in oppage.families()
    assert entry.samples > 0 and entry.onnx
    assert "<class" not in entry.signature and "Annotated" not in entry.signature
    known = {choice.name for choice in kernels.explain()}
    assert set(entry.kernels) <= known


# ---------------------------------------------------------------------------- the page
def test_the_page(kinone):
    result = kinone("ops", "softmax")
    assert result.status == 0
    for text in ("softmax(x, *, axis=-1)   norms", "∂L/∂x = y·(g − Σ g·y)", ">>> softmax(", "e / sum(e, axis=axis",
                 "kernels.softmax_forward(x", "@softmax.backward", "kinone/ops/norms.py:", "Softmax(x, axis=axis)",
                 f"softmax_forward: {dispatch.implementation()[0]}", "axis=5 is outside"):  # fmt: skip
        assert text in result.out, text
    assert result.out.count("✓") == sum(s.smooth for s in ALL_OPS["softmax"].samples)
    assert "✗" not in result.out
    assert re.search("[\u2801-\u28ff]{20}", result.out), "no picture"
    assert max(map(cells.cell_len, result.out.splitlines())) <= 100


@pytest.mark.parametrize("name", ["add", "argmax", "isnan", "log", "sort", "logical_and", "matmul", "batch_norm"])
def test_pages_of_other_kinds(kinone, name):
    result = kinone("ops", name)
    assert result.status == 0, result.out
    assert ("✓" in result.out) == (not ALL_OPS[name].no_gradient)


def test_a_page_without_checks(kinone):
    result = kinone("ops", "tanh", "--no-check")
    assert result.status == 0
    assert "✓" not in result.out and "not checked" in result.out


def test_the_page_as_json(kinone):
    page = json.loads(kinone("ops", "tanh", "--json").out)
    assert [s["role"] for s in page["sources"]] == ["forward", "rule"]
    assert page["sources"][0]["text"] == "def tanh(x: Array) -> Array:\n    return kernels.tanh(x)"
    assert len(page["checks"]) == len(page["samples"]) == len(ALL_OPS["tanh"].samples)
    assert all(check["is_passed"] for check in page["checks"])
    assert max(page["checks"][0]["errors"]) < 1e-6


def _half(x: Array) -> Array:
    """y = x².   ∂L/∂x = g · x, which is wrong."""
    return np.square(x)


def test_a_wrong_gradient_is_shown(kinone, monkeypatch):
    half = op(onnx=NoOnnx("for a test"), samples=[Sample(normal(3))])(_half)
    half.backward(lambda g, x: g * x)
    check = oppage.check(half, 0)
    assert not check.is_passed and min(check.errors) > 0.1
    monkeypatch.setattr(oppage, "ALL_OPS", {"_half": half})
    result = kinone("ops", "_half")
    assert result.status == 1 and "✗" in result.out
    assert kinone("ops", "_half", "--json").status == 1


def test_a_rule_that_raises_is_shown():
    broken = op(onnx=NoOnnx("for a test"), samples=[Sample(normal(3))])(_half)

    def rule(g, x):
        raise ZeroDivisionError("on purpose")

    broken.backward(rule)
    assert oppage.check(broken, 0).reason == "ZeroDivisionError: on purpose"


@pytest.mark.parametrize("name", ["tanh", "tan", "softmax", "isnan"])
def test_svg(kinone, tmp_path, name):
    file = tmp_path / "picture.svg"
    assert kinone("ops", name, "--no-check", "--svg", str(file)).status == 0
    text = file.read_text(encoding="utf-8")
    assert text == svg(curve(ALL_OPS[name]))
    root = ET.fromstring(text)
    curves = [e for e in root.iter() if "curve" in e.get("class", "") and e.get("clip-path")]
    assert len(curves) == len(curve(ALL_OPS[name]).series)
    assert all("nan" not in e.get("d", "") for e in curves)


# ---------------------------------------------------------------------------- the doctor
def test_the_doctor(kinone):
    result = kinone("doctor")
    assert result.status == 0
    texts = [kn.__version__, np.__version__, "BLAS", "SIMD", "usable", "GiB", "cyclopts", "rich", "everything works"]
    for text in (*texts, dispatch.implementation()[0], "KINONE_KERNELS not set", "denormals", "Philox"):
        assert text in result.out, text
    assert result.out.count("✓") == 5 and "✗" not in result.out


def test_the_doctor_as_json(kinone):
    report = json.loads(kinone("doctor", "--json").out)
    assert report["versions"]["kinone"] == kn.__version__
    assert report["numerics"] == {"profile": dispatch.profile(), "denormals": "kept"}
    assert {k["name"] for k in report["kernels"]} >= {"softmax_forward", "matmul", "uniform"}
    assert all(check["is_passed"] for check in report["checks"])
    assert {"cli", "data", "onnx", "dashboard", "distributed", "cuda"} <= set(report["extras"])


def test_the_doctor_finds_what_is_broken(kinone, monkeypatch):
    monkeypatch.setattr("kinone.cli.doctor.keeps_denormals", lambda: False)
    monkeypatch.setattr("kinone.cli.doctor._PHILOX", ("0", "0", "0", "0"))
    result = kinone("doctor")
    assert result.status == 1
    assert "broken: denormals, random numbers" in result.out
    assert kinone("doctor", "--json").status == 1


def test_the_doctor_knows_which_variables_have_an_effect(kinone, monkeypatch):
    monkeypatch.setenv("KINONE_KERNEL", "native")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    result = kinone("doctor")
    assert "KINONE_KERNEL=native  (unknown, has no effect)" in result.out
    assert "OMP_NUM_THREADS=3" in result.out


def test_an_extra_that_is_too_old(kinone, monkeypatch):
    old = environment.Requirement("rich", ">=13", "12.0", False)
    monkeypatch.setattr("kinone.cli.doctor.extras", lambda: {"cli": [old]})
    result = kinone("doctor")
    assert result.status == 1 and "rich 12.0 (needs >=13)" in result.out


# ---------------------------------------------------------------------------- which kernels
def test_explain_covers_every_kernel():
    explained = {choice.name: choice for choice in kernels.explain() if choice.family != "random"}
    others = {"bind", "explain", "memory", "release_memory", "set_threads"}
    others |= {choice.name for choice in kernels.explain() if choice.family == "random"}
    here = {name for name, value in vars(kernels).items() if callable(value)} - others
    assert set(explained) == here
    assert {choice.implementation for choice in kernels.explain("reference")} == {"reference"}


@pytest.mark.parametrize("asked", ["fast", "Reference"])
def test_kernels_that_are_not_here_are_refused(asked):
    with pytest.raises(ArgumentError, match=rf"\[KINONE_KERNELS\] expected reference or native.*, got '{asked}'"):
        dispatch.implementation(asked)


def test_kernels_that_are_here_are_taken():
    assert dispatch.implementation("reference") == ("reference", "KINONE_KERNELS=reference")


def test_kinone_kernels_speaks_when_a_kernel_is_called_and_in_the_doctor():
    listing = in_a_process("ops", KINONE_KERNELS="fast")
    assert listing.returncode == 2 and re.fullmatch(r"\[KINONE_KERNELS\] expected .*\n", listing.stderr)
    report = in_a_process("doctor", KINONE_KERNELS="fast")
    assert report.returncode == 1 and "broken: kernels, gradients" in report.stdout and not report.stderr
    code = "import kinone as kn; kn.exp([1.0])"
    environ = {**os.environ, "KINONE_KERNELS": "fast"}
    called = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert called.returncode and "[KINONE_KERNELS] expected reference or native" in called.stderr


def test_the_environment_is_plain_data():
    record = environment.environment()
    assert json.loads(json.dumps(record)) == record
    assert 0 < record["machine"]["usable_cores"] <= record["machine"]["cores"]
    assert record["machine"]["memory_bytes"] > 2**20
    assert environment.keeps_denormals()
