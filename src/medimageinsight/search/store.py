"""The protocol of a store of vectors; `LanceStore` and `PostgresStore` implement it.

`Store` checks arguments once for both and calls its subclass for transactions on checked rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from medimageinsight._deprecated import OldMethods, renamed_argument
from medimageinsight.errors import InputError
from medimageinsight.search.columns import OWN_COLUMNS, widen_types
from medimageinsight.search.filter_parser import parse_filter
from medimageinsight.search.filters import And, In, IsNull, Not, Or
from medimageinsight.search.records import StoreInfo
from medimageinsight.search.rows import check_known, normalize_query, to_rows
from medimageinsight.search.store_errors import store_empty

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.search.filters import Filter
    from medimageinsight.search.identity import Identity
    from medimageinsight.search.records import ColumnType, Hit, IndexInfo, Item, Value
    from medimageinsight.search.rows import Rows

# An exact search of this many vectors of 1,024 numbers takes about 45 ms on two cores, one with an index 7 ms
# (docs/search.md): for fewer vectors an index is not worth its build time and disk space.
INDEX_ROWS = 20_000
# The fraction of rows outside the index above which `maintain` adds them to it.
UNINDEXED_PART = 0.1
MAX_K = 10_000


class Store(OldMethods, ABC):
    """Vectors of one model and preprocessing with ids, paths and typed metadata.

        with search.create_store("chest.lance", identity=search.Identity.of(model)) as store:
            store.add([search.Item(id="1", embedding=vector, path="1.dcm", metadata={"age": 40})])
            store.search(vector, k=10, where="age >= 40 and modality = 'x-ray'")

    Each call that writes is one transaction: when it returns, its data is durable; when it raises, nothing was written.
    Calls from many threads are safe. The next call sees what other processes wrote.
    """

    kind: ClassVar[str]

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    @abstractmethod
    def columns(self) -> dict[str, ColumnType]:
        """Metadata columns and their types, in the order in which they were added."""

    def add(self, items: Sequence[Item]) -> None:
        """Add new items. New columns are created, without a value for the stored items.

        Raises:
            InputError: ``ids_duplicate`` (within the items or with the store), ``metadata_type_conflict``, or another
                code for an item that cannot be stored.
            StoreError: ``store_not_writable``.
        """
        if items:
            self._write(to_rows(items, self.identity.embedding_dim), replace=False)

    def update(self, items: Sequence[Item]) -> None:
        """Replace the stored items with the same ids, including all their metadata.

        Raises:
            InputError: ``ids_unknown``, else as `add`.
            StoreError: ``store_not_writable``.
        """
        if items:
            self._write(to_rows(items, self.identity.embedding_dim), replace=True)

    def widen(self, types: Mapping[str, ColumnType]) -> None:
        """Change columns to types that hold their values and others too: integer to float, and any to string.

        Columns that the store does not have, or that hold the type already, are ignored.

        Raises:
            StoreError: ``store_not_writable``.
        """
        columns = self.columns
        if changed := {name: kind for name, kind in widen_types(columns, types).items() if kind != columns[name]}:
            self._widen(changed)

    def delete(self, ids: Sequence[str] | None = None, *, where: str | None = None) -> int:
        """Delete items by their ids, or those that match a filter, and return their number; ignore unknown ids.

        Raises:
            InputError: Both or neither are given (``delete_what``), or ``filter_invalid``.
            StoreError: ``store_not_writable``.
        """
        if (ids is None) == (where is None):
            raise InputError("expected ids or a filter of what to delete, got both or neither", code="delete_what")
        if where is not None:
            return self._delete(parse_filter(where, {**OWN_COLUMNS, **self.columns}))
        return self._delete(In("id", tuple(dict.fromkeys(ids)))) if ids else 0

    def get(self, ids: Sequence[str]) -> list[Item]:
        """Return the items with these ids, in their order.

        Raises:
            InputError: ``ids_unknown``.
        """
        found = {item.id: item for item in self._get(list(dict.fromkeys(ids)))} if ids else {}
        check_known(ids, found.keys())
        return [found[item_id] for item_id in ids]

    @abstractmethod
    def existing(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that the store has."""

    def count(
        self,
        *,
        where: str | None = None,
        having: str | None = None,
        without: Mapping[str, Sequence[Value]] | None = None,
        within: Mapping[str, Sequence[Value]] | None = None,
    ) -> int:
        """Return the number of items, or of those that `search` with these arguments may find.

        `within` has, by column, the values that an item may have.

        Raises:
            InputError: ``filter_invalid``, ``column_unknown``.
        """
        condition = self._condition(where, having, without)
        for column, values in (within or {}).items():
            self._check_column(column)
            condition = _both(condition, In(column, tuple(value for value in values if value is not None)))
        return self._count(condition)

    def search(
        self,
        vector: ArrayLike,
        *,
        k: int = 10,
        where: str | None = None,
        min_score: float | None = None,
        exact: bool = False,
        having: str | None = None,
        without: Mapping[str, Sequence[Value]] | None = None,
    ) -> list[Hit]:
        """Find the stored images nearest to an embedding (D,), best first.

        Args:
            vector: Embedding of an image or a text, of any norm.
            k: The largest number of hits.
            where: A filter that hits must match, see `filters`.
            min_score: The smallest cosine similarity.
            exact: Compare with every vector instead of using the index.
            having: A column in which hits must have a value, such as a label.
            without: Column to values that hits must not have there, such as the query's own patient.

        Raises:
            InputError: ``filter_invalid``, ``embedding_invalid``, ``k_invalid``, ``column_unknown``.
        """
        condition = self._condition(where, having, without)
        return self._nearest(normalize_query(vector, self.identity.embedding_dim), k, condition, min_score, exact)

    @renamed_argument("other_than_same", "exclude_same")
    def more_like(
        self,
        item_id: str,
        *,
        k: int = 10,
        where: str | None = None,
        min_score: float | None = None,
        exact: bool = False,
        exclude_same: str | None = None,
    ) -> list[Hit]:
        """Find the stored images nearest to a stored one, itself included; arguments as in `search`.

        `exclude_same` is a column, such as ``PatientID``: items that share the image's value there are left out, and
        so is the image. Items without a value there stay.

        Raises:
            InputError: ``ids_unknown``, ``column_unknown``, ``column_empty`` where the image has no value in the
                column, else as `search`.
        """
        item = self.get([item_id])[0]
        condition = self._parse(where)
        if exclude_same is not None:
            condition = _both(condition, _differs(exclude_same, self.own_values(item, exclude_same)))
        return self._nearest(item.embedding, k, condition, min_score, exact)

    def own_values(self, item: Item, column: str) -> list[Value]:
        """Return the value of an item in a column, as a list.

        Raises:
            InputError: ``column_unknown``; ``column_empty`` where it has none.
        """
        self._check_column(column)
        value = item.metadata.get(column)
        if value is None:
            raise InputError(
                f"expected the item to have a value in {column}, got none: choose another column or image",
                code="column_empty",
            )
        return [value]

    @abstractmethod
    def scan(self, *, where: str | None = None, rows: int = 4096) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Yield ids and embeddings (n, D) of all items that match a filter, n <= `rows`, in no particular order."""

    def info(self) -> StoreInfo:
        """Return the number of items, the columns, the model and the index."""
        return StoreInfo(
            kind=self.kind, count=self.count(), columns=self.columns, identity=self.identity, index=self.index()
        )

    @abstractmethod
    def index(self) -> IndexInfo | None:
        """Return the state of the index, None while there is none and every search is exact."""

    def build_index(self) -> None:
        """Build the index anew.

        Raises:
            InputError: The store is empty (``store_empty``).
            StoreError: ``store_not_writable``.
        """
        if not self.count():
            raise store_empty()
        self._build_index()

    @abstractmethod
    def compact(self) -> None:
        """Join small files, add new rows to the index, and free the disk space of deleted rows.

        Deleted and replaced data is gone from the disk after this, as far as the store controls it.

        Raises:
            StoreError: ``store_not_writable``.
        """

    def maintain(self) -> None:
        """After many writes, build a missing index if it pays (`INDEX_ROWS`), or add many new rows to it."""
        index = self.index()
        if index is None:
            if self.count() >= INDEX_ROWS:
                self.build_index()
        elif index.unindexed > UNINDEXED_PART * (index.indexed + index.unindexed):
            self._optimize()

    @abstractmethod
    def close(self) -> None:
        """Release files and connections."""

    @abstractmethod
    def _write(self, rows: Rows, *, replace: bool) -> None:
        """Add rows, or replace those with the same ids, in one transaction that checks ids and types."""

    @abstractmethod
    def _widen(self, types: Mapping[str, ColumnType]) -> None:
        """Change the types of columns in one transaction."""

    @abstractmethod
    def _build_index(self) -> None: ...

    @abstractmethod
    def _optimize(self) -> None:
        """Join small files and add new rows to the index, without blocking readers."""

    @abstractmethod
    def _delete(self, condition: Filter) -> int: ...

    @abstractmethod
    def _get(self, ids: list[str]) -> list[Item]: ...

    @abstractmethod
    def _count(self, condition: Filter | None) -> int: ...

    @abstractmethod
    def _search(self, vector: NDArray[np.float32], k: int, condition: Filter | None, exact: bool) -> list[Hit]:
        """Return the `k` nearest items; with an index and a filter there may be too few."""

    def _condition(
        self, where: str | None, having: str | None, without: Mapping[str, Sequence[Value]] | None
    ) -> Filter | None:
        """Return the filter of `search` and `count`; ``without`` may have the ids of items too."""
        condition = self._parse(where)
        if having is not None:
            self._check_column(having)
            condition = _both(condition, Not(IsNull(having)))
        for column, values in (without or {}).items():
            if column not in OWN_COLUMNS:
                self._check_column(column)
            condition = _both(condition, _differs(column, values))
        return condition

    def _parse(self, where: str | None) -> Filter | None:
        return None if where is None else parse_filter(where, {**OWN_COLUMNS, **self.columns})

    def _nearest(
        self, vector: NDArray[np.float32], k: int, condition: Filter | None, min_score: float | None, exact: bool
    ) -> list[Hit]:
        if not 1 <= k <= MAX_K:
            raise InputError(f"expected k from 1 to {MAX_K:,}, got {k}", code="k_invalid")
        hits = self._search(vector, k, condition, exact)
        if len(hits) < k and not exact:
            # Either there are no more, where an exact search is fast, or the filter left the index too few.
            hits = self._search(vector, k, condition, exact=True)
        hits.sort(key=lambda hit: (-hit.score, hit.id))
        return [hit for hit in hits if min_score is None or hit.score >= min_score]

    def _check_column(self, column: str) -> None:
        if column not in self.columns:
            raise InputError(
                f"expected one of the columns {', '.join(self.columns) or '(there are none)'}, got {column!r}",
                code="column_unknown",
            )


def _differs(column: str, values: Sequence[Value]) -> Filter:
    """Return the filter for items with none of the values in a column; items without a value there fit."""
    return Or((IsNull(column), Not(In(column, tuple(value for value in values if value is not None)))))


def _both(condition: Filter | None, extra: Filter) -> Filter:
    return extra if condition is None else And((condition, extra))
