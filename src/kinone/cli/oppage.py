"""The page of one operator in the terminal."""

import math

from rich.columns import Columns
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from kinone.cli.terminal import BAD, CURVES, DIM, GOOD, NAME, TITLE
from kinone.core.op import Op
from kinone.errors import KinoneError
from kinone.inspection import oppage
from kinone.inspection.curve import curve
from kinone.inspection.oppage import STEPS, SampleCheck
from kinone.inspection.plot import braille
from kinone.kernels.dispatch import Choice

_WIDEST = 110


def show_page(out: Console, op: Op[...], served: dict[str, Choice], *, is_checked: bool) -> bool:
    """Print the page; false if a gradient is wrong or a wrong call was accepted."""
    entry = oppage.entry(op)
    out.print(Text.assemble("\n", (op.name, NAME), entry.signature, (f"   {entry.family}", DIM)))
    out.print(Text(f"\n  {entry.formula}", TITLE))
    if entry.gradient:
        out.print(Text(f"  {entry.gradient}"))
    if description := oppage.description(op):
        out.print(Padding(Text(f"\n{description}", DIM), (0, 0, 0, 2)))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, text in oppage.facts(op).items():
        table.add_row(Text(name, DIM), Text(text))
    kernels = [f"{name}: {served[name].implementation} ({served[name].why})" for name in entry.kernels]
    table.add_row(Text("kernels", DIM), Text("\n".join(kernels) or "none: what it needs is exact in NumPy"))
    out.print()
    out.print(Padding(table, (0, 0, 0, 2)))
    _heading(out, "picture")
    _show_picture(out, op)
    for source in oppage.sources(op):
        _heading(out, source.role, source.place)
        code = Syntax(source.text, "python", theme="ansi_dark", background_color="default", word_wrap=True)
        out.print(Padding(code, (0, 0, 0, 2)))
    _heading(out, "samples", "checked now" if is_checked else "not checked")
    is_right = _show_samples(out, op, is_checked=is_checked)
    if op.errors:
        _heading(out, "refused", "what it says to these calls" if is_checked else "not checked")
        is_right &= _show_errors(out, op, is_checked=is_checked)
    out.print()
    return is_right


def _heading(out: Console, title: str, place: str = "") -> None:
    out.print()
    text = Text.assemble((title, TITLE), (f"  {place}" if place else "", DIM))
    out.print(Rule(text, align="left", style=DIM), width=min(out.width, _WIDEST))


def _show_picture(out: Console, op: Op[...]) -> None:
    try:
        drawn = curve(op)
    except KinoneError as error:
        out.print(Text(f"  none: {error.expected}, but {error.got}", DIM))
        return
    legend = [part for i, s in enumerate(drawn.series) for part in (("   ━ ", CURVES[str(i)]), (s.label, ""))]
    note = "" if drawn.variable == "x" else "   (c and d: drawn once)"
    out.print(Text.assemble(f"  {drawn.title}", *legend, (note, DIM)))
    for row in braille(drawn, min(out.width, _WIDEST) - 4, 14):
        out.print(Text.assemble("  ", *((text, CURVES[role]) for text, role in row)), no_wrap=True, crop=True)


def _show_samples(out: Console, op: Op[...], *, is_checked: bool) -> bool:
    if not is_checked:
        out.print(Columns([Text(f"  {oppage.plain(repr(s))}") for s in op.samples], padding=(0, 2)))
        return True
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=DIM)
    table.add_column("inputs, attributes", ratio=1)
    for order, h, _ in STEPS:
        table.add_column(f"{'∂²' if order == 2 else '∂'} at {_power(h)}", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    is_right = True
    for i, sample in enumerate(op.samples):
        with out.status(f"sample {i + 1} of {len(op.samples)}"):
            found = oppage.check(op, i)
        is_right &= found.is_passed
        table.add_row(Text(oppage.plain(repr(sample))), *_cells(found))
        if found.reason:
            table.add_row(Text(f"  {found.reason}", DIM if found.is_passed else BAD))
    out.print(Padding(table, (0, 0, 0, 2)), width=min(out.width, _WIDEST))
    bounds = ", ".join(_power(tolerance) for *_, tolerance in STEPS)
    out.print(Text(f"  ‖∂ − Δ‖ / (‖∂‖ + ‖Δ‖ + 10⁻³), Δ the central differences of this step; at most {bounds}", DIM))
    return is_right


def _power(value: float) -> str:
    return "10" + f"{round(math.log10(value))}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _cells(found: SampleCheck) -> list[Text]:
    cells = [Text(f"{e:.1e}", GOOD if e <= t else BAD) for e, (_, _, t) in zip(found.errors, STEPS, strict=False)]
    cells += [Text("–", DIM)] * (len(STEPS) - len(cells))
    if found.is_passed and found.reason:
        return [*cells, Text("–", DIM), Text("–", DIM)]
    verdict = Text("✓", GOOD) if found.is_passed else Text("✗", BAD)
    return [*cells, Text(f"{found.seconds * 1000:.0f} ms", DIM), verdict]


def _show_errors(out: Console, op: Op[...], *, is_checked: bool) -> bool:
    is_right = True
    for i, bad in enumerate(op.errors):
        out.print(Text(f"  {op.name}({oppage.plain(repr(bad))})"))
        said = oppage.refusal(op, i) if is_checked else f"matches {bad.match!r}"
        is_right &= bool(said)
        out.print(Padding(Text(said, DIM) if said else Text("accepted", BAD), (0, 0, 0, 4)))
    return is_right
