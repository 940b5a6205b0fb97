"""``mi2 mcp``: tools for agents over the Model Context Protocol."""

from pathlib import Path
from typing import Annotated

import typer

from medimageinsight.cli.options import Model
from medimageinsight.errors import missing_extra


def mcp(
    folder: Annotated[
        list[Path] | None,
        typer.Option("--folder", metavar="DIR", help="Only images below it may be read; repeatable."),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option("--store", metavar="NAME=LOCATION", help="A store of `mi2 index`; repeatable."),
    ] = None,
    tagger: Annotated[
        list[Path] | None, typer.Option("--tagger", metavar="FILE", help="A file of `mi2 tag fit`; repeatable.")
    ] = None,
    model: Model = None,
) -> None:
    """Offer classification, search, comparison and tags to an agent, on standard input and output.

    An agent's client starts it; see docs/mcp.md. Needs the extra 'mcp'.
    """
    try:
        from medimageinsight.mcp.run import McpSettings, run
    except ImportError as error:
        raise missing_extra("mcp", "the tools for agents") from error
    run(McpSettings(folders=folder or [], stores=store or [], taggers=tagger or [], model=model))
