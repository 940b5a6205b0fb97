from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.adapters import load_adapter
from tests.cli.labelled_images import KINDS, write_image, write_table

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("sklearn", reason="a linear adapter needs the extra evaluate")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "set")


@pytest.fixture
def adapter(mi2, table: Path, tmp_path: Path) -> Path:
    path = tmp_path / "kinds.adapter"
    assert mi2("adapter", "train", table, "--label-column", "kind", "--out", path).code == 0
    return path


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_trained_adapter_predicts_labels(mi2, table: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "a.adapter"
    trained = mi2("adapter", "train", table, "--label-column", "kind", "--kind", kind, "--out", out, "--json")
    assert trained.code == 0
    assert trained.json["labels"] == sorted(KINDS)
    assert [entry["scored_on"] for entry in trained.json["figures"]] == ["validation", "test"]
    assert trained.json["figures"][1]["accuracy"]["value"] == 1
    new = [write_image(tmp_path / f"new-{label}.png", label, 100) for label in KINDS]
    predicted = mi2("adapter", "predict", out, *new, "--json")
    assert predicted.code == 0
    assert [entry["source"] for entry in predicted.json] == list(map(str, new))
    best = [max(entry["probabilities"], key=entry["probabilities"].get) for entry in predicted.json]
    assert best == list(KINDS)


def test_trains_on_the_built_in_model(mi2, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.adapter"
    words = ("adapter", "train", table, "--label-column", "kind", "--out", out, "--model", "mini", "--balanced")
    trained = mi2(*words, "--json")
    assert trained.code == 0
    assert trained.json["model"]["name"] == "mini"
    assert trained.json["training"]["balanced"] is True
    assert trained.json["figures"][1]["accuracy"]["value"] > 0.9


def test_verb_and_function_give_the_same_probabilities(
    mi2, adapter: Path, toy_bundle: Path, image_files: list[Path]
) -> None:
    predicted = mi2("adapter", "predict", adapter, *image_files, "--json").json
    with MedImageInsight.load(toy_bundle) as model:
        expected = load_adapter(adapter).predict(model.embed_images(image_files))
    np.testing.assert_allclose([list(entry["probabilities"].values()) for entry in predicted], expected, atol=1e-5)


def test_prints_tables(mi2, adapter: Path, tmp_path: Path) -> None:
    printed = mi2("adapter", "info", adapter)
    assert printed.code == 0
    for part in (
        "linear",
        "toy, preprocessing direct",
        "left 12, right 12, whole 12",
        "(test)",
        "accuracy",
        "AUC of left",
    ):
        assert part in printed.out
    predicted = mi2("adapter", "predict", adapter, write_image(tmp_path / "n.png", "right", 7), "--top", 1)
    assert "right" in predicted.out
    assert "left" not in predicted.out


def test_info_needs_no_model(mi2, adapter: Path, monkeypatch) -> None:
    monkeypatch.setenv("MI2_MODEL", "no-such-model")
    assert mi2("adapter", "info", adapter, "--json").json["kind"] == "linear"


def test_table_without_splits_is_split_by_patient(mi2, tmp_path: Path) -> None:
    table = write_table(tmp_path / "set", splits=())
    trained = mi2(
        "adapter", "train", table, "--label-column", "kind", "--out", tmp_path / "a", "--fraction", 0.3, "--json"
    )
    assert trained.code == 0
    training = trained.json["training"]
    assert training["training_images"] + training["validation_images"] == 60
    assert 12 <= training["validation_images"] <= 24
    assert [entry["scored_on"] for entry in trained.json["figures"]] == ["validation"]


def test_trains_labels_that_occur_together(mi2, tmp_path: Path) -> None:
    table = write_table(tmp_path / "set", count=120, together=True)
    out = tmp_path / "a.adapter"
    words = ("adapter", "train", table, "--label-column", "kind", "--separator", "|", "--out", out, "--json")
    trained = mi2(*words)
    assert trained.code == 0
    assert (trained.json["outputs"], trained.json["labels"]) == ("sigmoid", ["left", "right"])
    (predicted,) = mi2("adapter", "predict", out, write_image(tmp_path / "n.png", "whole", 9), "--json").json
    assert min(predicted["probabilities"].values()) > 0.5


def test_failed_image_does_not_stop_the_others(mi2, adapter: Path, image_files: list[Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    result = mi2("adapter", "predict", adapter, image_files[0], missing, image_files[1], "--json")
    assert result.code == 1
    assert [list(entry) for entry in result.json] == [
        ["source", "probabilities"],
        ["source", "error"],
        ["source", "probabilities"],
    ]
    assert str(missing) in result.err


def test_rejects_another_model(mi2, adapter: Path, image_files: list[Path]) -> None:
    result = mi2("adapter", "predict", adapter, image_files[0], "--model", "mini", "--json")
    assert result.code == 1
    assert result.json["error"]["code"] == "adapter_other_model"
    assert result.err.startswith(f"error: {adapter}: ")


def test_images_are_prepared_as_in_training(
    mi2, table: Path, tmp_path: Path, toy_bundle: Path, image_files: list[Path]
) -> None:
    out = tmp_path / "a.adapter"
    words = ("adapter", "train", table, "--label-column", "kind", "--preprocessing", "azure", "--out", out)
    assert mi2(*words).code == 0
    predicted = mi2("adapter", "predict", out, *image_files, "--json")
    assert predicted.code == 0
    with MedImageInsight.load(toy_bundle, preprocessing="azure") as model:
        expected = load_adapter(out).predict(model.embed_images(image_files))
    np.testing.assert_allclose([list(entry["probabilities"].values()) for entry in predicted.json], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--label-column", "no such"], 1, "there is no column 'no such'"),
        (["--kind", "tree"], 2, "expected a kind of linear or mlp, got tree"),
        (["--source", "elsewhere"], 1, "expected labelled images, the table has none of them"),
        (["--label-column", "caption"], 1, "expected at least 2 labels"),
        (["--label-column", "patient_id"], 2, "expected validation images of the training labels, got"),
    ],
)
def test_rejects_invalid_options(mi2, table: Path, tmp_path: Path, words: list[str], code: int, message: str) -> None:
    options = words if "--label-column" in words else ["--label-column", "kind", *words]
    result = mi2("adapter", "train", table, *options, "--out", tmp_path / "a.adapter")
    assert message in result.err
    assert result.code in {code, 2}
    assert not (tmp_path / "a.adapter").exists()


def test_names_unreadable_images_of_the_table(mi2, table: Path, tmp_path: Path) -> None:
    (table.parent / "7.png").write_bytes(b"not an image")
    result = mi2("adapter", "train", table, "--label-column", "kind", "--out", tmp_path / "a.adapter")
    assert result.code == 1
    assert "1 images cannot be read: 7.png" in result.err


def test_rejects_a_file_that_is_not_an_adapter(mi2, table: Path, image_files: list[Path]) -> None:
    for words in (("info", table), ("predict", table, image_files[0])):
        result = mi2("adapter", *words, "--json")
        assert result.code == 1
        assert json.loads(result.out)["error"]["code"] == "adapter_invalid"


def test_rejects_unwritable_output_before_training(mi2, table: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "no" / "a.adapter", tmp_path):
        result = mi2("adapter", "train", table, "--label-column", "kind", "--out", out, "--model", "no such")
        assert result.code == 1
        assert result.err.startswith(f"error: {out}: expected a path that can be used")
