"""Search of folders for image files of any format, and for volumes and slides."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from medimageinsight.files.paths import is_stream
from medimageinsight.images import dicom
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings
from medimageinsight.studies.files import BEGINNING
from medimageinsight.studies.formats import may_be_image, recognise

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEVERAL_IMAGES = ("nifti", "nrrd", "metaimage", "slide")  # formats of `studies` that are searched for
_SEVERAL_FRAMES = (".tif", ".tiff", ".gif", ".webp", ".png", ".apng")


@dataclass(kw_only=True)
class FoundImages:
    """Images below a folder, and what else is there.

    Attributes:
        paths: The images, sorted within each folder, as the folder's name joined with their own; those behind links to
            folders come last. Hidden files and folders are left out.
        others: Kind of file, such as ``.csv``, to the number of files that are no images.
        links: The number of links to folders that were followed.
        several_frames: The number of images with more than one frame.
    """

    paths: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    links: int = 0
    several_frames: int = 0


def find_images(folder: str | os.PathLike[str]) -> FoundImages:
    """Search a folder for images, volumes and slides, recognised by their name or by their first bytes.

    Links to folders are followed, each folder once, so that circles end. A file that cannot be read counts as an image:
    its error is reported when it is opened.

    Raises:
        OSError: The folder cannot be listed.
    """
    found = FoundImages()
    found.paths = list(walk_images(folder, found))
    return found


def walk_images(folder: str | os.PathLike[str], found: FoundImages) -> Iterator[str]:
    """Yield the images that `find_images` returns, one by one, and count what else there is in `found`."""
    for path in _files_below(os.fspath(folder), found):
        if (kind := _other_kind(path, found)) is None:
            yield path
        else:
            found.others[kind] += 1


def _files_below(folder: str, found: FoundImages) -> Iterator[str]:
    """Yield the files of a folder and its subfolders, then those of linked folders that were not visited."""
    visited: set[str] = set()
    waiting = [folder]
    while waiting:
        start = waiting.pop(0)
        if os.path.realpath(start) in visited:
            continue
        found.links += start != folder
        for parent, folders, files in os.walk(start):
            if (real := os.path.realpath(parent)) in visited:
                folders.clear()
                continue
            visited.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            links = [name for name in folders if os.path.islink(os.path.join(parent, name))]  # noqa: PTH114, PTH118
            waiting += [os.path.join(parent, name) for name in links]  # noqa: PTH118
            shown = (os.path.join(parent, name) for name in sorted(files) if not name.startswith("."))  # noqa: PTH118
            yield from (path for path in shown if not is_stream(path))


def _other_kind(name: str, found: FoundImages) -> str | None:
    """Return the kind of a file that is no image, None for an image; count images with several frames in `found`."""
    path = Path(name)
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            beginning = file.read(BEGINNING)
    except OSError:
        return None
    if path.name.upper() == "DICOMDIR":
        return "DICOMDIR"
    if dicom.is_dicom(beginning):
        return _dicom_kind(path, found)
    if recognise(beginning, path.name) in _SEVERAL_IMAGES:
        return None
    if may_be_image(beginning, path.name):
        found.several_frames += suffix in _SEVERAL_FRAMES and _has_frames(path)
        return None
    return "".join(path.suffixes[-2:]).lower() if suffix == ".gz" else suffix or "without an ending"


def _dicom_kind(path: Path, found: FoundImages) -> str | None:
    """Return None for a DICOM image, and for a file whose header cannot be read."""
    import pydicom

    try:
        with suppress_decoder_warnings():
            header = pydicom.dcmread(
                path, specific_tags=["SOPClassUID", "Rows", "NumberOfFrames"], stop_before_pixels=True, force=True
            )
            has_pixels = header.get("Rows") is not None
            found.several_frames += has_pixels and int(header.get("NumberOfFrames") or 1) > 1
    except Exception:  # the parser raises anything for a damaged file
        return None
    is_known = header.get("SOPClassUID") is not None  # not so in gzip, and without the preamble
    return "DICOM without pixels" if is_known and not has_pixels else None


def _has_frames(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))  # n_frames would walk through all of them
    except Exception:  # Pillow's plug-ins raise anything for a damaged file
        return False
