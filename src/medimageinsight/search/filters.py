r"""Filter expressions of ``where``: the language, its limits, and the checked tree that each store compiles.

    modality = 'x-ray' and age >= 40 and not (site in ('A', 'B')) and label like 'pneu%' and finding is null

    or: and {"or" and}                       and: not {"and" not}
    not: "not" not | "(" or ")" | test
    test: column ("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=") value
        | column ["not"] "in" "(" value {"," value} ")"
        | column ["not"] "like" string       column "is" ["not"] "null"

A column is a name, or any text in double quotes. A value is a string in single quotes (a quote within is doubled), a
number, true or false. In a pattern ``%`` matches any text, ``_`` any character, and ``\`` escapes the next character.
As in SQL, a test of a column without a value is neither true nor false, so ``not`` does not match it; ``is null`` does.

Text of an expression only ever becomes a value of the tree: columns are looked up, operators come from a fixed list.
`filter_parser` reads an expression into a tree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from medimageinsight.search.columns import MAX_INTEGER

if TYPE_CHECKING:
    from medimageinsight.search.records import ColumnType, Value

MAX_LENGTH = 20_000  # characters
MAX_DEPTH = 16  # nested parentheses and nots; the stores' own parsers are recursive too
MAX_TESTS = 100

Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class And:
    """All parts hold."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """At least one part holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Filter


@dataclass(frozen=True)
class Compare:
    """A column compares to a value of its own type."""

    column: str
    operator: Operator
    value: str | int | float | bool


@dataclass(frozen=True)
class In:
    """A column's value is one of several of its own type."""

    column: str
    values: tuple[str | int | float | bool, ...]


@dataclass(frozen=True)
class Like:
    r"""A string column matches a pattern, in which ``\`` precedes ``%``, ``_`` and ``\`` only."""

    column: str
    pattern: str


@dataclass(frozen=True)
class IsNull:
    """A column has no value."""

    column: str


Filter: TypeAlias = And | Or | Not | Compare | In | Like | IsNull


def convert_value(value: Value, kind: ColumnType) -> str | int | float | bool | None:  # noqa: PLR0911 - one per type
    """Return a value as a column of this type holds it, None where it cannot: a float column takes integers."""
    if isinstance(value, bool) or kind == "boolean":
        return value if isinstance(value, bool) and kind == "boolean" else None
    if isinstance(value, str) or kind == "string":
        return value if isinstance(value, str) and kind == "string" else None
    if value is None:
        return None
    if kind == "float":
        try:
            number = float(value)
        except OverflowError:  # of an integer
            return None
        return number if math.isfinite(number) else None
    if isinstance(value, float):
        if not value.is_integer():  # nor is infinity
            return None
        value = int(value)
    return value if abs(value) <= MAX_INTEGER else None


def compare_with_fraction(column: str, operator: Operator, number: float) -> Compare:
    """Return ``column < number`` or another inequality of an integer column, with an integer for the fraction.

    No integer is between a fraction and the next integer, so that both comparisons are equivalent.
    """
    if operator.startswith(">"):
        return Compare(column, ">=", math.ceil(number))
    return Compare(column, "<=", math.floor(number))


def normalize_pattern(pattern: str) -> str | None:
    r"""Return the pattern with ``\`` only before ``%``, ``_`` and ``\``; stores disagree on other escapes.

    None for a pattern that ends with an unfinished escape.
    """
    parts, escaped = [], False
    for character in pattern:
        if escaped:
            parts.append(f"\\{character}" if character in "%_\\" else character)
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            parts.append(character)
    return None if escaped else "".join(parts)
