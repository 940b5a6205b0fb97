"""Inputs and outputs of the graphs, and what they must not contain."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER
from medimageinsight.export import graphs
from medimageinsight.network import ImageEncoderConfig, ModelConfig, TextEncoderConfig, UniCLModel

SMALL = ModelConfig(
    image=ImageEncoderConfig(
        image_size=(32, 48), widths=(4, 8, 8, 8), depths=(1, 1, 1, 1), heads=(1,) * 4, groups=(1,) * 4, window=4
    ),
    text=TextEncoderConfig(vocab_size=50, context_length=12, width=8, heads=2, layers=1),
    embedding_dim=6,
)


def describe(values):
    return {value.name: (value.type, value.shape) for value in values}


def test_inputs_and_outputs_are_fixed(golden_bundle):
    image = ort.InferenceSession(str(golden_bundle.path(IMAGE_ENCODER)))
    assert describe(image.get_inputs()) == {"pixel_values": ("tensor(float)", ["batch", 3, 120, 120])}
    assert describe(image.get_outputs()) == {"image_embeddings": ("tensor(float)", ["batch", 64])}
    text = ort.InferenceSession(str(golden_bundle.path(TEXT_ENCODER)))
    ids = ("tensor(int64)", ["batch", "length"])
    assert describe(text.get_inputs()) == {"input_ids": ids, "attention_mask": ids}
    assert describe(text.get_outputs()) == {"text_embeddings": ("tensor(float)", ["batch", 64])}


@pytest.mark.parametrize("name", [IMAGE_ENCODER, TEXT_ENCODER])
def test_graph_is_valid_and_uses_standard_operators_only(golden_bundle, name):
    model = onnx.load(golden_bundle.path(name))
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions


def test_norms_and_gelus_are_single_operators(golden_bundle):
    operators = [node.op_type for node in onnx.load(golden_bundle.path(IMAGE_ENCODER)).graph.node]
    assert operators.count("LayerNormalization") == 4 + 5 * 4 + 1
    assert operators.count("Gelu") == 5 * 2


@pytest.mark.parametrize("name", [IMAGE_ENCODER, TEXT_ENCODER])
def test_graph_has_no_traces_of_this_machine(golden_bundle, name):
    content = golden_bundle.path(name).read_bytes()
    for trace in (b"stack_trace", b'File "', b".py", b"site-packages", b"namespace"):
        assert trace not in content


def test_large_weights_go_to_a_second_file_and_the_bytes_are_reproducible(tmp_path, monkeypatch):
    monkeypatch.setattr(graphs, "EXTERNAL_DATA_FROM", 1000)
    torch.manual_seed(0)
    model = UniCLModel(SMALL).eval()
    digests = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        names = graphs.export_text_encoder(model, folder / "text.onnx")
        assert names == ("text.onnx", "text.onnx.data")
        assert sorted(path.name for path in folder.iterdir()) == sorted(names)
        digests.append([hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names])
    assert digests[0] == digests[1]
    session = ort.InferenceSession(str(tmp_path / "one" / "text.onnx"))
    for rows, length in ((1, 1), (1, 12), (3, 5)):
        ids = torch.randint(0, 50, (rows, length))
        with torch.inference_mode():
            expected = model.encode_text(ids, torch.ones_like(ids)).numpy()
        actual = session.run(None, {"input_ids": ids.numpy(), "attention_mask": np.ones((rows, length), np.int64)})[0]
        np.testing.assert_allclose(actual, expected, atol=1e-6)
