"""Which pictures a batch holds."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the train extra")

from medimageinsight.train.data import draw

SOURCES = np.array(["a"] * 60 + ["b"] * 30 + ["c"] * 10)
WEIGHTS = np.full(100, 0.01)


def test_a_batch_of_all_sources_holds_them_by_their_weight() -> None:
    drawn = SOURCES[draw(WEIGHTS, SOURCES, 10_000, None, np.random.default_rng(0))]
    shares = [np.mean(drawn == source) for source in "abc"]
    np.testing.assert_allclose(shares, [0.6, 0.3, 0.1], atol=0.02)


def test_a_batch_of_few_sources_holds_them_in_equal_parts() -> None:
    rng = np.random.default_rng(0)
    chosen = []
    for _ in range(500):
        names, counts = np.unique(SOURCES[draw(WEIGHTS, SOURCES, 9, 2, rng)], return_counts=True)
        assert sorted(counts) == [4, 5]
        chosen += list(names)
    assert chosen.count("a") > chosen.count("b") > chosen.count("c") > 0


def test_within_a_source_pictures_are_drawn_by_their_weight() -> None:
    weights = np.where(np.arange(100) == 60, 0.5, 0.5 / 99)
    drawn = np.concatenate([draw(weights, SOURCES, 10, 1, np.random.default_rng(seed)) for seed in range(200)])
    of_b = drawn[SOURCES[drawn] == "b"]
    assert np.mean(of_b == 60) == pytest.approx(0.5 / (0.5 + 29 * 0.5 / 99), abs=0.05)
