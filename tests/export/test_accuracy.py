"""Accuracy and time on labelled images: the bundle alone, and compared with its checkpoint in PyTorch."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from medimageinsight import MedImageInsight
from medimageinsight.bundle import Bundle, find
from medimageinsight.datasets import Sample, Table, read_folder
from medimageinsight.errors import DatasetError, ParityError
from medimageinsight.evaluate import EvaluationSettings, evaluate
from medimageinsight.export import load_original, measure_accuracy
from tests.golden.model import golden_weights

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = "vision_model/medimageinsigt-v1.0.0.pt"


def write_image(path: Path, *, brightness: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 100, (40, 50, 3))
    Image.fromarray((noise + brightness).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images of two labels, whose brightness overlaps."""
    root = tmp_path / "phantoms"
    for index in range(10):
        label = ("bright_spot", "no_finding")[index % 2]
        write_image(root / label / f"{index}.png", brightness=60 * (1 - index % 2) + 9 * index, seed=index)
    return root


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Two sources, one with findings and one with labels alone; three splits; patients with two images each."""
    samples = []
    for index in range(72):
        source, label = ("boxes", "rings")[index % 2], ("a", "b", "c")[index // 2 % 3]
        samples.append(
            Sample(
                path=write_image(tmp_path / f"{index}.png", brightness=40 * (index // 2 % 3), seed=index),
                caption=f"phantom {source} {label}",
                label=label,
                finding=label.upper() if source == "boxes" else "",
                source=source,
                split=("train", "test", "test")[index // 24],
                patient_id=str(index // 4),
            )
        )
    return Table(samples=tuple(samples), root=tmp_path)


@pytest.fixture(scope="module")
def mini() -> Bundle:
    return Bundle.open(find("mini"))


def test_figures_are_those_of_an_evaluation(mini, table):
    accuracy = measure_accuracy(mini, table, split="test")
    report = evaluate(MedImageInsight.load("mini"), table, settings=EvaluationSettings(split="test"))
    boxes, rings = accuracy.sets
    assert (boxes.name, boxes.images, boxes.scored) == ("boxes", 24, 24)
    expected = report.sources["boxes"].findings
    for actual, reference in (
        (boxes.onnxruntime.mean_auc, expected.mean_auc),
        (boxes.onnxruntime.accuracy, expected.accuracy),
    ):
        assert dataclasses.astuple(actual) == pytest.approx(dataclasses.astuple(reference), abs=1e-6)
    assert boxes.onnxruntime.milliseconds > 0
    assert (boxes.pytorch, boxes.agreement) == (None, None)
    assert report.sources["rings"].findings is None
    assert rings.onnxruntime.mean_auc.count == 24  # a source without findings is scored by its labels


def test_images_without_a_label_are_timed_but_not_scored(mini, table):
    first, *rest = (sample for sample in table if sample.source == "boxes")
    unlabelled = Table(samples=(dataclasses.replace(first, label="", finding=""), *rest), root=table.root)
    (boxes,) = measure_accuracy(mini, unlabelled).sets
    assert (boxes.images, boxes.scored, boxes.onnxruntime.mean_auc.count) == (36, 35, 35)


def test_reports_the_conditions_of_the_times(mini, folder):
    reported: list[int] = []
    accuracy = measure_accuracy(mini, read_folder(folder), providers=["cpu"], threads=1, progress=reported.append)
    assert reported == list(range(1, 11))
    conditions = accuracy.measured_with
    assert tuple(conditions[key] for key in ("threads", "batch", "provider", "precision")) == (1, 1, "CPU", "fp32")
    assert conditions["preprocessing"] == "direct"
    assert {"processor", "cores", "onnxruntime", "medimageinsight-onnx"} <= conditions.keys()
    assert "torch" not in conditions
    document = json.loads(json.dumps(accuracy.to_dict(), allow_nan=False))
    assert document["sets"][0]["name"] == "phantoms"
    assert document["sets"][0]["pytorch"] is None


def test_bundle_and_its_checkpoint_agree(golden_bundle, golden_checkpoint, folder):
    import torch

    before = torch.get_num_threads()
    original = load_original(golden_bundle, golden_checkpoint)
    accuracy = measure_accuracy(golden_bundle, read_folder(folder), original=original, threads=before + 1)
    assert torch.get_num_threads() == before
    assert accuracy.measured_with["torch"] == torch.__version__
    assert accuracy.measured_with["threads"] == before + 1
    (result,) = accuracy.sets
    assert result.pytorch.milliseconds > 0
    assert result.pytorch.mean_auc.value == pytest.approx(result.onnxruntime.mean_auc.value, abs=1e-3)
    assert result.agreement.same_best_label == 1
    assert 0 < result.agreement.max_abs_diff <= 1e-5
    assert result.agreement.min_cosine > 0.99999
    assert result.agreement.mean_auc_difference.count == 10


def test_detects_a_different_network(golden_bundle, golden_checkpoint, folder, tmp_path):
    """Its image embeddings point in the opposite direction, so it always takes the wrong one of two labels."""
    from safetensors.numpy import save_file

    opposite = shutil.copytree(golden_checkpoint, tmp_path / "opposite")
    weights = golden_weights()
    save_file(weights | {"image_projection": -weights["image_projection"]}, opposite / WEIGHTS)
    original = load_original(golden_bundle, opposite)
    (result,) = measure_accuracy(golden_bundle, read_folder(folder), original=original).sets
    auc, opposite_auc = result.onnxruntime.mean_auc.value, result.pytorch.mean_auc.value
    assert opposite_auc == pytest.approx(1 - auc, abs=1e-9)
    assert result.agreement.mean_auc_difference.value == pytest.approx(auc - opposite_auc)
    assert result.agreement.same_best_label == 0
    assert result.agreement.min_cosine == pytest.approx(-1, abs=1e-5)


def test_rejects_a_checkpoint_of_another_architecture(mini, golden_checkpoint):
    pytest.importorskip("torch")
    with pytest.raises(ParityError, match="another architecture"):
        load_original(mini, golden_checkpoint)


def test_names_all_broken_images(mini, folder):
    (folder / "no_finding" / "notes.txt").write_text("not an image")
    (folder / "bright_spot" / "torn.png").write_bytes((folder / "bright_spot" / "0.png").read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"2 images cannot be read: notes.txt: .*; torn.png: ") as caught:
        measure_accuracy(mini, read_folder(folder))
    assert caught.value.code == "dataset_broken_images"


def test_rejects_a_table_with_one_label(mini, table):
    single = Table(samples=tuple(sample for sample in table if sample.label == "a"), root=table.root)
    with pytest.raises(DatasetError, match="two labels") as caught:
        measure_accuracy(mini, single)
    assert caught.value.code == "dataset_labels_missing"


def test_source_with_one_label_is_timed_but_not_scored(mini, table):
    samples = tuple(sample for sample in table if sample.source == "boxes" or sample.label == "a")
    _, rings = measure_accuracy(mini, Table(samples=samples, root=table.root)).sets
    assert rings.onnxruntime.mean_auc is None
    assert rings.onnxruntime.milliseconds > 0


def test_needs_no_pytorch_without_a_checkpoint(folder):
    code = """
import sys
sys.modules["torch"] = None
from medimageinsight.bundle import Bundle, find
from medimageinsight.datasets import read_folder
from medimageinsight.export import load_original, measure_accuracy
measure_accuracy(Bundle.open(find("mini")), read_folder(sys.argv[1]))
"""
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
