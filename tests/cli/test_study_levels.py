"""Series and studies as sources of verbs: names, pooled vectors, what was used, errors in their positions."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import studies
from tests.cli.study_folders import write_pages, write_series

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a study of two series, with a file that is no image."""
    path = tmp_path / "study"
    write_series(path / "a", patient="1", study="1", series="1")
    write_series(path / "b", patient="1", study="1", series="2", level=900, count=20)
    (path / "notes.txt").write_text("not an image")
    return path


def vectors(result) -> np.ndarray:
    return np.array([row["embedding"] for row in result.json], dtype=np.float32)


def test_the_first_frame_of_several_is_reported(mi2, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages.tif")
    found = mi2("embed", pages, "--json")
    (row,) = found.json
    assert row["parts"] == {"used": 1, "of": 3, "selection": "frames:0", "warnings": [], "failed": []}
    assert "pages.tif: 1 of 3 frames used" in found.err
    for verb in (
        ("classify", pages, "--labels", "x-ray", "photograph"),
        ("tag", pages, "--labels", "x-ray", "--threshold", "0.1"),
    ):
        result = mi2(*verb, "--json")
        assert result.json[0]["parts"]["of"] == 3
        assert "1 of 3 frames used" in result.err
    assert "1 of 3 frames used" in mi2("compare", pages, pages).err
    assert "used" not in mi2("embed", pages, "--quiet", "--json").err


def test_selected_frames_are_results_whose_names_open_them(mi2, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages.tif")
    found = mi2("embed", pages, "--select", "frames:1-2", "--json")
    assert [row["source"] for row in found.json] == [f"{pages}#frame=1", f"{pages}#frame=2"]
    assert [row["parts"]["selection"] for row in found.json] == ["frames:1", "frames:2"]
    assert "2 of 3 images used: frames:1-2" in found.err
    for row, frame in zip(found.json, (1, 2), strict=True):
        assert mi2("embed", pages, "--frame", frame, "--json").json[0]["embedding"] == row["embedding"]
        again = mi2("embed", row["source"], "--json").json
        assert (again[0]["source"], again[0]["embedding"]) == (row["source"], row["embedding"])
    wrong = mi2("embed", pages, "--select", "all", "--frame", 1, "--json")
    assert (wrong.code, wrong.json["error"]["code"]) == (2, "reading_option_unused")


def test_levels_pool_the_images_of_a_folder(mi2, folder: Path) -> None:
    images = mi2("embed", folder, "--select", "all", "--json")
    assert images.code == 0
    assert len(images.json) == 24
    series = mi2("embed", folder, "--level", "series", "--select", "all", "--pooling", "median", "--json")
    assert [row["source"] for row in series.json] == [f"{folder}#series=0", f"{folder}#series=1"]
    sizes = [row["parts"]["of"] for row in series.json]
    assert sorted(sizes) == [4, 20]
    of_a = np.array([row["embedding"] for row in images.json if "/a/" in row["source"]], dtype=np.float32)
    np.testing.assert_allclose(vectors(series)[sizes.index(4)], studies.pool(of_a, "median"), atol=1e-6)
    study = mi2("embed", folder, "--level", "study", "--json")
    assert [row["source"] for row in study.json] == [str(folder)]
    parts = study.json[0]["parts"]
    assert (parts["used"], parts["of"], parts["selection"], parts["pooling"]) == (20, 24, "even:16", "median")
    assert f"{folder}: 20 of 24 images used: even:16" in study.err
    assert "1 files are not images" in study.err


def test_failed_images_are_errors_in_their_positions(mi2, folder: Path) -> None:
    damaged = folder / "b" / "IM03.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-600])
    pooled = mi2("embed", folder, "--level", "study", "--select", "all", "--json")
    assert pooled.code == 1
    parts = pooled.json[0]["parts"]
    assert (parts["used"], parts["of"]) == (23, 24)
    assert [failed["source"] for failed in parts["failed"]] == [str(damaged)]
    assert str(damaged) in pooled.err
    images = mi2("embed", folder, "--select", "all", "--json")
    assert images.code == 1
    assert [row["source"] for row in images.json if "error" in row] == [str(damaged)]
    assert len(images.json) == 24
    missing = mi2("embed", folder / "no", folder, "--level", "study", "--json")
    assert missing.code == 1
    assert ["error" in row for row in missing.json] == [True, False]


def test_files_of_pooled_vectors_can_be_continued(mi2, folder: Path, tmp_path: Path, monkeypatch) -> None:
    call = ("embed", folder, "--level", "series", "--pooling", "statistics", "--out", tmp_path / "v.npy")
    assert mi2(*call).code == 0
    complete = np.load(tmp_path / "v.npy")
    assert complete.shape[0] == 2
    assert complete.shape[1] % 7 == 0
    notes = json.loads((tmp_path / "v.npy.json").read_text())
    assert notes["sources"] == [f"{folder}#series=0", f"{folder}#series=1"]

    append = __import__("medimageinsight.cli.partial_results", fromlist=["x"]).PartialResults.append

    def interrupt(self, result) -> None:
        if self.count:
            raise KeyboardInterrupt
        append(self, result)

    (tmp_path / "v.npy").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("medimageinsight.cli.partial_results.PartialResults.append", interrupt)
        assert mi2(*call).code == 130
    assert mi2(*call, "--resume").code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), complete)


