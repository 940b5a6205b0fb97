"""A connection to PostgreSQL: transactions one at a time, and its errors as ours."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg import sql

from medimageinsight.errors import MedImageInsightError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection, Cursor

CONNECT_SECONDS = 10
OLDEST_PGVECTOR = (0, 8)  # the first that goes on searching where a filter drops what the index found
_REASONS: tuple[tuple[type[psycopg.Error], str], ...] = (
    (psycopg.errors.DiskFull, "no space left on the server's disk"),
    (psycopg.errors.InsufficientPrivilege, "no permission"),
    (psycopg.errors.ReadOnlySqlTransaction, "the database is read-only"),
)


class PostgresServer:
    """One connection, opened when it is first needed and again after it broke; threads wait for each other.

    Args:
        url: ``postgresql://...``, without a fragment.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connection: Connection[tuple[Any, ...]] | None = None

    @contextmanager
    def transaction(self, *, writing: bool = False) -> Iterator[Cursor[tuple[Any, ...]]]:
        """A cursor in a transaction that is kept when the block ends and undone when it raises.

        Raises:
            StoreError: ``store_unreachable``, ``store_not_writable`` for a block that writes, else ``store_invalid``.
        """
        with self._lock, _failures(writing=writing):
            connection = self._connect()
            with connection.transaction(), connection.cursor() as cursor:
                yield cursor

    def add_extension(self) -> None:
        """Make sure that the database has pgvector.

        Raises:
            StoreError: ``store_no_pgvector``.
        """
        try:
            with self._lock, self._plain_connection() as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.Error as error:
            raise _no_pgvector() from error

    def vacuum(self, table: sql.Identifier) -> None:
        """Give back the room of deleted rows.

        Raises:
            StoreError: ``store_unreachable``, ``store_not_writable``.
        """
        with self._lock, _failures(writing=True):
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
                prepare_threshold=None,  # a plan for any LIMIT may leave the index out
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
    if row is None:  # every store needs it, so there is none
        raise StoreError("expected a store, there is none: make one with mi2 index add", code="store_not_found")
    version = tuple(int(part) for part in str(row[0]).split(".")[:2])
    if version < OLDEST_PGVECTOR:
        oldest = ".".join(map(str, OLDEST_PGVECTOR))
        raise StoreError(
            f"expected pgvector {oldest} or newer, got {row[0]}: upgrade it and run ALTER EXTENSION vector UPDATE",
            code="store_no_pgvector",
        )


def _no_pgvector() -> StoreError:
    return StoreError(
        "expected a database with the extension pgvector, it has none and it could not be added: "
        "install it on the server and have its owner run CREATE EXTENSION vector",
        code="store_no_pgvector",
    )


@contextmanager
def _failures(*, writing: bool) -> Iterator[None]:
    """PostgreSQL's errors as ours. Their texts quote rows, so only what kind of failure it was is kept."""
    try:
        yield
    except MedImageInsightError:
        raise
    except psycopg.Error as error:
        found = [reason for kind, reason in _REASONS if isinstance(error, kind)]
        if not found and (error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))):
            raise StoreError(
                "expected a PostgreSQL server that stays connected, the connection broke: try again, "
                "what was not acknowledged was not written",
                code="store_unreachable",
            ) from error
        reason = found[0] if found else f"SQLSTATE {error.sqlstate}"
        if writing:
            message = f"expected a store that can be written, it cannot ({reason}): nothing of this call was written"
            raise StoreError(message, code="store_not_writable") from error
        raise StoreError(
            f"expected a store that can be read, it cannot ({reason}): check the database", code="store_invalid"
        ) from error
