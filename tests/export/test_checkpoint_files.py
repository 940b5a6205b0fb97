"""Checkpoints are found in every layout, and anything else is named."""

from __future__ import annotations

import json
import shutil

import onnx
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from medimageinsight.errors import CheckpointError, ConfigError
from medimageinsight.export import convert, find_checkpoint, read_description
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


def move_to_blobs(folder, root):
    """Exchange the files of a folder for links to files named by numbers, as caches of downloads do."""
    blobs = root / "blobs"
    blobs.mkdir()
    for number, file in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        file.rename(blobs / str(number))
        file.symlink_to(blobs / str(number))


def test_follows_links_to_files_and_folders(golden_checkpoint, tmp_path):
    release = shutil.copytree(golden_checkpoint, tmp_path / "release")
    move_to_blobs(release, tmp_path)
    assert relative(find_checkpoint(release), release) == [WEIGHTS, "config.yaml", TOKENIZER]
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "config.yaml").symlink_to(release / "config.yaml")
    for name in ("vision_model", "language_model"):
        (linked / name).symlink_to(release / name, target_is_directory=True)
    (release / "vision_model" / "loop").symlink_to(linked, target_is_directory=True)
    assert relative(find_checkpoint(linked), linked) == [WEIGHTS, "config.yaml", TOKENIZER]


def test_finds_the_parts_next_to_the_file_that_a_link_names(golden_checkpoint, tmp_path):
    (tmp_path / "best.pt").symlink_to(golden_checkpoint / WEIGHTS)
    files = find_checkpoint(tmp_path / "best.pt")
    assert files.config == golden_checkpoint / "config.yaml"
    assert files.tokenizer == golden_checkpoint / TOKENIZER


def test_a_link_without_its_file_is_named(golden_checkpoint, tmp_path):
    release = shutil.copytree(golden_checkpoint, tmp_path / "release")
    (release / WEIGHTS).unlink()
    (release / WEIGHTS).symlink_to(tmp_path / "gone")
    for path in (release, release / WEIGHTS):
        with pytest.raises(CheckpointError, match=r"link.* do(es)? not exist") as caught:
            find_checkpoint(path)
        assert caught.value.code == "checkpoint_not_found"


@pytest.mark.parametrize("name", ["", "model.safetensors.index.json", "model-00002-of-00002.safetensors"])
def test_finds_shards_by_their_index(golden_checkpoint, tmp_path, name):
    release = shutil.copytree(golden_checkpoint, tmp_path / "release")
    weights, folder = golden_weights(), release / "vision_model"
    (release / WEIGHTS).unlink()
    shards = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(weights)}
    for file in set(shards.values()):
        save_file({key: weights[key] for key in weights if shards[key] == file}, folder / file)
    path = folder / name if name else release
    with pytest.raises(CheckpointError, match="index"):
        find_checkpoint(path if path.exists() else release)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    expected = ["vision_model/model.safetensors.index.json", "config.yaml", TOKENIZER]
    assert relative(find_checkpoint(path), release) == expected


@pytest.mark.parametrize("name", [WEIGHTS, "config.yaml", f"{TOKENIZER}/vocab.json", f"{TOKENIZER}/merges.txt"])
def test_git_lfs_pointers_are_named(golden_checkpoint, tmp_path, name):
    release = shutil.copytree(golden_checkpoint, tmp_path / "release")
    (release / "language_model" / "language_model.pth").write_bytes(b"\x80\x02 not the model's weights")
    (release / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(CheckpointError, match="git lfs pull") as caught:
        convert(release, tmp_path / "out")
    assert caught.value.code == "checkpoint_is_pointer"
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


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
