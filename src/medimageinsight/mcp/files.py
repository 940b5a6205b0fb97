"""The files that may be read, and thumbnails of stored images."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError
from medimageinsight.search import find_image, stored_source
from medimageinsight.serve import thumbnail
from medimageinsight.serve.studies import needs_reader, open_study
from medimageinsight.studies.files import BEGINNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight import images
    from medimageinsight.search import Hit
    from medimageinsight.serve.image_choice import ImageChoice

THUMBNAIL_SIZE = 256  # pixels of the longer side


def find_file(name: str, folders: Sequence[Path]) -> Path:
    """Return the image file or folder that a client names, absolute or relative to one of the folders.

    Raises:
        InputError: ``picture_not_available``, the same whether the file is outside the folders or does not exist.
    """
    try:
        if ".." not in PurePath(name).parts:
            path = find_image(name, folders, allow_folder=True)
            if path.is_file() or not _has_link_out(path, folders):
                return path
    except InputError:
        pass
    raise InputError(
        "expected an image file below one of the server's folders, found none of this name: name it from the folder "
        "on, without '..'",
        code="picture_not_available",
    )


def _has_link_out(folder: Path, folders: Sequence[Path]) -> bool:
    """Return whether a link below a folder leads out of the folders that may be read."""
    roots = [root.resolve() for root in folders]
    for parent, names, files in os.walk(folder):
        for entry in (Path(parent, name) for name in (*names, *files)):
            target = Path(os.path.realpath(entry))
            if entry.is_symlink() and not any(target.is_relative_to(root) for root in roots):
                return True
    return False


def open_source(path: Path, choice: ImageChoice, limits: images.Limits) -> images.Source:
    """Return the source of a file: itself, one of its images, or its study where several are chosen or it is a folder.

    Raises:
        InputError: As `open_study`.
    """
    if choice.select is not None or (path.is_dir() and not choice.frame):
        return open_study(path, limits, select=choice.select, pooling=choice.pooling).study
    if not choice.frame:
        with path.open("rb") as file:
            if not needs_reader(file.read(BEGINNING)):
                return path
    return open_study(path, limits).image(choice.frame)


@dataclass
class Thumbnails:
    """Thumbnails of one answer's stored images.

    Args:
        folders: Folders from which images may be read; none where no thumbnails are requested.
        max_count: Limit of thumbnails.
        limits: What a file may not exceed.
    """

    folders: Sequence[Path]
    max_count: int
    limits: images.Limits
    encoded: list[bytes] = field(default_factory=list)  # PNG
    _positions: dict[tuple[Path, str], int | None] = field(default_factory=dict)

    def add(self, hit: Hit) -> int | None:
        """Return the position of a hit's thumbnail in the answer, from 1; None where there is none."""
        if not self.folders:
            return None
        try:
            path = find_image(hit, self.folders)
        except InputError:
            return None
        key = (path, hit.origin.fragment)
        if key not in self._positions:
            self._positions[key] = self._load(hit, path)
        return self._positions[key]

    def _load(self, hit: Hit, path: Path) -> int | None:
        if len(self.encoded) >= self.max_count:
            return None
        try:
            self.encoded.append(thumbnail(stored_source(hit, path), THUMBNAIL_SIZE, self.limits))
        except InputError:
            return None
        return len(self.encoded)
