"""Image sources as a command line names them: files, folders, ``-`` for standard input, ``data:`` URIs."""

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
    """The names with every folder replaced by the files below it, sorted; hidden files and folders are left out.

    Raises:
        InputError: A folder has no files (``folder_empty``).
    """
    found: list[str] = []
    for name in names:
        if not Path(name).is_dir():
            found.append(name)
            continue
        below = list(_files_below(name))
        if not below:
            with error_context(name):
                raise InputError("expected files in the folder, it has none: choose another", code="folder_empty")
        found.extend(below)
    return found


def open_source(name: str) -> Source:
    """What the image reader takes for a name."""
    return sys.stdin.buffer if name == STANDARD_INPUT else name


def _files_below(folder: str) -> Iterator[str]:
    """In the order of their paths; links to folders are not followed."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        yield from (os.path.join(parent, one) for one in sorted(files) if not one.startswith("."))  # noqa: PTH118
