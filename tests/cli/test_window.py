"""``--window``, ``--percentiles`` and ``--accept-maps`` of the verbs that read images."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from tests.windowed_ct import BONE, LUNG, ct_file, stretched, windowed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command


@pytest.fixture
def model(toy_bundle: Path) -> MedImageInsight:
    return MedImageInsight.load(toy_bundle, threads=1)


def embedding_of(result: object) -> np.ndarray:
    return np.asarray(result.json[0]["embedding"], dtype=np.float32)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("option", "value", "pixels"),
    [
        ("--window", "lung", windowed(LUNG)),
        ("--window", "-600/1500", windowed(LUNG)),
        ("--window", "bone", windowed(BONE)),
        ("--window", "1", windowed(BONE)),
        ("--percentiles", "1,99", stretched(1, 99)),
    ],
)
def test_embed(
    mi2: Command, model: MedImageInsight, tmp_path: Path, option: str, value: str, pixels: np.ndarray
) -> None:
    result = mi2("embed", ct_file(tmp_path), option, value, "--json")
    np.testing.assert_array_equal(embedding_of(result), model.embed_images(pixels))


def test_warnings_are_in_the_document_and_counted_on_standard_error(
    mi2: Command, tmp_path: Path, image_files: list[Path]
) -> None:
    result = mi2("embed", ct_file(tmp_path), *image_files, "--window", "lung", "--json")
    ct, *photographs = result.json
    assert "warnings" not in ct
    assert all([warning["code"] for warning in item["warnings"]] == ["window_not_applied"] for item in photographs)
    assert "defects of images, by code: window_not_applied 3" in result.err
    assert result.code == 0


WRONG = [
    ("--window", "lungs"),
    ("--window", "40/0"),
    ("--percentiles", "99,1"),
    ("--percentiles", "1"),
    ("--window", "lung", "--percentiles", "1,99"),
]


@pytest.mark.parametrize("options", WRONG)
@pytest.mark.parametrize(
    "verb", [("embed",), ("compare", "a"), ("tag", "--vocabulary", "modality"), ("index", "add", "S")]
)
def test_a_wrong_window_is_a_wrong_call(
    mi2: Command, tmp_path: Path, verb: tuple[str, ...], options: tuple[str, ...]
) -> None:
    words = [*verb, ct_file(tmp_path)] if verb[0] != "tag" else ["tag", ct_file(tmp_path), *verb[1:]]
    result = mi2(*words, *options, "--json")
    assert result.code == 2
    assert result.json["error"]["code"] == "window_invalid"


def test_compare_classify_and_tag(mi2: Command, model: MedImageInsight, tmp_path: Path) -> None:
    ct, bone = ct_file(tmp_path), model.embed_images(windowed(BONE))
    text = model.embed_texts("x-ray chest")
    similarity = mi2("compare", ct, "x-ray chest", "--window", "bone", "--json").json["similarity"]
    assert similarity == pytest.approx(float(model.similarity(bone, text)), abs=1e-6)
    (classified,) = mi2("classify", ct, "--labels", "a", "b", "--window", "bone", "--json").json
    expected = model.classify(windowed(BONE), ["a", "b"])
    assert list(classified["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)
    (tagged,) = mi2("tag", ct, "--vocabulary", "modality", "--window", "bone", "--json").json
    scores = {name: tag.score for name, tag in model.tag(windowed(BONE), "modality").items()}
    assert {name: tag["score"] for name, tag in tagged["tags"].items()} == pytest.approx(scores, abs=1e-6)


def test_a_store_records_the_window_and_refuses_another(mi2: Command, model: MedImageInsight, tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")
    ct, store = ct_file(tmp_path), tmp_path / "store"
    assert mi2("index", "add", store, ct, "--window", "lung").code == 0
    assert mi2("index", "info", store, "--json").json["identity"]["preprocessing"]["window"] == "lung"
    assert "direct, window lung" in mi2("index", "info", store).out

    hits = mi2("search", store, "--image", ct, "--json").json["hits"]  # the store's window is the query's
    assert hits[0]["score"] == pytest.approx(1, abs=1e-6)
    assert mi2("search", store, "--image", ct, "--window", "lung", "--json").json["hits"] == hits
    assert mi2("index", "add", store, ct_file(tmp_path, "second.dcm"), "--json").json["added"] == 1
    for words in (
        ("search", store, "--image", ct, "--window", "bone"),
        ("index", "add", store, ct_file(tmp_path, "third.dcm"), "--window", "bone"),
        ("classify", ct, "--store", store, "--label-column", "finding", "--window", "bone"),
    ):
        result = mi2(*words, "--json")
        assert (result.code, result.json["error"]["code"]) == (2, "store_other_preprocessing")


def labelled_table(folder: Path) -> Path:
    """Write a table of CT files and photographs of two labels, with splits."""
    from PIL import Image

    rng = np.random.default_rng(0)
    table = folder / "table.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split", "patient_id", "caption"])
        number = 0
        for split in ("train", "val", "test"):
            for label in ("ct", "photograph"):
                for _ in range(4):
                    number += 1
                    path = folder / f"{number}.{'dcm' if label == 'ct' else 'png'}"
                    if label == "ct":
                        ct_file(folder, path.name)
                    else:
                        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
                    rows.writerow([path.name, label, split, f"p{number}", label])
    return table


def test_an_adapter_and_a_tagger_record_the_window(mi2: Command, model: MedImageInsight, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="an adapter needs the evaluate extra")
    from medimageinsight.adapters import load_adapter

    table, adapter, tagger = labelled_table(tmp_path), tmp_path / "adapter.json", tmp_path / "tagger.json"
    assert mi2("adapter", "train", table, "--out", adapter, "--window", "lung").code == 0
    assert json.loads(adapter.read_text("utf-8"))["model"]["preprocessing"]["window"] == "lung"
    (predicted,) = mi2("adapter", "predict", adapter, tmp_path / "1.dcm", "--json").json
    expected = load_adapter(adapter).predict(model.embed_images(windowed(LUNG)))
    assert list(predicted["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)

    fit = mi2("tag", "fit", table, "--template", "{}", "--out", tagger, "--window", "lung")
    assert fit.code == 0, fit.err
    assert json.loads(tagger.read_text("utf-8"))["model"]["preprocessing"]["window"] == "lung"
    assert mi2("tag", tmp_path / "1.dcm", "--tagger", tagger).code == 0
    refused = mi2("tag", tmp_path / "1.dcm", "--tagger", tagger, "--window", "bone", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "tagger_option_unused")


def test_maps_are_accepted_with_the_option(mi2: Command, tmp_path: Path) -> None:
    from tests.images.dicom_datasets import make_dataset, to_file_bytes

    dose = make_dataset(np.arange(400, dtype=np.uint16).reshape(20, 20), Modality="RTDOSE", DoseGridScaling=0.001)
    dose.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"
    file = tmp_path / "dose.dcm"
    file.write_bytes(to_file_bytes(dose))
    refused = mi2("embed", file, "--json")
    assert (refused.code, refused.json[0]["error"]["code"]) == (1, "image_is_map")
    assert mi2("embed", file, "--accept-maps").code == 0


def test_evaluate_embeds_with_the_window(mi2: Command, tmp_path: Path) -> None:
    table = labelled_table(tmp_path)
    reports = [
        mi2("evaluate", table, "--template", "{}", *options, "--json").json
        for options in ((), ("--window", "40/400"), ("--window", "lung"))
    ]
    default, own, lung = ({name: value for name, value in report.items() if name != "command"} for report in reports)
    assert default == own != lung
    assert "--window lung" in reports[2]["command"]
