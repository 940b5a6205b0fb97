"""``mi2 index`` and ``mi2 search``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from medimageinsight import MedImageInsight
from tests.images.dicom_datasets import make_dataset, to_file_bytes
from tests.search.postgres_server import running_postgres

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_add_then_search(mi2, image_files: list[Path], folder: Path, toy_bundle: Path) -> None:
    added = mi2("index", "add", folder, *image_files, "--json")
    assert (added.code, added.err) == (0, "")
    assert added.json == {"added": 3, "updated": 0, "skipped": 0, "undescribed": 0, "count": 3, "failed": []}
    with MedImageInsight.load(toy_bundle) as model:
        embeddings = model.embed_images(image_files)
    order = [str(image_files[index]) for index in np.argsort(-(embeddings @ embeddings[1]))]
    found = mi2("search", folder, "--image", image_files[1], "--json")
    assert (found.code, found.err) == (0, "")
    assert [hit["id"] for hit in found.json["hits"]] == order
    first = found.json["hits"][0]
    assert list(first) == ["id", "path", "score", "metadata"]
    assert (first["path"], first["metadata"]) == (str(image_files[1]), {})
    assert first["score"] == pytest.approx(1, abs=1e-6)
    np.save(folder.with_suffix(".npy"), embeddings[1:2])
    for options in (("--id", image_files[1]), ("--vector", folder.with_suffix(".npy"))):
        assert [hit["id"] for hit in mi2("search", folder, *options, "--json").json["hits"]] == order
    piped = mi2("search", folder, "--image", "-", "--json", stdin=image_files[1].read_bytes())
    assert [hit["id"] for hit in piped.json["hits"]] == order
    assert len(mi2("search", folder, "--text", "x-ray", "-k", 2, "--json").json["hits"]) == 2


def test_prints_tables(mi2, image_files: list[Path], folder: Path) -> None:
    added = mi2("index", "add", folder, image_files[0].parent)
    assert (added.code, added.out) == (0, "")
    assert "3 added; the store has 3 images" in added.err
    found = mi2("search", folder, "--id", image_files[0], "--exact")
    assert "1.0000" in found.out
    assert str(image_files[2]) in found.out
    printed = mi2("index", "info", folder, "--recall")
    assert "toy fp32, 8 numbers" in printed.out
    assert "every search is exact" in printed.out
    assert "recall at 10" in printed.out
    assert "nothing was found" in mi2("search", folder, "--id", image_files[0], "--min-score", 1.1).err


def test_reports_bad_files_and_adds_the_others(mi2, image_files: list[Path], folder: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    result = mi2("index", "add", folder, *image_files, missing, "--json")
    assert result.code == 1
    assert result.json["added"] == 3
    assert result.json["failed"][0]["source"] == str(missing)
    assert result.json["failed"][0]["error"]["code"] == "image_not_found"
    assert result.err.startswith(f"error: {missing}: expected ")


def test_stored_images_are_refused_skipped_or_updated(mi2, image_files: list[Path], folder: Path) -> None:
    mi2("index", "add", folder, *image_files[:2])
    refused = mi2("index", "add", folder, *image_files, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "ids_duplicate")
    skipped = mi2("index", "add", folder, *image_files, "--skip-existing", "--json").json
    assert (skipped["added"], skipped["skipped"], skipped["count"]) == (1, 2, 3)
    updated = mi2("index", "add", folder, *image_files, "--update", "--json").json
    assert (updated["added"], updated["updated"], updated["count"]) == (0, 3, 3)
    assert mi2("index", "add", folder, *image_files, "--update", "--skip-existing").code == 2


def test_reads_metadata_from_tables_dicom_files_and_folders(
    mi2, image_files: list[Path], folder: Path, tmp_path: Path
) -> None:
    sorted_ = tmp_path / "sorted"
    for number, image in enumerate(image_files):
        target = sorted_ / ("no_finding" if number else "edema") / image.name
        target.parent.mkdir(parents=True, exist_ok=True)
        image.rename(target)
    scan = sorted_ / "edema" / "scan.dcm"
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    scan.write_bytes(to_file_bytes(make_dataset(pixels, Modality="CT", PatientAge="045Y", PatientID="7")))
    table = tmp_path / "table.csv"
    table.write_text("path,age,site,id\nsorted/edema/a.png,40,A,one\nsorted/no_finding/b.png,50,B,two\n")
    options = (
        "--metadata",
        table,
        "--column",
        "age",
        "--labels-from-folders",
        "--dicom-tags",
        "--patient-id",
        "hashed",
    )
    result = mi2("index", "add", folder, sorted_, *options, "--id-from", "name", "--json")
    assert result.json["added"] == 4
    found = mi2("search", folder, "--id", "a.png", "--json").json["hits"]
    metadata = {hit["id"]: hit["metadata"] for hit in found}
    hashed = metadata["scan.dcm"].pop("PatientID")
    assert len(hashed) == 32
    assert metadata == {
        "a.png": {"age": 40, "label": "edema"},
        "b.png": {"age": 50, "label": "no finding"},
        "c.png": {"label": "no finding"},
        "scan.dcm": {"label": "edema", "Modality": "CT", "PatientAge": 45.0},
    }
    only = mi2("search", folder, "--id", "a.png", "--where", "label = 'edema' and age is null", "--json").json["hits"]
    assert [hit["id"] for hit in only] == ["scan.dcm"]
    others = mi2("search", folder, "--id", "a.png", "--exclude-same", "label", "--json").json["hits"]
    assert {hit["id"] for hit in others} == {"b.png", "c.png"}
    by_old_name = mi2("search", folder, "--id", "a.png", "--other-than-same", "label", "--json").json["hits"]
    assert by_old_name == others
    info = mi2("index", "info", folder, "--json").json
    assert info["columns"]["PatientAge"] == "float"
    assert "salt" not in info["identity"]
    assert "site" not in info["columns"]


def test_reads_ids_from_the_table(mi2, image_files: list[Path], folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,id\na.png,one\nb.png,two\nc.png,\n")
    options = ("--metadata", table, "--id-from", "table")
    assert mi2("index", "add", folder, *image_files[:2], *options).code == 0
    assert mi2("search", folder, "--id", "two", "--json").json["hits"][0]["id"] == "two"
    missing = mi2("index", "add", folder, image_files[2], *options, "--json")
    assert (missing.code, missing.json["error"]["code"]) == (2, "ids_missing")


def test_rejects_invalid_arguments(mi2, image_files: list[Path], folder: Path) -> None:
    mi2("index", "add", folder, *image_files)
    for options, code in [
        (("--text", "a", "--id", "b"), "query_invalid"),
        ((), "query_invalid"),
        (("--id", image_files[0], "--where", "ward = 1"), "filter_invalid"),
        (("--id", "nobody"), "ids_unknown"),
        (("--id", image_files[0], "--other-than-same", "ward"), "column_unknown"),
    ]:
        result = mi2("search", folder, *options, "--json")
        assert (result.code, result.json["error"]["code"]) == (2, code)
    for options, code in [
        (("--patient-id", "hashed"), "patient_id_alone"),
        (("--dicom-tags", "--patient-id", "md5"), "patient_id_unknown"),
        (("--id-from", "luck"), "id_from_unknown"),
        (("--column", "age"), "metadata_missing"),
    ]:
        result = mi2("index", "add", folder, *image_files, *options, "--json")
        assert (result.code, result.json["error"]["code"]) == (2, code)


def test_reports_a_missing_store(mi2, folder: Path) -> None:
    result = mi2("search", folder, "--text", "a", "--json")
    assert result.code != 0
    assert result.json["source"] == str(folder)
    assert result.json["error"]["code"] == "store_not_found"
    hidden = mi2("index", "info", "postgresql://me:secret@127.0.0.1:9/images")
    assert hidden.code != 0
    assert "secret" not in hidden.err + hidden.out
    assert not folder.exists()


def test_rejects_another_model(mi2, image_files: list[Path], folder: Path) -> None:
    mi2("index", "add", folder, image_files[0])
    for options in (("search", folder, "--text", "a"), ("index", "add", folder, image_files[1])):
        result = mi2(*options, "--model", "mini", "--json")
        assert (result.code, result.json["error"]["code"]) == (2, "store_other_model")


def test_uses_the_preprocessing_of_the_store(mi2, image_files: list[Path], folder: Path) -> None:
    mi2("index", "add", folder, image_files[0], "--preprocessing", "azure")
    assert mi2("index", "add", folder, image_files[1]).code == 0
    other = mi2("index", "add", folder, image_files[2], "--preprocessing", "direct", "--json")
    assert (other.code, other.json["error"]["code"]) == (2, "store_other_preprocessing")
    assert mi2("search", folder, "--image", image_files[1], "--json").json["hits"][0]["score"] == pytest.approx(
        1, abs=1e-6
    )


def test_builds_deletes_and_compacts(mi2, image_files: list[Path], folder: Path) -> None:
    mi2("index", "add", folder, *image_files)
    built = mi2("index", "build", folder, "--json").json
    assert (built["index"]["indexed"], built["index"]["unindexed"]) == (3, 0)
    pairs = mi2("index", "duplicates", folder, "--threshold", 0.01, "--json").json["pairs"]
    assert all(list(pair) == ["a", "b", "score"] and pair["a"] < pair["b"] for pair in pairs)
    assert "no pairs" in mi2("index", "duplicates", folder, "--threshold", 1).err
    assert mi2("index", "delete", folder, image_files[0], "--json").json == {"deleted": 1}
    part = mi2("index", "delete", folder, image_files[1], "nobody")
    assert part.code == 1
    assert "got 1 that it does not have" in part.err
    assert mi2("index", "delete", folder).code == 2
    assert mi2("index", "delete", folder, "--where", "path like '%.png'", "--json").json == {"deleted": 1}
    assert mi2("index", "compact", folder, "--json").json["count"] == 0


def test_rejects_files_without_a_vector(mi2, image_files: list[Path], folder: Path, tmp_path: Path) -> None:
    mi2("index", "add", folder, *image_files)
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"text")
    result = mi2("search", folder, "--vector", bad, "--json")
    assert (result.code, result.json["error"]["code"]) == (2, "vector_unreadable")
    np.save(bad, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert mi2("search", folder, "--vector", bad, "--json").json["error"]["code"] == "vector_unreadable"
    np.save(bad, np.ones(9))
    assert mi2("search", folder, "--vector", bad, "--json").json["error"]["code"] == "embedding_invalid"


def test_indexes_and_searches_postgresql(mi2, image_files: list[Path]) -> None:
    with running_postgres() as server:
        url = f"{server}#cli"
        assert mi2("index", "add", url, *image_files, "--json").json["added"] == 3
        found = mi2("search", url, "--image", image_files[0], "--json").json["hits"]
        assert found[0]["id"] == str(image_files[0])
        assert mi2("index", "info", url, "--json").json["kind"] == "postgresql"


def test_draws_a_contact_sheet_of_the_hits(mi2, image_files: list[Path], folder: Path, tmp_path: Path) -> None:
    mi2("index", "add", folder, *image_files)
    sheet = tmp_path / "sheet.png"
    sizes = []
    for options in (("--image", image_files[0]), ("--text", "x-ray chest"), ("--id", image_files[1])):
        plain = mi2("search", folder, *options, "--json")
        drawn = mi2("search", folder, *options, "--contact-sheet", sheet, "--folder", tmp_path, "--json")
        assert (drawn.code, drawn.err, drawn.out) == (0, "", plain.out)
        with Image.open(sheet) as opened:
            assert opened.format == "PNG"
            sizes.append(opened.size)
    assert len(set(sizes)) == 1
    by_old_name = tmp_path / "old.png"
    assert mi2("search", folder, *options, "--pictures", by_old_name, "--folder", tmp_path).code == 0
    assert by_old_name.read_bytes() == sheet.read_bytes()
    piped = mi2("search", folder, "--image", "-", "--contact-sheet", sheet, "--json", stdin=image_files[1].read_bytes())
    assert piped.json["hits"][0]["id"] == str(image_files[1])


def test_does_not_draw_images_outside_the_folder(mi2, folder: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    red = tmp_path / "red.png"
    Image.new("RGB", (20, 20), (255, 0, 0)).save(red)
    (inside / "link.png").symlink_to(red)
    for path in (red, inside / "link.png", inside / ".." / "red.png"):
        assert mi2("index", "add", folder, path, "--update" if path != red else "--json").code == 0
    sheet = tmp_path / "sheet.png"

    def reds(*options: object) -> int:
        result = mi2("search", folder, "--text", "red", "-k", 3, "--contact-sheet", sheet, *options)
        assert result.code == 0
        with Image.open(sheet) as opened:
            return sum(pixel == (255, 0, 0) for pixel in opened.get_flattened_data())

    assert reds("--folder", inside) == 0
    assert reds("--folder", tmp_path) > 3 * 200 * 200


def test_rejects_invalid_contact_sheet_options(mi2, image_files: list[Path], folder: Path, tmp_path: Path) -> None:
    mi2("index", "add", folder, image_files[0])
    for options, code in [
        (("--folder", tmp_path), "pictures_missing"),
        (("--contact-sheet", tmp_path / "s.png", "--folder", image_files[0]), "folder_not_found"),
        (("--contact-sheet", tmp_path / "no" / "s.png"), "file_failed"),
        (("--contact-sheet", tmp_path), "file_failed"),
    ]:
        result = mi2("search", folder, "--id", image_files[0], *options, "--json")
        assert (result.code != 0, result.json["error"]["code"]) == (True, code)
    assert not (tmp_path / "s.png").exists()
