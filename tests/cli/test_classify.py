from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medimageinsight import MedImageInsight
from tests.cli.labelled_images import write_image, write_table
from tests.images.dicom_datasets import make_dataset, to_file_bytes


def test_json_has_every_label_of_every_image(mi2, toy_bundle: Path, image_files: list[Path]) -> None:
    result = mi2("classify", *image_files, "--labels", "normal", "big heart", "--json")
    assert result.code == 0
    assert [entry["source"] for entry in result.json] == list(map(str, image_files))
    actual = [list(entry["probabilities"].values()) for entry in result.json]
    assert list(result.json[0]["probabilities"]) == ["normal", "big heart"]
    with MedImageInsight.load(toy_bundle) as model:
        np.testing.assert_allclose(actual, model.classify(image_files, ["normal", "big heart"]), atol=1e-5)


def test_labels_option_may_be_repeated(mi2, image_files: list[Path]) -> None:
    together = mi2("classify", image_files[0], "--labels", "a", "b", "--json")
    apart = mi2("classify", image_files[0], "--labels", "a", "--labels=b", "--json")
    assert together.out == apart.out


def test_fields_fill_the_template_or_the_default_template(mi2, toy_bundle: Path, image_files: list[Path]) -> None:
    labels, fields = ["--labels", "a", "b"], ["--modality", "x-ray", "--anatomy", "chest"]
    own = mi2("classify", image_files[0], *fields, *labels, "--json")
    explicit = mi2("classify", image_files[0], *fields, "--template", "{modality} {anatomy} {}", *labels, "--json")
    bare = mi2("classify", image_files[0], *labels, "--json")
    assert own.out == explicit.out != bare.out
    with MedImageInsight.load(toy_bundle) as model:
        expected = model.classify(image_files[0], ["a", "b"], template="x-ray chest {}")
    np.testing.assert_allclose(list(own.json[0]["probabilities"].values()), expected, atol=1e-5)


def test_table_shows_the_best_labels(mi2, image_files: list[Path]) -> None:
    labels = [f"label{number}" for number in range(9)]
    result = mi2("classify", image_files[0], image_files[1], "--top", 3, "--labels", *labels)
    assert result.code == 0
    assert result.out.count("label") == 2 * 3 + 1  # and the column's name
    assert result.out.count("%") == 2 * 3


def test_failed_image_does_not_stop_the_others(mi2, image_files: list[Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    result = mi2("classify", image_files[0], missing, image_files[1], "--labels", "a", "b", "--json")
    assert result.code == 1
    assert [("error" in entry) for entry in result.json] == [False, True, False]
    table = mi2("classify", missing, image_files[0], "--labels", "a", "b")
    assert table.code == 1
    assert str(image_files[0]) in table.out
    assert str(missing) in table.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.png"], "expected labels, got none"),
        (["--labels", "a", "b"], "expected image files, got none: name them before --labels"),
        (["x.png", "--labels", "a", "a"], "expected every label once"),
        (["x.png", "--labels", " "], "expected a text for every label"),
        (["x.png", "--template", "no braces", "--labels", "a"], "expected {} for the label in the template"),
        (["x.png", "--template", "{modality} {}", "--labels", "a"], "got none for modality"),
    ],
)
def test_rejects_invalid_labels_and_templates(mi2, words: list[str], message: str) -> None:
    result = mi2("classify", *words)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1
    assert result.out == ""


@pytest.fixture
def store(mi2, tmp_path: Path) -> Path:
    """Create a store of thirty images of three kinds; every tenth has no label."""
    pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
    table = write_table(tmp_path / "set", count=30)
    lines = table.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    column = rows[0].index("kind")
    for row in rows[1::10]:
        row[column] = ""
    table.write_text("\n".join(",".join(row) for row in rows) + "\n")
    images = [tmp_path / "set" / f"{number}.png" for number in range(30)]
    words = ("--metadata", table, "--column", "kind", "--column", "source")
    assert mi2("index", "add", tmp_path / "store", *images, *words).code == 0
    return tmp_path / "store"


