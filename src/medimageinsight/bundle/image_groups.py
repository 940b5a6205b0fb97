"""Groups of embeddings, and how far an embedding is from all of them.

A group is described as in Lee et al. 2018 (arXiv:1807.03888): a mean for each group and a covariance for all. The
shared covariance is the identity and a few directions. Two things differ: a distance counts in standard deviations of
the logarithm of its own group's distances, as groups differ in width; and images that were made to show nothing have
means of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALLEST = 1e-12  # of squared distances, whose logarithm is taken
_MIN_LOG_RATIO = -3.0  # an image this much nearer to a group than to made images is not one of them


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageGroups:
    """Groups of images as a model sees them.

    Attributes:
        means: (K, D) float32, the mean embedding of each group.
        made_means: (M, D) float32, means of the embeddings of made images, such as blank ones and noise.
        directions: (R, D) float32, orthonormal: where embeddings of one group differ most.
        weights: (R,) of 0 to 1, by how much a squared difference in a direction counts less than in others.
        log_means: (K,), the mean logarithm of the squared distance of a group's images to it.
        log_spreads: (K,), its standard deviation.
    """

    means: NDArray[np.float32]
    made_means: NDArray[np.float32]
    directions: NDArray[np.float32]
    weights: NDArray[np.float64]
    log_means: NDArray[np.float64]
    log_spreads: NDArray[np.float64]

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how unlike all groups embeddings (N, D) are, (N,); higher is more unlike."""
        nearest, distances = self.nearest(vectors)
        made = self._distances(vectors, self.made_means).min(axis=1)
        deviations = (np.log(distances) - self.log_means[nearest]) / self.log_spreads[nearest]
        scores: NDArray[np.float64] = deviations + np.maximum(np.log(distances / made), _MIN_LOG_RATIO)
        return scores

    def nearest(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the nearest group of each embedding (N, D) and its squared distance, both (N,)."""
        distances = self._distances(vectors, self.means)
        return distances.argmin(axis=1), distances.min(axis=1)

    def _distances(self, vectors: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return squared distances (N, K) of embeddings (N, D) to means (K, D)."""
        rows, centers = vectors.astype(np.float64), means.astype(np.float64)
        scale = np.sqrt(self.weights)[:, np.newaxis] * self.directions.astype(np.float64)
        inside = _squared_distances(rows @ scale.T, centers @ scale.T)
        return np.maximum(_squared_distances(rows, centers) - inside, _SMALLEST)


def _squared_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    squared: NDArray[np.float64] = (a * a).sum(axis=1)[:, np.newaxis] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return squared
