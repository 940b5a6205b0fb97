"""Exact nearest neighbours, and which of them are relevant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.metrics.scores import Flags, Integers

_BLOCK = 1024  # queries at a time: bounds the similarity matrix to _BLOCK x gallery


def nearest(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    k: int,
    *,
    query_groups: Integers | None = None,
    gallery_groups: Integers | None = None,
) -> Integers:
    """Return the ``k`` gallery items with the highest cosine similarity to each query, best first.

    Args:
        queries: (Q, D) float, L2-normalised.
        gallery: (M, D) float, L2-normalised.
        k: The number of neighbours; the whole gallery if it has fewer items.
        query_groups: (Q,) int. With ``gallery_groups``, items of the query's own group are excluded: an image does not
            find itself or its patient.
        gallery_groups: (M,) int.

    Returns:
        (Q, min(k, M)) int64 indices into the gallery; -1 where only items of the query's own group were left.
    """
    k = min(k, len(gallery))
    neighbours = np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries), _BLOCK):
        block = slice(start, start + _BLOCK)
        similarity = queries[block] @ gallery.T
        if query_groups is not None and gallery_groups is not None:
            similarity[query_groups[block, None] == gallery_groups] = -np.inf
        top = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        top_similarity = np.take_along_axis(similarity, top, axis=1)
        order = np.argsort(-top_similarity, axis=1, kind="stable")
        top[np.isneginf(top_similarity)] = -1
        neighbours[block] = np.take_along_axis(top, order, axis=1)
    return neighbours


def same_label(neighbours: Integers, labels: Integers) -> Flags:
    """Return which neighbours of each image have its label: (N, k) bool.

    Neighbours are (N, k) indices of images, -1 for none; labels are (N,), -1 for an unlabelled image, which is relevant
    to no query.
    """
    label_of_neighbour = np.where(neighbours >= 0, labels[neighbours], -1)
    relevant: Flags = (label_of_neighbour == labels[:, None]) & (label_of_neighbour >= 0)
    return relevant


def has_relevant(labels: Integers, groups: Integers) -> Flags:
    """Return whether another group has an image with the same label, so that a query can find a hit: (N,) bool."""
    _, label_code, label_count = np.unique(labels, return_inverse=True, return_counts=True)
    pairs = np.stack([labels, groups])
    _, pair_code, pair_count = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    return (label_count[label_code] > pair_count[pair_code.ravel()]) & (labels >= 0)
