"""The command ``mi2`` with its verbs."""

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from medimageinsight.cli import (
    adapter,
    bench,
    classify,
    compare,
    convert,
    demo,
    doctor,
    embed,
    evaluate,
    finetune,
    index,
    info,
    mcp,
    models,
    outliers,
    score,
    search,
    serve,
    tag,
    train,
    verify,
)
from medimageinsight.cli.arguments import repeat_option
from medimageinsight.cli.errors import report_errors
from medimageinsight.version import DISCLAIMER, __version__

app = typer.Typer(
    help=f"Embed, compare, classify, tag and search medical images and texts on your own machine.\n\n{DISCLAIMER}",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",  # paragraphs of docstrings are wrapped to the width of the terminal
    pretty_exceptions_enable=False,  # errors.py prints them
    context_settings={"help_option_names": ["-h", "--help"]},
)

VERBS = (
    demo.demo,
    embed.embed,
    classify.classify,
    compare.compare,
    score.score,
    models.models,
    info.info,
    convert.convert,
    verify.verify,
    doctor.doctor,
    train.train,
    finetune.finetune,
    evaluate.evaluate,
    bench.bench,
    search.search,
    mcp.mcp,
)
MULTI_VALUE_OPTIONS = {"classify": ("--labels",), "tag": ("--labels",), "compare": ("--prior", "--current")}

for verb in VERBS:
    app.command()(report_errors(verb))
for group_name, group in (("index", index.app), ("tag", tag.app), ("adapter", adapter.app), ("outliers", outliers.app)):
    app.add_typer(group, name=group_name)
# The server reads its flags itself, together with environment variables and a config file.
app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    report_errors(serve.serve)
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``mi2`` and end with SystemExit.

    Args:
        arguments: The words after ``mi2``. Default: those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for option in MULTI_VALUE_OPTIONS.get(words[0] if words else "", ()):
        words = repeat_option(words, option)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale may lack a character of a file's name or a label
    app(args=words, prog_name="mi2")


def _print_version(requested: bool) -> None:
    if requested:
        sys.stdout.write(f"mi2 {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options before the verb."""
