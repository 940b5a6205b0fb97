"""Read the values of a volume from any of its formats, within limits that are checked before memory is allocated."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, cast

import numpy as np

from medimageinsight.images.budget import reserve
from medimageinsight.studies.volumes.errors import bad_header, too_large, truncated, unsupported

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from medimageinsight.images import Limits
    from medimageinsight.studies.files import StudyFile

Compression: TypeAlias = Literal["none", "gzip", "zlib", "bzip2"]

_BLOCK = 1 << 20
_MAX_AXES = 8
_DAMAGE = (EOFError, OSError, zlib.error, ValueError)  # of a decompressor


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Where the values of a volume are, and how they are stored.

    Args:
        file: The file that has them.
        dtype: Of one value, with its byte order.
        shape: The first axis changes fastest.
        start: Bytes of the file before the data.
        offset: Bytes of the data, decompressed, before the first value; -1 for values that end with the data.
        compression: Of the data.
    """

    file: StudyFile
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int = 0
    offset: int = 0
    compression: Compression = "none"

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self, limits: Limits, *, stored: int | None = None) -> None:
        """Reject values that are unreadable by the header, exceed the limits or are not in the file.

        Args:
            limits: Bounds.
            stored: Bytes of all values that the file must have, if more than are read.

        Raises:
            ImageError: ``volume_bad_header``, ``volume_unsupported``, ``volume_too_large``, ``volume_truncated``,
                ``image_too_large``.
        """
        if self.dtype.kind not in "iuf" or self.dtype.itemsize > 8:
            raise unsupported(f"values of type {self.dtype.name}")
        if not 1 <= len(self.shape) <= _MAX_AXES or min(self.shape) < 1:
            raise bad_header("sizes below 1 or too many axes")
        if self.size > limits.max_decoded_bytes:
            raise too_large(self.size, limits.max_decoded_bytes)
        if self.start < 0 or self.offset < -1:
            raise bad_header("a negative offset")
        with self.file.open() as opened:
            available = opened.seek(0, os.SEEK_END)
        limits.check_bytes(available)
        if self.offset > limits.max_bytes:
            raise too_large(self.offset, limits.max_bytes)
        needed = self.start + (max(self.offset, 0) + (stored or self.size) if self.compression == "none" else 1)
        if needed > available:
            raise truncated()

    def read(self, limits: Limits) -> NDArray[Any]:
        """Return the values; the first axis changes fastest.

        Raises:
            ImageError: ``volume_truncated``, or as `check`.
        """
        self.check(limits)
        with reserve(self.size, limits):
            buffer = np.empty(self.size, np.uint8)
            try:
                with self.file.open() as opened:
                    self._fill(opened, buffer.data)
            except _DAMAGE:
                raise truncated() from None
        values = buffer.view(self.dtype)
        if not self.dtype.isnative:
            values = values.byteswap(inplace=True).view(self.dtype.newbyteorder("="))
        return values.reshape(self.shape, order="F")

    def _fill(self, opened: BinaryIO, buffer: memoryview) -> None:
        if self.offset < 0:
            if self.compression != "none":
                raise unsupported("compressed values at the end of their data", "save it again with a present tool")
            opened.seek(-self.size, os.SEEK_END)
            stream = opened
        else:
            opened.seek(self.start)
            stream = _decompress(opened, self.compression)
            _skip(stream, self.offset)
        done = 0
        while done < len(buffer):
            part = stream.read(min(_BLOCK, len(buffer) - done))
            if not part:
                raise truncated()
            buffer[done : done + len(part)] = part
            done += len(part)


def _decompress(stream: BinaryIO, compression: Compression) -> BinaryIO:
    if compression == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if compression == "bzip2":
        return cast("BinaryIO", bz2.BZ2File(stream))
    if compression == "zlib":
        return cast("BinaryIO", io.BufferedReader(_ZlibReader(stream), _BLOCK))
    return stream


def _skip(stream: BinaryIO, count: int) -> None:
    while count:
        part = stream.read(min(_BLOCK, count))
        if not part:
            raise truncated()
        count -= len(part)


class _ZlibReader(io.RawIOBase):
    """Decompress a zlib stream as it is read, no more than is asked for."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflate = zlib.decompressobj(wbits=47)  # with the header of zlib or of gzip

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        target = memoryview(buffer).cast("B")
        part = b""
        while not part and not self._inflate.eof:
            source = self._inflate.unconsumed_tail or self._stream.read(_BLOCK)
            if not source:
                break
            part = self._inflate.decompress(source, len(target))
        target[: len(part)] = part
        return len(part)
