"""Random choice of the samples of a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medimageinsight.datasets import Sample
from medimageinsight.train.config import DataConfig
from medimageinsight.train.sampling import draw_samples, sampling_weights

SOURCES = np.array(["a"] * 60 + ["b"] * 30 + ["c"] * 10)
WEIGHTS = np.full(100, 0.01)


def test_sampling_weights_by_class_power() -> None:
    samples = [Sample(path=Path("x.png"), caption="x", label=label) for label in "xxxxxxxxyy"]
    plain = sampling_weights(samples, DataConfig(table=""))
    assert plain == pytest.approx(np.full(10, 0.1))
    even = sampling_weights(samples, DataConfig(table="", class_power=0))
    assert even[:8].sum() == pytest.approx(0.5)


def test_batch_of_all_sources_follows_the_weights() -> None:
    drawn = SOURCES[draw_samples(WEIGHTS, SOURCES, 10_000, None, np.random.default_rng(0))]
    shares = [np.mean(drawn == source) for source in "abc"]
    np.testing.assert_allclose(shares, [0.6, 0.3, 0.1], atol=0.02)


def test_batch_of_some_sources_has_equal_parts() -> None:
    rng = np.random.default_rng(0)
    chosen = []
    for _ in range(500):
        names, counts = np.unique(SOURCES[draw_samples(WEIGHTS, SOURCES, 9, 2, rng)], return_counts=True)
        assert sorted(counts) == [4, 5]
        chosen += list(names)
    assert chosen.count("a") > chosen.count("b") > chosen.count("c") > 0


def test_samples_within_a_source_follow_the_weights() -> None:
    weights = np.where(np.arange(100) == 60, 0.5, 0.5 / 99)
    drawn = np.concatenate([draw_samples(weights, SOURCES, 10, 1, np.random.default_rng(seed)) for seed in range(200)])
    of_b = drawn[SOURCES[drawn] == "b"]
    assert np.mean(of_b == 60) == pytest.approx(0.5 / (0.5 + 29 * 0.5 / 99), abs=0.05)
