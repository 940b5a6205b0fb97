"""Typed columns of metadata: their names, their values, and the types that a store's columns keep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from medimageinsight.search.values import ColumnType, Value

# Every store has these itself, and filters may name them.
OWN_COLUMNS: dict[str, ColumnType] = {"id": "string", "path": "string"}
# What else a result or PostgreSQL has by itself; names of Lance's own begin with _.
_RESERVED = {*OWN_COLUMNS, "embedding", "score", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
MAX_NAME_BYTES = 63  # PostgreSQL cuts a longer identifier
MAX_COLUMNS = 500
LARGEST_INTEGER = 2**63 - 1


def typed_columns(metadata: Sequence[Mapping[str, Any]]) -> tuple[dict[str, ColumnType], dict[str, list[Value]]]:
    """Column to type, and column to one value for each item, None where it has none.

    Integers beside floats become floats. A column without any value is left out: it has no type yet.

    Raises:
        InputError: ``metadata_type_conflict`` for values of several types in one column, ``metadata_value_invalid`` for
            a value that no store can hold, ``metadata_column_invalid`` for a column's name.
    """
    names = dict.fromkeys(name for one in metadata for name in one)
    types: dict[str, ColumnType] = {}
    values: dict[str, list[Value]] = {}
    for name in names:
        check_name(name)
        cells = [_plain(name, one.get(name)) for one in metadata]
        kind = _common_type(name, cells)
        if kind is not None:
            types[name] = kind
            values[name] = converted(cells, kind)
    return types, values


def new_columns(stored: Mapping[str, ColumnType], given: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
    """The given columns that a store does not have yet.

    Raises:
        InputError: ``metadata_type_conflict`` where a stored column has another type (an integer fits a float column),
            ``metadata_column_invalid`` for too many columns.
    """
    for name, kind in given.items():
        if name in stored and stored[name] != kind and (stored[name], kind) != ("float", "integer"):
            raise _conflict(name, stored[name], kind)
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


def converted(cells: Iterable[Value], kind: ColumnType) -> list[Value]:
    """The cells as a column of this type has them: an integer in a float column is a float."""
    if kind != "float":
        return list(cells)
    return [None if cell is None else float(cell) for cell in cells]


def check_name(name: object) -> None:
    """Refuse a name that not every store can have.

    Raises:
        InputError: ``metadata_column_invalid``.
    """
    shown = repr(name) if isinstance(name, str) and name.isprintable() and len(name) <= MAX_NAME_BYTES else "another"
    if not isinstance(name, str) or not name.isidentifier() or len(name.encode()) > MAX_NAME_BYTES:
        raise InputError(
            f"expected a metadata column of letters, digits and _ in at most {MAX_NAME_BYTES} bytes, got {shown}: "
            "rename it",
            code="metadata_column_invalid",
        )
    if name.lower() in _RESERVED or name.startswith("_"):
        raise InputError(
            f"expected a metadata column, got {shown}, which is kept for the store itself: rename it",
            code="metadata_column_invalid",
        )


def check_text(what: str, text: object, code: str) -> str:
    """A text that every store can hold.

    Raises:
        InputError: It is not a text, or has a NUL or undecodable character; with the given code.
    """
    if not isinstance(text, str):
        raise InputError(f"expected {what} to be a text, got {type(text).__name__}", code=code)
    if "\0" in text or not _encodes(text):
        raise InputError(
            f"expected {what} to be Unicode text, got one with a NUL or undecodable character: rename it", code=code
        )
    return text


def _plain(name: str, value: object) -> Value:
    """A value as Python's own type; NaN, which pandas has for an empty cell, is None."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return check_text(f"a value of {name}", value, "metadata_value_invalid")
    if isinstance(value, bool):
        return value
    if (isinstance(value, int) and abs(value) <= LARGEST_INTEGER) or (
        isinstance(value, float) and math.isfinite(value)
    ):
        return value
    got = "a number out of range" if isinstance(value, int | float) else type(value).__name__
    raise InputError(
        f"expected the metadata {name} to be text, integers of 63 bits, finite numbers or booleans, got {got}: "
        "convert it or leave it out",
        code="metadata_value_invalid",
    )


_TYPES: dict[type, ColumnType] = {str: "string", int: "integer", float: "float", bool: "boolean"}


def _common_type(name: str, cells: Sequence[Value]) -> ColumnType | None:
    found = {_TYPES[type(cell)] for cell in cells if cell is not None}
    if found == {"integer", "float"}:
        return "float"
    if len(found) > 1:
        raise _conflict(name, *sorted(found)[:2])
    return next(iter(found), None)


def _encodes(text: str) -> bool:
    return not any("\ud800" <= one <= "\udfff" for one in text)


def _conflict(name: str, expected: ColumnType, got: ColumnType) -> InputError:
    return InputError(
        f"expected the metadata column {name} to be {expected}, got {got}: convert the values or rename the column",
        code="metadata_type_conflict",
    )
