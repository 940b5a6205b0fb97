"""A store in a folder: LanceDB, with no server to run."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from medimageinsight.errors import InputError, MedImageInsightError, StoreError, missing_extra
from medimageinsight.search.columns import new_columns
from medimageinsight.search.identity import Identity
from medimageinsight.search.lance_arrow import (
    OWN_FIELDS,
    column_type,
    metadata_of,
    new_field,
    new_schema,
    score_of,
    to_arrow,
    to_numpy,
)
from medimageinsight.search.lance_index import build_indexes, nearest_exact, nearest_indexed
from medimageinsight.search.lance_sql import ids_in, to_sql
from medimageinsight.search.lock import BETWEEN_PROCESSES, WriterLock
from medimageinsight.search.rows import check_stored
from medimageinsight.search.store import Store
from medimageinsight.search.values import Hit, IndexInfo, Item

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.search.filters import Filter
    from medimageinsight.search.rows import Rows
    from medimageinsight.search.values import ColumnType

_TABLE = "vectors"
_ABOUT = b"medimageinsight"  # key of the table's own metadata: it is written together with the table
REWRITTEN_ROWS = 4096  # in memory at a time
# Each write makes a file; more than these slow a search down.
MAX_SMALL_FILES = 64
NOW = timedelta(milliseconds=1)  # LanceDB warns of 0
KEPT_VERSIONS = timedelta(hours=1)  # for searches that run while files are joined
_REASONS = {
    "No space left": "no space left on the disk",
    "File too large": "a file may not grow that large",
    "Permission denied": "no permission",
    "Read-only": "the file system is read-only",
    "quota": "the quota is used up",
}


class LanceStore(Store):
    """Vectors in a folder. Opened by `open_store`, made by `create_store`."""

    kind: ClassVar[str] = "lancedb"

    def __init__(self, folder: Path, table: Any, identity: Identity) -> None:  # noqa: ANN401 - lancedb's types are loose
        super().__init__(identity)
        self._folder = folder
        self._table = table
        self._lock = WriterLock(folder / ".writer.lock")

    @classmethod
    def create(cls, folder: Path, identity: Identity) -> Self:
        """A new store.

        Raises:
            StoreError: There is one already (``store_exists``), or the folder cannot be written
                (``store_not_writable``).
            MissingExtraError: LanceDB is not installed.
        """
        _import()
        if _has_store(folder):
            raise StoreError("expected a new store, there is one already: open it", code="store_exists")
        schema = new_schema(identity.embedding_dim, {_ABOUT: identity.to_json()})
        with _failures("store_not_writable"):
            folder.mkdir(parents=True, exist_ok=True)
            return cls(folder, _connect(folder).create_table(_TABLE, schema=schema), identity)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The store in a folder.

        Raises:
            StoreError: There is none (``store_not_found``), a newer version wrote it (``store_too_new``), or it cannot
                be read (``store_invalid``).
            MissingExtraError: LanceDB is not installed.
        """
        _import()
        if not _has_store(folder):
            raise StoreError("expected a store, there is none: make one with mi2 index add", code="store_not_found")
        with _failures("store_invalid"):
            table = _connect(folder).open_table(_TABLE)
            about = (table.schema.metadata or {}).get(_ABOUT)
        return cls(folder, table, Identity.from_json(about))

    @property
    def columns(self) -> dict[str, ColumnType]:
        """See `Store.columns`."""
        with _failures("store_invalid"):
            return {field.name: column_type(field.type) for field in self._table.schema if field.name not in OWN_FIELDS}

    def existing(self, ids: Sequence[str]) -> set[str]:
        """See `Store.existing`."""
        if not ids:
            return set()
        with _failures("store_invalid"):
            found = self._table.search().where(ids_in(ids)).select(["id"]).to_arrow()
        return set(found["id"].to_pylist())

    def scan(self, *, where: str | None = None, rows: int = 4096) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """See `Store.scan`."""
        condition = self._parse(where)
        with _failures("store_invalid"):
            query = self._table.search().select(["id", "embedding"])
            if condition is not None:
                query = query.where(to_sql(condition))
            for batch in query.to_batches(rows):
                if batch.num_rows:
                    yield batch["id"].to_pylist(), to_numpy(batch["embedding"])

    def index(self) -> IndexInfo | None:
        """See `Store.index`."""
        with _failures("store_invalid"):
            for one in self._table.list_indices():
                if one.columns == ["embedding"] and (stats := self._table.index_stats(one.name)) is not None:
                    return IndexInfo(
                        kind=stats.index_type, indexed=stats.num_indexed_rows, unindexed=stats.num_unindexed_rows
                    )
        return None

    def build_index(self) -> None:
        """See `Store.build_index`. The best that it finds are compared again exactly, so that scores are exact."""
        if not self.count():
            raise InputError("expected a store with items, got an empty one: add images first", code="store_empty")
        with _failures("store_not_writable"), self._lock.held():
            build_indexes(self._table, self.identity.embedding_dim)

    def compact(self) -> None:
        """See `Store.compact`. Another process that reads at this moment may fail and has to ask again."""
        # Where processes are not kept apart, another's unfinished files have to stay: nothing unverified goes.
        with _failures("store_not_writable"), self._lock.held(), self._index_built_anew():
            self._table.optimize(cleanup_older_than=NOW, delete_unverified=BETWEEN_PROCESSES)
            # LanceDB leaves a file as it is while few of its rows are deleted, and their content with it.
            if any((_table_folder(self._folder) / "_deletions").glob("*")):
                self._rewrite()
                self._table.optimize(cleanup_older_than=NOW, delete_unverified=BETWEEN_PROCESSES)

    def tend(self) -> None:
        """See `Store.tend`."""
        super().tend()
        with _failures("store_invalid"):
            small = self._table.stats()["fragment_stats"]["num_small_fragments"]
        if small > MAX_SMALL_FILES:
            self._join()

    def _join(self) -> None:
        with _failures("store_not_writable"), self._lock.held(), self._index_built_anew():
            self._table.optimize(cleanup_older_than=KEPT_VERSIONS)

    @contextmanager
    def _index_built_anew(self) -> Iterator[None]:
        """No indexes in the block, and new ones after it if there were any; searches are exact meanwhile.

        LanceDB's `optimize` would join the cells of an index to ones of thousands of rows, which made searches ten
        times slower, and the old index has the vectors of deleted rows in it.
        """
        names = [one.name for one in self._table.list_indices()]
        for name in names:
            self._table.drop_index(name)
        try:
            yield
        finally:
            if names and self._table.count_rows():
                build_indexes(self._table, self.identity.embedding_dim)

    def _rewrite(self) -> None:
        """The rows that are left in new files, as a new version of the table."""
        import pyarrow as pa

        schema = self._table.schema
        batches = (batch.cast(schema) for batch in self._table.search().to_batches(REWRITTEN_ROWS))
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        self._table = _connect(self._folder).create_table(_TABLE, data=reader, schema=schema, mode="overwrite")

    def close(self) -> None:
        """See `Store.close`; nothing stays open between calls."""

    def _write(self, rows: Rows, *, replace: bool) -> None:
        with _failures("store_not_writable"), self._lock.held():
            new = new_columns(self.columns, rows.types)
            check_stored(rows.ids, self.existing(rows.ids), wanted=replace)
            if new:
                self._table.add_columns([new_field(name, kind) for name, kind in new.items()])
            data = to_arrow(rows, self._table.schema)
            if replace:
                self._table.merge_insert("id").when_matched_update_all().execute(data)
            else:
                self._table.add(data)

    def _delete(self, ids: list[str] | None, condition: Filter | None) -> int:
        sql = ids_in(ids or []) if condition is None else to_sql(condition)
        with _failures("store_not_writable"), self._lock.held():
            return int(self._table.delete(sql).num_deleted_rows)

    def _get(self, ids: list[str]) -> list[Item]:
        with _failures("store_invalid"):
            found = self._table.search().where(ids_in(ids)).to_arrow()
        embeddings = to_numpy(found["embedding"].combine_chunks()) if len(found) else ()
        return [
            Item(id=row["id"], path=row["path"], metadata=metadata_of(row), embedding=embedding)
            for row, embedding in zip(found.drop_columns(["embedding"]).to_pylist(), embeddings, strict=True)
        ]

    def _count(self, condition: Filter | None) -> int:
        with _failures("store_invalid"):
            return int(self._table.count_rows(None if condition is None else to_sql(condition)))

    def _search(self, vector: NDArray[np.float32], k: int, condition: Filter | None, exact: bool) -> list[Hit]:
        with _failures("store_invalid"):
            sql = None if condition is None else to_sql(condition)
            columns = ["id", "path", *self.columns]
            found = (nearest_exact if exact else nearest_indexed)(self._table, vector, k, sql, columns)
        return [
            Hit(id=row["id"], path=row["path"], score=score_of(row["_distance"]), metadata=metadata_of(row))
            for row in found
        ]


