"""Vectors of a response in base64, which is shorter than numbers and faster to read."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VectorEncoding: TypeAlias = Literal["float", "base64", "base64_float16"]

_DTYPES = {"base64": "<f4", "base64_float16": "<f2"}


def encode_vector(vector: NDArray[np.float32], encoding: VectorEncoding) -> NDArray[np.float32] | str:
    """Return a vector (D,) as it is for ``float``, else its little-endian bytes in base64.

    Those of ``base64`` are float32 and exact; those of ``base64_float16`` are rounded to 11 significant bits.
    """
    if encoding == "float":
        return vector
    return base64.b64encode(vector.astype(_DTYPES[encoding]).tobytes()).decode("ascii")
