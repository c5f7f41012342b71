"""The `>>>` examples of README.md and docs/ do what the page says they do."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^ *```.*$", re.MULTILINE)


def _pages() -> list[str]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [str(page.relative_to(ROOT)) for page in pages if ">>> " in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", _pages())
def test_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest's own --doctest-glob takes a closing fence for the last line of the expected output.
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, page, page, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    result = runner.run(examples, out=report.append)
    assert not result.failed, "".join(report)
