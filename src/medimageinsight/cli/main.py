"""The command ``mi2`` with its verbs."""

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from medimageinsight.cli import (
    adapter,
    batch,
    bench,
    classify,
    compare,
    convert,
    demo,
    doctor,
    embed,
    evaluate,
    finetune,
    heatmap,
    index,
    info,
    listen,
    mcp,
    models,
    outliers,
    output,
    pull,
    score,
    search,
    serve,
    statistics,
    tag,
    train,
    verify,
)
from medimageinsight.cli.arguments import repeat_option
from medimageinsight.cli.errors import report_errors
from medimageinsight.cli.verbs import help_with_examples, register
from medimageinsight.version import DISCLAIMER, __version__

app = typer.Typer(
    help=f"Embed, compare, classify, tag and search medical images and texts on your own machine.\n\n{DISCLAIMER}",
    no_args_is_help=True,
    rich_markup_mode="markdown",  # paragraphs of docstrings are wrapped to the width of the terminal
    pretty_exceptions_enable=False,  # errors.py prints them
    context_settings={"help_option_names": ["-h", "--help"]},
)

# The headings of the help, with their verbs; a pair is a group of verbs.
SECTIONS = {
    "Embed and compare": (
        demo.demo,
        embed.embed,
        classify.classify,
        compare.compare,
        ("tag", tag.app),
        heatmap.heatmap,
        batch.batch,
    ),
    "Store and search": (("index", index.app), search.search, listen.listen),
    "Serve": (score.score, mcp.mcp),
    "Evaluate and adapt": (evaluate.evaluate, ("adapter", adapter.app), ("outliers", outliers.app)),
    "Train": (train.train, finetune.finetune),
    "Models": (
        models.models,
        info.info,
        pull.pull,
        convert.convert,
        verify.verify,
        statistics.statistics,
        bench.bench,
        doctor.doctor,
    ),
}
MULTI_VALUE_OPTIONS = {
    "convert": ("--from-onnx",),
    "classify": ("--labels",),
    "tag": ("--labels",),
    "compare": ("--prior", "--current"),
    "evaluate": ("--label-columns",),
}

for section, verbs in SECTIONS.items():
    for verb in verbs:
        if isinstance(verb, tuple):
            app.add_typer(verb[1], name=verb[0], rich_help_panel=section)
        else:
            register(app, verb, section=section)
# The server reads its flags itself, together with environment variables and a config file.
app.command(
    cls=serve.SettingsCommand,
    help=help_with_examples(serve.serve, "serve"),
    rich_help_panel="Serve",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(report_errors(serve.serve))


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
    for name in ("medimageinsight.files", "medimageinsight.embedder"):
        output.show_log(name)
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
