"""A verb with verbs of its own: ``mi2 tag FILE...`` beside ``mi2 tag fit TABLE``."""

import typer
from typer.core import TyperGroup


class DefaultGroup(TyperGroup):
    """Words that do not begin with one of the group's verbs go to its first one.

    A file of a verb's name is written with its folder: ``./fit``.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer's Context
        """Put the first verb before words that name none."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
