"""Checkpoint to bundle to engine: ONNX Runtime reproduces the numbers of the original implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight.engine import Engine
from tests.golden.model import golden, golden_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from medimageinsight.bundle import Bundle

TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def engine(golden_bundle: Bundle) -> Iterator[Engine]:
    with Engine(golden_bundle, threads=1) as engine:
        yield engine


def test_golden_image(engine: Engine) -> None:
    difference = engine.embed_pixels(golden_pixels()) - np.array(golden()["image_embeddings"][:1])
    assert np.abs(difference).max() <= TOLERANCE


def test_golden_images_in_a_batch_and_alone(engine: Engine, shared: Path) -> None:
    pixels, expected = np.load(shared / "golden" / "tiny" / "pixels.npy"), np.array(golden()["image_embeddings"])
    alone = np.concatenate([engine.embed_pixels(pixels[row : row + 1]) for row in range(len(pixels))])
    assert np.abs(engine.embed_pixels(pixels) - expected).max() <= TOLERANCE
    assert np.abs(alone - expected).max() <= TOLERANCE


def test_golden_texts_in_batches_and_alone(engine: Engine) -> None:
    rows, expected = golden()["token_ids"], np.array(golden()["text_embeddings"])
    alone = np.concatenate([engine.embed_tokens([row]) for row in rows])
    assert np.abs(engine.embed_tokens(rows) - expected).max() <= TOLERANCE
    assert np.abs(alone - expected).max() <= TOLERANCE


def test_an_image_alone_and_in_a_batch_of_eight(engine: Engine) -> None:
    noise = np.random.default_rng(0).standard_normal((7, *golden_pixels().shape[1:]), dtype=np.float32)
    together = engine.embed_pixels(np.concatenate([golden_pixels(), noise]))
    assert np.abs(together[0] - engine.embed_pixels(golden_pixels())[0]).max() <= 1e-6


def test_two_calls_give_the_same_bits(engine: Engine) -> None:
    rows = golden()["token_ids"]
    assert engine.embed_pixels(golden_pixels()).tobytes() == engine.embed_pixels(golden_pixels()).tobytes()
    assert engine.embed_tokens(rows).tobytes() == engine.embed_tokens(rows).tobytes()
