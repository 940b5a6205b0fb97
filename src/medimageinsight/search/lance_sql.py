"""Filters as LanceDB takes them: SQL text, in which names and values are quoted so that they stay names and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.search.filters import And, Compare, In, IsNull, Like, Not, Or

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.search.filters import Filter


def to_sql(condition: Filter) -> str:  # noqa: PLR0911 - one return for each kind
    """The condition in LanceDB's SQL."""
    match condition:
        case And(parts):
            return f"({' AND '.join(map(to_sql, parts))})"
        case Or(parts):
            return f"({' OR '.join(map(to_sql, parts))})"
        case Not(part):
            return f"(NOT {to_sql(part)})"
        case Compare(column, operator, value):
            return f"({quote_name(column)} {operator} {quote(value)})"
        case In(column, values):
            return f"({quote_name(column)} IN ({', '.join(map(quote, values))}))"
        case Like(column, pattern):
            return f"({quote_name(column)} LIKE {quote(pattern)})"
        case IsNull(column):
            return f"({quote_name(column)} IS NULL)"


def ids_in(ids: Sequence[str]) -> str:
    """The condition that an item has one of these ids."""
    return to_sql(In("id", tuple(ids)))


def quote_name(name: str) -> str:
    """A column's name. Names are Unicode identifiers (`columns.check_name`), so none has a backtick."""
    return f"`{name}`"


def quote(value: str | int | float | bool) -> str:
    """A literal. A quote is doubled; a backslash has no meaning in a string of this SQL."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        doubled = value.replace("'", "''")
        return f"'{doubled}'"
    return repr(value)
