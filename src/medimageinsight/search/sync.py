"""Files that moved or were deleted: `sync` follows folders, `prune` removes items without a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.files.paths import canonical_path
from medimageinsight.search.indexing import index_images
from medimageinsight.search.records import STUDY_COLUMN, Item
from medimageinsight.search.study_indexing import index_studies

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from medimageinsight.api import MedImageInsight
    from medimageinsight.search.store import Store
    from medimageinsight.search.study_indexing import Level
    from medimageinsight.studies import Study

# Cosine of one image's embeddings in two batches: the same pixels differ by rounding only.
SAME_IMAGE = 0.99999
_READ_ROWS = 1024  # items in memory at a time


@dataclass(kw_only=True)
class SyncReport:
    """Numbers of images that `sync` processed, and the errors of new files that could not be stored, by path."""

    added: int = 0
    moved: int = 0  # stored under the new path, with the metadata of the old one
    deleted: int = 0
    unchanged: int = 0
    updated: int = 0  # of a series or study whose files changed
    failed: Mapping[str, InputError] = field(default_factory=dict)


def find_missing(store: Store) -> list[str]:
    """Return the ids of items whose file does not exist.

    A relative path counts from the current folder. An item whose id is the file's path is found from anywhere.

    Raises:
        InputError: No item has a file, as in another folder or without a mounted disk (``store_files_missing``).
    """
    missing: list[str] = []
    count = 0
    for item in _items(store):
        count += 1
        if not _has_file(item):
            missing.append(item.id)
    if count and len(missing) == count:
        raise InputError(
            f"expected files of the store's {count:,} items, got none: change to the folder from which they were "
            "indexed, or mount their disk",
            code="store_files_missing",
        )
    return missing


def prune(store: Store) -> int:
    """Delete the items whose file does not exist, and return their number; errors are those of `find_missing`."""
    return store.delete(find_missing(store))


def sync(
    model: MedImageInsight,
    store: Store,
    folders: Sequence[str | os.PathLike[str]],
    paths: Sequence[str],
    *,
    frame: int = 0,
    progress: Callable[[int], None] | None = None,
) -> SyncReport:
    """Make a store hold the files `paths` of `folders`: add new ones, and remove items whose file is gone from them.

    A new file with the embedding of a removed item, `SAME_IMAGE`, is that item moved: it keeps the metadata. Items of
    other folders stay.

    Raises:
        InputError: As `index_images`.
        StoreError: ``store_not_writable``.
    """
    roots = [Path(canonical_path(folder)) for folder in folders]
    gone = [item for item in _items(store) if not _has_file(item) and _is_below(item, roots) and not _is_of_study(item)]
    new: list[str] = []
    indexed = index_images(model, store, paths, existing="skip", frame=frame, progress=progress, stored=new.extend)
    moved = _take_over_metadata(store, new, gone)
    store.delete([item.id for item in gone])
    return SyncReport(
        added=indexed.added - moved,
        moved=moved,
        deleted=len(gone) - moved,
        unchanged=indexed.skipped,
        failed=indexed.failed,
    )


def sync_studies(
    model: MedImageInsight,
    store: Store,
    folders: Sequence[str | os.PathLike[str]],
    studies: Iterable[Study],
    *,
    levels: Sequence[Level],
    failed: Mapping[str, InputError] | None = None,
    progress: Callable[[int], None] | None = None,
) -> SyncReport:
    """Make a store hold the studies of folders: add new items, replace those whose files changed, remove the others.

    `failed` has the errors of files, by name, to which `studies` may add while it is read. An item stays if its file
    cannot be read, and if it is of other folders. Items that `index_images` added stay too.

    Raises:
        InputError: As `index_studies`.
        StoreError: ``store_not_writable``.
    """
    known = {item.id: item.path for item in items_below(store, folders) if _is_of_study(item)}
    seen: set[str] = set()
    indexed = index_studies(
        model, store, studies, levels=levels, existing="changed", progress=progress, found=seen.update
    )
    errors = {**(failed or {}), **indexed.failed}
    unreadable = {name.partition("#")[0] for name in errors}
    gone = [item_id for item_id, path in known.items() if item_id not in seen and path not in unreadable]
    store.delete(gone)
    return SyncReport(
        added=indexed.added,
        updated=indexed.updated,
        deleted=len(gone),
        unchanged=indexed.skipped,
        failed=errors,
    )


def items_below(store: Store, folders: Sequence[str | os.PathLike[str]], *, where: str | None = None) -> Iterator[Item]:
    """Yield the items that match a filter and whose files are, or were, below folders."""
    roots = [Path(canonical_path(folder)) for folder in folders]
    return (item for item in _items(store, where) if _is_below(item, roots))


def _is_of_study(item: Item) -> bool:
    return "content" in item.metadata and STUDY_COLUMN in item.metadata


def _take_over_metadata(store: Store, new: Sequence[str], gone: Sequence[Item]) -> int:
    """Give new items the metadata of the removed items with the same image, and return the number of pairs."""
    left = list(gone)
    moved = 0
    for start in range(0, len(new), _READ_ROWS):
        updates = []
        for item in store.get(new[start : start + _READ_ROWS]) if left else ():
            if (index := _find_same(item, left)) is not None:
                metadata = {**left.pop(index).metadata, **item.metadata}
                updates.append(Item(id=item.id, path=item.path, embedding=item.embedding, metadata=metadata))
            if not left:
                break
        store.update(updates)
        moved += len(updates)
    return moved


def _find_same(item: Item, candidates: Sequence[Item]) -> int | None:
    """Return the index of the same image: of several, that with the same file name, if it is the only one."""
    cosines = np.stack([candidate.embedding for candidate in candidates]) @ item.embedding
    same = np.flatnonzero(cosines >= SAME_IMAGE).tolist()
    named = [index for index in same if Path(candidates[index].path).name == Path(item.path).name]
    found = named if len(same) > 1 else same
    return found[0] if len(found) == 1 else None


def _items(store: Store, where: str | None = None) -> Iterator[Item]:
    for ids, _ in store.scan(where=where, rows=_READ_ROWS):
        yield from store.get(ids)


def _has_file(item: Item) -> bool:
    try:
        return not item.path or Path(item.path).exists() or Path(item.id).exists()
    except (OSError, ValueError):  # an id that is no path
        return False


def _is_below(item: Item, roots: Sequence[Path]) -> bool:
    paths = [Path(canonical_path(item.path)), Path(item.id)]
    return any(path.is_relative_to(root) for path in paths for root in roots)
