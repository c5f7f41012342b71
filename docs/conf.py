"""How Sphinx builds the pages of this folder, and the reference from the docstrings."""

import re

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

import kinone
from kinone.ops import EXPORTS, FAMILIES

project = "Kinone"
version = release = kinone.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Kinone"
html_show_copyright = False
myst_heading_anchors = 3
# Pages link to the sources, which are no pages.
suppress_warnings = ["myst.xref_missing"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
default_role = "code"

# What reStructuredText would take for markup in a formula: |x|, x*, x_.
MARKUP = re.compile(r"[\\*|_]")


class Operators(Directive):
    """`.. operators::` documents every operator, family by family, from the list that Kinone itself uses."""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for family in FAMILIES:
            names = [name for name, value in EXPORTS.items() if value.__module__ == family.__name__]
            text = (family.__doc__ or "").splitlines()
            escape(text)
            lines += [f".. rubric:: {family.__name__.rpartition('.')[2]}", "", *text, ""]
            for name in names:
                kind = "class" if isinstance(EXPORTS[name], type) else "function"
                lines += [f".. auto{kind}:: kinone.{name}", ""]
        node = nodes.container()
        self.state.nested_parse(StringList(lines, self.state_machine.document["source"]), self.content_offset, node)
        return node.children


def escape(lines: list[str]) -> None:
    """Docstrings are text, `code` and examples, not reStructuredText: escape what that would take for markup."""
    is_example = False
    for i, line in enumerate(lines):
        is_example = bool(line.strip()) and (is_example or line.lstrip().startswith(">>> "))
        if not is_example:
            parts = line.split("`")
            parts[::2] = [MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
            lines[i] = "`".join(parts)


def setup(app: Sphinx) -> None:
    app.add_directive("operators", Operators)
    app.connect("autodoc-process-docstring", lambda *event: escape(event[-1]))
