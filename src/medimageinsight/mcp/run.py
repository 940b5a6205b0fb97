"""Open what the tools work with, and serve them on standard input and output until it is closed."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import anyio

from medimageinsight import MedImageInsight, images, search
from medimageinsight.bundle import ModelIdentity
from medimageinsight.errors import InputError
from medimageinsight.mcp.server import build_server
from medimageinsight.mcp.tools import Tools
from medimageinsight.serve.logs import configure_logging
from medimageinsight.tagging import load_tagger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from medimageinsight.search import Store

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
    """Serve until standard input ends. Only the protocol is written to standard output; logs go to standard error.

    Raises:
        InputError: No folders or one that is none (``folder_missing``, ``folder_not_found``), two stores or taggers of
            one name (``names_equal``), a store of another model (``store_other_model``).
        MedImageInsightError: The model, a store or a tagger cannot be opened.
    """
    configure_logging("warning")
    logging.getLogger("mcp").setLevel(logging.ERROR)  # its warnings quote what clients sent
    with opened(settings) as tools:
        anyio.run(build_server(tools).run_stdio_async)


@contextmanager
def opened(settings: McpSettings) -> Iterator[Tools]:
    """The tools with model, stores and taggers; closed at the end. Errors are those of `run`."""
    folders = _folders(settings.folders)
    with ExitStack() as stack:
        model = stack.enter_context(MedImageInsight.load(settings.model, limits=LIMITS))
        stores: dict[str, Store] = {}
        for name, location in _named([search.parse_named_location(one) for one in settings.stores], "stores").items():
            store = stores[name] = stack.enter_context(search.open_store(location))
            store.identity.check_model(search.Identity.of(model))
        identity = ModelIdentity.of(model.manifest, model.preprocessing)
        files = _named([(path.stem, path) for path in settings.taggers], "taggers")
        taggers = {name: load_tagger(path, model=identity) for name, path in files.items()}
        yield Tools(model=model, folders=folders, stores=stores, taggers=taggers, limits=LIMITS)


def _folders(given: Sequence[Path]) -> list[Path]:
    if not given:
        raise InputError(
            "expected at least one folder whose images the tools may read, got none: give --folder DIR",
            code="folder_missing",
        )
    folders = [folder.resolve() for folder in given]
    if not all(folder.is_dir() for folder in folders):
        raise InputError("expected folders, got one that is none: check the spelling", code="folder_not_found")
    return folders


def _named(pairs: list[tuple[str, _T]], what: str) -> Mapping[str, _T]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise InputError(f"expected {what} of different names, got two of one: name them NAME=...", code="names_equal")
    return dict(pairs)
