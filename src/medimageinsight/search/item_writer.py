"""Items collected and written to a store in transactions, and the report of what was written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medimageinsight.search.planned_store import PlannedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from medimageinsight.errors import InputError
    from medimageinsight.search.records import ColumnType, Item
    from medimageinsight.search.store import Store

# Limits of a transaction, in rows and in seconds since its first row: a crash loses no more.
WRITTEN_ROWS, WRITTEN_SECONDS = 256, 10.0


@dataclass(kw_only=True)
class IndexReport:
    """Numbers of images that `index_images` processed, and the errors of those that could not be stored, by path."""

    added: int = 0
    updated: int = 0
    skipped: int = 0  # the store has them already
    undescribed: int = 0  # stored without metadata although sources of metadata were given
    failed: dict[str, InputError] = field(default_factory=dict)


class ItemWriter:
    """Collects items and writes them in transactions."""

    def __init__(
        self,
        store: Store | PlannedStore,
        report: IndexReport,
        present: set[str],
        stored: Callable[[Sequence[str]], None] | None,
        types: Mapping[str, ColumnType],
    ) -> None:
        self._planned = store
        self._types = types
        self._store: Store | None = None
        self.report = report
        self._present = present
        self._stored = stored
        self._items: list[Item] = []
        self._since = time.monotonic()

    def expect(self, ids: Iterable[str]) -> None:
        """Remember ids that the store has, whose items are replaced."""
        self._present.update(ids)

    def open(self) -> Store:
        """Return the store, created and with its columns widened at the first call."""
        if self._store is None:
            self._store = self._planned.open() if isinstance(self._planned, PlannedStore) else self._planned
            self._store.widen(self._types)
        return self._store

    def close(self) -> None:
        """Write the last items and maintain the store."""
        self.flush()
        if self._store is not None:
            self._store.maintain()

    def put(self, item: Item) -> None:
        """Write an item with the next transaction."""
        if not self._items:
            self._since = time.monotonic()
        self._items.append(item)
        if len(self._items) >= WRITTEN_ROWS or time.monotonic() - self._since >= WRITTEN_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the items so far."""
        replaced = [item for item in self._items if item.id in self._present]
        new = [item for item in self._items if item.id not in self._present]
        self._items = []
        if new:
            self.open().add(new)
            self.report.added += len(new)
            self._acknowledge(new)
        if replaced:
            self.open().update(replaced)
            self.report.updated += len(replaced)
            self._acknowledge(replaced)

    def _acknowledge(self, items: Sequence[Item]) -> None:
        if self._stored is not None:
            self._stored([item.id for item in items])
