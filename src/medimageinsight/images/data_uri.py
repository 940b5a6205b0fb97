"""Decode images written as text: base64 and ``data:`` URIs."""

from __future__ import annotations

import base64
import binascii

from medimageinsight.errors import ImageError
from medimageinsight.images.limits import Limits


def decode_base64(text: str, *, limits: Limits = Limits()) -> bytes:  # noqa: B008 - frozen
    """Return the bytes of an image written as base64 or as a ``data:...;base64,`` URI.

    White space is ignored and missing padding accepted; any other character outside the alphabet is an error.

    Raises:
        ImageError: ``image_bad_base64``, ``image_bad_data_uri``, ``image_empty``, ``image_too_large``.
    """
    if is_data_uri(text):
        header, comma, text = text.partition(",")
        if not comma or not header.rstrip().lower().endswith(";base64"):
            raise ImageError(
                "expected a data URI of the form data:image/png;base64,..., got one without ';base64,'",
                code="image_bad_data_uri",
            )
    compact = "".join(text.split()).rstrip("=")
    limits.check_bytes(len(compact) * 3 // 4)
    try:
        data = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ImageError(
            "expected base64 (A-Z, a-z, 0-9, + and /), got other characters or a wrong length: encode the file's bytes",
            code="image_bad_base64",
        ) from None
    if not data:
        raise ImageError("expected an image, got empty base64", code="image_empty")
    return data


def is_data_uri(text: str) -> bool:
    """Return whether the text is a ``data:`` URI rather than a path."""
    return text[:5].lower() == "data:"
