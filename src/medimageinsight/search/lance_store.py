"""A store in a folder, with LanceDB and without a server."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from filelock import FileLock

from medimageinsight.errors import MedImageInsightError, missing_extra
from medimageinsight.search.columns import find_new_columns
from medimageinsight.search.filters import In
from medimageinsight.search.identity import Identity
from medimageinsight.search.lance_arrow import OWN_FIELDS, column_type, metadata_of, new_field, to_arrow, to_numpy
from medimageinsight.search.lance_index import build_indexes, nearest_exact, nearest_indexed
from medimageinsight.search.lance_sql import to_sql
from medimageinsight.search.records import Hit, IndexInfo, Item
from medimageinsight.search.rows import check_known, check_new, score_of
from medimageinsight.search.store import Store
from medimageinsight.search.store_errors import store_exists, store_not_found, store_not_writable, store_unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.search.filters import Filter
    from medimageinsight.search.records import ColumnType
    from medimageinsight.search.rows import Rows

_TABLE = "vectors"
_IDENTITY_KEY = b"medimageinsight"  # of the table's own metadata, which is written together with the table
REWRITTEN_ROWS = 4096  # in memory at a time
MAX_SMALL_FILES = 64  # each write makes a file; more of them slow a search down
NOW = timedelta(milliseconds=1)  # LanceDB warns of 0
RETAINED_VERSIONS = timedelta(hours=1)  # for searches that run while files are joined
_REASONS = {
    "No space left": "no space left on the disk",
    "File too large": "a file may not grow that large",
    "Permission denied": "no permission",
    "Read-only": "the file system is read-only",
    "quota": "the quota is used up",
}


class LanceStore(Store):
    """Vectors in a folder; see `open_store` and `create_store`."""

    kind: ClassVar[str] = "lancedb"

    def __init__(self, folder: Path, table: Any, identity: Identity) -> None:  # noqa: ANN401 - lancedb's types are loose
        super().__init__(identity)
        self._folder = folder
        self._table = table
        self._lock = FileLock(folder / ".writer.lock")  # one writer at a time, among threads and processes

    @classmethod
    def create(cls, folder: Path, identity: Identity) -> Self:
        """Create a store.

        Raises:
            StoreError: The folder has a store already (``store_exists``) or cannot be written
                (``store_not_writable``).
            MissingExtraError: LanceDB is not installed.
        """
        _check_installed()
        if _has_store(folder):
            raise store_exists()
        import pyarrow as pa

        schema = pa.schema(
            [
                pa.field("id", pa.string(), nullable=False),
                pa.field("path", pa.string(), nullable=False),
                pa.field("embedding", pa.list_(pa.float32(), identity.embedding_dim), nullable=False),
            ],
            metadata={_IDENTITY_KEY: identity.to_json()},
        )
        with _translate_errors(writing=True):
            folder.mkdir(parents=True, exist_ok=True)
        with _translate_errors(writing=True), FileLock(folder / ".writer.lock"):  # two processes may create it
            if _has_store(folder):
                raise store_exists()
            return cls(folder, _connect(folder).create_table(_TABLE, schema=schema), identity)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the store in a folder.

        Raises:
            StoreError: There is none (``store_not_found``), a newer version wrote it (``store_too_new``), or it cannot
                be read (``store_invalid``).
            MissingExtraError: LanceDB is not installed.
        """
        _check_installed()
        if not _has_store(folder):
            raise store_not_found()
        with _translate_errors():
            table = _connect(folder).open_table(_TABLE)
            content = (table.schema.metadata or {}).get(_IDENTITY_KEY)
        return cls(folder, table, Identity.from_json(content))

    @property
    def columns(self) -> dict[str, ColumnType]:
        """See `Store.columns`."""
        with _translate_errors():
            return {field.name: column_type(field.type) for field in self._table.schema if field.name not in OWN_FIELDS}

    def existing(self, ids: Sequence[str]) -> set[str]:
        """See `Store.existing`."""
        if not ids:
            return set()
        with _translate_errors():
            found = self._table.search().where(to_sql(In("id", tuple(ids)))).select(["id"]).to_arrow()
        return set(found["id"].to_pylist())

    def scan(self, *, where: str | None = None, rows: int = 4096) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """See `Store.scan`."""
        condition = self._parse(where)
        with _translate_errors():
            query = self._table.search().select(["id", "embedding"])
            if condition is not None:
                query = query.where(to_sql(condition))
            for batch in query.to_batches(rows):
                if batch.num_rows:
                    yield batch["id"].to_pylist(), to_numpy(batch["embedding"])

    def index(self) -> IndexInfo | None:
        """See `Store.index`."""
        with _translate_errors():
            for index in self._table.list_indices():
                if index.columns == ["embedding"] and (stats := self._table.index_stats(index.name)) is not None:
                    return IndexInfo(
                        kind=stats.index_type, indexed=stats.num_indexed_rows, unindexed=stats.num_unindexed_rows
                    )
        return None

    def _build_index(self) -> None:
        # A search compares the index's best candidates exactly, so that scores are exact.
        with _translate_errors(writing=True), self._lock:
            build_indexes(self._table, self.identity.embedding_dim)

    def compact(self) -> None:
        """See `Store.compact`. Reads by other processes at the same moment may fail and have to be repeated."""
        # The lock excludes writers, so that unverified files are leftovers and not a writer's unfinished ones.
        with _translate_errors(writing=True), self._lock, self._rebuilt_indexes():
            self._table.optimize(cleanup_older_than=NOW, delete_unverified=True)
            # LanceDB leaves a file with few deleted rows as it is, and their content with it.
            if any((_table_folder(self._folder) / "_deletions").glob("*")):
                self._rewrite(self._table.schema)
                self._table.optimize(cleanup_older_than=NOW, delete_unverified=True)

    def maintain(self) -> None:
        """See `Store.maintain`."""
        super().maintain()
        with _translate_errors():
            small_files = self._table.stats()["fragment_stats"]["num_small_fragments"]
        if small_files > MAX_SMALL_FILES:
            self._optimize()

    def close(self) -> None:
        """See `Store.close`; nothing stays open between calls."""

    def _optimize(self) -> None:
        with _translate_errors(writing=True), self._lock, self._rebuilt_indexes():
            self._table.optimize(cleanup_older_than=RETAINED_VERSIONS)

    @contextmanager
    def _rebuilt_indexes(self) -> Iterator[None]:
        """Drop the indexes, and build new ones after the block if there were any; searches are exact meanwhile.

        LanceDB's `optimize` would merge the partitions of an index into partitions of thousands of rows, which made
        searches ten times slower, and the old index has the vectors of deleted rows in it.
        """
        names = [index.name for index in self._table.list_indices()]
        for name in names:
            self._table.drop_index(name)
        try:
            yield
        finally:
            if names and self._table.count_rows():
                build_indexes(self._table, self.identity.embedding_dim)

    def _widen(self, types: Mapping[str, ColumnType]) -> None:
        # LanceDB changes the size of numbers, not their kind: all rows are written again.
        with _translate_errors(writing=True), self._lock, self._rebuilt_indexes():
            schema = self._table.schema
            for name, kind in types.items():
                schema = schema.set(schema.get_field_index(name), new_field(name, kind))
            self._rewrite(schema)

    def _rewrite(self, schema: Any) -> None:  # noqa: ANN401 - of pyarrow
        """Write the remaining rows to new files, as a new version of the table with this schema."""
        import pyarrow as pa

        batches = (batch.cast(schema) for batch in self._table.search().to_batches(REWRITTEN_ROWS))
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        self._table = _connect(self._folder).create_table(_TABLE, data=reader, schema=schema, mode="overwrite")

    def _write(self, rows: Rows, *, replace: bool) -> None:
        with _translate_errors(writing=True), self._lock:
            new = find_new_columns(self.columns, rows.types)
            (check_known if replace else check_new)(rows.ids, self.existing(rows.ids))
            if new:
                self._table.add_columns([new_field(name, kind) for name, kind in new.items()])
            data = to_arrow(rows, self._table.schema)
            if replace:
                self._table.merge_insert("id").when_matched_update_all().execute(data)
            else:
                self._table.add(data)

    def _delete(self, condition: Filter) -> int:
        with _translate_errors(writing=True), self._lock:
            return int(self._table.delete(to_sql(condition)).num_deleted_rows)

    def _get(self, ids: list[str]) -> list[Item]:
        with _translate_errors():
            found = self._table.search().where(to_sql(In("id", tuple(ids)))).to_arrow()
        embeddings = to_numpy(found["embedding"].combine_chunks()) if len(found) else ()
        return [
            Item(id=row["id"], path=row["path"], metadata=metadata_of(row), embedding=embedding)
            for row, embedding in zip(found.drop_columns(["embedding"]).to_pylist(), embeddings, strict=True)
        ]

    def _count(self, condition: Filter | None) -> int:
        with _translate_errors():
            return int(self._table.count_rows(None if condition is None else to_sql(condition)))

    def _search(self, vector: NDArray[np.float32], k: int, condition: Filter | None, exact: bool) -> list[Hit]:
        with _translate_errors():
            sql = None if condition is None else to_sql(condition)
            columns = ["id", "path", *self.columns]
            found = (nearest_exact if exact else nearest_indexed)(self._table, vector, k, sql, columns)
        return [
            Hit(id=row["id"], path=row["path"], score=score_of(row["_distance"]), metadata=metadata_of(row))
            for row in found
        ]


