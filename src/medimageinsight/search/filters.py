"""The language of ``where``: a text to a checked tree, which each store compiles in its own way.

    modality = 'x-ray' and age >= 40 and not (site in ('A', 'B')) and label like 'pneu%' and finding is null

    or: and {"or" and}                       and: not {"and" not}
    not: "not" not | "(" or ")" | test
    test: column ("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=") value
        | column ["not"] "in" "(" value {"," value} ")"
        | column ["not"] "like" string       column "is" ["not"] "null"

A column is a name, or any text in double quotes. A value is a string in single quotes (a quote within is doubled), a
number, true or false. In a pattern ``%`` is any text, ``_`` any character, ``\\`` takes the next one as it is. A test
of a column without a value is neither true nor false, as in SQL, so ``not`` does not find it; ``is null`` does.

What a text says is only ever a value of the tree: columns are looked up, operators come from a fixed list.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from medimageinsight.search.filter_parser import Word, describe, invalid, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.errors import InputError
    from medimageinsight.search.values import ColumnType, Value

MAX_LENGTH = 20_000  # characters
MAX_DEPTH = 16  # nested parentheses and nots; the stores' own parsers are recursive too
MAX_TESTS = 100
LARGEST_INTEGER = 2**63 - 1  # its negative is the smallest, as not every store reads one less as a literal

Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">="]
_OPERATORS: dict[str, Operator] = {"=": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


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
    """A column against a value of its own type."""

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
    """A string column fits a pattern, in which ``\\`` comes before ``%``, ``_`` and ``\\`` only."""

    column: str
    pattern: str


@dataclass(frozen=True)
class IsNull:
    """A column has no value."""

    column: str


Filter: TypeAlias = And | Or | Not | Compare | In | Like | IsNull


def parse(text: str, columns: Mapping[str, ColumnType]) -> Filter:
    """The tree of a filter expression.

    Args:
        text: As the module's docstring has it.
        columns: The columns there are, and their types.

    Raises:
        InputError: ``filter_invalid``, with the position of what is wrong, counted from 1.
    """
    if len(text) > MAX_LENGTH:
        raise invalid(f"at most {MAX_LENGTH:,} characters", f"{len(text):,}", MAX_LENGTH)
    return _Parser(split(text), columns).parse()


class _Parser:
    """Recursive descent over the words of one text."""

    def __init__(self, words: list[Word], columns: Mapping[str, ColumnType]) -> None:
        self._words = words
        self._columns = columns
        self._at = 0
        self._tests = 0

    def parse(self) -> Filter:
        tree = self._any(0)
        if self._word.kind != "end":
            raise self._error("'and', 'or' or the end")
        return tree

    @property
    def _word(self) -> Word:
        return self._words[self._at]

    def _next(self) -> Word:
        word = self._word
        self._at += word.kind != "end"
        return word

    def _take(self, text: str) -> bool:
        """Move past a keyword or sign if it is the next word."""
        found = self._word.kind in ("keyword", "sign") and self._word.text == text
        self._at += found
        return found

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise self._error(f"'{text}'")

    def _error(self, expected: str) -> InputError:
        """The error for the next word."""
        return invalid(expected, describe(self._word), self._word.position)

    def _any(self, depth: int) -> Filter:
        parts = [self._all(depth)]
        while self._take("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self, depth: int) -> Filter:
        parts = [self._not(depth)]
        while self._take("and"):
            parts.append(self._not(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _not(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise self._error(f"at most {MAX_DEPTH} parentheses and nots within each other")
        if self._take("not"):
            return Not(self._not(depth + 1))
        if self._take("("):
            tree = self._any(depth + 1)
            self._need(")")
            return tree
        return self._test()

    def _test(self) -> Filter:
        self._tests += 1
        if self._tests > MAX_TESTS:
            raise self._error(f"at most {MAX_TESTS} tests")
        column, kind = self._column()
        if self._take("is"):
            negated = self._take("not")
            self._need("null")
            return _maybe_not(IsNull(column), negated)
        if self._word.kind == "sign" and self._word.text in _OPERATORS:
            if kind == "boolean" and _OPERATORS[self._word.text] not in ("=", "!="):
                raise self._error(f"= or != for the boolean column {column}")
            return self._comparison(column, kind, _OPERATORS[self._next().text])
        negated = self._take("not")
        if self._take("in"):
            return _maybe_not(self._in(column, kind), negated)
        if self._take("like"):
            return _maybe_not(self._like(column, kind), negated)
        raise self._error("'in' or 'like'" if negated else "an operator (=, !=, <, <=, >, >=, in, like, is)")

    def _column(self) -> tuple[str, ColumnType]:
        word = self._word
        if word.kind != "name":
            raise self._error("a column")
        if word.text not in self._columns:
            raise self._error(f"one of the columns {', '.join(sorted(self._columns))}")
        self._next()
        return word.text, self._columns[word.text]

    def _comparison(self, column: str, kind: ColumnType, operator: Operator) -> Filter:
        if kind == "integer" and operator not in ("=", "!=") and (number := self._fraction()) is not None:
            # No integer lies between a fraction and the next integer, so that either comparison says the same.
            up = operator.startswith(">")
            whole = math.ceil(number) if up else math.floor(number)
            return Compare(column, ">=" if up else "<=", whole)
        return Compare(column, operator, self._value(kind))

    def _fraction(self) -> float | None:
        """The next word if it is a number with a fraction, small enough for an integer beside it."""
        word = self._word
        if word.kind != "number" or not isinstance(word.value, float):
            return None
        if word.value.is_integer() or abs(word.value) > LARGEST_INTEGER:
            return None
        self._next()
        return word.value

    def _in(self, column: str, kind: ColumnType) -> In:
        self._need("(")
        values = [self._value(kind)]
        while self._take(","):
            values.append(self._value(kind))
        self._need(")")
        return In(column, tuple(values))

    def _like(self, column: str, kind: ColumnType) -> Like:
        if kind != "string":
            raise self._error(f"no pattern for the {kind} column {column}")
        if self._word.kind != "string":
            raise self._error("a pattern in single quotes")
        word = self._next()
        return Like(column, _canonical_pattern(word))

    def _value(self, kind: ColumnType) -> str | int | float | bool:
        """The next word as a value of a column's type."""
        word = self._word
        value = _convert(word.value, kind) if word.kind in ("string", "number", "boolean") else None
        if value is None:
            raise self._error(_EXPECTED[kind])
        self._next()
        return value


_EXPECTED: dict[ColumnType, str] = {
    "string": "a text in single quotes",
    "integer": "a whole number of at most 63 bits",
    "float": "a number",
    "boolean": "true or false",
}


def _convert(value: Value, kind: ColumnType) -> str | int | float | bool | None:  # noqa: PLR0911 - a return for each
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
    return value if abs(value) <= LARGEST_INTEGER else None


def _canonical_pattern(word: Word) -> str:
    """The pattern with ``\\`` only where it has a meaning: stores disagree on the others."""
    text, parts, escaped = str(word.value), [], False
    for character in text:
        if escaped:
            parts.append(f"\\{character}" if character in "%_\\" else character)
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            parts.append(character)
    if escaped:
        raise invalid("a character after the last \\ of the pattern", "none", word.position)
    return "".join(parts)


def _maybe_not(tree: Filter, negated: bool) -> Filter:
    return Not(tree) if negated else tree
