"""A report's folder, which is written in one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError
from medimageinsight.files.atomic import replace_folder

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

REPORT_NAME = "report.json"  # identifies an earlier report
CONFUSION_NAME = "confusion.csv"
LABELS_NAME = "labels.csv"


def check_report_folder(folder: str | Path) -> Path:
    """Return the folder's absolute path if a report can be written there; call it before a long run.

    Raises:
        InputError: It is a file or has other files (``report_folder_occupied``).
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (folder.is_dir() and _has_only_report(folder)):
        kind = "a folder with other files" if folder.is_dir() else "a file"
        raise InputError(
            f"expected a new or empty folder or an earlier report, got {kind}: choose another",
            code="report_folder_occupied",
        )
    return folder


def _has_only_report(folder: Path) -> bool:
    """Return whether all files are of an earlier report, so that replacing it deletes nothing else."""
    names = {path.name for path in folder.iterdir()}
    if REPORT_NAME in names:
        names -= {REPORT_NAME, CONFUSION_NAME, LABELS_NAME, "report.md", "report.html"}
        text = (folder / "report.md").read_text("utf-8", "replace") if (folder / "report.md").is_file() else ""
        names = {name for name in names if not name.endswith(".png") or f"]({name})" not in text}
    return not names


def new_report_folder(folder: str | Path) -> AbstractContextManager[Path]:
    """Return a context with an empty folder to write into, which replaces `folder` if the block ends without an error.

    Raises:
        InputError: As `check_report_folder`.
    """
    return replace_folder(check_report_folder(folder))
