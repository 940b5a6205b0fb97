"""Image sources of a command line: files, folders, ``-`` for standard input, ``data:`` URIs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.cli.errors import error_context
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medimageinsight.images import Source

STANDARD_INPUT = "-"


def list_sources(names: Sequence[str]) -> list[str]:
    """Replace every folder by the files below it, sorted, without hidden files and folders.

    Raises:
        InputError: A folder has no files (``folder_empty``).
    """
    sources: list[str] = []
    for name in names:
        if not Path(name).is_dir():
            sources.append(name)
            continue
        below = list(_files_below(name))
        if not below:
            with error_context(name):
                raise InputError("expected files in the folder, it has none: choose another", code="folder_empty")
        sources.extend(below)
    return sources


def open_source(name: str) -> Source:
    """Return the image source for a name: standard input for ``-``, else the name."""
    return sys.stdin.buffer if name == STANDARD_INPUT else name


def _files_below(folder: str) -> Iterator[str]:
    """Yield paths in order; links to folders are not followed."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(parent, name) for name in sorted(files) if not name.startswith("."))  # noqa: PTH118
