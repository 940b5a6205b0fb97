"""``statistics.json``: how the images that a model was validated on look to it, so that unlike ones can be marked.

The optional file of a bundle contains groups of the validation images' embeddings, the score above which an image is
marked, and the cosine of an image with its altered copies. It is written for one model, which its checksums name.
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.bundle.identity import ModelIdentity, image_checksums, text_checksums
from medimageinsight.bundle.image_groups import ImageGroups
from medimageinsight.errors import ModelError
from medimageinsight.files.json import invalid_file, read_document, write_document

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.bundle.bundle import Bundle
    from medimageinsight.preprocess import Preprocessing

STATISTICS = "statistics.json"
UNLIKE = "unlike anything this model was checked on"
MIN_IMAGES = 100  # below, too few are among the highest scores

_KIND = "statistics"
_MAX_BYTES = 4 << 20  # 96 means and 64 directions of 1,024 float32 have 0.9 MB in base64
_MAX_ROWS = 512  # of a matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class ValidationStatistics:
    """What a model's validation images look like to it.

    Attributes:
        model: The model, with the preprocessing of the images.
        groups: Groups of the images.
        threshold: The score above which an image is unlike the validation images.
        level: The part of images like these that is expected to be above it.
        images: The number of validation images.
        copy_cosine: The cosine that 98 % of altered copies of images have with their original; None if not measured.
        data: SHA-256 of the embeddings, name of the table, split, and the number of images without a known patient.
    """

    model: ModelIdentity
    groups: ImageGroups
    threshold: float
    level: float
    images: int
    copy_cosine: float | None = None
    data: dict[str, Any]

    def unlike(self, vectors: ArrayLike) -> list[bool]:
        """Return for each embedding (N, D) or (D,) whether its image is unlike the validation images, (N,)."""
        rows = np.asarray(vectors, dtype=np.float32).reshape(-1, self.model.embedding_dim)
        return [bool(score > self.threshold) for score in self.groups.scores(rows)] if len(rows) else []

    def fits(self, preprocessing: Preprocessing) -> bool:
        """Return whether images are prepared as the validation images were; the window may differ."""
        used = replace(self.model, preprocessing=preprocessing.to_dict())
        return set(self.model.preprocessing_differences(used)) <= {"window"}

    def summary(self) -> dict[str, Any]:
        """Return the statistics for a JSON document, with the number of groups instead of the groups."""
        return {
            "images": self.images,
            "groups": len(self.groups.means),
            "threshold": self.threshold,
            "level": self.level,
            "copy_cosine": self.copy_cosine,
            "data": self.data,
        }


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
    try:
        statistics = _from_document(read_document(bundle.path(STATISTICS), _Document, kind=_KIND, limit=_MAX_BYTES))
    except ModelError as error:
        raise ModelError(f"{error}: measure them again with mi2 statistics", code=error.code) from None
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
    groups = statistics.groups
    document = {
        "model": asdict(statistics.model),
        "groups": {
            **{name: _encode(getattr(groups, name)) for name in ("means", "made_means", "directions")},
            **{name: getattr(groups, name).tolist() for name in ("weights", "log_means", "log_spreads")},
        },
        "threshold": statistics.threshold,
        "level": statistics.level,
        "images": statistics.images,
        "copy_cosine": statistics.copy_cosine,
        "data": statistics.data,
    }
    write_document(path, document, kind=_KIND)


@dataclass(frozen=True, kw_only=True)
class _Groups:
    """The matrices of `ImageGroups` are base64 of little-endian float32 in C order."""

    means: str
    made_means: str
    directions: str
    weights: tuple[float, ...]
    log_means: tuple[float, ...]
    log_spreads: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class _Document:
    """The file's keys except ``format`` and ``kind``."""

    model: ModelIdentity
    groups: _Groups
    threshold: float
    level: float
    images: int
    copy_cosine: float | None
    data: dict[str, Any]


def _from_document(document: _Document) -> ValidationStatistics:
    if not (math.isfinite(document.threshold) and 0 < document.level < 1 and document.images >= MIN_IMAGES):
        raise invalid_file(_KIND, f"expected a finite threshold, a level of 0 to 1 and at least {MIN_IMAGES} images")
    if document.copy_cosine is not None and not 0 < document.copy_cosine <= 1 + 1e-6:
        raise invalid_file(_KIND, "expected a copy_cosine above 0 and at most 1")
    return ValidationStatistics(
        model=document.model,
        groups=_decode_groups(document.groups, document.model.embedding_dim),
        threshold=document.threshold,
        level=document.level,
        images=document.images,
        copy_cosine=document.copy_cosine,
        data=document.data,
    )


def _decode_groups(stored: _Groups, dim: int) -> ImageGroups:
    numbers = {
        name: np.array(getattr(stored, name), dtype=np.float64) for name in ("weights", "log_means", "log_spreads")
    }
    weights, log_means, log_spreads = numbers["weights"], numbers["log_means"], numbers["log_spreads"]
    if not all(np.isfinite(values).all() for values in numbers.values()):
        raise invalid_file(_KIND, "expected finite numbers")
    if not ((weights >= 0) & (weights <= 1)).all() or not (log_spreads > 0).all():
        raise invalid_file(_KIND, "expected weights of 0 to 1 and spreads above 0")
    means = _decode(stored.means, dim, rows=len(log_means))
    directions = _decode(stored.directions, dim, rows=len(weights))
    if len(log_spreads) != len(means) or not np.allclose(directions @ directions.T, np.eye(len(weights)), atol=1e-3):
        raise invalid_file(_KIND, "expected orthonormal directions, and a spread for each group")
    made_means = _decode(stored.made_means, dim)
    return ImageGroups(means=means, made_means=made_means, directions=directions, **numbers)


def _encode(matrix: NDArray[np.float32]) -> str:
    return base64.b64encode(matrix.astype("<f4").tobytes()).decode("ascii")


def _decode(text: str, dim: int, *, rows: int | None = None) -> NDArray[np.float32]:
    """Return a matrix (rows, dim) of finite numbers, of at most 1: means and directions of unit vectors."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_file(_KIND, "a matrix is not base64") from None
    found, rest = divmod(len(content), 4 * max(1, dim))
    if rest or not 1 <= found <= _MAX_ROWS or (rows is not None and rows != found):
        expected = f"1 to {_MAX_ROWS}" if rows is None else str(rows)
        raise invalid_file(_KIND, f"expected {expected} rows of {dim} numbers, got {len(content):,} bytes")
    matrix: NDArray[np.float32] = np.frombuffer(content, dtype="<f4").reshape(found, dim).astype(np.float32)
    if not (np.abs(matrix) <= 1 + 1e-3).all():  # also false for NaN
        raise invalid_file(_KIND, "a matrix has numbers above 1")
    return matrix
