"""``mi2 doctor``: check this installation and advise how to repair it."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT
from medimageinsight.cli.options import AsJson, Model

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "off": "dim"}


def doctor(
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="First delete the optimised copies of large models.")
    ] = False,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Check the installation: libraries, memory, DICOM codecs, the model. Exit code 1: a check failed."""
    from medimageinsight.cli.checks import run_checks

    if clear_cache:
        from medimageinsight.engine import clear_graph_cache

        output.note(f"{clear_graph_cache() / 1e9:.1f} GB freed")
    checks = list(run_checks(model))
    if as_json:
        output.print_json({"checks": [asdict(check) for check in checks]})
    else:
        output.print_table(
            ("", "", "found", "advice"),
            [
                (
                    Text(check.status, style=_STYLES[check.status]),
                    check.name,
                    output.printable(check.found),
                    check.advice,
                )
                for check in checks
            ],
        )
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(FAILED_INPUT)
