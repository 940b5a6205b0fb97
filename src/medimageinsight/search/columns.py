"""Metadata columns of a store: their names, types and values."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from medimageinsight.search.records import ColumnType, Value

# Columns of every store, which filters may name.
OWN_COLUMNS: dict[str, ColumnType] = {"id": "string", "path": "string"}
# Columns of every table and those of PostgreSQL itself; those of Lance start with _.
_RESERVED = {*OWN_COLUMNS, "embedding", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
MAX_NAME_BYTES = 63  # PostgreSQL cuts longer identifiers
MAX_COLUMNS = 500
MAX_INTEGER = 2**63 - 1  # its negative is the smallest: not every store reads -2**63 as a literal

_TYPES: dict[type, ColumnType] = {str: "string", int: "integer", float: "float", bool: "boolean"}


def infer_columns(metadata: Sequence[Mapping[str, Any]]) -> tuple[dict[str, ColumnType], dict[str, list[Value]]]:
    """Return column to type, and column to one value per item, None for a missing value.

    Integers mixed with floats become floats. A column without any value is left out: it has no type yet.

    Raises:
        InputError: ``metadata_type_conflict`` for values of several types in one column, ``metadata_value_invalid`` for
            a value that no store can hold, ``metadata_column_invalid`` for a column's name.
    """
    types: dict[str, ColumnType] = {}
    values: dict[str, list[Value]] = {}
    for name in dict.fromkeys(name for row in metadata for name in row):
        check_column_name(name)
        column = [_to_plain(name, row.get(name)) for row in metadata]
        kinds = sorted({_TYPES[type(value)] for value in column if value is not None})
        if kinds == ["float", "integer"]:
            kinds = ["float"]
        if len(kinds) > 1:
            raise _type_conflict(name, kinds[0], kinds[1])
        if kinds:
            types[name] = kinds[0]
            values[name] = convert_column(column, kinds[0])
    return types, values


def find_new_columns(stored: Mapping[str, ColumnType], given: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
    """Return the given columns that a store does not have yet.

    Raises:
        InputError: ``metadata_type_conflict`` where a stored column has another type (an integer fits a float column),
            ``metadata_column_invalid`` for too many columns, or for names that differ only by case.
    """
    for name, kind in given.items():
        if name in stored and stored[name] != kind and (stored[name], kind) != ("float", "integer"):
            raise _type_conflict(name, stored[name], kind)
    new = {name: kind for name, kind in given.items() if name not in stored}
    by_lower = {name.lower(): name for name in stored}
    for name in new:
        if by_lower.setdefault(name.lower(), name) != name:
            raise InputError(
                f"expected metadata columns that differ by more than case, got {by_lower[name.lower()]} and {name}: "
                "rename one",
                code="metadata_column_invalid",
            )
    if len(stored) + len(new) > MAX_COLUMNS:
        raise InputError(
            f"expected at most {MAX_COLUMNS} metadata columns, got {len(stored) + len(new)}: leave some out",
            code="metadata_column_invalid",
        )
    return new


def wider_type(first: ColumnType, second: ColumnType) -> ColumnType:
    """Return the narrowest type that holds the values of both: integers fit floats, and text holds everything."""
    if first == second:
        return first
    return "float" if {first, second} == {"integer", "float"} else "string"


def widen_types(stored: Mapping[str, ColumnType], given: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
    """Return the stored columns with types that also hold values of the given types."""
    return {name: wider_type(kind, given.get(name, kind)) for name, kind in stored.items()}


def storable_name(name: str) -> str:
    """Return a column name that every store supports: other characters than letters and digits become ``_``.

    storable_name("Age (years)")  # "Age_years"
    storable_name("2nd read")     # "column_2nd_read"
    """
    stored = re.sub(r"\W+", "_", name.strip()).strip("_")
    return f"column_{stored}" if not stored.isidentifier() or stored.lower() in _RESERVED else stored


def convert_column(values: Iterable[Value], kind: ColumnType) -> list[Value]:
    """Return the values as a column of this type holds them: integers in a float column become floats."""
    if kind != "float":
        return list(values)
    return [None if value is None else float(value) for value in values]


def check_column_name(name: object) -> None:
    """Refuse a column name that not every store supports.

    Raises:
        InputError: ``metadata_column_invalid``.
    """
    if not isinstance(name, str):
        shown = type(name).__name__
    elif len(name) > MAX_NAME_BYTES:
        shown = f"a name of {len(name):,} characters"
    else:
        shown = repr(name) if name.isprintable() else "a name with unprintable characters"
    if not isinstance(name, str) or not name.isidentifier() or len(name.encode()) > MAX_NAME_BYTES:
        raise InputError(
            f"expected a metadata column of letters, digits and _ in at most {MAX_NAME_BYTES} bytes, got {shown}: "
            "rename it",
            code="metadata_column_invalid",
        )
    if name.lower() in _RESERVED or name.startswith("_"):
        raise InputError(
            f"expected a metadata column, got {shown}, which is reserved for the store: rename it",
            code="metadata_column_invalid",
        )


def check_text(what: str, text: object, code: str) -> str:
    """Return a text that every store can hold.

    Raises:
        InputError: It is not a text, or has a NUL or undecodable character; with the given code.
    """
    if not isinstance(text, str):
        raise InputError(f"expected {what} to be a text, got {type(text).__name__}", code=code)
    if "\0" in text or not is_unicode(text):
        raise InputError(
            f"expected {what} to be Unicode text, got a NUL or undecodable character in it: rename it", code=code
        )
    return text


def is_unicode(text: str) -> bool:
    """Return False for a text with half a surrogate pair, which has no encoding."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _to_plain(name: str, value: object) -> Value:
    """Return a value as Python's own type; NaN, which pandas has for an empty cell, becomes None."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return check_text(f"a value of {name}", value, "metadata_value_invalid")
    if isinstance(value, bool):
        return value
    if (isinstance(value, int) and abs(value) <= MAX_INTEGER) or (isinstance(value, float) and math.isfinite(value)):
        return value
    got = "a number out of range" if isinstance(value, int | float) else type(value).__name__
    raise InputError(
        f"expected the metadata {name} to be text, integers of 63 bits, finite numbers or booleans, got {got}: "
        "convert it or leave it out",
        code="metadata_value_invalid",
    )


def _type_conflict(name: str, expected: ColumnType, got: ColumnType) -> InputError:
    return InputError(
        f"expected the metadata column {name} to be {expected}, got {got}: convert the values or rename the column",
        code="metadata_type_conflict",
    )
