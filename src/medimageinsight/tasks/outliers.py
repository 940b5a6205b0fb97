"""Detect images unlike a reference set by the mean distance to the nearest reference vectors (arXiv 2204.06507).

The threshold comes from validation images: similar to the reference images, but not among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.patients import reject_shared_patients
from medimageinsight.metrics.vectors import unit_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.metrics.scores import Floats

_ROUNDING = 1e-9  # of products that are whole numbers
_BLOCK = 1024  # images at once: limits the distances in memory to _BLOCK x references


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierResult:
    """One image: its distance, its p-value, and ``outlier`` if the distance is above the threshold."""

    distance: float
    p_value: float
    outlier: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class OutlierDetector:
    """A reference set with its threshold."""

    references: NDArray[np.float32]  # (R, D) of length 1
    k: int  # number of nearest references whose mean distance is used
    threshold: float  # images with a larger distance are outliers
    validation: Floats  # (V,), distances of the validation images, sorted

    @property
    def expected_rate(self) -> float:
        """The share of new usual images that are outliers, at most, in expectation."""
        beyond = len(self.validation) - int(np.searchsorted(self.validation, self.threshold, side="right"))
        return (beyond + 1) / (len(self.validation) + 1)

    def distances(self, vectors: ArrayLike) -> Floats:
        """Return the mean of 1 - cosine to the k nearest references: (N,) float64, 0 to 2.

        Raises:
            InputError: Vectors that do not fit or are not finite.
        """
        return neighbour_distances(vectors, self.references, self.k)

    def p_values(self, distances: ArrayLike) -> Floats:
        """Return the probability that a usual image has such a distance, by its rank in the validation images: (N,).

        The minimum is 1 / (V + 1): more validation images allow smaller p-values.
        """
        values = np.asarray(distances, dtype=np.float64)
        beyond = len(self.validation) - np.searchsorted(self.validation, values, side="left")
        p_values: Floats = (beyond + 1) / (len(self.validation) + 1)
        return p_values

    def detect(self, vectors: ArrayLike) -> list[OutlierResult]:
        """Return the distance, the p-value and the decision for each of the embeddings (N, D).

        Raises:
            InputError: Vectors that do not fit or are not finite.
        """
        distances = self.distances(vectors)
        return [
            OutlierResult(distance=distance, p_value=p_value, outlier=distance > self.threshold)
            for distance, p_value in zip(distances.tolist(), self.p_values(distances).tolist(), strict=True)
        ]


def fit_outliers(
    references: ArrayLike,
    validation: ArrayLike,
    *,
    k: int = 10,
    quantile: float = 0.95,
    reference_patients: Sequence[str] | None = None,
    validation_patients: Sequence[str] | None = None,
) -> OutlierDetector:
    """Fit a detector for which at most ``1 - quantile`` of new usual images are outliers, in expectation.

    The threshold is the ``ceil((V + 1) * quantile)``-th smallest validation distance (conformal prediction: Vovk et al.
    2005; arXiv 2107.07511, section 1), the largest if there are too few: then ``expected_rate`` is above 1 - quantile.

    References (R, D) and validation (V, D) are usual images of different patients: images of one patient are similar,
    which would make the threshold too small. A patient id is '' where it is not known.

    Raises:
        InputError: Fewer than k references (``references_too_few``), no validation images (``validation_empty``), a
            quantile out of range (``quantile_invalid``), a patient in both sets (``patients_shared``), or vectors that
            do not fit or are not finite.
    """
    reference_rows = unit_rows(references, name="reference vectors")
    if not 0 < quantile < 1:
        raise InputError(f"expected a quantile between 0 and 1, got {quantile}: 0.95 is usual", code="quantile_invalid")
    reject_shared_patients(
        reference_patients,
        validation_patients,
        "reference and validation",
    )
    distances = np.sort(neighbour_distances(validation, reference_rows, k))
    if not len(distances):
        raise InputError("expected validation images, got none: hold some out", code="validation_empty")
    rank = math.ceil((len(distances) + 1) * quantile - _ROUNDING)
    threshold = float(distances[min(rank, len(distances)) - 1])
    return OutlierDetector(references=reference_rows, k=k, threshold=threshold, validation=distances)


def neighbour_distances(vectors: ArrayLike, references: ArrayLike, k: int) -> Floats:
    """Return the mean of 1 - cosine of vectors (N, D) to the k nearest of references (R, D): (N,) float64.

    Raises:
        InputError: Fewer than k references (``references_too_few``), or vectors that do not fit or are not finite.
    """
    reference_rows = unit_rows(references, name="reference vectors")
    rows = unit_rows(vectors, dim=reference_rows.shape[1])
    if not 1 <= k <= len(reference_rows):
        raise InputError(
            f"expected k from 1 to the number of references, {len(reference_rows)}, got {k}: add some, or lower k",
            code="references_too_few",
        )
    means = np.empty(len(rows), dtype=np.float64)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        distances = 1.0 - np.clip(rows[block] @ reference_rows.T, -1.0, 1.0).astype(np.float64)
        means[block] = np.partition(distances, k - 1, axis=1)[:, :k].mean(axis=1)
    return means
