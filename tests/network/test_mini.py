"""The checkpoint of the built-in model, which fine-tuning starts from, and the bundle converted from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medimageinsight import MedImageInsight, images
from medimageinsight.bundle import Bundle, find, sha256_of
from medimageinsight.export import find_checkpoint, read_description
from medimageinsight.network import ModelConfig, load_model
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


def test_bundle_names_this_checkpoint() -> None:
    checkpoint = Bundle.open(find("mini")).manifest.provenance["checkpoint"]
    assert checkpoint["sha256"] == sha256_of(CHECKPOINT / "model.safetensors")


def test_checkpoint_and_bundle_give_the_same_embeddings(network, bundle: MedImageInsight) -> None:
    images_rgb = np.random.default_rng(0).integers(0, 256, (3, 200, 160, 3), dtype=np.uint8)
    pixels = np.stack([preprocess(images.open(image), bundle.preprocessing) for image in images_rgb])
    tokenizer = Tokenizer.from_file(CHECKPOINT / "tokenizer.json", 77)
    ids, mask = tokenizer.pad(tokenizer.encode(TEXTS))
    with torch.inference_mode():
        image_embeddings = network.encode_image(torch.from_numpy(pixels)).numpy()
        text_embeddings = network.encode_text(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(bundle.embed_images(list(images_rgb)), image_embeddings, atol=2e-6)
    np.testing.assert_allclose(bundle.embed_texts(TEXTS), text_embeddings, atol=2e-6)
