"""A document as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from medimageinsight.reports.document import Paragraph, Plot, TableBlock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medimageinsight.reports.document import Block, Document


def as_markdown(document: Document) -> str:
    """The whole document; plots are links to their files."""
    parts = [f"# {document.title}", document.lead]
    for section in document.sections:
        if section.blocks:
            parts += [f"## {section.title}", *map(_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table, with what a cell may hold of bars and line breaks taken care of."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return plain(block.text)
    if isinstance(block, TableBlock):
        return f"{plain(block.caption)}\n\n{table(block.columns, block.rows)}"
    if isinstance(block, Plot):
        return f"![{plain(block.alt)}]({block.name})"
    return f"```\n{block.text}\n```"


def _cell(text: str) -> str:
    return plain(text).replace("|", "\\|")


def plain(text: str) -> str:
    """A name from a table may look like HTML, a picture elsewhere or a heading, which Markdown lets through."""
    return re.sub(r"<(?=[A-Za-z/!?])|!(?=\[)", r"\\\g<0>", " ".join(text.split()))
