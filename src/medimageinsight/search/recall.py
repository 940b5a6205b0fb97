"""Recall of a store's index."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.search.records import Recall
from medimageinsight.search.store_errors import store_empty

if TYPE_CHECKING:
    from medimageinsight.search.store import Store

_SEED = 0
_TIE = 1e-6  # scores this close count as equal: either of two equal images is a correct result


def measure_recall(store: Store, *, k: int = 10, sample: int = 200) -> Recall:
    """Measure the fraction of the exact results that the index finds.

    Each of `sample` stored vectors, chosen at random with a fixed seed, is searched for with the index and exactly.

    Raises:
        InputError: ``store_empty``, ``sample_invalid``.
    """
    ids = np.array([item_id for block_ids, _ in store.scan() for item_id in block_ids], dtype=object)
    if not len(ids):
        raise store_empty()
    if sample < 1:
        raise InputError(f"expected a sample of at least 1, got {sample}", code="sample_invalid")
    chosen = np.random.default_rng(_SEED).choice(np.sort(ids), size=min(sample, len(ids)), replace=False)
    recalls, index_times, exact_times = [], [], []
    for item in store.get(list(chosen)):
        start = time.perf_counter()
        hits = store.search(item.embedding, k=k)
        middle = time.perf_counter()
        expected = store.search(item.embedding, k=k, exact=True)
        index_times.append(middle - start)
        exact_times.append(time.perf_counter() - middle)
        threshold = expected[-1].score - _TIE
        recalls.append(sum(hit.score >= threshold for hit in hits) / len(expected))
    return Recall(
        recall=float(np.mean(recalls)),
        k=k,
        queries=len(recalls),
        index_ms=1000 * float(np.median(index_times)),
        exact_ms=1000 * float(np.median(exact_times)),
    )
