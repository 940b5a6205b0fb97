"""``statistics.json``: how the images that a model was validated on look to it, so that unlike ones can be marked.

The optional file of a bundle contains quantiles of the best cosine of each validation image with the validation texts,
centroids of the images' embeddings with quantiles of the distance to the nearest of them, and the cosine of an image
with its altered copies. It is written for one model, which its checksums name.
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.bundle.identity import ModelIdentity, image_checksums, text_checksums
from medimageinsight.errors import ModelError
from medimageinsight.files.json import invalid_file, read_document, write_document

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.bundle.bundle import Bundle
    from medimageinsight.preprocess import Preprocessing

STATISTICS = "statistics.json"
UNLIKE = "unlike anything this model was checked on"
MARK_LEVEL = 0.01  # of validation images, the part that a criterion marks
LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
MIN_IMAGES = 100  # below, no image is at the 1 % quantile

_KIND = "statistics"
_MAX_BYTES = 16 << 20  # 256 centroids of 1,024 numbers have 1.4 MB


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """Quantiles of `count` values at the levels `LEVELS`.

    A level below 0.5 is the k-th smallest value, k = floor(level * (count + 1)), so that a further value of the same
    distribution is below it with at most this probability; a level above 0.5 likewise from the other end.
    """

    count: int
    levels: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: ArrayLike) -> Quantiles:
        """Return the quantiles of values (N,), at least `MIN_IMAGES`."""
        ordered = np.sort(np.asarray(values, dtype=np.float64))
        count = len(ordered)
        ends = [math.floor(min(level, 1 - level) * (count + 1) + 1e-9) for level in LEVELS]
        ranks = [end if level <= 0.5 else count + 1 - end for level, end in zip(LEVELS, ends, strict=True)]
        return cls(count=count, levels=LEVELS, values=tuple(float(ordered[rank - 1]) for rank in ranks))

    def at(self, level: float) -> float:
        """Return the value at one of the levels."""
        return self.values[self.levels.index(level)]


@dataclass(frozen=True, kw_only=True, eq=False)
class ValidationStatistics:
    """What a model's validation images look like to it.

    Attributes:
        model: The model, with the preprocessing of the images.
        cosine: Of each image with the most similar validation text.
        distance: 1 - cosine of each image to the nearest of centroids that were computed without it.
        centroids: (K, D) float32, L2-normalised, of all images.
        copy_cosine: The cosine that 98 % of altered copies of images have with their original; None if not measured.
        data: Name and SHA-256 of the table, split, and numbers of texts and of images without a known patient.
    """

    model: ModelIdentity
    cosine: Quantiles
    distance: Quantiles
    centroids: NDArray[np.float32]
    copy_cosine: float | None = None
    data: dict[str, Any]

    def unlike(self, vectors: ArrayLike, cosines: Sequence[float] | NDArray[Any] | None = None) -> list[bool]:
        """Return for each image whether it is unlike the validation images: (N,) of embeddings (N, D).

        It is if its best cosine with a text (N,), if given, is below the 1 % quantile, or its distance to the nearest
        centroid above the 99 % quantile.
        """
        rows = np.asarray(vectors, dtype=np.float32).reshape(-1, self.centroids.shape[1])
        far = centroid_distances(rows, self.centroids) > self.distance.at(1 - MARK_LEVEL)
        if cosines is not None:
            far |= np.asarray(cosines, dtype=np.float64) < self.cosine.at(MARK_LEVEL)
        return [bool(value) for value in far]

    def fits(self, preprocessing: Preprocessing) -> bool:
        """Return whether images are prepared as the validation images were; the window may differ."""
        used = replace(self.model, preprocessing=preprocessing.to_dict())
        return set(self.model.preprocessing_differences(used)) <= {"window"}

    def summary(self) -> dict[str, Any]:
        """Return the statistics for a JSON document, with the number of centroids instead of the centroids."""
        return {
            "images": self.cosine.count,
            "cosine": asdict(self.cosine),
            "distance": asdict(self.distance),
            "centroids": len(self.centroids),
            "copy_cosine": self.copy_cosine,
            "data": self.data,
        }


def centroid_distances(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return 1 - cosine to the nearest centroid: (N,) of unit vectors (N, D) and (K, D)."""
    distances: NDArray[np.float64] = 1 - (vectors @ centroids.T).max(axis=1).astype(np.float64)
    return distances


