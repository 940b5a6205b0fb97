"""The graphs reproduce the embeddings of the original implementation in a plain ONNX Runtime session."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER
from tests.golden.model import golden, golden_pixels

TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def embed_image(golden_bundle):
    session = ort.InferenceSession(str(golden_bundle.path(IMAGE_ENCODER)))
    return lambda pixels: session.run(["image_embeddings"], {"pixel_values": pixels})[0]


@pytest.fixture(scope="module")
def embed_tokens(golden_bundle):
    session = ort.InferenceSession(str(golden_bundle.path(TEXT_ENCODER)))

    def embed(rows, length=0):
        length = max(length, *map(len, rows))
        ids = np.array([row + [49407] * (length - len(row)) for row in rows])
        mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows])
        return session.run(["text_embeddings"], {"input_ids": ids, "attention_mask": mask})[0]

    return embed


def test_image_alone(embed_image):
    embedding = embed_image(golden_pixels())
    assert embedding.dtype == np.float32
    assert np.abs(embedding - golden()["image_embeddings"][:1]).max() <= TOLERANCE


def test_image_in_a_batch_of_eight(embed_image):
    pixels = golden_pixels()
    rolled = np.stack([np.roll(pixels[0], 17 * shift, axis=1) for shift in range(1, 8)])
    batch = embed_image(np.concatenate([rolled, pixels]))
    assert np.abs(batch[7] - golden()["image_embeddings"][0]).max() <= TOLERANCE
    assert np.abs(batch[7] - embed_image(pixels)[0]).max() <= 1e-6


@pytest.mark.parametrize("length", [0, 77], ids=["as long as the longest", "padded to the context"])
def test_texts_in_a_batch(embed_tokens, length):
    difference = np.abs(embed_tokens(golden()["token_ids"], length) - golden()["text_embeddings"])
    assert difference.max() <= TOLERANCE


def test_texts_alone(embed_tokens):
    for ids, expected in zip(golden()["token_ids"], golden()["text_embeddings"], strict=True):
        assert np.abs(embed_tokens([ids])[0] - expected).max() <= TOLERANCE


def test_all_golden_images_alone_and_in_a_batch(embed_image, shared):
    pixels = np.load(shared / "golden" / "tiny" / "pixels.npy")
    expected = np.array(golden()["image_embeddings"])
    alone = np.concatenate([embed_image(pixels[row : row + 1]) for row in range(len(pixels))])
    assert np.abs(embed_image(pixels) - expected).max() <= TOLERANCE
    assert np.abs(alone - expected).max() <= TOLERANCE
