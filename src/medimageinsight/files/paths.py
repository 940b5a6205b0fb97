"""Paths of images: those in tables, and one spelling for each file."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path, PureWindowsPath


def join_table_path(root: Path, cell: str) -> Path:
    """Return the path in a table's cell, which is relative to `root` or absolute; it may not exist.

    A backslash is a separator, as Windows writes it, unless there is a file with a backslash in its name.
    """
    path = root / cell
    return path if "\\" not in cell or path.exists() else root / PureWindowsPath(cell).as_posix()


def canonical_path(path: str | os.PathLike[str]) -> str:
    """Return the one absolute spelling of a file: without ``.`` and ``..``, and with the links of its folders followed.

    A link to a file keeps its own name: two links are two images. Case matters, except on Windows.
    """
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - `Path.resolve` follows a link to a file
    with contextlib.suppress(ValueError):  # characters that no file name has
        folder = os.path.realpath(folder)
    return os.path.normcase(os.path.join(folder, name))  # noqa: PTH118


def path_below(path: Path, root: Path) -> Path | None:
    """Return an absolute path relative to `root`, None where it is not below it; links of folders are followed."""
    for start, full in (
        (os.path.abspath(root), os.path.normpath(path)),  # noqa: PTH100
        (os.path.realpath(root), canonical_path(path)),
    ):
        if Path(full).is_relative_to(start):
            return Path(full).relative_to(start)
    return None


def is_stream(path: str) -> bool:
    """Return whether a path is a pipe, socket or device, whose reading may never end; False for a missing file."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - follows links, and is called for each file of a folder
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
