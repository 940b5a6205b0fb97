"""A connection to PostgreSQL: one transaction at a time, and errors as `StoreError`."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg import sql

from medimageinsight.errors import MedImageInsightError, StoreError
from medimageinsight.search.store_errors import store_not_found, store_not_writable, store_unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection, Cursor

CONNECT_SECONDS = 10
MIN_PGVECTOR = (0, 8)  # the first with iterative index scans, which continue until enough rows match a filter
_REASONS: tuple[tuple[type[psycopg.Error], str], ...] = (
    (psycopg.errors.DiskFull, "no space left on the server's disk"),
    (psycopg.errors.InsufficientPrivilege, "no permission"),
    (psycopg.errors.ReadOnlySqlTransaction, "the database is read-only"),
)


class PostgresServer:
    """One connection, opened on first use and again after it broke; threads wait for each other."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connection: Connection[tuple[Any, ...]] | None = None

    @contextmanager
    def transaction(self, *, writing: bool = False) -> Iterator[Cursor[tuple[Any, ...]]]:
        """Yield a cursor in a transaction, committed when the block ends and rolled back when it raises.

        Raises:
            StoreError: ``store_unreachable``, ``store_not_writable`` for a block that writes, else ``store_invalid``.
        """
        with self._lock, _translate_errors(writing=writing):
            connection = self._connect()
            with connection.transaction(), connection.cursor() as cursor:
                yield cursor

    def add_extension(self) -> None:
        """Add pgvector to the database if it is missing.

        Raises:
            StoreError: ``store_no_pgvector``.
        """
        try:
            with self._lock, self._plain_connection() as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.errors.UniqueViolation:
            pass  # another process added it at the same moment
        except psycopg.Error as error:
            raise StoreError(
                "expected a database with the extension pgvector, it has none and it could not be added: "
                "install it on the server and have its owner run CREATE EXTENSION vector",
                code="store_no_pgvector",
            ) from error

    def vacuum(self, table: sql.Identifier) -> None:
        """Free the disk space of deleted rows.

        Raises:
            StoreError: ``store_unreachable``, ``store_not_writable``.
        """
        with self._lock, _translate_errors(writing=True):
            self._connect().execute(sql.SQL("VACUUM (ANALYZE) {}").format(table))

    def close(self) -> None:
        """Close the connection; a later call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """Close the connection if the block raises."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _connect(self) -> Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            connection = self._plain_connection()
            try:
                _check_pgvector(connection)
                register_vector(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _plain_connection(self) -> Connection[tuple[Any, ...]]:
        try:
            return psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                application_name="medimageinsight",
                prepare_threshold=None,  # a prepared plan, for any LIMIT, may ignore the index
                client_encoding="UTF8",
            )
        except psycopg.Error as error:
            raise StoreError(
                "expected a PostgreSQL server that answers and lets this user in, it does not: "
                "check the URL and that the server runs",
                code="store_unreachable",
            ) from error


def _check_pgvector(connection: Connection[tuple[Any, ...]]) -> None:
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    if row is None:  # every store needs pgvector, so no store exists
        raise store_not_found()
    version = tuple(int(part) for part in str(row[0]).split(".")[:2])
    if version < MIN_PGVECTOR:
        required = ".".join(map(str, MIN_PGVECTOR))
        raise StoreError(
            f"expected pgvector {required} or newer, got {row[0]}: upgrade it and run ALTER EXTENSION vector UPDATE",
            code="store_no_pgvector",
        )


@contextmanager
def _translate_errors(*, writing: bool) -> Iterator[None]:
    """Raise PostgreSQL's errors as `StoreError`, with the reason only: their messages quote rows."""
    try:
        yield
    except MedImageInsightError:
        raise
    except psycopg.Error as error:
        reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)
        if reason is None and (error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))):
            raise StoreError(
                "expected a PostgreSQL server that stays connected, the connection broke: try again, "
                "unacknowledged writes are lost",
                code="store_unreachable",
            ) from error
        reason = reason or f"SQLSTATE {error.sqlstate}"
        if writing:
            raise store_not_writable(reason) from error
        raise store_unreadable(reason, "check the database") from error
