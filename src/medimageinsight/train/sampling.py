"""Random choice of the samples of a batch."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.datasets import Sample
    from medimageinsight.train.config import DataConfig


def sampling_weights(samples: Sequence[Sample], settings: DataConfig) -> npt.NDArray[np.float64]:
    """Return the probability of each sample, (N,), with sum 1; see `DataConfig`."""
    sources = Counter(sample.source for sample in samples)
    classes = Counter((sample.source, sample.label) for sample in samples)
    class_weights = {key: count**settings.class_power for key, count in classes.items()}
    source_totals: dict[str, float] = defaultdict(float)
    for (source, _), weight in class_weights.items():
        source_totals[source] += weight
    weights = np.array(
        [
            sources[sample.source] ** settings.sampling_power
            * settings.source_weights.get(sample.source, 1.0)
            * class_weights[sample.source, sample.label]
            / source_totals[sample.source]
            / classes[sample.source, sample.label]
            for sample in samples
        ]
    )
    return np.asarray(weights / weights.sum())


def draw_samples(
    weights: npt.NDArray[np.float64],  # (N,), the probability of each sample, with sum 1
    sources: npt.NDArray[np.str_],  # (N,)
    count: int,
    sources_per_batch: int | None,  # to draw from in equal parts; None draws each sample from all sources
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Draw the samples of one batch with replacement, (count,) indices."""
    names, source_ids = np.unique(sources, return_inverse=True)
    if sources_per_batch is None or sources_per_batch >= len(names):
        return rng.choice(len(weights), count, p=weights)
    source_weights = np.bincount(source_ids, weights)
    chosen = rng.choice(len(names), sources_per_batch, replace=False, p=source_weights)
    parts = []
    for source, part in zip(chosen, np.array_split(np.arange(count), sources_per_batch), strict=True):
        within = np.where(source_ids == source, weights, 0)
        parts.append(rng.choice(len(weights), len(part), p=within / within.sum()))
    return np.concatenate(parts)
