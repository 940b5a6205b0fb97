"""What every store of vectors can do; `lance` and `postgres` are how.

A store checks what it is given here, once for both, and asks its subclass for transactions on rows that are right.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from medimageinsight.errors import InputError
from medimageinsight.search.columns import OWN_COLUMNS
from medimageinsight.search.duplicates import find_duplicates
from medimageinsight.search.filters import And, Compare, IsNull, Not, Or, parse
from medimageinsight.search.recall import measure_recall
from medimageinsight.search.rows import to_rows, unit, unknown_ids
from medimageinsight.search.values import StoreInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.search.filters import Filter
    from medimageinsight.search.identity import Identity
    from medimageinsight.search.rows import Rows
    from medimageinsight.search.values import ColumnType, Hit, IndexInfo, Item, Pair, Recall

# An exact search of so many vectors of 1,024 numbers takes about 45 ms on two cores, one with an index 7 ms
# (docs/search.md): below it nobody would notice an index, nor the seconds and the room that it takes.
INDEX_ROWS = 20_000
# A part of rows outside the index above which it is worth folding them in.
UNINDEXED_PART = 0.1
MAX_K = 10_000


class Store(ABC):
    """Vectors of one model with ids, paths and typed metadata.

        with search.create_store("chest.lance", identity=search.Identity.of(model)) as store:
            store.add([search.Item(id="1", embedding=vector, path="1.dcm", metadata={"age": 40})])
            store.search(vector, k=10, where="age >= 40 and modality = 'x-ray'")

    Each call that writes is one transaction: what it wrote is there when it returns, whatever happens to the process,
    and where it raises nothing was written. Calls from many threads are fine. What other processes wrote is seen by the
    next call.

    Args:
        identity: What made the vectors.
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
        """Metadata columns and their types, in the order in which they came."""

    def add(self, items: Sequence[Item]) -> None:
        """Add new items. Columns that the store does not have yet are added; they have no value elsewhere.

        Raises:
            InputError: ``ids_duplicate`` (within the items or with the store), ``metadata_type_conflict``, or another
                code for an item that cannot be stored.
            StoreError: ``store_not_writable``.
        """
        if items:
            self._write(to_rows(items, self.identity.embedding_dim), replace=False)

    def update(self, items: Sequence[Item]) -> None:
        """Put items in the place of stored ones with their ids; metadata is replaced as a whole.

        Raises:
            InputError: ``ids_unknown``, else as `add`.
            StoreError: ``store_not_writable``.
        """
        if items:
            self._write(to_rows(items, self.identity.embedding_dim), replace=True)

    def delete(self, ids: Sequence[str] | None = None, *, where: str | None = None) -> int:
        """Delete items by their ids, or those that a filter finds; unknown ids are passed over.

        Returns:
            How many were deleted.

        Raises:
            InputError: Both or neither are given (``delete_what``), or ``filter_invalid``.
            StoreError: ``store_not_writable``.
        """
        if (ids is None) == (where is None):
            raise InputError("expected ids or a filter of what to delete, got both or neither", code="delete_what")
        if where is not None:
            condition = self._parse(where)
            return self._delete(None, condition)
        chosen = list(dict.fromkeys(ids or ()))
        return self._delete(chosen, None) if chosen else 0

    def get(self, ids: Sequence[str]) -> list[Item]:
        """The items with these ids, in their order.

        Raises:
            InputError: ``ids_unknown``.
        """
        found = {item.id: item for item in self._get(list(dict.fromkeys(ids)))} if ids else {}
        missing = [place for place, one in enumerate(ids) if one not in found]
        if missing:
            raise unknown_ids(missing)
        return [found[one] for one in ids]

    @abstractmethod
    def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that the store has."""

    def count(self, *, where: str | None = None) -> int:
        """How many items there are, or how many a filter finds.

        Raises:
            InputError: ``filter_invalid``.
        """
        return self._count(self._parse(where))

    def search(
        self,
        vector: ArrayLike,
        *,
        k: int = 10,
        where: str | None = None,
        min_score: float | None = None,
        exact: bool = False,
        having: str | None = None,
    ) -> list[Hit]:
        """The stored images nearest to an embedding (D,), best first.

        Args:
            vector: Of an image or a text, of any length.
            k: How many at most.
            where: A filter that they have to fit, see `filters`.
            min_score: The smallest cosine similarity.
            exact: Compare with every vector, not only with those that the index finds.
            having: A column in which they have to have a value, as a label.

        Raises:
            InputError: ``filter_invalid``, ``embedding_invalid``, ``k_invalid``, ``column_unknown``.
        """
        condition = self._parse(where)
        if having is not None:
            self._check_column(having)
            condition = _both(condition, Not(IsNull(having)))
        return self._nearest(unit(vector, self.identity.embedding_dim), k, condition, min_score, exact)

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
        """The stored images nearest to a stored one, itself included.

        Args:
            item_id: The stored one.
            k, where, min_score, exact: As in `search`.
            exclude_same: A column, as ``PatientID``: items with the value that the stored one has there are left
                out, itself too. Items without a value there stay.

        Raises:
            InputError: ``ids_unknown``, ``column_unknown``, ``column_empty`` where the stored one has no value in the
                column, else as `search`.
        """
        item = self.get([item_id])[0]
        condition = self._parse(where)
        if exclude_same is not None:
            condition = _both(condition, self._other_than(item, exclude_same))
        return self._nearest(item.embedding, k, condition, min_score, exact)

    def duplicates(
        self, threshold: float = 0.99, *, where: str | None = None, limit: int = 1000, approximate: bool = False
    ) -> list[Pair]:
        """Pairs of stored images that are nearly the same, best first: every vector is compared with every other.

        Args:
            threshold: The smallest cosine similarity, above 0.
            where: A filter that both have to fit.
            limit: How many pairs at most, the best of all.
            approximate: Compare vectors only with those that lie near the same stored vectors: some pairs are missed,
                more of them the lower the threshold is, and no wrong one is found. For stores so large that every pair
                takes too long.

        Raises:
            InputError: ``filter_invalid``, ``threshold_invalid``, ``limit_invalid``.
        """
        return find_duplicates(self, threshold, where=where, limit=limit, approximate=approximate)

    @abstractmethod
    def scan(self, *, where: str | None = None, rows: int = 4096) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Ids and embeddings (n, D) of all items that fit a filter, at most `rows` at a time, in no certain order."""

    def measure_recall(self, k: int = 10, sample: int = 200) -> Recall:
        """How much of the exact answer the index finds, for stored vectors chosen at random, the same ones each time.

        Raises:
            InputError: The store is empty (``store_empty``).
        """
        return measure_recall(self, k=k, sample=sample)

    def info(self) -> StoreInfo:
        """What there is: items, columns, the model, the index."""
        return StoreInfo(
            kind=self.kind, count=self.count(), columns=self.columns, identity=self.identity, index=self.index()
        )

    @abstractmethod
    def index(self) -> IndexInfo | None:
        """The index, None while there is none and every search is exact."""

    @abstractmethod
    def build_index(self) -> None:
        """Build the index anew.

        Raises:
            InputError: The store is empty (``store_empty``).
            StoreError: ``store_not_writable``.
        """

    @abstractmethod
    def compact(self) -> None:
        """Tidy up after many writes: join small files, put new rows into the index, give back the room of deleted ones.

        What was deleted or replaced is gone from the disk after this, as far as the store can see to it.

        Raises:
            StoreError: ``store_not_writable``.
        """

    def tend(self) -> None:
        """After many writes: build the index if it pays (`INDEX_ROWS`) and there is none, put new rows into it."""
        index = self.index()
        if index is None:
            if self.count() >= INDEX_ROWS:
                self.build_index()
        elif index.unindexed > UNINDEXED_PART * (index.indexed + index.unindexed):
            self._join()

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""

    @abstractmethod
    def _write(self, rows: Rows, *, replace: bool) -> None:
        """Add rows, or replace those with the same ids, in one transaction that checks ids and types."""

    @abstractmethod
    def _join(self) -> None:
        """Join small files and put new rows into the index, while others read."""

    @abstractmethod
    def _delete(self, ids: list[str] | None, condition: Filter | None) -> int: ...

    @abstractmethod
    def _get(self, ids: list[str]) -> list[Item]: ...

    @abstractmethod
    def _count(self, condition: Filter | None) -> int: ...

    @abstractmethod
    def _search(self, vector: NDArray[np.float32], k: int, condition: Filter | None, exact: bool) -> list[Hit]:
        """The `k` nearest; with an index and a filter there may be fewer than there should be."""

    def _parse(self, where: str | None) -> Filter | None:
        return None if where is None else parse(where, {**OWN_COLUMNS, **self.columns})

    def _nearest(
        self, vector: NDArray[np.float32], k: int, condition: Filter | None, min_score: float | None, exact: bool
    ) -> list[Hit]:
        if not 1 <= k <= MAX_K:
            raise InputError(f"expected k from 1 to {MAX_K:,}, got {k}", code="k_invalid")
        hits = self._search(vector, k, condition, exact)
        if len(hits) < k and not exact:
            # Either there are no more, which an exact search finds out fast, or a filter left the index too few.
            hits = self._search(vector, k, condition, exact=True)
        hits.sort(key=lambda hit: (-hit.score, hit.id))
        return [hit for hit in hits if min_score is None or hit.score >= min_score]

    def _check_column(self, column: str) -> None:
        if column not in self.columns:
            raise InputError(
                f"expected one of the columns {', '.join(self.columns) or '(there are none)'}, got {column!r}",
                code="column_unknown",
            )

    def _other_than(self, item: Item, column: str) -> Filter:
        self._check_column(column)
        value = item.metadata.get(column)
        if value is None:
            raise InputError(
                f"expected the item to have a value in {column}, it has none: what is the same cannot be told",
                code="column_empty",
            )
        return Or((IsNull(column), Compare(column, "!=", value)))


def _both(condition: Filter | None, other: Filter) -> Filter:
    return other if condition is None else And((condition, other))
