"""Recognise the format of an image file by its first bytes, and choose its decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.images.raster import avif, gif, heif, jpeg, jpeg_xl, pillow, png, pnm, tiff
from medimageinsight.images.raster.errors import out_of_range

if TYPE_CHECKING:
    from medimageinsight.images.decoded import DecodedImage
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

# Files with one frame that Pillow does not read, or only the high byte of
_SINGLE = (
    (jpeg_xl.matches, jpeg_xl.decode),
    (png.matches, png.decode),
    (pnm.matches, pnm.decode),
)


def decode(data: bytes, *, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode one frame of an image file.

    Raises:
        ImageError: ``image_not_an_image``, ``image_truncated``, ``image_unsupported``, ``image_too_large``,
            ``image_frame_out_of_range``, ``image_not_finite``, ``image_window_not_applicable``.
    """
    limits.check_frame(frame)
    if tiff.matches(data):
        return tiff.decode(data, frame=frame, window=window, limits=limits)
    if heif.matches(data):
        return heif.decode(data, frame=frame, window=window, limits=limits)
    if avif.matches(data):
        return avif.decode(data, frame=frame, window=window, limits=limits)
    for matches, decode_single in _SINGLE:
        if matches(data):
            _check_single(frame)
            return decode_single(data, window=window, limits=limits)
    if codestream := jpeg.read_deep(data):
        _check_single(frame)
        return jpeg.decode(data, codestream, window=window, limits=limits)
    if gif.matches(data) and frame and frame >= (count := gif.count_frames(data, limits.max_frames)):
        raise out_of_range(frame, count)
    return pillow.decode(data, frame=frame, window=window, limits=limits)


def count_frames(data: bytes, limits: Limits) -> int:
    """Return the number of frames of a file, at most ``limits.max_frames``, in time linear in its bytes.

    Raises whatever the libraries raise for a damaged file.
    """
    if tiff.matches(data):
        return tiff.count_frames(data, limits.max_frames)
    if gif.matches(data):
        return gif.count_frames(data, limits.max_frames)
    if heif.matches(data):
        return min(heif.count_frames(data), limits.max_frames)
    if any(matches(data) for matches, _ in _SINGLE) or jpeg.read_deep(data):
        return 1
    return min(pillow.count_frames(data), limits.max_frames)


def is_image(beginning: bytes) -> bool:
    """Return whether bytes are the first of a file of a format that is read, whole or damaged."""
    known = (tiff.matches, heif.matches, jpeg_xl.matches, pillow.begins_as_image)
    return any(matches(beginning) for matches in known)


def is_pillows(data: bytes) -> bool:
    """Return whether Pillow decodes a file that is no TIFF."""
    others = (tiff.matches, heif.matches, avif.matches, *(matches for matches, _ in _SINGLE), jpeg.read_deep)
    return not any(matches(data) for matches in others)


def _check_single(frame: int) -> None:
    if frame:
        raise out_of_range(frame, 1)
