"""Filters as SQL for PostgreSQL: names as identifiers, values as parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from medimageinsight.search.filters import And, Compare, In, IsNull, Like, Not, Or

if TYPE_CHECKING:
    from medimageinsight.search.filters import Filter, Operator

_OPERATORS: dict[Operator, LiteralString] = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def to_sql(condition: Filter) -> tuple[sql.Composed, list[object]]:
    """Return the condition in SQL, and the values of its placeholders in order."""
    values: list[object] = []
    return _compose(condition, values), values


def _compose(condition: Filter, values: list[object]) -> sql.Composed:  # noqa: PLR0911 - one return per kind
    match condition:
        case And(parts):
            return _in_parentheses(sql.SQL(" AND ").join(_compose(part, values) for part in parts))
        case Or(parts):
            return _in_parentheses(sql.SQL(" OR ").join(_compose(part, values) for part in parts))
        case Not(part):
            return _in_parentheses(sql.SQL("NOT ") + _compose(part, values))
        case Compare(column, operator, value):
            values.append(value)
            return _test(column, _OPERATORS[operator], "%s")
        case In(column, options):
            values.append(list(options))
            return _test(column, "=", "ANY(%s)")
        case Like(column, pattern):
            values.append(pattern)
            return _test(column, "LIKE", "%s")  # \ is the escape character by default
        case IsNull(column):
            return _test(column, "IS", "NULL")


def _test(column: str, operator: LiteralString, value: LiteralString) -> sql.Composed:
    return sql.SQL("({} " + operator + " " + value + ")").format(sql.Identifier(column))


def _in_parentheses(expression: sql.Composable) -> sql.Composed:
    return sql.SQL("({})").format(expression)
