"""The words of a filter expression."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from medimageinsight.search.values import Value

_KEYWORDS = frozenset({"and", "or", "not", "in", "like", "is", "null"})
_BOOLEANS = {"true": True, "false": False}
_SHOWN = 20  # characters of a word, in a message
_MAX_DIGITS = 400  # of a number; Python refuses to read much longer ones

Kind: TypeAlias = Literal["name", "keyword", "string", "number", "boolean", "sign", "end"]

_WORD = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<string>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")+")
      | (?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?!\w)
      | (?P<name>[^\W\d]\w*)
      | (?P<sign><=|>=|<>|!=|[=<>(),])""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Word:
    """One word; `position` is its first character's, counted from 0. `text` of a keyword is in lower case."""

    kind: Kind
    text: str
    position: int
    value: Value = None


def split(text: str) -> list[Word]:
    """The words of a text, with one of kind ``end`` at the end.

    Raises:
        InputError: ``filter_invalid`` where no word begins.
    """
    words: list[Word] = []
    position = 0
    while position < len(text):
        match = _WORD.match(text, position)
        if match is None:
            raise _no_word(text, position)
        if match.lastgroup != "space":
            words.append(_word(str(match.lastgroup), match.group(), position))
        position = match.end()
    return [*words, Word("end", "", len(text))]


def invalid(expected: str, got: str, position: int) -> InputError:
    """The error for a text that is wrong at a position, given from 0 and named from 1."""
    return InputError(
        f"the filter at character {position + 1}: expected {expected}, got {got}: correct it", code="filter_invalid"
    )


def describe(word: Word) -> str:
    """A word in a message. A string's content is left out: it may be about a patient."""
    if word.kind == "end":
        return "the end"
    if word.kind == "string":
        return "a text"
    shown = word.text if len(word.text) <= _SHOWN else f"{word.text[:_SHOWN]}…"
    return f"'{shown}'"


def _word(kind: str, text: str, position: int) -> Word:
    if kind == "string":
        return Word("string", text, position, _storable(text[1:-1].replace("''", "'"), position))
    if kind == "quoted":
        return Word("name", text[1:-1].replace('""', '"'), position)
    if kind == "number":
        if len(text) > _MAX_DIGITS:
            raise invalid(f"a number of at most {_MAX_DIGITS} digits", f"{len(text)}", position)
        return Word("number", text, position, float(text) if re.search(r"[.eE]", text) else int(text))
    if kind == "sign":
        return Word("sign", text, position)
    lower = text.lower()
    if lower in _BOOLEANS:
        return Word("boolean", lower, position, _BOOLEANS[lower])
    return Word("keyword", lower, position) if lower in _KEYWORDS else Word("name", text, position)


def _storable(text: str, position: int) -> str:
    """The text, if a store could hold it: NUL and half a surrogate pair are in no stored text."""
    if "\0" in text or any("\ud800" <= one <= "\udfff" for one in text):
        raise invalid("a text that can be stored", "a NUL or undecodable character in it", position)
    return text


def _no_word(text: str, position: int) -> InputError:
    character = text[position]
    if character in "'\"":
        return invalid(f"a closing {character}", "the end", position)
    shown = f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"
    return invalid("a column, an operator or a value", shown, position)
