"""Image fingerprints: a checksum that equal pixels share, and a difference hash that similar images share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medimageinsight import images
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images import Source

HASH_SIDE = 16  # of the difference hash: 256 bits
HASH_BITS = HASH_SIDE * HASH_SIDE
_CHECKSUM_BYTES = 16


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The fingerprint of one image; ``code`` is the error code of an unreadable one, else empty."""

    code: str = ""
    checksum: bytes = b""  # of size and RGB pixels, 16 bytes
    difference: bytes = b""  # the difference hash, 32 bytes


def fingerprint(source: Source) -> Fingerprint:
    """Compute the fingerprint of an image, decoded completely as in training; an unreadable one has only a code."""
    try:
        image = images.to_rgb(images.open(source).upright())
    except InputError as error:
        return Fingerprint(code=error.code)
    digest = hashlib.blake2b(f"{image.width} {image.height} ".encode(), digest_size=_CHECKSUM_BYTES)
    digest.update(image.tobytes())
    return Fingerprint(checksum=digest.digest(), difference=difference_hash(image))


def difference_hash(image: Image.Image) -> bytes:
    """Return 256 bits: is each pixel of the image reduced to 17 x 16 brighter than its right neighbour.

    The hash changes little with size, compression and brightness, but does with cropping, rotation and mirroring.
    """
    small = np.asarray(image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX), np.int16)
    return np.packbits(small[:, :-1] > small[:, 1:]).tobytes()


def near_pairs(
    a: NDArray[np.uint8], b: NDArray[np.uint8], distance: int, *, block: int = 2048
) -> list[tuple[int, int, int]]:
    """Return the pairs of difference hashes that differ in few bits: (index in a, index in b, bits), nearest first.

    All pairs of a (N, 32) and b (M, 32), packed hashes, are compared in blocks: memory does not grow with the sets.
    ``distance`` is the maximum number of different bits, of 256.
    """
    pairs: list[tuple[int, int, int]] = []
    for first in range(0, len(a), block):
        left = _bits_as_signs(a[first : first + block])
        for second in range(0, len(b), block):
            right = _bits_as_signs(b[second : second + block])
            # The product of vectors of -1 and 1 is the number of equal bits minus different ones; exact in float32.
            bits = ((HASH_BITS - left @ right.T) / 2).astype(np.int16)
            rows, columns = np.nonzero(bits <= distance)
            pairs += [(first + int(i), second + int(j), int(bits[i, j])) for i, j in zip(rows, columns, strict=True)]
    return sorted(pairs, key=lambda pair: (pair[2], pair[0], pair[1]))


def _bits_as_signs(hashes: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
