from __future__ import annotations

import math

import numpy as np
import pytest

from medimageinsight.tasks import mean_by_label, probabilities


def test_probabilities_match_hand_computed_values() -> None:
    images, texts = np.array([[1.0, 0.0], [0.6, 0.8]]), np.eye(2)
    expected = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2 * 0.2))]
    result = probabilities(images, texts, math.log(2))
    np.testing.assert_allclose(result[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=1e-6)


def test_single_image_drops_its_axis() -> None:
    result = probabilities(np.array([1.0, 0.0]), np.eye(2), 0.0)
    assert result.shape == (2,)
    assert result.sum() == pytest.approx(1, abs=1e-6)


def test_extreme_scale_does_not_overflow() -> None:
    result = probabilities(np.eye(2), np.eye(2), 12.0)
    np.testing.assert_array_equal(result, np.eye(2))


def test_accepts_zero_images() -> None:
    assert probabilities(np.empty((0, 2)), np.eye(2), 4.5).shape == (0, 2)


def test_mean_by_label_averages_prompts() -> None:
    embeddings = np.array([[1, 0], [0, 1], [0, -1]], dtype=np.float32)
    result = mean_by_label(embeddings, [2, 1])
    np.testing.assert_allclose(result, [[math.sqrt(0.5)] * 2, [0, -1]], atol=1e-7)
    assert result.dtype == np.float32
