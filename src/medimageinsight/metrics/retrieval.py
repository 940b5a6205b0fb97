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
    """The ``k`` gallery items of the highest cosine similarity to each query, best first.

    Args:
        queries: (Q, D) float, L2-normalised.
        gallery: (M, D) float, L2-normalised.
        k: How many; all of the gallery if it has fewer.
        query_groups: (Q,) int. With ``gallery_groups``, items of the query's own group come after all others: a
            picture does not find itself or its patient.
        gallery_groups: (M,) int.

    Returns:
        (Q, min(k, M)) int64 indices into the gallery; -1 where only items of the query's own group were left.
    """
    k = min(k, len(gallery))
    found = np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries), _BLOCK):
        block = slice(start, start + _BLOCK)
        similarity = queries[block] @ gallery.T
        if query_groups is not None and gallery_groups is not None:
            similarity[query_groups[block, None] == gallery_groups] = -np.inf
        top = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        top_similarity = np.take_along_axis(similarity, top, axis=1)
        order = np.argsort(-top_similarity, axis=1, kind="stable")
        top[np.isneginf(top_similarity)] = -1
        found[block] = np.take_along_axis(top, order, axis=1)
    return found


def same_label(neighbours: Integers, labels: Integers) -> Flags:
    """Whether the neighbours of a picture have its label.

    Args:
        neighbours: (N, k) int, indices of pictures, -1 for none.
        labels: (N,) int, -1 for an unlabelled picture, which is relevant to nothing.

    Returns:
        (N, k) bool.
    """
    label_of_neighbour = np.where(neighbours >= 0, labels[neighbours], -1)
    relevant: Flags = (label_of_neighbour == labels[:, None]) & (label_of_neighbour >= 0)
    return relevant


def has_relevant(labels: Integers, groups: Integers) -> Flags:
    """Whether another group holds a picture with the same label, so that a query can find anything: (N,) bool."""
    _, label_code, of_label = np.unique(labels, return_inverse=True, return_counts=True)
    pairs = np.stack([labels, groups])
    _, pair_code, of_pair = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    answerable: Flags = (of_label[label_code] > of_pair[pair_code.ravel()]) & (labels >= 0)
    return answerable
