"""Metadata of images from a CSV or Parquet table with one row per image, matched by path."""

from __future__ import annotations

import datetime
import math
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import DatasetError, InputError
from medimageinsight.files.columns import bad_rows, check_table_file, named_rows, open_parquet, read_columns
from medimageinsight.search.columns import MAX_INTEGER, OWN_COLUMNS, check_column_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from medimageinsight.search.records import ColumnType, Value

PATH_COLUMNS = ("path", "image")
# Integers without leading zeros: a code such as 007 remains text.
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class MetadataTable:
    """Metadata of images; the keys of `rows` and `ids` are absolute paths."""

    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Value]]  # columns without a value are left out
    ids: Mapping[str, str]  # values of the column ``id``, if the table has one

    def row(self, path: str | os.PathLike[str]) -> Mapping[str, Value] | None:
        """Return the values of an image, None if the table has no row for it."""
        return self.rows.get(_absolute(path))

    def id(self, path: str | os.PathLike[str]) -> str | None:
        """Return the id of an image, None if the table has none."""
        return self.ids.get(_absolute(path))

    def require_ids(self, paths: Iterable[str | os.PathLike[str]]) -> list[str]:
        """Return the ids of images.

        Raises:
            InputError: The table has no id for an image (``ids_missing``).
        """
        ids = [self.id(path) for path in paths]
        if missing := ids.count(None):
            raise InputError(
                f"expected the table to have an id for each image, {missing:,} have none: fill the column id",
                code="ids_missing",
            )
        return [item_id for item_id in ids if item_id is not None]


def read_metadata(
    path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    columns: Sequence[str] | None = None,
    types: Mapping[str, ColumnType] | None = None,
) -> MetadataTable:
    """Read metadata from a ``.csv`` (UTF-8, comma) or ``.parquet`` file.

    The column ``path`` (or ``image``) is required, and relative to ``root``. Characters other than letters, digits and
    _ in column names become _. A column of a CSV file is boolean (true, false), integer or float if all its cells are,
    else string; an empty cell has no value. Dates and times become text.

    Args:
        path: The file.
        root: The folder that image paths are relative to; the file's own when not given.
        columns: The columns to read; all of a type that a store can hold when not given.
        types: Required column types: those of the store that the rows are added to.

    Raises:
        DatasetError: The file cannot be read, has no column ``path``, an image twice, or not the requested columns.
        InputError: ``metadata_type_conflict`` for a cell that is not of its column's type.
        MissingExtraError: Parquet without pyarrow.
    """
    file = Path(path)
    kind = check_table_file(file)
    cells: dict[str, list[Any]] = (
        read_columns(file, lambda header: dict(zip(_names(header), header, strict=True)))
        if kind == ".csv"
        else _read_parquet(file, columns)
    )
    paths = _pop_paths(cells, Path(root) if root is not None else file.parent)
    ids = cells.pop("id", [None] * len(paths))
    convert = _convert_csv if kind == ".csv" else _convert_parquet
    typed = {name: convert(name, cells[name], (types or {}).get(name)) for name in _choose(cells, columns)}
    return MetadataTable(
        columns=tuple(typed),
        rows={
            image: {name: values[index] for name, values in typed.items() if values[index] is not None}
            for index, image in enumerate(paths)
        },
        ids={image: str(item_id) for image, item_id in zip(paths, ids, strict=True) if item_id not in (None, "")},
    )


def _read_parquet(file: Path, wanted: Sequence[str] | None) -> dict[str, list[Any]]:
    """Return column to values. Columns of other types, such as whole images, are not read."""
    with open_parquet(file) as table:
        schema = table.schema_arrow
        chosen = [
            (field.name, name)
            for field, name in zip(schema, _names(schema.names), strict=True)
            if _is_scalar(field.type) and (wanted is None or name in (*wanted, *PATH_COLUMNS, "id"))
        ]
        data = table.read(columns=[original for original, _ in chosen])
        return {name: [_plain(value) for value in data[original].to_pylist()] for original, name in chosen}


