"""A folder that a report is written into: there complete or not at all."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

REPORT_NAME = "report.json"  # by which an earlier report is known


def check_report_folder(folder: str | Path) -> Path:
    """The folder's absolute path, if a report can be written there; to be asked before a long run.

    Raises:
        InputError: It holds something else (``report_folder_occupied``).
    """
    folder = Path(folder).absolute()
    occupied = folder.exists() and not (folder / REPORT_NAME).is_file()
    if occupied and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(
            "expected a new or empty folder or an earlier report, got a place with other things: choose another",
            code="report_folder_occupied",
        )
    return folder


@contextmanager
def new_report_folder(folder: str | Path) -> Iterator[Path]:
    """An empty folder to write into, which takes the place of `folder` if the block ends without an error.

    An earlier report in the same place is replaced.

    Raises:
        InputError: As `check_report_folder`.
    """
    folder = check_report_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rename(Path(scratch) / "earlier")
        fresh.rename(folder)
