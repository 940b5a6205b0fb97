"""Slides in TIFF files, described by tiffslide: SVS, NDPI, SCN, Philips, OME-TIFF, BigTIFF, tiled pyramids."""

from __future__ import annotations

import math
import re
import threading
from collections import OrderedDict
from itertools import product
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image

from medimageinsight.images.raster.tiff_segments import decode_segment, is_known_compression
from medimageinsight.studies.slides.pyramid import (
    Pyramid,
    damaged,
    extra_missing,
    make_levels,
    slide_errors,
    unsupported,
)
from medimageinsight.studies.warnings import StudyWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.studies.files import StudyFile

_MAX_CHUNK_PIXELS = 1 << 24  # of a tile or strip, which is decoded as a whole
_MAX_CHUNKS = 1 << 23  # of a level: the offsets of all are in memory
_CACHE_BYTES = 1 << 25  # of decoded chunks: neighbouring tiles share them
_APERIO_YCBCR = 33003  # JPEG 2000 whose components are YCbCr although the codestream does not state it
_PHOTOMETRIC = {1, 2, 6}  # MINISBLACK, RGB, YCBCR
_YCBCR = 6
_JPEG = 7
_OME_SIZE = re.compile(r'PhysicalSize([XY])="([0-9.eE+-]+)"')
_OME_UNIT = re.compile(r'PhysicalSize([XY])Unit="([^"]{1,8})"')
_OME_POWER = re.compile(r'NominalMagnification="([0-9.eE+-]+)"')
_MICRONS = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "Å": 1e-4}


class TiffPyramid(Pyramid):
    """A TIFF slide. Its tiles are decoded one by one, in the calling thread."""

    def __init__(self, file: StudyFile) -> None:
        """Open the file and read the description of its levels.

        Raises:
            ImageError: ``slide_damaged``, ``slide_unsupported``, ``slide_extra_missing``, ``slide_too_large``.
        """
        try:
            import tiffslide
        except ImportError:
            raise extra_missing("slides", "reading a slide") from None
        self._stream: BinaryIO | None = None if file.local_path is not None else file.open()
        self._slide: Any = None
        try:
            with slide_errors():
                # tifffile knows by the name alone that a file has the offsets of NDPI, also of a stream.
                source = str(file.local_path) if self._stream is None else self._stream
                named = None if self._stream is None else {"name": PurePath(file.name).name}
                self._slide = tiffslide.TiffSlide(source, tifffile_options=named)  # type: ignore[arg-type]
                self._describe(self._slide.properties)
        except BaseException:
            self.close()
            raise
        self._file = self._slide.ts_tifffile.filehandle
        self._read_lock = threading.Lock()
        self._chunks = _ChunkCache(_CACHE_BYTES)

    def _describe(self, properties: dict[str, Any]) -> None:
        series = self._slide.ts_tifffile.series[properties["tiffslide.series-index"]]
        self.levels = make_levels(self._slide.level_dimensions)
        self.vendor = str(properties["tiffslide.vendor"] or ("ome" if self._slide.ts_tifffile.is_ome else "tiff"))
        self.objective_power = _positive(properties["tiffslide.objective-power"])
        x, y = (_positive(properties[f"tiffslide.mpp-{axis}"]) for axis in "xy")
        self.stated_resolution = (x, y) if x and y else None
        if self._slide.ts_tifffile.is_ome:
            self._describe_ome(self._slide.ts_tifffile.ome_metadata or "")
        if names := sorted(self._slide.associated_images):
            self.warnings = (excluded_images(names),)
        # A mosaic of several series, and planes of one colour, are put together by tiffslide.
        is_simple = "tiffslide.series-composition" not in properties and series.axes in ("YXS", "YX")
        pages = [_check_page(level.pages[0]) for level in series.levels]
        self._pages = pages if is_simple else None

    def _describe_ome(self, text: str) -> None:
        pixels = text[: text.find("</Pixels>")]  # of the first image, which is the slide
        units = dict(_OME_UNIT.findall(pixels))
        sizes = {
            axis: (_positive(size) or 0) * _MICRONS.get(units.get(axis, "µm"), math.nan)
            for axis, size in _OME_SIZE.findall(pixels)
        }
        x, y = (_positive(sizes.get(axis)) for axis in "XY")
        self.stated_resolution = (x, y) if x and y else None
        if match := _OME_POWER.search(text):
            self.objective_power = _positive(match[1])

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Return pixels of a level."""
        with slide_errors():
            if self._pages is None:
                return self._read_composed(level, x, y, width, height)
            page = self._pages[level]
            rows, columns = page.chunks[:2]
            out = np.full((height, width, 3), 255, np.uint8)
            for row, column in product(
                range(y // rows, -(-(y + height) // rows)), range(x // columns, -(-(x + width) // columns))
            ):
                chunk = self._read_chunk(page, level, row * page.chunked[1] + column)
                if chunk is None:
                    continue
                top, left = row * rows - y, column * columns - x  # of the chunk in the result
                part = chunk[max(0, -top) : height - top, max(0, -left) : width - left]
                out[max(0, top) : max(0, top) + part.shape[0], max(0, left) : max(0, left) + part.shape[1]] = part
            return out

    def _read_composed(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        factor = self._slide.level_downsamples[level]
        # tiffslide takes the corner in pixels of the highest resolution and rounds down
        corner = (math.ceil(x * factor), math.ceil(y * factor))
        return to_rgb(self._slide.read_region(corner, level, (width, height), as_array=True))

    def _read_chunk(self, page: Any, level: int, index: int) -> NDArray[np.uint8] | None:  # noqa: ANN401
        """Return a decoded tile or strip of a page as RGB, (rows, columns, 3); None for one that is not stored."""
        if (cached := self._chunks.get((level, index))) is not None:
            return cached
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if not (offset and count):
            return None
        with self._read_lock:
            self._file.seek(offset)
            data = self._file.read(count)
        if len(data) < count:
            raise damaged()
        chunk = to_rgb(decode_segment(data, page, index))
        if page.compression == _APERIO_YCBCR:
            chunk = np.asarray(Image.fromarray(chunk, "YCbCr").convert("RGB"))
        self._chunks.add((level, index), chunk)
        return chunk

    def close(self) -> None:
        """Close the file."""
        if self._slide is not None:
            self._slide.close()
        if self._stream is not None:
            self._stream.close()


class _ChunkCache:
    """The chunks that were decoded last, by level and index."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._chunks: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int]) -> NDArray[np.uint8] | None:
        with self._lock:
            if key in self._chunks:
                self._chunks.move_to_end(key)
            return self._chunks.get(key)

    def add(self, key: tuple[int, int], chunk: NDArray[np.uint8]) -> None:
        with self._lock:
            if key in self._chunks:
                return
            self._chunks[key] = chunk
            self._left -= chunk.nbytes
            while self._left < 0 and self._chunks:
                self._left += self._chunks.popitem(last=False)[1].nbytes