def _names(header: Iterable[str]) -> list[str]:
    names = [re.sub(r"\W+", "_", name.strip()).strip("_") for name in header]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DatasetError(
            f"the table's columns cannot be used: {', '.join(map(repr, repeated))} comes twice "
            "(other characters than letters and digits count as _): rename one",
            code="dataset_columns_invalid",
        )
    return names


def _pop_paths(cells: dict[str, list[Any]], root: Path) -> list[str]:
    """Remove the column of paths from `cells` and return the absolute path of each row's image."""
    column = next((name for name in PATH_COLUMNS if name in cells), None)
    if column is None:
        raise DatasetError(
            "the table's columns cannot be used: there is no column 'path' or 'image'", code="dataset_columns_invalid"
        )
    given = cells.pop(column)
    if empty := [number for number, path in enumerate(given, start=1) if not path]:
        raise bad_rows({"no image path": empty})
    paths = [_absolute(root / str(path)) for path in given]
    first: dict[str, int] = {}
    if repeated := [number for number, path in enumerate(paths, start=1) if first.setdefault(path, number) != number]:
        raise bad_rows({"an image that an earlier row has": repeated})
    return paths


def _choose(cells: Mapping[str, list[Any]], wanted: Sequence[str] | None) -> list[str]:
    missing = [name for name in wanted or () if name not in cells]
    if missing:
        raise DatasetError(
            f"expected the table to have the columns {', '.join(map(repr, missing))}, it has none of these names with "
            "text, numbers or booleans: check their spelling",
            code="dataset_columns_invalid",
        )
    chosen = [name for name in (cells if wanted is None else dict.fromkeys(wanted)) if name not in OWN_COLUMNS]
    for name in chosen:
        check_column_name(name)
    return chosen


def _convert_csv(name: str, cells: Sequence[str], wanted: ColumnType | None) -> list[Value]:
    """Return the values of a CSV column, of the wanted type or of the narrowest type that fits all cells."""
    kinds = [kind for kind, read in _READERS.items() if all(read(cell) is not None for cell in cells if cell)]
    kind = wanted or (kinds[0] if any(cells) else "string")
    values = [_READERS[kind](cell) if cell else None for cell in cells]
    wrong = [number for number, cell in enumerate(cells, 1) if cell and values[number - 1] is None]
    if wrong:
        raise _conflict(name, kind, wrong)
    return values


def _boolean(cell: str) -> bool | None:
    return {"true": True, "false": False}.get(cell.lower())


def _integer(cell: str) -> int | None:
    if not _INTEGER.fullmatch(cell) or len(cell) > 20:
        return None
    value = int(cell)
    return value if abs(value) <= MAX_INTEGER else None


def _float(cell: str) -> float | None:
    if not _FLOAT.fullmatch(cell):
        return None
    value = float(cell)
    return value if math.isfinite(value) else None


# Readers of a CSV cell, narrowest type first; None for a cell of another type.
_READERS: dict[ColumnType, Callable[[str], Value]] = {
    "boolean": _boolean,
    "integer": _integer,
    "float": _float,
    "string": str,
}


def _convert_parquet(name: str, values: list[Value], wanted: ColumnType | None) -> list[Value]:
    """Return the values of a Parquet column; integers of a string column become text."""
    if wanted != "string":
        return values
    if wrong := [number for number, value in enumerate(values, 1) if isinstance(value, bool | float)]:
        raise _conflict(name, wanted, wrong)
    return [None if value is None else str(value) for value in values]


def _is_scalar(kind: Any) -> bool:  # noqa: ANN401 - pyarrow has no types
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    names = "string large_string string_view integer floating boolean date timestamp null"
    return any(getattr(types, f"is_{name}")(kind) for name in names.split())


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime.date) else value


def _absolute(path: str | os.PathLike[str]) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - `resolve` would follow links, but two links are two images


def _conflict(name: str, kind: ColumnType, numbers: Sequence[int]) -> InputError:
    return InputError(
        f"expected the metadata column {name} to be {kind} as in the store, got a value of another type in "
        f"{named_rows(numbers)}: convert the values or rename the column",
        code="metadata_type_conflict",
    )
