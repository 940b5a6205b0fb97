"""Registration of verbs: errors become lines, results can be printed alone, and the help shows examples."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import report_errors
from medimageinsight.cli.help_examples import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

_QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only: no progress, no notes.")]


def register(app: typer.Typer, verb: Callable[..., None], *, group: str = "", section: str | None = None) -> None:
    """Add a verb to an application.

    Args:
        app: The application, or the group's own.
        verb: A function with typer's annotations; its docstring is the help.
        group: Name of the group that the application is.
        section: Heading of the verb in the list of verbs.
    """
    command = _add_quiet_option(verb) if "as_json" in inspect.signature(verb).parameters else verb
    app.command(
        verb.__name__.replace("_", "-"),
        help=help_with_examples(verb, f"{group} {verb.__name__}".strip()),
        rich_help_panel=section,
    )(report_errors(command))


def help_with_examples(verb: Callable[..., None], name: str) -> str:
    """Return a verb's docstring with its examples."""
    text = inspect.getdoc(verb) or ""
    lines = [f"    {line}" for line in EXAMPLES.get(name, ())]
    return "\n".join([text, "", "Examples:", "", *lines]) if lines else text


def _add_quiet_option(verb: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(verb)
    def run(*args: object, quiet: bool = False, **kwargs: object) -> None:
        output.set_quiet(quiet)
        verb(*args, **kwargs)

    signature = inspect.signature(verb)
    option = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_QUIET)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {**verb.__annotations__, "quiet": _QUIET}
    return run
