"""Columns of delimited and Parquet tables: the one reader of every table of images."""

from __future__ import annotations

import decimal
import math
import re
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.errors import DatasetError, missing_extra
from medimageinsight.files.delimited import logger, read_delimited
from medimageinsight.files.table_errors import bad_columns, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    # Maps a table's header to the columns to read: name of the caller's choice to column.
    ChooseColumns: TypeAlias = Callable[[Sequence[str]], Mapping[str, str]]

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
# Row numbers that pandas writes as a column, and their names when it has read and written them again.
_ROW_NUMBERS = re.compile(r"(?:Unnamed: \d+|__index_level_\d+__)?")
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d+(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+)")


def check_table_file(file: Path) -> str:
    """Return the suffix of a table's file, one of `TABLE_SUFFIXES`.

    Raises:
        DatasetError: No such file (``dataset_not_found``), or another suffix (``dataset_format_unknown``).
    """
    if not file.is_file():
        raise DatasetError("expected a table file, found none: check the path", code="dataset_not_found")
    suffix = file.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise DatasetError(
            f"expected a table ({', '.join(TABLE_SUFFIXES)}), got {suffix or 'a name without ending'}: convert it",
            code="dataset_format_unknown",
        )
    return suffix


def find_column(header: Iterable[str], name: str) -> str | None:
    """Return the column with a name, else the only one that differs by case, spaces or punctuation, else None.

        find_column(["Path", "Patient ID"], "patient_id")  # "Patient ID"

    Raises:
        DatasetError: Several columns differ from it so (``dataset_columns_invalid``).
    """
    columns = list(header)
    if name in columns:
        return name
    similar = [column for column in columns if _letters(column) == _letters(name) != ""]
    if len(similar) > 1:
        raise bad_columns(f"{name!r} may be {' or '.join(map(repr, similar))}", "Name the column")
    return similar[0] if similar else None


def read_header(file: Path) -> list[str]:
    """Return the named columns of a table, in order.

    Raises:
        DatasetError: As `read_columns`.
        MissingExtraError: Parquet without pyarrow.
    """
    if check_table_file(file) == ".parquet":
        with open_parquet(file) as table:
            return _named(table.schema_arrow.names)
    return _named(read_delimited(file).header)


def read_columns(file: Path, choose: ChooseColumns) -> dict[str, list[str]]:
    """Read the chosen columns of a delimited or Parquet file as text without surrounding spaces.

        read_columns(Path("scans.csv"), lambda header: {"caption": "report"})  # {"caption": ["normal", ...]}

    ``choose`` returns a name for each column to read; it may raise. Columns without a name, as pandas writes row
    numbers, are not in the header. Separator and encoding are detected, see `read_delimited`. The other columns of a
    Parquet file are not read: they may contain whole images. Null and NaN are ''; empty rows are skipped.

    Raises:
        DatasetError: No such file, another format, not readable as such (``dataset_unreadable``), or a row whose
            length is not the header's (``dataset_rows_invalid``).
        MissingExtraError: Parquet without pyarrow.
    """
    if check_table_file(file) == ".parquet":
        values = _read_parquet(file, choose)
        return {name: [_as_text(value) for value in column] for name, column in values.items()}
    cells, _ = _read_delimited(file, choose)
    return cells


def read_values(file: Path, choose: ChooseColumns) -> dict[str, list[Any]]:
    """Read the chosen columns as `read_columns` does, with the types of a Parquet file, and decimal points.

    A column of numbers with a decimal comma, as in ``12,5``, gets a point where commas do not separate the columns.
    Decimals of a Parquet file become floats, dates and times ISO 8601 text. Columns of other types, such as bytes and
    lists, are not in the header.

    Raises:
        DatasetError: As `read_columns`.
        MissingExtraError: Parquet without pyarrow.
    """
    if check_table_file(file) == ".parquet":
        return {
            name: [_plain(value) for value in column]
            for name, column in _read_parquet(file, choose, only_scalars=True).items()
        }
    cells, separator = _read_delimited(file, choose)
    return cells if separator == "," else {name: _with_decimal_points(column) for name, column in cells.items()}


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
        raise unreadable("Parquet", error) from error


def _named(header: Iterable[str]) -> list[str]:
    return [name for name in header if not _ROW_NUMBERS.fullmatch(name)]


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _read_delimited(file: Path, choose: ChooseColumns) -> tuple[dict[str, list[str]], str]:
    """Return the chosen columns and the separator."""
    text = read_delimited(file)
    chosen = choose(_named(text.header))
    unnamed = [
        index for index, name in enumerate(text.header) if index and not name and any(row[index] for row in text.rows)
    ]
    if unnamed:
        logger.warning("%d columns of the table have no name and are not read", len(unnamed))
    indices = {name: text.header.index(column) for name, column in chosen.items()}
    return {name: [row[index] for row in text.rows] for name, index in indices.items()}, text.separator


def _read_parquet(file: Path, choose: ChooseColumns, *, only_scalars: bool = False) -> dict[str, list[Any]]:
    with open_parquet(file) as table:
        fields = [field for field in table.schema_arrow if not only_scalars or _is_scalar(field.type)]
        chosen = choose(_named(field.name for field in fields))
        repeated = [name for name, count in Counter(table.schema_arrow.names).items() if count > 1]
        if clash := [column for column in chosen.values() if column in repeated]:
            raise bad_columns(f"the column {clash[0]!r} occurs twice", "Rename one")
        data = table.read(columns=list(chosen.values()))
        return {name: data[column].to_pylist() for name, column in chosen.items()}


def _is_scalar(kind: Any) -> bool:  # noqa: ANN401 - pyarrow has no types
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    names = "string large_string string_view integer floating boolean decimal date time timestamp null"
    return any(getattr(types, f"is_{name}")(kind) for name in names.split())


def _with_decimal_points(column: list[str]) -> list[str]:
    """Return numbers with a decimal point; a column with any other text, or with whole numbers alone, as it is."""
    filled = [cell for cell in column if cell]
    if not any("," in cell for cell in filled) or not all(map(_DECIMAL_COMMA.fullmatch, filled)):
        return column
    return [cell.replace(".", "").replace(",", ".") if "," in cell else cell for cell in column]


def _as_text(value: object) -> str:
    """Return a Parquet value as text; null and NaN, which pandas writes for an empty cell, are empty."""
    is_empty = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if is_empty else str(value).strip()


def _plain(value: Any) -> object:  # noqa: ANN401 - any value of Parquet
    """Return text, a number, a boolean or None; dates and times as ISO 8601, and NaT and NaN as None."""
    if isinstance(value, decimal.Decimal):
        return float(value)
    if hasattr(value, "isoformat"):
        text = value.isoformat()
        return None if text == "NaT" else text
    return value
