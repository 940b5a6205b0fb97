"""Conversion and verification: the bundle, rejected inputs, and no partial results."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from medimageinsight.bundle import IMAGE_ENCODER, PARITY, TEXT_ENCODER, Bundle
from medimageinsight.errors import BundleError, ConfigError, ParityError
from medimageinsight.export import BOUNDS, convert, load_original, read_parity, verify
from tests.golden.model import golden_weights

WEIGHTS = "vision_model/medimageinsigt-v1.0.0.pt"


def names(folder) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def other_checkpoint(golden_checkpoint, tmp_path):
    """The golden network with one weight slightly larger."""
    folder = shutil.copytree(golden_checkpoint, tmp_path / "other")
    projection = golden_weights()["image_projection"].copy()
    projection[3, 5] += 0.01
    save_file(golden_weights() | {"image_projection": projection}, folder / WEIGHTS)
    return folder


def test_bundle_describes_itself(golden_bundle):
    manifest = golden_bundle.manifest
    assert (manifest.name, manifest.precision, manifest.scoring_preprocessing) == ("golden", "fp32", "azure")
    assert (manifest.embedding_dim, manifest.context_length) == (64, 77)
    assert np.float32(manifest.logit_scale) == np.float32(4.513362407684326)
    assert len(manifest.provenance["checkpoint"]["sha256"]) == 64
    assert "text_positions_resized_from" not in manifest.provenance
    assert {"torch", "onnxruntime", "medimageinsight-onnx"} <= set(manifest.versions)
    golden_bundle.verify()
    expected = {"MODEL_CARD.md", IMAGE_ENCODER, "manifest.json", PARITY, TEXT_ENCODER, "tokenizer.json"}
    assert set(names(golden_bundle.folder)) == expected


def test_model_card_has_disclaimer_and_checksum(golden_bundle):
    card = (golden_bundle.folder / "MODEL_CARD.md").read_text()
    assert "not for diagnosis" in card
    assert golden_bundle.manifest.provenance["checkpoint"]["sha256"] in card


def test_progress_is_reported_and_increases(conversion):
    parts = [part for _, part in conversion[1]]
    assert parts[0] == 0.0
    assert parts[-1] == 1.0
    assert parts == sorted(parts)


def test_figures_are_stored_and_within_bounds(golden_bundle):
    parity, reference = read_parity(golden_bundle.folder, 64)
    for encoder in (parity.image, parity.text):
        assert encoder.max_abs_diff <= BOUNDS["fp32"].max_abs_diff
        assert encoder.max_batch_diff <= BOUNDS["fp32"].max_batch_diff
        assert encoder.min_cosine > 0.99999
        assert encoder.repeatable
    assert reference.image.shape == (parity.image.inputs, 64)
    np.testing.assert_allclose(np.linalg.norm(reference.text, axis=1), 1, atol=1e-6)


def test_different_graphs_are_rejected_and_removed(ready_graphs, other_checkpoint, tmp_path):
    with pytest.raises(ParityError, match="image embeddings") as caught:
        convert(other_checkpoint, tmp_path / "out" / "model")
    assert caught.value.code == "parity_failed"
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("stage", ["loading the weights", "exporting the text encoder", "writing the manifest"])
def test_interrupted_conversion_leaves_nothing_behind(ready_graphs, golden_checkpoint, tmp_path, stage):
    def interrupt(reported, part):
        if reported == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(golden_checkpoint, tmp_path / "model", progress=interrupt)
    assert names(tmp_path) == []


def test_converts_a_training_result(ready_graphs, golden_checkpoint, golden_bundle, tmp_path):
    folder = tmp_path / "trained"
    folder.mkdir()
    save_file(golden_weights(), folder / "model.safetensors")
    shutil.copyfile(golden_bundle.path("tokenizer.json"), folder / "tokenizer.json")
    manifest = golden_bundle.manifest
    description = {
        "name": "mine",
        "architecture": manifest.architecture,
        "preprocessing": manifest.preprocessing,
        "provenance": {"licence": "MIT", "seed": 7},
    }
    (folder / "model.json").write_text(json.dumps(description))
    bundle = convert(folder, tmp_path / "out", model_card="# Mine\n")
    assert (bundle.manifest.name, bundle.manifest.scoring_preprocessing) == ("mine", "direct")
    assert bundle.manifest.provenance["seed"] == 7
    assert (bundle.folder / "MODEL_CARD.md").read_text() == "# Mine\n"
    assert convert(folder, tmp_path / "out", name="renamed", overwrite=True).manifest.name == "renamed"


def test_resized_positions_are_recorded(ready_graphs, golden_checkpoint, tmp_path):
    folder = shutil.copytree(golden_checkpoint, tmp_path / "long")
    name = "lang_encoder.positional_embedding"
    # Each position twice, so that resizing restores the original.
    save_file(golden_weights() | {name: golden_weights()[name].repeat(2, axis=0)}, folder / WEIGHTS)
    assert convert(folder, tmp_path / "out").manifest.provenance["text_positions_resized_from"] == 154


@pytest.mark.parametrize("precision", ["bf16", "FP32", ""])
def test_rejects_an_unknown_precision_and_lists_the_known_ones(golden_checkpoint, tmp_path, precision):
    with pytest.raises(ConfigError, match="fp32") as caught:
        convert(golden_checkpoint, tmp_path / "out", precision=precision)
    assert caught.value.code == "precision_unknown"


def test_does_not_overwrite_a_bundle_by_default(golden_checkpoint, golden_bundle):
    with pytest.raises(BundleError) as caught:
        convert(golden_checkpoint, golden_bundle.folder)
    assert caught.value.code == "bundle_exists"


def test_rejects_an_image_size_other_than_the_networks(golden_checkpoint, golden_bundle, tmp_path):
    manifest = golden_bundle.manifest
    config = tmp_path / "model.json"
    preprocessing = manifest.preprocessing | {"image_size": [64, 64]}
    config.write_text(json.dumps({"architecture": manifest.architecture, "preprocessing": preprocessing}))
    with pytest.raises(ConfigError, match=r"\(120, 120\).*\(64, 64\)"):
        convert(golden_checkpoint, tmp_path / "out", config=config)


def test_verify_repeats_the_comparison_without_the_checkpoint(golden_bundle):
    parity = verify(golden_bundle)
    assert parity.image.max_abs_diff <= BOUNDS["fp32"].max_abs_diff
    assert parity.text.inputs == 6


def test_verify_needs_no_pytorch_without_the_checkpoint(golden_bundle):
    code = """
