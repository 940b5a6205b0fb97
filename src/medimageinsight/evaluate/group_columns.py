"""Columns that say what group a picture's patient or origin belongs to: age, sex, site, device, or any other."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

from medimageinsight.errors import ConfigError, DatasetError
from medimageinsight.files.columns import read_columns, read_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# What is looked for where no column is named, the first that the table has.
KNOWN = {
    "age": ("age", "patient_age", "age_years"),
    "sex": ("sex", "patient_sex", "gender"),
    "site": ("site", "hospital", "institution"),
    "device": ("device", "scanner", "manufacturer"),
}
AGE_BANDS = ((0, 17), (18, 39), (40, 64), (65, 79), (80, 150))  # years, both ends counted; fixed in advance
OF_ONE_PICTURE = ("path", "image", "id", "patient_id", "caption")
UNKNOWN = {"", "nan", "none", "null", "unknown", "n/a", "na", "?"}
MOST_GROUPS = 30
_SEX = {"f": "female", "female": "female", "woman": "female", "m": "male", "male": "male", "man": "male"}
_AGE = re.compile(r"(\d{1,3}(?:\.\d+)?)([YMWD]?)")  # as PS3.5 6.2 writes an age string, or plain years
_IN_A_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}


def read_groups(file: Path, count: int, columns: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """The group of every row of a table's file, '' where it is not known.

    Args:
        file: The table.
        count: Its rows.
        columns: The file's columns to group by; without any, those of `KNOWN` that it has.

    Returns:
        Name of the grouping to ``count`` groups: ages in bands, sexes as female and male, others as they are.

    Raises:
        ConfigError: A column that the file does not have or that has too many values to be a grouping
            (``group_column_unknown``, ``group_column_too_fine``); one of `KNOWN` that was not asked for is left out.
        DatasetError: The file cannot be read, or has changed meanwhile.
        MissingExtraError: Parquet without pyarrow.
    """
    header = read_header(file)
    chosen = {one: one for one in columns} or {
        name: found for name, known in KNOWN.items() if (found := next((one for one in known if one in header), None))
    }
    if missing := [column for column in chosen.values() if column not in header]:
        raise ConfigError(
            f"expected columns of the table to group by, got {', '.join(missing)}: it has {', '.join(header)}",
            code="group_column_unknown",
        )
    if single := [column for column in columns if column in OF_ONE_PICTURE]:
        raise ConfigError(
            f"{', '.join(single)}: expected a column of classes, got one that names pictures or patients: name another",
            code="group_column_too_fine",
        )
    cells = read_columns(file, lambda _: chosen) if chosen else {}
    groups = {name: tuple(group_of(name, cell) for cell in cells[name]) for name in chosen}
    if any(len(values) != count for values in groups.values()):
        raise DatasetError("expected the table that was read, its file has changed: run it again")
    sizes = {name: len(set(values) - {""}) for name, values in groups.items()}
    fine = [name for name, size in sizes.items() if size > MOST_GROUPS]
    for name in fine if columns else ():
        raise ConfigError(
            f"{name}: expected at most {MOST_GROUPS} groups, got {sizes[name]}: name a column of classes",
            code="group_column_too_fine",
        )
    return {name: values for name, values in groups.items() if name not in fine}


def group_of(name: str, cell: str) -> str:
    """The group that a cell of a column of that name stands for; '' where it says nothing."""
    value = cell.strip()
    if value.lower() in UNKNOWN:
        return ""
    if name in KNOWN["age"]:
        return _age_band(value)
    if name in KNOWN["sex"]:
        return _SEX.get(value.lower(), value)
    return value


def sizes(groups: Sequence[str]) -> Mapping[str, int]:
    """How many rows each known group has, the groups sorted by name."""
    counts = Counter(one for one in groups if one)
    return {name: counts[name] for name in sorted(counts, key=_by_number)}


def _age_band(value: str) -> str:
    match = _AGE.fullmatch(value.upper())
    if match is None:
        return ""
    years = math.floor(float(match[1]) / _IN_A_YEAR[match[2]])
    band = next(((low, high) for low, high in AGE_BANDS if low <= years <= high), None)
    if band is None:
        return ""
    return f"{band[0]} and over" if band == AGE_BANDS[-1] else f"{band[0]} to {band[1]}"


def _by_number(name: str) -> tuple[float, str]:
    number = re.match(r"\d+", name)
    return (float(number[0]) if number else math.inf, name)
