"""The checkpoint of the built-in model, which fine-tuning starts from, and the bundle that was made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medimageinsight import MedImageInsight, images
from medimageinsight.bundle import Bundle, find
from medimageinsight.bundle.bundle import sha256_of
from medimageinsight.export.source import find_checkpoint, read_description
from medimageinsight.network.checkpoint import load_model
from medimageinsight.network.config import ModelConfig
from medimageinsight.preprocess import preprocess
from medimageinsight.tokenizer import Tokenizer

CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "mini"
TEXTS = ["x-ray chest anteroposterior Pneumonia", "dermoscopy skin Melanoma", "an ocean liner"]


@pytest.fixture(scope="module")
def network():
    files = find_checkpoint(CHECKPOINT)
    return load_model(files.weights, ModelConfig.from_dict(read_description(files).architecture))


@pytest.fixture(scope="module")
def bundle() -> MedImageInsight:
    return MedImageInsight.load("mini")


def test_the_bundle_names_this_checkpoint() -> None:
    made_of = Bundle.open(find("mini")).manifest.provenance["checkpoint"]
    assert made_of["sha256"] == sha256_of(CHECKPOINT / "model.safetensors")


def test_its_embeddings_are_the_bundles(network, bundle: MedImageInsight) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (3, 200, 160, 3), dtype=np.uint8)
    pixels = np.stack([preprocess(images.open(one), bundle.preprocessing) for one in drawn])
    tokenizer = Tokenizer.from_file(CHECKPOINT / "tokenizer.json", 77)
    ids, mask = tokenizer.pad(tokenizer.encode(TEXTS))
    with torch.inference_mode():
        pictures = network.encode_image(torch.from_numpy(pixels)).numpy()
        texts = network.encode_text(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(bundle.embed_images(list(drawn)), pictures, atol=2e-6)
    np.testing.assert_allclose(bundle.embed_texts(TEXTS), texts, atol=2e-6)
