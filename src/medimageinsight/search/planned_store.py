"""A store that is created with its first image, so that a failed call leaves no empty store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from medimageinsight.search.store_locations import open_or_create_store

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from medimageinsight.search.identity import Identity
    from medimageinsight.search.records import ColumnType
    from medimageinsight.search.store import Store


class PlannedStore:
    """A location where `index_images` creates a store when the first image is embedded, unless another process has.

        with search.PlannedStore("chest", identity=search.Identity.of(model)) as planned:
            search.index_images(model, planned, paths)
            planned.count()

    Until then it has no columns and no items.
    """

    def __init__(self, location: str | os.PathLike[str], *, identity: Identity) -> None:
        self._location = location
        self._identity = identity
        self._store: Store | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    @property
    def identity(self) -> Identity:
        """The store's model, preprocessing and salt; the salt is final only when the store exists."""
        return self._identity if self._store is None else self._store.identity

    @property
    def columns(self) -> dict[str, ColumnType]:
        """Metadata columns and their types."""
        return {} if self._store is None else self._store.columns

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that the store has."""
        return set() if self._store is None else self._store.existing(ids)

    def count(self) -> int:
        """Return the number of items."""
        return 0 if self._store is None else self._store.count()

    def open(self) -> Store:
        """Return the store, which exists from now on; errors are those of `open_or_create_store`."""
        if self._store is None:
            self._store = open_or_create_store(self._location, identity=self._identity)
        return self._store
