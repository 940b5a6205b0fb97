"""Git LFS pointers: small text files that a clone without ``git lfs pull`` has in place of large files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_START = b"version https://git-lfs"  # github.com/git-lfs/git-lfs, docs/spec.md


def is_lfs_pointer(path: Path) -> bool:
    """Return whether a file is a Git LFS pointer; False for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_START)) == _START
    except OSError:
        return False
