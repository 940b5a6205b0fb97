"""A tiny bundle made for every test run: real graphs, a real tokenizer, and encoders of one matrix each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from medimageinsight.bundle import IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER, Manifest, new_bundle, write_manifest

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 16  # pixels a side
DIM = 8
CONTEXT = 12
LOGIT_SCALE = 4.5
START, END = "<|startoftext|>", "<|endoftext|>"


def write_toy_bundle(folder: Path) -> Path:
    """Write a bundle: images are embedded as a random projection of 4 x 4 means, texts as a sum of letters."""
    rng = np.random.default_rng(7)
    with new_bundle(folder) as partial:
        vocabulary = toy_vocabulary()
        vocabulary.save(str(partial / TOKENIZER))
        onnx.save(image_graph(rng), partial / IMAGE_ENCODER)
        onnx.save(text_graph(rng, vocabulary.get_vocab_size()), partial / TEXT_ENCODER)
        write_manifest(partial, manifest(), (IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER))
    return folder


def manifest() -> Manifest:
    return Manifest(
        format=1,
        name="toy",
        description="for tests",
        precision="fp32",
        architecture={},
        preprocessing={
            "image_size": [SIZE, SIZE],
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "default": "direct",
            "standardization_size": 512,
            "jpeg_quality": 75,
        },
        scoring_preprocessing="direct",
        embedding_dim=DIM,
        context_length=CONTEXT,
        logit_scale=LOGIT_SCALE,
        files={},
        versions={},
        provenance={},
        created="2025-01-01T00:00:00Z",
    )


def toy_vocabulary() -> Tokenizer:
    """Return a tokenizer with two tokens for each byte, one of them for the end of a word, and no merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), START, END]
    model = models.BPE({token: index for index, token in enumerate(tokens)}, [], end_of_word_suffix="</w>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.add_special_tokens([START, END])
    return tokenizer


def image_graph(rng: np.random.Generator) -> onnx.ModelProto:
    matrix = rng.standard_normal((3 * 4 * 4, DIM), dtype=np.float32)
    side = SIZE // 4
    nodes = [
        helper.make_node("AveragePool", ["pixel_values"], ["pooled"], kernel_shape=[side, side], strides=[side, side]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["raw"]),
        helper.make_node("LpNormalization", ["raw"], ["image_embeddings"], axis=-1),
    ]
    return _model(
        nodes,
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        helper.make_tensor_value_info("image_embeddings", TensorProto.FLOAT, ["batch", DIM]),
        {"matrix": matrix},
    )


def text_graph(rng: np.random.Generator, vocab_size: int) -> onnx.ModelProto:
    table = rng.standard_normal((vocab_size, DIM), dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask_column"]),
        helper.make_node("Mul", ["tokens", "mask_column"], ["real_tokens"]),
        helper.make_node("ReduceSum", ["real_tokens", "middle"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["text_embeddings"], axis=-1),
    ]
    shape = ["batch", "length"]
    return _model(
        nodes,
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")],
        helper.make_tensor_value_info("text_embeddings", TensorProto.FLOAT, ["batch", DIM]),
        {"table": table, "last": np.array([2]), "middle": np.array([1])},
    )


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    weights: dict[str, np.ndarray],
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "toy", inputs, [output], initializer=initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
