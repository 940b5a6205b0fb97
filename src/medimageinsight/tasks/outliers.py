"""Images that are unlike a reference set: the mean distance to the nearest reference vectors (arXiv 2204.06507).

How far is too far is read off a validation set, of images that belong but are not in the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.vectors import refuse_shared, unit_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.metrics.scores import Flags, Floats

_BLOCK = 1024  # images at a time: bounds the distances to _BLOCK x references


@dataclass(frozen=True, kw_only=True, eq=False)
class OutlierDetector:
    """A reference set with its threshold.

    Attributes:
        references: (R, D) float32 of length 1.
        k: Of how many nearest references the distance is the mean.
        threshold: A larger distance is an outlier's.
        validation: (V,) float64, distances of the validation images, sorted.
    """

    references: NDArray[np.float32]
    k: int
    threshold: float
    validation: Floats

    def distances(self, vectors: ArrayLike) -> Floats:
        """(N,) float64: mean of 1 - cosine to the k nearest references, 0 to 2.

        Raises:
            InputError: Vectors that do not fit or are not finite.
        """
        return neighbour_distances(vectors, self.references, self.k)

    def are_outliers(self, distances: ArrayLike) -> Flags:
        """(N,) bool of distances (N,)."""
        flags: Flags = np.asarray(distances, dtype=np.float64) > self.threshold
        return flags

    def p_values(self, distances: ArrayLike) -> Floats:
        """(N,) the chance that an image that belongs lies as far out, by rank among the validation images.

        Never below 1 / (V + 1): more validation images can tell more.
        """
        values = np.asarray(distances, dtype=np.float64)
        beyond = len(self.validation) - np.searchsorted(self.validation, values, side="left")
        chances: Floats = (beyond + 1) / (len(self.validation) + 1)
        return chances


def fit_outliers(
    references: ArrayLike,
    validation: ArrayLike,
    *,
    k: int = 10,
    quantile: float = 0.95,
    reference_patients: Sequence[str] | None = None,
    validation_patients: Sequence[str] | None = None,
) -> OutlierDetector:
    """A detector that calls about ``1 - quantile`` of the images that belong outliers.

    Args:
        references: (R, D), what is usual.
        validation: (V, D), images that belong, of other patients than the references.
        k: Nearest references that count, at most R.
        quantile: Of the validation images' distances, above 0 and below 1.
        reference_patients: R ids, '' where it is not known.
        validation_patients: V ids, none of them among the first: images of one patient are alike, and a threshold
            from them would be too small.

    Raises:
        InputError: Fewer than k references (``references_too_few``), no validation images (``validation_empty``), a
            quantile out of range (``quantile_invalid``), a patient on both sides (``patients_shared``), or vectors
            that do not fit or are not finite.
    """
    known = unit_rows(references, what="reference vectors")
    if not 0 < quantile < 1:
        raise InputError(f"expected a quantile between 0 and 1, got {quantile}: 0.95 is usual", code="quantile_invalid")
    refuse_shared(
        reference_patients,
        validation_patients,
        "expected no patient in both reference and validation, got one: leave out one side's images",
    )
    distances = np.sort(neighbour_distances(validation, known, k))
    if not len(distances):
        raise InputError("expected validation images, got none: keep some apart", code="validation_empty")
    threshold = float(np.quantile(distances, quantile, method="higher"))
    return OutlierDetector(references=known, k=k, threshold=threshold, validation=distances)


def neighbour_distances(vectors: ArrayLike, references: ArrayLike, k: int) -> Floats:
    """(N,) float64: mean of 1 - cosine of vectors (N, D) to the k nearest of references (R, D).

    Raises:
        InputError: Fewer than k references (``references_too_few``), or vectors that do not fit or are not finite.
    """
    known = unit_rows(references, what="reference vectors")
    rows = unit_rows(vectors, dim=known.shape[1])
    if not 1 <= k <= len(known):
        raise InputError(
            f"expected k from 1 to the number of references, {len(known)}, got {k}: add references, or lower k",
            code="references_too_few",
        )
    means = np.empty(len(rows), dtype=np.float64)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        distances = 1.0 - np.clip(rows[block] @ known.T, -1.0, 1.0).astype(np.float64)
        means[block] = np.partition(distances, k - 1, axis=1)[:, :k].mean(axis=1)
    return means
