"""``mi2 mcp``: tools for agents over the Model Context Protocol."""

from pathlib import Path
from typing import Annotated

import typer

from medimageinsight.cli.options import Model
from medimageinsight.errors import missing_extra

Folders = Annotated[
    list[Path] | None,
    typer.Option("--folder", metavar="DIR", help="A folder whose images the agent may read; repeatable."),
]
Stores = Annotated[
    list[str] | None,
    typer.Option("--store", metavar="NAME=LOCATION", help="A store of `mi2 index` to search; repeatable."),
]
Taggers = Annotated[
    list[Path] | None, typer.Option("--tagger", metavar="FILE", help="A file written by `mi2 tag fit`; repeatable.")
]


def mcp(folder: Folders = None, store: Stores = None, tagger: Taggers = None, model: Model = None) -> None:
    """Offer tools to an AI agent over the Model Context Protocol (MCP): classify, tag, compare and search images.

    The agent's program starts this command and talks to it over standard input and output: see docs/mcp.md. Needs the
    extra 'mcp'.
    """
    try:
        from medimageinsight.mcp import McpSettings, run
    except ImportError as error:
        raise missing_extra("mcp", "the tools for agents") from error
    run(McpSettings(folders=folder or [], stores=store or [], taggers=tagger or [], model=model))
