"""Indexing of image files: embed them and write them to a store in batches."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from medimageinsight.embedder import BATCH_SIZE
from medimageinsight.errors import InputError
from medimageinsight.files.paths import canonical_path
from medimageinsight.search.columns import check_text, find_new_columns, widen_types
from medimageinsight.search.identity import Identity
from medimageinsight.search.item_writer import IndexReport, ItemWriter
from medimageinsight.search.records import FRAME_COLUMN, Item, Value
from medimageinsight.search.rows import check_ids, check_new, check_unique, is_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.search.planned_store import PlannedStore
    from medimageinsight.search.records import ColumnType
    from medimageinsight.search.store import Store

_LOOKUP_IDS = 10_000  # ids that a store looks up at a time

Existing: TypeAlias = Literal["refuse", "skip", "update"]
IdSource: TypeAlias = Literal["path", "name", "stem"]
MetadataSource: TypeAlias = Callable[[str], Mapping[str, Value] | None]
"""Path to metadata; None for a path without any."""


def index_images(
    model: MedImageInsight,
    store: Store | PlannedStore,
    paths: Iterable[str | os.PathLike[str]],
    *,
    ids: Sequence[str] | None = None,
    metadata: Sequence[MetadataSource] = (),
    types: Mapping[str, ColumnType] | None = None,
    vectors: Mapping[str, NDArray[np.float32]] | None = None,
    existing: Existing = "refuse",
    batch_size: int = BATCH_SIZE,
    frame: int = 0,
    progress: Callable[[int], None] | None = None,
    stored: Callable[[Sequence[str]], None] | None = None,
) -> IndexReport:
    """Embed image files with the store's model and add them. Unusable files are reported, the others are stored.

        table = search.read_metadata("chest.csv", stored=store.columns)
        search.index_images(model, store, paths, metadata=[table.row, search.read_dicom_metadata], types=table.types)

    The store holds the `paths` as given. The `ids` are their canonical spellings (`make_ids`) unless they are given; an
    image that an earlier version stored under its path as given keeps that id. A `frame` other than the first is stored
    in the column `FRAME_COLUMN`, and its id ends with ``#frame=N``. `metadata` are functions from path to
    metadata: `MetadataTable.row`, `read_dicom_metadata`, a dict's ``get``. `types` are their columns' types, as far as
    they are known: conflicts are found before the first image is embedded, and columns of the store are widened
    (`Store.widen`). `vectors` are embeddings of paths that are not embedded again. If the store already has ids,
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
    names = [os.fspath(path) for path in paths]
    frame_columns = {FRAME_COLUMN: frame} if frame else {}
    if frame:
        types = merge_types(types or {}, {FRAME_COLUMN: "integer"})
        ids = [f"{item_id}#frame={frame}" for item_id in make_ids(names, "path")] if ids is None else ids
    chosen, present = _choose(store, names, ids, existing, report)
    find_new_columns(widen_types(store.columns, types or {}), types or {})
    known = {item_id: path for item_id, path in chosen.items() if path in (vectors or {})}
    new = {item_id: path for item_id, path in chosen.items() if item_id not in known}
    writer = ItemWriter(store, report, present, stored, types or {})
    processed = len(report.failed) + report.skipped
    stream = model.stream_images(
        new.values(), batch_size=batch_size, frame=frame, preprocessing=store.identity.settings()
    )
    with closing(stream):
        embedded = itertools.chain(
            (((vectors or {})[path], None) for path in known.values()),
            ((result.embedding, result.error) for result in stream),
        )
        for done, ((item_id, path), result) in enumerate(zip({**known, **new}.items(), embedded, strict=True), start=1):
            _write_result(writer, item_id, path, *result, metadata, frame_columns)
            if progress is not None:
                progress(processed + done)
    writer.close()
    return report


def merge_types(*sources: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
    """Return the column types of several sources of metadata.

    Raises:
        InputError: Two of them have the same column (``metadata_column_twice``).
    """
    types: dict[str, ColumnType] = {}
    for source in sources:
        _check_disjoint(types, source)
        types.update(source)
    return types


def make_ids(paths: Sequence[str], source: IdSource) -> list[str]:
    """Return ids of files: their paths in one spelling (`canonical_path`), their names, or names without suffix."""
    if source == "path":
        return [canonical_path(path) for path in paths]
    return [getattr(PurePath(path), source) for path in paths]


def resolve_ids(store: Store, ids: Sequence[str]) -> list[str]:
    """Return the ids of a store for ids or for paths in any spelling; unknown ones are returned unchanged."""
    exact = store.existing(ids)
    spelled = {item_id: canonical_path(item_id) for item_id in ids if item_id not in exact}
    found = store.existing(list(spelled.values()))
    return [spelled[item_id] if spelled.get(item_id) in found else item_id for item_id in ids]


def label_by_folder(folder: str, paths: Iterable[str]) -> dict[str, str]:
    """Return path to label for files of ``folder/LABEL/...``: the subfolder's name, with spaces for underscores."""
    parts = {path: PurePath(path).relative_to(folder).parts for path in paths}
    return {path: below[0].replace("_", " ").strip() for path, below in parts.items() if len(below) > 1}


def _choose(
    store: Store | PlannedStore, paths: list[str], ids: Sequence[str] | None, existing: Existing, report: IndexReport
) -> tuple[dict[str, str], set[str]]:
    """Return the files to embed, id to path, and the ids that the store has; all ids are checked before the work."""
    given_ids = _ids_of_paths(store, paths) if ids is None else list(ids)
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


def _ids_of_paths(store: Store | PlannedStore, paths: list[str]) -> list[str]:
    """Return canonical paths, except for paths as given that the store has as ids from an earlier version."""
    ids = make_ids(paths, "path")
    other = [path for path, item_id in zip(paths, ids, strict=True) if path != item_id and is_id(path)]
    earlier: set[str] = set()
    for start in range(0, len(other), _LOOKUP_IDS):
        earlier |= store.existing(other[start : start + _LOOKUP_IDS])
    return [path if path in earlier else item_id for path, item_id in zip(paths, ids, strict=True)]


def _write_result(
    writer: ItemWriter,
    item_id: str,
    path: str,
    embedding: NDArray[np.float32] | None,
    error: InputError | None,
    metadata: Sequence[MetadataSource],
    frame_columns: Mapping[str, Value],
) -> None:
    if embedding is not None:
        writer.open()  # before the metadata, which may depend on the store's salt
        columns = _read_metadata(path, metadata)
        writer.report.undescribed += bool(metadata) and not columns
        _check_disjoint(columns, frame_columns)
        writer.put(Item(id=item_id, path=path, embedding=embedding, metadata={**columns, **frame_columns}))
    elif error is not None:
        writer.report.failed[path] = error


def _read_metadata(path: str, sources: Sequence[MetadataSource]) -> dict[str, Value]:
    columns: dict[str, Value] = {}
    for source in sources:
        found = source(path) or {}
        _check_disjoint(columns, found)
        columns.update(found)
    return columns


def _check_disjoint(columns: Mapping[str, object], more: Mapping[str, object]) -> None:
    if repeated := sorted(columns.keys() & more.keys()):
        raise InputError(
            f"expected each metadata column from one source, got {', '.join(repeated)} from two: leave one out",
            code="metadata_column_twice",
        )
