"""Checkpoints are found in every layout, and anything else is named."""

from __future__ import annotations

import json
import shutil

import onnx
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from medimageinsight.errors import CheckpointError, ConfigError
from medimageinsight.export import find_checkpoint, read_description
from medimageinsight.network import ModelConfig
from tests.golden.model import golden_weights

WEIGHTS = "vision_model/medimageinsigt-v1.0.0.pt"
TOKENIZER = "language_model/clip_tokenizer"


def relative(files, folder):
    return [str(path.relative_to(folder)) for path in (files.weights, files.config, files.tokenizer)]


@pytest.mark.parametrize(
    "parent", ["", "2024.09.27", "artifacts/checkpoints", "mlflow/artifacts/checkpoints/2024.09.27"]
)
def test_finds_the_release_anywhere_below_a_folder(golden_checkpoint, tmp_path, parent):
    root = tmp_path / "download"
    release = shutil.copytree(golden_checkpoint, root / parent)
    (root / "MLmodel").touch()
    (release / "language_model" / "language_model.pth").write_bytes(b"\x80\x02 not the model's weights")
    assert relative(find_checkpoint(root), release) == [WEIGHTS, "config.yaml", TOKENIZER]


def test_finds_the_release_of_a_weights_file(golden_checkpoint):
    assert relative(find_checkpoint(golden_checkpoint / WEIGHTS), golden_checkpoint) == [
        *(WEIGHTS, "config.yaml", TOKENIZER),
    ]


def test_finds_a_single_file_with_given_config_and_tokenizer(golden_checkpoint, tmp_path):
    weights = tmp_path / "alone" / "weights.safetensors"
    weights.parent.mkdir()
    shutil.copyfile(golden_checkpoint / WEIGHTS, weights)
    config, tokenizer = golden_checkpoint / "config.yaml", golden_checkpoint / TOKENIZER
    with pytest.raises(CheckpointError, match="--config"):
        find_checkpoint(weights)
    with pytest.raises(CheckpointError, match="--tokenizer"):
        find_checkpoint(weights, config=config)
    files = find_checkpoint(weights, config=config, tokenizer=tokenizer)
    assert (files.weights, files.config, files.tokenizer) == (weights, config, tokenizer)


def test_finds_a_training_result(golden_checkpoint, tmp_path):
    release = read_description(find_checkpoint(golden_checkpoint))
    description = {
        "name": "mine",
        "architecture": release.architecture,
        "preprocessing": release.preprocessing,
        "provenance": {"seed": 1},
    }
    (tmp_path / "model.json").write_text(json.dumps(description))
    (tmp_path / "tokenizer.json").write_text("{}")
    save_file(golden_weights(), tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        files = find_checkpoint(path)
        assert relative(files, tmp_path) == ["model.safetensors", "model.json", "tokenizer.json"]
    found = read_description(files)
    assert (found.name, found.scoring_preprocessing, found.provenance) == ("mine", "direct", {"seed": 1})
    assert ModelConfig.from_dict(found.architecture).embedding_dim == 64


def test_describes_the_release_config(golden_checkpoint):
    found = read_description(find_checkpoint(golden_checkpoint))
    assert found.scoring_preprocessing == "azure"
    assert found.preprocessing == {
        "image_size": [120, 120],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "default": "direct",
        "standardization_size": 512,
        "jpeg_quality": 75,
    }


def test_recognises_the_hosted_onnx_edition(tmp_path):
    folder = tmp_path / "mlflow" / "artifacts" / "model"
    folder.mkdir(parents=True)
    pixels = helper.make_tensor_value_info("image", TensorProto.FLOAT16, ["batch", 3, 480, 480])
    features = helper.make_tensor_value_info("image_features", TensorProto.FLOAT16, ["batch", 1024])
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["image_features"])], "g", [pixels], [features])
    onnx.save(helper.make_model(graph), folder / "image_encoder.onnx")
    (folder / "broken.onnx").write_bytes(b"\xff" * 10)
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(tmp_path / "mlflow")
    assert caught.value.code == "checkpoint_is_onnx"
    for part in (
        "image_encoder.onnx takes image float16 (batch, 3, 480, 480) and gives image_features float16 (batch, 1024)",
        "broken.onnx cannot be read",
        "PyTorch edition",
    ):
        assert part in caught.value.message
    assert str(tmp_path) not in caught.value.message


def test_recognises_a_bundle(toy_bundle):
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(toy_bundle)
    assert caught.value.code == "checkpoint_is_bundle"


def test_rejects_an_empty_folder_and_a_missing_folder(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(CheckpointError) as caught:
            find_checkpoint(path)
        assert caught.value.code == "checkpoint_not_found"
        assert str(tmp_path) not in caught.value.message


def test_rejects_two_checkpoints_in_a_folder(golden_checkpoint, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(golden_checkpoint, tmp_path / name)
    with pytest.raises(CheckpointError, match="2 weights files") as caught:
        find_checkpoint(tmp_path)
    assert caught.value.code == "checkpoint_ambiguous"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.yaml", "- a list", "expected a mapping"),
        ("config.yaml", "a: [", "not valid YAML"),
        ("config.yaml", "!!python/object/apply:os.getcwd []", "not valid YAML"),
        ("config.yaml", "IMAGE_ENCODER: {}", "without it"),
        ("model.json", "{", "cannot be parsed"),
        pytest.param("model.json", " " * (1 << 20) + "{}", "at most 1,048,576 bytes, got 1,048,578", id="large"),
        ("model.json", '{"architecture": {}}', "missing preprocessing"),
        ("model.json", '{"architecture": {}, "preprocessing": {}, "extra": 1}', "unknown extra"),
    ],
)
def test_rejects_a_wrong_config_with_its_reason(golden_checkpoint, tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    files = find_checkpoint(golden_checkpoint, config=tmp_path / name)
    with pytest.raises(ConfigError, match=message):
        read_description(files)
