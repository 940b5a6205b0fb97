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

from dataclasses import dataclass
from typing import Literal, TypeAlias

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
