"""README.md and docs/ are true: examples run, quoted code is the code, and links lead somewhere."""

import doctest
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    if "_build" not in page.parts
}
FENCE = re.compile(r"^ *```.*$", re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\(([^)#\s]+)[^)]*\)")
# A whole module, which tests/test_add_an_op.py runs.
NOT_QUOTED = "docs/add-an-op.md"


def _quotations(page: str) -> list[str]:
    """The blocks of Python that are no dialogue, hence taken from the source."""
    return [block for block in BLOCK.findall(PAGES[page]) if not block.lstrip().startswith(">>> ")]


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if ">>> " in text])
def test_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGES[page]
    for quoted in _quotations(page):
        text = text.replace(quoted, "")
    # pytest's own --doctest-glob takes a closing fence for the last line of the expected output.
    text = FENCE.sub("", text)
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, page, page, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    result = runner.run(examples, out=report.append)
    assert not result.failed, "".join(report)


@pytest.mark.parametrize("page", [name for name in PAGES if name != NOT_QUOTED and _quotations(name)])
def test_quoted_code_is_the_code(page: str) -> None:
    sources = [file.read_text(encoding="utf-8") for file in sorted((ROOT / "src").rglob("*.py"))]
    flat = ["\n".join(line.strip() for line in source.splitlines()) for source in sources]
    for quoted in _quotations(page):
        wanted = "\n".join(line.strip() for line in textwrap.dedent(quoted).strip().splitlines())
        assert any(wanted in source for source in flat), f"{page} quotes what is not in the source:\n{quoted}"


@pytest.mark.parametrize("page", list(PAGES))
def test_links_lead_somewhere(page: str) -> None:
    targets = [target for target in LINK.findall(PAGES[page]) if "://" not in target]
    assert not [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()]


# CONTRIBUTING.md names files that shall not exist.
@pytest.mark.parametrize("page", [name for name in PAGES if name != "CONTRIBUTING.md"])
def test_files_that_are_named_exist(page: str) -> None:
    """`ops/reduce.py` stands for src/kinone/ops/reduce.py; a bare `tree.py` may be anywhere."""
    folders = [ROOT / folder for folder in ("src", "tests", "examples")]
    known = [f"/{file.relative_to(ROOT)}" for folder in folders for file in folder.rglob("*.py")]
    named = re.findall(r"`((?:\w+/)*\w+\.py)`", PAGES[page])
    assert not [name for name in named if not any(path.endswith(f"/{name}") for path in known)]
