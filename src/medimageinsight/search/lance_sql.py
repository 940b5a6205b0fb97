"""Filters as SQL text for LanceDB, with quoted names and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.search.filters import And, Compare, In, IsNull, Like, Not, Or

if TYPE_CHECKING:
    from medimageinsight.search.filters import Filter


def to_sql(condition: Filter, *, negated: bool = False) -> str:
    """Return the condition, or its negation, in LanceDB's SQL.

    A "not" is pushed down to the tests, which then require a value in their column. LanceDB itself
    evaluates the negation of mutually exclusive tests as true for rows without a value too: it simplifies
    ``x IN (1) AND x IN (2)`` to false.
    """
    match condition:
        case And(parts) | Or(parts):
            word = " AND " if isinstance(condition, And) != negated else " OR "
            return f"({word.join(to_sql(part, negated=negated) for part in parts)})"
        case Not(part):
            return to_sql(part, negated=not negated)
        case IsNull(column):
            return f"({quote_name(column)} IS {'NOT ' * negated}NULL)"
    name = quote_name(condition.column)
    return f"({name} IS NOT NULL AND NOT {_test(condition)})" if negated else _test(condition)


def _test(condition: Compare | In | Like) -> str:
    name = quote_name(condition.column)
    match condition:
        case Compare(_, operator, value):
            return f"({name} {operator} {quote(value)})"
        case In(_, values):
            return f"({name} IN ({', '.join(map(quote, values))}))"
        case Like(_, pattern):
            return f"({name} LIKE {quote(pattern)})"


def quote_name(name: str) -> str:
    """Quote a column's name. Names are Unicode identifiers (`columns.check_column_name`), without a backtick."""
    return f"`{name}`"


def quote(value: str | int | float | bool) -> str:
    """Return a literal. A quote is doubled; a backslash has no meaning in a string of this SQL."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)
