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
def test_train_then_predict(mi2, table: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "a.adapter"
    made = mi2("adapter", "train", table, "--label-column", "kind", "--kind", kind, "--out", out, "--json")
    assert made.code == 0
    assert made.json["labels"] == sorted(KINDS)
    assert [one["scored_on"] for one in made.json["figures"]] == ["validation", "test"]
    assert made.json["figures"][1]["accuracy"]["value"] == 1
    new = [write_image(tmp_path / f"new-{one}.png", one, 100) for one in KINDS]
    found = mi2("adapter", "predict", out, *new, "--json")
    assert found.code == 0
    assert [one["source"] for one in found.json] == list(map(str, new))
    best = [max(one["probabilities"], key=one["probabilities"].get) for one in found.json]
    assert best == list(KINDS)


def test_the_built_in_model_learns_them_too(mi2, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.adapter"
    words = (
        "adapter",
        "train",
        table,
        "--label-column",
        "kind",
        "--out",
        out,
        "--model",
        "mini",
        "--balanced",
        "--json",
    )
    made = mi2(*words)
    assert made.code == 0
    assert made.json["model"]["name"] == "mini"
    assert made.json["training"]["balanced"] is True
    assert made.json["figures"][1]["accuracy"]["value"] > 0.9


def test_the_verb_gives_what_the_functions_give(mi2, adapter: Path, toy_bundle: Path, image_files: list[Path]) -> None:
    found = mi2("adapter", "predict", adapter, *image_files, "--json").json
    with MedImageInsight.load(toy_bundle) as model:
        expected = load_adapter(adapter).predict(model.embed_images(image_files))
    np.testing.assert_allclose([list(one["probabilities"].values()) for one in found], expected, atol=1e-5)


def test_tables_for_a_person(mi2, adapter: Path, tmp_path: Path) -> None:
    shown = mi2("adapter", "info", adapter)
    assert shown.code == 0
    for part in (
        "linear",
        "toy, preprocessing direct",
        "left 12, right 12, whole 12",
        "(test)",
        "accuracy",
        "AUC of left",
    ):
        assert part in shown.out
    found = mi2("adapter", "predict", adapter, write_image(tmp_path / "n.png", "right", 7), "--top", 1)
    assert "right" in found.out
    assert "left" not in found.out


def test_info_needs_no_model(mi2, adapter: Path, monkeypatch) -> None:
    monkeypatch.setenv("MI2_MODEL", "no-such-model")
    assert mi2("adapter", "info", adapter, "--json").json["kind"] == "linear"


def test_a_table_without_splits_is_split_by_patient(mi2, tmp_path: Path) -> None:
    table = write_table(tmp_path / "set", splits=())
    made = mi2(
        "adapter", "train", table, "--label-column", "kind", "--out", tmp_path / "a", "--fraction", 0.3, "--json"
    )
    assert made.code == 0
    training = made.json["training"]
    assert training["training_images"] + training["validation_images"] == 60
    assert 12 <= training["validation_images"] <= 24
    assert [one["scored_on"] for one in made.json["figures"]] == ["validation"]


def test_labels_that_may_come_together(mi2, tmp_path: Path) -> None:
    table = write_table(tmp_path / "set", count=120, together=True)
    out = tmp_path / "a.adapter"
    words = ("adapter", "train", table, "--label-column", "kind", "--separator", "|", "--out", out, "--json")
    made = mi2(*words)
    assert made.code == 0
    assert (made.json["outputs"], made.json["labels"]) == ("sigmoid", ["left", "right"])
    (found,) = mi2("adapter", "predict", out, write_image(tmp_path / "n.png", "whole", 9), "--json").json
    assert min(found["probabilities"].values()) > 0.5


def test_a_failed_image_leaves_the_others(mi2, adapter: Path, image_files: list[Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    done = mi2("adapter", "predict", adapter, image_files[0], missing, image_files[1], "--json")
    assert done.code == 1
    assert [list(one) for one in done.json] == [
        ["source", "probabilities"],
        ["source", "error"],
        ["source", "probabilities"],
    ]
    assert str(missing) in done.err


def test_another_model_is_refused(mi2, adapter: Path, image_files: list[Path]) -> None:
    done = mi2("adapter", "predict", adapter, image_files[0], "--model", "mini", "--json")
    assert done.code == 1
    assert done.json["error"]["code"] == "adapter_other_model"
    assert done.err.startswith(f"error: {adapter}: ")


def test_images_are_prepared_as_in_training(
    mi2, table: Path, tmp_path: Path, toy_bundle: Path, image_files: list[Path]
) -> None:
    out = tmp_path / "a.adapter"
    words = ("adapter", "train", table, "--label-column", "kind", "--preprocessing", "azure", "--out", out)
    assert mi2(*words).code == 0
    found = mi2("adapter", "predict", out, *image_files, "--json")
    assert found.code == 0
    with MedImageInsight.load(toy_bundle, preprocessing="azure") as model:
        expected = load_adapter(out).predict(model.embed_images(image_files))
    np.testing.assert_allclose([list(one["probabilities"].values()) for one in found.json], expected, atol=1e-5)


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
def test_wrong_calls(mi2, table: Path, tmp_path: Path, words: list[str], code: int, message: str) -> None:
    given = words if "--label-column" in words else ["--label-column", "kind", *words]
    done = mi2("adapter", "train", table, *given, "--out", tmp_path / "a.adapter")
    assert message in done.err
    assert done.code in {code, 2}
    assert not (tmp_path / "a.adapter").exists()


def test_images_that_cannot_be_read_are_named(mi2, table: Path, tmp_path: Path) -> None:
    (table.parent / "7.png").write_bytes(b"not an image")
    done = mi2("adapter", "train", table, "--label-column", "kind", "--out", tmp_path / "a.adapter")
    assert done.code == 1
    assert "1 images cannot be read: 7.png" in done.err


def test_what_is_no_adapter(mi2, table: Path, image_files: list[Path]) -> None:
    for words in (("info", table), ("predict", table, image_files[0])):
        done = mi2("adapter", *words, "--json")
        assert done.code == 1
        assert json.loads(done.out)["error"]["code"] == "adapter_invalid"


def test_an_unwritable_output_file_is_reported_at_once(mi2, table: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "no" / "a.adapter", tmp_path):
        done = mi2("adapter", "train", table, "--label-column", "kind", "--out", out, "--model", "no such")
        assert done.code == 1
        assert done.err.startswith(f"error: {out}: expected a path that can be used")
