"""A store in a PostgreSQL database with the extension pgvector."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, LiteralString, Self

from psycopg import sql

from medimageinsight.errors import InputError
from medimageinsight.search.columns import convert_column, find_new_columns
from medimageinsight.search.identity import Identity
from medimageinsight.search.postgres_connection import PostgresServer
from medimageinsight.search.postgres_sql import to_sql
from medimageinsight.search.records import Hit, IndexInfo, Item
from medimageinsight.search.rows import check_known, check_new, score_of
from medimageinsight.search.store import Store
from medimageinsight.search.store_errors import store_exists, store_not_found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from psycopg import Cursor

    from medimageinsight.search.filters import Filter
    from medimageinsight.search.records import ColumnType
    from medimageinsight.search.rows import Rows

# Text is compared by code point as in `LanceStore`, whatever the database's language is.
_TYPES: dict[ColumnType, LiteralString] = {
    "string": 'text COLLATE "C"',
    "integer": "bigint",
    "float": "double precision",
    "boolean": "boolean",
}
_COPY_TYPES: dict[ColumnType, LiteralString] = {
    "string": "text",
    "integer": "int8",
    "float": "float8",
    "boolean": "bool",
}
MAX_INDEXED_DIM = 2000  # pgvector's limit for an index of float32
# Candidates of an index search (hnsw.ef_search): pgvector's default of 40 loses recall, 100 finds 0.98 of the ten
# nearest among a million and 200 finds 0.99; 1,000 is its maximum.
MIN_CANDIDATES, MAX_CANDIDATES = 200, 1000


class PostgresStore(Store):
    """Vectors in two tables of a database; see `open_store` and `create_store`.

    The tables are NAME_items, with one row per image, and NAME_about, with one row: the identity and the columns.
    """

    kind: ClassVar[str] = "postgresql"

    def __init__(self, server: PostgresServer, name: str, identity: Identity) -> None:
        super().__init__(identity)
        self._server = server
        self._items, self._about = _table_names(name)
        self._index = f"{name}_embedding"

    @classmethod
    def create(cls, url: str, name: str, identity: Identity) -> Self:
        """Create a store.

        Raises:
            StoreError: There is one with this name already (``store_exists``), the server cannot be reached
                (``store_unreachable``), has no pgvector (``store_no_pgvector``), or the database cannot be written
                (``store_not_writable``).
        """
        server = PostgresServer(url)
        items, about = _table_names(name)
        with server.closed_on_failure():
            server.add_extension()
            with server.transaction(writing=True) as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext('medimageinsight store'))")
                if _exists(cursor, name):
                    raise store_exists()
                cursor.execute(
                    sql.SQL(
                        'CREATE TABLE {} (id text COLLATE "C" PRIMARY KEY, path text COLLATE "C" NOT NULL, '
                        "embedding vector({}) NOT NULL)"
                    ).format(items, sql.Literal(identity.embedding_dim))
                )
                cursor.execute(sql.SQL("CREATE TABLE {} (identity text NOT NULL, columns text NOT NULL)").format(about))
                cursor.execute(sql.SQL("INSERT INTO {} VALUES (%s, '{{}}')").format(about), [identity.to_json()])
        return cls(server, name, identity)

    @classmethod
    def open(cls, url: str, name: str) -> Self:
        """Open the store with this name.

        Raises:
            StoreError: There is none (``store_not_found``), a newer version wrote it (``store_too_new``), it cannot be
                read (``store_invalid``), or the server cannot be reached (``store_unreachable``).
        """
        server = PostgresServer(url)
        with server.closed_on_failure():
            with server.transaction() as cursor:
                if not _exists(cursor, name):
                    raise store_not_found()
                row = cursor.execute(sql.SQL("SELECT identity FROM {}").format(_table_names(name)[1])).fetchone()
            identity = Identity.from_json(row[0] if row else None)
        return cls(server, name, identity)

    @property
    def columns(self) -> dict[str, ColumnType]:
        """See `Store.columns`."""
        with self._server.transaction() as cursor:
            return self._read_columns(cursor)

    def existing(self, ids: Sequence[str]) -> set[str]:
        """See `Store.existing`."""
        with self._server.transaction() as cursor:
            return self._existing(cursor, ids)

    def scan(self, *, where: str | None = None, rows: int = 4096) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """See `Store.scan`; each block is read in its own transaction, so that none stays open between them."""
        import numpy as np

        condition, values = _where(self._parse(where))
        query = sql.SQL("SELECT id, embedding FROM {} WHERE {} AND id > %s ORDER BY id LIMIT %s").format(
            self._items, condition
        )
        last = ""  # before every id, as none is empty
        while True:
            with self._server.transaction() as cursor:
                found = cursor.execute(query, [*values, last, rows]).fetchall()
            if found:
                yield [row[0] for row in found], np.stack([row[1].to_numpy() for row in found])
            if len(found) < rows:
                return
            last = found[-1][0]

    def index(self) -> IndexInfo | None:
        """See `Store.index`; PostgreSQL adds every new row to it at once."""
        with self._server.transaction() as cursor:
            found = cursor.execute("SELECT 1 FROM pg_class WHERE oid = to_regclass(%s)", [self._index]).fetchone()
        return None if found is None else IndexInfo(kind="HNSW", indexed=self.count(), unindexed=0)

    def _build_index(self) -> None:
        # Its duration depends on the server's maintenance_work_mem.
        if self.identity.embedding_dim > MAX_INDEXED_DIM:
            raise InputError(
                f"expected embeddings of at most {MAX_INDEXED_DIM:,} numbers for an index, "
                f"got {self.identity.embedding_dim:,}: search without one",
                code="index_unsupported",
            )
        with self._server.transaction(writing=True) as cursor:
            cursor.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(self._index)))
            cursor.execute(
                sql.SQL("CREATE INDEX {} ON {} USING hnsw (embedding vector_cosine_ops)").format(
                    sql.Identifier(self._index), self._items
                )
            )

    def compact(self) -> None:
        """See `Store.compact`."""
        self._server.vacuum(self._items)

    def close(self) -> None:
        """See `Store.close`."""
        self._server.close()

    def _optimize(self) -> None:
        """Do nothing: the server optimizes itself."""

    def _write(self, rows: Rows, *, replace: bool) -> None:
        with self._server.transaction(writing=True) as cursor:
            columns = self._read_columns(cursor, lock=True)  # one writer at a time
            new = find_new_columns(columns, rows.types)
            (check_known if replace else check_new)(rows.ids, self._existing(cursor, rows.ids))
            if new:
                columns = {**columns, **new}
                self._add_columns(cursor, new, columns)
            if replace:
                cursor.execute(sql.SQL("DELETE FROM {} WHERE id = ANY(%s)").format(self._items), [rows.ids])
            self._copy(cursor, rows, columns)

    def _add_columns(self, cursor: Cursor[Any], new: dict[str, ColumnType], columns: dict[str, ColumnType]) -> None:
        for name, kind in new.items():
            cursor.execute(
                sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(
                    self._items, sql.Identifier(name), sql.SQL(_TYPES[kind])
                )
            )
        cursor.execute(sql.SQL("UPDATE {} SET columns = %s").format(self._about), [json.dumps(columns)])

    def _widen(self, types: Mapping[str, ColumnType]) -> None:
        with self._server.transaction(writing=True) as cursor:
            columns = {**self._read_columns(cursor, lock=True), **types}
            for name, kind in types.items():
                column = sql.Identifier(name)
                cursor.execute(
                    sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE {} USING {}::{}").format(
                        self._items, column, sql.SQL(_TYPES[kind]), column, sql.SQL(_COPY_TYPES[kind])
                    )
                )
            cursor.execute(sql.SQL("UPDATE {} SET columns = %s").format(self._about), [json.dumps(columns)])

    def _copy(self, cursor: Cursor[Any], rows: Rows, columns: dict[str, ColumnType]) -> None:
        names = [name for name in columns if name in rows.values]
        values = [convert_column(rows.values[name], columns[name]) for name in names]
        copying = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT BINARY)").format(
            self._items, _identifiers("id", "path", "embedding", *names)
        )
        with cursor.copy(copying) as copy:
            copy.set_types(["text", "text", "vector", *(_COPY_TYPES[columns[name]] for name in names)])
            for row in zip(rows.ids, rows.paths, rows.embeddings, *values, strict=True):
                copy.write_row(row)

    def _delete(self, condition: Filter) -> int:
        test, values = to_sql(condition)
        with self._server.transaction(writing=True) as cursor:
            return cursor.execute(sql.SQL("DELETE FROM {} WHERE {}").format(self._items, test), values).rowcount

    def _get(self, ids: list[str]) -> list[Item]:
        with self._server.transaction() as cursor:
            names = list(self._read_columns(cursor))
            query = sql.SQL("SELECT {} FROM {} WHERE id = ANY(%s)").format(
                _identifiers("id", "path", "embedding", *names), self._items
            )
            found = cursor.execute(query, [ids]).fetchall()
        return [
            Item(id=id_, path=path, embedding=vector.to_numpy(), metadata=_metadata(names, values))
            for id_, path, vector, *values in found
        ]

    def _count(self, condition: Filter | None) -> int:
        test, values = _where(condition)
        with self._server.transaction() as cursor:
            row = cursor.execute(sql.SQL("SELECT count(*) FROM {} WHERE {}").format(self._items, test), values)
            return int((row.fetchone() or (0,))[0])

    def _search(self, vector: NDArray[np.float32], k: int, condition: Filter | None, exact: bool) -> list[Hit]:
        test, values = _where(condition)
        # The index does not cover a sum, so that PostgreSQL has to compare every row.
        order = sql.SQL("(embedding <=> %s) + 0.0" if exact else "embedding <=> %s")
        with self._server.transaction() as cursor:
            names = list(self._read_columns(cursor))
            if not exact:
                candidates = min(MAX_CANDIDATES, max(MIN_CANDIDATES, 2 * k))
                cursor.execute("SELECT set_config('hnsw.ef_search', %s, true)", [str(candidates)])
                # With a filter, scan the index until enough rows match.
                cursor.execute("SELECT set_config('hnsw.iterative_scan', 'strict_order', true)")
            query = sql.SQL("SELECT {}, embedding <=> %s FROM {} WHERE {} ORDER BY {} LIMIT %s").format(
                _identifiers("id", "path", *names), self._items, test, order
            )
            found = cursor.execute(query, [vector, *values, vector, k]).fetchall()
        return [
            Hit(id=id_, path=path, score=score_of(distance), metadata=_metadata(names, values))
            for id_, path, *values, distance in found
        ]

    def _read_columns(self, cursor: Cursor[Any], *, lock: bool = False) -> dict[str, ColumnType]:
        query = sql.SQL("SELECT columns FROM {} FOR UPDATE" if lock else "SELECT columns FROM {}")
        row = cursor.execute(query.format(self._about)).fetchone()
        columns: dict[str, ColumnType] = json.loads(row[0]) if row else {}
        return columns

    def _existing(self, cursor: Cursor[Any], ids: Sequence[str]) -> set[str]:
        query = sql.SQL("SELECT id FROM {} WHERE id = ANY(%s)").format(self._items)
        return {row[0] for row in cursor.execute(query, [list(ids)])}


def _table_names(name: str) -> tuple[sql.Identifier, sql.Identifier]:
    return sql.Identifier(f"{name}_items"), sql.Identifier(f"{name}_about")


def _identifiers(*names: str) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _exists(cursor: Cursor[Any], name: str) -> bool:
    # `locations` accepts only names that need no quotes in SQL.
    row = cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{name}_about"]).fetchone()
    return bool(row and row[0])


def _where(condition: Filter | None) -> tuple[sql.Composable, list[object]]:
    return (sql.SQL("TRUE"), []) if condition is None else to_sql(condition)


def _metadata(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}
