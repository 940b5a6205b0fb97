"""Images, series and studies in one store: indexing, groups, own frames of hits, synchronisation."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from medimageinsight import search
from tests.cli.study_folders import write_pages, write_series

pytest.importorskip("lancedb", reason="a store needs the extra search")

if TYPE_CHECKING:
    from pathlib import Path

LEVELS = ("--level", "image,series,study")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write three studies of two patients: two series, one series, one series."""
    path = tmp_path / "ct"
    write_series(path / "x" / "a", patient="1", study="1", series="1")
    write_series(path / "x" / "b", patient="1", study="1", series="2", level=1200)
    write_series(path / "y", patient="1", study="2", series="1", level=600)
    write_series(path / "z", patient="2", study="3", series="1", level=2400)
    return path


@pytest.fixture
def store(mi2, folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "store"
    added = mi2("index", "add", path, folder, *LEVELS, "--dicom-tags", "--patient-id", "hashed", "--json")
    assert added.code == 0, added.err
    assert added.json["added"] == 16 + 4 + 3
    return path


def items(path: Path) -> list[search.Item]:
    with search.open_store(path) as opened:
        return [item for ids, _ in opened.scan() for item in opened.get(ids)]


def test_levels_share_keys_and_no_identifier_is_stored(store: Path, folder: Path) -> None:
    found = items(store)
    by_level = {
        level: [item for item in found if item.metadata["level"] == level] for level in ("image", "series", "study")
    }
    assert [len(by_level[level]) for level in ("image", "series", "study")] == [16, 4, 3]
    for series in by_level["series"]:
        images = [item for item in by_level["image"] if item.metadata["series"] == series.metadata["series"]]
        assert len(images) == series.metadata["parts"] == 4
        pooled = np.median([item.embedding for item in images], axis=0)
        np.testing.assert_allclose(series.embedding, pooled / np.linalg.norm(pooled), atol=1e-5)
        assert {item.metadata["study"] for item in images} == {series.metadata["study"]}
        assert {item.metadata["PatientID"] for item in images} == {series.metadata["PatientID"]}
        assert series.path in {item.path for item in images}
        assert series.metadata["pooling"] == "median"
    assert len({item.metadata["PatientID"] for item in by_level["study"]}) == 2
    everything = " ".join(f"{item.id} {item.metadata}" for item in found)
    assert "1.2.826" not in everything, "a DICOM UID"
    assert all(item.id.startswith(str(folder)) for item in found)


def test_results_are_grouped(mi2, store: Path, folder: Path) -> None:
    image = folder / "x" / "a" / "IM01.dcm"
    call = ("search", store, "--image", image, "--where", "level = 'image'", "-k", 3, "--json")
    flat = mi2(*call).json["hits"]
    assert len({hit["metadata"]["study"] for hit in flat}) < 3
    by_study = mi2(*call, "--group-by", "study").json["hits"]
    assert len({hit["metadata"]["study"] for hit in by_study}) == 3
    assert by_study[0]["id"] == flat[0]["id"]
    assert [hit["more"] for hit in by_study].count(7) == 1
    assert [hit["score"] for hit in by_study] == sorted((hit["score"] for hit in by_study), reverse=True)
    by_patient = mi2(*call, "--group-by", "patient").json["hits"]
    assert sorted(hit["more"] for hit in by_patient) == [3, 11]
    assert "more" in mi2(*call[:-1], "--group-by", "series").out
    others = mi2(*call, "--group-by", "study", "--exclude-same", "PatientID").json["hits"]
    assert len(others) == 1
    wrong = mi2(*call, "--group-by", "site")
    assert (wrong.code, wrong.json["error"]["code"]) == (2, "column_unknown")


def test_queries_are_studies_too(mi2, store: Path, folder: Path) -> None:
    call = ("search", store, "--where", "level = 'study'", "-k", 1, "--json", "--level", "study")
    for name in "xyz":
        found = mi2(*call, "--image", folder / name)
        (hit,) = found.json["hits"]
        assert hit["score"] == pytest.approx(1, abs=1e-5)
        assert hit["id"].startswith(str(folder / name))
        assert found.json["parts"]["pooling"] == "median"
    other = mi2(*call, "--image", folder / "x", "--exclude-same", "PatientID").json["hits"]
    assert [hit["id"].startswith(str(folder / "z")) for hit in other] == [True]
    several = mi2("search", store, "--image", folder, "--level", "study", "--json")
    assert (several.code, several.json["error"]["code"]) == (2, "query_several")


def test_votes_leave_out_the_query_s_own_study(mi2, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "labelled"
    assert mi2("index", "add", path, folder, *LEVELS, "--labels-from-folders").code == 0
    found = mi2("classify", folder / "y", "--level", "study", "--store", path, "--label-column", "label", "--json")
    (row,) = found.json
    assert row["excluded"] == 6, "the study, its series and its images"
    assert set(row["probabilities"]) == {"x", "z"}


def test_a_hit_shows_its_own_frame(mi2, tmp_path: Path) -> None:
    pages, path, sheet = write_pages(tmp_path / "pages.tif"), tmp_path / "store", tmp_path / "sheet.png"
    assert mi2("index", "add", path, pages, "--select", "all", "--level", "image,series").code == 0
    found = mi2(
        "search", path, "--image", pages, "--frame", 1, "-k", 1, "--where", "level = 'image'", "--json",
        "--contact-sheet", sheet, "--folder", tmp_path,
    )  # fmt: skip
    (hit,) = found.json["hits"]
    assert (hit["id"], hit["metadata"]["origin"]) == (f"{pages}#frame=1", "frame=1")
    with Image.open(sheet) as drawn:
        white = np.asarray(drawn.convert("L")) == 255
    assert white[:, white.shape[1] // 2 :].sum() > 1000


def test_a_pooled_vector_is_no_duplicate_of_its_image(mi2, tmp_path: Path, image_files) -> None:
    folder, path = tmp_path / "images", tmp_path / "store"
    folder.mkdir()
    for file in image_files:
        shutil.move(file, folder)
    shutil.copy(folder / "a.png", folder / "copy.png")
    assert mi2("index", "add", path, folder, *LEVELS).code == 0
    found = mi2("index", "duplicates", path, "--threshold", "0.999999", "--json").json
    assert [[image["id"].rpartition("/")[2] for image in group["images"]] for group in found["clusters"]] == [
        ["a.png", "copy.png"]
    ]
    with search.open_store(path) as opened:
        assert len(search.Projection.of(opened).ids) == 4


def test_studies_follow_their_files(mi2, store: Path, folder: Path) -> None:
    unchanged = mi2("index", "sync", store, folder, "--json").json
    assert (unchanged["unchanged"], unchanged["added"], unchanged["deleted"], unchanged["updated"]) == (23, 0, 0, 0)
    (folder / "x" / "a" / "IM01.dcm").unlink()
    shutil.rmtree(folder / "z")
    write_series(folder / "new", patient="3", study="4", series="1", level=300)
    changed = mi2("index", "sync", store, folder, "--json").json
    assert changed["added"] == 6
    assert changed["updated"] == 2, "a series and its study"
    assert changed["deleted"] == 1 + 6
    assert {item.metadata["parts"] for item in items(store) if item.metadata["level"] == "series"} == {3, 4}
    assert mi2("index", "sync", store, folder, "--json").json["unchanged"] == 22


def test_an_interrupted_call_is_continued(mi2, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "store"
    assert mi2("index", "add", path, folder / "y", *LEVELS).code == 0
    again = mi2("index", "add", path, folder, *LEVELS, "--json")
    assert (again.code, again.json["error"]["code"]) == (2, "ids_duplicate")
    continued = mi2("index", "add", path, folder, *LEVELS, "--skip-existing", "--json").json
    assert (continued["added"], continued["skipped"]) == (11 + 6, 6)
    assert mi2("index", "add", path, folder, *LEVELS, "--update", "--json").json["updated"] == 23


def test_damaged_files_are_reported_and_the_rest_is_stored(mi2, folder: Path, tmp_path: Path) -> None:
    damaged = folder / "y" / "IM02.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-300])
    (folder / "notes.txt").write_text("x")
    added = mi2("index", "add", tmp_path / "store", folder, "--level", "series", "--json")
    assert added.code == 1
    assert added.json["added"] == 4
    assert [failed["source"] for failed in added.json["failed"]] == [str(damaged)]
    refused = mi2("index", "add", tmp_path / "other", folder, "--level", "study", "--pooling", "statistics", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "pooling_not_comparable")
