"""Checkpoints load strictly, under any of their naming schemes; errors name the tensor."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
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
from medimageinsight.network.weights_files import describe_weights
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


@pytest.mark.parametrize(
    "wrap",
    [
        lambda name: f"module.{name}",
        lambda name: f"module._orig_mod.{rename_encoders(name)}",
        lambda name: name.replace("image_encoder.", "image_encoder._fsdp_wrapped_module."),
        lambda name: name.replace(".spatial_block.", ".spatial_block._checkpoint_wrapped_module."),
    ],
    ids=["module", "compiled", "fsdp", "checkpointing"],
)
def test_names_of_wrappers_are_removed(tmp_path, config, weights, wrap):
    loaded = load_state_dict(save_weights(tmp_path, {wrap(name): value for name, value in weights.items()}), config)
    for name, value in weights.items():
        np.testing.assert_array_equal(loaded[name].numpy(), value)


def save_shards(folder, weights, count=3):
    names = [f"model-{index + 1:05}-of-{count:05}.safetensors" for index in range(count)]
    weight_map = {name: names[index % count] for index, name in enumerate(weights)}
    for shard in names:
        save_file({name: weights[name] for name, file in weight_map.items() if file == shard}, folder / shard)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def test_shards_load_the_same_weights(tmp_path, config, weights):
    index = save_shards(tmp_path, weights)
    loaded = load_state_dict(index, config)
    assert set(loaded) == set(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(loaded[name].numpy(), value)
    assert read_shapes(index) == {name: np.shape(value) for name, value in weights.items()}
    contents = [(tmp_path / f"model-0000{number}-of-00003.safetensors").read_bytes() for number in (1, 2, 3)]
    entry = describe_weights(index)
    assert (entry.bytes, entry.sha256) == (sum(map(len, contents)), hashlib.sha256(b"".join(contents)).hexdigest())


def lose_shard(index):
    (index.parent / "model-00002-of-00003.safetensors").unlink()


def lose_tensor(index):
    save_file({}, index.parent / "model-00002-of-00003.safetensors")


def repeat_tensor(index):
    shutil.copyfile(
        index.parent / "model-00001-of-00003.safetensors", index.parent / "model-00002-of-00003.safetensors"
    )


def lead_out(index):
    index.write_text(json.dumps({"weight_map": {FC1: "../model-00001-of-00003.safetensors"}}))


def break_index(index):
    index.write_text("[1]")


def point_to_lfs(index):
    (index.parent / "model-00002-of-00003.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")


@pytest.mark.parametrize(
    ("damage", "code", "part"),
    [
        (lose_shard, "checkpoint_not_found", "model-00002-of-00003.safetensors"),
        (lose_tensor, "checkpoint_mismatch", "missing"),
        (repeat_tensor, "checkpoint_mismatch", "two names"),
        (lead_out, "checkpoint_unreadable", "not the name of a file"),
        (break_index, "checkpoint_unreadable", "weight_map"),
        (point_to_lfs, "checkpoint_is_pointer", "git lfs pull"),
    ],
)
def test_damaged_shards_are_refused(tmp_path, config, weights, damage, code, part):
    damage(index := save_shards(tmp_path, weights))
    with pytest.raises(CheckpointError) as caught:
        load_state_dict(index, config)
    assert caught.value.code == code
    assert part in caught.value.message


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_the_message_about_a_pickle_has_the_lines_that_convert_it(
    tmp_path, config, weights, monkeypatch, legacy, nested
):
    monkeypatch.chdir(tmp_path)
    tensors = {f"module.{name}": torch.from_numpy(np.asarray(value)) for name, value in weights.items()}
    state = {"state_dict": tensors, "epoch": 3} if nested else tensors
    torch.save(state, "model.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError) as caught:
        load_state_dict(tmp_path / "model.pt", config)
    assert caught.value.code == "checkpoint_is_pickle"
    lines = caught.value.message.splitlines()[1:]
    assert len(lines) == 3
    exec("\n".join(lines), {})
    loaded = load_state_dict(tmp_path / "model.safetensors", config)
    np.testing.assert_array_equal(loaded[FC1].numpy(), weights[FC1])


def test_a_header_whose_length_begins_like_a_pickle_is_safetensors(tmp_path, config):
    content = json.dumps({"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(header(content.ljust(0x0280)))
    assert read_shapes(path) == {"a": (0,)}


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
