"""Arrays of float32 as text in JSON documents."""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.files.json import invalid_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode_array(array: NDArray[np.float32]) -> str:
    """Return base64 of little-endian float32 in C order."""
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode("ascii")


def decode_array(text: str, shape: tuple[int, ...], *, kind: str) -> NDArray[np.float32]:
    """Return the array of `encode_array`.

    Raises:
        ModelError: Not base64, not as many values as the shape has, or NaN or infinity (``adapter_invalid`` where
            `kind` is ``"adapter"``).
    """
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_file(kind, "its weights are not base64") from None
    # Python's integers do not overflow for any shape in a file.
    if min(shape, default=0) < 1 or len(content) != 4 * math.prod(shape):
        raise invalid_file(kind, f"expected weights of shape {shape}, got {len(content):,} bytes")
    array: NDArray[np.float32] = np.frombuffer(content, dtype="<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise invalid_file(kind, "its weights contain NaN or infinity")
    return array
