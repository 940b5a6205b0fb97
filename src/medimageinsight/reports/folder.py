"""A folder that a report is written into: there complete or not at all."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError
from medimageinsight.files.atomic import move_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

REPORT_NAME = "report.json"  # by which an earlier report is known


def check_report_folder(folder: str | Path) -> Path:
    """The folder's absolute path, if a report can be written there; to be asked before a long run.

    Raises:
        InputError: It holds something else (``report_folder_occupied``).
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (folder.is_dir() and _is_report(folder)):
        raise InputError(
            "expected a new or empty folder or an earlier report, got a place with other things: choose another",
            code="report_folder_occupied",
        )
    return folder


def _is_report(folder: Path) -> bool:
    """Whether all that is in it is of an earlier report, so that nothing else goes with it. An empty one is, too."""
    names = {one.name for one in folder.iterdir()}
    if REPORT_NAME in names:
        names -= {REPORT_NAME, "report.md", "report.html"}
        text = (folder / "report.md").read_text("utf-8", "replace") if (folder / "report.md").is_file() else ""
        names = {name for name in names if not name.endswith(".png") or f"]({name})" not in text}
    return not names


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
        move_folder(fresh, folder, earlier=Path(scratch) / "earlier")