def _check_page(page: Any) -> Any:  # noqa: ANN401 - a tifffile.TiffPage, of a library without types
    """Return a page that can be read in parts.

    Raises:
        ImageError: ``slide_unsupported``, ``slide_too_large``.
    """
    page = page.aspage()
    page.decode  # noqa: B018 - it is made on first access, by one thread
    if not is_known_compression(int(page.compression)):
        raise unsupported(f"the TIFF compression {int(page.compression)}")
    if page.dtype != np.uint8 or page.samplesperpixel not in (1, 3, 4) or int(page.photometric) not in _PHOTOMETRIC:
        raise unsupported(f"{page.samplesperpixel} channels of type {page.dtype}")
    if int(page.photometric) == _YCBCR and int(page.compression) not in (_JPEG, _APERIO_YCBCR):
        raise unsupported("YCbCr pixels without JPEG")
    rows, columns = page.chunks[:2]
    count = math.prod(page.chunked)
    if rows * columns > _MAX_CHUNK_PIXELS:
        raise unsupported(f"one tile or strip of {rows:,} x {columns:,} pixels")
    if count > _MAX_CHUNKS:
        raise unsupported(f"{count:,} tiles in one level")
    if len(page.dataoffsets) < count or len(page.databytecounts) < count:
        raise damaged()
    return page


def to_rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return (H, W, 3) of a chunk (1, H, W, S), (H, W, S) or (H, W); a fourth channel is dropped."""
    if pixels.ndim == 4:
        pixels = pixels[0]
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return np.ascontiguousarray(
        np.broadcast_to(pixels, (*pixels.shape[:2], 3)) if pixels.shape[2] == 1 else pixels[:, :, :3]
    )


def excluded_images(names: list[str]) -> StudyWarning:
    """Return the warning about images of a file that are no tiles; a label may identify a patient."""
    known = [name for name in names if name in ("label", "macro", "overview", "thumbnail")]
    others = len(names) - len(known)
    text = ", ".join([*known, *([f"{others} further"] if others else [])])
    return StudyWarning(
        "slide_images_excluded", f"images of the file that are not part of the scan were left out: {text}"
    )


def _positive(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None
