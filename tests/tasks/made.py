"""Made-up vectors: one cluster a label, some patients with several images."""

from __future__ import annotations

import numpy as np

from medimageinsight.adapters.labelled import Labelled
from medimageinsight.bundle.identity import ModelIdentity

DIM = 24


def identity(**changed) -> ModelIdentity:
    values = {
        "name": "made",
        "embedding_dim": DIM,
        "image_encoder": {"image_encoder.onnx": "0" * 64},
        "text_encoder": {"text_encoder.onnx": "1" * 64},
        "preprocessing": {"default": "direct", "image_size": [16, 16]},
    }
    return ModelIdentity(**{**values, **changed})


def clusters(
    count: int, *, labels: int = 3, seed: int = 0, spread: float = 1.0, shares: list[float] | None = None
) -> Labelled:
    """Vectors around the same centres for every seed; two images a patient."""
    centres = 0.5 * np.random.default_rng(99).standard_normal((labels, DIM))
    rng = np.random.default_rng(seed)
    drawn = rng.choice(labels, size=(count + 1) // 2, p=shares).repeat(2)[:count]
    return Labelled(
        vectors=centres[drawn] + spread * rng.standard_normal((count, DIM)),
        labels=[f"label {one}" for one in drawn],
        patients=[f"{seed}-{index // 2}" for index in range(count)],
    )


def several(count: int, *, seed: int = 0) -> Labelled:
    """Vectors with any number of two labels, each along a direction of its own."""
    directions = np.random.default_rng(98).standard_normal((2, DIM))
    rng = np.random.default_rng(seed)
    flags = rng.random((count, 2)) < (0.5, 0.2)
    return Labelled(
        vectors=flags @ directions + 0.7 * rng.standard_normal((count, DIM)),
        labels=[frozenset(name for name, one in zip(("left", "right"), row, strict=True) if one) for row in flags],
    )
