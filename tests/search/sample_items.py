"""Items, vectors and a model identity for tests."""

from __future__ import annotations

import numpy as np
import pytest

from medimageinsight import search
from medimageinsight.errors import InputError

DIM = 8
IDENTITY = search.Identity(
    model="toy",
    image_encoder={"image_encoder.onnx": "a" * 64},
    precision="fp32",
    embedding_dim=DIM,
    preprocessing={
        "image_size": [8, 8],
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "default": "direct",
        "standardization_size": 512,
        "jpeg_quality": 75,
    },
)


def vectors(count: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    """Return random vectors (count, dim) float32, L2-normalised."""
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def item(item_id: object, embedding: np.ndarray | None = None, **metadata: object) -> search.Item:
    """Return an item; its embedding depends on its id only unless given."""
    if embedding is None:
        embedding = vectors(1, seed=sum(map(ord, str(item_id))))[0]
    return search.Item(id=str(item_id), path=f"images/{item_id}.png", embedding=embedding, metadata=metadata)


def code_of(call) -> str:
    """Return the code of the `InputError` that a call raises."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in caught.value.message
    return caught.value.code


def ids_of(hits: list[search.Hit]) -> list[str]:
    return [hit.id for hit in hits]
