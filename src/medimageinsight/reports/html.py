"""A document as one self-contained HTML file: no scripts, no fonts, no network."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from medimageinsight.reports.document import Paragraph, Plot, TableBlock

if TYPE_CHECKING:
    from medimageinsight.reports.document import Block, Document, Section

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1c2530; --soft: #4d5b69; --line: #d5dde5; --band: #f3f6f9;
  --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --page: #12171d; --ink: #e6ebf0; --soft: #a9b6c2; --line: #35404b;
  --band: #1a2129; --link: #7db8f0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; }
.lead { color: var(--soft); }
nav ul { padding: 0; margin: 1.25rem 0 0; list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; }
a { color: var(--link); }
.scroll { overflow-x: auto; margin: 1rem 0; }
.scroll:focus-visible, summary:focus-visible, a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; font-weight: 600; color: var(--ink); }
th, td { padding: .32rem .8rem .32rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
tbody th { font-weight: 500; }
td { white-space: nowrap; }
td.long { white-space: normal; min-width: 14rem; overflow-wrap: anywhere; }
details { margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
figure { margin: 1.25rem 0; }
figure svg { max-width: 100%; height: auto; color: var(--ink); }
figcaption { color: var(--soft); font-size: .875rem; max-width: 46rem; }
pre { background: var(--band); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem;
  overflow-x: auto; }
@media print { details:not([open]) > *:not(summary) { display: block; } main { max-width: none; } }
"""
_LONG_CELL = 40  # characters; longer cells may wrap


def to_html(document: Document) -> str:
    """Return the whole document, with plots inline as SVG."""
    sections = [section for section in document.sections if section.blocks]
    links = "".join(
        f'<li><a href="#part-{number}">{escape(section.title)}</a></li>' for number, section in enumerate(sections)
    )
    body = "\n".join(_section(section, number) for number, section in enumerate(sections))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(document.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(document.title)}</h1>
<p class="lead">{escape(document.lead)}</p>
<nav aria-label="Parts of the report"><ul>{links}</ul></nav>
{body}
</main>
</body>
</html>
"""


def _section(section: Section, number: int) -> str:
    blocks = "\n".join(_block(block, f"part-{number}-{index}") for index, block in enumerate(section.blocks))
    head = f'<h2 id="part-{number}">{escape(section.title)}</h2>'
    return f'<section aria-labelledby="part-{number}">\n{head}\n{blocks}\n</section>'


def _block(block: Block, name: str) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, TableBlock):
        return _table(block, name)
    if isinstance(block, Plot):
        alt, start = escape(block.alt), block.svg.index("<svg") + len("<svg")
        svg = f'<svg role="img" aria-label="{alt}" id="{name}"{block.svg[start:].rstrip()}'
        return f"<figure>{svg}<figcaption>{alt}</figcaption></figure>"
    return f'<pre tabindex="0"><code>{escape(block.text)}</code></pre>'


def _table(table: TableBlock, name: str) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.columns)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(map(_cell, cells))}</tr>' for first, *cells in table.rows
    )
    # A scrolling table can be focused and scrolled by the keyboard, and has a name for screen readers.
    block = (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}"><table>'
        f'<caption id="{name}">{escape(table.caption)}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )
    if not table.folded:
        return block
    return f"<details><summary>{escape(table.caption)}: {len(table.rows):,} rows</summary>{block}</details>"


def _cell(text: str) -> str:
    kind = ' class="long"' if len(text) > _LONG_CELL else ""
    return f"<td{kind}>{escape(text)}</td>"
