"""The files that may be read, and thumbnails of stored images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError
from medimageinsight.search import find_image
from medimageinsight.serve import thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medimageinsight import images
    from medimageinsight.search import Hit

THUMBNAIL_SIZE = 256  # pixels of the longer side


def find_file(name: str, folders: Sequence[Path]) -> Path:
    """Return the image file that a client names, absolute or relative to one of the folders.

    Raises:
        InputError: ``picture_not_available``, the same whether the file is outside the folders or does not exist.
    """
    try:
        if ".." not in PurePath(name).parts:
            return find_image(name, folders)
    except InputError:
        pass
    raise InputError(
        "expected an image file below one of the server's folders, found none of this name: name it from the folder "
        "on, without '..'",
        code="picture_not_available",
    )


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
    _positions: dict[tuple[Path, int], int | None] = field(default_factory=dict)

    def add(self, hit: Hit) -> int | None:
        """Return the position of a hit's thumbnail in the answer, from 1; None where there is none."""
        if not self.folders:
            return None
        try:
            path = find_image(hit, self.folders)
        except InputError:
            return None
        key = (path, hit.frame)
        if key not in self._positions:
            self._positions[key] = self._load(*key)
        return self._positions[key]

    def _load(self, path: Path, frame: int) -> int | None:
        if len(self.encoded) >= self.max_count:
            return None
        try:
            self.encoded.append(thumbnail(path, THUMBNAIL_SIZE, self.limits, frame=frame))
        except InputError:
            return None
        return len(self.encoded)
