"""Tables of images that may have several labels: one column for each label, or one cell with a separator."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import ConfigError, DatasetError
from medimageinsight.evaluate.group_columns import KNOWN
from medimageinsight.files.columns import find_column, read_columns, read_header
from medimageinsight.files.table_errors import bad_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medimageinsight.metrics.scores import Flags, Integers

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1
UNCERTAIN = ("-1", "u", "uncertain", "?")
AUTO = "auto"  # instead of names of columns
SEPARATED_COLUMNS = ("label", "labels", "finding_labels", "findings")  # the first that a table has
_POSITIVE_CELLS = {"1", "true", "t", "yes", "y", "positive", "pos", "present"}
_NEGATIVE_CELLS = {"0", "", "false", "f", "no", "n", "negative", "neg", "absent"}
_NO_LABEL = {"", "no finding", "no findings", "none", "nan"}  # cells and items that stand for no label
# Columns that are not labels, whatever their values.
_OTHER_COLUMNS = (
    "path",
    "image",
    "split",
    "id",
    "patient_id",
    "fold",
    *(name for names in KNOWN.values() for name in names),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelTable:
    """Labels that do not exclude each other.

    Attributes:
        names: The K labels.
        values: (N, K) int8 for the images of a table in order: 1 has the label, 0 has it not, -1 is ignored.
    """

    names: tuple[str, ...]
    values: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def positives(self) -> Flags:
        """Which images have which label: (N, K) bool."""
        flags: Flags = self.values == POSITIVE
        return flags

    @property
    def known(self) -> Flags:
        """Which images have or have not a label, (N, K) bool; the others are neither positive nor negative."""
        flags: Flags = self.values != IGNORED
        return flags

    def take(self, rows: Integers) -> LabelTable:
        """Return the labels of some images, by index."""
        return LabelTable(names=self.names, values=self.values[rows])


def read_label_columns(
    file: Path, count: int, columns: Sequence[str], *, uncertain: Collection[str] = UNCERTAIN
) -> LabelTable:
    """Read one column for each label, of a table's file with ``count`` rows.

        read_label_columns(Path("chexpert.csv"), len(table), ["Edema", "Pleural Effusion"])

    A cell is 1, 0, empty (0) or ``uncertain``, in any case; also yes and no, true and false, and ``1.0``. ``["auto"]``
    are all columns with such cells alone and at least one 1. Names match without regard to case and spaces.

    Raises:
        ConfigError: A column does not exist (``label_column_unknown``), or ``auto`` finds none.
        DatasetError: Cells of another kind (``dataset_rows_invalid``), or the file cannot be read.
        MissingExtraError: The file is Parquet and pyarrow is not installed.
    """
    header = read_header(file)
    unsure = _normalized(uncertain)
    if tuple(columns) == (AUTO,) and find_column(header, AUTO) is None:
        return _find_label_columns(file, header, count, unsure)
    found = {name: find_column(header, name) for name in columns}
    if missing := [name for name, column in found.items() if column is None]:
        raise ConfigError(
            f"expected columns of labels, got {', '.join(missing)}, which the table does not have: it has "
            f"{', '.join(header)}",
            code="label_column_unknown",
        )
    chosen = {column: column for column in found.values() if column is not None}
    cells = _read(file, chosen, count)
    problems: dict[str, list[int]] = defaultdict(list)
    values = np.empty((count, len(chosen)), dtype=np.int8)
    for index, (name, column) in enumerate(cells.items()):
        for row, cell in enumerate(column):
            value = _value_of(cell, unsure)
            if value is None:
                problems[f"a cell of {name!r} that is not 1, 0, empty or uncertain (see --uncertain)"].append(row + 1)
            values[row, index] = IGNORED if value is None else value
    if problems:
        raise bad_rows(problems)
    return LabelTable(names=tuple(cells), values=values)


def read_separated_labels(
    file: Path, count: int, separator: str, *, column: str | None = None, uncertain: Collection[str] = UNCERTAIN
) -> LabelTable:
    """Read one cell with all labels of an image, as ``Edema|Effusion``; see `split_labels`.

    The column is ``label``, ``labels``, ``finding_labels`` or ``findings`` by default.

    Raises:
        ConfigError: There is no such column (``label_column_unknown``).
        DatasetError: No cell has a label (``dataset_labels_missing``), or the file cannot be read.
        MissingExtraError: The file is Parquet and pyarrow is not installed.
    """
    header = read_header(file)
    candidates = SEPARATED_COLUMNS if column is None else (column,)
    found = [name for candidate in candidates if (name := find_column(header, candidate)) is not None]
    if not found:
        raise ConfigError(
            f"expected a column of labels ({', '.join(candidates)}), got none: name it with --label-columns; the table "
            f"has {', '.join(header)}",
            code="label_column_unknown",
        )
    return split_labels(_read(file, {"labels": found[0]}, count)["labels"], separator, uncertain=uncertain)


def split_labels(cells: Sequence[str], separator: str, *, uncertain: Collection[str] = UNCERTAIN) -> LabelTable:
    """Return the labels of cells such as ``Edema|Effusion``.

    An empty cell, "No Finding" and "none" stand for no label. A cell that is ``uncertain`` is ignored for all labels,
    an item that ends with such a text in brackets or with a question mark, ``Edema (uncertain)`` or ``Edema?``, for
    this label.

    Raises:
        DatasetError: No cell has a label (``dataset_labels_missing``).
    """
    unsure = _normalized(uncertain)
    parsed = [
        None if cell.strip() and cell.strip().casefold() in unsure else _items(cell.split(separator), unsure)
        for cell in cells
    ]
    names = tuple(sorted({name for items in parsed if items is not None for name in items}))
    if not names:
        raise DatasetError(
            "expected labels in the cells of the label column, got none: name another column or separator",
            code="dataset_labels_missing",
        )
    numbers = {name: index for index, name in enumerate(names)}
    values = np.full((len(cells), len(names)), NEGATIVE, dtype=np.int8)
    for row, items in enumerate(parsed):
        if items is None:
            values[row] = IGNORED
            continue
        for name, value in items.items():
            values[row, numbers[name]] = value
    return LabelTable(names=names, values=values)


def _items(items: Iterable[str], unsure: Collection[str]) -> Mapping[str, int]:
    """Return the value of each label of one cell."""
    values: dict[str, int] = {}
    for item in map(str.strip, items):
        if item.casefold() in _NO_LABEL:
            continue
        name, bracket, remark = item.removesuffix(")").rpartition("(")
        if item.endswith("?") and "?" in unsure:
            values[item.rstrip("? ")] = IGNORED
        elif bracket and item.endswith(")") and remark.strip().casefold() in unsure:
            values[name.strip()] = IGNORED
        else:
            values[item] = POSITIVE
    values.pop("", None)
    return values


def _find_label_columns(file: Path, header: Sequence[str], count: int, unsure: Collection[str]) -> LabelTable:
    others = {find_column(header, name) for name in _OTHER_COLUMNS}
    cells = _read(file, {name: name for name in header if name not in others}, count)
    columns = {}
    for name, column in cells.items():
        values = [_value_of(cell, unsure) for cell in column]
        if None not in values and POSITIVE in values:
            columns[name] = values
    if not columns:
        raise ConfigError(
            "expected columns with 1, 0, empty and uncertain cells alone, found none: name the columns of labels",
            code="label_column_unknown",
        )
    return LabelTable(names=tuple(columns), values=np.array(list(columns.values()), dtype=np.int8).T)


def _read(file: Path, columns: Mapping[str, str], count: int) -> dict[str, list[str]]:
    cells = read_columns(file, lambda _: columns)
    for column in cells.values():
        if len(column) != count:
            raise DatasetError(f"expected the table's {count} rows, got {len(column)}: its file has changed, run again")
    return cells


def _normalized(uncertain: Collection[str]) -> frozenset[str]:
    return frozenset(text.strip().casefold() for text in uncertain)


def _value_of(cell: str, unsure: Collection[str]) -> int | None:
    """Return the value of a cell; None if it is of no known kind."""
    text = cell.strip().casefold()
    text = text.removesuffix(".0") if text.removesuffix(".0").lstrip("+-").isdigit() else text
    if text in unsure or cell.strip().casefold() in unsure:
        return IGNORED
    if text in _POSITIVE_CELLS:
        return POSITIVE
    return NEGATIVE if text in _NEGATIVE_CELLS or text == "nan" else None
