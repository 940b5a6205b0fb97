"""How much of the exact answer an index finds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.search.values import Recall

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.search.store import Store
    from medimageinsight.search.values import Hit

_SEED = 0
_TIE = 1e-6  # scores this near are one score: which of two equal images is found does not matter


def measure_recall(store: Store, *, k: int, sample: int) -> Recall:
    """`Store.measure_recall`: each sampled vector is searched for with the index and exactly."""
    ids = np.array([one for block, _ in store.scan() for one in block], dtype=object)
    if not len(ids):
        raise InputError("expected a store with items, got an empty one: add images first", code="store_empty")
    if sample < 1:
        raise InputError(f"expected a sample of at least 1, got {sample}", code="sample_invalid")
    chosen = np.random.default_rng(_SEED).choice(np.sort(ids), size=min(sample, len(ids)), replace=False)
    found, index_times, exact_times = [], [], []
    for item in store.get(list(chosen)):
        hits, seconds = _timed(store, item.embedding, k, exact=False)
        index_times.append(seconds)
        expected, seconds = _timed(store, item.embedding, k, exact=True)
        exact_times.append(seconds)
        worst = expected[-1].score - _TIE
        found.append(sum(hit.score >= worst for hit in hits) / len(expected))
    return Recall(
        recall=float(np.mean(found)),
        k=k,
        queries=len(found),
        index_ms=1000 * float(np.median(index_times)),
        exact_ms=1000 * float(np.median(exact_times)),
    )


def _timed(store: Store, vector: NDArray[np.float32], k: int, *, exact: bool) -> tuple[list[Hit], float]:
    start = time.perf_counter()
    hits = store.search(vector, k=k, exact=exact)
    return hits, time.perf_counter() - start
