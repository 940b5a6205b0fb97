"""Columns of CSV and Parquet tables, read as text, and the errors for tables that cannot be used."""

from __future__ import annotations

import csv
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.errors import DatasetError, missing_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    # Maps a table's header to the columns to read: name of the caller's choice to column.
    ChooseColumns: TypeAlias = Callable[[Sequence[str]], Mapping[str, str]]

_ROWS_NAMED = 5  # in a message, before "and N more"


def check_table_file(file: Path) -> str:
    """Return the suffix of a table's file, ``.csv`` or ``.parquet``.

    Raises:
        DatasetError: No such file (``dataset_not_found``), or another suffix (``dataset_format_unknown``).
    """
    if not file.is_file():
        raise DatasetError("expected a table file, found none: check the path", code="dataset_not_found")
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise DatasetError(
            f"expected a .csv or .parquet table, got {suffix or 'a name without ending'}: convert it",
            code="dataset_format_unknown",
        )
    return suffix


def read_header(file: Path) -> list[str]:
    """Return the column names of a ``.csv`` or ``.parquet`` file.

    Raises:
        DatasetError: As `read_columns`.
        MissingExtraError: Parquet without pyarrow.
    """
    if check_table_file(file) == ".csv":
        with _open_csv(file) as rows:
            return [name.strip() for name in next(rows, [])]
    with open_parquet(file) as table:
        return list(table.schema_arrow.names)


def read_columns(file: Path, choose: ChooseColumns) -> dict[str, list[str]]:
    """Read the chosen columns of a ``.csv`` (UTF-8, comma) or ``.parquet`` file as text without surrounding spaces.

        read_columns(Path("scans.csv"), lambda header: {"caption": "report"})  # {"caption": ["normal", ...]}

    ``choose`` returns a name for each column to read; it may raise. The other columns of a Parquet file are not read:
    they may contain whole images. Null and NaN are ''; empty lines of a CSV file are skipped.

    Raises:
        DatasetError: No such file, another format, not readable as such (``dataset_unreadable``), or a row whose
            length is not the header's (``dataset_rows_invalid``).
        MissingExtraError: Parquet without pyarrow.
    """
    return _read_csv(file, choose) if check_table_file(file) == ".csv" else _read_parquet(file, choose)


@contextmanager
def open_parquet(file: Path) -> Iterator[Any]:
    """Open a ``pyarrow.parquet.ParquetFile``; an error of the file in the block becomes a `DatasetError`.

    Raises:
        DatasetError: It is not Parquet (``dataset_unreadable``).
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise missing_extra("parquet", "reading a Parquet table") from error
    try:
        with parquet.ParquetFile(file) as table:
            yield table
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable("Parquet", error) from error


def bad_rows(problems: Mapping[str, Sequence[int]]) -> DatasetError:
    """Return the error for rows that cannot be used: each problem with the numbers of its rows, from 1."""
    described = "; ".join(f"{problem} in {named_rows(numbers)}" for problem, numbers in problems.items())
    return DatasetError(
        f"the table's rows cannot be used: {described}. Correct them (row 1 is the first below the header)",
        code="dataset_rows_invalid",
    )


def named_rows(numbers: Sequence[int]) -> str:
    """Return the first few row numbers as text, and how many more there are."""
    named = ", ".join(map(str, numbers[:_ROWS_NAMED]))
    more = len(numbers) - _ROWS_NAMED
    return f"row{'s' if len(numbers) > 1 else ''} {named}" + (f" and {more} more" if more > 0 else "")


def _unreadable(kind: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"expected {kind}, got a file that cannot be read as such ({type(error).__name__}): write it again",
        code="dataset_unreadable",
    )


@contextmanager
def _open_csv(file: Path) -> Iterator[Iterator[list[str]]]:
    """Open a CSV file as rows that are not empty. ``utf-8-sig``: spreadsheets write a byte order mark."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            yield (row for row in csv.reader(stream, strict=True) if row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable("CSV in UTF-8", error) from error


def _read_csv(file: Path, choose: ChooseColumns) -> dict[str, list[str]]:
    with _open_csv(file) as lines:
        header = [name.strip() for name in next(lines, [])]
        chosen = choose(header)
        rows = list(lines)
    if ragged := [number for number, row in enumerate(rows, start=1) if len(row) != len(header)]:
        raise bad_rows({f"not the header's {len(header)} cells": ragged})
    indices = {name: header.index(column) for name, column in chosen.items()}
    return {name: [row[index].strip() for row in rows] for name, index in indices.items()}


def _read_parquet(file: Path, choose: ChooseColumns) -> dict[str, list[str]]:
    with open_parquet(file) as table:
        chosen = choose(table.schema_arrow.names)
        data = table.read(columns=list(chosen.values()))
    return {name: [_as_text(value) for value in data[column].to_pylist()] for name, column in chosen.items()}


def _as_text(value: object) -> str:
    """Return a Parquet value as text; null and NaN, which pandas writes for an empty cell, are empty."""
    is_empty = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if is_empty else str(value).strip()
