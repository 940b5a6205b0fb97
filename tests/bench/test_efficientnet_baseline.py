"""Baselines of a model with the other image encoder compute finite embeddings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from medimageinsight.bench.runners import _network
from tests.golden.efficientnet import SMALL_MODEL, small_pixels


def test_norms_of_random_weights_have_statistics() -> None:
    config = SimpleNamespace(architecture=SMALL_MODEL.to_dict(), encoder="image")
    model = _network(config, device="cpu")
    assert {float(value.mean()) for value in model.buffers()} == {0.0, 1.0}
    with torch.inference_mode():
        assert torch.isfinite(model.encode_image(small_pixels())).all()
