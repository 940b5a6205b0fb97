"""A table of pictures with captions and labels, from a CSV or Parquet file."""

from __future__ import annotations

import csv
import math
from collections import Counter, defaultdict
from dataclasses import fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from medimageinsight.datasets.sample import Sample, Table
from medimageinsight.errors import DatasetError, missing_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from medimageinsight.errors import InputError

    Header = Sequence[str]
    # Given the file's header, says which column each field is read from.
    Choice = Callable[[Header], dict[str, str]]


FIELDS = tuple(field.name for field in fields(Sample) if field.name != "piece")
CAPTION_PARTS = ("modality", "anatomy", "view", "finding")
__all__ = [
    "CAPTION_PARTS",
    "FIELDS",
    "Sample",
    "Table",
    "bad_rows",
    "broken_images",
    "named_rows",
    "read_table",
    "unreadable",
]
_ROWS_NAMED = 5  # in a message, before "and N more"
_FILES_NAMED = 10


def read_table(
    path: str | Path,
    *,
    root: str | Path | None = None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Table:
    """Reads a ``.csv`` (UTF-8, comma) or ``.parquet`` file with one row a picture.

    The column ``path`` (or ``image``) is required; it is relative to ``root``. So is ``caption``, which is otherwise
    built, row by row, from modality, anatomy, view and finding. All other columns of :class:`Sample` are optional, and
    columns that it does not know are not read. Whether the pictures exist is found out by whoever opens them.

    Args:
        path: The file.
        root: The folder that picture paths start from; the file's own when not given.
        split: Keep only this split.
        columns: Field of :class:`Sample` to column of the file, where their names differ.

    Raises:
        DatasetError: The file cannot be read, or its columns or rows cannot be used; all problems are named at once.
        MissingExtraError: Parquet without pyarrow.
    """
    file = Path(path)
    if not file.is_file():
        raise DatasetError("expected a table file, found none: check the path", code="dataset_not_found")
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise DatasetError(
            f"expected a .csv or .parquet table, got {file.suffix or 'a name without ending'}: convert it",
            code="dataset_format_unknown",
        )
    cells = reader(file, lambda header: _choose_columns(header, columns or {}))
    folder = Path(root) if root is not None else file.parent
    table = Table(samples=_build_samples(cells, folder), root=folder)
    return table if split is None else table.of_split(split)


def _choose_columns(header: Header, renamed: Mapping[str, str]) -> dict[str, str]:
    """Field to column. Raises one error that names everything wrong with the columns."""
    problems = [f"{field!r} is not a field (they are {', '.join(FIELDS)})" for field in renamed if field not in FIELDS]
    problems += [f"there is no column {column!r}" for column in renamed.values() if column not in header]
    problems += [f"the column {name!r} comes twice" for name, count in Counter(header).items() if count > 1]
    chosen = {field: renamed.get(field, field) for field in FIELDS}
    if "path" not in renamed and "path" not in header:
        chosen["path"] = "image"
    chosen = {field: column for field, column in chosen.items() if column in header}
    if "path" not in chosen and "path" not in renamed:
        problems.append("there is no column 'path' or 'image'")
    if "caption" not in renamed and not {"caption", *CAPTION_PARTS} & chosen.keys():
        problems.append(f"there is no column 'caption' nor any to build it from ({', '.join(CAPTION_PARTS)})")
    if problems:
        raise DatasetError(
            f"the table's columns cannot be used: {'; '.join(problems)}. Rename them, or map them with `columns`",
            code="dataset_columns_invalid",
        )
    return chosen


def _read_csv(file: Path, choose: Choice) -> dict[str, list[str]]:
    """Field to cells. ``utf-8-sig`` because spreadsheets write a byte order mark."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(reader, [])]
            chosen = choose(header)
            rows = [row for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable("CSV in UTF-8") from error
    ragged = [number for number, row in enumerate(rows, start=1) if len(row) != len(header)]
    if ragged:
        raise bad_rows({f"not the header's {len(header)} cells": ragged})
    positions = {field: header.index(column) for field, column in chosen.items()}
    return {field: [row[position].strip() for row in rows] for field, position in positions.items()}


def _read_parquet(file: Path, choose: Choice) -> dict[str, list[str]]:
    """Field to cells; only the chosen columns are read, the others may hold whole images."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise missing_extra("parquet", "reading a Parquet table") from error
    try:
        with parquet.ParquetFile(file) as stream:
            chosen = choose(stream.schema_arrow.names)
            data = stream.read(columns=list(chosen.values()))
    except (OSError, pyarrow.ArrowException) as error:
        raise unreadable("Parquet") from error
    return {field: [_cell(value) for value in data[column].to_pylist()] for field, column in chosen.items()}


def _cell(value: object) -> str:
    """Text of a Parquet value; null and NaN, which pandas writes for an empty cell, are empty."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value).strip()


def _build_samples(cells: dict[str, list[str]], root: Path) -> tuple[Sample, ...]:
    """Samples of all rows. Raises one error that names everything wrong with the rows."""
    if not cells["path"]:
        raise DatasetError("expected at least one row, got a header alone: add pictures", code="dataset_empty")
    samples: list[Sample] = []
    problems: dict[str, list[int]] = defaultdict(list)
    seen: set[PurePosixPath] = set()
    for number, row in enumerate(zip(*cells.values(), strict=True), start=1):
        values = dict(zip(cells, row, strict=True))
        relative = PurePosixPath(values.pop("path"))
        caption = values.pop("caption", "") or " ".join(filter(None, (values.get(part) for part in CAPTION_PARTS)))
        if not relative.name:
            problems["no picture path"].append(number)
        elif _leaves_root(relative):
            problems["a picture path outside the folder (absolute, or with '..')"].append(number)
        elif relative in seen:
            problems["a picture that an earlier row has"].append(number)
        if not caption:
            problems["no caption, nor parts to build it from"].append(number)
        seen.add(relative)
        samples.append(Sample(path=root / relative, caption=caption, **values))
    if problems:
        raise bad_rows(problems)
    return tuple(samples)


def broken_images(problems: Mapping[Path, InputError]) -> DatasetError:
    """The error for pictures of a table that cannot be read: how many there are, and the first few with their codes."""
    first = sorted((path.name, error.code) for path, error in problems.items())[:_FILES_NAMED]
    named = "; ".join(f"{name}: {code}" for name, code in first)
    return DatasetError(
        f"{len(problems)} pictures cannot be read: {named}: mend them or remove them from the table",
        code="dataset_broken_images",
    )


def _leaves_root(relative: PurePosixPath) -> bool:
    """Whether a path escapes its folder. Read by Windows' rules, which know every separator and drive letters."""
    path = PureWindowsPath(str(relative))
    return bool(path.anchor) or ".." in path.parts


def bad_rows(problems: Mapping[str, Sequence[int]]) -> DatasetError:
    """The error for rows that cannot be used: each problem, with the numbers of its rows."""
    found = "; ".join(f"{what} in {named_rows(numbers)}" for what, numbers in problems.items())
    return DatasetError(
        f"the table's rows cannot be used: {found}. Correct them (row 1 is the first below the header)",
        code="dataset_rows_invalid",
    )


def named_rows(numbers: Sequence[int]) -> str:
    """The first few rows by their numbers, and how many more there are."""
    named = ", ".join(map(str, numbers[:_ROWS_NAMED]))
    more = len(numbers) - _ROWS_NAMED
    return f"row{'s' if len(numbers) > 1 else ''} {named}" + (f" and {more} more" if more > 0 else "")


def unreadable(kind: str) -> DatasetError:
    """The error for a file that is not of its kind."""
    return DatasetError(f"expected {kind}, got a file that is not: write it again", code="dataset_unreadable")
