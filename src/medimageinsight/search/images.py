"""The pictures behind stored images, for those who are shown what was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.search.values import Hit, Item


def find_image(stored: Hit | Item | str, folders: Sequence[Path]) -> Path:
    """The file of a stored image, if it lies in one of the folders.

    A store remembers a path as it was given, which may be anything; what is read is decided here. A relative path
    counts from each folder and from the current one.

    Args:
        stored: What was found, or its path.
        folders: Where pictures may be read, links followed.

    Raises:
        InputError: ``picture_not_available``: there is no such file, or it lies elsewhere. Which, is not said.
    """
    path = stored if isinstance(stored, str) else stored.path
    roots = [folder.resolve() for folder in folders]
    for start in (*roots, Path.cwd()):
        try:
            file = (start / path).resolve()
            if any(file.is_relative_to(root) for root in roots) and file.is_file():
                return file
        except (OSError, ValueError, RuntimeError):  # a null character; a loop of links, before Python 3.13
            continue
    raise InputError(
        "expected a picture below the folders that may be read, there is none: name its folder, or index it again "
        "from where it lies",
        code="picture_not_available",
    )
