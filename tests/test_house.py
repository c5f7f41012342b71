"""The rules of the house that no linter knows: sizes, names, and what may not be in the repository."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE = {".py", ".cpp", ".hpp", ".h", ".cu"}
README_COMMAND = "pip install uv && uv run pytest"

# [.] rather than \. keeps these lines from matching themselves.
REGISTRY = re.compile(
    r"\b(?:pypi|pythonhosted|npmjs|yarnpkg|anaconda)[.](?:org|com)\b"
    r"|\b(?:deb|download|mirror|registry)[.]\w+[.](?:org|com)\b"
    r"|//\S+/(?:simple)\b"
)
MACHINE = re.compile(r"(?<![\w.>)}])/(?:root|work|home/\w+|opt)/\w")


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """What is in the repository, and what `git add .` would bring in: a rule speaks before the commit."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: no telling which files are the repository's")
    return [ROOT / name for name in sorted(set(listing.split("\0"))) if name and (ROOT / name).is_file()]


def _under(files: list[Path], folder: str) -> list[Path]:
    return [file for file in files if file.is_relative_to(ROOT / folder)]


def _python(files: list[Path]) -> Iterator[tuple[str, ast.Module]]:
    for file in files:
        if file.suffix == ".py":
            yield str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))


def _length(file: Path) -> int:
    return file.read_bytes().count(b"\n")


def test_files_stay_under_400_lines(files: list[Path]) -> None:
    code = [f for part in ("src", "tests", "benchmarks", "examples") for f in _under(files, part) if f.suffix in CODE]
    long = {str(f.relative_to(ROOT)): _length(f) for f in code}
    assert not {name: lines for name, lines in long.items() if lines > 400}, "two things in one room?"


def test_the_core_is_one_evenings_read(files: list[Path]) -> None:
    core = {f.name: _length(f) for f in _under(files, "src/kinone/core") if f.suffix == ".py"}
    assert core, "where is the core?"
    assert sum(core.values()) <= 900, core


def test_what_the_kernels_compute_can_be_read(files: list[Path]) -> None:
    """Lines of C++ that compute, comments and blank lines aside; binding them to Python and the threads come on top."""
    kernels, shared = ROOT / "src/kinone/kernels", {"simd", "sums", "reduce", "axes", "layout", "numbers"}
    computing = [f for f in _under(files, "src/kinone/kernels") if f.suffix in CODE - {".py"}
                 and not f.stem.startswith("module")
                 and (f.parent != kernels / "native" or f.stem in shared)]  # fmt: skip
    lines = [line.strip() for f in computing for line in f.read_text(encoding="utf-8").splitlines()]
    assert 1000 < sum(bool(line) and not line.startswith("//") for line in lines) <= 6000


def test_every_folder_of_modules_is_a_package(files: list[Path]) -> None:
    """Without __init__.py import-linter does not see a folder, and doctests import a second copy of it."""
    folders = {f.parent for f in _under(files, "src") if f.suffix == ".py"}
    assert not [str(f.relative_to(ROOT)) for f in sorted(folders) if not (f / "__init__.py").is_file()]


def test_no_drawer_for_odds_and_ends(files: list[Path]) -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "misc"}
    assert not [str(f.relative_to(ROOT)) for f in files if {f.stem, f.parent.name} & drawers]


def test_no_manager(files: list[Path]) -> None:
    classes = [
        f"{name}: {node.name}"
        for name, tree in _python(_under(files, "src"))
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Manager")
    ]
    assert not classes


def test_no_test_shadows_another(files: list[Path]) -> None:
    """Two tests of one name in one scope: Python keeps the last, and the first never runs."""
    shadowed = [
        f"{name}: {function}"
        for name, tree in _python(_under(files, "tests"))
        for scope in ast.walk(tree)
        if isinstance(scope, ast.Module | ast.ClassDef)
        for function, times in Counter(
            node.name for node in scope.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ).items()
        if times > 1
    ]
    assert not shadowed


def test_the_core_needs_numpy_and_nothing_else(files: list[Path]) -> None:
    """import-linter forbids the packages that it is told of; this forbids all others too."""
    allowed = {"kinone", "numpy", *sys.stdlib_module_names}
    core = [f for part in ("core", "ops", "errors.py") for f in _under(files, f"src/kinone/{part}")]
    strangers = [
        f"{name}: {module}"
        for name, tree in _python(core)
        for node in ast.walk(tree)
        for module in _imported(node)
        if module.partition(".")[0] not in allowed
    ]
    assert not strangers


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module]
        case _:
            return []


def test_nothing_names_a_registry_or_this_machine(files: list[Path]) -> None:
    """Lock files carry the addresses of whoever wrote them; so does a path that was pasted from a shell."""
    assert not [f.name for f in files if f.name in {"uv.lock", "package-lock.json", "poetry.lock"}]
    found = [
        f"{file.relative_to(ROOT)}:{number}: {match[0]}"
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        for pattern in (REGISTRY, MACHINE)
        if (match := pattern.search(line))
    ]
    assert not found


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (REGISTRY, "https://" + "files.python" + "hosted.org/packages/x.whl"),
        (REGISTRY, "pip install -i https://mirror.example" + "/simple x"),
        (MACHINE, "cd /ro" + "ot/project"),
        (MACHINE, '"file:///wo' + 'rk/main"'),
    ],
)
def test_the_search_finds_what_it_looks_for(pattern: re.Pattern[str], line: str) -> None:
    assert pattern.search(line)


@pytest.mark.parametrize("file", ["README.md", ".ci/run"])
def test_ci_runs_the_readmes_own_command(file: str) -> None:
    assert README_COMMAND in (ROOT / file).read_text(encoding="utf-8")
