"""Image files of stored items, restricted to permitted folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.search.records import Hit, Item


def find_image(stored: Hit | Item | str, folders: Sequence[Path], *, allow_folder: bool = False) -> Path:
    """Return the file of a stored image if it is inside one of the folders.

    A store contains paths as they were given, which may be anything; this function decides what is read. A relative
    path is relative to each folder and to the current one. Links are followed. `allow_folder` also finds folders, such
    as that of a study.

    Raises:
        InputError: ``picture_not_available``: the file does not exist or is outside the folders, without a difference
            between the two in the message.
    """
    path = stored if isinstance(stored, str) else stored.path
    roots = [folder.resolve() for folder in folders]
    for start in (*roots, Path.cwd()):
        try:
            file = (start / path).resolve()
            if any(file.is_relative_to(root) for root in roots) and (
                file.is_file() or (allow_folder and file.is_dir())
            ):
                return file
        except (OSError, ValueError, RuntimeError):  # a null character; a loop of links, before Python 3.13
            continue
    raise InputError(
        "expected an image in the folders that may be read, found none: name its folder, or index it again from where "
        "it is now",
        code="picture_not_available",
    )
