"""Parser of filter expressions, see `filters` for the language."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from medimageinsight.errors import InputError
from medimageinsight.search.columns import MAX_INTEGER, is_unicode
from medimageinsight.search.filters import And, Compare, In, IsNull, Like, Not, Or

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from medimageinsight.search.filters import Filter, Operator
    from medimageinsight.search.records import ColumnType, Value

MAX_LENGTH = 20_000  # characters
MAX_DEPTH = 16  # nested parentheses and nots; the stores' own parsers are recursive too
MAX_TESTS = 100

_T = TypeVar("_T")
_KEYWORDS = frozenset({"and", "or", "not", "in", "like", "is", "null"})
_BOOLEANS = {"true": True, "false": False}
_OPERATORS: dict[str, Operator] = {"=": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_EXPECTED: dict[ColumnType, str] = {
    "string": "a text in single quotes",
    "integer": "a whole number of at most 63 bits",
    "float": "a number",
    "boolean": "true or false",
}
_SHOWN = 20  # characters of a token, in a message
_MAX_DIGITS = 400  # of a number; Python refuses to read much longer ones

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<string>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")+")
      | (?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?!\w)
      | (?P<name>[^\W\d]\w*)
      | (?P<symbol><=|>=|<>|!=|[=<>(),])""",
    re.VERBOSE,
)


def parse_filter(text: str, columns: Mapping[str, ColumnType]) -> Filter:
    """Parse a filter expression on the existing columns.

    Raises:
        InputError: ``filter_invalid``, with the position of the error, counted from 1.
    """
    if len(text) > MAX_LENGTH:
        raise _invalid(f"at most {MAX_LENGTH:,} characters", f"{len(text):,}", MAX_LENGTH)
    return _Parser(_tokenize(text), columns).parse()


@dataclass(frozen=True)
class _Token:
    """One token; `position` counts characters from 0. `text` of a keyword is in lower case."""

    kind: Literal["name", "keyword", "string", "number", "boolean", "symbol", "end"]
    text: str
    position: int
    value: Value = None

    def describe(self) -> str:
        """Return the token for a message, without a string's content: it may be about a patient."""
        if self.kind == "end":
            return "the end"
        if self.kind == "string":
            return "a text"
        return f"'{self.text}'" if len(self.text) <= _SHOWN else f"'{self.text[:_SHOWN]}…'"


def _tokenize(text: str) -> list[_Token]:
    """Split an expression into tokens, with one of kind ``end`` at the end."""
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            character = text[position]
            if character in "'\"":
                raise _invalid(f"a closing {character}", "the end", position)
            shown = f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"
            raise _invalid("a column, an operator or a value", shown, position)
        if match.lastgroup != "space":
            tokens.append(_make_token(str(match.lastgroup), match.group(), position))
        position = match.end()
    return [*tokens, _Token("end", "", len(text))]


def _make_token(group: str, text: str, position: int) -> _Token:
    if group == "string":
        content = text[1:-1].replace("''", "'")
        if "\0" in content or not is_unicode(content):  # no stored text has either
            raise _invalid("a text that can be stored", "a NUL or undecodable character in it", position)
        return _Token("string", text, position, content)
    if group == "quoted":
        return _Token("name", text[1:-1].replace('""', '"'), position)
    if group == "number":
        if len(text) > _MAX_DIGITS:
            raise _invalid(f"a number of at most {_MAX_DIGITS} digits", f"{len(text)}", position)
        return _Token("number", text, position, float(text) if re.search(r"[.eE]", text) else int(text))
    if group == "symbol":
        return _Token("symbol", text, position)
    lower = text.lower()
    if lower in _BOOLEANS:
        return _Token("boolean", lower, position, _BOOLEANS[lower])
    return _Token("keyword", lower, position) if lower in _KEYWORDS else _Token("name", text, position)


