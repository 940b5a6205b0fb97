"""Accuracy and time on labelled pictures: the bundle alone, and beside its checkpoint in PyTorch."""

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
from medimageinsight.export.accuracy import measure_accuracy
from medimageinsight.export.verify import load_original
from tests.golden.model import golden_weights

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = "vision_model/medimageinsigt-v1.0.0.pt"


def write_picture(path: Path, *, brightness: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 100, (40, 50, 3))
    Image.fromarray((noise + brightness).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures of two labels, whose brightness overlaps."""
    root = tmp_path / "phantoms"
    for index in range(10):
        label = ("bright_spot", "no_finding")[index % 2]
        write_picture(root / label / f"{index}.png", brightness=60 * (1 - index % 2) + 9 * index, seed=index)
    return root


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Two sources, one with findings and one with labels alone; three splits; patients with two pictures each."""
    samples = []
    for index in range(36):
        source, label = ("boxes", "rings")[index % 2], ("a", "b", "c")[index // 2 % 3]
        samples.append(
            Sample(
                path=write_picture(tmp_path / f"{index}.png", brightness=40 * (index // 2 % 3), seed=index),
                caption=f"phantom {source} {label}",
                label=label,
                finding=label.upper() if source == "boxes" else "",
                source=source,
                split=("train", "test", "test")[index // 12],
                patient_id=str(index // 4),
            )
        )
    return Table(samples=tuple(samples), root=tmp_path)


@pytest.fixture(scope="module")
def mini() -> Bundle:
    return Bundle.open(find("mini"))


def test_a_bundle_alone_has_the_figures_of_an_evaluation(mini, table):
    accuracy = measure_accuracy(mini, table, split="test")
    report = evaluate(MedImageInsight.load("mini"), table, settings=EvaluationSettings(split="test"))
    boxes, rings = accuracy.sets
    assert (boxes.name, boxes.images, boxes.scored) == ("boxes", 12, 12)
    expected = report.sources["boxes"].findings
    for got, wanted in (
        (boxes.onnxruntime.mean_auc, expected.mean_auc),
        (boxes.onnxruntime.accuracy, expected.accuracy),
    ):
        assert dataclasses.astuple(got) == pytest.approx(dataclasses.astuple(wanted), abs=1e-6)
    assert boxes.onnxruntime.milliseconds > 0
    assert (boxes.pytorch, boxes.agreement) == (None, None)
    assert report.sources["rings"].findings is None
    assert rings.onnxruntime.mean_auc.count == 12  # a source without findings is scored by its labels


def test_pictures_without_a_label_are_timed_but_not_scored(mini, table):
    first, *others = (sample for sample in table if sample.source == "boxes")
    unlabelled = Table(samples=(dataclasses.replace(first, label="", finding=""), *others), root=table.root)
    (boxes,) = measure_accuracy(mini, unlabelled).sets
    assert (boxes.images, boxes.scored, boxes.onnxruntime.mean_auc.count) == (18, 17, 17)


def test_what_the_times_depend_on_is_said(mini, folder):
    told: list[int] = []
    accuracy = measure_accuracy(mini, read_folder(folder), providers=["cpu"], threads=1, progress=told.append)
    assert told == list(range(1, 11))
    said = accuracy.measured_with
    assert (said["threads"], said["batch"], said["provider"], said["precision"]) == (1, 1, "CPU", "fp32")
    assert said["preprocessing"] == "direct"
    assert {"processor", "cores", "onnxruntime", "medimageinsight-onnx"} <= said.keys()
    assert "torch" not in said
    document = json.loads(json.dumps(accuracy.to_dict(), allow_nan=False))
    assert document["sets"][0]["name"] == "phantoms"
    assert document["sets"][0]["pytorch"] is None


def test_beside_its_checkpoint_a_bundle_is_as_right(golden_bundle, golden_checkpoint, folder):
    import torch

    before = torch.get_num_threads()
    original = load_original(golden_bundle, golden_checkpoint)
    accuracy = measure_accuracy(golden_bundle, read_folder(folder), original=original, threads=before + 1)
    assert torch.get_num_threads() == before
    assert accuracy.measured_with["torch"] == torch.__version__
    assert accuracy.measured_with["threads"] == before + 1
    (one,) = accuracy.sets
    assert one.pytorch.milliseconds > 0
    assert one.pytorch.mean_auc.value == pytest.approx(one.onnxruntime.mean_auc.value, abs=1e-3)
    assert one.agreement.same_best_label == 1
    assert 0 < one.agreement.max_abs_diff <= 1e-5
    assert one.agreement.min_cosine > 0.99999
    assert one.agreement.mean_auc_difference.count == 10


def test_another_network_is_told_from_the_bundle(golden_bundle, golden_checkpoint, folder, tmp_path):
    """Its images point the other way, so that of two labels it always takes the other one."""
    from safetensors.numpy import save_file

    opposite = shutil.copytree(golden_checkpoint, tmp_path / "opposite")
    weights = golden_weights()
    save_file(weights | {"image_projection": -weights["image_projection"]}, opposite / WEIGHTS)
    original = load_original(golden_bundle, opposite)
    (one,) = measure_accuracy(golden_bundle, read_folder(folder), original=original).sets
    auc, other = one.onnxruntime.mean_auc.value, one.pytorch.mean_auc.value
    assert other == pytest.approx(1 - auc, abs=1e-9)
    assert one.agreement.mean_auc_difference.value == pytest.approx(auc - other)
    assert one.agreement.same_best_label == 0
    assert one.agreement.min_cosine == pytest.approx(-1, abs=1e-5)


def test_a_checkpoint_of_another_architecture_is_refused(mini, golden_checkpoint):
    pytest.importorskip("torch")
    with pytest.raises(ParityError, match="another architecture"):
        load_original(mini, golden_checkpoint)


def test_all_broken_pictures_are_named(mini, folder):
    (folder / "no_finding" / "notes.txt").write_text("not a picture")
    (folder / "bright_spot" / "torn.png").write_bytes((folder / "bright_spot" / "0.png").read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"2 pictures cannot be read: notes.txt: .*; torn.png: ") as caught:
        measure_accuracy(mini, read_folder(folder))
    assert caught.value.code == "dataset_broken_images"


def test_one_label_says_nothing(mini, table):
    one = Table(samples=tuple(sample for sample in table if sample.label == "a"), root=table.root)
    with pytest.raises(DatasetError, match="two labels") as caught:
        measure_accuracy(mini, one)
    assert caught.value.code == "dataset_labels_missing"


def test_a_set_of_one_label_beside_another_has_a_time_alone(mini, table):
    kept = tuple(sample for sample in table if sample.source == "boxes" or sample.label == "a")
    _, rings = measure_accuracy(mini, Table(samples=kept, root=table.root)).sets
    assert rings.onnxruntime.mean_auc is None
    assert rings.onnxruntime.milliseconds > 0


def test_no_pytorch_is_needed_without_a_checkpoint(folder):
    code = """
import sys
sys.modules["torch"] = None
from medimageinsight.bundle import Bundle, find
from medimageinsight.datasets import read_folder
from medimageinsight.export.accuracy import measure_accuracy
from medimageinsight.export.verify import load_original
measure_accuracy(Bundle.open(find("mini")), read_folder(sys.argv[1]))
"""
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