def test_classify_by_store_returns_labels_and_evidence(mi2, store: Path, tmp_path: Path) -> None:
    new = [write_image(tmp_path / f"{kind}.png", kind, 900) for kind in ("left", "right")]
    result = mi2("classify", *new, "--store", store, "--label-column", "kind", "-k", 5, "--json")
    assert (result.code, result.err) == (0, "")
    assert [entry["source"] for entry in result.json] == list(map(str, new))
    assert [next(iter(entry["probabilities"])) for entry in result.json] == ["left", "right"]
    for entry in result.json:
        assert list(entry) == [
            "source", "probabilities", "cosine", "unlike_validation", "neighbours", "excluded", "patients_unknown",
        ]  # fmt: skip
        assert entry["cosine"] == entry["neighbours"][0]["score"]
        assert sum(entry["probabilities"].values()) == pytest.approx(1)
        assert sum(neighbour["weight"] for neighbour in entry["neighbours"]) == pytest.approx(1)
        assert [neighbour["label"] for neighbour in entry["neighbours"]] == [
            neighbour["metadata"]["kind"] for neighbour in entry["neighbours"]
        ]
        assert len(entry["neighbours"]) == 5
    printed = mi2("classify", *new, "--store", store, "--label-column", "kind", "-k", 2)
    assert "because of" in printed.out
    assert all(neighbour["id"] in printed.out for neighbour in result.json[0]["neighbours"][:2])


def test_filter_without_matches_gives_no_labels(mi2, store: Path, image_files: list[Path]) -> None:
    words = ("classify", image_files[0], "--store", store, "--label-column", "kind", "--where", "kind = 'none'")
    result = mi2(*words, "--json")
    absent = {"cosine": None, "unlike_validation": None}
    empty = {"probabilities": {}, **absent, "neighbours": [], "excluded": 0, "patients_unknown": True}
    assert (result.code, result.json) == (0, [{"source": str(image_files[0]), **empty}])
    printed = mi2(*words)
    assert (printed.code, printed.out) == (0, "")
    assert "no stored image has a label" in printed.err


