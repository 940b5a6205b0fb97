"""Decode a source of any kind, and turn every failure into an `ImageError`."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeGuard, Union, cast

import numpy as np
from PIL import Image

from medimageinsight.errors import ImageError
from medimageinsight.images import dicom, raster
from medimageinsight.images.arrays import from_array
from medimageinsight.images.data_uri import decode_base64, is_data_uri
from medimageinsight.images.decoded import DecodedImage, FramesUnused, to_rgb
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings
from medimageinsight.images.deferred import DeferredImage, ImageGroup
from medimageinsight.images.limits import Limits
from medimageinsight.images.window import ListedWindow, WindowLike, WindowSelection, parse_window

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

Source: TypeAlias = Union[
    str,
    "os.PathLike[str]",
    bytes,
    bytearray,
    memoryview,
    BinaryIO,
    Image.Image,
    "NDArray[Any]",
    "Dataset",
    DeferredImage,
    ImageGroup,
]
"""A path, an image file's bytes, a binary file object, a PIL image, an array (H, W) or (H, W, 3 or 4), a
``pydicom.Dataset``, a ``data:`` URI, or a `DeferredImage` such as a slice of a volume. An `ImageGroup` (a study)
is several images: it can be embedded, not opened."""


_JPEG, _PNG, _ANIMATION = b"\xff\xd8", b"\x89PNG", b"acTL"  # formats of one frame, but for PNG with this chunk
_BEGINNING = 1 << 16  # bytes of a PNG before its pixels, with generous profiles


def open(  # noqa: A001 - images.open reads well
    source: Source,
    *,
    frame: int = 0,
    window: WindowLike | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> DecodedImage:
    """Decode one frame of a source, in its own Pillow mode; DICOM and pixels deeper than 8 bits become 8-bit L or RGB.

    The format is detected from the content, never from the name. Pixels of more than 8 bits are mapped from the
    image's minimum..maximum to 0..255, DICOM images by their window where they have one, unless another window is
    selected. Colour, and grey of 8 bits outside DICOM, has nothing to select: a warning is recorded. Thread-safe.

    Args:
        source: See `Source`. A file object is read from its current position and not closed.
        frame: Index of a frame (DICOM, TIFF, GIF, APNG, WebP, AVIF, HEIC); 0 is the current one of a PIL image.
        window: The range of grey values to display, see `parse_window`; None is the file's own choice.
        limits: Bounds on the size of a source.

    Raises:
        ImageError: The source cannot be decoded; the code begins with ``image_``. ``image_window_not_applicable`` for
            a preset of an image that is not in Hounsfield units, or an index beyond the file's windows.
        InputError: ``window_invalid``.
    """
    selection = None if window is None else parse_window(window)
    if frame < 0:
        raise ImageError(f"expected a frame from 0 on, got {frame}", code="image_frame_out_of_range")
    with _image_errors(limits):
        return _open(source, frame, selection, limits)


def list_windows(
    source: Source,
    *,
    frame: int = 0,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> tuple[ListedWindow, ...]:
    """Return the VOI LUTs and windows that a frame of a DICOM file offers; nothing for other sources and for colour.

    The first is the default. Errors are those of `open`; pixels are not decoded.
    """
    with _image_errors(limits):
        if is_dataset(source):
            return dicom.list_windows(source, frame=frame)
        data = b"" if isinstance(source, Image.Image | np.ndarray | DeferredImage) else read_source(source, limits)
        return dicom.list_windows(dicom.read(data, limits), frame=frame) if dicom.is_dicom(data) else ()


def read_values(
    source: bytes | Dataset,
    *,
    frame: int = 0,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> NDArray[Any]:
    """Return the values (H, W) of a monochrome DICOM frame before windowing, Hounsfield units for CT.

    Errors are those of `open`.
    """
    with _image_errors(limits):
        dataset = source if is_dataset(source) else dicom.read(read_source(source, limits), limits)
        return dicom.modality_values(dataset, frame=frame, limits=limits)


@contextlib.contextmanager
def _image_errors(limits: Limits) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ImageError`, and keep its warnings quiet."""
    try:
        with suppress_decoder_warnings():
            yield
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise limits.too_many_pixels() from None
    except MemoryError:
        raise ImageError(
            "expected an image that fits in memory, got one that does not: scale it down or cut it into tiles",
            code="image_too_large",
        ) from None
    except Exception as error:
        # The libraries' own messages quote header values, which may be patient data: only the type is reported.
        raise ImageError(
            f"expected an image that can be decoded, got one that cannot ({type(error).__name__}): "
            "check that the file is whole and opens in a viewer",
            code="image_unreadable",
        ) from None


def count_frames(data: bytes, *, limits: Limits = Limits()) -> int:  # noqa: B008 - frozen
    """Return the number of frames in the headers of an encoded file; 1 if it is no image or cannot be read."""
    try:
        with suppress_decoder_warnings():
            if dicom.is_dicom(data):
                return dicom_frames(dicom.read(data, limits))
            return max(1, raster.count_frames(data, limits))
    except Exception:  # damaged files make the libraries raise anything; `open` reports the reason
        return 1


