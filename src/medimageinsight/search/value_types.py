"""Types of metadata values: the narrowest type of a column of text, and conversion to a wider type."""

from __future__ import annotations

import functools
import logging
import math
import re
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import InputError
from medimageinsight.files.table_errors import named_rows
from medimageinsight.search.columns import MAX_INTEGER, wider_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medimageinsight.search.records import ColumnType, Value

# Integers without leading zeros: a code such as 007 remains text.
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MISSING = {"na", "n/a", "#n/a", "nan", "null", "none"}  # written by R, pandas and spreadsheets for no value

logger = logging.getLogger("medimageinsight.files")


def convert_values(
    name: str, cells: Sequence[Any], *, required: ColumnType | None, stored: ColumnType | None, is_text: bool
) -> tuple[list[Value], ColumnType | None]:
    """Return a column's values in one type, and the type; None for a column without values.

    The type is the required one, else that of the values, and for the cells of a text file (``is_text``) the narrowest
    that fits them all; and at least as wide as the store's.

    Raises:
        InputError: A cell is not of the required type (``metadata_type_conflict``).
    """
    values = [None if cell == "" or cell is None or _is_nan(cell) else cell for cell in cells]
    if is_text:
        values = _without_markers(values)
    if all(value is None for value in values):
        return values, None
    own = required or _type_of([value for value in values if value is not None], is_text=is_text)
    kind = own if stored is None else wider_type(stored, own)
    if stored is not None and kind == "string" != stored:
        logger.warning("the metadata column %s changes from %s to string: it has values of another type", name, stored)
    converted = [None if value is None else _READERS[own](_as_text(value)) for value in values]
    if wrong := [
        number for number, value in enumerate(values, 1) if value is not None and converted[number - 1] is None
    ]:
        raise InputError(
            f"expected the metadata column {name} to be {own}, got a value of another type in {named_rows(wrong)}: "
            "convert the values or rename the column",
            code="metadata_type_conflict",
        )
    if kind == "string":  # the text of the file, which may have leading zeros
        return [None if value is None else _as_text(value) for value in values], kind
    return [float(value) if kind == "float" and value is not None else value for value in converted], kind


def _without_markers(values: list[Any]) -> list[Any]:
    """Return a column of numbers or booleans with None for words such as NA; a column of text as it is."""
    filled = [None if value is None or value.casefold() in _MISSING else value for value in values]
    present = [value for value in filled if value is not None]
    return filled if present and _type_of(present, is_text=True) != "string" else values


def _type_of(values: Sequence[Any], *, is_text: bool) -> ColumnType:
    if is_text:
        return next(kind for kind, read in _READERS.items() if all(read(value) is not None for value in values))
    return functools.reduce(wider_type, (_KINDS[type(value)] for value in values))


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


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


# Readers of a cell, narrowest type first; None for a cell of another type.
_READERS: dict[ColumnType, Callable[[str], Value]] = {
    "boolean": _boolean,
    "integer": _integer,
    "float": _float,
    "string": str,
}
_KINDS: dict[type, ColumnType] = {bool: "boolean", int: "integer", float: "float", str: "string"}
