"""Metadata of images from a table with one row per image, matched by path."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import InputError
from medimageinsight.files.columns import find_column, read_values
from medimageinsight.files.paths import canonical_path, join_table_path
from medimageinsight.files.table_errors import bad_columns, bad_rows
from medimageinsight.search.columns import OWN_COLUMNS, check_column_name, storable_name
from medimageinsight.search.value_types import convert_values

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from medimageinsight.search.records import ColumnType, Value

PATH_COLUMNS = ("path", "image")


@dataclass(frozen=True, kw_only=True)
class MetadataTable:
    """Metadata of images; the keys of `rows` and `ids` are the images' canonical paths."""

    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Value]]  # columns without a value are left out
    ids: Mapping[str, str]  # values of the column ``id``, if the table has one
    types: Mapping[str, ColumnType]  # of the columns that have a value

    def row(self, path: str | os.PathLike[str]) -> Mapping[str, Value] | None:
        """Return the values of an image, None if the table has no row for it."""
        return self.rows.get(canonical_path(path))

    def id(self, path: str | os.PathLike[str]) -> str | None:
        """Return the id of an image, None if the table has none."""
        return self.ids.get(canonical_path(path))

    def count_unmatched(self, paths: Iterable[str | os.PathLike[str]]) -> int:
        """Return the number of rows that belong to none of these images."""
        return len(self.rows.keys() - {canonical_path(path) for path in paths})

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
    stored: Mapping[str, ColumnType] | None = None,
    path_column: str | None = None,
) -> MetadataTable:
    """Read the metadata of images from a table, see `files.columns.read_values`.

        table = read_metadata("images.csv", types={"bmi": "float"}, stored=store.columns)
        index_images(model, store, paths, metadata=[table.row], types=table.types)

    Paths are relative to ``root``, or absolute. Characters other than letters, digits and _ in column names become _.
    A column of a text file is boolean (true, false), integer or float if all its cells are, else string; an empty cell
    has no value. Dates and times become text.

    Args:
        path: The file.
        root: The folder that image paths are relative to; the file's own when not given.
        columns: The columns to read, in any spelling of case and spaces; all that a store can hold when not given.
        types: Required column types.
        stored: The store's column types. A column that does not fit gets a type that holds the values of both, which
            `index_images` gives to the store; a change to text is logged as a warning.
        path_column: The column of paths; ``path`` or ``image`` when not given.

    Raises:
        DatasetError: The file cannot be read, has no column of paths, an image twice with different values, or not the
            requested columns.
        InputError: ``metadata_type_conflict`` for a cell that is not of its column's required type.
        MissingExtraError: Parquet without pyarrow.
    """
    file = Path(path)
    named: dict[str, str] = {}  # by the store's name, including the columns of paths and ids

    def choose(header: Sequence[str]) -> Mapping[str, str]:
        named.update(_name_columns(header, path_column, stored or {}))
        return named if columns is None else _select(named, columns)

    cells = read_values(file, choose)
    required = {name: kind for column, kind in (types or {}).items() for name in [_find(named, column)] if name}
    paths = _pop_paths(cells, Path(root) if root is not None else file.parent)
    ids = cells.pop("id", [None] * len(paths))
    typed = {}
    is_text = file.suffix.lower() != ".parquet"
    found: dict[str, ColumnType] = {}
    for name, column in cells.items():
        check_column_name(name)
        typed[name], kind = convert_values(
            name, column, required=required.get(name), stored=(stored or {}).get(name), is_text=is_text
        )
        if kind is not None:
            found[name] = kind
    return MetadataTable(
        columns=tuple(typed),
        rows={
            image: {name: values[index] for name, values in typed.items() if values[index] is not None}
            for index, image in enumerate(paths)
            if image
        },
        ids={image: str(item_id) for image, item_id in zip(paths, ids, strict=True) if item_id not in (None, "")},
        types=found,
    )


def _name_columns(header: Sequence[str], path_column: str | None, stored: Mapping[str, ColumnType]) -> dict[str, str]:
    """Return the store's name of every column with its name in the file; the column of paths is ``path``."""
    names = [path_column] if path_column is not None else PATH_COLUMNS
    image = next((column for name in names if (column := find_column(header, name)) is not None), None)
    if image is None:
        raise bad_columns(
            f"there is no column {' or '.join(map(repr, names))}, they are {', '.join(map(repr, header)) or 'none'}",
            "Name the column of paths (--path-column)",
        )
    spelled = {name.lower(): name for name in (*OWN_COLUMNS, *stored)}
    pairs = []
    for column in header:
        name = column if column.lower() in OWN_COLUMNS else storable_name(column)
        name = "path" if column == image else spelled.get(name.lower(), name)
        if name != "path" or column == image:  # a second column of paths is not read
            pairs.append((name, column))
    counts = Counter(name for name, _ in pairs)
    repeated = [column for name, column in pairs if counts[name] > 1]
    if repeated:
        raise bad_columns(
            f"{', '.join(map(repr, repeated))} have one name in a store (other characters than letters and digits"
            " count as _)",
            "Rename or choose",
        )
    return dict(pairs)


def _find(named: Mapping[str, str], wanted: str) -> str | None:
    """Return the store's name of a column that is given by either name."""
    column = find_column(named.values(), wanted)
    name = find_column(named, wanted)
    return name if column is None else next(name for name, original in named.items() if original == column)


def _select(named: Mapping[str, str], wanted: Sequence[str]) -> dict[str, str]:
    found = {column: _find(named, column) for column in wanted}
    if missing := [column for column, name in found.items() if name is None]:
        raise bad_columns(
            f"expected {', '.join(map(repr, missing))}, the table has no such columns with text, numbers or booleans",
            "Check their spelling",
        )
    chosen = dict.fromkeys(["path", "id", *(name for name in found.values() if name is not None)])
    return {name: named[name] for name in chosen if name in named}


def _pop_paths(cells: dict[str, list[Any]], root: Path) -> list[str]:
    """Remove the column of paths from `cells`; return the canonical path of each row, '' for a repetition of a row."""
    given = cells.pop("path")
    if empty := [number for number, path in enumerate(given, start=1) if not path]:
        raise bad_rows({"no image path": empty})
    paths = [canonical_path(join_table_path(root, str(path))) for path in given]
    first: dict[str, int] = {}
    repeated = [index for index, path in enumerate(paths) if first.setdefault(path, index) != index]
    columns = list(cells.values())
    different = [
        index + 1 for index in repeated if any(column[index] != column[first[paths[index]]] for column in columns)
    ]
    if different:
        raise bad_rows({"an image that an earlier row has, with other values": different})
    for index in repeated:
        paths[index] = ""
    return paths
