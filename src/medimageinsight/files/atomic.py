"""Files and folders that are replaced in one step: a reader, or a run after a crash, sees the old or the new content.

Errors of the operating system are raised as they are; callers turn them into their own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 file in one step."""
    with replace_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def replace_file(path: Path, *, partial: Path | None = None) -> Iterator[Path]:
    """Yield a path to write to; it is flushed to the disk and replaces `path` when the block ends without an error.

    Args:
        path: The file to write or replace.
        partial: The path to write to, in the same folder. By default a hidden name that no other writer has; with a
            fixed name the next writer reuses what a killed one left.
    """
    partial = partial or path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield partial
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder for plain files, which replaces the folder `path` when the block ends without an error.

    No system replaces a folder in one step. A process killed between the two steps leaves the earlier folder under a
    hidden name, from which `restore_folder` recovers it. One writer at a time.
    """
    partial, earlier = path.with_name(f".{path.name}.partial"), _earlier(path)
    restore_folder(path)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        for file in partial.iterdir():
            flush(file)
        move_folder(partial, path, earlier=earlier)
        flush(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(earlier, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Recover the folder of `replace_folder` after a process was killed between the two steps."""
    earlier = _earlier(path)
    if earlier.exists() and not path.exists():
        earlier.rename(path)
    shutil.rmtree(earlier, ignore_errors=True)


def move_folder(folder: Path, path: Path, *, earlier: Path) -> None:
    """Rename `folder` to `path`; a folder already there is renamed to `earlier`, and back if the move fails."""
    if not path.exists():
        folder.rename(path)
        return
    path.rename(earlier)
    try:
        folder.rename(path)
    except BaseException:
        earlier.rename(path)
        raise


def flush(path: Path) -> None:
    """Flush a file's content or a folder's entries to the disk. Windows has no such call for folders: skipped there."""
    is_folder = path.is_dir()
    if is_folder and sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _earlier(path: Path) -> Path:
    return path.with_name(f".{path.name}.earlier")
