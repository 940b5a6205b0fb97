"""Several values after one option, which typer's options do not take."""

from collections.abc import Sequence

import typer
from typer.core import TyperGroup


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


class DefaultGroup(TyperGroup):
    """Words that do not begin with one of the group's verbs go to its first one.

    A file of a verb's name is written with its folder: ``./fit``.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer's Context
        """Put the first verb before words that name none."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
