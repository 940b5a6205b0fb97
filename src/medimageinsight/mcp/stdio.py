"""Open the model, stores and taggers, and serve the tools on standard input and output until it is closed."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from mcp.server.stdio import stdio_server

from medimageinsight import MedImageInsight, images, search
from medimageinsight.bundle import ModelIdentity
from medimageinsight.errors import InputError
from medimageinsight.mcp.server import build_server
from medimageinsight.mcp.tools import Tools
from medimageinsight.serve import configure_logging
from medimageinsight.tagging import load_tagger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mcp.server.lowlevel import Server

    from medimageinsight.search import Store
    from medimageinsight.tagging import Tagger

_T = TypeVar("_T")

LIMITS = images.Limits(max_bytes=256 << 20)


@dataclass(frozen=True, kw_only=True)
class McpSettings:
    """What the tools may use: ``McpSettings(folders=[Path("scans")], stores=["chest=stores/chest"])``.

    Attributes:
        folders: Image files below them may be read, no others.
        stores: Each ``NAME=LOCATION``, or a location whose last part is the name.
        taggers: Files of `mi2 tag fit`; a tagger's name is its file's without the ending.
        model: A name or a bundle folder.
    """

    folders: Sequence[Path]
    stores: Sequence[str] = ()
    taggers: Sequence[Path] = ()
    model: str | None = None


def run(settings: McpSettings) -> None:
    """Serve until standard input ends.

    Only the protocol is written to standard output; logs go to standard error.

    Raises:
        InputError: No folders (``folder_missing``) or a path that is no folder (``folder_not_found``), two stores or
            taggers of the same name (``names_equal``), a store of another model (``store_other_model``).
        MedImageInsightError: The model, a store or a tagger cannot be opened.
    """
    configure_logging("warning")
    logging.getLogger("mcp").setLevel(logging.ERROR)  # its warnings quote what clients sent
    with open_tools(settings) as tools:
        anyio.run(_serve, build_server(tools))


async def _serve(server: Server[Any]) -> None:
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


@contextmanager
def open_tools(settings: McpSettings) -> Iterator[Tools]:
    """Open the model, stores and taggers; they are closed at the end.

    Raises:
        MedImageInsightError: As in `run`.
    """
    folders = _resolve_folders(settings.folders)
    with ExitStack() as stack:
        model = stack.enter_context(MedImageInsight.load(settings.model, limits=LIMITS))
        stores: dict[str, Store] = {}
        locations = [search.parse_named_location(text) for text in settings.stores]
        for name, location in _by_name(locations, "stores").items():
            store = stores[name] = stack.enter_context(search.open_store(location))
            store.identity.check_model(search.Identity.of(model))
        identity = ModelIdentity.of(model.manifest, model.preprocessing)
        files = _by_name([(path.stem, path) for path in settings.taggers], "taggers")
        taggers = {name: _load_tagger(path, identity) for name, path in files.items()}
        yield Tools(model=model, folders=folders, stores=stores, taggers=taggers, limits=LIMITS)


def _load_tagger(path: Path, identity: ModelIdentity) -> Tagger:
    """Read a tagger of this model, whose window its images are given."""
    tagger = load_tagger(path)
    tagger.model.check(identity.with_window(tagger.model.preprocessing.get("window")), texts=tagger.adapter is None)
    return tagger


def _resolve_folders(paths: Sequence[Path]) -> list[Path]:
    if not paths:
        raise InputError(
            "expected at least one folder whose images the tools may read, got none: give --folder DIR",
            code="folder_missing",
        )
    folders = [path.resolve() for path in paths]
    if not all(folder.is_dir() for folder in folders):
        raise InputError("expected folders, got a path that is no folder: check the spelling", code="folder_not_found")
    return folders


def _by_name(pairs: list[tuple[str, _T]], kind: str) -> Mapping[str, _T]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise InputError(
            f"expected {kind} of different names, got a name twice: name them NAME=...", code="names_equal"
        )
    return dict(pairs)
