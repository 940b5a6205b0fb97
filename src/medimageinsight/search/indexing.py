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
    from medimageinsight.search.records import ColumnType
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
    """Numbers of images that `index_images` processed, and the errors of those that could not be stored, by path."""

    added: int = 0
    updated: int = 0
    skipped: int = 0  # the store has them already
    undescribed: int = 0  # stored without metadata although sources of metadata were given
    failed: dict[str, InputError] = field(default_factory=dict)


def index_images(
    model: MedImageInsight,
    store: Store,
    paths: Iterable[str | os.PathLike[str]],
    *,
    ids: Sequence[str] | None = None,
    metadata: Sequence[MetadataSource] = (),
    types: Mapping[str, ColumnType] | None = None,
    existing: Existing = "refuse",
    batch_size: int = BATCH_SIZE,
    frame: int = 0,
    progress: Callable[[int], None] | None = None,
    stored: Callable[[Sequence[str]], None] | None = None,
) -> IndexReport:
    """Embed image files with the store's model and add them. Unusable files are reported, the others are stored.

        table = search.read_metadata("chest.csv", stored=store.columns)
        search.index_images(model, store, paths, metadata=[table.row, search.read_dicom_metadata], types=table.types)

    The store holds the `paths` as given, which are the `ids` unless these are given. `metadata` are functions from path
    to metadata: `MetadataTable.row`, `read_dicom_metadata`, a dict's ``get``. `types` are column types to which the
    store's columns are widened before the first image is embedded (`Store.widen`). If the store already has ids,
    `existing` is to ``refuse`` the call before anything is written, ``skip`` them, so that an interrupted call can be
    continued, or ``update`` them. `progress` is called with the number of images processed so far, `stored` with the
    ids of each transaction; they are durable. The other arguments are those of `MedImageInsight.embed_images`.

    Raises:
        InputError: ``store_other_model``, ``store_other_preprocessing``, ``ids_duplicate``, ``metadata_column_twice``
            where two sources of metadata have the same column, else as `Store.add`.
        StoreError: ``store_not_writable``; what `stored` was called with is in the store.
        ModelError: The encoder cannot be loaded or run.
    """
    if existing not in get_args(Existing):
        raise InputError(f"expected existing to be refuse, skip or update, got {existing!r}", code="existing_invalid")
    identity = Identity.of(model)
    store.identity.check_model(identity)
    store.identity.check_preprocessing(identity)
    report = IndexReport()
    chosen, present = _choose(store, [os.fspath(path) for path in paths], ids, existing, report)
    store.widen(types or {})
    writer = _Writer(store, report, present, stored)
    processed = len(report.failed) + report.skipped
    stream = model.stream_images(
        chosen.values(), batch_size=batch_size, frame=frame, preprocessing=store.identity.settings()
    )
    with closing(stream):
        for (item_id, path), embedded in zip(chosen.items(), stream, strict=True):
            if embedded.embedding is not None:
                columns = _read_metadata(path, metadata)
                report.undescribed += bool(metadata) and not columns
                writer.put(Item(id=item_id, path=path, embedding=embedded.embedding, metadata=columns))
            elif embedded.error is not None:
                report.failed[path] = embedded.error
            if progress is not None:
                progress(processed + embedded.index + 1)
    writer.flush()
    store.maintain()
    return report


def make_ids(paths: Sequence[str], source: IdSource) -> list[str]:
    """Return ids of files: their paths as given, their names, or their names without the suffix."""
    return list(paths) if source == "path" else [getattr(PurePath(path), source) for path in paths]


def label_by_folder(folder: str, paths: Iterable[str]) -> dict[str, str]:
    """Return path to label for files of ``folder/LABEL/...``: the subfolder's name, with spaces for underscores."""
    parts = {path: PurePath(path).relative_to(folder).parts for path in paths}
    return {path: below[0].replace("_", " ").strip() for path, below in parts.items() if len(below) > 1}


def _choose(
    store: Store, paths: list[str], ids: Sequence[str] | None, existing: Existing, report: IndexReport
) -> tuple[dict[str, str], set[str]]:
    """Return the files to embed, id to path, and the ids that the store has; all ids are checked before the work."""
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
    return {item_id: path for path, item_id in usable if existing != "skip" or item_id not in present}, present


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
