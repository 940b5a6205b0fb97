"""Indexing of image files, and searches by image, text, id and vector."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medimageinsight import MedImageInsight, search
from medimageinsight.errors import ImageError
from tests.images.dicom_datasets import make_dataset, to_file_bytes
from tests.search.sample_items import code_of, ids_of


@pytest.fixture
def model(toy_bundle):
    with MedImageInsight.load(toy_bundle) as loaded:
        yield loaded


@pytest.fixture
def store(location, model):
    with search.create_store(location, identity=search.Identity.of(model)) as new_store:
        yield new_store


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "abcdefgh":
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in "abcdefgh"]


def test_finds_images_by_image_text_id_and_vector(model, store, paths):
    counts = []
    report = search.index_images(model, store, paths, progress=counts.append)
    assert (report.added, report.updated, report.skipped, report.failed) == (8, 0, 0, {})
    assert counts == list(range(1, 9))
    embeddings = model.embed_images(paths)
    for found, embedding in zip(store.get(paths), embeddings, strict=True):
        assert found.path == found.id
        np.testing.assert_allclose(found.embedding, embedding, atol=1e-6)
    order = [paths[index] for index in np.argsort(-(embeddings @ embeddings[2]))]
    assert ids_of(search.search(model, store, image=paths[2], k=8)) == order
    assert ids_of(search.search(None, store, item_id=paths[2], k=8)) == order
    assert ids_of(search.search(None, store, vector=embeddings[2], k=8)) == order
    text = model.embed_texts("x-ray")
    by_text = [paths[index] for index in np.argsort(-(embeddings @ text))]
    assert ids_of(search.search(model, store, text="x-ray", k=3)) == by_text[:3]


def test_reports_bad_files_and_stores_the_others(model, store, paths, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    given = [*paths[:2], str(bad), paths[2], str(tmp_path / "missing.png"), "half \ud800.png"]
    counts = []
    report = search.index_images(model, store, given, progress=counts.append)
    assert report.added == store.count() == 3
    assert {path: error.code for path, error in report.failed.items()} == {
        str(bad): "image_not_an_image",
        str(tmp_path / "missing.png"): "image_not_found",
        "half \ud800.png": "path_invalid",
    }
    assert counts[-1] == 6


def test_stored_ids_are_refused_skipped_or_updated(model, store, paths):
    search.index_images(model, store, paths[:3], metadata=[lambda _: {"round": 1}])
    assert code_of(lambda: search.index_images(model, store, paths)) == "ids_duplicate"
    assert store.count() == 3
    skipped = search.index_images(model, store, paths[:5], existing="skip", metadata=[lambda _: {"round": 2}])
    assert (skipped.added, skipped.updated, skipped.skipped) == (2, 0, 3)
    assert store.count(where="round = 1") == 3
    updated = search.index_images(model, store, paths[2:], existing="update", metadata=[lambda _: {"round": 3}])
    assert (updated.added, updated.updated, updated.skipped) == (3, 3, 0)
    assert store.count(where="round = 3") == 6
    assert code_of(lambda: search.index_images(model, store, paths, existing="ask")) == "existing_invalid"


def test_ids_may_differ_from_paths(model, store, paths):
    names = search.make_ids(paths, "stem")
    assert names == list("abcdefgh")
    search.index_images(model, store, paths, ids=names)
    assert store.get(["c"])[0].path == paths[2]
    assert search.make_ids(paths, "name")[0] == "a.png"
    assert code_of(lambda: search.index_images(model, store, paths, ids=["x"])) == "ids_count"
    repeated = ["x"] * len(paths)
    assert code_of(lambda: search.index_images(model, store, paths, ids=repeated)) == "ids_duplicate"
    assert store.count() == 8


def test_merges_several_sources_of_metadata(model, store, paths, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("path,site\nimages/a.png,A\nimages/b.png,B\n")
    dicom = tmp_path / "c.dcm"
    dicom.write_bytes(
        to_file_bytes(make_dataset(np.arange(64, dtype=np.uint8).reshape(8, 8), Modality="CT", PatientID="7"))
    )
    rows = search.read_metadata(table, types=store.columns)
    given = [*paths[:3], str(dicom)]
    report = search.index_images(model, store, given, metadata=[rows.row, search.read_dicom_metadata])
    assert report.undescribed == 1
    assert [stored.metadata for stored in store.get(given)] == [{"site": "A"}, {"site": "B"}, {}, {"Modality": "CT"}]
    clash = [lambda _: {"site": "x"}, lambda _: {"site": "y"}]
    assert code_of(lambda: search.index_images(model, store, paths[4:], metadata=clash)) == "metadata_column_twice"


def test_calls_back_after_each_transaction(model, store, paths, monkeypatch):
    monkeypatch.setattr("medimageinsight.search.item_writer.WRITTEN_ROWS", 3)
    batches = []

    def stored(ids):
        assert store.existing(ids) == set(ids)
        batches.append(list(ids))

    search.index_images(model, store, paths, stored=stored)
    assert batches == [paths[:3], paths[3:6], paths[6:]]


def test_rejects_another_model_or_preprocessing(model, store, paths, toy_bundle, location):
    with MedImageInsight.load() as mini:
        assert code_of(lambda: search.index_images(mini, store, paths)) == "store_other_model"
        assert code_of(lambda: search.search(mini, store, text="x")) == "store_other_model"
    with MedImageInsight.load(toy_bundle, preprocessing="azure") as azure:
        assert code_of(lambda: search.index_images(azure, store, paths)) == "store_other_preprocessing"
        search.index_images(model, store, paths)
        # A search preprocesses the query like the stored images, so that it finds the image itself.
        assert search.search(azure, store, image=paths[0], k=1)[0].score == pytest.approx(1.0, abs=1e-6)
    assert store.count() == 8


def test_rejects_none_and_several_queries(model, store, paths):
    search.index_images(model, store, paths)
    assert code_of(lambda: search.search(model, store)) == "query_invalid"
    assert code_of(lambda: search.search(model, store, text="x", item_id="a")) == "query_invalid"
    assert code_of(lambda: search.search(None, store, text="x")) == "query_invalid"
    assert code_of(lambda: search.search(model, store, text="x", exclude_same="site")) == "query_invalid"
    with pytest.raises(ImageError):
        search.search(model, store, image=b"not an image")
