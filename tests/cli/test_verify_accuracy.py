"""``verify --images``: accuracy and time on labelled images, printed below the parity with PyTorch."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write twelve images of two labels."""
    rng = np.random.default_rng(0)
    root = tmp_path / "phantoms"
    for index in range(12):
        path = root / ("bright_spot", "no_finding")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 100 + 100 * (index % 2), (36, 36, 3), dtype=np.uint8)).save(path)
    return root


@pytest.fixture
def table(folder: Path) -> Path:
    """Write a table of the same images in two splits."""
    path = folder / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption", "label", "source", "split"])
        for index in range(12):
            label = ("bright_spot", "no_finding")[index % 2]
            writer.writerow([f"{label}/{index}.png", f"phantom {label}", label, "boxes", ("train", "test")[index // 6]])
    return path


def test_prints_accuracy_on_a_folder_below_parity(mi2, folder: Path) -> None:
    result = mi2("verify", "mini", "--images", folder, "--template", "phantom box {}")
    assert result.code == 0
    assert result.out.index("two calls, the same bits") < result.out.index("mini on labelled images, zero-shot")
    assert "phantoms (12)" in result.out
    assert "mAUC %" in result.out
    assert "PyTorch" not in result.out[result.out.index("zero-shot") :]
    for name in ("processor", "threads", "batch", "provider", "onnxruntime"):
        assert name in result.out


def test_json_contains_accuracy_and_parity(mi2, folder: Path) -> None:
    document = mi2("verify", "mini", "--images", folder, "--json").json
    assert document.keys() == {"name", "parity", "accuracy"}
    (test_set,) = document["accuracy"]["sets"]
    assert (test_set["name"], test_set["images"], test_set["scored"]) == ("phantoms", 12, 12)
    assert 0 <= test_set["onnxruntime"]["mean_auc"]["value"] <= 1
    assert document["accuracy"]["split"] is None
    assert mi2("verify", "mini", "--json").json.keys() == {"name", "parity"}


def test_scores_the_test_split_of_a_table_by_default(mi2, table: Path) -> None:
    assert mi2("verify", "mini", "--images", table, "--json").json["accuracy"]["sets"][0]["images"] == 6
    accuracy = mi2("verify", "mini", "--images", table, "--split", "train", "--json").json["accuracy"]
    assert (accuracy["split"], accuracy["sets"][0]["images"]) == ("train", 6)
    assert "the train split" in mi2("verify", "mini", "--images", table, "--split", "train").out


def test_compares_accuracy_with_the_checkpoint(mi2, golden_bundle, golden_checkpoint: Path, folder: Path) -> None:
    result = mi2("verify", golden_bundle.folder, "--against", golden_checkpoint, "--images", folder)
    assert result.code == 0
    printed = result.out[result.out.index("zero-shot") :]
    assert "mAUC % PyTorch / ONNX" in printed
    assert "same best label" in printed
    assert "100.00 %" in printed
    assert "torch device" in printed


def test_broken_image_is_named_and_ends_the_call(mi2, folder: Path) -> None:
    (folder / "no_finding" / "notes.txt").write_text("not an image")
    result = mi2("verify", "mini", "--images", folder, "--json")
    assert result.code == 1
    assert result.json["source"] == str(folder)
    assert result.json["error"]["code"] == "dataset_broken_images"
    assert "notes.txt" in result.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--template", "x {}"), 2, "expected --images with --template or --split"),
        (("--images", "FOLDER", "--template", "x"), 2, "expected {} for the label in the template"),
        (("--images", "TABLE", "--template", "x {}"), 2, "expected --template with a folder"),
        (("--images", "TABLE", "--split", "val"), 2, "expected one of the table's splits (train, test), got 'val'"),
        (("--images", "FOLDER/nothing"), 1, "check the path"),
        (("--images", "FOLDER/no_finding"), 1, "two or more folders"),
    ],
)
def test_wrong_call_ends_before_measuring(
    mi2, folder: Path, table: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    arguments = [word.replace("FOLDER", str(folder)).replace("TABLE", str(table)) for word in words]
    result = mi2("verify", "mini", *arguments)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
