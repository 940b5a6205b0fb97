"""The UniCL loss against a slow, plain reference in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from medimageinsight.train.loss import unicl_loss


def reference(images: np.ndarray, texts: np.ndarray, log_scale: float, positives: np.ndarray) -> float:
    """Compute equations 2 to 4 of the UniCL paper with loops."""

    def direction(queries: np.ndarray, keys: np.ndarray, matches: np.ndarray) -> float:
        total = 0.0
        for query, row in zip(queries, matches, strict=True):
            scores = [math.exp(math.exp(log_scale) * float(query @ key)) for key in keys]
            terms = [math.log(score / sum(scores)) for score, match in zip(scores, row, strict=True) if match]
            total -= sum(terms) / len(terms)
        return total / len(queries)

    return (direction(images, texts, positives) + direction(texts, images, positives.T)) / 2


def unit_vectors(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.standard_normal((count, 8))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_reference_in_value_and_gradient(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, texts = unit_vectors(rng, 6), unit_vectors(rng, 6)
    classes = rng.integers(3, size=6)
    positives = classes[:, None] == classes[None, :]
    x = torch.tensor(images, requires_grad=True)
    loss = unicl_loss(x, torch.tensor(texts), torch.tensor(2.0, dtype=torch.float64), torch.tensor(positives))
    assert loss.item() == pytest.approx(reference(images, texts, 2.0, positives), abs=1e-12)

    loss.backward()
    step = 1e-6
    for row, column in [(0, 0), (3, 5), (5, 2)]:
        up, down = images.copy(), images.copy()
        up[row, column] += step
        down[row, column] -= step
        slope = (reference(up, texts, 2.0, positives) - reference(down, texts, 2.0, positives)) / (2 * step)
        assert x.grad[row, column].item() == pytest.approx(slope, abs=1e-7)


def test_equals_clip_loss_if_every_pair_is_its_own_class() -> None:
    rng = np.random.default_rng(0)
    images, texts = torch.tensor(unit_vectors(rng, 5)), torch.tensor(unit_vectors(rng, 5))
    logits = math.exp(1.0) * images @ texts.T
    target = torch.arange(5)
    clip = (torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, target)) / 2
    unicl = unicl_loss(images, texts, torch.tensor(1.0, dtype=torch.float64), torch.eye(5, dtype=torch.bool))
    assert unicl.item() == pytest.approx(clip.item(), abs=1e-12)
