"""Images of a query's own patient, in both kinds of stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import search
from medimageinsight.tasks import NeighbourSettings
from tests.images.dicom_datasets import make_dataset, to_file_bytes
from tests.search.sample_items import item, vectors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("column", ["PatientID", "patient_id"])
def test_patients_are_found_under_either_name(store: search.Store, column: str) -> None:
    rows = vectors(6)
    patients = ["a", "a", "b", "c", None, "7"]
    store.add(
        [
            item(index, row, finding="yes", **({} if patient is None else {column: patient}))
            for index, (row, patient) in enumerate(zip(rows, patients, strict=True))
        ]
    )
    assert search.patient_columns(store) == [column]
    query = to_file_bytes(make_dataset(np.zeros((8, 8), np.uint8), PatientID="a"))
    own = search.find_own_patient(store, query)
    assert "a" in own[column]
    settings = NeighbourSettings(k=10)
    found = search.classify_vector(store, rows[0], label="finding", settings=settings, without=own)
    assert sorted(neighbour.hit.id for neighbour in found.neighbours) == ["2", "3", "4", "5"]
    assert (found.excluded, found.patients_unknown) == (2, True)  # one that voted has no patient
    known = search.classify_vector(
        store, rows[0], label="finding", settings=settings, without=own, where=f"{column} is not null"
    )
    assert (len(known.neighbours), known.excluded, known.patients_unknown) == (3, 2, False)


def test_an_image_without_a_patient_excludes_nothing(store: search.Store) -> None:
    store.add([item(index, PatientID="a") for index in range(2)])
    assert search.find_own_patient(store, b"not an image") == {}
    assert search.find_own_patient(store, np.zeros((8, 8), np.uint8)) == {}
    assert store.count(having="PatientID", without={"PatientID": ["b"]}) == 2
    assert store.count(without={"id": ["0"]}) == 1


def test_columns_of_numbers_have_patients_too(store: search.Store, tmp_path: Path) -> None:
    store.add([item(index, patient_id=index % 2 + 7) for index in range(4)])
    path = tmp_path / "q.dcm"
    path.write_bytes(to_file_bytes(make_dataset(np.zeros((8, 8), np.uint8), PatientID="7")))
    assert search.find_own_patient(store, path)["patient_id"] == [7]
