"""A checkpoint with the other image encoder becomes a bundle, in each precision."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from medimageinsight import MedImageInsight
from medimageinsight.bundle import IMAGE_ENCODER, half_graph
from medimageinsight.export import BOUNDS, convert, load_original, read_parity, rewrite, verify
from medimageinsight.export.precision import quantize
from medimageinsight.export.rewriting import fold_batch_norm
from medimageinsight.network import UniCLModel
from medimageinsight.preprocess import Preprocessing
from medimageinsight.train.tokenizer_training import train_tokenizer
from tests.golden.efficientnet import SMALL, SMALL_MODEL, small_pixels, small_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.bundle import Bundle

DIM = SMALL_MODEL.embedding_dim


@pytest.fixture(scope="module")
def network() -> UniCLModel:
    torch.manual_seed(0)
    model = UniCLModel(SMALL_MODEL)
    shapes = {name: tuple(value.shape) for name, value in model.image_encoder.state_dict().items()}
    model.image_encoder.load_state_dict(small_tensors(shapes))
    return model.eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def checkpoint(network: UniCLModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("efficientnet")
    save_file(network.state_dict(), folder / "model.safetensors")
    words = [f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(60)]
    vocabulary = train_tokenizer(words, SMALL_MODEL.text.vocab_size)
    vocabulary.save(str(folder / "tokenizer.json"))
    preprocessing = Preprocessing(image_size=SMALL.image_size, mean=(0.5,) * 3, std=(0.5,) * 3)
    description = {"architecture": SMALL_MODEL.to_dict(), "preprocessing": preprocessing.to_dict()}
    (folder / "model.json").write_text(json.dumps(description))
    return folder


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return convert(checkpoint, tmp_path_factory.mktemp("models") / "lite")


def test_bundle_is_within_the_bounds_and_verifies_with_and_without_pytorch(checkpoint: Path, bundle: Bundle) -> None:
    parity, _ = read_parity(bundle.folder, DIM)
    assert parity.bounds == BOUNDS["fp32"]
    assert parity.image.max_abs_diff <= 1e-5
    assert parity.image.min_cosine > 0.999999
    verify(bundle)
    verify(bundle, load_original(bundle, checkpoint))


def test_norms_are_part_of_the_convolutions_and_the_batch_is_free(bundle: Bundle) -> None:
    model = onnx.load(bundle.path(IMAGE_ENCODER))
    operators = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in operators
    assert {"Conv", "Clip"} <= operators
    assert all(node.domain in ("", "ai.onnx") for node in model.graph.node)
    session = ort.InferenceSession(str(bundle.path(IMAGE_ENCODER)))
    pixels = small_pixels().numpy()
    together = session.run(None, {"pixel_values": np.concatenate([pixels, pixels])})[0]
    alone = session.run(None, {"pixel_values": pixels[1:]})[0]
    np.testing.assert_allclose(together[[1, 3]], np.repeat(alone, 2, axis=0), atol=1e-6)


def test_folding_keeps_the_embeddings_and_the_original(network: UniCLModel) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = rewrite(network, (fold_batch_norm,))
    with torch.inference_mode():
        difference = folded.encode_image(small_pixels()) - network.encode_image(small_pixels())
    assert float(difference.abs().max()) <= 1e-6
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any("norm" in name for name, _ in folded.image_encoder.named_parameters())


def test_manifest_and_card_describe_this_network(bundle: Bundle) -> None:
    assert bundle.manifest.architecture["image"]["kind"] == "efficientnet"
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "davit" not in card.casefold()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    with MedImageInsight.load(bundle.folder) as model:
        assert model.embed_images([image]).shape == (1, DIM)


def test_fp16_stores_filters_in_half(checkpoint: Path, bundle: Bundle, tmp_path: Path) -> None:
    half = convert(checkpoint, tmp_path / "half", precision="fp16")
    parity, _ = read_parity(half.folder, DIM)
    assert parity.image.min_cosine >= 0.9999
    filters = onnx.load(half.path(half_graph(IMAGE_ENCODER))).graph.initializer
    assert any(tensor.data_type == onnx.TensorProto.FLOAT16 and len(tensor.dims) == 4 for tensor in filters)


def test_int8_leaves_a_graph_of_convolutions_as_it_is(bundle: Bundle, tmp_path: Path) -> None:
    written = quantize(
        bundle.path(IMAGE_ENCODER), tmp_path / "int8.onnx", iter([{"pixel_values": small_pixels().numpy()}])
    )
    assert written == ("int8.onnx",)
    inputs = {"pixel_values": small_pixels().numpy()}
    full, quantised = (
        ort.InferenceSession(str(path)).run(None, inputs)[0]
        for path in (bundle.path(IMAGE_ENCODER), tmp_path / "int8.onnx")
    )
    assert np.array_equal(full, quantised)
