from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight
from medimageinsight.tasks import find_drift, fit_outliers
from tests.cli.labelled_images import write_image, write_table

if TYPE_CHECKING:
    from pathlib import Path


def folder(path: Path, kind: str, count: int, seed: int) -> Path:
    path.mkdir()
    for index in range(count):
        write_image(path / f"{index:02}.png", kind, seed + index)
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return folder(tmp_path / "reference", "left", 30, 0)


@pytest.fixture
def validation(tmp_path: Path) -> Path:
    return folder(tmp_path / "validation", "left", 30, 100)


def test_finds_unusual_images(mi2, reference: Path, validation: Path, tmp_path: Path, toy_bundle: Path) -> None:
    new = [write_image(tmp_path / f"{kind}.png", kind, 900) for kind in ("left", "right")]
    result = mi2("outliers", reference, *new, "--validation", validation, "-k", 5, "--quantile", 0.99, "--json")
    assert result.code == 0
    assert [entry["source"] for entry in result.json] == list(map(str, new))
    assert [entry["outlier"] for entry in result.json] == [False, True]
    assert all(entry["patients_unknown"] is True for entry in result.json)
    with MedImageInsight.load(toy_bundle) as model:
        sets = [model.embed_images(sorted(path.iterdir())) for path in (reference, validation)]
        detector = fit_outliers(*sets, k=5, quantile=0.99)
        distances = detector.distances(model.embed_images(new))
    np.testing.assert_allclose([entry["distance"] for entry in result.json], distances, atol=1e-5)
    np.testing.assert_allclose([entry["p_value"] for entry in result.json], detector.p_values(distances))


def test_finds_outliers_with_the_built_in_model(mi2, reference: Path, validation: Path, tmp_path: Path) -> None:
    new = write_image(tmp_path / "right.png", "right", 900)
    result = mi2("outliers", reference, new, "--validation", validation, "--model", "mini")
    assert result.code == 0
    assert "outlier" in result.out
    assert "from 30 validation images" in result.out


def test_accepts_embeddings_from_files(mi2, reference: Path, validation: Path, tmp_path: Path) -> None:
    new = write_image(tmp_path / "right.png", "right", 900)
    (validation / "broken.png").write_bytes(b"nothing")
    files = []
    for images in (reference, validation):
        files.append(tmp_path / f"{images.name}.npy")
        mi2("embed", images, "--out", files[-1])  # the broken image's row is NaN
    (validation / "broken.png").unlink()
    by_file = mi2("outliers", files[0], new, "--validation", files[1], "--json")
    by_folder = mi2("outliers", reference, new, "--validation", validation, "--json")
    assert by_file.code == 0
    assert by_file.json[0]["distance"] == pytest.approx(by_folder.json[0]["distance"], abs=1e-6)


def test_failed_image_does_not_stop_the_others(
    mi2, reference: Path, validation: Path, image_files: list[Path], tmp_path: Path
) -> None:
    missing = tmp_path / "missing.png"
    result = mi2("outliers", reference, image_files[0], missing, image_files[1], "--validation", validation, "--json")
    assert result.code == 1
    assert [("error" in entry) for entry in result.json] == [False, True, False]


def test_rejects_unreadable_reference_image(mi2, reference: Path, validation: Path, image_files: list[Path]) -> None:
    broken = reference / "99.png"
    broken.write_bytes(b"not an image")
    result = mi2("outliers", reference, image_files[0], "--validation", validation)
    assert result.code == 1
    assert result.err.startswith(f"error: {broken}: ")


def test_drift_between_folders(mi2, reference: Path, validation: Path, tmp_path: Path, toy_bundle: Path) -> None:
    other = folder(tmp_path / "other", "right", 20, 200)
    differ = mi2("outliers", "drift", reference, other, "--permutations", 99, "--json")
    assert differ.code == 0
    assert differ.json["p_value"] == pytest.approx(0.01)
    assert differ.json["images"] == [30, 20]
    assert differ.json["unknown_patients"] == [30, 20]
    alike = mi2(
        "outliers", "drift", reference, validation, "--permutations", 99, "--seed", 5, "--statistic", "mmd", "--json"
    )
    assert alike.json["p_value"] > 0.02
    with MedImageInsight.load(toy_bundle) as model:
        sets = [model.embed_images(sorted(path.iterdir())) for path in (reference, validation)]
    expected = find_drift(*sets, statistic="mmd", permutations=99, seed=5)
    assert alike.json["value"] == pytest.approx(expected.value, abs=1e-6)


def test_drift_permutes_patients_of_tables(mi2, tmp_path: Path) -> None:
    tables = [write_table(tmp_path / name, count=24, splits=()) for name in ("first", "second")]
    result = mi2("outliers", "drift", *tables)
    assert result.code == 2  # both name the patients p0 to p3 of one source
    assert "expected no patient in both batches" in result.err
    tables[1].write_text(tables[1].read_text().replace(",made,", ",elsewhere,"))
    assert mi2("outliers", "drift", *tables, "--permutations", 50).code == 0


def test_rejects_patient_in_reference_and_validation(mi2, image_files: list[Path], tmp_path: Path) -> None:
    tables = [write_table(tmp_path / name, count=24, splits=()) for name in ("first", "second")]
    result = mi2("outliers", tables[0], image_files[0], "--validation", tables[1], "--json")
    assert (result.code, result.json["error"]["code"]) == (2, "patients_shared")
    tables[1].write_text(tables[1].read_text().replace(",made,", ",elsewhere,"))
    assert mi2("outliers", tables[0], image_files[0], "--validation", tables[1]).code == 0


def test_drift_prints_a_table(mi2, reference: Path, validation: Path) -> None:
    result = mi2("outliers", "drift", reference, validation, "--permutations", 50)
    assert "energy, 30 and 30 images" in result.out
    assert "p-value" in result.out


def test_rejects_invalid_options(mi2, reference: Path, image_files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.npy").write_bytes(b"\x80\x04K\x01.")
    np.save(tmp_path / "pickle.npy", np.array([object()]), allow_pickle=True)
    for words, code, message in (
        ((reference, image_files[0]), 2, "--validation"),
        (
            (reference, image_files[0], "--validation", reference, "-k", 31),
            2,
            "expected k from 1 to the number of references",
        ),
        (
            (reference, image_files[0], "--validation", reference, "--quantile", 2),
            2,
            "expected a quantile between 0 and 1",
        ),
        ((tmp_path / "bad.npy", image_files[0], "--validation", reference), 2, "expected vectors as mi2 embed"),
        ((tmp_path / "pickle.npy", image_files[0], "--validation", reference), 2, "expected vectors as mi2 embed"),
        (("drift", reference, reference, "--statistic", "ks"), 2, "expected the statistic energy or mmd"),
        (("drift", reference, tmp_path / "no.csv"), 1, "expected a table file, found none"),
    ):
        result = mi2("outliers", *words)
        assert message in result.err
        assert result.code == code


def test_figures_of_folders_state_that_patients_are_unknown(mi2, reference: Path, validation: Path) -> None:
    drift = mi2("outliers", "drift", reference, validation, "--permutations", 19)
    assert "p-value, patients unknown" in drift.out
    assert "groups of similar images" in drift.out
    new = next(iter(reference.iterdir()))
    found = mi2("outliers", reference, new, "--validation", validation, "-k", 5, "--quantile", 0.99)
    assert "patients unknown" in found.out
    assert "30 validation images are too few for the quantile 0.99" in found.err
