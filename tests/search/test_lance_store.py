"""What is special about a store in a folder."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medimageinsight import search
from medimageinsight.errors import StoreError
from tests.search.sample_items import IDENTITY, item, vectors

pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_what_was_deleted_or_replaced_is_gone_from_the_disk_after_compact(folder):
    with search.create_store(folder, identity=IDENTITY) as store:
        store.add([item(f"kept{number}", note=f"n{number}") for number in range(100)])
        store.add([item("Jane-Doe", note="secret-note"), item("other", note="old-note")])
        store.build_index()
        assert b"Jane-Doe" in bytes_of(folder)
        store.delete(["Jane-Doe"])
        store.update([item("other", note="new-note")])
        store.compact()
        left = bytes_of(folder)
        assert b"Jane-Doe" not in left
        assert b"secret-note" not in left
        assert b"old-note" not in left
        assert b"new-note" in left
        assert store.count() == 101


def test_one_row_deleted_of_many_is_gone_too_and_who_had_it_open_goes_on(folder):
    with search.create_store(folder, identity=IDENTITY) as store, search.open_store(folder) as other:
        store.add([*(item(f"kept{number}", n=number) for number in range(300)), item("Jane-Doe", n=-1)])
        assert other.existing(["Jane-Doe"]) == {"Jane-Doe"}
        store.delete(["Jane-Doe"])
        store.compact()
        assert b"Jane-Doe" not in bytes_of(folder)
        assert other.count() == store.count() == 300
        assert other.identity == search.open_store(folder).identity
        other.add([item("new", n=5)])
        assert store.search(item("new").embedding, k=1, where="n = 5")[0].id == "new"


@pytest.mark.parametrize(("dim", "kind"), [(64, "IVF_RQ"), (20, "IVF_FLAT")])
def test_the_index_finds_nearly_all_with_their_exact_scores(folder, dim, kind):
    given = vectors(3000, dim)
    with search.create_store(folder, identity=dataclasses.replace(IDENTITY, embedding_dim=dim)) as store:
        store.add([item(number, embedding, part=number % 3) for number, embedding in enumerate(given)])
        store.build_index()
        assert store.index().kind == kind
        assert search.measure_recall(store, sample=50).recall >= 0.99
        for query in vectors(5, dim, seed=7):
            scores = given @ query
            for where, chosen in ((None, scores), ("part = 1", scores[1::3])):
                hits = store.search(query, k=20, where=where)
                assert [hit.score for hit in hits] == pytest.approx(np.sort(chosen)[::-1][:20], abs=0.02)
                assert all(hit.score == pytest.approx(float(scores[int(hit.id)]), abs=1e-5) for hit in hits)


def test_a_filter_finds_what_lies_in_other_cells(folder, monkeypatch):
    monkeypatch.setattr("medimageinsight.search.lance_index.TRAINING_ROWS", 10)
    monkeypatch.setattr("medimageinsight.search.lance_index.MIN_PROBES", 1)
    monkeypatch.setattr("medimageinsight.search.lance_index.MAX_SCANNED_ROWS", -1)
    near, far = np.eye(8, dtype=np.float32)[:2]
    scattered = vectors(1100)
    given = scattered[(scattered @ near < 0.9) & (scattered @ far < 0.9)][:900]
    with search.create_store(folder, identity=IDENTITY) as store:
        store.add([item(number, embedding, kind="scattered") for number, embedding in enumerate(given)])
        store.add([item(f"far{number}", far, kind="far") for number in range(15)])
        store.build_index()
        found = store.search(near, k=12, where="kind = 'far'")
        assert len(found) == 12
        assert {hit.metadata["kind"] for hit in found} == {"far"}


def test_columns_and_rows_newer_than_the_indexes_are_found(folder):
    with search.create_store(folder, identity=IDENTITY) as store:
        store.add([item(number, note="old") for number in range(300)])
        store.build_index()
        store.add([item("new", note="new", stage=3)])
        store.update([item(5, note="changed")])
        store.delete(["6"])
        assert store.existing(["5", "6", "new"]) == {"5", "new"}
        assert store.count(where="note = 'old'") == 298
        assert [hit.id for hit in store.search(item("new").embedding, where="stage >= 3")] == ["new"]
        assert [hit.id for hit in store.search(item(5).embedding, where="note = 'changed'")] == ["5"]
        store.compact()
        assert store.count(where="note = 'old'") == 298
        assert store.count(where="stage is null") == 299


def test_many_small_writes_are_joined(folder, monkeypatch):
    monkeypatch.setattr("medimageinsight.search.lance_store.MAX_SMALL_FILES", 5)
    with search.create_store(folder, identity=IDENTITY) as store:
        for number in range(8):
            store.add([item(number)])
        store.maintain()
        assert store._table.stats()["fragment_stats"]["num_fragments"] == 1
        assert store.count() == 8


ADD_SHARED_IDS = """
import sys
sys.path.insert(0, sys.argv[1])
from medimageinsight import search
from medimageinsight.errors import InputError
from tests.search.sample_items import item
store, name = search.open_store(sys.argv[2]), sys.argv[3]
for number in range(10):
    try:
        store.add([item(f"shared{number}", who=name), item(f"{name}{number}")])
    except InputError as error:
        print(error.code)
"""


def test_processes_that_write_at_once_add_each_id_once(folder):
    search.create_store(folder, identity=IDENTITY).close()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", ADD_SHARED_IDS, str(Path(__file__).parents[1]), str(folder), name],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("x", "y")
    ]
    refused = [line for worker in workers for line in worker.communicate(timeout=120)[0].splitlines()]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert refused == ["ids_duplicate"] * 10  # of each pair of calls, one found the shared id taken
    with search.open_store(folder) as store:
        ids = [one for block, _ in store.scan() for one in block]
    assert len(ids) == len(set(ids)) == 20
    assert sum(one.startswith("shared") for one in ids) == 10


def test_a_folder_may_be_moved_and_copied(folder, tmp_path):
    with search.create_store(folder, identity=IDENTITY) as store:
        store.add([item("a")])
    shutil.copytree(folder, tmp_path / "copy")
    shutil.move(folder, tmp_path / "moved")
    for place in ("copy", "moved"):
        with search.open_store(tmp_path / place) as store:
            assert [one.id for one in store.get(["a"])] == ["a"]


def test_a_damaged_folder_is_named_so(folder):
    with search.create_store(folder, identity=IDENTITY) as store:
        store.add([item("a")])
    for file in (folder / "vectors.lance" / "data").iterdir():
        file.write_bytes(b"damaged")
    with search.open_store(folder) as store, pytest.raises(StoreError) as caught:
        store.get(["a"])
    assert caught.value.code == "store_invalid"
    assert str(folder) not in caught.value.message
