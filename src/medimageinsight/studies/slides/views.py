"""Regions, overviews and descriptions of slides for viewers, and tiles that are opened again by their origins."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from medimageinsight.errors import ImageError, InputError
from medimageinsight.images import Limits, dicom
from medimageinsight.studies import archives
from medimageinsight.studies.files import BEGINNING, LocalFile, MemoryFile, StudyFile
from medimageinsight.studies.listing import list_files
from medimageinsight.studies.origin import Origin
from medimageinsight.studies.slides.dicom import WHOLE_SLIDE
from medimageinsight.studies.slides.handles import SlideHandle
from medimageinsight.studies.slides.opening import is_slide
from medimageinsight.studies.slides.regions import check_size, read_scaled
from medimageinsight.studies.slides.resolution import find_resolution
from medimageinsight.studies.slides.tiles import make_tile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from PIL import Image

    from medimageinsight.studies.origin import Region
    from medimageinsight.studies.slides.pyramid import Pyramid, SlideLevel
    from medimageinsight.studies.study_image import StudyImage
    from medimageinsight.studies.warnings import StudyWarning

SlideSource: TypeAlias = Union[str, "os.PathLike[str]", bytes, Origin, StudyFile]
"""A slide's file, its bytes, its origin or that of one of its tiles. Of a DICOM slide, one instance of its series or
the folder of it."""

_MAX_RECENT = 4
_MAX_SIDE = 1 << 24

_recent: OrderedDict[tuple[str, str, int, int], SlideHandle] = OrderedDict()
_recent_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class SlideInfo:
    """What is known of a slide without its pixels.

    Attributes:
        width: Of the highest resolution, in pixels.
        height: Likewise.
        microns_per_pixel: Of the highest resolution, (horizontal, vertical); None if it is not known.
        levels: The resolutions that the file stores, the highest first.
        vendor: The format or maker, for information.
        warnings: Defects that did not prevent its use.
    """

    width: int
    height: int
    microns_per_pixel: tuple[float, float] | None
    levels: tuple[SlideLevel, ...]
    vendor: str
    warnings: tuple[StudyWarning, ...]


def describe_slide(source: SlideSource) -> SlideInfo:
    """Return the size, resolution and levels of a slide.

    Raises:
        ImageError: It is no slide (``image_not_a_slide``), or cannot be read (``slide_...``, ``image_...``).
    """
    with _use(source) as pyramid:
        resolution, warnings = find_resolution(pyramid)
        return SlideInfo(
            width=pyramid.levels[0].width,
            height=pyramid.levels[0].height,
            microns_per_pixel=resolution,
            levels=tuple(pyramid.levels),
            vendor=pyramid.vendor,
            warnings=(*pyramid.warnings, *warnings),
        )


def read_region(source: SlideSource, region: Region, size: tuple[int, int]) -> Image.Image:
    """Return a region of a slide as an RGB image, for a viewer.

        studies.read_region("slide.svs", region=(20_000, 10_000, 4096, 4096), size=(512, 512))

    Args:
        source: See `SlideSource`.
        region: x, y, width and height in pixels of the highest resolution; what is outside the slide is white.
        size: Width and height of the image, at most 4,096 each.

    Raises:
        InputError: ``region_invalid``.
        ImageError: As `describe_slide`.
    """
    check_size(size)
    if min(region[2:]) < 1 or max(map(abs, region)) > _MAX_SIDE:
        raise InputError(
            "expected a region x, y, width, height of at least 1 x 1 pixel, got another: correct it",
            code="region_invalid",
        )
    with _use(source) as pyramid:
        return read_scaled(pyramid, region, size)


def read_thumbnail(source: SlideSource, size: int = 1024) -> Image.Image:
    """Return the whole slide as an RGB image of at most `size` pixels a side; errors are those of `read_region`."""
    check_size((size, size))
    with _use(source) as pyramid:
        return overview(pyramid, size)


def overview(pyramid: Pyramid, size: int, damaged: list[int] | None = None) -> Image.Image:
    """Return the whole slide of at most `size` pixels a side."""
    full = pyramid.levels[0]
    scale = min(1.0, size / max(full.width, full.height))
    reduced = (max(1, round(full.width * scale)), max(1, round(full.height * scale)))
    return read_scaled(pyramid, (0, 0, full.width, full.height), reduced, damaged=damaged)


def open_tile(origin: Origin) -> StudyImage:
    """Return the tile that an origin with a region names; the last slides stay open for further calls.

    Raises:
        ImageError: As `describe_slide`.
    """
    return make_tile(_find_handle(origin), origin)


def _use(source: SlideSource) -> AbstractContextManager[Pyramid]:
    return _find_handle(source).use()


def _find_handle(source: SlideSource) -> SlideHandle:
    """Return the handle of a slide, an earlier one if its file did not change."""
    if isinstance(source, bytes):
        return SlideHandle(_slide_files(MemoryFile(source)))
    if isinstance(source, StudyFile):
        return SlideHandle(_slide_files(source))
    origin = source if isinstance(source, Origin) else Origin.parse(os.fspath(source))
    try:
        stat = Path(origin.path).stat()
        key = (origin.path, origin.member, stat.st_mtime_ns, stat.st_size)
        with _recent_lock:
            if key in _recent:
                _recent.move_to_end(key)
                return _recent[key]
        handle = SlideHandle(_slide_files(_find_file(origin)))
    except OSError as error:
        raise ImageError(
            f"expected a readable file, got a failure to open it ({type(error).__name__}): "
            "check its path and permissions",
            code="image_not_found" if isinstance(error, FileNotFoundError) else "image_unreadable",
        ) from None
    with _recent_lock:
        _recent[key] = handle
        while len(_recent) > _MAX_RECENT:
            _recent.popitem(last=False)
    return handle


def _find_file(origin: Origin) -> StudyFile:
    if origin.member:
        return archives.open_member(origin)
    if not Path(origin.path).is_dir():
        return LocalFile(origin.path)
    limits = Limits()
    found = next((file for file in _list(origin.path) if _slide_series(file, limits)), None)
    if found is None:
        raise _not_a_slide()
    return found


def _slide_files(file: StudyFile) -> list[StudyFile]:
    """Return the files of a slide: of a DICOM slide, those in the folder or archive that belong to the same series.

    Raises:
        ImageError: ``image_not_a_slide``.
    """
    with file.open() as opened:
        is_dicom = dicom.is_dicom(opened.read(BEGINNING))
    if not is_dicom:
        if not is_slide(file):
            raise _not_a_slide()
        return [file]
    limits = Limits()
    series = _slide_series(file, limits)
    if not series:
        raise _not_a_slide()
    origin = file.origin
    if not origin.path:
        return [file]
    folder = origin.path if origin.member else str(Path(origin.path).parent)
    others = (other for other in _list(folder) if other.name != file.name and _slide_series(other, limits) == series)
    return [file, *others]


def _list(source: str) -> Iterator[StudyFile]:
    return list_files(source, Limits(), lambda _name, _error: None)


def _slide_series(file: StudyFile, limits: Limits) -> str:
    """Return the UID of the series of a DICOM file that is part of a slide; empty for other files."""
    try:
        with file.open() as opened:
            if not dicom.is_dicom(opened.read(BEGINNING)):
                return ""
            opened.seek(0)
            header = dicom.read_header(opened, limits, ["SOPClassUID", "SeriesInstanceUID"])
    except (InputError, OSError):
        return ""
    dataset = header.dataset
    return str(dataset.get("SeriesInstanceUID") or "-") if str(dataset.get("SOPClassUID")) == WHOLE_SLIDE else ""


def _not_a_slide() -> ImageError:
    return ImageError(
        "expected a slide (a tiled TIFF with levels, or DICOM files of a slide), got another file: open it as an image",
        code="image_not_a_slide",
    )
