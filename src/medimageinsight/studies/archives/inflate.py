"""Files compressed with gzip, bzip2 or xz as a whole."""

from __future__ import annotations

import bz2
import lzma
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, TypeAlias

from medimageinsight.errors import ImageError
from medimageinsight.studies.files import BEGINNING, StudyFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.images import Limits
    from medimageinsight.studies.origin import Origin

Compression: TypeAlias = Literal["gzip", "bzip2", "xz"]

_MAGIC: dict[bytes, Compression] = {b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_CHUNK_BYTES = 1 << 20
_XZ_MEMORY = 1 << 28  # bytes; the largest preset needs 65 MiB, and a file may ask for 4 GiB


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the interface of the other two."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS + 16)

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflater.decompress(self._inflater.unconsumed_tail + data, max_length)


def compression_of(beginning: bytes) -> Compression | None:
    """Return how a file is compressed, from its first bytes; None if it is not."""
    return next((name for magic, name in _MAGIC.items() if beginning.startswith(magic)), None)


def inflate(file: BinaryIO) -> Iterator[bytes]:
    """Yield the contents of a compressed file in chunks of at most a MiB, in a memory of a few.

    Several streams after each other, as parallel compressors write them, are one file; what follows them is ignored.

    Raises:
        ImageError: ``archive_truncated`` where the data end early, ``archive_damaged``.
    """
    data = file.read(_CHUNK_BYTES)
    compression = compression_of(data)
    while data and compression is not None:
        decompressor = _new(compression)
        while not decompressor.eof:
            try:
                chunk = decompressor.decompress(data, _CHUNK_BYTES)
            except (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError, MemoryError):
                raise damaged() from None
            data = b""
            if chunk:
                yield chunk
            elif not decompressor.eof and not (data := file.read(_CHUNK_BYTES)):
                raise ImageError(
                    "expected compressed data to their end, got a part: copy the file again", code="archive_truncated"
                )
        data = decompressor.unused_data or file.read(_CHUNK_BYTES)
        if compression_of(data) != compression:  # padding with zeros, or data of something else
            return


def damaged() -> ImageError:
    """Return the error of data that cannot be decompressed."""
    return ImageError(
        "expected data that can be decompressed, got damaged ones: copy the file again", code="archive_damaged"
    )


def _new(compression: Compression) -> _Decompressor:
    if compression == "gzip":
        return _Gzip()
    return bz2.BZ2Decompressor() if compression == "bzip2" else lzma.LZMADecompressor(memlimit=_XZ_MEMORY)


@dataclass(frozen=True, eq=False)
class InflatedFile(StudyFile):
    """A file that is compressed as a whole, such as ``scan.tif.gz``; it has the name of the compressed one."""

    file: StudyFile

    @property
    def origin(self) -> Origin:
        """The compressed file."""
        return self.file.origin

    def beginning(self) -> bytes:
        """Return the first bytes, enough to recognise a format; nothing if they cannot be decompressed."""
        try:
            with self.file.open() as opened:
                return next(inflate(opened), b"")[:BEGINNING]
        except ImageError:
            return b""

    def open(self) -> BinaryIO:
        """Return a file object of the contents, which are in memory."""
        from medimageinsight.images import Limits

        return BytesIO(self.read(Limits()))

    def read(self, limits: Limits) -> bytes:
        """Return the contents."""
        contents = bytearray()
        with self.file.open() as opened:
            for chunk in inflate(opened):
                contents += chunk
                limits.check_bytes(len(contents))
        return bytes(contents)
