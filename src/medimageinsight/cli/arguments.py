"""Command lines beyond typer's: several values after an option, a default verb of a group, commands to repeat."""

import shlex
from collections.abc import Mapping, Sequence

import typer
from typer.core import TyperGroup


def repeat_option(arguments: Sequence[str], option: str) -> list[str]:
    """Rewrite ``--labels A B`` as ``--labels A --labels B``: all words up to the next option are values.

    repeat_option(["a.png", "--labels", "A", "B", "--json"], "--labels")
    # ["a.png", "--labels", "A", "--labels", "B", "--json"]
    """
    result: list[str] = []
    in_values = False  # the current words are values of the option
    for position, word in enumerate(arguments):
        if word == "--":
            return [*result, *arguments[position:]]
        if word == option:
            in_values = True
            if position + 1 == len(arguments) or _is_option(arguments[position + 1]):
                result.append(word)  # without a value: the parser reports it
        elif _is_option(word):
            in_values = False
            result.append(word)
        else:
            result.extend([option, word] if in_values else [word])
    return result


def format_command(verb: str, words: Sequence[object], options: Mapping[str, object]) -> str:
    """Return the command line of a verb; an option of None is omitted, a list repeats it, and True is a flag."""
    line = ["mi2", verb, *map(str, words)]
    for option, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            line += [] if item is None else [option] if item is True else [option, str(item)]
    return shlex.join(line)


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"


class DefaultGroup(TyperGroup):
    """A group whose first verb is the default: a file with the name of a verb is given as ``./fit``."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer's Context
        """Insert the first verb if the words name none."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