def test_verbs_take_studies(mi2, folder: Path, tmp_path: Path) -> None:
    level = ("--level", "series", "--json")
    classified = mi2("classify", folder, *level, "--labels", "x-ray", "photograph")
    assert sorted(row["parts"]["used"] for row in classified.json) == [4, 16]
    assert all(sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5) for row in classified.json)
    tagged = mi2("tag", folder, *level, "--vocabulary", "modality")
    assert [row["parts"]["pooling"] for row in tagged.json] == ["median", "median"]
    compared = mi2("compare", folder / "a", folder / "b", "--level", "study", "--json")
    assert -1 <= compared.json["similarity"] < 1
    assert mi2("compare", folder / "a", folder / "a", "--level", "study", "--json").json["similarity"] == pytest.approx(
        1
    )
    several = mi2("compare", folder, "--text", "x-ray", *level)
    assert several.json["items"] == [f"{folder}#series=0", f"{folder}#series=1", "x-ray"]
    for name in "vw":
        for number in range(4):
            write_series(tmp_path / name / str(number), patient=name, study=f"{name}{number}", series="1", level=number)
    judged = mi2(
        "outliers", tmp_path / "v", folder, "--validation", tmp_path / "w", "-k", 1, "--quantile", "0.5",
        "--level", "study", "--pooling", "statistics", "--json",
    )  # fmt: skip
    assert [row["source"] for row in judged.json] == [str(folder)]
    assert judged.json[0]["parts"]["used"] == 20


def test_several_windows_are_images_or_channels(mi2, folder: Path) -> None:
    call = ("embed", folder / "a", "--select", "frames:0", "--windows", "lung,bone,40/400", "--json")
    each = mi2(*call).json
    assert len(each) == 3
    (together,) = mi2(*call, "--window-channels").json
    assert together["embedding"] not in [row["embedding"] for row in each]
    again = mi2("embed", together["source"], "--json").json
    assert again[0]["embedding"] == together["embedding"]


@pytest.mark.parametrize(
    "verb", [("classify", "--labels", "a", "b"), ("tag", "--labels", "a", "--threshold", "0"), ("embed", "--text", "a")]
)
def test_statistics_are_not_compared_with_texts(mi2, folder: Path, verb) -> None:
    name, *options = verb
    refused = mi2(name, folder, "--level", "study", "--pooling", "statistics", "--json", *options)
    assert (refused.code, refused.json["error"]["code"]) == (2, "pooling_not_comparable")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--level", "patient"), "level_unknown"),
        (("--level", "image,series"), "level_unknown"),
        (("--pooling", "mean"), "reading_option_unused"),
        (("--level", "study", "--pooling", "sum"), "pooling_unknown"),
        (("--plane", "oblique"), "plane_unknown"),
        (("--select", "some"), "selection_invalid"),
        (("--windows", "lung,bone", "--window-channels"), "window_invalid"),
    ],
)
def test_wrong_options_are_refused(mi2, folder: Path, options, code: str) -> None:
    refused = mi2("embed", folder, "--json", *options)
    assert (refused.code, refused.json["error"]["code"]) == (2, code)


def test_rows_of_tables_name_studies(mi2, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "caption", "split"])
        for number in range(12):
            label = ("dark", "bright")[number % 2]
            name = f"s{number}"
            write_series(tmp_path / name, patient=name, study=name, series="1", level=1500 * (number % 2) + number)
            rows.writerow([name, label, f"a {label} image", "test"])
    scored = mi2("evaluate", table, "--level", "study", "--select", "frames:1-2", "--json")
    assert scored.code == 0, scored.err
    assert "2 of 4 images used: frames:1-2" in scored.err
    images = mi2("evaluate", table, "--json")
    assert images.code == 1
    refused = mi2("evaluate", table, "--select", "all", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "reading_option_unused")
    write_series(tmp_path / "s0" / "more", patient="x", study="other", series="1")
    several = mi2("evaluate", table, "--level", "study", "--json")
    assert several.code == 1
