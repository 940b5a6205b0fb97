"""Studies in stores of both kinds: pooled items, shared metadata, groups of hits, items of one level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from medimageinsight import MedImageInsight, search, studies
from medimageinsight.errors import InputError
from tests.cli.study_folders import write_pages, write_series
from tests.search.sample_items import code_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(toy_bundle):
    with MedImageInsight.load(toy_bundle) as loaded:
        yield loaded


@pytest.fixture
def store(location, model):
    with search.create_store(location, identity=search.Identity.of(model)) as new_store:
        yield new_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        write_series(
            tmp_path / "ct" / str(number), patient=str(number), study=str(number), series="1", level=900 * number
        )
    return tmp_path / "ct"


def read_header(store):
    salt = bytes.fromhex(store.identity.salt)
    return lambda header: search.read_dicom_metadata(header, patient="hashed", salt=salt)


def test_pooled_items_know_their_parts(model, store, folder: Path) -> None:
    counts: list[int] = []
    report = search.index_studies(
        model, store, studies.read(folder), read_header=read_header(store),
        metadata=[lambda path: {"side": "left", "file": path[-6:-4]}], progress=counts.append,
    )  # fmt: skip
    assert (report.added, report.failed, counts[-1]) == (12 + 3 + 3, {}, 12)
    assert store.count(where="level = 'series'") == 3
    (study,) = search.search(model, store, image=next(iter(studies.read(folder / "1"))), k=1, where="level = 'study'")
    assert study.score == pytest.approx(1, abs=1e-5)
    assert study.metadata["side"] == "left"
    assert "file" not in study.metadata, "a value that only one of the images has"
    assert (
        store.count(where=f"study = '{study.metadata['study']}' and PatientID = '{study.metadata['PatientID']}'") == 6
    )
    shown = studies.open_image(study.origin)
    assert str(shown.origin) in {str(path) for path in (folder / "1").iterdir()}


def test_groups_are_complete_where_one_has_all_the_nearest_hits(model, store, folder: Path, tmp_path: Path) -> None:
    search.index_studies(model, store, studies.read(folder), levels=("image",), read_header=read_header(store))
    own = studies.read(folder / "2")
    write_series(tmp_path / "large", patient="9", study="9", series="1", level=900, count=30)
    search.index_studies(model, store, studies.read(tmp_path / "large", select="all"), levels=("image",))
    loose = search.Item(id="loose", embedding=model.embed_texts("x-ray"))
    store.add([loose])
    found = search.search_groups(model, store, by="study", image=next(own), k=10, exact=True)
    assert len(found) == 5, "four studies, and the item without one"
    assert [group.hit.score for group in found] == sorted((group.hit.score for group in found), reverse=True)
    assert sorted(group.more for group in found) == [0, 3, 3, 3, 29]
    assert [group.hit.id for group in found if group.value is None] == ["loose"]
    two = search.search_groups(model, store, by="study", vector=loose.embedding, k=2)
    assert len(two) == 2
    assert code_of(lambda: search.search_groups(model, store, by="site", text="x", k=2)) == "column_unknown"
    by_item = search.search_groups(None, store, by="study", item_id=found[0].hit.id, exclude_same="study", k=9)
    assert found[0].value not in [group.value for group in by_item]


def test_own_patient_is_left_out_at_every_level(model, store, folder: Path) -> None:
    search.index_studies(model, store, studies.read(folder))
    (study,) = studies.read(folder / "0")
    for source in (study, study.series[0], study.series[0].images[2], str(folder / "0" / "IM01.dcm")):
        own = search.find_own_patient(store, source)
        assert store.count() - store.count(without=own) == 6


def test_frames_of_a_file_are_of_its_study(model, store, tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages.tif")
    search.index_studies(model, store, studies.read(pages, select="frames:0-1"), levels=("image", "series"))
    assert {item.origin.frame for item in store.get([f"{pages}#frame=0", f"{pages}#frame=1"])} == {0, 1}
    assert store.count(without=search.find_own_patient(store, str(pages))) == 0
    std = studies.read(pages, select="frames:0", pooling="std")
    report = search.index_studies(model, store, std, levels=("series",), existing="update")
    assert [error.code for error in report.failed.values()] == ["study_without_direction"]
    with pytest.raises(InputError) as raised:
        search.index_studies(model, store, studies.read(pages, pooling="statistics"))
    assert raised.value.code == "pooling_not_comparable"
