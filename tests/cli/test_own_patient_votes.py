"""A query's own patient does not vote in a store, without any option."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.images.dicom_datasets import make_dataset, to_file_bytes

pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")


def random_pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (16, 16), dtype=np.uint8)


@pytest.fixture
def store(mi2, tmp_path: Path) -> Path:
    """Index two images of the sick patient P1, and one each of P2, P3 and of an unknown patient."""
    for index, patient in enumerate(("P1", "P1", "P2", "P3")):
        folder = tmp_path / "images" / ("sick" if patient == "P1" else "well")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index}.dcm").write_bytes(to_file_bytes(make_dataset(random_pixels(index), PatientID=patient)))
    words = ("--dicom-tags", "--patient-id", "hashed", "--labels-from-folders")
    assert mi2("index", "add", tmp_path / "store", tmp_path / "images", *words).code == 0
    return tmp_path / "store"


def test_images_of_the_own_patient_do_not_vote(mi2, store: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.dcm"
    new.write_bytes(to_file_bytes(make_dataset(random_pixels(9), PatientID="P1")))
    words = ("--store", store, "--label-column", "label")
    (answer,) = mi2("classify", new, *words, "--json").json
    assert list(answer["probabilities"]) == ["well"]
    assert (answer["excluded"], answer["patients_unknown"]) == (2, False)
    printed = mi2("classify", new, *words)
    assert "stored images that voted, of other patients" in printed.out
    assert "did not vote, as they are of the images' own patients: 2" in printed.err
    (piped,) = mi2("classify", "-", *words, "--json", stdin=new.read_bytes()).json
    assert piped["probabilities"] == answer["probabilities"]
    other = tmp_path / "other.dcm"
    other.write_bytes(to_file_bytes(make_dataset(random_pixels(9), PatientID="P7")))
    (answer,) = mi2("classify", other, *words, "--json").json
    assert (set(answer["probabilities"]), answer["excluded"]) == ({"sick", "well"}, 0)
    assert answer["patients_unknown"] is False


def test_an_unknown_patient_is_stated(mi2, store: Path, tmp_path: Path) -> None:
    Image.fromarray(random_pixels(5)).save(tmp_path / "anonymous.png")
    words = ("classify", tmp_path / "anonymous.png", "--store", store, "--label-column", "label")
    (answer,) = mi2(*words, "--json").json
    assert (len(answer["neighbours"]), answer["excluded"], answer["patients_unknown"]) == (4, 0, True)
    assert "stored images that voted, patients unknown" in mi2(*words).out


def test_a_stored_image_does_not_vote_for_itself(mi2, tmp_path: Path) -> None:
    folder = tmp_path / "kinds" / "dark"
    folder.mkdir(parents=True)
    for index in range(3):
        Image.fromarray(random_pixels(index)).save(folder / f"{index}.png")
    assert mi2("index", "add", tmp_path / "store", tmp_path / "kinds", "--labels-from-folders").code == 0
    words = ("--store", tmp_path / "store", "--label-column", "label", "--json")
    (answer,) = mi2("classify", folder / "1.png", *words).json
    assert {Path(hit["path"]).name for hit in answer["neighbours"]} == {"0.png", "2.png"}
    assert (answer["excluded"], answer["patients_unknown"]) == (1, True)
