"""A report as a document: the same parts for a reader of Markdown and of HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Plain text, no markup."""

    text: str


@dataclass(frozen=True, kw_only=True)
class TableBlock:
    """The first cell of a row is its head; ``folded`` tables are long, and open on demand where that is possible."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Plot:
    """An image with its file's name, the same as SVG, and what it shows in words."""

    name: str
    svg: str
    alt: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A command."""

    text: str


Block: TypeAlias = Paragraph | TableBlock | Plot | Listing


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands below it; an empty one is left out."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]
