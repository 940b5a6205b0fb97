"""Classification by both kinds of stores, with the neighbours as evidence."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight, search
from medimageinsight.errors import ImageError
from medimageinsight.tasks import NeighbourSettings, classify_by_neighbours, vote_shares
from tests.search.sample_items import code_of, item, vectors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LABELS = ("edema", "normal", None)
SETTINGS = NeighbourSettings(k=4)
EMPTY = {
    "probabilities": {},
    "cosine": None,
    "unlike_validation": None,
    "neighbours": [],
    "excluded": 0,
    "patients_unknown": True,
}


@pytest.fixture
def rows(store: search.Store) -> np.ndarray:
    """Twelve stored vectors with the labels of `LABELS` in turn, every third without a label."""
    rows = vectors(12)
    store.add(
        [
            item(index, row, **({"finding": LABELS[index % 3]} if LABELS[index % 3] else {}), parity=index % 2)
            for index, row in enumerate(rows)
        ]
    )
    return rows


def test_probabilities_equal_those_of_classify_by_neighbours(store: search.Store, rows: np.ndarray) -> None:
    labelled = [index for index in range(12) if LABELS[index % 3]]
    query = vectors(1, seed=5)[0]
    (expected,) = classify_by_neighbours(
        query[None], rows[labelled], [str(LABELS[index % 3]) for index in labelled], settings=SETTINGS
    )
    found = search.classify_vector(store, query, label="finding", settings=SETTINGS)
    assert found.label == expected.label
    assert found.probabilities == pytest.approx({k: v for k, v in expected.probabilities.items() if v}, abs=1e-5)
    assert [neighbour.hit.id for neighbour in found.neighbours] == [
        str(labelled[neighbour.index]) for neighbour in expected.neighbours
    ]
    assert sum(neighbour.weight for neighbour in found.neighbours) == pytest.approx(1)
    assert list(found.probabilities.values()) == sorted(found.probabilities.values(), reverse=True)
    document = found.to_dict()
    assert list(document["neighbours"][0]) == ["id", "path", "score", "weight", "label", "metadata"]


def test_images_without_a_label_are_not_neighbours(store: search.Store, rows: np.ndarray) -> None:
    found = search.classify_vector(store, rows[2], label="finding", settings=NeighbourSettings(k=8))
    assert len(found.neighbours) == 8
    assert "2" not in {neighbour.hit.id for neighbour in found.neighbours}


def test_filters_neighbours_and_accepts_numeric_labels(store: search.Store, rows: np.ndarray) -> None:
    found = search.classify_vector(
        store, rows[0], label="parity", settings=SETTINGS, where="finding = 'edema' or finding = 'normal'"
    )
    assert set(found.probabilities) <= {"0", "1"}
    assert all(neighbour.hit.metadata["finding"] for neighbour in found.neighbours)


def test_without_neighbours_the_label_is_none(store: search.Store, rows: np.ndarray) -> None:
    none = search.classify_vector(store, rows[0], label="finding", settings=SETTINGS, where="finding = 'nothing'")
    assert (none.label, none.probabilities, none.neighbours) == (None, {}, ())
    store.delete(where="finding is not null")
    without = search.classify_vector(store, rows[0], label="finding", settings=SETTINGS)
    assert (without.label, without.to_dict()) == (None, EMPTY)


def test_rejects_invalid_arguments(store: search.Store, rows: np.ndarray) -> None:
    classify = search.classify_vector
    assert code_of(lambda: classify(store, rows[0], label="ward", settings=SETTINGS)) == "column_unknown"
    assert code_of(lambda: classify(store, rows[0], label="a' or 1", settings=SETTINGS)) == "column_unknown"
    bad = "finding ="
    assert code_of(lambda: classify(store, rows[0], label="finding", settings=SETTINGS, where=bad)) == "filter_invalid"
    assert code_of(lambda: classify(store, rows[0][:3], label="finding", settings=SETTINGS)) == "embedding_invalid"
    for wrong in ({"k": 0}, {"temperature": 0.0}):
        assert code_of(lambda wrong=wrong: NeighbourSettings(**wrong)) == "neighbour_settings_invalid"


def test_votes_sum_to_one_and_may_be_empty() -> None:
    assert vote_shares(np.array([0.9, 0.8]), 0.07).sum() == pytest.approx(1)
    assert vote_shares(np.array([0.9, -0.9]), 1e-4).tolist() == [1, 0]
    assert vote_shares(np.array([]), 0.07).shape == (0,)


@pytest.fixture
def model(toy_bundle: Path) -> Iterator[MedImageInsight]:
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model


def test_images_are_preprocessed_as_the_stored_ones(model: MedImageInsight, toy_bundle: Path, location: str) -> None:
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (20, 24), dtype=np.uint8) for _ in range(4)]
    with MedImageInsight.load(toy_bundle, preprocessing="azure") as azure:
        identity = search.Identity.of(azure)
        stored = azure.embed_images(images)
    with search.create_store(location, identity=identity) as store:
        store.add([item(index, row, finding=f"f{index}") for index, row in enumerate(stored)])
        results = search.classify(model, store, [*images, b"bad"], label="finding", k=2, errors="return")
        assert [result.label for result in results[:4]] == ["f0", "f1", "f2", "f3"]
        assert all(result.neighbours[0].hit.score == pytest.approx(1, abs=1e-5) for result in results[:4])
        assert isinstance(results[4], ImageError)
        assert len(search.classify(model, store, [images[0], b"bad"], label="finding", errors="skip")) == 1
        with pytest.raises(ImageError):
            search.classify(model, store, [b"bad"], label="finding")


def test_rejects_another_model(model: MedImageInsight, store: search.Store) -> None:
    assert code_of(lambda: search.classify(model, store, [], label="finding")) == "store_other_model"


def test_unused_settings_do_not_change_the_preprocessing(model: MedImageInsight) -> None:
    direct = search.Identity.of(model)
    other = dataclasses.replace(direct, preprocessing={**direct.preprocessing, "jpeg_quality": 50})
    direct.check_preprocessing(other)
    azure, sharper = (
        dataclasses.replace(direct, preprocessing={**direct.preprocessing, "default": "azure", "jpeg_quality": quality})
        for quality in (50, 75)
    )
    assert code_of(lambda: azure.check_preprocessing(sharper)) == "store_other_preprocessing"
    assert code_of(lambda: direct.check_preprocessing(azure)) == "store_other_preprocessing"
