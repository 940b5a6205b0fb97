"""Synthetic embeddings: one cluster for each label, two images of each patient."""

from __future__ import annotations

import numpy as np

from medimageinsight.adapters import LabelledEmbeddings
from medimageinsight.bundle import ModelIdentity

DIM = 24


def make_identity(**changed) -> ModelIdentity:
    values = {
        "name": "synthetic",
        "embedding_dim": DIM,
        "image_encoder": {"image_encoder.onnx": "0" * 64},
        "text_encoder": {"text_encoder.onnx": "1" * 64},
        "preprocessing": {"default": "direct", "image_size": [16, 16]},
    }
    return ModelIdentity(**{**values, **changed})


def make_clusters(
    count: int, *, labels: int = 3, seed: int = 0, spread: float = 1.0, shares: list[float] | None = None
) -> LabelledEmbeddings:
    """Return vectors around centres that are the same for every seed; two images of each patient."""
    centres = 0.5 * np.random.default_rng(99).standard_normal((labels, DIM))
    rng = np.random.default_rng(seed)
    drawn = rng.choice(labels, size=(count + 1) // 2, p=shares).repeat(2)[:count]
    return LabelledEmbeddings(
        vectors=centres[drawn] + spread * rng.standard_normal((count, DIM)),
        labels=[f"label {number}" for number in drawn],
        patients=[f"{seed}-{index // 2}" for index in range(count)],
    )


def make_multilabel(count: int, *, seed: int = 0) -> LabelledEmbeddings:
    """Return vectors with any number of two labels, each with a direction of its own."""
    directions = np.random.default_rng(98).standard_normal((2, DIM))
    rng = np.random.default_rng(seed)
    flags = rng.random((count, 2)) < (0.5, 0.2)
    return LabelledEmbeddings(
        vectors=flags @ directions + 0.7 * rng.standard_normal((count, DIM)),
        labels=[
            frozenset(name for name, is_set in zip(("left", "right"), row, strict=True) if is_set) for row in flags
        ],
    )