def test_classify_by_store_reports_a_failed_image(mi2, store: Path, image_files: list[Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    result = mi2("classify", image_files[0], missing, "--store", store, "--label-column", "kind", "--json")
    assert result.code == 1
    assert [list(entry)[1] for entry in result.json] == ["probabilities", "error"]


def test_draws_the_evidence_on_a_contact_sheet(mi2, store: Path, image_files: list[Path], tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    words = ("--store", store, "--label-column", "kind", "--contact-sheet", sheet, "--folder", tmp_path)
    assert mi2("classify", image_files[0], *words).code == 0
    with Image.open(sheet) as opened:
        assert opened.width > 1000
    by_old_name = ["--pictures" if word == "--contact-sheet" else word for word in words]
    drawn = sheet.read_bytes()
    sheet.unlink()
    assert mi2("classify", image_files[0], *by_old_name).code == 0
    assert sheet.read_bytes() == drawn
    piped = mi2("classify", "-", *words, "--json", stdin=image_files[0].read_bytes())
    assert (piped.code, len(piped.json[0]["neighbours"])) == (0, 10)
    several = mi2("classify", *image_files, *words, "--json")
    assert (several.code, several.json["error"]["code"]) == (2, "pictures_of_several")


def test_rejects_invalid_store_options(mi2, store: Path, image_files: list[Path], tmp_path: Path) -> None:
    by_store = ("--store", store, "--label-column", "kind")
    for words, code in [
        (("--store", store), "column_missing"),
        (("--store", store, "--label-column", "ward"), "column_unknown"),
        ((*by_store, "--where", "kind ="), "filter_invalid"),
        ((*by_store, "--model", "mini"), "store_other_model"),
        ((*by_store, "--folder", tmp_path), "pictures_missing"),
        ((*by_store, "--labels", "a", "b"), "classify_option_unused"),
        ((*by_store, "--template", "x {}"), "classify_option_unused"),
        ((*by_store, "--preprocessing", "azure"), "classify_option_unused"),
        (("--labels", "a", "--label-column", "kind"), "classify_option_unused"),
        (("--labels", "a", "-k", 3), "classify_option_unused"),
        (("--labels", "a", "--contact-sheet", tmp_path / "s.png"), "classify_option_unused"),
    ]:
        result = mi2("classify", image_files[0], *words, "--json")
        assert (result.code, result.json["error"]["code"]) == (2, code)
    gone = mi2("classify", image_files[0], "--store", tmp_path / "no", "--label-column", "kind", "--json")
    assert gone.json["error"]["code"] == "store_not_found"
    assert gone.json["source"] == str(tmp_path / "no")


def test_reads_prompts_from_a_file_and_writes_a_table(
    mi2, toy_bundle: Path, image_files: list[Path], tmp_path: Path
) -> None:
    prompts, out = tmp_path / "prompts.json", tmp_path / "table.csv"
    prompts.write_text(json.dumps({"=normal": ["x-ray chest normal", "no finding"], "edema": "x-ray chest edema"}))
    result = mi2("classify", *image_files, tmp_path / "missing.png", "--prompts", prompts, "--out", out, "--json")
    assert result.code == 1
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "source", "label", "probability", "cosine", "unlike_validation",
        "probability of =normal", "probability of edema", "error",
    ]  # fmt: skip
    assert rows[3]["error"] == "image_not_found"
    with MedImageInsight.load(toy_bundle) as model:
        expected = model.classify(
            image_files, {"=normal": ["x-ray chest normal", "no finding"], "edema": "x-ray chest edema"}
        )
    written = [[float(row["probability of =normal"]), float(row["probability of edema"])] for row in rows[:3]]
    np.testing.assert_allclose(written, expected, atol=1e-5)
    for row, (normal, edema) in zip(rows, written, strict=False):
        assert row["label"] == ("'=normal" if normal > edema else "edema")
    assert [entry["probabilities"]["edema"] for entry in result.json[:3]] == pytest.approx(
        [e for _, e in written], abs=1e-5
    )
    both = mi2("classify", image_files[0], "--prompts", prompts, "--labels", "a", "b", "--json")
    assert both.json["error"]["code"] == "classify_option_unused"
    assert (
        mi2("classify", image_files[0], "--prompts", prompts, "--out", "t.txt", "--json").json["error"]["code"]
        == "out_unknown"
    )


@pytest.mark.parametrize("patient_id", ["hashed", "plain"])
def test_can_leave_out_the_patient_of_the_query(mi2, tmp_path: Path, patient_id: str) -> None:
    pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
    images, store = tmp_path / "images", tmp_path / "store"
    rng = np.random.default_rng(0)
    for index, patient in enumerate(("P1", "P1", "P2", "P3")):
        folder = images / ("sick" if patient == "P1" else "well")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (16, 16), dtype=np.uint8)
        (folder / f"{index}.dcm").write_bytes(to_file_bytes(make_dataset(pixels, PatientID=patient)))
    new = tmp_path / "new.dcm"
    new.write_bytes(to_file_bytes(make_dataset(rng.integers(0, 255, (16, 16), dtype=np.uint8), PatientID="P1")))
    added = mi2("index", "add", store, images, "--dicom-tags", "--patient-id", patient_id, "--labels-from-folders")
    assert added.code == 0
    own = ("--exclude-same", "PatientID", "--json")
    hits = mi2("search", store, "--image", new, *own).json["hits"]
    assert {Path(hit["path"]).name for hit in hits} == {"2.dcm", "3.dcm"}
    assert len(mi2("search", store, "--image", new, "--json").json["hits"]) == 4
    (answer,) = mi2("classify", new, "--store", store, "--label-column", "label", *own).json
    assert list(answer["probabilities"]) == ["well"]
    piped = mi2("classify", "-", "--store", store, "--label-column", "label", *own, stdin=new.read_bytes()).json
    assert list(piped[0]["probabilities"]) == ["well"]
    Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(tmp_path / "anonymous.png")
    (unknown,) = mi2("classify", tmp_path / "anonymous.png", "--store", store, "--label-column", "label", *own).json
    assert unknown["error"]["code"] == "column_empty"
    assert mi2("search", store, "--image", tmp_path / "anonymous.png", *own).json["error"]["code"] == "column_empty"
