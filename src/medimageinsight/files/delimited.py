"""Delimited text tables as spreadsheets and statistics programs write them: encoding, separator, header and rows."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from medimageinsight.files.table_errors import bad_rows, unreadable

if TYPE_CHECKING:
    from pathlib import Path

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SAMPLE_ROWS = 50  # compared with the header to choose between separators
_LONGEST_FIELD = 2**31 - 1  # characters; the largest limit that the csv module accepts on every system
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

logger = logging.getLogger("medimageinsight.files")


@dataclass(frozen=True, kw_only=True)
class DelimitedText:
    """A table of text cells without surrounding spaces; every row has as many cells as the header."""

    header: list[str]
    rows: list[list[str]]
    separator: str


def read_delimited(file: Path) -> DelimitedText:
    """Read a table with any of the separators of `SEPARATORS` in UTF-8, UTF-16 or Windows-1252.

    A byte order mark, a line ``sep=;`` of Excel, empty rows, and empty cells at the end of a row are skipped. Every
    encoding and separator other than those of CSV in UTF-8 is logged.

    Raises:
        DatasetError: The file cannot be read as such (``dataset_unreadable``), or a row's length is not the header's
            (``dataset_rows_invalid``).
    """
    try:
        text = _decode(file.read_bytes())
    except OSError as error:
        raise unreadable("a table", error) from error
    csv.field_size_limit(_LONGEST_FIELD)
    first, _, rest = text.partition("\n")
    declared = first.strip().strip('"')
    if declared.lower().startswith("sep=") and len(declared) == len("sep=;"):
        separator, text = declared[-1], rest
    else:
        separator = _detect_separator(text)
    if separator != ",":
        logger.info("the table's columns are separated by %s", SEPARATORS.get(separator, repr(separator)))
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if any(row)]
    except csv.Error as error:
        raise unreadable("CSV", error) from error
    rows = [[cell.strip() for cell in row] for row in rows]
    header = _without_empty_end(rows[0], 0) if rows else []
    rows = [_without_empty_end(row, len(header)) for row in rows[1:] if any(row)]
    if ragged := [number for number, row in enumerate(rows, start=1) if len(row) != len(header)]:
        raise bad_rows({f"not the header's {len(header)} cells": ragged})
    return DelimitedText(header=header, rows=rows, separator=separator)


def _decode(data: bytes) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    encoding = encoding or _guess_utf_16(data[:1024])
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise unreadable("a table in UTF-8 or UTF-16", error) from error
        try:
            text = data.decode(encoding := "cp1252")
        except UnicodeDecodeError:
            raise unreadable("a table in UTF-8", error) from error
        logger.warning("the table is not in UTF-8 and is read as Windows-1252: check letters such as ä and é")
    if "\0" in text:
        raise unreadable("a table of text", ValueError())
    if encoding is not None and encoding.startswith("utf-16"):
        logger.info("the table is in UTF-16")
    return text


def _guess_utf_16(data: bytes) -> str | None:
    """Return the byte order of UTF-16 without a mark: of Latin letters, one of the two bytes is zero."""
    for encoding, high in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        if high.count(0) > len(high) / 2:
            return encoding
    return None


def _detect_separator(text: str) -> str:
    """Return the separator that gives the header most columns; of several, the one that fits the rows below."""

    def fit(separator: str) -> tuple[int, int]:
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
            lengths = [len(row) for row in islice((row for row in reader if any(row)), _SAMPLE_ROWS)]
        except csv.Error:
            return 0, 0
        return (lengths[0], Counter(lengths)[lengths[0]]) if lengths else (0, 0)

    return max(SEPARATORS, key=fit)


def _without_empty_end(row: list[str], length: int) -> list[str]:
    """Return the cells without empty cells at the end beyond a length, which Excel writes for once used columns."""
    while len(row) > length and not row[-1]:
        row = row[:-1]
    return row
