"""Content codings of HTTP: bodies in gzip and deflate, decompressed within a limit."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from medimageinsight.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.errors import MedImageInsightError

GZIP, DEFLATE = "gzip", "deflate"
WINDOW_BITS = {GZIP: 31, DEFLATE: 15}  # of zlib: its gzip format, its own format (RFC 9110, 8.4.1.2)
_MAX_MEMBERS = 16  # of a gzip body; the rest is copied for each


def decompress(content: bytes, coding: str, limit: int, too_large: Callable[[], MedImageInsightError]) -> bytes:
    """Decompress a body.

    Args:
        content: The body; of gzip, a few members.
        coding: ``gzip`` or ``deflate``.
        limit: Maximum number of bytes; not more than this, and one, is ever in memory.
        too_large: Returns the error of a body over the limit.

    Raises:
        RequestError: ``request_not_decompressible``.
        MedImageInsightError: Of ``too_large``.
    """
    parts: list[bytes] = []
    size = 0
    for _ in range(_MAX_MEMBERS if coding == GZIP else 1):
        decompressor = zlib.decompressobj(WINDOW_BITS[coding])
        try:
            parts.append(decompressor.decompress(content, limit - size + 1))
        except zlib.error:
            raise _damaged(coding) from None
        size += len(parts[-1])
        if size > limit:
            raise too_large()
        if not decompressor.eof:
            raise _damaged(coding)
        content = decompressor.unused_data
        if not content:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise _damaged(coding)


def _damaged(coding: str) -> RequestError:
    return RequestError(
        f"expected a whole body in {coding}, got bytes that cannot be decompressed", code="request_not_decompressible"
    )
