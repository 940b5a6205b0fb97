"""Every picture of a table decoded once, on all cores; what was found is kept for the next time."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.datasets.fingerprint import Fingerprint, fingerprint
from medimageinsight.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from medimageinsight.datasets.sample import Sample

_CHUNK = 512
_MAGIC = b"SQLite format 3\0"
# The columns of a kept finding; the version changes when what is kept does.
_SCHEMA = """create table if not exists fingerprint_2 (
    path text, offset integer, size integer, changed integer, checksum blob, difference blob,
    primary key (path, offset)) without rowid"""


def check_pictures(
    samples: Sequence[Sample],
    *,
    cache: str | Path | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Fingerprint]:
    """The fingerprint of every sample's picture, in order; a broken one has a code.

    Args:
        samples: Whose pictures.
        cache: A file (SQLite) of earlier findings; a picture whose file has the same size and time of change is not
            opened again. Pictures that could not be read are. A damaged one is begun anew.
        workers: Threads; as many as there are cores when not given. Decoding does not hold Python's lock.
        progress: Called with the number of pictures that are done.

    Raises:
        ConfigError: The cache is a file of another kind, in use or in no folder (``cache_unusable``).
    """
    results: list[Fingerprint] = []
    with closing(_open_cache(cache)) as known, ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for chunk in _chunks(samples):
            states = [_state(sample) for sample in chunk]
            kept = [_recall(known, state) for state in states]
            missing = [index for index, one in enumerate(kept) if one is None]
            made = dict(zip(missing, pool.map(_look, [chunk[index] for index in missing]), strict=True))
            results += [one or made[index] for index, one in enumerate(kept)]
            with known:
                known.executemany(
                    "insert or replace into fingerprint_2 values (?, ?, ?, ?, ?, ?)",
                    [
                        (*state, one.checksum, one.difference)
                        for index, one in made.items()
                        if not one.code and (state := states[index])
                    ],
                )
            if progress is not None:
                progress(len(results))
    return results


def _look(sample: Sample) -> Fingerprint:
    try:
        source = sample.picture()
    except ImageError as error:
        return Fingerprint(code=error.code)
    return fingerprint(source)


State = tuple[str, int, int, int]


def _state(sample: Sample) -> State | None:
    """Path, offset, size in bytes and time of change; None for a file that is not there."""
    try:
        status = sample.path.stat()
    except (OSError, ValueError):
        return None
    offset, size = (0, status.st_size) if sample.piece is None else (sample.piece.offset, sample.piece.size)
    return str(sample.path.absolute()), offset, size, status.st_mtime_ns


def _recall(cache: sqlite3.Connection, state: State | None) -> Fingerprint | None:
    if state is None:
        return None
    query = "select checksum, difference from fingerprint_2 where path=? and offset=? and size=? and changed=?"
    row = cache.execute(query, state).fetchone()
    return None if row is None else Fingerprint(checksum=row[0], difference=row[1])


def _open_cache(path: str | Path | None) -> sqlite3.Connection:
    """The file of earlier findings, or one in memory that is empty."""
    if path is None:
        return _with_table(":memory:")
    if Path(path).exists() and not _is_ours(Path(path)):
        raise _unusable("a file of another kind")
    try:
        return _with_table(str(path))
    except sqlite3.OperationalError as error:  # in use, or no such folder: nothing is wrong with the file
        raise _unusable(str(error)) from None
    except sqlite3.DatabaseError:  # damaged
        Path(path).unlink()
        return _with_table(str(path))


def _is_ours(path: Path) -> bool:
    """Whether it may be begun anew: SQLite by its first bytes, or empty."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) in (_MAGIC, b"")
    except OSError as error:
        raise _unusable(error.strerror or type(error).__name__) from None


def _unusable(reason: str) -> ConfigError:
    return ConfigError(
        f"expected a cache of picture checks at checks.cache, or room for one, got {reason}: name another file",
        code="cache_unusable",
    )


def _with_table(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    try:
        connection.execute(_SCHEMA)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _chunks(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    remaining = iter(samples)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
