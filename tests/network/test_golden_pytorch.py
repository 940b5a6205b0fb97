"""The network in PyTorch reproduces the embeddings of the original implementation."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
import yaml

from medimageinsight.network import ModelConfig, UniCLModel
from tests.golden.model import CONFIG, golden, golden_pixels, golden_weights

TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def model():
    config = ModelConfig.from_release(yaml.safe_load(CONFIG.read_text()))
    network = UniCLModel(config).eval()
    network.load_state_dict({name: torch.from_numpy(np.asarray(value)) for name, value in golden_weights().items()})
    return network


@torch.inference_mode()
def embed_image(model, pixels):
    return model.encode_image(torch.from_numpy(pixels)).numpy()


@torch.inference_mode()
def embed_tokens(model, rows, length=0):
    length = max(length, *map(len, rows))
    ids = torch.tensor([row + [49407] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return model.encode_text(ids, mask).numpy()


def test_generated_weights_are_the_original_ones():
    weights = golden_weights()
    digest = hashlib.sha256(b"".join(weights[name].tobytes() for name in sorted(weights)))
    assert digest.hexdigest() == golden()["weights_sha256"]


def test_image_embedding(model):
    difference = np.abs(embed_image(model, golden_pixels()) - golden()["image_embeddings"][:1])
    assert difference.max() <= TOLERANCE


@pytest.mark.parametrize("length", [0, 77], ids=["as long as the longest", "padded to the context"])
def test_text_embeddings_in_a_batch(model, length):
    difference = np.abs(embed_tokens(model, golden()["token_ids"], length) - golden()["text_embeddings"])
    assert difference.max() <= TOLERANCE


def test_text_embeddings_alone(model):
    for ids, expected in zip(golden()["token_ids"], golden()["text_embeddings"], strict=True):
        assert np.abs(embed_tokens(model, [ids])[0] - expected).max() <= TOLERANCE


def test_all_golden_images_alone_and_in_a_batch(model, shared):
    pixels = np.load(shared / "golden" / "tiny" / "pixels.npy")
    expected = np.array(golden()["image_embeddings"])
    alone = np.concatenate([embed_image(model, pixels[row : row + 1]) for row in range(len(pixels))])
    assert np.abs(embed_image(model, pixels) - expected).max() <= TOLERANCE
    assert np.abs(alone - expected).max() <= TOLERANCE


def test_stored_numbers_match_the_published_ones(shared):
    with np.load(shared / "golden" / "tiny" / "expected.npz") as expected:
        for key in ("image_embeddings", "text_embeddings"):
            np.testing.assert_array_equal(np.array(golden()[key], dtype=np.float32), expected[key])
    published = json.loads((shared / "golden" / "tiny" / "golden.json").read_text())
    assert golden()["shapes"] == published["state_dict_shapes"]
    assert golden()["token_ids"] == published["token_ids"]