def _invalid(expected: str, got: str, position: int) -> InputError:
    """Return the error at a position, counted from 0 here and from 1 in the message."""
    return InputError(
        f"the filter at character {position + 1}: expected {expected}, got {got}: correct it", code="filter_invalid"
    )


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, tokens: list[_Token], columns: Mapping[str, ColumnType]) -> None:
        self._tokens = tokens
        self._columns = columns
        self._position = 0
        self._tests = 0

    def parse(self) -> Filter:
        tree = self._parse_or(0)
        if self._token.kind != "end":
            raise self._error("'and', 'or' or the end")
        return tree

    @property
    def _token(self) -> _Token:
        return self._tokens[self._position]

    def _next(self) -> _Token:
        token = self._token
        self._position += token.kind != "end"
        return token

    def _accept(self, text: str) -> bool:
        """Move past a keyword or symbol if it is the next token."""
        found = self._token.kind in ("keyword", "symbol") and self._token.text == text
        self._position += found
        return found

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._error(f"'{text}'")

    def _error(self, expected: str) -> InputError:
        """Return the error for the next token."""
        return _invalid(expected, self._token.describe(), self._token.position)

    def _parse_or(self, depth: int) -> Filter:
        parts = self._parse_list(lambda: self._parse_and(depth), "or")
        return parts[0] if len(parts) == 1 else Or(parts)

    def _parse_and(self, depth: int) -> Filter:
        parts = self._parse_list(lambda: self._parse_not(depth), "and")
        return parts[0] if len(parts) == 1 else And(parts)

    def _parse_list(self, parse: Callable[[], _T], separator: str) -> tuple[_T, ...]:
        parts = [parse()]
        while self._accept(separator):
            parts.append(parse())
        return tuple(parts)

    def _parse_not(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise self._error(f"at most {MAX_DEPTH} parentheses and nots within each other")
        if self._accept("not"):
            return Not(self._parse_not(depth + 1))
        if self._accept("("):
            tree = self._parse_or(depth + 1)
            self._expect(")")
            return tree
        return self._parse_test()

    def _parse_test(self) -> Filter:
        self._tests += 1
        if self._tests > MAX_TESTS:
            raise self._error(f"at most {MAX_TESTS} tests")
        column, kind = self._parse_column()
        if self._accept("is"):
            negated = self._accept("not")
            self._expect("null")
            return _negate(IsNull(column), negated)
        if self._token.kind == "symbol" and self._token.text in _OPERATORS:
            return self._parse_comparison(column, kind, _OPERATORS[self._token.text])
        negated = self._accept("not")
        if self._accept("in"):
            return _negate(self._parse_in(column, kind), negated)
        if self._accept("like"):
            return _negate(self._parse_like(column, kind), negated)
        raise self._error("'in' or 'like'" if negated else "an operator (=, !=, <, <=, >, >=, in, like, is)")

    def _parse_column(self) -> tuple[str, ColumnType]:
        token = self._token
        if token.kind != "name":
            raise self._error("a column")
        if token.text not in self._columns:
            raise self._error(f"one of the columns {', '.join(sorted(self._columns))}")
        self._next()
        return token.text, self._columns[token.text]

    def _parse_comparison(self, column: str, kind: ColumnType, operator: Operator) -> Compare:
        is_equality = operator in ("=", "!=")
        if kind == "boolean" and not is_equality:
            raise self._error(f"= or != for the boolean column {column}")
        self._next()
        number = self._token.value
        if (
            kind == "integer"
            and not is_equality
            and isinstance(number, float)
            and math.isfinite(number)
            and not number.is_integer()
        ):  # no integer is between a fraction and the next integer, so that both comparisons are equivalent
            self._next()
            if operator.startswith(">"):
                return Compare(column, ">=", math.ceil(number))
            return Compare(column, "<=", math.floor(number))
        return Compare(column, operator, self._parse_value(kind))

    def _parse_in(self, column: str, kind: ColumnType) -> In:
        self._expect("(")
        values = self._parse_list(lambda: self._parse_value(kind), ",")
        self._expect(")")
        return In(column, values)

    def _parse_like(self, column: str, kind: ColumnType) -> Like:
        if kind != "string":
            raise self._error(f"no pattern for the {kind} column {column}")
        if self._token.kind != "string":
            raise self._error("a pattern in single quotes")
        token = self._next()
        pattern = str(token.value)
        if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
            raise _invalid("a character after the last \\ of the pattern", "none", token.position)
        # Stores disagree on escapes of characters other than %, _ and \.
        return Like(column, re.sub(r"\\([^%_\\])|(\\.)", r"\1\2", pattern, flags=re.DOTALL))

    def _parse_value(self, kind: ColumnType) -> str | int | float | bool:
        """Return the next token as a value of a column's type."""
        value = _convert_value(self._token.value, kind)
        if value is None:
            raise self._error(_EXPECTED[kind])
        self._next()
        return value


def _negate(tree: Filter, negated: bool) -> Filter:
    return Not(tree) if negated else tree


def _convert_value(value: Value, kind: ColumnType) -> str | int | float | bool | None:
    """Return a value as a column of this type holds it, None where it cannot: a float column takes integers."""
    if value is None or isinstance(value, str | bool):
        matches = (isinstance(value, str) and kind == "string") or (isinstance(value, bool) and kind == "boolean")
        return value if matches else None
    if kind == "float":
        try:
            number = float(value)
        except OverflowError:  # of an integer
            return None
        return number if math.isfinite(number) else None
    if kind != "integer" or (isinstance(value, float) and not value.is_integer()):  # nor is infinity
        return None
    return int(value) if abs(value) <= MAX_INTEGER else None
