"""The page of a report: one HTML file that asks nothing of the network, light or dark as the reader likes it."""

import html
from collections.abc import Sequence
from typing import Any

_STYLE = """
:root { color-scheme: light dark;
  --page: #f6f6f3; --card: #ffffff; --ink: #1c2430; --soft: #5a6472; --line: #e2e4e6; --faint: #f1f2f2;
  --c0: #1f5fbf; --c1: #c2571a; --c2: #2b7a4b; --c3: #8a3fa0; --good: #2b7a4b; --bad: #b3333c; --warn: #fff4dc;
  --warnline: #e5b95c; }
@media (prefers-color-scheme: dark) { :root {
  --page: #111419; --card: #191e25; --ink: #e5e9ef; --soft: #98a3b3; --line: #2c343f; --faint: #1f252e;
  --c0: #7ab0ff; --c1: #f0a35e; --c2: #6cc48f; --c3: #d58be2; --good: #6cc48f; --bad: #f28b96; --warn: #2f2715;
  --warnline: #8f6f2b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI",
  "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 36px 20px 60px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 44px 0 6px; padding-top: 4px; }
h3 { font-size: 15px; margin: 0 0 8px; }
p { margin: 6px 0 12px; max-width: 76ch; }
a { color: var(--c0); }
.lead { color: var(--soft); font-size: 16px; margin: 0 0 18px; }
.soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 14px; padding: 10px 0; margin: 18px 0 0;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
nav a { text-decoration: none; }
.note { background: var(--warn); border-left: 4px solid var(--warnline); padding: 10px 14px; border-radius: 4px;
  margin: 0 0 18px; max-width: none; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 12px; margin: 14px 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; }
.tiles .card b { display: block; font-size: 25px; line-height: 1.25; font-weight: 650; }
.tiles .card span { color: var(--soft); font-size: 13px; display: block; }
.grid2 { display: grid; grid-template-columns: repeat(auto-fit, minmax(430px, 1fr)); gap: 12px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 9px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: 13px; vertical-align: bottom; }
th:first-child, td:first-child, td.left, th.left { text-align: left; }
tbody tr:last-child td { border-bottom: 0; }
tfoot td { border-top: 2px solid var(--line); border-bottom: 0; font-weight: 600; }
td small { color: var(--soft); } td svg { max-width: none; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid var(--c0); }
th[aria-sort=ascending] button::after { content: " ↑"; } th[aria-sort=descending] button::after { content: " ↓"; }
svg { max-width: 100%; height: auto; vertical-align: middle; }
svg text { font-size: 10.5px; fill: var(--soft); font-family: inherit; }
svg text.name { font-size: 12.5px; font-weight: 600; fill: var(--ink); }
svg .mid { text-anchor: middle; } svg .end { text-anchor: end; }
svg .grid { stroke: var(--line); fill: none; }
svg .line { fill: none; stroke-width: 1.9; stroke-linejoin: round; stroke-linecap: round; }
svg .line.c0 { stroke: var(--c0); } svg .line.c1 { stroke: var(--c1); } svg .line.c2 { stroke: var(--c2); }
svg .line.c3 { stroke: var(--c3); } svg .line.soft { stroke: var(--soft); stroke-width: 1; opacity: 0.45; }
svg .dot.c0 { fill: var(--c0); } svg .dot.c1 { fill: var(--c1); } svg .dot.c2 { fill: var(--c2); }
svg .dot.c3 { fill: var(--c3); }
svg .mark, svg .chance { fill: none; stroke: var(--soft); stroke-dasharray: 4 3; }
svg .point { fill: var(--c1); stroke: var(--card); stroke-width: 1.3; }
svg .range { stroke: var(--c0); stroke-width: 4; stroke-linecap: round; opacity: 0.55; }
svg .full { fill: var(--c0); opacity: 0.75; } svg .empty { fill: var(--faint); }
.finding { display: flex; flex-wrap: wrap; gap: 4px 22px; align-items: flex-start; margin-bottom: 12px; }
.finding h3 { flex-basis: 100%; margin: 0; } .finding h3 small { font-weight: 400; color: var(--soft); }
.finding .verdicts { flex: 1 1 220px; font-size: 14px; } .verdicts p { margin: 10px 0 0; }
.counts { width: auto; font-size: 13px; margin-top: 24px; } .counts td, .counts th { padding: 3px 8px; }
.counts td { text-align: center; border: 1px solid var(--line); background: var(--faint); }
.counts td.right { color: var(--good); font-weight: 650; } .counts td.wrong { color: var(--bad); font-weight: 650; }
.films { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 10px; margin: 4px 0 18px; }
figure { margin: 0; } figure .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; background: #000;
  border-radius: 6px; overflow: hidden; position: relative; }
figure .film { position: relative; } figure img { width: 100%; display: block; }
figure .film svg { position: absolute; inset: 0; width: 100%; height: 100%; }
figure rect.box { fill: none; stroke: #6fe3ff; stroke-width: 2; vector-effect: non-scaling-stroke; }
figcaption { font-size: 13px; line-height: 1.4; padding: 5px 2px 0; color: var(--soft); }
figcaption b { color: var(--ink); }
pre { background: var(--faint); border: 1px solid var(--line); border-radius: 6px; padding: 12px 14px; overflow-x: auto;
  font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font: 0.92em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.hash { overflow-wrap: anywhere; }
details { margin: 8px 0; } summary { cursor: pointer; font-weight: 600; }
footer { margin-top: 44px; color: var(--soft); font-size: 13px; border-top: 1px solid var(--line); padding-top: 12px; }
@media (max-width: 520px) { .grid2 { grid-template-columns: 1fr; } main { padding: 20px 12px; } }
@media print { nav { display: none; } .card, figure, tr { break-inside: avoid; } body { background: #fff; } }
"""

