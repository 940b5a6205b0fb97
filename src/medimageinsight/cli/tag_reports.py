"""Structured reports of ``mi2 tag --sr-folder``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.cli.source_list import SourceList
    from medimageinsight.tagging import ImageTags


def check_folder(folder: Path) -> None:
    """Create the folder, which must be empty.

    Raises:
        InputError: ``folder_not_empty``.
    """
    with error_context(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InputError(
                "expected an empty folder for reports, got files in it: name another", code="folder_not_empty"
            )


def write_reports(
    folder: Path, sources: SourceList, tagged: Sequence[ImageTags | InputError], model: ModelIdentity, frame: int
) -> int:
    """Write a report for each result, numbered in their order, and return how many could not be made."""
    from medimageinsight.studies import Origin
    from medimageinsight.tagging import make_report

    written = failed = 0
    for number, (name, used, tags) in enumerate(zip(sources.names, sources.used, tagged, strict=True), 1):
        if isinstance(tags, InputError):
            continue
        notes = [f"vector of {used.used} of {used.of} images, {used.pooling}"] if used.pooling else []
        place = Origin.parse(name)
        try:
            report = make_report(
                tags, used.header or place.path, model, frame=place.frame if frame == 0 else frame, notes=notes
            )
        except InputError as error:
            output.error(error.message, source=name)
            failed += 1
            continue
        with error_context(folder):
            report.save_as(folder / f"{number:06d}.dcm", enforce_file_format=True, overwrite=False)
        written += 1
    output.note(f"{written:,} structured reports: {folder}")
    return failed
