"""Registration of verbs: errors become lines, results can be printed alone, and the help shows examples."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medimageinsight.cli import dicomweb, output
from medimageinsight.cli.errors import report_errors
from medimageinsight.cli.help_examples import EXAMPLES
from medimageinsight.cli.reading_options import OPTIONS, ReadingOptions
from medimageinsight.cli.sources import read_file_list
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

_QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only: no progress, no notes.")]
_FILE_LIST = Annotated[
    str | None,
    typer.Option(
        "--files", metavar="LIST", help="A text file with the path of an image in each line; - is standard input."
    ),
]


def register(app: typer.Typer, verb: Callable[..., None], *, group: str = "", section: str | None = None) -> None:
    """Add a verb to an application.

    Args:
        app: The application, or the group's own.
        verb: A function with typer's annotations; its docstring is the help.
        group: Name of the group that the application is.
        section: Heading of the verb in the list of verbs.
    """
    command = _add_options(verb) if "as_json" in inspect.signature(verb).parameters else verb
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


def _add_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Add ``--quiet``; to a verb of ``files`` ``--files LIST`` with more of them, to one of ``reading`` its options."""
    signature = inspect.signature(verb)
    parameters = {name: value.replace(kind=value.KEYWORD_ONLY) for name, value in signature.parameters.items()}
    files = parameters.get("files")
    requires_files = files is not None and files.default is files.empty
    added: dict[str, tuple[object, object]] = {"quiet": (_QUIET, False)}
    if files is not None:
        added["file_list"] = (_FILE_LIST, None)
        parameters["files"] = files.replace(default=None)

    reads = parameters.pop("reading", None) is not None
    if reads:
        added |= OPTIONS
    remote = dicomweb.OPTIONS if reads and files is not None else {}
    added |= remote

    @functools.wraps(verb)
    def run(*, quiet: bool = False, file_list: str | None = None, **arguments: Any) -> None:  # noqa: ANN401 - of any verb
        output.set_quiet(quiet)
        if reads:
            arguments["reading"] = ReadingOptions.parse(**{name: arguments.pop(name) for name in OPTIONS})
        if remote and (found := dicomweb.list_dicomweb(**{name: arguments.pop(name) for name in remote})):
            arguments["files"] = [*(arguments["files"] or []), *found]
        if file_list is not None:
            arguments["files"] = [*(arguments["files"] or []), *read_file_list(file_list)]
        if requires_files and not arguments["files"]:
            raise InputError("expected files or --files LIST, got neither: name the images", code="files_missing")
        verb(**arguments)

    for name, (annotation, default) in added.items():
        parameters[name] = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
    run.__signature__ = signature.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {**verb.__annotations__, **{name: annotation for name, (annotation, _) in added.items()}}
    return run