def _import() -> None:
    """Find out early whether LanceDB is there."""
    # It writes to standard error of every empty cell of an index; read when it is first imported.
    os.environ.setdefault("LANCEDB_LOG", "error")
    try:
        import lancedb  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise missing_extra("search", "a store in a folder") from error


def _connect(folder: Path) -> Any:  # noqa: ANN401 - lancedb's types are loose
    """The database of a folder; each call sees what others wrote before it."""
    import lancedb

    return lancedb.connect(folder, read_consistency_interval=timedelta(0))


def _table_folder(folder: Path) -> Path:
    return folder / f"{_TABLE}.lance"


def _has_store(folder: Path) -> bool:
    """Whether a table was ever written there: a crash while one is made leaves a folder without a version."""
    return any((_table_folder(folder) / "_versions").glob("*.manifest"))


@contextmanager
def _failures(code: str) -> Iterator[None]:
    """LanceDB's errors as ours. Their texts have paths in them, so only what kind of failure it was is kept."""
    try:
        yield
    except MedImageInsightError:
        raise
    except (RuntimeError, OSError, ValueError) as error:
        found = [reason for sign, reason in _REASONS.items() if sign.lower() in str(error).lower()]
        reason = found[0] if found else type(error).__name__
        if code == "store_not_writable":
            message = f"expected a store that can be written, it cannot ({reason}): nothing of this call was written"
        else:
            message = f"expected a store that can be read, it cannot ({reason}): restore the folder from a copy"
        raise StoreError(message, code=code) from error
