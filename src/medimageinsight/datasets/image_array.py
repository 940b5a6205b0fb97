"""Images that are rows of a compressed array in an ``.npz`` file, read one by one."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medimageinsight.errors import ImageError
from medimageinsight.files.archive_errors import ARCHIVE_ERRORS

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK_BYTES = 32 << 20  # read at a time: a compressed array has no access to single images
_MAX_BLOCKS = 16  # in memory: arrays up to 512 MiB are read once, in any order


class ImageArray:
    """The images of one member of an ``.npz`` file, (N, H, W) or (N, H, W, 3) uint8.

    Images are fast in their order, and in any order up to 512 MiB. Calls from many threads are safe.

    Args:
        path: The file.
        member: Name of the member, such as ``train_images.npy``.
        shape: Of the array.
        start: Number of bytes before the first image, the array's header.
    """

    def __init__(self, path: Path, member: str, shape: tuple[int, ...], start: int) -> None:
        self._path, self._member, self._shape, self._start = path, member, shape, start
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._archive: zipfile.ZipFile | None = None
        self._stream: Any = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[ImageArray], tuple[Path, str, tuple[int, ...], int]]:
        """Return what another process opens the array with."""
        return ImageArray, (self._path, self._member, self._shape, self._start)

    def __del__(self) -> None:
        if getattr(self, "_archive", None) is not None:
            self._close()

    @property
    def image_bytes(self) -> int:
        """Size of one image."""
        return int(np.prod(self._shape[1:], dtype=np.int64))

    def png(self, index: int) -> bytes:
        """Return one image as a PNG file.

        Raises:
            ImageError: The file cannot be read there (``image_not_found``, ``image_truncated``).
        """
        per_block = max(1, _BLOCK_BYTES // self.image_bytes)
        number, row = divmod(index, per_block)
        with self._lock:
            block = self._blocks.get(number)
            if block is None:
                block = self._blocks[number] = self._read_block(number * per_block, per_block)
                if len(self._blocks) > _MAX_BLOCKS:
                    self._blocks.popitem(last=False)
        pixels = np.frombuffer(block, np.uint8, self.image_bytes, row * self.image_bytes)
        buffer = io.BytesIO()
        Image.fromarray(pixels.reshape(self._shape[1:])).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    def _read_block(self, first: int, count: int) -> bytes:
        size = min(count, self._shape[0] - first) * self.image_bytes
        try:
            if self._archive is None:
                self._archive = zipfile.ZipFile(self._path)
                self._stream = self._archive.open(self._member)
            self._stream.seek(self._start + first * self.image_bytes)
            data: bytes = self._stream.read(size)
        except FileNotFoundError:
            raise ImageError(
                "expected the .npz file that contains the image, it is not there: check the path",
                code="image_not_found",
            ) from None
        except (KeyError, *ARCHIVE_ERRORS):
            self._close()
            raise self._truncated() from None
        if len(data) < size:
            self._close()
            raise self._truncated()
        return data

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._archive is not None:
            self._archive.close()
        self._archive = self._stream = None

    def _truncated(self) -> ImageError:
        return ImageError(
            "expected the images of the .npz file, their compressed data is damaged: download the file again",
            code="image_truncated",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayItem:
    """One image of an `ImageArray`.

    Attributes:
        images: The array.
        name: The image's name within the file, such as ``train/17``.
        index: Its row in the array.
        offset: Its number within the file.
    """

    images: ImageArray
    name: str
    index: int
    offset: int

    @property
    def size(self) -> int:
        """Number of bytes of the pixels."""
        return self.images.image_bytes

    def locate(self, file_name: str) -> str:
        """Return where the image is, for messages."""
        return f"{file_name}#{self.name}"

    def read(self, path: Path) -> bytes:  # noqa: ARG002 - the array has the file's path
        """Return the image as a PNG file; see `ImageArray.png`."""
        return self.images.png(self.index)
