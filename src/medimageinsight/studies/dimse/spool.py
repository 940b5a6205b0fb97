"""A folder of received files, by series, until they are indexed; bounded, and whole after a crash.

A file is written under another name, flushed to the disk and then renamed, before its sender receives a success. Names
are keyed hashes of identifiers, so that they name no patient, and an image that is sent again replaces itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_KEY_FILE = ".key"
_INDEXED = ".indexed"  # in the folder of a series whose files remain; newer than all of them
_PART = ".part"
_DIGITS = 32


class SpoolFullError(Exception):
    """The files that are not yet indexed reach the limit."""


@dataclass(frozen=True)
class ReceivedSeries:
    """A series without a new image for some time.

    Args:
        folder: The folder with its files.
        files: The files at this time, and their inodes.
    """

    folder: Path
    files: dict[Path, int] = field(repr=False)


class Spool:
    """The folder, and what in it is not yet indexed.

    Args:
        folder: Created if it does not exist, for its owner only.
        max_bytes: Maximum bytes of files that are not yet indexed.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._max_bytes = max_bytes
        self._key = _read_key(folder / _KEY_FILE)
        self._changed = threading.Condition()
        self._used = 0
        self._arrived: dict[str, float] = {}  # series to the time of its last image
        for series in sorted(path for path in folder.iterdir() if path.is_dir()):
            for part in series.glob(f"*{_PART}"):  # of a process that was killed: its sender has no success
                part.unlink()
            if (waiting := _waiting(series)) and not series.name.startswith("."):
                self._used += sum(path.stat().st_size for path in waiting)
                self._arrived[series.name] = time.monotonic()

    def add(self, series_uid: str, instance_uid: str, data: bytes) -> None:
        """Write a file durably.

        Raises:
            SpoolFullError: There is no space within the limit.
            OSError: It cannot be written.
        """
        with self._changed:
            if self._used + len(data) > self._max_bytes:
                raise SpoolFullError
            self._used += len(data)  # before it is written, so that several senders share the limit
        series = self._hash(series_uid)
        path = self._folder / series / f"{self._hash(instance_uid)}.dcm"
        replaced = 0
        try:
            for attempt in (1, 2):
                try:
                    path.parent.mkdir(exist_ok=True, mode=0o700)
                    replaced = path.stat().st_size if path.exists() else 0
                    _write(path, data)
                    break
                except FileNotFoundError:  # the folder was removed with its indexed files
                    if attempt == 2:
                        raise
        except OSError:
            with self._changed:
                self._used -= len(data)
            raise
        with self._changed:
            self._used = max(0, self._used - replaced)
            self._arrived[series] = time.monotonic()
            self._changed.notify_all()

    def wait(self, quiet_s: float, timeout_s: float) -> ReceivedSeries | None:
        """Return a series without a new image for `quiet_s` seconds; None if there is none within `timeout_s`."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while True:
                now = time.monotonic()
                name = min(self._arrived, key=lambda series: self._arrived[series], default=None)
                ready = None if name is None else self._arrived[name] + quiet_s
                if name is not None and ready is not None and ready <= now:
                    del self._arrived[name]
                    folder = self._folder / name
                    return ReceivedSeries(folder, {path: path.stat().st_ino for path in _waiting(folder)})
                if now >= end:
                    return None
                self._changed.wait(min(end, end if ready is None else ready) - now)

    def put_back(self, series: ReceivedSeries) -> None:
        """Make a series that could not be indexed wait again."""
        with self._changed:
            self._arrived.setdefault(series.folder.name, time.monotonic())

    def finish(self, series: ReceivedSeries, *, retain: bool) -> None:
        """Remove the files of an indexed series, or mark them; those that came since then wait for the next time."""
        freed = newest = 0
        for path, inode in series.files.items():
            try:
                stat = path.stat()
                if stat.st_ino == inode:
                    freed += stat.st_size
                    newest = max(newest, stat.st_mtime_ns)
                    if not retain:
                        path.unlink()
            except FileNotFoundError:
                continue
        if retain:
            mark = series.folder / _INDEXED
            mark.touch()
            os.utime(mark, ns=(newest, newest))  # images that have come since then are newer
        else:
            with contextlib.suppress(OSError):  # new images have come
                series.folder.rmdir()
        with self._changed:
            self._used = max(0, self._used - freed)

    def free_bytes(self) -> int:
        """Return the free bytes of the disk."""
        return shutil.disk_usage(self._folder).free

    def _hash(self, uid: str) -> str:
        return hmac.new(self._key, uid.encode(), hashlib.sha256).hexdigest()[:_DIGITS]


def _waiting(series: Path) -> list[Path]:
    """Return the files of a series that are newer than its mark."""
    try:
        marked = (series / _INDEXED).stat().st_mtime_ns
    except FileNotFoundError:
        marked = -1
    return sorted(path for path in series.glob("*.dcm") if path.stat().st_mtime_ns > marked)


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f"{secrets.token_hex(8)}{_PART}")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_key(path: Path) -> bytes:
    """Return the key of the hashes, which is made with the folder."""
    try:
        return bytes.fromhex(path.read_text("ascii"))
    except FileNotFoundError:
        key = secrets.token_bytes(32)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key.hex())
        return key
