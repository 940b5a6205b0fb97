"""What a picture is by its pixels: a checksum for equal ones, a difference hash for those that look alike."""

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

SIDE = 16  # of the difference hash: 256 bits
HASH_BITS = SIDE * SIDE
HASH_BYTES = HASH_BITS // 8
_CHECKSUM_BYTES = 16


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of one picture; ``code`` says why it cannot be read, and is empty where it can."""

    code: str = ""
    checksum: bytes = b""  # of size and RGB pixels, 16 bytes
    difference: bytes = b""  # the difference hash, 32 bytes


def fingerprint(source: Source) -> Fingerprint:
    """Decodes a picture, whole, as training does, and describes it. An unreadable one has a code and nothing else."""
    try:
        image = images.to_rgb(images.open(source).upright())
    except InputError as error:
        return Fingerprint(code=error.code)
    digest = hashlib.blake2b(f"{image.width} {image.height} ".encode(), digest_size=_CHECKSUM_BYTES)
    digest.update(image.tobytes())
    return Fingerprint(checksum=digest.digest(), difference=difference_hash(image))


def difference_hash(image: Image.Image) -> bytes:
    """256 bits: whether each of 16 x 16 places is brighter than its right neighbour, of the picture made that small.

    Survives another size, compression and brightness; not a crop, a turn or a mirror image.
    """
    small = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX), np.int16)
    return np.packbits(small[:, :-1] > small[:, 1:]).tobytes()


def near_pairs(
    a: NDArray[np.uint8], b: NDArray[np.uint8], distance: int, *, block: int = 2048
) -> list[tuple[int, int, int]]:
    """Pairs of difference hashes that differ in few bits: (index in a, index in b, bits), nearest first.

    All pairs are compared, in blocks: memory does not grow with the sets.

    Args:
        a: (N, 32) packed hashes.
        b: (M, 32).
        distance: Most bits that may differ, of 256.
        block: Rows at once.
    """
    found: list[tuple[int, int, int]] = []
    for first in range(0, len(a), block):
        left = _signs(a[first : first + block])
        for second in range(0, len(b), block):
            right = _signs(b[second : second + block])
            # Of vectors of -1 and 1 the product counts equal bits less unequal ones; exact in float32.
            bits = ((HASH_BITS - left @ right.T) / 2).astype(np.int16)
            rows, columns = np.nonzero(bits <= distance)
            found += [(first + int(i), second + int(j), int(bits[i, j])) for i, j in zip(rows, columns, strict=True)]
    return sorted(found, key=lambda pair: (pair[2], pair[0], pair[1]))


def _signs(hashes: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
