"""Checkpoints load strictly, under any of their naming schemes; errors name the tensor."""

from __future__ import annotations

import json
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from medimageinsight.errors import CheckpointError
from medimageinsight.network import ModelConfig, canonical_name, load_model, load_state_dict, read_shapes
from medimageinsight.network.checkpoint import POSITIONS
from tests.golden.model import CONFIG, golden_weights

FC1 = "image_encoder.blocks.2.1.channel_block.ffn.fn.net.fc1.weight"


@pytest.fixture(scope="module")
def config():
    return ModelConfig.from_release(yaml.safe_load(CONFIG.read_text()))


@pytest.fixture(scope="module")
def weights():
    return golden_weights()


def rename_encoders(name: str) -> str:
    for new, old in (("image_encoder.", "visual."), ("lang_encoder.", "text.")):
        name = name.replace(new, old)
    return name.replace("image_projection", "vision_projection").replace("lang_projection", "text_projection")


def rename_blocks(name: str) -> str:
    name = name.replace("image_encoder.convs.", "image_encoder.conv_embeds.").replace(".blocks.", ".main_blocks.")
    name = name.replace("spatial_block", "0").replace("channel_block", "1")
    for new, old in (
        ("conv1.fn.dw", "cpe.0.proj"),
        ("conv2.fn.dw", "cpe.1.proj"),
        ("ffn.norm", "norm2"),
        ("ffn.fn.net", "mlp"),
    ):
        name = name.replace(new, old)
    name = re.sub(r"(window|channel)_attn\.fn", "attn", name)
    return re.sub(r"(window|channel)_attn\.norm", "norm1", name)


def save_weights(tmp_path, weights, **changes):
    path = tmp_path / "model.pt"
    save_file({name: value for name, value in (weights | changes).items() if value is not None}, path)
    return path


@pytest.mark.parametrize(
    "rename",
    [str, rename_encoders, rename_blocks, lambda name: rename_encoders(rename_blocks(name))],
    ids=["canonical", "encoders", "blocks", "both"],
)
def test_every_naming_scheme_loads_the_same_weights(tmp_path, config, weights, rename):
    renamed = {rename(name): value for name, value in weights.items()}
    assert len(renamed) == len(weights)
    loaded = load_state_dict(save_weights(tmp_path, renamed), config)
    assert set(loaded) == set(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(loaded[name].numpy(), value)


def test_canonical_name():
    expected = "image_encoder.blocks.2.4.channel_block.channel_attn.fn.qkv.weight"
    assert canonical_name("visual.main_blocks.2.4.1.attn.qkv.weight") == expected
    assert canonical_name("image_encoder.blocks.2.4.1.attn.qkv.weight") == expected
    assert canonical_name(expected) == expected
    assert canonical_name("image_encoder.blocks.0.0.0.{attention}") == (
        "image_encoder.blocks.0.0.spatial_block.{attention}"
    )


def test_loaded_model_is_float32_frozen_and_in_evaluation_mode(tmp_path, config, weights):
    model = load_model(save_weights(tmp_path, weights), config)
    assert not model.training
    assert {(p.dtype, p.device.type, p.requires_grad) for p in model.parameters()} == {(torch.float32, "cpu", False)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(tmp_path, config, weights, dtype):
    path = tmp_path / "model.safetensors"
    save_torch({name: torch.from_numpy(np.asarray(value)).to(dtype) for name, value in weights.items()}, path)
    loaded = load_state_dict(path, config)
    assert all(tensor.dtype == torch.float32 for tensor in loaded.values())
    np.testing.assert_allclose(loaded[FC1].numpy(), weights[FC1], rtol=1e-2, atol=1e-2)


def test_positions_of_a_different_length_are_resized_linearly(tmp_path, config, weights):
    ramp = np.linspace(0, 1, 154, dtype=np.float32)[:, np.newaxis].repeat(64, axis=1)
    path = save_weights(tmp_path, weights, **{POSITIONS: ramp})
    resized = load_state_dict(path, config)[POSITIONS]
    assert resized.shape == (77, 64)
    np.testing.assert_allclose(resized[:, 0], (ramp[::2, 0] + ramp[1::2, 0]) / 2, atol=1e-6)
    assert read_shapes(path)[POSITIONS] == (154, 64)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({FC1: None}, ["missing", FC1]),
        ({"image_encoder.head.weight": np.zeros(3, np.float32)}, ["unknown", "image_encoder.head.weight"]),
        ({FC1: np.zeros((256, 65), np.float32)}, [FC1, "(256, 64)", "(256, 65)"]),
        ({FC1: np.zeros((256, 64), np.int8)}, [FC1, "I8", "F32"]),
        ({FC1: np.full((256, 64), np.nan, np.float32)}, [FC1, "NaN"]),
        ({"vision_projection": np.zeros((128, 64), np.float32)}, ["two names", "image_projection"]),
        ({POSITIONS: np.zeros((77, 65), np.float32)}, [POSITIONS, "(77, 65)"]),
    ],
    ids=["missing", "unknown", "misshapen", "integer", "not finite", "twice", "positions"],
)
def test_wrong_tensor_is_named(tmp_path, config, weights, changes, parts):
    with pytest.raises(CheckpointError) as caught:
        load_state_dict(save_weights(tmp_path, weights, **changes), config)
    assert caught.value.code == "checkpoint_mismatch"
    assert all(part in caught.value.message for part in parts)
    assert "\n" not in caught.value.message


def test_many_wrong_tensors_are_counted(tmp_path, config, weights):
    missing = dict.fromkeys([name for name in weights if name.startswith("lang_encoder.resblocks.0.")])
    with pytest.raises(CheckpointError, match=rf"lang_encoder.resblocks.0.* and {len(missing) - 3} more"):
        load_state_dict(save_weights(tmp_path, weights, **missing), config)


def header(text: bytes, length: int | None = None) -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text


def zipped(tmp_path) -> bytes:
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr("archive/data.pkl", "x")
    return (tmp_path / "archive").read_bytes()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "checkpoint_unreadable"),
        (b"hello, world", "checkpoint_unreadable"),
        (header(b"{}", 1 << 62), "checkpoint_unreadable"),
        (header(b"{" * 5000), "checkpoint_unreadable"),
        (
            header(json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()),
            "checkpoint_unreadable",
        ),
        (
            header(json.dumps({"a": {"dtype": "F32", "shape": [1 << 62], "data_offsets": [0, 0]}}).encode()),
            "checkpoint_unreadable",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "checkpoint_is_pointer"),
        (pickle.dumps({"a": 1}, protocol=2), "checkpoint_is_pickle"),
        (zipped, "checkpoint_is_pickle"),
    ],
    ids=["empty", "text", "long header", "deep header", "truncated", "overflow", "lfs", "pickle", "zip"],
)
def test_rejects_files_that_are_not_safetensors(tmp_path, config, content, code):
    path = tmp_path / "model.pt"
    path.write_bytes(content(tmp_path) if callable(content) else content)
    with pytest.raises(CheckpointError) as caught:
        load_state_dict(path, config)
    assert caught.value.code == code
    assert str(tmp_path) not in caught.value.message


def test_names_in_messages_are_escaped(tmp_path, config, weights):
    with pytest.raises(CheckpointError) as caught:
        load_state_dict(save_weights(tmp_path, weights, **{"\x1b[2Jevil\n": np.zeros(1, np.float32)}), config)
    assert "\x1b" not in caught.value.message
    assert "\n" not in caught.value.message
