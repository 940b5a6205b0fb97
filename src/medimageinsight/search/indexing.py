"""Indexing of image files: embed them and write them to a store in batches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from medimageinsight.embedder import BATCH_SIZE
from medimageinsight.errors import InputError
from medimageinsight.search.columns import check_text
from medimageinsight.search.identity import Identity
from medimageinsight.search.records import Item, Value
from medimageinsight.search.rows import check_ids, check_new, check_unique

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.embedder import EmbeddedSource
    from medimageinsight.search.store import Store

# Limits of a transaction, in rows and in seconds since its first row: a crash loses no more.
WRITTEN_ROWS, WRITTEN_SECONDS = 256, 10.0
_LOOKUP_IDS = 10_000  # ids that a store looks up at a time

Existing: TypeAlias = Literal["refuse", "skip", "update"]
IdSource: TypeAlias = Literal["path", "name", "stem"]
MetadataSource: TypeAlias = Callable[[str], Mapping[str, Value] | None]
"""Path to metadata; None for a path without any."""


@dataclass(kw_only=True)
class IndexReport:
    """Result of `index_images`.

    Args:
        added: Number of new images in the store.
        updated: Number of stored images that were replaced.
        skipped: Number of stored images that were left unchanged.
        undescribed: Number of images stored without metadata although sources of metadata were given.
        failed: Path to error, for images that could not be stored.
    """

    added: int = 0
    updated: int = 0
    skipped: int = 0
    undescribed: int = 0
    failed: dict[str, InputError] = field(default_factory=dict)


def index_images(
    model: MedImageInsight,
    store: Store,
    paths: Iterable[str | os.PathLike[str]],
    *,
    ids: Sequence[str] | None = None,
    metadata: Sequence[MetadataSource] = (),
    existing: Existing = "refuse",
    batch_size: int = BATCH_SIZE,
    frame: int = 0,
    progress: Callable[[int], None] | None = None,
    stored: Callable[[Sequence[str]], None] | None = None,
) -> IndexReport:
    """Embed image files and add them to a store. Unusable files are reported, the others are stored.

        table = search.read_metadata("chest.csv", types=store.columns)
        search.index_images(model, store, paths, metadata=[table.row, search.read_dicom_metadata])

    Args:
        model: The store's model.
        store: The store.
        paths: The files; the store holds the paths as given.
        ids: One per path; the path itself when not given.
        metadata: Functions from path to metadata: `MetadataTable.row`, `read_dicom_metadata`, a dict's ``get``.
        existing: For ids that the store already has: ``refuse`` the call before anything is written, ``skip`` them, so
            that an interrupted call can be continued, or ``update`` them.
        batch_size: Number of images in one call of the network.
        frame: Frame of multi-frame files, from 0.
        progress: Called with the number of images processed so far.
        stored: Called with the ids of each transaction; they are durable.

    Raises:
        InputError: ``store_other_model``, ``store_other_preprocessing``, ``ids_duplicate``, ``metadata_column_twice``
            where two sources of metadata have the same column, else as `Store.add`.
        StoreError: ``store_not_writable``; what `stored` was called with is in the store.
        ModelError: The encoder cannot be loaded or run.
    """
    _check_call(model, store, existing)
    report = IndexReport()
    entries = _choose(store, [os.fspath(path) for path in paths], ids, existing, report)
    writer = _Writer(store, report, present={entry.id for entry in entries if entry.present}, stored=stored)
    processed = len(report.failed) + report.skipped
    stream = model.stream_images(
        (entry.path for entry in entries), batch_size=batch_size, frame=frame, preprocessing=store.identity.settings()
    )
    with closing(stream):
        for entry, embedded in zip(entries, stream, strict=True):
            _handle(entry, embedded, metadata, writer, report)
            if progress is not None:
                progress(processed + embedded.index + 1)
    writer.flush()
    store.maintain()
    return report


def _check_call(model: MedImageInsight, store: Store, existing: Existing) -> None:
    if existing not in get_args(Existing):
        raise InputError(f"expected existing to be refuse, skip or update, got {existing!r}", code="existing_invalid")
    identity = Identity.of(model)
    store.identity.check_model(identity)
    store.identity.check_preprocessing(identity)


def make_ids(paths: Sequence[str], source: IdSource) -> list[str]:
    """Return ids of files: their paths as given, their names, or their names without the suffix."""
    makers: dict[str, Callable[[str], str]] = {
        "path": str,
        "name": lambda path: PurePath(path).name,
        "stem": lambda path: PurePath(path).stem,
    }
    return [makers[source](path) for path in paths]


def label_by_folder(folder: str, paths: Iterable[str]) -> dict[str, str]:
    """Return path to label for files of ``folder/LABEL/...``: the subfolder's name, with spaces for underscores."""
    parts = {path: PurePath(path).relative_to(folder).parts for path in paths}
    return {path: below[0].replace("_", " ").strip() for path, below in parts.items() if len(below) > 1}


