"""Which files may be read, and small pictures of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError
from medimageinsight.search.images import find_image
from medimageinsight.serve.images import thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medimageinsight import images
    from medimageinsight.search import Hit

SIDE = 256  # pixels, the longer side of a small picture


def readable(name: str, folders: Sequence[Path]) -> Path:
    """The image file that a client names, absolute or relative to one of the folders.

    Raises:
        InputError: ``picture_not_available``, the same whether the file is outside the folders or not there.
    """
    try:
        if ".." not in PurePath(name).parts:
            return find_image(name, folders)
    except (InputError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        pass
    raise InputError(
        "expected an image file below one of the server's folders, there is none of this name: name it from the folder "
        "on, without '..'",
        code="picture_not_available",
    )


@dataclass
class Attached:
    """Pictures of one answer.

    Args:
        folders: Where they may be read from; none where no pictures were asked for.
        most: How many at most.
        limits: What a file may not exceed.
    """

    folders: Sequence[Path]
    most: int
    limits: images.Limits
    pictures: list[bytes] = field(default_factory=list)
    _places: dict[Path, int | None] = field(default_factory=dict)

    def add(self, hit: Hit) -> int | None:
        """The place of a hit's picture among the answer's, from 1; None where there is none to be had."""
        if not self.folders:
            return None
        try:
            path = find_image(hit, self.folders)
        except (InputError, RuntimeError):  # as above
            return None
        if path not in self._places:
            self._places[path] = self._load(path)
        return self._places[path]

    def _load(self, path: Path) -> int | None:
        if len(self.pictures) >= self.most:
            return None
        try:
            self.pictures.append(thumbnail(path, SIDE, self.limits))
        except InputError:
            return None
        return len(self.pictures)