def load(
    source: Source,
    *,
    frame: int = 0,
    window: WindowLike | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> NDArray[np.uint8]:
    """Return the pixels of one frame, (H, W, 3) uint8 RGB, upright. Arguments and errors are those of `open`."""
    return np.array(to_rgb(open(source, frame=frame, window=window, limits=limits).upright()))


def _open(source: Source, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    if isinstance(source, Image.Image):
        return raster.decode_opened(source, frame=frame, window=window, limits=limits)
    if isinstance(source, np.ndarray | DeferredImage):
        if frame:
            raise ImageError(
                f"expected frame 0 of a source with one frame, got {frame}", code="image_frame_out_of_range"
            )
        if isinstance(source, DeferredImage):
            return source.decode(window=window, limits=limits)
        return from_array(source, window=window, limits=limits)
    if is_dataset(source):
        decoded = dicom.decode(source, frame=frame, window=window, limits=limits)
        return _warn_of_frames(decoded, frame, lambda: dicom_frames(source))
    if isinstance(source, ImageGroup):
        raise ImageError(
            "expected one image, got a series or study: embed it, or open one of its images", code="image_bad_source"
        )
    data = read_source(source, limits)
    if not data:
        raise ImageError("expected an image, got an empty file", code="image_empty")
    if dicom.is_dicom(data):
        dataset = dicom.read(data, limits)
        decoded = dicom.decode(dataset, frame=frame, window=window, limits=limits)
        return _warn_of_frames(decoded, frame, lambda: dicom_frames(dataset))
    decoded = raster.decode(data, frame=frame, window=window, limits=limits)
    has_one = data.startswith(_JPEG) or (data.startswith(_PNG) and _ANIMATION not in data[:_BEGINNING])
    return decoded if has_one else _warn_of_frames(decoded, frame, lambda: count_frames(data, limits=limits))


def _warn_of_frames(decoded: DecodedImage, frame: int, count: Callable[[], int]) -> DecodedImage:
    """Add a warning to the first frame of several, which may have been chosen by nobody."""
    frames = 1 if frame else count()
    return decoded if frames <= 1 else replace(decoded, warnings=(*decoded.warnings, FramesUnused.of(frames)))


def dicom_frames(dataset: Dataset) -> int:
    """Return the number of frames that a dataset states; 1 if it is unreadable."""
    try:
        return max(1, int(dataset.get("NumberOfFrames") or 1))
    except Exception:  # pydicom converts on access and raises any error for a malformed value
        return 1


def read_source(source: object, limits: Limits) -> bytes:
    """Return the encoded file of a path, bytes, a file object or a ``data:`` URI.

    Raises:
        ImageError: It cannot be read, or has more than ``limits.max_bytes`` bytes.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        limits.check_bytes(memoryview(source).nbytes)
        return bytes(source)
    if isinstance(source, str) and is_data_uri(source):
        return decode_base64(source, limits=limits)
    if isinstance(source, str) and source[:8].lower().startswith(("http://", "https://")):
        raise ImageError(
            "expected an image or a path, got a URL, and nothing is fetched from a network: download it first",
            code="image_url_refused",
        )
    if isinstance(source, str | os.PathLike):
        return _read_path(source, limits)
    if hasattr(source, "read"):
        return _read_stream(cast("BinaryIO", source), limits)
    raise ImageError(
        "expected a path, bytes, a file object, a PIL image, an array, a pydicom Dataset or a data: URI, "
        f"got {type(source).__name__}",
        code="image_bad_source",
    )


def _read_path(path: str | os.PathLike[str], limits: Limits) -> bytes:
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - only opening is guarded; `with` follows
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise _path_error(path, error) from None
    with file:
        status = os.fstat(file.fileno())
        limits.check_bytes(status.st_size)
        if not stat.S_ISREG(status.st_mode):
            return _read_stream(file, limits)
        data = file.read()  # no size: a buffer of the file's size, not of the limit's
        limits.check_bytes(len(data))
        return data


def _path_error(path: str | os.PathLike[str], error: OSError | ValueError) -> ImageError:
    if isinstance(error, IsADirectoryError) or (isinstance(error, PermissionError) and Path(path).is_dir()):
        return ImageError("expected an image file, got a folder: name the files in it", code="image_is_directory")
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return ImageError(
            "expected the path of an image file, got a path without a file: check the spelling", code="image_not_found"
        )
    if error.errno == errno.ENAMETOOLONG:
        return ImageError(
            "expected the path of an image file, got a longer text: write base64 as data:;base64,...",
            code="image_not_found",
        )
    return ImageError(
        f"expected a readable file, got a failure to open it ({type(error).__name__}): check its permissions",
        code="image_unreadable",
    )


def _read_stream(stream: BinaryIO, limits: Limits) -> bytes:
    data = stream.read(limits.max_bytes + 1)
    if not isinstance(data, bytes):  # a file object opened as text, or one without data so far
        raise ImageError(
            f"expected a file object opened in binary mode, got one that reads {type(data).__name__}",
            code="image_bad_source",
        )
    limits.check_bytes(len(data))
    return data


def is_dataset(source: object) -> TypeGuard[Dataset]:
    """Return whether the source is a ``pydicom.Dataset``; none can exist before pydicom is imported."""
    dataset_type = getattr(sys.modules.get("pydicom.dataset"), "Dataset", None)  # another thread may be importing it
    return dataset_type is not None and isinstance(source, dataset_type)


def is_single(source: object) -> bool:
    """Return whether the source is one image rather than several.

    One: a string, a path, bytes, a file object, a PIL image, an array (H, W) or (H, W, C), a ``pydicom.Dataset``.
    Several: any other iterable, and an array (N, H, W, C).
    """
    if isinstance(source, np.ndarray):
        return source.ndim not in (1, 4)
    if isinstance(source, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(source, "read"):
        return True
    return is_dataset(source) or not isinstance(source, Iterable)  # a Dataset is iterable