@dataclass(frozen=True)
class _Entry:
    """A file to embed, and whether the store already has its id."""

    path: str
    id: str
    present: bool


def _choose(
    store: Store, paths: list[str], ids: Sequence[str] | None, existing: Existing, report: IndexReport
) -> list[_Entry]:
    """Return the files to embed; all checks of ids are done here, before the work."""
    given_ids = paths if ids is None else list(ids)
    if len(given_ids) != len(paths):
        raise InputError(f"expected an id for each of {len(paths)} paths, got {len(given_ids)}", code="ids_count")
    usable: list[tuple[str, str]] = []
    for path, item_id in zip(paths, given_ids, strict=True):
        try:
            check_text("a path", path, "path_invalid")
            usable.append((path, check_ids([item_id])[0]))
        except InputError as error:
            report.failed[path] = error
    usable_ids = [item_id for _, item_id in usable]
    check_unique(usable_ids)
    present: set[str] = set()
    for start in range(0, len(usable_ids), _LOOKUP_IDS):
        present |= store.existing(usable_ids[start : start + _LOOKUP_IDS])
    if existing == "refuse":
        check_new(usable_ids, present)
    if existing == "skip":
        report.skipped = len(present)
        return [_Entry(path, item_id, False) for path, item_id in usable if item_id not in present]
    return [_Entry(path, item_id, item_id in present) for path, item_id in usable]


def _handle(
    entry: _Entry, embedded: EmbeddedSource, metadata: Sequence[MetadataSource], writer: _Writer, report: IndexReport
) -> None:
    if embedded.embedding is None:
        if embedded.error is not None:
            report.failed[entry.path] = embedded.error
        return
    columns = _read_metadata(entry.path, metadata)
    report.undescribed += bool(metadata) and not columns
    writer.put(Item(id=entry.id, path=entry.path, embedding=embedded.embedding, metadata=columns))


def _read_metadata(path: str, sources: Sequence[MetadataSource]) -> dict[str, Value]:
    columns: dict[str, Value] = {}
    for source in sources:
        found = source(path) or {}
        if repeated := sorted(columns.keys() & found.keys()):
            raise InputError(
                f"expected each metadata column from one source, got {', '.join(repeated)} from two: leave one out",
                code="metadata_column_twice",
            )
        columns.update(found)
    return columns


class _Writer:
    """Collects items and writes them in transactions."""

    def __init__(
        self,
        store: Store,
        report: IndexReport,
        *,
        present: set[str],
        stored: Callable[[Sequence[str]], None] | None,
    ) -> None:
        self._store = store
        self._report = report
        self._present = present
        self._stored = stored
        self._items: list[Item] = []
        self._since = time.monotonic()

    def put(self, item: Item) -> None:
        if not self._items:
            self._since = time.monotonic()
        self._items.append(item)
        if len(self._items) >= WRITTEN_ROWS or time.monotonic() - self._since >= WRITTEN_SECONDS:
            self.flush()

    def flush(self) -> None:
        replaced = [item for item in self._items if item.id in self._present]
        new = [item for item in self._items if item.id not in self._present]
        self._items = []
        if new:
            self._store.add(new)
            self._report.added += len(new)
            self._acknowledge(new)
        if replaced:
            self._store.update(replaced)
            self._report.updated += len(replaced)
            self._acknowledge(replaced)

    def _acknowledge(self, items: Sequence[Item]) -> None:
        if self._stored is not None:
            self._stored([item.id for item in items])
