"""Decode every image of a table once, on all cores, and cache the fingerprints for the next check."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from medimageinsight.datasets.fingerprint import Fingerprint, fingerprint
from medimageinsight.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medimageinsight.datasets.sample import Sample

_CHUNK = 512  # images between two writes to the cache
_SQLITE_MAGIC = b"SQLite format 3\0"
# The version in the table's name changes with its columns.
_SCHEMA = """create table if not exists fingerprint_2 (
    path text, offset integer, size integer, changed integer, checksum blob, difference blob,
    primary key (path, offset)) without rowid"""

_FileState: TypeAlias = tuple[str, int, int, int]  # path, offset and size in bytes, modification time in ns


def check_images(
    samples: Sequence[Sample],
    *,
    cache: str | Path | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Fingerprint]:
    """Return the fingerprint of every sample's image, in order; an unreadable image has an error code.

    Args:
        samples: The samples.
        cache: An SQLite file of earlier fingerprints; an image whose file has the same size and modification time is
            not opened again, unless it could not be read. A damaged cache is replaced by an empty one.
        workers: Threads; one for each core by default. Decoding releases the GIL.
        progress: Called with the number of images done.

    Raises:
        ConfigError: The cache is a file of another kind, in use, or in a folder that does not exist
            (``cache_unusable``).
    """
    results: list[Fingerprint] = []
    with closing(_open_cache(cache)) as connection, ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for start in range(0, len(samples), _CHUNK):
            chunk = samples[start : start + _CHUNK]
            states = [_file_state(sample) for sample in chunk]
            cached = [_read_cache(connection, state) for state in states]
            missing = [index for index, entry in enumerate(cached) if entry is None]
            computed = dict(zip(missing, pool.map(_fingerprint, [chunk[index] for index in missing]), strict=True))
            results += [entry or computed[index] for index, entry in enumerate(cached)]
            with connection:
                connection.executemany(
                    "insert or replace into fingerprint_2 values (?, ?, ?, ?, ?, ?)",
                    (
                        (*state, entry.checksum, entry.difference)
                        for index, entry in computed.items()
                        if not entry.code and (state := states[index])
                    ),
                )
            if progress is not None:
                progress(len(results))
    return results


def _fingerprint(sample: Sample) -> Fingerprint:
    try:
        source = sample.image_source()
    except ImageError as error:
        return Fingerprint(code=error.code)
    return fingerprint(source)


def _file_state(sample: Sample) -> _FileState | None:
    """Return what identifies the image's file in the cache; None if it does not exist."""
    try:
        status = sample.path.stat()
    except (OSError, ValueError):
        return None
    part = sample.byte_range
    offset, size = (0, status.st_size) if part is None else (part.offset, part.size)
    return str(sample.path.absolute()), offset, size, status.st_mtime_ns


def _read_cache(connection: sqlite3.Connection, state: _FileState | None) -> Fingerprint | None:
    if state is None:
        return None
    query = "select checksum, difference from fingerprint_2 where path=? and offset=? and size=? and changed=?"
    row = connection.execute(query, state).fetchone()
    return None if row is None else Fingerprint(checksum=row[0], difference=row[1])


def _open_cache(path: str | Path | None) -> sqlite3.Connection:
    """Open the cache file, or an empty cache in memory."""
    if path is None:
        return _connect(":memory:")
    if Path(path).exists():
        try:
            with Path(path).open("rb") as file:
                is_sqlite_or_empty = file.read(len(_SQLITE_MAGIC)) in (_SQLITE_MAGIC, b"")
        except OSError as error:
            raise _unusable_cache(error.strerror or type(error).__name__) from None
        if not is_sqlite_or_empty:  # only such a file is replaced if it is damaged
            raise _unusable_cache("a file of another kind")
    try:
        return _connect(str(path))
    except sqlite3.OperationalError as error:  # in use, or no such folder: the file itself is not damaged
        raise _unusable_cache(str(error)) from None
    except sqlite3.DatabaseError:  # damaged
        Path(path).unlink()
        return _connect(str(path))


def _unusable_cache(reason: str) -> ConfigError:
    return ConfigError(
        f"expected an existing or new cache of image checks at checks.cache, got {reason}: name another file",
        code="cache_unusable",
    )


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    try:
        connection.execute(_SCHEMA)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection
