"""Several values after one option, which typer's options do not take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def spread(arguments: Sequence[str], option: str) -> list[str]:
    """``--labels A B`` as ``--labels A --labels B``: all words up to the next option are values.

    spread(["a.png", "--labels", "A", "B", "--json"], "--labels")
    # ["a.png", "--labels", "A", "--labels", "B", "--json"]
    """
    result: list[str] = []
    taking = False  # whether the words at hand are values of the option
    for position, word in enumerate(arguments):
        if word == "--":
            return [*result, *arguments[position:]]
        if word == option:
            taking = True
            if position + 1 == len(arguments) or _is_option(arguments[position + 1]):
                result.append(word)  # without a value: the parser says so
        elif _is_option(word):
            taking = False
            result.append(word)
        else:
            result.extend([option, word] if taking else [word])
    return result


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"