def _check_installed() -> None:
    """Import LanceDB early.

    Raises:
        MissingExtraError: It is not installed.
    """
    # LanceDB reads this when first imported; else it writes to standard error for every empty partition of an index.
    os.environ.setdefault("LANCEDB_LOG", "error")
    try:
        import lancedb  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise missing_extra("search", "a store in a folder") from error


def _connect(folder: Path) -> Any:  # noqa: ANN401 - lancedb's types are loose
    """Connect to the database of a folder; each call sees earlier writes of other processes."""
    import lancedb

    return lancedb.connect(folder, read_consistency_interval=timedelta(0))


def _table_folder(folder: Path) -> Path:
    return folder / f"{_TABLE}.lance"


def _has_store(folder: Path) -> bool:
    """Return whether a table was written there: a crash during its creation leaves a folder without a version."""
    return any((_table_folder(folder) / "_versions").glob("*.manifest"))


@contextmanager
def _translate_errors(*, writing: bool = False) -> Iterator[None]:
    """Raise LanceDB's errors as `StoreError`, with the reason only: their messages contain paths."""
    try:
        yield
    except MedImageInsightError:
        raise
    except (RuntimeError, OSError, ValueError) as error:
        original = str(error).lower()
        reasons = (reason for text, reason in _REASONS.items() if text.lower() in original)
        reason = next(reasons, type(error).__name__)
        if writing:
            raise store_not_writable(reason) from error
        raise store_unreadable(reason, "restore the folder from a copy") from error