import sys
sys.modules["torch"] = None
from medimageinsight.bundle import Bundle
from medimageinsight.export import verify
verify(Bundle.open(sys.argv[1]))
"""
    subprocess.run([sys.executable, "-c", code, str(golden_bundle.folder)], check=True)


def test_verify_against_the_checkpoint_stores_the_figures(golden_checkpoint, golden_bundle, tmp_path):
    folder = shutil.copytree(golden_bundle.folder, tmp_path / "copy")
    (folder / PARITY).unlink()
    bundle = Bundle.open(folder)
    with pytest.raises(BundleError) as caught:
        verify(bundle)
    assert caught.value.code == "bundle_parity_unreadable"
    parity = verify(bundle, load_original(bundle, golden_checkpoint))
    assert read_parity(folder, 64)[0] == parity


def test_verify_against_another_checkpoint_fails(golden_bundle, other_checkpoint):
    with pytest.raises(ParityError, match="image embeddings"):
        verify(golden_bundle, load_original(golden_bundle, other_checkpoint))


def test_verify_notices_a_changed_byte(golden_bundle, tmp_path):
    folder = shutil.copytree(golden_bundle.folder, tmp_path / "copy")
    content = bytearray((folder / TEXT_ENCODER).read_bytes())
    content[-100] ^= 1
    (folder / TEXT_ENCODER).write_bytes(content)
    with pytest.raises(BundleError, match=TEXT_ENCODER):
        verify(Bundle.open(folder))


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"max_abs_diff": 2e-5}, "PyTorch"),
        ({"max_abs_diff": float("nan")}, "nan"),
        ({"max_batch_diff": 2e-6}, "batch"),
        ({"repeatable": False}, "two calls"),
    ],
)
def test_every_figure_is_checked(golden_bundle, figures, message):
    parity, _ = read_parity(golden_bundle.folder, 64)
    for encoder in ("image", "text"):
        worse = dataclasses.replace(parity, **{encoder: dataclasses.replace(getattr(parity, encoder), **figures)})
        with pytest.raises(ParityError, match=rf"{encoder}.*{message}"):
            worse.check()
