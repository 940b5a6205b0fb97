"""``mi2 index``: tables of other programs, spellings of folders, moved files, files of vectors, failed calls."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medimageinsight import MedImageInsight, search

if TYPE_CHECKING:
    from collections.abc import Sequence

pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def metadata_of(store: Path, path: Path) -> dict[str, object]:
    with search.open_store(store) as opened:
        return dict(opened.get([str(path)])[0].metadata)


def test_columns_widen_between_additions(mi2, image_files: Sequence[Path], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("path,bmi,stage\na.png,20,1\nunknown.png,1,1\n", "utf-8")
    (tmp_path / "2.csv").write_text("Path;BMI;Stage\nb.png;20,5;2a\n", "utf-8")
    first = mi2("index", "add", folder, image_files[0], "--metadata", tmp_path / "1.csv", "--json")
    assert first.json["unmatched_rows"] == 1
    second = mi2("index", "add", folder, image_files[1], "--metadata", tmp_path / "2.csv")
    assert second.code == 0
    assert "separated by semicolons" in second.err
    assert "stage changes from integer to string" in second.err
    assert metadata_of(folder, image_files[0]) == {"bmi": 20.0, "stage": "1"}
    assert metadata_of(folder, image_files[1]) == {"bmi": 20.5, "stage": "2a"}


def test_declares_types_and_names_the_column_of_paths(mi2, image_files, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "1.csv"
    table.write_text("File name,mrn,ward\na.png,17,x\n", "utf-8")
    words = [
        "index",
        "add",
        folder,
        image_files[0],
        "--metadata",
        table,
        "--root",
        tmp_path,
        "--path-column",
        "file_name",
    ]
    added = mi2(*words, "--column", "MRN:string", "--json")
    assert (added.code, added.json["unmatched_rows"]) == (0, 0)
    assert metadata_of(folder, image_files[0]) == {"mrn": "17"}
    wrong = mi2(*words, "--column", "ward:integer", "--update", "--json")
    assert wrong.json["error"]["code"] == "metadata_type_conflict"


def test_an_image_has_one_id_however_its_folder_is_spelled(
    mi2, image_files, folder: Path, tmp_path, monkeypatch
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for path in image_files:
        path.rename(images / path.name)
    (tmp_path / "link").symlink_to(images)
    monkeypatch.chdir(tmp_path)
    assert mi2("index", "add", folder, "images", "--json").json["added"] == 3
    for spelled in ("./images/", "images/../images", images, tmp_path / "link", "link/."):
        assert mi2("index", "add", folder, spelled, "--skip-existing", "--json").json["skipped"] == 3
    monkeypatch.chdir(images)
    assert mi2("index", "add", folder, ".", "--json").json["error"]["code"] == "ids_duplicate"
    assert len(mi2("search", folder, "--id", "a.png", "--json").json["hits"]) == 3
    assert mi2("index", "delete", folder, "./a.png", "--json").json == {"deleted": 1}


def test_ids_of_earlier_versions_stay(mi2, toy_bundle: Path, image_files, folder: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        MedImageInsight.load(toy_bundle) as model,
        search.create_store(folder, identity=search.Identity.of(model)) as store,
    ):
        search.index_images(model, store, ["a.png"], ids=["a.png"])
    assert mi2("index", "add", folder, "a.png", "b.png", "--skip-existing", "--json").json["skipped"] == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["missing.png"], None),
        (["a.png", "./a.png"], "ids_duplicate"),
        (["a.png", "--metadata", "t.csv", "--labels-from-folders"], "metadata_column_twice"),
        (["a.png", "--metadata", "none.csv"], "dataset_not_found"),
    ],
)
def test_a_failed_call_leaves_no_empty_store(mi2, image_files, folder, tmp_path, monkeypatch, words, code) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("path,label\na.png,x\n", "utf-8")
    monkeypatch.setattr(MedImageInsight, "embed_images", None)
    failed = mi2("index", "add", folder, *words, "--json")
    assert failed.code != 0
    if code is not None:
        assert failed.json["error"]["code"] == code
    assert not folder.exists()


def create(location: str, toy_bundle: str, start: object) -> None:
    with MedImageInsight.load(toy_bundle) as model:
        start.wait()  # type: ignore[attr-defined]
        search.open_or_create_store(location, identity=search.Identity.of(model)).close()


def test_processes_create_a_store_at_once(toy_bundle: Path, folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    processes = [context.Process(target=create, args=(str(folder), str(toy_bundle), start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert search.open_store(folder).count() == 0


def test_sync_follows_moved_new_and_deleted_files(mi2, image_files, folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for path in image_files:
        path.rename(images / path.name)
    (tmp_path / "t.csv").write_text("path,ward\nimages/a.png,x\nimages/b.png,y\n", "utf-8")
    mi2("index", "add", folder, images, "--metadata", tmp_path / "t.csv")
    (images / "moved").mkdir()
    (images / "a.png").rename(images / "moved" / "renamed.png")
    (images / "b.png").unlink()
    os.link(images / "c.png", images / "copy.png")
    synced = mi2("index", "sync", folder, images, "--json")
    assert synced.code == 0
    assert synced.json == {"added": 1, "moved": 1, "deleted": 1, "unchanged": 1, "count": 3, "failed": []}
    assert metadata_of(folder, images / "moved" / "renamed.png") == {"ward": "x"}


def test_prune_deletes_items_without_a_file(mi2, image_files: Sequence[Path], folder: Path) -> None:
    mi2("index", "add", folder, *image_files)
    image_files[0].unlink()
    assert mi2("index", "prune", folder, "--dry-run", "--json").json == {"missing": 1, "count": 3}
    assert mi2("index", "prune", folder, "--json").json == {"deleted": 1, "count": 2}
    for path in image_files[1:]:
        path.unlink()
    refused = mi2("index", "prune", folder, "--json")
    assert refused.json["error"]["code"] == "store_files_missing"


@pytest.mark.parametrize("name", ["v.npy", "v.jsonl", "v.parquet"])
def test_adds_and_searches_files_of_vectors(
    mi2, image_files: Sequence[Path], folder: Path, tmp_path, monkeypatch, name
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    mi2("embed", *image_files, "--out", tmp_path / name)
    mi2("embed", image_files[1], "--out", tmp_path / f"one-{name}")
    added = mi2("index", "add", folder, tmp_path / name, "--json")
    assert (added.code, added.json["added"]) == (0, 3)
    assert mi2("index", "add", folder, *image_files, "--skip-existing", "--json").json["skipped"] == 3
    hits = mi2("search", folder, "--vector", tmp_path / f"one-{name}", "--json").json["hits"]
    assert hits[0]["path"] == str(image_files[1])
    assert mi2("search", folder, "--vector", tmp_path / name, "--json").json["error"]["code"] == "vectors_invalid"
    other = mi2("index", "add", tmp_path / "other", tmp_path / name, "--preprocessing", "azure", "--json")
    assert other.json["error"]["code"] == "vectors_other_model"
    assert mi2("outliers", tmp_path / name, image_files[0], "--validation", tmp_path / name, "-k", 1).code == 0
    if name == "v.npy":
        (tmp_path / "v.npy.json").unlink()
        unnamed = mi2("index", "add", tmp_path / "other", tmp_path / name, "--json")
        assert unnamed.json["error"]["code"] == "vectors_unnamed"
