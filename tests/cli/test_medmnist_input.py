from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from tests.datasets.medmnist_files import make_arrays, write_npz

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("sklearn", reason="a linear adapter needs the extra evaluate")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_npz(tmp_path / "bands.npz")


def test_embeds_all_images_of_a_file(mi2, file: Path, toy_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.npy"
    assert mi2("embed", file, "--out", out).code == 0
    vectors = np.load(out)
    assert len(vectors) == 124
    pixels = make_arrays()["val_images"][3]
    with MedImageInsight.load(toy_bundle) as model:
        np.testing.assert_allclose(vectors[63], model.embed_images(pixels), atol=1e-5)
    assert json.loads((tmp_path / "v.npy.json").read_text())["sources"][63] == f"{file}#val/3"
    (single,) = mi2("embed", f"{file}#val/3", "--json").json
    np.testing.assert_allclose(single["embedding"], vectors[63], atol=1e-5)


def test_classifies_and_compares_single_images(mi2, file: Path, image_files: list[Path]) -> None:
    entries = mi2("classify", f"{file}#test/0", image_files[0], "--labels", "a", "b", "--json").json
    assert [entry["source"] for entry in entries] == [f"{file}#test/0", str(image_files[0])]
    assert mi2("compare", f"{file}#test/0", f"{file}#test/3", "--json").json["similarity"] > 0.5


@pytest.mark.parametrize("verb", ["train", "compare"])
def test_adapters_take_the_splits_of_the_file(mi2, file: Path, tmp_path: Path, verb: str) -> None:
    out = ("--out", tmp_path / "a.adapter") if verb == "train" else ("--method", "knn")
    result = mi2("adapter", verb, file, "--label-names", "low,middle,high", *out, "--json")
    assert result.code == 0
    assert result.json["labels"] == ["high", "low", "middle"]
    if verb == "train":
        assert [figures["images"] for figures in result.json["figures"]] == [24, 40]
        assert result.json["figures"][1]["unknown_patients"] == 40
    else:
        assert result.json["images"] == {"train": 60, "validation": 24, "test": 40}
        assert result.json["unknown_patients"] == {"train": 60, "validation": 24, "test": 40}


def test_several_labels_need_no_separator(mi2, tmp_path: Path) -> None:
    file = write_npz(tmp_path / "chest.npz", together=True)
    compared = mi2("adapter", "compare", file, "--method", "knn", "--json")
    assert (compared.json["exclusive"], compared.json["labels"]) == (False, ["0", "1", "2"])
    fitted = mi2("tag", "fit", file, "--template", "band {}", "--out", tmp_path / "t.json", "--json")
    assert fitted.code == 0
    assert [tag["name"] for tag in fitted.json["tags"]] == ["0", "1", "2"]
    flags = make_arrays(together=True)["test_labels"]
    assert [tag["test"]["operation"]["positives"] for tag in fitted.json["tags"]] == flags.sum(axis=0).tolist()


def test_evaluation_needs_names_of_labels_or_prompts(mi2, file: Path, tmp_path: Path) -> None:
    refused = mi2("evaluate", file, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "label_names_missing")
    report = mi2("evaluate", file, "--label-names", "low,middle,high", "--json").json
    assert (report["images"], report["unknown_patients"]) == (40, 40)
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps({"0": ["low band"], "1": ["middle band"], "2": ["high band"]}))
    assert mi2("evaluate", file, "--prompts", prompts, "--json").json["images"] == 40
    several = write_npz(tmp_path / "chest.npz", together=True)
    assert mi2("evaluate", several, "--label-names", "low,middle,high", "--json").code == 0


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"train_images": np.zeros((60, 28, 28, 28), np.uint8)}, "npz_volumes"),
        ({"val_images": None}, "npz_array_missing"),
        ({"train_labels": np.array([None] * 60)}, "npz_objects"),
    ],
)
def test_files_of_another_form_are_refused(mi2, tmp_path: Path, changed, code: str) -> None:
    file = write_npz(tmp_path / "bad.npz", **changed)
    for words in (
        ("embed", file),
        ("adapter", "compare", file),
        ("adapter", "train", file, "--out", tmp_path / "a"),
        ("tag", "fit", file, "--out", tmp_path / "t.json"),
        ("evaluate", file, "--label-names", "a,b,c"),
    ):
        refused = mi2(*words, "--json")
        assert refused.code == 1, words
        assert refused.json["error"]["code"] == code
        assert refused.err.startswith(f"error: {file}: ")


def test_options_of_tables_are_refused(mi2, file: Path) -> None:
    for words in (("--label-column", "kind"), ("--path-column", "file"), ("--root", file.parent)):
        assert mi2("adapter", "compare", file, *words, "--json").json["error"]["code"] == "option_unused"


def test_a_number_beyond_the_file_is_refused(mi2, file: Path) -> None:
    assert mi2("embed", f"{file}#test/40", "--json").json["error"]["code"] == "npz_item_missing"
