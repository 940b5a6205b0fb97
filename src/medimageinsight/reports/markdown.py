"""A document as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from medimageinsight.reports.document import Paragraph, Plot, TableBlock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medimageinsight.reports.document import Block, Document


def to_markdown(document: Document) -> str:
    """Return the whole document; plots are links to their files."""
    parts = [f"# {document.title}", document.lead]
    for section in document.sections:
        if section.blocks:
            parts += [f"## {section.title}", *map(_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def markdown_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table, with bars and line breaks in its cells escaped."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def markdown_text(text: str) -> str:
    """Return text in one line, with HTML tags and image links escaped; names from a table could contain them."""
    return re.sub(r"<(?=[A-Za-z/!?])|!(?=\[)", r"\\\g<0>", " ".join(text.split()))


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return markdown_text(block.text)
    if isinstance(block, TableBlock):
        return f"{markdown_text(block.caption)}\n\n{markdown_table(block.columns, block.rows)}"
    if isinstance(block, Plot):
        return f"![{markdown_text(block.alt)}]({block.name})"
    return f"```\n{block.text}\n```"


def _cell(text: str) -> str:
    return markdown_text(text).replace("|", "\\|")