# Sorting is all that the script does; without it the page is the same.
_SCRIPT = """
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const value = (row, i) => { const t = row.cells[i].dataset.v ?? row.cells[i].textContent; return isNaN(t) ? t : +t; };
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.append(...head.childNodes); head.append(button);
    button.onclick = () => {
      const up = head.getAttribute("aria-sort") === "descending" || (i === 0 && !head.hasAttribute("aria-sort"));
      heads.forEach(h => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const sign = up ? 1 : -1;
      body.append(...[...body.rows].sort((a, b) => {
        const x = value(a, i), y = value(b, i);
        return x === "" ? 1 : y === "" ? -1 : sign * (x < y ? -1 : x > y ? 1 : 0);
      }));
    };
  });
}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def escape(value: Any) -> str:
    """Text for HTML."""
    return html.escape(str(value), quote=True)


def finding_name(name: str) -> str:
    """A finding as it is written for people.

    >>> finding_name("Pleural_Thickening")
    'Pleural thickening'
    """
    return escape(name.replace("_", " ").capitalize())


def section(name: str, title: str, *parts: str) -> str:
    """A part of the page that can be linked to."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def tile(value: str, words: str, style: str = "") -> str:
    """A figure and what it is."""
    return f'<div class="card"><b class="{style}">{value}</b><span>{words}</span></div>'


def pairs(rows: Sequence[tuple[str, Any]]) -> str:
    """A table of names and values; empty ones are left out."""
    lines = [f'<tr><td>{escape(name)}</td><td class="left hash" style="white-space: normal">{escape(value)}</td></tr>'
             for name, value in rows if value not in (None, "", [])]  # fmt: skip
    return f"<table><tbody>{''.join(lines)}</tbody></table>"


def document(title: str, head: str, sections: Sequence[tuple[str, str, str]], foot: str) -> str:
    """The whole file; sections are (name, title, content)."""
    links = "".join(f'<a href="#{name}">{escape(words)}</a>' for name, words, _ in sections)
    parts = "\n".join(section(name, words, content) for name, words, content in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{head}
<nav>{links}</nav>
{parts}
<footer>{foot}</footer>
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""
