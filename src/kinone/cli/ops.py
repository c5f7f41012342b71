"""`kinone ops`: the operators, and a page for each."""

import json as json_format
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kinone import kernels
from kinone.cli.oppage import show_page
from kinone.cli.terminal import DIM, NAME, TITLE, console
from kinone.core.op import Op
from kinone.errors import ArgumentError
from kinone.inspection import oppage
from kinone.inspection.curve import curve
from kinone.inspection.oppage import Entry
from kinone.inspection.plot import svg as svg_of
from kinone.kernels.dispatch import Choice

Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def ops(
    name: str | None = None, /, *, family: str | None = None, grep: str | None = None, json: Flag = False,
    no_check: Flag = False, svg: Path | None = None,
) -> int:  # fmt: skip
    """List the operators; or show one: formula, source, picture, and its gradients, checked now.

    For example:

        kinone ops --family activation
        kinone ops --grep pool
        kinone ops softmax --svg softmax.svg

    Parameters
    ----------
    name
        The operator to show.
    family
        List this family only.
    grep
        List only the operators whose line contains this text.
    json
        Print JSON instead of tables.
    no_check
        Show the page without checking gradients and error messages.
    svg
        Write the picture of the operator to this file too.
    """
    if name is not None and (family is not None or grep is not None):
        raise ArgumentError("kinone ops", "--family and --grep without the name of an operator", repr(name))
    if name is None and (svg is not None or no_check):
        raise ArgumentError("kinone ops", "the name of an operator with --svg and --no-check", "none")
    served = {choice.name: choice for choice in kernels.explain()}
    if name is None:
        found = oppage.entries(family or "", grep or "")
        if json:
            print(json_format.dumps([_plain(e, served) for e in found], ensure_ascii=False, indent=1))
        else:
            _show_list(console(), found, kernels.explain()[0])
        return 0
    op = oppage.find(name)
    if svg is not None:
        _write(svg, op)
    if json:
        checks = [] if no_check else [oppage.check(op, i) for i in range(len(op.samples))]
        page = {
            **_plain(oppage.entry(op), served), "facts": oppage.facts(op), "description": oppage.description(op),
            "sources": [asdict(s) for s in oppage.sources(op)], "samples": [oppage.plain(repr(s)) for s in op.samples],
            "checks": [asdict(c) for c in checks],
        }  # fmt: skip
        print(json_format.dumps(page, ensure_ascii=False, indent=1))
        return 0 if all(c.is_passed for c in checks) else 1
    return 0 if show_page(console(), op, served, is_checked=not no_check) else 1


def _plain(e: Entry, served: dict[str, Choice]) -> dict[str, Any]:
    return {**asdict(e), "kernels": {name: served[name].implementation for name in e.kernels}}


def _write(file: Path, op: Op[...]) -> None:
    picture = svg_of(curve(op))
    try:
        file.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise ArgumentError(
            "kinone ops", "--svg with a file that can be written", f"{file} ({error.strerror})"
        ) from None


# ------------------------------------------------------------------------------ the list
def _show_list(out: Console, found: Sequence[Entry], choice: Choice) -> None:
    # Gaps take 8 characters, orders 4, ONNX 18, the count 2; operator and signature what kernels leave.
    kernel = min(max((out.width - 32) * 35 // 100, 18), 32)
    widths = (min(max(out.width - 32 - kernel, 24), 70), 4, 18, kernel, 2)
    heads = ("operator, formula, gradient", "∂", "ONNX", f"kernels ({choice.implementation})", "n")
    out.print(_row(widths, [Text(head, DIM) for head in heads]))
    for family, about in oppage.families().items():
        members = [e for e in found if e.family == family]
        if members:
            out.print(Text.assemble("\n", (family, TITLE), (f"  {about}", DIM)))
        for e in members:
            out.print(_row(widths, _cells(e, widths[0], kernel - 3)))
            out.print(Padding(_formulas(e, out.width - 4), (0, 0, 0, 2)))
    checked = sum(bool(e.orders) for e in found)
    out.print(Text.assemble(
        "\n", (f"{len(found)} of {len(oppage.ALL_OPS)} operators", TITLE),
        f", {checked} with gradients (∂) that are checked to second order (∂²); n samples each; "
        f"kernels: {choice.implementation}, since {choice.why}",
    ))  # fmt: skip


def _row(widths: Sequence[int], cells: Sequence[Text]) -> Table:
    row = Table.grid(padding=(0, 2, 0, 0))
    for width in widths[:-1]:
        row.add_column(width=width, overflow="fold")
    row.add_column(width=widths[-1], justify="right")
    row.add_row(*cells)
    return row


def _cells(e: Entry, first: int, kernel: int) -> list[Text]:
    more = f" +{len(e.kernels) - 1}" if len(e.kernels) > 1 else ""
    onnx = "–" if e.onnx.startswith("none") else e.onnx.partition("(")[0].replace("by definition", "definition")
    call = textwrap.wrap(e.name + e.signature, first, subsequent_indent="    ", break_on_hyphens=False)
    return [
        Text.assemble((e.name, NAME), "\n".join(call)[len(e.name) :]),
        Text(" ".join("∂²" if order == 2 else "∂" for order in e.orders) or "–"),
        Text(onnx, DIM if onnx == "–" else ""),
        Text(_folded(e.kernels[0], kernel) + more if e.kernels else "–", DIM),
        Text(str(e.samples)),
    ]


def _formulas(e: Entry, width: int) -> Text:
    gradient = (f"no gradient: {e.no_gradient}", f"italic {DIM}") if e.no_gradient else (e.gradient, DIM)
    gap = "   " if cell_len(e.formula) + cell_len(gradient[0]) + 3 <= width else "\n"
    return Text.assemble(e.formula, gap, gradient)


def _folded(name: str, width: int) -> str:
    """A name with a break after an underscore where it would not fit."""
    at = name.rfind("_", 0, width) + 1
    return name if len(name) <= width or not at else f"{name[:at]}\n{name[at:]}"
