"""Table columns that group images by patient or origin: age, sex, site, device, or any other column."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from medimageinsight.errors import ConfigError, DatasetError
from medimageinsight.files.columns import find_column, read_columns, read_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Groupings used if no column is named: the first of these columns that the table has.
KNOWN = {
    "age": ("age", "patient_age", "age_years"),
    "sex": ("sex", "patient_sex", "gender", "patient_gender"),
    "site": ("site", "hospital", "institution"),
    "device": ("device", "scanner", "manufacturer"),
}
AGE_BANDS = ((0, 17), (18, 39), (40, 64), (65, 79), (80, 150))  # years, both ends included; fixed in advance
IMAGE_COLUMNS = ("path", "image", "id", "patient_id", "caption")  # identify images or patients
UNKNOWN = {"", "nan", "none", "null", "unknown", "n/a", "na", "?"}
MAX_GROUPS = 30
_SEX = {"f": "female", "female": "female", "woman": "female", "m": "male", "male": "male", "man": "male"}
# An age string (PS3.5 6.2), plain years, or an open range as in files without exact old ages: 90+, >89, <18.
_AGE = re.compile(
    r"([<>≤≥]?=?)\s*(\d{1,3}(?:\.\d+)?)\s*([YMWD]?)(?:RS?|O|EARS?(?: OLD)?)?\s*(\+|AND (?:OVER|OLDER)|OR OLDER)?"
)
_UNITS_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}


def read_groups(file: Path, count: int, columns: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return, by name of the grouping, the group of every row of a table's file, which has ``count`` rows.

    Ages are in bands, sexes female and male, other values unchanged, unknown values ''. Without ``columns``, those of
    `KNOWN` that the file has are read. Names of columns match without regard to case, spaces and punctuation.

    Raises:
        ConfigError: A named column does not exist or has too many values (``group_column_unknown``,
            ``group_column_too_fine``); columns of `KNOWN` with too many values are left out.
        DatasetError: The file cannot be read, its number of rows has changed, or a name fits several columns.
        MissingExtraError: The file is Parquet and pyarrow is not installed.
    """
    header = read_header(file)
    found = {column: find_column(header, column) for column in columns}
    if missing := [column for column, known in found.items() if known is None]:
        raise ConfigError(
            f"expected columns of the table to group by, got {', '.join(missing)}: it has {', '.join(header)}",
            code="group_column_unknown",
        )
    identifying = [column for column in columns if any(find_column([column], name) for name in IMAGE_COLUMNS)]
    if identifying:
        raise ConfigError(
            f"{', '.join(identifying)}: expected a column of classes, got one that names images or patients: "
            "name another",
            code="group_column_too_fine",
        )
    chosen = {column: known for column, known in found.items() if known is not None} or _known_columns(header)
    cells = read_columns(file, lambda _: chosen) if chosen else {}
    groups = {name: tuple(group_of(name, cell) for cell in cells[name]) for name in chosen}
    for values in groups.values():
        if len(values) != count:
            raise DatasetError(f"expected the table's {count} rows, got {len(values)}: its file has changed, run again")
    sizes = {name: len(set(values) - {""}) for name, values in groups.items()}
    too_fine = [name for name, size in sizes.items() if size > MAX_GROUPS]
    if too_fine and columns:
        raise ConfigError(
            f"{too_fine[0]}: expected at most {MAX_GROUPS} groups, got {sizes[too_fine[0]]}: name a column of classes",
            code="group_column_too_fine",
        )
    return {name: values for name, values in groups.items() if name not in too_fine}


def _known_columns(header: Sequence[str]) -> dict[str, str]:
    """Return the column of each grouping of `KNOWN` that a table has."""
    chosen = {}
    for grouping, names in KNOWN.items():
        present = [column for name in names if (column := find_column(header, name)) is not None]
        if present:
            chosen[grouping] = present[0]
    return chosen


def group_of(name: str, cell: str) -> str:
    """Return the group of a cell in a column of that name; '' if unknown."""
    value = cell.strip()
    if value.lower() in UNKNOWN:
        return ""
    if find_column(KNOWN["age"], name):
        return _age_band(value)
    if find_column(KNOWN["sex"], name):
        return _SEX.get(value.lower(), value)
    return value


def sorted_groups(groups: Sequence[str]) -> list[str]:
    """Return the distinct known groups, sorted by their leading number, then by name."""
    return sorted(set(groups) - {""}, key=_sort_key)


def _age_band(value: str) -> str:
    match = _AGE.fullmatch(value.upper())
    if match is None:
        return ""
    relation, number, unit, suffix = match.groups()
    years = math.floor(float(number) / _UNITS_PER_YEAR[unit])
    youngest, oldest = years, years
    if relation.startswith(("<", "≤")):
        youngest, oldest = 0, years - (relation == "<")
    elif relation or suffix:
        youngest, oldest = years + (relation == ">"), AGE_BANDS[-1][1]
    band = next(((low, high) for low, high in AGE_BANDS if low <= youngest <= oldest <= high), None)
    if band is None:
        return ""  # of no band, or of several
    return f"{band[0]} and over" if band == AGE_BANDS[-1] else f"{band[0]} to {band[1]}"


def _sort_key(name: str) -> tuple[float, str]:
    number = re.match(r"\d+", name)
    return (float(number[0]) if number else math.inf, name)
