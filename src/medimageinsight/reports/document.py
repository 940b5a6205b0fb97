"""A report as a document, independent of its format: Markdown or HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Plain text without markup."""

    text: str


@dataclass(frozen=True, kw_only=True)
class TableBlock:
    """A table; the first cell of a row is its header. In HTML a ``folded`` table is collapsed."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot: the name of its image file, the same plot as SVG, and a description."""

    name: str
    svg: str
    alt: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A command or code."""

    text: str


Block: TypeAlias = Paragraph | TableBlock | Plot | Listing


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and its blocks; a section without blocks is left out."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]