def read_statistics(bundle: Bundle) -> ValidationStatistics | None:
    """Return a bundle's statistics, None if it has none.

    Raises:
        BundleError: The file is not that of the manifest (``bundle_checksum``).
        ModelError: It belongs to another model (``statistics_other_model``), or is not of the form
            (``statistics_invalid``, ``statistics_too_new``, ``statistics_too_large``).
    """
    if STATISTICS not in bundle.manifest.files:
        return None
    bundle.verify(STATISTICS)
    document = read_document(bundle.path(STATISTICS), _Document, kind=_KIND, limit=_MAX_BYTES)
    statistics = _from_document(document)
    manifest, made_for = bundle.manifest, statistics.model
    encoders = (image_checksums(manifest), text_checksums(manifest), manifest.embedding_dim)
    if (made_for.image_encoder, made_for.text_encoder, made_for.embedding_dim) != encoders:
        raise ModelError(
            f"expected the statistics of this model, got those of another ({made_for.name}): compute them again "
            "with mi2 statistics",
            code="statistics_other_model",
        )
    return statistics


def write_statistics(path: Path, statistics: ValidationStatistics) -> None:
    """Write the file; `add_file` enters it in the manifest.

    Raises:
        OSError: It cannot be written.
    """
    document = {
        "model": asdict(statistics.model),
        "cosine": asdict(statistics.cosine),
        "distance": asdict(statistics.distance),
        "centroid_count": len(statistics.centroids),
        "centroids": base64.b64encode(statistics.centroids.astype("<f4").tobytes()).decode("ascii"),
        "copy_cosine": statistics.copy_cosine,
        "data": statistics.data,
    }
    write_document(path, document, kind=_KIND)


@dataclass(frozen=True, kw_only=True)
class _Document:
    """The file's keys except ``format`` and ``kind``; centroids are base64 of little-endian float32 in C order."""

    model: ModelIdentity
    cosine: Quantiles
    distance: Quantiles
    centroid_count: int
    centroids: str
    copy_cosine: float | None
    data: dict[str, Any]


def _from_document(document: _Document) -> ValidationStatistics:
    for quantiles in (document.cosine, document.distance):
        finite = all(map(math.isfinite, quantiles.values))
        if quantiles.levels != LEVELS or len(quantiles.values) != len(LEVELS) or not finite:
            raise invalid_file(_KIND, f"expected finite quantiles at {len(LEVELS)} known levels")
        if list(quantiles.values) != sorted(quantiles.values) or quantiles.count < MIN_IMAGES:
            raise invalid_file(_KIND, f"expected ascending quantiles of at least {MIN_IMAGES} images")
    if document.copy_cosine is not None and not 0 < document.copy_cosine <= 1 + 1e-6:
        raise invalid_file(_KIND, "expected a copy_cosine above 0 and at most 1")
    return ValidationStatistics(
        model=document.model,
        cosine=document.cosine,
        distance=document.distance,
        centroids=_decode(document.centroids, (document.centroid_count, document.model.embedding_dim)),
        copy_cosine=document.copy_cosine,
        data=document.data,
    )


def _decode(text: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_file(_KIND, "its centroids are not base64") from None
    if min(shape) < 1 or len(content) != 4 * math.prod(shape):
        raise invalid_file(_KIND, f"expected centroids of shape {shape}, got {len(content):,} bytes")
    centroids: NDArray[np.float32] = np.frombuffer(content, dtype="<f4").reshape(shape).astype(np.float32)
    if not np.allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-3):  # also false for NaN
        raise invalid_file(_KIND, "its centroids are not normalised")
    return centroids
