"""``convert``, ``verify``, ``info`` and ``models``."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def copy(toy_bundle: Path, tmp_path: Path) -> Path:
    """Copy a bundle, so that a test may damage it."""
    return Path(shutil.copytree(toy_bundle, tmp_path / "copy"))


def test_info_shows_the_manifest(mi2, toy_bundle: Path) -> None:
    printed = mi2("info")
    assert printed.code == 0
    assert "16 x 16 pixels" in printed.out
    described = mi2("info", toy_bundle, "--json").json
    assert described["folder"] == str(toy_bundle)
    assert described == mi2("info", "--model", toy_bundle, "--json").json
    assert described["embedding_dim"] == 8
    assert mi2("info", toy_bundle, "--model", toy_bundle).code == 2


def test_models_lists_installed_models_and_how_to_get_others(mi2, toy_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_bundle, tmp_path / "home" / "models" / "mine")
    broken = Path(shutil.copytree(toy_bundle, tmp_path / "home" / "models" / "torn"))
    (broken / "tokenizer.json").unlink()
    listed = mi2("models", "--json").json
    models = {model["name"]: model for model in listed["models"]}
    assert models["mine"]["embedding_dim"] == 8
    assert models["torn"]["error"]["code"] == "bundle_checksum"
    assert "mi2 convert" in {model["name"]: model["advice"] for model in listed["not_installed"]}["medimageinsight"]
    printed = mi2("models")
    assert printed.code == 0
    assert "mine" in printed.out
    assert mi2("embed", "--text", "x", "--model", "mine").code == 0


def test_changed_byte_is_found_before_the_file_is_used(mi2, copy: Path, image_files: list[Path]) -> None:
    graph = copy / "image_encoder.onnx"
    content = bytearray(graph.read_bytes())
    expected = hashlib.sha256(content).hexdigest()
    content[-1] ^= 1
    graph.write_bytes(content)
    result = mi2("embed", image_files[0], "--model", copy)
    assert result.code == 1
    assert result.err == (
        "error: image_encoder.onnx is not the file this bundle was made with "
        f"(expected SHA-256 {expected[:12]}..., got {hashlib.sha256(content).hexdigest()[:12]}...): "
        "copy or make the bundle again\n"
    )
    assert mi2("embed", "--text", "x", "--model", copy).code == 0
    assert mi2("doctor", "--model", copy).code == 1


def test_rejects_newer_manifest_format(mi2, copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    result = mi2("embed", "--text", "x", "--model", copy)
    assert result.code == 1
    assert result.err.startswith(f"error: {copy}: manifest.json: expected format 1 or older, got 2: upgrade ")


def test_verify_prints_the_figures(mi2, golden_bundle) -> None:
    result = mi2("verify", golden_bundle.folder, "--json")
    assert result.code == 0
    assert result.json["parity"]["image"]["max_abs_diff"] <= 1e-5
    assert "two calls, the same bits" in mi2("verify", golden_bundle.folder).out


def test_verify_finds_a_changed_byte(mi2, golden_bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(golden_bundle.folder, tmp_path / "golden"))
    (copy / "tokenizer.json").write_bytes((copy / "tokenizer.json").read_bytes() + b" ")
    result = mi2("verify", copy, "--json")
    assert result.code == 1
    assert result.json["error"]["code"] == "bundle_checksum"
    assert "tokenizer.json" in result.err


@pytest.fixture
def checkpoint(golden_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(golden_checkpoint, tmp_path / "2024.09.27"))


@pytest.mark.parametrize("damage", ["missing", "extra", "misshapen"])
def test_damaged_checkpoint_names_the_tensor_and_writes_nothing(
    mi2, checkpoint: Path, tmp_path: Path, damage: str
) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    (weights,) = checkpoint.glob("vision_model/*.pt")
    tensors = safetensors.load(weights.read_bytes())
    name = "extra.weight" if damage == "extra" else "image_projection"
    if damage == "missing":
        del tensors[name]
    else:
        tensors[name] = torch.zeros(3, 5)
    safetensors.save_file(tensors, weights)
    out = tmp_path / "bundle"
    result = mi2("convert", checkpoint, "--out", out)
    assert result.code == 1
    assert result.err.startswith(f"error: {checkpoint}: ")
    assert name in result.err
    assert result.err.count("\n") == 1
    assert not out.exists()


def test_convert_rejects_missing_checkpoint_unknown_precision_and_existing_bundle(
    mi2, golden_checkpoint: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    missing = mi2("convert", tmp_path / "nosuch", "--out", tmp_path / "bundle")
    assert missing.code == 1
    assert "nosuch: expected a checkpoint folder or a weights file" in missing.err
    assert mi2("convert", golden_checkpoint, "--out", tmp_path / "bundle", "--precision", "fp8").code == 2
    taken = mi2("convert", golden_checkpoint, "--out", toy_bundle, "--json")
    assert taken.code == 1
    assert taken.json["error"]["code"] == "bundle_exists"


def test_convert_describes_the_graphs_of_a_folder_without_one_for_texts(mi2, toy_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = tmp_path / "hosted"
    folder.mkdir()
    shutil.copy(toy_bundle / "image_encoder.onnx", folder / "model.onnx")
    result = mi2("convert", folder, "--out", tmp_path / "bundle")
    assert result.code == 1
    assert "model.onnx takes pixel_values float" in result.err
    assert "name them with --text-input" in result.err


def test_convert_takes_graphs_as_a_folder_or_by_name(
    mi2, golden_bundle, golden_checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    graphs = [golden_bundle.path(name) for name in ("image_encoder.onnx", "text_encoder.onnx")]
    settings = tmp_path / "size.json"
    settings.write_text(json.dumps({"image_size": [120, 120], "mean": [0.485, 0.456, 0.406], "std": [0.2, 0.2, 0.2]}))
    tokenizer = golden_checkpoint / "language_model" / "clip_tokenizer"
    common = ("--tokenizer", tokenizer, "--preprocessing", settings, "--logit-scale", 4.5, "--json")
    result = mi2("convert", "--from-onnx", *graphs, "--out", tmp_path / "mine", *common)
    assert result.code == 0, result.err
    assert result.json["parity"]["text"]["max_abs_diff"] <= 1e-5
    assert mi2("embed", "--text", "x", "--model", tmp_path / "mine").code == 0
    assert "against the source graphs" in mi2("verify", tmp_path / "mine").out

    folder = tmp_path / "folder"
    folder.mkdir()
    for graph in graphs:
        shutil.copy(graph, folder)
    found = mi2("convert", folder, "--out", tmp_path / "second", "--image-output", "image_embeddings", *common)
    assert found.code == 0, found.err
    wrong = mi2("convert", folder, "--out", tmp_path / "third", "--image-output", "nothing", *common)
    assert (wrong.code, wrong.json["error"]["code"]) == (1, "graph_role_missing")
    assert mi2("convert", "--out", tmp_path / "third").code == 2
    assert mi2("convert", folder, "--out", tmp_path / "third", "--precision", "fp16", *common).code == 2
    assert mi2("convert", golden_checkpoint, "--out", tmp_path / "third", *common).code == 2
    assert not (tmp_path / "third").exists()
