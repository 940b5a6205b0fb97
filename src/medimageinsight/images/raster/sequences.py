"""Decode many frames of one file, without beginning at its start for each."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from medimageinsight.images.raster import gif, pillow, tiff
from medimageinsight.images.raster.errors import out_of_range
from medimageinsight.images.raster.formats import count_frames, decode, is_pillows
from medimageinsight.images.raster.tiff_directories import isolate_page, page_offsets

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

    from medimageinsight.images.decoded import DecodedImage
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

DecodeFrame: TypeAlias = "Callable[[int, WindowSelection | None, Limits], DecodedImage]"

_MAX_OPENED = 4  # decoders of one file: threads ask for frames nearly in their order


def open_frames(data: bytes, limits: Limits) -> DecodeFrame:
    """Return a thread-safe function that decodes a frame of a file, with the results and errors of `decode`.

    All frames in their order need time in proportion to the file: the directories of a TIFF file are read once, and a
    decoder whose frames build on each other goes on from the last.
    """
    if tiff.matches(data):
        return partial(_decode_page, data, page_offsets(data, limits.max_frames))
    if is_pillows(data) and pillow.open_file(data).format in pillow.SEQUENTIAL and count_frames(data, limits) > 1:
        return _Sequence(data).decode
    return lambda frame, window, bounds: decode(data, frame=frame, window=window, limits=bounds)


def _decode_page(
    data: bytes, offsets: list[int], frame: int, window: WindowSelection | None, limits: Limits
) -> DecodedImage:
    limits.check_frame(frame)
    if frame >= len(offsets):
        raise out_of_range(frame, len(offsets))
    page = isolate_page(data, offsets[frame]) if frame else data
    return tiff.decode_first(page, window=window, limits=limits)


class _Sequence:
    """A file whose frames build on each other, with decoders at several frames."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._count = gif.count_frames(data, 1 << 30) if gif.matches(data) else None
        self._opened: list[Image.Image] = []
        self._lock = threading.Lock()

    def decode(self, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
        limits.check_frame(frame)
        if self._count is not None and frame >= self._count:
            raise out_of_range(frame, self._count)
        with self._lock:
            image = self._take(frame)
            decoded = pillow.decode_opened(image, frame=frame, window=window, limits=limits, copy=True)
            self._opened.append(image)  # not after an error, whose decoder may be at any frame
            del self._opened[:-_MAX_OPENED]
        return decoded

    def _take(self, frame: int) -> Image.Image:
        """Return the decoder that is nearest before a frame, or a new one."""
        before = [image for image in self._opened if image.tell() <= frame]
        if not before:
            return pillow.open_file(self._data)
        image = max(before, key=lambda opened: opened.tell())
        self._opened.remove(image)
        return image
