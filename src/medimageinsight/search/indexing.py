"""Image files into a store: embedded as `stream_images` does it, written a batch at a time."""

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
from medimageinsight.search.rows import check_different, check_ids, check_stored
from medimageinsight.search.values import Item, Value

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.embedder import EmbeddedSource
    from medimageinsight.search.store import Store

# A transaction has at most so many rows and waits at most so long: what a crash can cost.
ROWS_WRITTEN, SECONDS_WRITTEN = 256, 10.0
_IDS_ASKED = 10_000  # at a time

Existing: TypeAlias = Literal["refuse", "skip", "update"]
IdsFrom: TypeAlias = Literal["path", "name", "stem"]
Describe: TypeAlias = Callable[[str], Mapping[str, Value] | None]
"""Path to metadata; None where there is none for it."""


@dataclass(kw_only=True)
class IndexReport:
    """What became of the images.

    Args:
        added: How many are new in the store.
        updated: How many took the place of stored ones.
        skipped: How many were in the store and stayed as they were.
        undescribed: How many were stored without any metadata, though there were sources of it.
        failed: Path to why an image could not be stored.
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
    metadata: Sequence[Describe] = (),
    existing: Existing = "refuse",
    batch_size: int = BATCH_SIZE,
    frame: int = 0,
    progress: Callable[[int], None] | None = None,
    stored: Callable[[Sequence[str]], None] | None = None,
) -> IndexReport:
    """Embed image files and put them into a store. Bad files are reported, the others are stored.

        table = search.read_metadata("chest.csv", types=store.columns)
        search.index_images(model, store, paths, metadata=[table.row, search.read_tags])

    Args:
        model: The store's own.
        store: Where they go.
        paths: The files; the store keeps the paths as they are given.
        ids: One for each path; the path itself when not given.
        metadata: What says something about a path: `MetadataTable.row`, `read_tags`, a dict's ``get``.
        existing: What to do with ids that the store has: ``refuse`` the call before anything is written, ``skip`` them,
            so that a call that was cut off goes on, or ``update`` them.
        batch_size: How many images go through the network together.
        frame: Which frame of multi-frame files.
        progress: Called with the number of images that are done.
        stored: Called with ids that were just stored; they stay, whatever happens to the process.

    Raises:
        InputError: ``store_other_model``, ``store_other_preprocessing``, ``ids_duplicate``, ``metadata_column_twice``
            where two sources of metadata have one column, else as `Store.add`.
        StoreError: ``store_not_writable``; what `stored` was called with is there.
        ModelError: The encoder cannot be loaded or run.
    """
    if existing not in get_args(Existing):
        raise InputError(f"expected existing to be refuse, skip or update, got {existing!r}", code="existing_invalid")
    identity = Identity.of(model)
    store.identity.check_model(identity)
    store.identity.check_preprocessing(identity)
    report = IndexReport()
    wanted = _choose(store, [os.fspath(path) for path in paths], ids, existing, report)
    writer = _Writer(store, report, present={one.id for one in wanted if one.present}, stored=stored)
    settled = len(report.failed) + report.skipped
    stream = model.stream_images(
        (one.path for one in wanted), batch_size=batch_size, frame=frame, preprocessing=store.identity.settings()
    )
    with closing(stream):
        for one, embedded in zip(wanted, stream, strict=True):
            _take(one, embedded, metadata, writer, report)
            if progress is not None:
                progress(settled + embedded.index + 1)
    writer.flush()
    store.tend()
    return report


def make_ids(paths: Sequence[str], source: IdsFrom) -> list[str]:
    """Ids of files: their paths as given, their names, or their names without the ending."""
    makers: dict[str, Callable[[str], str]] = {
        "path": str,
        "name": lambda path: PurePath(path).name,
        "stem": lambda path: PurePath(path).stem,
    }
    return [makers[source](path) for path in paths]


@dataclass(frozen=True)
class _Wanted:
    """A file to embed, and whether the store has its id already."""

    path: str
    id: str
    present: bool


def _choose(
    store: Store, paths: list[str], ids: Sequence[str] | None, existing: Existing, report: IndexReport
) -> list[_Wanted]:
    """What has to be embedded; everything that ids can be refused for is refused here, before the work."""
    chosen = paths if ids is None else list(ids)
    if len(chosen) != len(paths):
        raise InputError(f"expected an id for each of {len(paths)} paths, got {len(chosen)}", code="ids_count")
    usable: list[tuple[str, str]] = []
    for path, one in zip(paths, chosen, strict=True):
        try:
            check_text("a path", path, "path_invalid")
            usable.append((path, check_ids([one])[0]))
        except InputError as error:
            report.failed[path] = error
    names = [one for _, one in usable]
    check_different(names)
    present: set[str] = set()
    for start in range(0, len(names), _IDS_ASKED):
        present |= store.existing(names[start : start + _IDS_ASKED])
    if existing == "refuse":
        check_stored(names, present, wanted=False)
    if existing == "skip":
        report.skipped = len(present)
        return [_Wanted(path, one, False) for path, one in usable if one not in present]
    return [_Wanted(path, one, one in present) for path, one in usable]


def _take(
    one: _Wanted, embedded: EmbeddedSource, metadata: Sequence[Describe], writer: _Writer, report: IndexReport
) -> None:
    if embedded.embedding is None:
        if embedded.error is not None:
            report.failed[one.path] = embedded.error
        return
    columns = _describe(one.path, metadata)
    report.undescribed += bool(metadata) and not columns
    writer.put(Item(id=one.id, path=one.path, embedding=embedded.embedding, metadata=columns))


def _describe(path: str, metadata: Sequence[Describe]) -> dict[str, Value]:
    columns: dict[str, Value] = {}
    for describe in metadata:
        found = describe(path) or {}
        if twice := sorted(columns.keys() & found.keys()):
            raise InputError(
                f"expected each metadata column from one source, got {', '.join(twice)} from two: leave one out",
                code="metadata_column_twice",
            )
        columns.update(found)
    return columns


class _Writer:
    """Gathers items and writes them in transactions."""

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
        if len(self._items) >= ROWS_WRITTEN or time.monotonic() - self._since >= SECONDS_WRITTEN:
            self.flush()

    def flush(self) -> None:
        old = [item for item in self._items if item.id in self._present]
        new = [item for item in self._items if item.id not in self._present]
        self._items = []
        if new:
            self._store.add(new)
            self._report.added += len(new)
            self._acknowledge(new)
        if old:
            self._store.update(old)
            self._report.updated += len(old)
            self._acknowledge(old)

    def _acknowledge(self, items: Sequence[Item]) -> None:
        if self._stored is not None:
            self._stored([item.id for item in items])
